// Herald's evidence about an alert, as in the notification.

import { serviceLink } from '../colours.js';
import { h } from '../dom.js';
import { clock, count, isoTime, micros, percent, plural, seconds, span } from '../format.js';
import { traceLink } from '../links.js';

/** @typedef {import('../dom.js').Child} Child */
/** @typedef {{kind: 'http' | 'database' | 'pool', caller: string, callee: string, error_share: number, error_share_before: number, p95_s: number | null, p95_before_s: number | null}} Hop */
/** @typedef {{hops: Hop[], hops_left_out?: number}} Trail */
/** @typedef {{version: string, requests: number, error_share: number, p95_s?: number}} Figures */
/** @typedef {{service: string, at: string, before: Figures, now: Figures, roll_back: 'advised' | 'not_advised' | 'unclear', reason: string}} Release */

/** @param {Record<string, any>} evidence */
export function evidenceParts(evidence) {
  const { dependencies = {}, releases, traces = [], log_lines: lines = [], locks = [], missing = [] } = evidence;
  return [
    fault(dependencies),
    locks.length > 0 && part('Waits for locks', 'locks', h('ul', { class: 'plain-list' }, locks.map(lock))),
    part('Releases', 'releases', releases ? releaseList(releases.changes) : h('p', { class: 'muted' }, 'Not known.')),
    part('Worst traces', 'worst-traces', traces.length > 0 ? h('ol', { class: 'plain-list' }, traces.map(trace)) : h('p', { class: 'muted' }, 'None was found.')),
    part('First error lines', 'first-errors', lines.length > 0 ? h('ol', { class: 'logs' }, lines.map(line)) : h('p', { class: 'muted' }, 'No service wrote an error.')),
    missing.length > 0 && h('p', { class: 'notice' }, 'Missing: ', missing.map((/** @type {any} */ one) => [h('strong', {}, one.backend), ` (${one.reason}) `])),
  ];
}

/** @param {string} name @param {string} testid @param {Child} content */
export const part = (name, testid, content) => h('section', { 'data-testid': testid }, h('h2', {}, name), content);

/** @param {{failing?: Trail, slowest?: Trail}} dependencies */
function fault({ failing, slowest }) {
  return part('The dependency at fault', 'fault', [
    failing ? trail('failing', 'Calls fail', failing) : h('p', { class: 'muted' }, 'No call fails.'),
    slowest && trail('slowest', 'The time goes to', slowest),
  ]);
}

/** @param {string} testid @param {string} what @param {Trail} trail */
function trail(testid, what, { hops, hops_left_out: more = 0 }) {
  const worst = hops[hops.length - 1];
  return h('div', { class: 'trail', 'data-testid': testid },
    h('p', {}, `${what}: `, more > 0 && `(${plural(more, 'call')} above) … `, serviceLink(hops[0].caller),
      hops.map((hop, index) => [' → ', index === hops.length - 1 ? h('strong', { 'data-testid': 'at-fault' }, callee(hop)) : callee(hop)])),
    h('p', { class: 'muted' }, `${percent(worst.error_share)} of these calls fail, before ${percent(worst.error_share_before)}; 95 % within ${seconds(worst.p95_s)}, before ${seconds(worst.p95_before_s)}.`));
}

/** @param {Hop} hop */
const callee = (hop) => (hop.kind === 'http' ? serviceLink(hop.callee) : h('bdi', {}, hop.callee));

/** @param {{service: string, statement: string, holder: string, waiting: number}} lock */
const lock = ({ service, statement, holder, waiting }) => h('li', {}, serviceLink(service), ` ${plural(waiting, 'statement')} `, h('bdi', {}, statement || 'in the background'), ' waited for ', h('bdi', {}, holder));

const ADVICE = { advised: 'Rolling back is advised', not_advised: 'Rolling back is not advised', unclear: 'Whether to roll back is unclear' };

/** @param {Release[]} changes */
function releaseList(changes) {
  if (changes.length === 0) return h('p', { class: 'muted' }, 'No version has changed in the six hours before.');
  return h('ul', { class: 'plain-list' }, changes.map((one) => h('li', {},
    h('p', {}, serviceLink(one.service), ` ${one.before.version} → ${one.now.version} at `, h('time', { datetime: one.at, title: one.at }, clock(micros(one.at), false))),
    h('p', { class: one.roll_back === 'advised' ? 'bad' : null, 'data-testid': 'release-verdict' }, `${ADVICE[one.roll_back] || ''}: ${one.reason}.`),
    h('p', { class: 'muted' }, `Now ${figures(one.now)}; before ${figures(one.before)}.`))));
}

/** @param {Figures} figures */
const figures = ({ requests, error_share: failed, p95_s: p95 }) => `${percent(failed)} of ${plural(requests, 'request')} failed, 95 % within ${seconds(p95)}`;

/** @param {{trace_id: string, operation: string, duration_s: number, error: boolean, failed_at?: string}} trace */
function trace({ trace_id: id, operation, duration_s: length, error, failed_at: where }) {
  return h('li', { 'data-testid': 'worst-trace' }, traceLink(id, null, h('bdi', {}, operation || id)), ` ${seconds(length)} `,
    error && h('span', { class: 'badge error' }, 'error'), where && h('p', { class: 'muted' }, 'failed at ', h('bdi', {}, where)));
}

/** @param {{time: string, service: string, text: string, trace_id?: string}} line */
function line({ time, service, text, trace_id: id }) {
  const at = micros(time);
  return h('li', { class: 'log error', 'data-testid': 'first-error' },
    h('time', { class: 'at', datetime: isoTime(at) }, clock(at, false)), h('span', { class: 'severity' }, 'error'),
    h('span', { class: 'body' }, h('bdi', {}, `${service}: `), id ? traceLink(id, null, h('bdi', {}, text)) : h('bdi', {}, text)));
}

/** The times of the alert's events. @param {Record<string, any>} episode @param {string | null} end */
export function timeline(episode, end) {
  const at = (/** @type {string | null} */ text) => (text ? h('time', { datetime: text, title: text }, clock(micros(text), false)) : '–');
  const fact = (/** @type {string} */ name, /** @type {Child[]} */ ...value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  const targets = Object.entries(episode.delivered || {});
  return h('dl', { class: 'facts', 'data-testid': 'timeline' },
    fact('State', h('strong', { class: end ? 'good' : 'bad' }, end ? 'is over' : 'fires')),
    fact('Began', at(episode.started)),
    fact('Herald notified', at(episode.accepted), ' ', h('span', { class: 'muted' }, after(episode.started, episode.accepted))),
    fact('Over', at(end), ' ', end && h('span', { class: 'muted' }, after(episode.started, end), !episode.resolved && ', herald will be told')),
    fact('Notifications', count(episode.notifications)),
    fact('Delivered to', targets.length > 0 ? targets.map(([target, told]) => [h('bdi', {}, target), ' ', at(told.first), ' ']) : 'no target yet'));
}

/** @param {string} from @param {string} to */
const after = (from, to) => `after ${span((micros(to) - micros(from)) / 1e3)}`;
