// The ledger: how many alerts people got in the last 7 days, how many were right, and how long each step took.

import { h } from '../dom.js';
import { count, percent, seconds } from '../format.js';
import { severityBadge } from './card.js';

/** @typedef {{count: number, mean_s: number, median_s: number, p90_s: number}} Times */
/** @typedef {{alert?: string, severity: string, delivered: number, undelivered: number, true_alarms: number, false_alarms: number, unjudged: number, false_alarm_share: number | null, time_to_detect: Times | null, time_to_acknowledge: Times | null, time_to_resolve: Times | null}} Row */
/** @typedef {{severities: Row[], alerts: Row[], more: number}} Ledger */

const COLUMNS = ['Alert', 'Delivered', 'Not delivered', 'True', 'False', 'Not judged', 'False share', 'Detected after', 'Acknowledged after', 'Resolved after'];

/** @param {Ledger} ledger */
export function ledgerTable({ severities, alerts, more }) {
  if (alerts.length === 0) return h('p', { class: 'muted' }, 'No alert has begun in the last 7 days.');
  const rows = [...severities.filter(({ delivered, undelivered }) => delivered + undelivered > 0), ...alerts];
  return [
    h('p', { class: 'muted' }, 'Alerts that began in the last 7 days. Times: the median, and in brackets what nine of ten do not exceed; detection is counted from when the alert began to fire, not from when the fault did.'),
    h('div', { class: 'scroll' }, h('table', { class: 'numbers' },
      h('thead', {}, h('tr', {}, COLUMNS.map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, rows.map(row)))),
    more > 0 && h('p', { class: 'muted' }, `… and ${count(more)} more names`),
  ];
}

/** @param {Row} one */
function row(one) {
  const numbers = [one.delivered, one.undelivered, one.true_alarms, one.false_alarms, one.unjudged].map(count);
  const times = [one.time_to_detect, one.time_to_acknowledge, one.time_to_resolve].map(timesWords);
  return h('tr', { 'data-alert': one.alert || null },
    h('td', {}, severityBadge(one.severity), ' ', one.alert === undefined ? h('strong', {}, 'all') : h('bdi', {}, one.alert)),
    [...numbers, percent(one.false_alarm_share), ...times].map((cell) => h('td', {}, cell)));
}

/** @param {Times | null} times */
const timesWords = (times) => (times ? `${seconds(times.median_s)} (${seconds(times.p90_s)})` : '–');
