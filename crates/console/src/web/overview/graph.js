// The calls between services: from the services' own metrics, or, for services without metrics, from their spans (which may be a sample).

import { get, instant } from '../api.js';
import { OVERVIEW, filled } from '../queries.js';

/** @typedef {import('../api.js').Sample} Sample */
/** @typedef {{name: string, isService: boolean, rate: number | null, errorShare: number | null, p95: number | null, ready: boolean | null, versions: string[], isGone: boolean}} Node */
/** @typedef {{from: string, to: string, rate: number, errorShare: number | null, p95: number | null}} Edge */
/** @typedef {{nodes: Node[], edges: Edge[], isPart: boolean}} Graph `isPart`: there is more than a map can show */
/** @typedef {{count: number, errors: number, p95_us: number | null}} Measured */
/** @typedef {Measured & {caller: string, callee: string, is_database: boolean}} Call */
/** The calls that spans show. @typedef {{seconds: number, calls: Call[], services: (Measured & {service: string})[], truncated: boolean}} Traced */

/** These monitor the others, and are not monitored services themselves. */
const WATCHERS = new Set(['probe', 'herald', 'console', 'loadtest']);
const WINDOW = '1m';
/** More would be no map. */
const MOST = 60;

/** @returns {Promise<Graph>} */
export async function readGraph() {
  const names = Object.keys(OVERVIEW);
  const [traced, ...answers] = await Promise.all([
    /** @type {Promise<Traced>} */ (get('/api/calls')), ...Object.values(OVERVIEW).map((query) => instant(filled(query, { window: WINDOW })))]);
  const found = /** @type {Record<keyof typeof OVERVIEW, Sample[]>} */ (Object.fromEntries(names.map((name, index) => [name, answers[index]])));
  const counted = [
    ...edgesOf(found.calls, found.callErrors, found.callP95, 'service_peer_name'),
    ...edgesOf(found.statements, found.statementErrors, found.statementP95, 'db_system_name'),
  ];
  const edges = [...counted, ...tracedEdges(traced, counted)];
  return busiest(nodesOf(found, traced, edges), edges, traced.truncated);
}

/** Those that nobody counts. @param {Traced} traced @param {Edge[]} counted @returns {Edge[]} */
function tracedEdges({ calls, seconds }, counted) {
  const known = new Set(counted.map(({ from, to }) => JSON.stringify([from, to])));
  return calls.filter(({ caller, callee }) => !WATCHERS.has(caller) && !WATCHERS.has(callee) && !known.has(JSON.stringify([caller, callee])))
    .map((call) => ({ from: call.caller, to: call.callee, ...figures(call, seconds) }));
}

/** @param {Measured} measured @param {number} seconds */
const figures = ({ count, errors, p95_us: p95 }, seconds) => ({ rate: count / seconds, errorShare: share(errors, count), p95: p95 === null ? null : p95 / 1e6 });

/** As many as a map can show. @param {Node[]} nodes @param {Edge[]} edges @param {boolean} truncated by the server @returns {Graph} */
function busiest(nodes, edges, truncated) {
  const weight = (/** @type {Node} */ node) => (node.isGone ? Infinity : node.rate || 0);
  const kept = new Set([...nodes].sort((a, b) => weight(b) - weight(a)).slice(0, MOST).map(({ name }) => name));
  return {
    nodes: nodes.filter(({ name }) => kept.has(name)),
    edges: edges.filter(({ from, to }) => kept.has(from) && kept.has(to)),
    isPart: truncated || nodes.length > MOST,
  };
}

/** By the values of some labels. @param {Sample[]} samples @param {string[]} labels @returns {Map<string, number>} */
export function by(samples, ...labels) {
  return new Map(samples.map((sample) => [keyOf(sample, labels), sample.value]));
}

/** @param {Sample} sample @param {string[]} labels */
export const keyOf = (sample, labels) => JSON.stringify(labels.map((label) => sample.labels[label] || ''));

/** A part of a whole; `null` when there is no whole. @param {number | undefined} part @param {number | undefined} whole */
export const share = (part, whole) => (whole ? Math.min(1, (part || 0) / whole) : null);

/** A missing number was not measured. @param {number | undefined} value */
export const measured = (value) => (value === undefined || Number.isNaN(value) ? null : value);

/** @param {Sample[]} rates @param {Sample[]} errors @param {Sample[]} p95 @param {string} callee @returns {Edge[]} */
function edgesOf(rates, errors, p95, callee) {
  const labels = ['service_name', callee];
  const [failed, slow] = [by(errors, ...labels), by(p95, ...labels)];
  return rates.filter(({ labels: { service_name: from, [callee]: to } }) => from && to && !WATCHERS.has(from) && !WATCHERS.has(to)).map((sample) => ({
    from: sample.labels.service_name,
    to: sample.labels[callee],
    rate: sample.value,
    errorShare: share(failed.get(keyOf(sample, labels)), sample.value),
    p95: measured(slow.get(keyOf(sample, labels))),
  }));
}

/** @param {Record<keyof typeof OVERVIEW, Sample[]>} found @param {Traced} traced @param {Edge[]} edges @returns {Node[]} */
function nodesOf(found, traced, edges) {
  const names = (/** @type {Sample[]} */ samples) => samples.map(({ labels }) => labels.service_name);
  const running = new Set(names(found.versions));
  const known = new Set(names(found.known));
  const databases = new Set([...found.statements.map(({ labels }) => labels.db_system_name), ...traced.calls.filter((call) => call.is_database).map(({ callee }) => callee)]);
  const spans = new Map(traced.services.map((one) => [one.service, figures(one, traced.seconds)]));
  const all = new Set([...names(found.requests), ...known, ...spans.keys(), ...edges.flatMap(({ from, to }) => [from, to])]);
  const [rates, errors, p95, ready] = [found.requests, found.errors, found.p95, found.ready].map((samples) => by(samples, 'service_name'));
  return [...all].filter((name) => name && !WATCHERS.has(name)).sort().map((name) => {
    const key = JSON.stringify([name]);
    const counted = { rate: measured(rates.get(key)), errorShare: share(errors.get(key), rates.get(key)), p95: measured(p95.get(key)) };
    return {
      name,
      isService: !databases.has(name),
      ...(counted.rate === null ? spans.get(name) || counted : counted),
      ready: ready.has(key) ? ready.get(key) === 1 : null,
      versions: found.versions.filter(({ labels }) => labels.service_name === name).map(({ labels }) => labels.service_version || '').sort(),
      isGone: known.has(name) && !running.has(name),
    };
  });
}
