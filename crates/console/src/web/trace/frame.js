// The parts around the waterfall's rows: the legend, the search, the time axis.

import { h } from '../dom.js';
import { duration, plural, roundDuration } from '../format.js';
import { rowContains, ticks } from './tree.js';

/** @typedef {import('./waterfall.js').Waterfall} Waterfall */

/** @param {Waterfall} waterfall @param {Waterfall} [before] whose search goes on */
export function legend(waterfall, before) {
  const critical = h('input', { type: 'checkbox' });
  critical.checked = !waterfall.element?.classList.contains('no-critical');
  critical.addEventListener('change', () => waterfall.element?.classList.toggle('no-critical', !critical.checked));
  const hasEvents = waterfall.rows.some((row) => (row.events || []).length > 0);
  return h('div', { class: 'legend' },
    h('label', { class: 'check' }, critical, h('span', { class: 'key critical', 'aria-hidden': 'true' }), 'Critical path'),
    hasEvents && h('span', { class: 'key-entry' }, h('span', { class: 'key event', 'aria-hidden': 'true' }), 'Event'),
    search(waterfall, before),
    h('span', { class: 'keys' }, h('kbd', {}, '↑'), h('kbd', {}, '↓'), ' move ', h('kbd', {}, '←'), h('kbd', {}, '→'), ' fold ', h('kbd', {}, 'Enter'), ' details'),
    h('span', { class: 'actions' },
      h('button', { class: 'plain', type: 'button', onclick: () => waterfall.foldAll(true) }, 'Fold all'),
      h('button', { class: 'plain', type: 'button', onclick: () => waterfall.foldAll(false) }, 'Unfold all')));
}

/** @param {Waterfall} waterfall @param {Waterfall} [before] */
function search(waterfall, before) {
  const field = h('input', { type: 'text', 'data-testid': 'span-search', placeholder: 'Search spans', 'aria-label': 'Search in spans: names, attributes, log lines', spellcheck: 'false' });
  const found = h('span', { role: 'status', 'data-testid': 'spans-found' });
  const mark = () => { const number = waterfall.mark(field.value); found.textContent = field.value.trim() ? plural(number, 'span') : ''; };
  field.value = before?.searchField()?.value || '';
  if (field.value) mark();
  field.addEventListener('input', mark);
  field.addEventListener('keydown', (event) => {
    const wanted = field.value.trim().toLowerCase();
    if (event.key === 'Enter' && wanted) waterfall.next((row) => rowContains(row, wanted));
  });
  return h('span', { class: 'span-search' }, field, found);
}

/** @param {number} total */
export function head(total) {
  const axis = h('div', { class: 'axis', role: 'columnheader', 'aria-label': `Time, 0 to ${duration(total)}` });
  const inner = h('div', {});
  for (const tick of ticks(total, matchMedia('(max-width: 720px)').matches ? 4 : 8)) {
    const label = h('span', { 'aria-hidden': 'true' }, tick === 0 ? '0' : roundDuration(tick));
    const line = h('i', {});
    label.style.left = line.style.left = `${(100 * tick) / total}%`;
    axis.append(label);
    inner.append(line);
  }
  return [
    h('div', { class: 'head', role: 'row', 'aria-rowindex': '1' },
      h('div', { class: 'name', role: 'columnheader' }, 'Service and operation'), axis, h('div', { class: 'length', role: 'columnheader' }, 'Duration')),
    h('div', { class: 'lines', 'aria-hidden': 'true' }, inner),
  ];
}
