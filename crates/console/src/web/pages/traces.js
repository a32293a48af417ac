// Search for traces. The list stays live, whatever is searched for; while somebody points at it or has the focus in it, what is
// new is announced instead of moved in.

import { ServerError, get, knownServices } from '../api.js';
import { assignColours, isKnown } from '../colours.js';
import { h, replaceWhenChanged } from '../dom.js';
import { plural } from '../format.js';
import { live, liveAges } from '../live.js';
import { advance, navigate, title } from '../router.js';
import { BadField, FIELDS, arranged, pastedTraceId, refusal, rememberSearch, serverQuery } from '../search.js';
import { Differs } from '../traces/differs.js';
import { ORDER_NAMES, searchForm } from '../traces/form.js';
import { openFile } from '../traces/open.js';
import { noMatch, nothingYet, traceRow } from '../traces/list.js';

/** @typedef {import('../search.js').Summary} Summary */
/** @typedef {{traces: Summary[], searched: number, truncated: boolean}} Found `truncated`: there were too many spans for one answer */

/** @param {import('../router.js').Context} context */
export function show({ root, signal }) {
  title('Traces');
  const view = new TracesView(root);
  const look = live(['traces'], () => view.search(), signal);
  view.look = look;
  signal.addEventListener('abort', () => rememberSearch());
  addEventListener('pagehide', () => rememberSearch(), { signal });
  liveAges(root, signal);
}

