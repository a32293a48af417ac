// The content of the search form, and the request that it makes.

import { HEX } from './links.js';

export const FIELDS = ['service', 'operation', 'tags', 'min_duration', 'max_duration', 'error'];
export const DEFAULT_LIMIT = '20';

/** A person has to correct something. */
export class BadField extends Error {
  /** @param {string} field @param {string} message */
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** The server's message about the field that it refuses. @param {unknown} error */
export function refusal(error) {
  const [, why] = /^parameter 'where': (.*)$/s.exec(error instanceof Error ? error.message : '') || [];
  return why ? new BadField('tags', `Tags: ${why}`) : error;
}

/** A term of the search, as the server reads it: in quotes a star is a star. @param {string} key @param {string} value @param {'=' | '!='} [sign] */
export function formatTag(key, value, sign = '=') {
  const word = (/** @type {string} */ text) => (/^[^\s"=!<>*]+$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`);
  return `${word(key)}${sign}${word(value)}`;
}

/** The id in a pasted trace id, `traceparent` or address of a trace. @param {string} text */
export function pastedTraceId(text) {
  const found = /^\s*(?:[0-9a-f]{2}-|https?:\/\/\S+\/trace\/)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2}|#\S*)?\s*$/i.exec(text);
  const id = found?.[1].toLowerCase();
  return id && HEX.trace.test(id) ? id : null;
}

/** Units as people and the pages write them, and as the server reads them. @type {Record<string, string>} */
const UNITS = { ns: 'ns', us: 'us', µs: 'us', μs: 'us', ms: 'ms', s: 's', m: 'm', min: 'm', h: 'h' };

/** `≥ 120 ms`, `1 min 5 s`, `2 d 3 h`, `1.5s` as the server reads it; `null` when it is no duration. @param {string} text @param {RegExp} sign */
function serverDuration(text, sign) {
  const rest = text.trim().replace(sign, '').replace(/\s+/g, '').replace(/^(\d+)d(?:(\d+)h)?/, (_, days, hours = 0) => `${24 * days + Number(hours)}h`);
  const parts = /^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|min|s|m|h))+$/;
  if (!parts.test(rest)) return null;
  return rest.replace(/ns|us|µs|μs|ms|min|s|m|h/g, (unit) => UNITS[unit]);
}

/** The query for the server. @param {URLSearchParams} state @throws {BadField} */
export function serverQuery(state) {
  const query = new URLSearchParams();
  for (const field of ['service', 'operation', 'error']) if (state.get(field)) query.set(field, state.get(field) || '');
  for (const { field, name, sign } of [
    { field: 'min_duration', name: 'Min', sign: /^(?:>=?|≥)/ },
    { field: 'max_duration', name: 'Max', sign: /^(?:<=?|≤)/ },
  ]) {
    const text = state.get(field);
    if (!text) continue;
    const read = serverDuration(text, sign);
    if (!read) throw new BadField(field, `${name}: write a number and a unit, as the list does: 100 µs, 5 ms, 1.5 s, 1 min.`);
    query.set(field, read);
  }
  if (state.get('tags')) query.set('where', state.get('tags') || '');
  const limit = state.get('limit') || DEFAULT_LIMIT;
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > 1000) throw new BadField('limit', 'Limit: a whole number from 1 to 1000.');
  query.set('limit', limit);
  return query;
}

/** @typedef {{trace_id: string, root_service: string, root_name: string, start_us: number, duration_us: number, span_count: number, error_count: number, services: {name: string, spans: number}[]}} Summary */

/** How the list may be sorted. @type {Record<string, (a: Summary, b: Summary) => number>} */
export const ORDERS = {
  newest: () => 0, // As the server has it.
  slowest: (a, b) => b.duration_us - a.duration_us,
  fastest: (a, b) => a.duration_us - b.duration_us,
  errors: (a, b) => b.error_count - a.error_count,
  spans: (a, b) => b.span_count - a.span_count,
};

/** How far back, in minutes; the server lists the newest first, so traces that are cut off here are older than those that it left out. */
export const RANGES = ['1', '5', '15', '60'];

/** The traces that the page shows, of those that the server found. @param {Summary[]} traces @param {URLSearchParams} state */
export function arranged(traces, state) {
  const minutes = Number(RANGES.find((range) => range === state.get('last')) || Infinity);
  const since = (Date.now() - minutes * 60e3) * 1e3;
  const order = ORDERS[state.get('sort') || 'newest'] || ORDERS.newest;
  return traces.filter((trace) => trace.start_us >= since).sort(order);
}

/** So that “All traces” on a trace's page leads back to the search that found it. */
export function rememberSearch() {
  try { sessionStorage.setItem('search', location.search); } catch { /* Storage is a comfort. */ }
}

export function rememberedSearch() {
  try {
    const search = sessionStorage.getItem('search') || '';
    return search.startsWith('?') ? `/traces${search}` : '/traces';
  } catch {
    return '/traces';
  }
}
