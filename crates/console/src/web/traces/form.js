// The search form: its fields and their choices.

import { get, reason } from '../api.js';
import { h, replaceWhenChanged } from '../dom.js';
import { BadField, DEFAULT_LIMIT, FIELDS, RANGES } from '../search.js';

/** @typedef {HTMLInputElement | HTMLSelectElement} Field */

export const ORDER_NAMES = { newest: 'Newest first', slowest: 'Slowest first', fastest: 'Fastest first', errors: 'Most errors first', spans: 'Most spans first' };

/** @param {string} name @param {string} hint @param {string} [title] */
const text = (name, hint, title) => h('input', { name, type: 'text', spellcheck: 'false', autocapitalize: 'off', placeholder: hint, title, 'aria-describedby': 'form-error' });

export function searchForm() {
  const service = h('select', { name: 'service' });
  const operation = h('select', { name: 'operation' });
  const error = h('input', { name: 'error', type: 'checkbox', value: 'true' });
  const limit = h('input', { name: 'limit', type: 'number', min: '1', max: '1000', value: DEFAULT_LIMIT, inputmode: 'numeric', 'aria-describedby': 'form-error' });
  const tags = text('tags', 'http.response.status_code>=500 app.sku="green tea", or a trace id');
  const min = text('min_duration', '5 ms', 'Shortest duration: 100 µs, 5 ms, 1.5 s');
  const max = text('max_duration', '2 s', 'Longest duration: 100 µs, 5 ms, 1.5 s');
  const last = h('select', { name: 'last' }, h('option', { value: '' }, 'Any time'),
    RANGES.map((range) => h('option', { value: range }, `Last ${range} min`)));
  const sort = h('select', { name: 'sort' }, Object.entries(ORDER_NAMES).map(([value, name]) => h('option', { value: value === 'newest' ? '' : value }, name)));
  const help = h('p', { class: 'form-help muted' }, 'Tags: key=value, key!=value, globs as in service=data* or http.route!=/health*; numbers and duration by >=, <=, > and <. In quotes a star is a star.');
  const refusal = h('p', { class: 'form-error', id: 'form-error', role: 'alert', hidden: true });
  /** @type {Record<string, Field>} */
  const fields = { service, operation, tags, min_duration: min, max_duration: max, limit, error, last, sort };
  const label = (/** @type {string} */ kind, /** @type {string} */ name, /** @type {Field} */ field) => h('label', { class: kind }, `${name} `, field);
  const element = h('form', { class: 'search', 'data-testid': 'search-form', role: 'search', 'aria-label': 'Find traces', autocomplete: 'off', novalidate: true },
    label('f-service', 'Service', service), label('f-operation', 'Operation', operation), label('f-tags', 'Tags or trace id', tags),
    label('f-min', 'Min', min), label('f-max', 'Max', max), label('f-last', 'Time', last), label('f-sort', 'Order', sort), label('f-limit', 'Limit', limit),
    h('label', { class: 'check f-error' }, error, ' Errors only'),
    h('button', { class: 'primary f-submit', type: 'submit' }, 'Find traces'), help, refusal);
  service.addEventListener('change', () => { operation.value = ''; loadOperations(''); });

  /** @type {string[]} */
  let known = [];

  /** @param {HTMLSelectElement} select @param {string} all @param {string[]} names @param {string} chosen */
  function options(select, all, names, chosen) {
    const every = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
    replaceWhenChanged(select, every, () => [h('option', { value: '' }, all), ...every.map((name) => h('option', { value: name }, name))]);
    select.value = chosen;
  }

  /** @param {string} chosen */
  async function loadOperations(chosen) {
    operation.disabled = service.value === '';
    operation.title = service.value === '' ? 'Choose a service first' : '';
    options(operation, 'All operations', [], service.value === '' ? '' : chosen);
    if (service.value === '') return;
    const of = service.value;
    try {
      const { data } = await get(`/api/services/${encodeURIComponent(of)}/operations`);
      const names = (data || []).map((/** @type {any} */ one) => (typeof one === 'string' ? one : one.name));
      if (service.value === of) options(operation, 'All operations', [...new Set(/** @type {string[]} */ (names))], operation.value || chosen);
    } catch { /* The list stays empty. */ }
  }

  function read() {
    const query = new URLSearchParams();
    const data = new FormData(element);
    for (const field of [...FIELDS, 'last', 'sort']) {
      const value = String(data.get(field) || '').trim();
      if (value) query.set(field, value);
    }
    const most = limit.value.trim();
    if (most && most !== DEFAULT_LIMIT) query.set('limit', most);
    return query;
  }

  return {
    element,
    loadOperations,
    read,
    /** @param {string[]} names */
    services(names) {
      known = names;
      if (document.activeElement !== service) options(service, 'All services', known, service.value);
    },
    /** @param {URLSearchParams} state */
    fill(state) {
      for (const field of [tags, min, max]) field.value = state.get(field.name) || '';
      limit.value = state.get('limit') || DEFAULT_LIMIT;
      error.checked = state.get('error') === 'true';
      last.value = state.get('last') || '';
      sort.value = state.get('sort') || '';
      options(service, 'All services', known, state.get('service') || '');
    },
    /** Shows what the user has to correct. @param {unknown} problem @param {boolean} [focus] */
    refuse(problem, focus = false) {
      refusal.textContent = problem ? reason(problem) : '';
      refusal.hidden = !problem;
      for (const field of Object.values(fields)) field.removeAttribute('aria-invalid');
      if (!(problem instanceof BadField)) return;
      fields[problem.field].setAttribute('aria-invalid', 'true');
      if (focus) fields[problem.field].focus();
    },
    /** @param {(text: string) => boolean} open */
    onPaste(open) {
      // A text pasted after `session.id=` is a value.
      const isAll = () => tags.selectionStart === 0 && tags.selectionEnd === tags.value.length;
      tags.addEventListener('paste', (event) => { if (isAll() && open(event.clipboardData?.getData('text') || '')) event.preventDefault(); });
    },
    /** @param {(query: URLSearchParams) => void} arrange */
    onArrange(arrange) {
      for (const field of [last, sort]) field.addEventListener('change', () => arrange(read()));
    },
  };
}
