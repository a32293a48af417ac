// The pages' requests to the server.

import { visible } from './dom.js';

export class ServerError extends Error {
  /** @param {number} status 0: no answer @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const TIMEOUT_MS = 10000;
const NO_TOKEN = 'this console asks for a token: open the address with “?token=…” that it printed when it started';

/** Ends when the present page is left. */
let shown = new AbortController().signal;

/** Requests from now on end when this page is left. @param {AbortSignal} signal */
export function askFor(signal) { shown = signal; }

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function answer(path, options = {}) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  let response;
  try {
    response = await fetch(path, { ...options, signal, headers: { accept: 'application/json', ...options.headers } });
  } catch (error) {
    throw new ServerError(0, error instanceof Error && error.name === 'TimeoutError' ? 'no answer within 10 s' : 'cannot be reached');
  }
  if (response.ok) return response;
  if (response.status === 401) throw new ServerError(401, NO_TOKEN);
  const text = await response.text().catch(() => '');
  throw new ServerError(response.status, errorText(text) || `${response.status} ${response.statusText}`);
}

/** Problem documents, Prometheus's and Jaeger's errors, Loki's plain text. @param {string} text */
function errorText(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return text.trim().slice(0, 500);
  }
  const listed = Array.isArray(body?.errors) && body.errors[0];
  const found = body?.detail || body?.error || listed?.msg || listed?.message || body?.title;
  return typeof found === 'string' ? found : null;
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, signal = shown) {
  const response = await answer(path, { signal });
  try {
    return await response.json();
  } catch {
    throw new ServerError(response.status, 'the answer is not JSON');
  }
}

/** `null` if the server answers 404. @template T @param {Promise<T>} asked @returns {Promise<T | null>} */
async function ifThere(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ServerError && error.status === 404) return null;
    throw error;
  }
}

/** `null` when there is nothing at this path. @param {string} path @returns {Promise<any>} */
export const getIfThere = (path) => ifThere(get(path));

/** Text of another kind; `null` when there is none. @param {string} path */
export const getText = (path) => ifThere(answer(path, { signal: shown, headers: { accept: 'text/html' } }).then((found) => found.text()));

/** @param {'POST' | 'PUT' | 'DELETE'} method @param {string} path @param {unknown} [body] */
export async function send(method, path, body) {
  if (body === undefined) await answer(path, { method });
  else await sendText(method, path, JSON.stringify(body));
}

/** @param {'POST' | 'PUT' | 'DELETE'} method @param {string} path @param {string} body JSON */
export async function sendText(method, path, body) {
  await answer(path, { method, body, headers: { 'content-type': 'application/json' } });
}

/** @typedef {{labels: Record<string, string>, value: number}} Sample */
/** @typedef {{labels: Record<string, string>, points: [number, number][]}} Series */

/** The value of an expression now. @param {string} query @returns {Promise<Sample[]>} */
export async function instant(query) {
  const { data } = await get(`/api/v1/query?${new URLSearchParams({ query })}`);
  return data.result.map((/** @type {any} */ { metric, value }) => ({ labels: metric, value: Number(value[1]) }));
}

/**
 * Its values over time, in seconds since 1970.
 * @param {string} query @param {{start: number, end: number, step: number}} range
 * @returns {Promise<Series[]>}
 */
export async function over(query, { start, end, step }) {
  const parameters = new URLSearchParams({ query, start: String(start), end: String(end), step: String(step) });
  const { data } = await get(`/api/v1/query_range?${parameters}`);
  return data.result.map((/** @type {any} */ { metric, values }) => ({
    labels: metric,
    points: values.map((/** @type {[number, string]} */ [time, value]) => [time, Number(value)]),
  }));
}

/** @typedef {{traceId: string, spanId: string, value: number, time: number}} Exemplar */

/** Requests behind the series of an expression. @param {string} query @param {{start: number, end: number}} range @returns {Promise<Exemplar[]>} */
export async function exemplars(query, { start, end }) {
  const { data } = await get(`/api/v1/query_exemplars?${new URLSearchParams({ query, start: String(start), end: String(end) })}`);
  return data.flatMap((/** @type {any} */ series) => series.exemplars).map((/** @type {any} */ one) => ({
    traceId: one.labels.trace_id, spanId: one.labels.span_id, value: Number(one.value), time: Number(one.timestamp),
  }));
}

/** @typedef {{ns: string, us: number, text: string, labels: Record<string, string>}} Line */

/**
 * Log lines, the newest first.
 * @param {string} query @param {Record<string, string>} [more]
 * @returns {Promise<Line[]>}
 */
export async function lines(query, more = {}) {
  const { data } = await get(`/loki/api/v1/query_range?${new URLSearchParams({ query, ...more })}`);
  /** @type {Line[]} */
  const found = data.result.flatMap((/** @type {any} */ { stream, values }) => values.map((/** @type {[string, string]} */ [ns, text]) => ({
    ns, us: Number(ns.slice(0, -3)), text, labels: stream,
  })));
  return found.sort(newestFirst);
}

/** Nanoseconds are more than a number holds. @param {Line} a @param {Line} b */
export const newestFirst = (a, b) => b.ns.length - a.ns.length || (a.ns < b.ns ? 1 : a.ns > b.ns ? -1 : 0);

/** Numbers made of log lines, over time. @param {string} query @param {{start: number, end: number, step: number}} range @returns {Promise<Series[]>} */
export async function volume(query, { start, end, step }) {
  const parameters = new URLSearchParams({ query, start: `${start}000000000`, end: `${end}000000000`, step: `${step}s` });
  const { data } = await get(`/loki/api/v1/query_range?${parameters}`);
  return data.result.map((/** @type {any} */ { metric, values }) => ({
    labels: metric, points: values.map((/** @type {[number, string]} */ [time, value]) => [Number(time), Number(value)]),
  }));
}

/** Services that traces name. @returns {Promise<string[]>} */
export async function knownServices() {
  const { data } = await get('/api/services');
  return Array.isArray(data) ? data : [];
}

/** Services that metrics name. @returns {Promise<string[]>} */
export async function measuredServices() {
  const { data } = await get('/api/v1/label/service_name/values');
  return data;
}

/** Services that log lines name. @returns {Promise<string[]>} */
export async function loggingServices() {
  const { data } = await get('/loki/api/v1/label/service_name/values');
  return Array.isArray(data) ? data : [];
}

/** In words, which may be a server's. @param {unknown} error */
export const reason = (error) => visible(error instanceof Error ? error.message : error);
