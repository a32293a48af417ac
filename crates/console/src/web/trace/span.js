// The details below an open span: its log lines, attributes, events and links.

import { colourOf } from '../colours.js';
import { copyButton, h } from '../dom.js';
import { count, duration, offset, valueText } from '../format.js';
import { serviceHref, traceHref, traceLink, tracesHref } from '../links.js';
import { formatTag } from '../search.js';
import { logLines } from './logs.js';

/** @typedef {import('./tree.js').Row} Row */
/** @typedef {import('./tree.js').Trace} Trace */
/** @typedef {import('./tree.js').Pair} Pair */

/** @param {Row} row @param {Trace} trace @param {string} hint what is wrong with its times */
export function spanDetail(row, trace, hint) {
  return h('div', { class: `detail ${colourOf(row.service)}`, role: 'row', 'aria-level': row.depth + 2, 'data-testid': 'span-detail', 'data-index': trace.rows.indexOf(row) },
    h('div', { role: 'gridcell', 'aria-colspan': '3', class: 'inset' },
      summary(row, trace),
      row.status === 'error' && h('p', { class: 'status-message' }, h('strong', {}, 'Error'), ' ', h('bdi', {}, row.status_message || 'The span has failed without a message.')),
      hint && h('p', { class: 'odd-times', 'data-testid': 'span-times' }, hint),
      row.logs && row.logs.length > 0 && part('Logs', row.logs.length, logLines(row.logs), 'span-logs'),
      columns(row, trace)));
}

/** @param {string} title @param {number} number @param {import('../dom.js').Child} content @param {string} [testid] */
const part = (title, number, content, testid) => h('section', { 'data-testid': testid }, h('h3', {}, title, number > 1 && h('span', { class: 'number' }, count(number))), content);

/** @param {Row} row @param {Trace} trace */
function summary(row, trace) {
  const address = `${location.origin}${traceHref(trace.trace_id, row.span_id) || location.pathname}`;
  const critical = (row.critical || []).reduce((sum, piece) => sum + piece.duration_us, 0);
  return h('p', { class: 'summary' },
    h('span', {}, row.kind), h('span', {}, `starts at ${offset(row.offset_us)}`), h('span', {}, `lasts ${duration(row.duration_us)}`),
    critical > 0 && h('span', {}, `${duration(critical)} on the critical path`),
    h('span', { class: row.status === 'error' ? 'error' : null }, `status ${row.status}`),
    row.scope && h('span', {}, 'scope ', h('bdi', {}, row.scope)),
    h('a', { href: serviceHref(row.service) }, 'Service ', h('bdi', {}, row.service)),
    h('span', { class: 'ids' }, 'span ', h('code', {}, row.span_id), copyButton('the span id', row.span_id), copyButton('a link to this span', address, 'Copy link')));
}

/** @param {Row} row @param {Trace} trace */
function columns(row, trace) {
  const { attributes = [], events = [], links = [] } = row;
  const resource = (trace.resources || [])[row.resource] || [];
  return h('div', { class: 'columns' },
    part('Attributes', attributes.length, attributes.length > 0 ? attributeTable(attributes, true) : h('p', { class: 'muted' }, 'None'), 'span-attributes'),
    h('div', {},
      events.length > 0 && part('Events', events.length, h('ol', { class: 'events' }, events.map((event) => h('li', { 'data-testid': 'span-event' },
        h('span', { class: 'at' }, offset(event.offset_us)), h('strong', {}, event.name),
        (event.attributes || []).length > 0 && attributeTable(event.attributes || [], false))))),
      links.length > 0 && part('Links', links.length, h('ul', { class: 'links' }, links.map(linkItem))),
      h('details', { class: 'resource' }, h('summary', {}, 'Resource', h('span', { class: 'number' }, count(resource.length))), attributeTable(resource, false))));
}

/** @param {Pair[]} attributes @param {boolean} searchable */
function attributeTable(attributes, searchable) {
  return h('table', { class: 'pairs' }, h('tbody', {}, attributes.map(({ key, value }) => {
    const text = valueText(value);
    return h('tr', {}, h('th', { scope: 'row' }, key), h('td', {}, text),
      h('td', { class: 'do' },
        searchable && h('a', { class: 'plain', href: tracesHref({ tags: formatTag(key, text) }), 'aria-label': `Find traces with ${key} of this value` }, 'Find'),
        copyButton(`the value of ${key}`, text)));
  })));
}

/** @param {import('./tree.js').Link} link */
function linkItem(link) {
  const { attributes = [], trace_state: state } = link;
  const shown = state ? [...attributes, { key: 'w3c.tracestate', value: state }] : attributes;
  const name = [h('code', {}, link.trace_id), ' span ', h('code', {}, link.span_id)];
  return h('li', { 'data-testid': 'span-link' },
    link.known ? traceLink(link.trace_id, link.span_id, name) : h('span', {}, name, h('span', { class: 'muted' }, ' (not in this console)')),
    shown.length > 0 && attributeTable(shown, false));
}
