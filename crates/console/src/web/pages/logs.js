// Log lines of all services, live: with or without a trace.

import { lines, loggingServices, reason, volume } from '../api.js';
import { assignColours, isKnown, serviceLink } from '../colours.js';
import { h, replaceWhenChanged } from '../dom.js';
import { clock, count, plural } from '../format.js';
import { traceLink } from '../links.js';
import { live } from '../live.js';
import { FIELDS, LEVELS, counted, selected } from '../logs/query.js';
import { LogList, MOST } from '../logs/list.js';
import { advance, title } from '../router.js';
import { Chart } from '../service/charts.js';

/** @typedef {import('../api.js').Line} Line */

const AT_ONCE = 500;
const OLDER = 2000;
/** The most that may have come since. */
const SINCE = 5000;
/** Lines come in batches: one may come so much later than others of its time. */
const LATE_NS = 20_000_000_000n;
const RANGE_S = 900;
const STEP_S = 10;

/** @param {import('../router.js').Context} context */
export function show({ root, signal }) {
  title('Logs');
  const view = new LogsView(root, signal);
  view.look = live(['logs'], () => view.tail(), signal);
  live(['logs'], () => view.count(), signal, 5000);
}

class LogsView {
  /** @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(root, signal) {
    this.look = () => {};
    this.pending = 0;
    /** @type {Line[]} What waits until nobody points at the list. */
    this.waiting = [];
    this.list = new LogList({ older: () => this.older(), open: (line) => this.choose(line), left: () => { if (this.waiting.length > 0) this.letIn(this.waiting); } });
    this.chart = new Chart({ title: 'Lines per 10 s, by level', testid: 'volume', format: count, signal });
    this.status = h('p', { role: 'status', 'data-testid': 'log-status' });
    this.news = h('button', { class: 'news', type: 'button', hidden: true, 'data-testid': 'new-lines', onclick: () => { this.letIn(this.waiting); this.list.element.scrollTop = 0; this.showPending(0); } });
    this.refusal = h('p', { class: 'form-error', role: 'alert', hidden: true });
    this.chosen = h('div', { 'data-testid': 'chosen-line' });
    this.service = h('select', { name: 'service' });
    this.form = this.makeForm();
    this.generation = 0;
    /** Whether there are no older lines; whether older lines are being read. */
    this.ended = false;
    this.loading = false;
    root.append(h('h1', { class: 'sr' }, 'Logs'), this.form, this.chart.element, h('div', { class: 'list-head' }, this.status, this.news), this.chosen, this.list.element);
    this.fill();
    this.loadServices();
  }

  makeForm() {
    const level = h('select', { name: 'level' }, h('option', { value: '' }, 'All levels'), Object.keys(LEVELS).map((name) => h('option', { value: name }, `${name} and worse`)));
    const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ hint) => h('label', {}, label, ' ', h('input', { type: 'text', name, placeholder: hint, spellcheck: 'false', autocapitalize: 'off' }));
    const form = h('form', { class: 'log-form', 'data-testid': 'log-form', role: 'search', 'aria-label': 'Filter log lines', autocomplete: 'off' },
      h('label', {}, 'Service ', this.service), h('label', {}, 'Level ', level), field('text', 'Text', 'order declined'), field('trace_id', 'Trace id', '32 digits'),
      h('button', { class: 'primary', type: 'submit' }, 'Filter'), this.refusal);
    form.addEventListener('submit', (event) => { event.preventDefault(); this.filter(); });
    form.addEventListener('change', (event) => { if (event.target instanceof HTMLSelectElement) this.filter(); });
    return form;
  }

  state() {
    return new URLSearchParams(location.search);
  }

  fill() {
    const state = this.state();
    this.options([]);
    for (const field of FIELDS) /** @type {HTMLInputElement} */ (this.form.elements.namedItem(field)).value = state.get(field) || '';
  }

  /** @param {string[]} services */
  options(services) {
    const chosen = this.service.value || this.state().get('service') || '';
    const all = chosen && !services.includes(chosen) ? [chosen, ...services] : services;
    replaceWhenChanged(this.service, all, () => [h('option', { value: '' }, 'All services'), ...all.map((name) => h('option', { value: name }, name))]);
    this.service.value = chosen;
  }

  async loadServices() {
    try {
      const services = await loggingServices();
      assignColours(services);
      this.options(services);
    } catch { /* The header says that the server is away. */ }
  }

  filter() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (String(value).trim()) query.set(name, String(value).trim());
    advance(query.size ? `/logs?${query}` : '/logs');
    this.generation += 1;
    this.ended = this.loading = false;
    this.pending = 0;
    this.waiting = [];
    this.list.clear();
    replaceWhenChanged(this.chosen, null, () => null);
    this.look();
    this.count();
  }

  /** @param {unknown} error */
  refuse(error) {
    this.refusal.textContent = error ? reason(error) : '';
    this.refusal.hidden = !error;
  }

  /** The lines since the last read. */
  async tail() {
    const mine = this.generation;
    try {
      const newest = this.list.newest;
      /** @type {Record<string, string>} */
      const since = newest ? { start: String(BigInt(newest.ns) - LATE_NS), limit: String(SINCE) } : { since: '6h', limit: String(AT_ONCE) };
      const found = await lines(selected(this.state()), since);
      if (mine !== this.generation) return true;
      this.refuse(null);
      const names = found.map(({ labels }) => labels.service_name);
      if (!names.every(isKnown)) this.loadServices();
      if (this.list.held) { this.waiting = found; this.showPending(this.pending); } else this.letIn(found);
      return true;
    } catch (error) {
      if (mine === this.generation) this.refuse(error);
      return false;
    }
  }

  /** A full page of which nothing is known leaves a hole below: then the list starts over. @param {Line[]} found */
  letIn(found) {
    this.waiting = [];
    if (found.length === SINCE && this.list.fresh(found).length === SINCE) { this.list.clear(); this.ended = false; }
    this.showPending(this.pending + this.list.add(found));
  }

  /** Older lines, when the end of the list is visible. */
  async older() {
    const { oldest } = this.list;
    if (!oldest || this.ended || this.loading || this.list.lines.length >= MOST) return;
    this.loading = true;
    const mine = this.generation;
    try {
      // The end is exclusive, and others may have been written in the same nanosecond.
      const found = await lines(selected(this.state()), { start: '0', end: String(BigInt(oldest.ns) + 1n), limit: String(OLDER) });
      if (mine !== this.generation) return;
      this.loading = false;
      // A whole page of lines with one timestamp cannot continue. Known lines can: newer answers may contain them too.
      this.ended = found.length < OLDER || found[found.length - 1].ns === oldest.ns;
      this.list.add(found);
      this.showPending(this.pending);
    } catch (error) {
      if (mine !== this.generation) return;
      this.loading = false;
      this.refuse(error);
    }
  }

  /** @param {number} above that came while somebody read further down */
  showPending(above) {
    this.pending = this.list.element.scrollTop > 0 ? above : 0;
    const fresh = this.pending + this.list.fresh(this.waiting).length;
    this.news.hidden = fresh === 0;
    this.news.textContent = `${count(fresh)} new`;
    const shown = this.list.lines.length;
    const words = shown > 0 ? `${plural(shown, 'line')}, newest first` : 'No line matches';
    replaceWhenChanged(this.status, words, () => words);
  }

  async count() {
    const mine = this.generation;
    const end = Math.floor(Date.now() / 1000 / STEP_S) * STEP_S;
    const range = { start: end - RANGE_S, end, step: STEP_S };
    try {
      const series = await volume(counted(selected(this.state()), STEP_S), range);
      if (mine !== this.generation) return true;
      const named = series.map(({ labels, points }) => ({ label: labels.detected_level || 'unknown', points }));
      this.chart.put(named.sort((a, b) => a.label.localeCompare(b.label)), range);
      return true;
    } catch (error) {
      this.chart.fail(reason(error));
      return false;
    }
  }

  /** All of a line. @param {Line} line */
  choose(line) {
    const { labels, text, us, ns } = line;
    const pairs = Object.entries(labels).filter(([name]) => !['service_name', 'detected_level', 'observed_timestamp'].includes(name)).sort();
    const close = () => replaceWhenChanged(this.chosen, null, () => null);
    replaceWhenChanged(this.chosen, [ns, text], () => h('section', { class: 'chosen' },
      h('p', { class: 'since' }, clock(us), ' ', labels.severity_text || '', ' ', serviceLink(labels.service_name), ' ',
        labels.trace_id && traceLink(labels.trace_id, labels.span_id, 'Open its trace'), ' ', h('button', { class: 'plain', type: 'button', onclick: close }, 'Close')),
      h('pre', { tabindex: 0 }, text),
      h('table', { class: 'pairs' }, h('tbody', {}, pairs.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, value)))))));
  }
}
