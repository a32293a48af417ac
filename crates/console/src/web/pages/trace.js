// One trace.

import { ServerError, get, knownServices, reason } from '../api.js';
import { assignColours, chip, swatch } from '../colours.js';
import { copyButton, h, replaceWhenChanged } from '../dom.js';
import { age, clock, count, duration, isoTime, plural } from '../format.js';
import { HEX, logsHref, serviceHref, traceLink } from '../links.js';
import { live } from '../live.js';
import { title } from '../router.js';
import { rememberedSearch } from '../search.js';
import { logLines } from '../trace/logs.js';
import { negative, skewed } from '../trace/tree.js';
import { Waterfall } from '../trace/waterfall.js';

/** @typedef {import('../trace/tree.js').Trace} Trace */

// Spans of one trace come in several batches, and logs after them.
const LOOK_AGAIN_MS = [500, 1000, 1000, 2000, 2000, 3000, 5000, 5000];
const SETTLED_MS = 15000;

/** @param {import('../router.js').Context} context */
export function show({ root, match, signal }) {
  const traceId = match[1].toLowerCase();
  if (!HEX.trace.test(traceId)) {
    root.replaceChildren(problemSection('Not a trace id', 'A trace id has 32 hexadecimal digits; the address of this page has something else.', traceId));
    return;
  }
  let looked = 0;
  /** @type {string | null} */
  let shown = null;
  /** @type {Waterfall | undefined} */
  let waterfall;

  /** @param {Trace} trace */
  function put(trace) {
    const text = JSON.stringify(trace);
    if (text !== shown) {
      assignColours(trace.services);
      const first = shown === null;
      waterfall = new Waterfall(trace, waterfall);
      root.replaceChildren(view(trace, waterfall));
      waterfall.settle(first);
      // A trace that still grows is read again, though less often.
      if (!first) looked = Math.min(looked, 3);
      shown = text;
    }
  }

  /** @param {unknown} error */
  function fail(error) {
    if (shown !== null) return;
    const status = error instanceof ServerError ? error.status : 0;
    replaceWhenChanged(root, reason(error), () => (status === 404
      ? problemSection('This trace is not here', 'It may arrive soon, the console may have dropped it for newer traces, or it was never sent to this console.', traceId, true)
      : problemSection('The trace cannot be shown', `The console ${status ? `answered: ${reason(error)}` : reason(error)}.`, traceId, true)));
  }

  async function load() {
    try {
      const [trace, services] = await Promise.all([get(`/api/console/traces/${traceId}`), shown === null ? knownServices().catch(() => []) : []]);
      if (signal.aborted) return;
      assignColours(services);
      const unsettled = !trace.complete || Date.now() - (trace.start_us + trace.duration_us) / 1e3 < SETTLED_MS;
      put(trace);
      if (unsettled) later();
    } catch (error) {
      if (signal.aborted) return;
      fail(error);
      later();
    }
  }

  function later() {
    if (looked >= LOOK_AGAIN_MS.length) { slowly(); return; }
    const timer = setTimeout(load, LOOK_AGAIN_MS[looked]);
    signal.addEventListener('abort', () => clearTimeout(timer));
    looked += 1;
  }

  let isSlow = false;
  /** Then only when something has come, and now and then. */
  function slowly() {
    if (isSlow) return;
    isSlow = true;
    live(['traces'], load, signal, SETTLED_MS);
  }

  root.replaceChildren(h('p', { class: 'muted loading' }, 'Loading the trace…'));
  addEventListener('hashchange', () => waterfall?.openFromHash(), { signal });
  load();
}

/** @param {string} name @param {string} why @param {string} id @param {boolean} [waiting] */
function problemSection(name, why, id, waiting = false) {
  title(name);
  return h('div', { class: 'empty', 'data-testid': 'not-found' },
    h('h1', {}, name), h('p', {}, why), h('p', { class: 'mono muted' }, id.slice(0, 80)),
    waiting && h('p', { class: 'muted', role: 'status' }, 'Looking again…'),
    h('p', {}, h('a', { href: rememberedSearch() }, 'Back to all traces')));
}

/** @param {Trace} trace @param {Waterfall} waterfall */
function view(trace, waterfall) {
  const root = trace.rows[0];
  title(root ? `${root.service} ${root.name}` : trace.trace_id.slice(0, 8));
  const name = root ? [h('a', { class: 'service', href: serviceHref(root.service) }, swatch(root.service), h('bdi', {}, root.service)), ' ', h('bdi', {}, root.name)] : 'Trace';
  return h('article', { class: 'trace-view' },
    h('p', { class: 'crumb' }, h('a', { href: rememberedSearch() }, 'All traces')),
    h('h1', {}, name),
    facts(trace, waterfall),
    notices(trace),
    linkedFrom(trace),
    waterfall.element,
    strayLogs(trace));
}

