// Log lines of a trace.

import { h } from '../dom.js';
import { isoTime, offset, plural, valueText } from '../format.js';

/** @typedef {import('./tree.js').Log} Log */

const AT_ONCE = 50;
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** @param {string} severity as its sender wrote it */
export function level(severity) {
  const word = String(severity || '').toLowerCase();
  return LEVELS.find((name) => word.startsWith(name)) || 'none';
}

/** @param {Log[]} logs */
export const worst = (logs) => LEVELS[Math.max(0, ...logs.map((log) => LEVELS.indexOf(level(log.severity))))];

/** @param {Log[]} logs */
export function logLines(logs) {
  const list = h('ol', { class: 'logs' });
  const show = (/** @type {number} */ until) => {
    list.replaceChildren(...logs.slice(0, until).map(logLine));
    if (logs.length > until) {
      list.append(h('li', { class: 'rest' }, h('button', { class: 'plain', type: 'button', onclick: () => show(logs.length) }, `Show all ${plural(logs.length, 'line')}`)));
    }
  };
  show(AT_ONCE);
  return list;
}

/** @param {Log} log */
function logLine(log) {
  return h('li', { class: `log ${level(log.severity)}`, 'data-testid': 'log-line' },
    h('span', { class: 'at', title: isoTime(log.time_us) }, offset(log.offset_us)),
    h('span', { class: 'severity' }, log.severity || '–'),
    h('span', { class: 'body' }, log.service && h('bdi', {}, `${log.service}: `), h('span', { class: 'said' }, log.body),
      (log.attributes || []).map(({ key, value }) => [' ', h('span', { class: 'field' }, h('bdi', { class: 'field-key' }, `${key}=`), h('bdi', {}, valueText(value)))])));
}
