// The tables of a service: its slowest operations and calls, its state, its last errors.

import { instant, lines } from '../api.js';
import { serviceLink } from '../colours.js';
import { h } from '../dom.js';
import { age, clock, count, isoTime, percent, plural, rate, seconds, span } from '../format.js';
import { traceLink, tracesHref } from '../links.js';
import { lineText } from '../logs/query.js';
import { by, keyOf, measured, share } from '../overview/graph.js';
import { FAILING } from '../overview/topology.js';
import { CALLS, OPERATIONS, SERVICE, STATEMENTS, filled, literal } from '../queries.js';

/** @typedef {import('../dom.js').Child} Child */
/** @typedef {{labels: Record<string, string>, rate: number, errorShare: number | null, p95: number | null}} Row */

const SHOWN = 12;

/** The slowest first. @param {{rate: string, errors: string, p95: string}} queries @param {string[]} labels @param {string} service @returns {Promise<Row[]>} */
async function rows(queries, labels, service) {
  const ask = (/** @type {string} */ query) => instant(filled(query, { service, window: '1m' }));
  const [rates, errors, p95] = await Promise.all([ask(queries.rate), ask(queries.errors), ask(queries.p95)]);
  const [failed, slow] = [by(errors, ...labels), by(p95, ...labels)];
  return rates.map((sample) => {
    const key = keyOf(sample, labels);
    return { labels: sample.labels, rate: sample.value, errorShare: share(failed.get(key), sample.value), p95: measured(slow.get(key)) };
  }).sort((a, b) => (b.p95 || 0) - (a.p95 || 0)).slice(0, SHOWN);
}

/** @param {string} service */
export async function readTables(service) {
  const [operations, calls, statements] = await Promise.all([
    rows(OPERATIONS, ['http_request_method', 'http_route'], service),
    rows(CALLS, ['service_peer_name', 'http_request_method', 'url_template'], service),
    rows(STATEMENTS, ['db_system_name', 'db_operation_name', 'db_collection_name'], service),
  ]);
  return { operations, calls, statements };
}

/** @param {string} what @param {Row[]} all @param {(labels: Record<string, string>) => Child} name */
function table(what, all, name) {
  if (all.length === 0) return h('p', { class: 'muted' }, 'None in the last minute.');
  return h('div', { class: 'scroll' }, h('table', { class: 'numbers' },
    h('thead', {}, h('tr', {}, [what, 'Rate', 'Failed', '95 % within'].map((column) => h('th', { scope: 'col' }, column)))),
    h('tbody', {}, all.map((row) => h('tr', {}, h('td', {}, name(row.labels)), h('td', {}, rate(row.rate)),
      h('td', { class: (row.errorShare || 0) >= FAILING ? 'bad' : null }, percent(row.errorShare)), h('td', {}, seconds(row.p95)))))));
}

/** @param {string} service @param {Row[]} all */
export const operationTable = (service, all) => table('Operation', all, ({ http_request_method: method, http_route: route }) => {
  const name = [method, route].filter(Boolean).join(' ');
  return h('a', { href: tracesHref({ service, operation: name }) }, name);
});

/** @param {Row[]} calls @param {Row[]} statements */
export const callTable = (calls, statements) => table('Call', [...calls, ...statements].sort((a, b) => (b.p95 || 0) - (a.p95 || 0)), (labels) => (labels.service_peer_name
  ? [serviceLink(labels.service_peer_name), ' ', h('bdi', {}, labels.http_request_method), ' ', h('bdi', {}, labels.url_template)]
  : h('bdi', {}, [labels.db_system_name, labels.db_operation_name, labels.db_collection_name].filter(Boolean).join(' '))));

/** @param {string} service */
export async function readState(service) {
  const ask = (/** @type {string} */ query) => instant(filled(query, { service, window: '1m' }));
  const [known, versions, starts, ready, dependencies] = await Promise.all([
    ask(SERVICE.known), ask(SERVICE.versions), ask(SERVICE.starts), ask(SERVICE.ready), ask(SERVICE.dependencies)]);
  return {
    isGone: known.length > 0 && versions.length === 0,
    versions: versions.map(({ labels, value }) => ({ version: labels.service_version || '–', instances: value })),
    started: starts.map(({ value }) => value).sort((a, b) => b - a),
    ready: ready.length > 0 ? ready[0].value === 1 : null,
    down: dependencies.filter(({ value }) => value === 0).map(({ labels }) => labels.dependency),
  };
}

/** @param {Awaited<ReturnType<typeof readState>>} state */
export function stateList({ isGone, versions, started, ready, down }) {
  const fact = (/** @type {string} */ name, /** @type {Child[]} */ ...value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  const running = versions.map(({ version, instances }) => `${version}${instances > 1 ? ` (${plural(instances, 'instance')})` : ''}`);
  return h('dl', { class: 'facts', 'data-testid': 'state' },
    fact('Version', running.length > 0 ? running.join(', ') : isGone ? h('strong', { class: 'bad' }, 'does not run') : '–'),
    fact('Instances', count(versions.reduce((sum, { instances }) => sum + instances, 0))),
    fact('Started', started.length > 0 ? [h('time', { datetime: isoTime(started[0] * 1e6) }, clock(started[0] * 1e6, false)), ' ',
      h('span', { class: 'muted' }, `${span(Date.now() - started[0] * 1e3)} ago`)] : '–'),
    fact('Ready', ready === null ? '–' : ready ? 'yes' : h('strong', { class: 'bad' }, 'no')),
    down.length > 0 && fact('Does not reach', h('strong', { class: 'bad' }, down.join(', '))));
}

/** @param {string} service */
export const readErrors = (service) => lines(`{service_name=${literal(service)}} | detected_level=~"error|fatal"`, { limit: '10', since: '6h' });

/** @param {import('../api.js').Line[]} found */
export function errorLines(found) {
  if (found.length === 0) return h('p', { class: 'muted' }, 'The console has no error lines of this service.');
  return h('ol', { class: 'logs' }, found.map((line) => ({ ...line, words: lineText(line) })).map(({ us, words, labels }) => h('li', { class: 'log error', 'data-testid': 'error-line' },
    h('time', { class: 'at', datetime: isoTime(us), title: `${isoTime(us)}, ${age(us)}` }, clock(us, false)), h('span', { class: 'severity' }, labels.severity_text || 'error'),
    h('span', { class: 'body' }, traceLink(labels.trace_id, labels.span_id, h('bdi', {}, words))))));
}