/** @param {Trace} trace @param {Waterfall} waterfall */
function facts(trace, waterfall) {
  const fact = (/** @type {string} */ name, /** @type {import('../dom.js').Child[]} */ ...value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  /** @type {Map<string, number>} */
  const spansOf = new Map();
  for (const row of trace.rows) spansOf.set(row.service, (spansOf.get(row.service) || 0) + 1);
  const nextError = () => waterfall.next((row) => row.status === 'error');
  return h('dl', { class: 'facts' },
    fact('Duration', h('strong', {}, duration(trace.duration_us))),
    fact('Started', h('span', { title: isoTime(trace.start_us) }, clock(trace.start_us)), ' ', h('span', { class: 'muted' }, age(trace.start_us))),
    fact('Spans', count(trace.span_count)),
    fact('Errors', trace.error_count > 0
      ? h('button', { class: 'plain error', type: 'button', title: 'Go to the next span with an error', onclick: nextError }, plural(trace.error_count, 'error'))
      : 'none'),
    fact('Services', h('span', { class: 'chips' }, trace.services.map((service) => chip(service, spansOf.get(service) || 0)))),
    fact('Trace id', h('code', { class: 'id' }, trace.trace_id), copyButton('the trace id', trace.trace_id)),
    fact('Elsewhere', h('a', { href: logsHref({ trace_id: trace.trace_id }), 'data-testid': 'trace-logs' }, 'its log lines'), ' ',
      h('a', { href: `/api/traces/${trace.trace_id}/otlp`, download: `trace-${trace.trace_id}.json`, 'data-testid': 'download' }, 'OTLP JSON')));
}

/** @param {Trace} trace */
function notices(trace) {
  const notes = [];
  if (!trace.complete) notes.push(incomplete(trace.missing_parents || []));
  if (trace.dropped_spans > 0) {
    notes.push(h('p', {}, h('strong', {}, `${plural(trace.dropped_spans, 'span')} dropped. `), 'The trace was larger than the console’s limit for one trace.'));
  }
  const early = skewed(trace);
  if (early.length > 0) {
    notes.push(h('p', {}, h('strong', {}, 'Clocks differ. '), `${plural(early.length, 'span')} of `, h('bdi', {}, early[0].service),
      ' begin before the call that made them: what lies between two services is not to be read off here.'));
  }
  const cut = trace.rows.filter((row) => negative(row) > 0);
  if (cut.length > 0) {
    notes.push(h('p', {}, h('strong', {}, 'Negative durations. '), `${plural(cut.length, 'span')} of `, h('bdi', {}, cut[0].service),
      cut.length === 1 ? ' ends before it begins: its clock was set back, or its times are wrong.' : ' end before they begin: its clock was set back, or its times are wrong.'));
  }
  return notes.length > 0 && h('div', { class: 'notice', role: 'note', 'data-testid': 'incomplete' }, notes);
}

/** @param {string[]} missing */
function incomplete(missing) {
  const few = missing.slice(0, 5);
  return h('p', {}, h('strong', {}, 'Incomplete. '),
    missing.length > 0
      ? [`${plural(missing.length, 'parent span')} of spans below ${missing.length === 1 ? 'has' : 'have'} not arrived: `,
        few.map((id, index) => [index > 0 ? ', ' : '', h('code', {}, id)]), missing.length > few.length ? ` and ${missing.length - few.length} more` : '', '. ']
      : 'More than one span has no parent, or none has arrived. ',
    'Looking again…');
}

/** @param {Trace} trace */
function linkedFrom({ linked_from: links = [] }) {
  return links.length > 0 && h('div', { class: 'linked', 'data-testid': 'linked-from' }, h('span', { class: 'label' }, 'Linked from'),
    h('ul', {}, links.map((link) => h('li', {}, swatch(link.service),
      traceLink(link.trace_id, link.span_id, h('bdi', {}, link.service), ' ', h('bdi', {}, link.name)), ' ', h('code', { class: 'muted' }, String(link.trace_id).slice(0, 8))))));
}

/** @param {Trace} trace */
function strayLogs({ logs = [] }) {
  return logs.length > 0 && h('section', { class: 'stray' }, h('h2', {}, 'Log lines of no span shown'), logLines(logs));
}
