// A span's line in the waterfall.

import { colourOf } from '../colours.js';
import { h } from '../dom.js';
import { duration, offset, plural } from '../format.js';
import { worst } from './logs.js';

/** Marks beyond these would hide each other. */
const EVENTS = 50;

/** Which side of a call a span is. @type {Record<string, string>} */
const SIDES = { client: '↗', producer: '↗', server: '↘', consumer: '↘' };

/**
 * @param {import('./tree.js').Row} row
 * @param {{index: number, total: number, isParent: boolean, position: number, siblings: number, hint: string}} place `total`: the trace's length; `hint`: what is wrong with the span's times
 * @param {() => void} fold
 */
export function rowElement(row, { index, total, isParent, position, siblings, hint }, fold) {
  const failed = row.status === 'error';
  const indent = h('span', { class: 'indent', 'aria-hidden': 'true' });
  indent.style.setProperty('--depth', String(row.depth));
  return h('div', {
    class: `row ${colourOf(row.service)}${failed ? ' failed' : ''}`, role: 'row', tabindex: '-1',
    'data-testid': 'span-row', 'data-span-id': row.span_id, 'data-service': row.service, 'data-index': index,
    'aria-level': row.depth + 1, 'aria-rowindex': index + 2, 'aria-setsize': siblings, 'aria-posinset': position,
  },
  h('div', { class: 'name', role: 'gridcell' }, indent, foldButton(isParent, fold), h('i', { class: 'swatch' }), names(row), failed && failure(row), hint && oddTimes(hint),
    h('span', { class: 'hidden-count' }), logCount(row)),
  h('div', { class: 'time', role: 'gridcell', 'aria-label': `starts at ${offset(row.offset_us)}` }, track(row, total)),
  h('div', { class: 'length', role: 'gridcell' }, duration(row.duration_us)));
}

/** @param {boolean} isParent @param {() => void} fold */
function foldButton(isParent, fold) {
  if (!isParent) return h('span', { class: 'fold none' });
  const onclick = (/** @type {MouseEvent} */ event) => { event.stopPropagation(); fold(); };
  return h('button', { class: 'fold', type: 'button', tabindex: '-1', 'aria-hidden': 'true', title: 'Fold or unfold', onclick });
}

/** @param {import('./tree.js').Row} row */
function names(row) {
  const side = SIDES[row.kind];
  return [h('bdi', { class: 'service' }, row.service), ' ', side && h('span', { class: 'side', title: `${row.kind} span`, 'aria-label': row.kind, role: 'img' }, side),
    h('button', { class: 'operation', type: 'button', tabindex: '-1', 'aria-expanded': 'false', title: `${row.service} ${row.name} (${row.kind})` }, row.name || '(no name)')];
}

/** @param {import('./tree.js').Row} row */
const failure = (row) => h('span', { class: 'mark', role: 'img', 'aria-label': 'error', title: row.status_message || 'Error' }, '!');

/** @param {string} hint */
const oddTimes = (hint) => h('span', { class: 'mark odd', role: 'img', 'data-testid': 'odd-times', 'aria-label': hint, title: hint }, '?');

/** @param {import('./tree.js').Row} row */
function logCount({ logs = [] }) {
  return logs.length > 0 && h('span', { class: `log-count ${worst(logs)}` }, plural(logs.length, 'log'));
}

/** @param {import('./tree.js').Row} row @param {number} total */
function track(row, total) {
  const marks = [
    placed(h('span', { class: 'bar' }), row.offset_us, row.duration_us, total),
    ...(row.critical || []).map((part) => placed(h('span', { class: 'critical', 'data-testid': 'critical-path' }), part.offset_us, part.duration_us, total)),
    ...(row.events || []).slice(0, EVENTS).map((event) => placed(h('span', { class: 'event' }), event.offset_us, 0, total)),
  ];
  return h('span', { class: 'track' }, marks);
}

/** @param {HTMLElement} mark @param {number} from @param {number} length @param {number} total */
function placed(mark, from, length, total) {
  const left = Math.min(100, Math.max(0, (100 * from) / total));
  mark.style.left = `${left}%`;
  mark.style.width = `${Math.min(100 - left, Math.max(0, (100 * length) / total))}%`;
  return mark;
}
