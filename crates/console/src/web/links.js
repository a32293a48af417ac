// The only ways from data to a link: to our own pages, from ids that are checked and names that are encoded.

import { h } from './dom.js';

/** @typedef {import('./dom.js').Child} Child */

export const HEX = { trace: /^[0-9a-f]{32}$/, span: /^[0-9a-f]{16}$/ };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @param {unknown} traceId @param {unknown} [spanId] */
export function traceHref(traceId, spanId) {
  if (!HEX.trace.test(String(traceId))) return null;
  return `/trace/${traceId}${HEX.span.test(String(spanId)) ? `#span=${spanId}` : ''}`;
}

/** @param {unknown} traceId @param {unknown} spanId @param {...Child} children */
export function traceLink(traceId, spanId, ...children) {
  const href = traceHref(traceId, spanId);
  return href ? h('a', { href }, children) : h('span', {}, children);
}

/** @param {string} service */
export const serviceHref = (service) => `/services/${encodeURIComponent(service)}`;

/** @param {string} id of herald */
export const alertHref = (id) => (UUID.test(id) ? `/alerts/${id}` : '/alerts');

/** @param {Record<string, string>} query */
export const tracesHref = (query) => `/traces?${new URLSearchParams(query)}`;

/** @param {Record<string, string>} query */
export const logsHref = (query) => `/logs?${new URLSearchParams(query)}`;
