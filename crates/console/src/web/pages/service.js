// One service.

import { knownServices, loggingServices, measuredServices, reason } from '../api.js';
import { swatch } from '../colours.js';
import { h, replaceWhenChanged } from '../dom.js';
import { logsHref, tracesHref } from '../links.js';
import { live } from '../live.js';
import { title } from '../router.js';
import { panels } from '../service/panels.js';
import { callTable, errorLines, operationTable, readErrors, readState, readTables, stateList } from '../service/tables.js';

/** In minutes. */
const RANGES = [5, 15, 60, 300];
/** Points of a line, about. */
const POINTS = 90;
const EVERY_MS = 5000;

/** @param {import('../router.js').Context} context */
export function show({ root, match, signal }) {
  const service = decoded(match[1]);
  title(service);
  /** @type {Shown | null} */
  let shown = null;
  live(['metrics', 'traces', 'logs'], async () => {
    try {
      const has = await telemetryOf(service);
      if (!signal.aborted) put(has);
      return true;
    } catch (error) {
      if (!signal.aborted && !shown) replaceWhenChanged(root, reason(error), () => h('p', { class: 'notice' }, `This service cannot be shown: ${reason(error)}.`));
      return false;
    }
  }, signal, EVERY_MS);

  /** @param {{metrics: boolean, any: boolean}} has */
  function put(has) {
    if (!shown && !has.any) { replaceWhenChanged(root, service, () => unknown(service)); return; }
    if (!shown) root.replaceChildren();
    shown ||= showService(root, service, signal);
    shown.withMetrics(has.metrics);
  }
}

/** The kinds of telemetry that it has sent. @param {string} service */
async function telemetryOf(service) {
  const names = async (/** @type {() => Promise<string[]>} */ ask) => (await ask()).includes(service);
  const metrics = await names(measuredServices);
  // Most have metrics: nothing more need be asked, every few seconds.
  return { metrics, any: metrics || (await Promise.all([knownServices, loggingServices].map(names))).includes(true) };
}

/** @param {string} service */
function unknown(service) {
  return h('div', { class: 'empty', 'data-testid': 'not-found' },
    h('h1', {}, 'No such service'),
    h('p', {}, 'The console has no metrics, traces or log lines of ', h('bdi', { class: 'name' }, service), '. The name may be wrong, or nothing has come yet.'),
    h('p', { class: 'muted' }, 'Looking again…'),
    h('p', {}, h('a', { href: '/' }, 'Go to the overview')));
}

/** @typedef {{withMetrics: (has: boolean) => void}} Shown */

/** @param {HTMLElement} root @param {string} service @param {AbortSignal} signal @returns {Shown} */
function showService(root, service, signal) {
  const minutes = h('select', { 'aria-label': 'Time', 'data-testid': 'range' }, RANGES.map((one) => h('option', { value: one }, one < 60 ? `Last ${one} min` : `Last ${one / 60} h`)));
  minutes.value = '15';
  const message = h('div', {});
  const state = h('div', {});
  const charts = panels(service, signal);
  const [operations, calls, errors] = ['operations', 'calls', 'last-errors'].map((testid) => h('div', { 'data-testid': testid }));
  const section = (/** @type {string} */ name, /** @type {HTMLElement} */ body) => h('section', {}, h('h2', {}, name), body);
  const unmeasured = h('p', { class: 'notice', hidden: true, 'data-testid': 'no-metrics' }, 'It sends no metrics. The overview’s map shows its calls, from its traces.');
  const measured = h('div', {}, state, charts.element, h('div', { class: 'halves' }, section('Slowest operations', operations), section('Slowest calls', calls)));
  root.append(
    h('p', { class: 'crumb' }, h('a', { href: '/' }, 'Overview')),
    h('div', { class: 'title-line' }, h('h1', { 'data-testid': 'service-name' }, swatch(service), ' ', h('bdi', {}, service)), minutes,
      h('a', { href: tracesHref({ service }) }, 'Its traces'), h('a', { href: tracesHref({ service, error: 'true' }) }, 'Its failed traces'),
      h('a', { href: logsHref({ service }), 'data-testid': 'service-logs' }, 'Its log lines')),
    message, unmeasured, measured, section('Last errors', errors));

  const guarded = (/** @type {() => Promise<void>} */ look) => async () => {
    try {
      await look();
      replaceWhenChanged(message, null, () => null);
      return true;
    } catch (error) {
      if (!signal.aborted) replaceWhenChanged(message, reason(error), () => h('p', { class: 'notice' }, `Not all can be shown: ${reason(error)}.`));
      return false;
    }
  };
  const look = live(['metrics'], guarded(() => charts.look(rangeOf(Number(minutes.value)))), signal, EVERY_MS);
  minutes.addEventListener('change', () => look());
  live(['metrics'], guarded(async () => {
    const [now, tables] = await Promise.all([readState(service), readTables(service)]);
    replaceWhenChanged(state, now, () => stateList(now));
    replaceWhenChanged(operations, tables.operations, () => operationTable(service, tables.operations));
    replaceWhenChanged(calls, [tables.calls, tables.statements], () => callTable(tables.calls, tables.statements));
  }), signal, EVERY_MS);
  live(['logs'], guarded(async () => {
    const found = await readErrors(service);
    replaceWhenChanged(errors, found, () => errorLines(found));
  }), signal, EVERY_MS);
  return { withMetrics: (has) => {
    measured.hidden = !has;
    unmeasured.hidden = has;
  } };
}

/** @param {string} part of an address */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Whole steps, so that the next request reads the same samples. @param {number} minutes */
function rangeOf(minutes) {
  const step = Math.max(1, Math.round((minutes * 60) / POINTS));
  const end = Math.floor(Date.now() / 1000 / step) * step;
  return { start: end - minutes * 60, end, step };
}
