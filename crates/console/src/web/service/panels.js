// The fixed panels of a service: its requests, errors and durations (RED), and its resources (USE).

import { exemplars, over, reason } from '../api.js';
import { h } from '../dom.js';
import { bytes, number, percent, rate, seconds } from '../format.js';
import { SERVICE, filled } from '../queries.js';
import { Chart } from './charts.js';

/** @typedef {import('./charts.js').Range} Range */
/** @typedef {import('./charts.js').Line} Line */
/** @typedef {{query: keyof typeof SERVICE, label: (labels: Record<string, string>) => string}} Source */
/** @typedef {{title: string, testid: string, format: (value: number) => string, sources: Source[], exemplars?: boolean, optional?: boolean}} Panel */

/** @param {keyof typeof SERVICE} query @param {string} label */
const one = (query, label) => ({ query, label: () => label });
const pool = (/** @type {string} */ what) => (/** @type {Record<string, string>} */ labels) => `${labels.db_client_connection_pool_name} ${what}`;

/** @type {{name: string, panels: Panel[]}[]} */
const GROUPS = [
  { name: 'Requests', panels: [
    { title: 'Requests, by outcome', testid: 'rate', format: rate, sources: [{ query: 'requests', label: ({ outcome }) => outcome }] },
    { title: 'Errors, by type', testid: 'errors', format: rate, sources: [{ query: 'errors', label: (labels) => labels.error_type || 'none' }] },
    { title: 'Duration; each dot is a request, and opens its trace', testid: 'duration', format: seconds, exemplars: true, sources: [one('p50', '50 %'), one('p95', '95 %'), one('p99', '99 %')] },
    { title: 'Requests in flight', testid: 'in-flight', format: number, sources: [one('inFlight', 'in flight')] },
  ] },
  { name: 'Database connections', panels: [
    { title: 'Connections', testid: 'pool', format: number, optional: true, sources: [{ query: 'poolUsed', label: pool('used') }, { query: 'poolMax', label: pool('limit') }, { query: 'poolWaiting', label: pool('waiting') }] },
    { title: 'Wait for a connection, 95 %', testid: 'pool-wait', format: seconds, optional: true, sources: [{ query: 'poolWait', label: pool('wait') }] },
  ] },
  { name: 'Process', panels: [
    { title: 'CPU, of one core', testid: 'cpu', format: percent, sources: [{ query: 'cpu', label: (labels) => labels.service_instance_id }] },
    { title: 'Memory', testid: 'memory', format: bytes, sources: [{ query: 'memory', label: (labels) => labels.service_instance_id }] },
    { title: 'Log records, by level', testid: 'log-rate', format: rate, sources: [{ query: 'logs', label: ({ level }) => level }, one('logsHeldBack', 'held back')] },
    { title: 'Ready', testid: 'ready', format: (value) => (value === 1 ? 'yes' : value === 0 ? 'no' : ''), optional: true, sources: [one('ready', 'service'), { query: 'dependencies', label: ({ dependency }) => dependency }] },
  ] },
  { name: 'Its telemetry', panels: [
    { title: 'Fill of the export queues', testid: 'queue', format: percent, sources: [one('spanQueue', 'spans'), one('logQueue', 'log records')] },
    { title: 'Lost', testid: 'lost', format: rate, sources: [one('spansLost', 'spans'), one('logsLost', 'log records')] },
  ] },
];

/** @param {string} service @param {AbortSignal} signal */
export function panels(service, signal) {
  const groups = GROUPS.map(({ name, panels: list }) => {
    const charts = list.map((panel) => ({ panel, chart: new Chart({ ...panel, signal }) }));
    return { charts, element: h('section', {}, h('h2', {}, name), h('div', { class: 'charts' }, charts.map(({ chart }) => chart.element))) };
  });
  /** @param {Range} wanted */
  async function look(wanted) {
    const range = await shortened(service, wanted);
    await Promise.all(groups.map(async ({ charts, element }) => {
      const found = await Promise.all(charts.map(async ({ panel, chart }) => {
        try {
          return await fill(service, panel, chart, range);
        } catch (error) {
          chart.fail(reason(error));
          return true;
        }
      }));
      element.hidden = charts.every(({ panel }, index) => panel.optional && !found[index]);
    }));
  }
  return { element: h('div', {}, groups.map(({ element }) => element)), look };
}

/** From when on there is something of the service: on a young stack the lines are not squeezed into a corner. @param {string} service @param {Range} range @returns {Promise<Range>} */
async function shortened(service, range) {
  const [running] = await over(filled(SERVICE.running, { service }), range);
  const first = running ? running.points[0][0] : range.start;
  const step = Math.max(1, Math.min(range.step, Math.floor((range.end - first) / 30)));
  const steps = Math.ceil(Math.max(60, range.end - first) / step);
  return first > range.start + range.step ? { start: range.end - steps * step, end: range.end, step } : range;
}

/** Rates are taken over so long that a few scrapes are in it. @param {Range} range */
export const windowOf = ({ step }) => `${Math.max(30, 4 * step)}s`;

/** @param {string} service @param {Panel} panel @param {Chart} chart @param {Range} range @returns whether there was anything */
async function fill(service, panel, chart, range) {
  const values = { service, window: windowOf(range) };
  const lines = panel.sources.map(async ({ query, label }) => {
    const series = await over(filled(SERVICE[query], values), range);
    return series.map(({ labels, points }) => ({ label: label(labels) || 'unknown', points }));
  });
  const dots = panel.exemplars ? exemplars(filled(SERVICE.exemplars, values), range) : [];
  const [found, requests] = await Promise.all([Promise.all(lines), dots]);
  const all = found.flat().sort((a, b) => a.label.localeCompare(b.label));
  const kept = all.filter(({ points }) => points.some(([, value]) => !Number.isNaN(value)));
  chart.put(kept, range, requests.sort((a, b) => a.time - b.time));
  chart.element.hidden = Boolean(panel.optional) && kept.length === 0;
  return kept.length > 0;
}
