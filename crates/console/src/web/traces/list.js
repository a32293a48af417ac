// The list of traces: a row per trace, and the text for an empty list.

import { chip, colourOf, swatch } from '../colours.js';
import { copyButton, h } from '../dom.js';
import { age, clock, count, duration, isoTime, plural } from '../format.js';
import { traceHref } from '../links.js';

const EXAMPLE = "curl -s -X POST http://127.0.0.1:8080/api/orders -H 'content-type: application/json' "
  + '-d \'{"sku":"omni-mug","quantity":1,"customer_email":"me@example.com"}\'';

/** @param {import('../search.js').Summary} trace @param {number} longest in microseconds */
export function traceRow(trace, longest) {
  const bar = h('span', { class: `bar ${colourOf(trace.root_service)}` });
  bar.style.width = `${Math.max(0.5, (100 * trace.duration_us) / longest)}%`;
  return h('a', { class: 'trace', href: traceHref(trace.trace_id), 'data-testid': 'trace-row', 'data-trace-id': trace.trace_id, 'data-key': trace.trace_id },
    h('span', { class: 'what' },
      h('span', { class: 'root' }, swatch(trace.root_service),
        h('bdi', { class: 'service' }, trace.root_service), ' ', h('bdi', { class: 'operation' }, trace.root_name || '(no name)'),
        trace.error_count > 0 && h('span', { class: 'badge error' }, plural(trace.error_count, 'error')))),
    h('span', { class: 'chips' }, trace.services.map(({ name, spans }) => chip(name, spans))),
    h('span', { class: 'length' }, h('span', { class: 'track' }, bar), h('span', { class: 'number' }, duration(trace.duration_us))),
    h('span', { class: 'spans' }, count(trace.span_count), h('span', { class: 'unit' }, trace.span_count === 1 ? ' span' : ' spans')),
    h('span', { class: 'when', title: isoTime(trace.start_us) }, h('span', { class: 'time' }, clock(trace.start_us)), ' ',
      h('span', { class: 'age', 'data-age': trace.start_us }, age(trace.start_us))));
}

/** @param {number} searched @param {() => void} clear */
export function noMatch(searched, clear) {
  return h('div', { class: 'empty', 'data-testid': 'empty-state' },
    h('h2', {}, 'No trace matches'),
    h('p', {}, `${plural(searched, 'stored trace')} searched. Loosen a filter, or wait: spans arrive within seconds of their request.`),
    h('button', { type: 'button', onclick: clear }, 'Clear filters'));
}

export function nothingYet() {
  return h('div', { class: 'empty', 'data-testid': 'empty-state' },
    h('h2', {}, 'No traces yet'),
    h('p', {}, 'Send a request through the gateway; its trace appears here a moment later.'),
    h('div', { class: 'command' }, h('pre', { tabindex: '0', 'aria-label': 'Example request' }, EXAMPLE), copyButton('the example request', EXAMPLE)),
    h('p', { class: 'muted' }, 'If the gateway moved to another port, “omnitrace up” printed its address when it started. ',
      'Any OpenTelemetry SDK may send here too: OTLP over HTTP, to this address.'));
}
