// The shape of a trace, and round times for its axis.

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
/** @typedef {{trace_id: string, span_id: string, known: boolean, attributes?: Pair[]}} Link */
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

/** Spans that begin before the call that made them, by more than clocks in one machine differ. @param {Trace} trace */
export function skewed(trace) {
  const { parent } = treeOf(trace.rows);
  return trace.rows.filter((row, index) => {
    const above = trace.rows[parent[index]];
    return above && above.service !== row.service && row.offset_us < above.offset_us - 1000;
  });
}

/** Whether a span says this anywhere: its names, its attributes, its log lines. @param {Row} row @param {string} text in lower case */
export function says(row, text) {
  const pairs = [...(row.attributes || []), ...(row.events || []).flatMap((event) => [{ key: event.name, value: '' }, ...(event.attributes || [])])];
  const words = [row.service, row.name, row.kind, row.status_message, row.span_id, ...pairs.flatMap(({ key, value }) => [key, `${key}=${value}`, String(value)]),
    ...(row.logs || []).map((log) => log.body)];
  return words.some((word) => String(word).toLowerCase().includes(text));
}
