// How some traces of a search differ from the others: the slow, the failed, or those that its filters on
// durations and errors let through.

import { ServerError, get, reason } from '../api.js';
import { swatch } from '../colours.js';
import { h } from '../dom.js';
import { percent, plural } from '../format.js';
import { formatTag, serverQuery } from '../search.js';

/** @typedef {{kind: string, service: string, key: string, value: string, selected: number, selected_share: number, rest: number, rest_share: number}} Difference */
/** @typedef {{selected: number, rest: number, truncated: boolean, keys_left_out: number, differs: Difference[]}} Compared */

/** Filters that select traces. If one is set, the selected traces are compared with the other traces of the search. */
const SELECTING = ['min_duration', 'max_duration', 'error'];
/** Kinds of features that all spans of a service have, with different values. A span without a feature of another kind proves nothing about its trace. */
const HAVE_ALL = ['version', 'resource'];
const NAMES = { slow: 'slow', failed: 'failed', '': 'matching' };
const SLOW = 'Slow traces took longer than nine of ten.';

/** @typedef {keyof typeof NAMES} Selection */

export class Differs {
  /** @param {() => URLSearchParams} state of the search @param {(query: URLSearchParams) => void} find */
  constructor(state, find) {
    this.state = state;
    this.find = find;
    this.request = 0;
    this.chosen = h('select', { 'aria-label': 'Which traces to compare with the rest', 'data-testid': 'selection', onchange: () => this.look() },
      h('option', { value: 'slow' }, 'Slow traces'), h('option', { value: 'failed' }, 'Failed traces'));
    this.body = h('div', { 'aria-live': 'polite' });
    this.element = h('details', { class: 'differs', 'data-testid': 'differs', ontoggle: () => this.look() },
      h('summary', {}, 'What differs'),
      h('p', { class: 'differs-head' }, this.chosen, h('button', { class: 'plain', type: 'button', onclick: () => this.look() }, 'Compare again')), this.body);
  }

  /** @returns {Selection} empty: the filters of the search select */
  selection() {
    if (SELECTING.some((field) => this.state().get(field))) return '';
    return this.chosen.value === 'failed' ? 'failed' : 'slow';
  }

  /** Compares again, if the section is open. */
  async look() {
    if (!this.element.open) return;
    const selection = this.selection();
    this.chosen.hidden = selection === '';
    const mine = ++this.request;
    let shown;
    try {
      const query = serverQuery(this.state());
      query.delete('limit');
      if (selection) query.set('selection', selection);
      shown = this.compared(await get(`/api/differs?${query}`), selection);
    } catch (error) {
      // The header reports that the console does not answer.
      if (error instanceof ServerError && error.status === 0) return;
      // The form reports errors of the search; the differences of another search would mislead.
      if (!(error instanceof ServerError)) return this.body.replaceChildren();
      shown = [h('p', { class: 'form-error' }, reason(error))];
    }
    if (mine === this.request) this.body.replaceChildren(...shown);
  }

  /** @param {Compared} compared @param {Selection} selection */
  compared({ selected, rest, truncated, keys_left_out: left, differs }, selection) {
    const name = NAMES[selection];
    const notes = [
      `${plural(selected, `${name} trace`)}, ${plural(rest, 'other')}${truncated ? ', of more than can be compared at once' : ''}.`,
      selection === 'slow' && SLOW,
      this.state().get('last') && 'The time range is left out of the comparison.',
      left > 0 && `${plural(left, 'attribute')} with very many values, such as ids, ${left === 1 ? 'is' : 'are'} not compared in full.`,
    ];
    return [
      h('p', { class: 'muted', 'data-testid': 'differs-counts' }, notes.filter(Boolean).join(' ')),
      differs.length > 0
        ? h('ol', { class: 'plain-list' }, differs.map((one) => this.row(one, selected, rest, name)))
        : h('p', { 'data-testid': 'differs-none' }, nothing(selected, rest, name)),
    ];
  }

  /** @param {Difference} one @param {number} selected @param {number} rest @param {string} name */
  row(one, selected, rest, name) {
    const what = one.kind === 'operation' ? [h('bdi', {}, one.value)] : [h('bdi', {}, one.key), ' = ', h('bdi', {}, one.value)];
    return h('li', { 'data-testid': 'difference' },
      h('span', { class: 'what' }, swatch(one.service), h('bdi', {}, one.service), ' ', h('strong', {}, what), ': ',
        h('span', { title: `${one.selected} of ${selected}, ${one.rest} of ${rest}` },
          `in ${percent(one.selected_share)} of the ${name} (${one.selected}), ${percent(one.rest_share)} of the rest (${one.rest})`)),
      h('button', { class: 'plain', type: 'button', 'data-testid': 'only', onclick: () => this.narrow(one, '=') }, 'Only these'),
      HAVE_ALL.includes(one.kind) && h('button', { class: 'plain', type: 'button', 'data-testid': 'without', onclick: () => this.narrow(one, '!=') }, 'Without these'));
  }

  /** One span must match all of a search, so the search is for spans of this service from now on. @param {Difference} one @param {'=' | '!='} sign */
  narrow({ kind, service, key, value }, sign) {
    const query = new URLSearchParams(this.state());
    // Spans of this service do not have the attributes of another service's.
    if (query.get('service') !== service) ['operation', 'tags'].forEach((field) => query.delete(field));
    query.set('service', service);
    const term = formatTag(kind === 'operation' ? 'operation' : key, value, sign);
    const tags = query.get('tags') || '';
    if (!` ${tags} `.includes(` ${term} `)) query.set('tags', `${tags} ${term}`.trim());
    this.find(query);
  }
}

/** @param {number} selected @param {number} rest @param {string} name */
function nothing(selected, rest, name) {
  if (selected === 0) return `There is no ${name} trace to compare with the others.`;
  if (rest === 0) return `All traces found are ${name}: there are no others to compare them with.`;
  const few = Math.min(selected, rest) < 10 ? ' Of so few, only large differences are sure.' : '';
  return `Nothing surely sets the ${name} traces apart from the others.${few}`;
}