class TracesView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.form = searchForm();
    this.differs = new Differs(() => this.state(), (query) => this.find(query));
    this.list = h('ol', { class: 'list', 'data-testid': 'trace-list', 'aria-label': 'Traces' });
    this.status = h('p', { role: 'status' });
    this.news = h('button', { class: 'news', type: 'button', 'data-testid': 'new-traces', hidden: true, onclick: () => this.letIn() });
    this.clearing = h('button', { class: 'plain', type: 'button', hidden: true, onclick: () => this.clear() }, 'Clear filters');
    this.live = h('input', { type: 'checkbox', id: 'live', onchange: () => this.look() });
    this.live.checked = true;
    this.message = h('div');
    this.columns = h('div', { class: 'list-columns', 'aria-hidden': 'true', hidden: true },
      ['Trace', 'Spans by service', 'Duration', 'Spans', 'Started'].map((name) => h('span', {}, name)));
    /** @type {Found | null} What waits until nobody points at the list. */
    this.waiting = null;
    /** @type {Set<string>} */
    this.shown = new Set();
    this.request = 0;
    this.look = () => {};
    this.pointing = false;
    root.append(h('h1', { class: 'sr' }, 'Traces'), this.form.element,
      h('div', { class: 'list-head' }, this.status, this.clearing, this.news, openFile(), h('label', { class: 'check' }, this.live, 'Live')),
      this.differs.element, this.columns, this.list, this.message);
    this.listen();
    this.fromUrl();
    this.loadServices();
  }

  listen() {
    this.form.element.addEventListener('submit', (event) => { event.preventDefault(); this.submit(); });
    this.form.onPaste((text) => this.open(text));
    this.form.onArrange((query) => { advance(query.size ? `/traces?${query}` : '/traces'); this.now(); });
    this.list.addEventListener('pointerenter', (event) => { this.pointing = event.pointerType === 'mouse'; });
    this.list.addEventListener('pointerleave', () => { this.pointing = false; this.letIn(); });
  }

  state() {
    return new URLSearchParams(location.search);
  }

  filtered() {
    return [...FIELDS, 'last'].some((field) => this.state().get(field));
  }

  held() {
    return this.shown.size > 0 && (this.pointing || this.list.contains(document.activeElement));
  }

  fromUrl() {
    this.form.fill(this.state());
    this.loadOperations(this.state().get('operation') || '');
  }

  submit() {
    const query = this.form.read();
    if (this.open(query.get('tags') || '')) return;
    try {
      serverQuery(query);
    } catch (error) {
      if (error instanceof BadField) this.form.refuse(error, true);
      return;
    }
    if (String(query) !== location.search.slice(1)) advance(query.size ? `/traces?${query}` : '/traces');
    this.now();
  }

  /** Opens the trace whose id this is. @param {string} text */
  open(text) {
    const id = pastedTraceId(text);
    if (id) navigate(`/trace/${id}`);
    return id !== null;
  }

  clear() {
    this.find(new URLSearchParams());
  }

  /** Searches for something else than the form says. @param {URLSearchParams} query */
  find(query) {
    advance(query.size ? `/traces?${query}` : '/traces');
    this.fromUrl();
    this.now();
  }

  /** A new search is shown wherever the pointer is. */
  now() {
    this.shown.clear();
    this.request += 1;
    this.search(true);
    this.differs.look();
  }

  async search(forced = false) {
    if (!forced && !this.live.checked && this.shown.size > 0) return true;
    const mine = ++this.request;
    this.list.setAttribute('aria-busy', 'true');
    try {
      const answer = await get(`/api/console/traces?${serverQuery(this.state())}`);
      if (mine !== this.request) return true;
      this.form.refuse(null);
      this.take({ traces: arranged(answer.traces, this.state()), searched: answer.searched, truncated: answer.truncated });
      return true;
    } catch (failure) {
      const error = refusal(failure);
      // The header reports that the console does not answer.
      const worthSaying = error instanceof BadField || (error instanceof ServerError && error.status > 0);
      if (mine === this.request && worthSaying) this.form.refuse(error);
      return error instanceof BadField;
    } finally {
      if (mine === this.request) this.list.removeAttribute('aria-busy');
    }
  }

  /** @param {Found} found */
  take(found) {
    const fresh = found.traces.filter((trace) => !this.shown.has(trace.trace_id)).length;
    const holds = this.held();
    this.waiting = holds ? found : null;
    this.news.hidden = !holds || fresh === 0;
    this.news.textContent = `${fresh} new`;
    if (!holds) this.put(found);
  }

  letIn() {
    if (this.waiting) this.put(this.waiting);
    this.waiting = null;
    this.news.hidden = true;
  }

  /** @param {Found} found */
  put({ traces, searched, truncated }) {
    const filtered = this.filtered();
    const some = traces.length > 0;
    // The server finds the newest: of those, not of all, the order shows the slowest first.
    const found = filtered ? `${plural(traces.length, 'newest match', 'newest matches')} in ${plural(searched, 'trace')}` : `${plural(traces.length, 'newest trace')}`;
    const order = ORDER_NAMES[/** @type {keyof typeof ORDER_NAMES} */ (this.state().get('sort') || '')];
    const status = [found, order && `, ${order.toLowerCase()}`, truncated && '; there may be more: search for fewer'].filter(Boolean).join('');
    replaceWhenChanged(this.status, some ? status : '', () => (some ? status : ''));
    this.columns.hidden = !some;
    this.clearing.hidden = !some || !filtered;
    this.shown = new Set(traces.map((trace) => trace.trace_id));
    const names = traces.flatMap((trace) => trace.services.map(({ name }) => name));
    if (!names.every(isKnown)) { assignColours(names); this.loadServices(); }
    const longest = Math.max(1, ...traces.map((trace) => trace.duration_us));
    replaceWhenChanged(this.list, traces, () => traces.map((trace) => h('li', {}, traceRow(trace, longest))));
    replaceWhenChanged(this.message, some ? null : [filtered, searched], () => !some && (filtered ? noMatch(searched, () => this.clear()) : nothingYet()));
  }

  async loadServices() {
    try {
      const services = await knownServices();
      assignColours(services);
      this.form.services(services);
    } catch { /* The header says that the server is away. */ }
  }

  /** @param {string} chosen */
  async loadOperations(chosen) {
    await this.form.loadOperations(chosen);
  }
}

