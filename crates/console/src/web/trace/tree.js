// The shape of a trace, hints about its times, and round times for its axis.

import { duration } from '../format.js';

/**
 * A span as the server lays it out; offsets and lengths in microseconds.
 * @typedef {{
 *   span_id: string, depth: number, service: string, name: string, kind: string, status: string, status_message: string,
 *   offset_us: number, duration_us: number, critical?: {offset_us: number, duration_us: number}[], attributes?: Pair[], resource: number,
 *   scope: string, events?: Event[], links?: Link[], logs?: Log[],
 * }} Row
 */
/** @typedef {{key: string, value: unknown}} Pair */
/** @typedef {{name: string, offset_us: number, attributes?: Pair[]}} Event */
/** @typedef {{trace_id: string, span_id: string, known: boolean, trace_state?: string, attributes?: Pair[]}} Link */
/** @typedef {{time_us: number, offset_us: number, severity: string, body: string, service?: string, attributes?: Pair[]}} Log */
/**
 * @typedef {{
 *   trace_id: string, complete: boolean, missing_parents?: string[], start_us: number, duration_us: number, services: string[],
 *   span_count: number, error_count: number, dropped_spans: number, resources?: Pair[][], rows: Row[], logs?: Log[],
 *   linked_from?: {trace_id: string, span_id: string, service: string, name: string}[],
 * }} Trace
 */

/** From rows in tree order with depths: each row's parent, last descendant, and place among its siblings. @param {Row[]} rows */
export function treeOf(rows) {
  /** @type {number[]} */
  const parent = [];
  const last = rows.map((_, index) => index);
  /** @type {number[]} */
  const position = [];
  /** @type {number[]} */
  const path = [];
  /** @type {Map<number, number>} */
  const children = new Map();
  rows.forEach((row, index) => {
    path.length = Math.min(path.length, row.depth);
    parent[index] = path.length > 0 ? path[path.length - 1] : -1;
    for (const above of path) last[above] = index;
    position[index] = (children.get(parent[index]) || 0) + 1;
    children.set(parent[index], position[index]);
    path.push(index);
  });
  const siblings = rows.map((_, index) => children.get(parent[index]) || 0);
  return { parent, last, position, siblings };
}

/** Round times from 0: steps of 1, 2 or 5 times a power of ten, no more than `most` of them. @param {number} total @param {number} most */
export function ticks(total, most) {
  const rough = total / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999) || total;
  const found = [];
  for (let at = 0; at <= total * 0.96; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

/** By how many nanoseconds a span ends before it begins, as the console notes when it takes one in. */
const ENDS_EARLY = 'console.ends_before_start_ns';
/** The usual difference between clocks of one machine. */
const SAME_CLOCK_US = 1000;

/** How long before its beginning a span ends, in microseconds; a sender may write that attribute as well. @param {Row} row */
export const negative = ({ attributes = [], duration_us: length }) => (length === 0 && Number(attributes.find(({ key }) => key === ENDS_EARLY)?.value) || 0) / 1e3;

/** By how much a span begins before the call of another service that made it. @param {Row} row @param {Row | undefined} above */
function early(row, above) {
  const us = above && above.service !== row.service ? above.offset_us - row.offset_us : 0;
  return us > SAME_CLOCK_US ? us : 0;
}

/** Spans that begin before the call that made them, by more than clocks in one machine differ. @param {Trace} trace */
export function skewed(trace) {
  const { parent } = treeOf(trace.rows);
  return trace.rows.filter((row, index) => early(row, trace.rows[parent[index]]) > 0);
}

/** Times of a span that cannot be right. @param {Row} row @param {Row | undefined} above */
export function timeHints(row, above) {
  const [length, lead] = [negative(row), early(row, above)];
  return [
    length > 0 && `It ends ${duration(length)} before it begins, and so is drawn without a length.`,
    above && lead > 0 && `It begins ${duration(lead)} before the call by ${above.service} that made it: the clocks of both differ.`,
  ].filter((hint) => hint !== false && hint !== undefined).join(' ');
}

/** Whether a span contains a text: in its names, attributes or log lines. @param {Row} row @param {string} text in lower case */
export function rowContains(row, text) {
  const pairs = [...(row.attributes || []), ...(row.events || []).flatMap((event) => [{ key: event.name, value: '' }, ...(event.attributes || [])])];
  const words = [row.service, row.name, row.kind, row.status_message, row.span_id, ...pairs.flatMap(({ key, value }) => [key, `${key}=${value}`, String(value)]),
    ...(row.logs || []).map((log) => log.body)];
  return words.some((word) => String(word).toLowerCase().includes(text));
}
