// What has changed in the last ten minutes: releases, restarts, services that are gone, alerts that began or ended.

import { over } from '../api.js';
import { CHANGES } from '../queries.js';

/** @typedef {import('../api.js').Series} Series */
/** @typedef {{time: number, service: string, text: string, kind: 'release' | 'restart' | 'gone' | 'alert' | 'over'}} Change `time` in seconds */

export const BACK_S = 600;
const STEP_S = 5;
/** So many steps without a sample are a gap, not a scrape that was late. */
const GAP = 4;

/** The latest first. @returns {Promise<Change[]>} */
export async function readChanges() {
  const end = Math.floor(Date.now() / 1000);
  const range = { start: end - BACK_S, end, step: STEP_S };
  const [versions, starts, alerts] = await Promise.all([CHANGES.versions, CHANGES.starts, CHANGES.alerts].map((query) => over(query, range)));
  const released = releases(versions);
  const isRelease = (/** @type {Change} */ one) => released.some(({ service, time }) => service === one.service && Math.abs(time - one.time) < 30);
  return [...released, ...restarts(starts).filter((one) => !isRelease(one)), ...gone(starts, end), ...alarms(alerts, range)].sort((a, b) => b.time - a.time);
}

/** From when to when there were samples. @param {Series} series @returns {[number, number][]} */
export function stretches({ points }) {
  /** @type {[number, number][]} */
  const found = [];
  for (const [time] of points) {
    const latest = found[found.length - 1];
    if (latest && time - latest[1] <= GAP * STEP_S) latest[1] = time;
    else found.push([time, time]);
  }
  return found;
}

/** A version that appears after its service did. @param {Series[]} all @returns {Change[]} */
function releases(all) {
  return all.flatMap((series) => {
    const service = series.labels.service_name || '';
    const siblings = all.filter(({ labels }) => labels.service_name === service);
    const first = Math.min(...siblings.flatMap(stretches).map(([start]) => start));
    const before = siblings.find((one) => one !== series)?.labels.service_version;
    return stretches(series).filter(([start]) => before && start > first + STEP_S).map(([start]) => (
      /** @type {Change} */ ({ time: start, service, kind: 'release', text: `runs version ${series.labels.service_version}, before ${before}` })));
  });
}

/** The time of a process's start changes. @param {Series[]} all @returns {Change[]} */
function restarts(all) {
  return all.flatMap(({ labels, points }) => points.flatMap(([, value], index) => (
    index > 0 && value > points[index - 1][1] + 1
      ? [/** @type {Change} */ ({ time: value, service: labels.service_name || '', kind: 'restart', text: 'was started again' })] : [])));
}

/** @param {Series[]} all @param {number} end @returns {Change[]} */
function gone(all, end) {
  return all.flatMap((series) => {
    const latest = stretches(series).pop();
    const isGone = latest && latest[1] < end - GAP * STEP_S;
    return isGone ? [/** @type {Change} */ ({ time: latest[1], service: series.labels.service_name || '', kind: 'gone', text: 'does not answer any more' })] : [];
  });
}

/** @param {Series[]} all @param {{start: number, end: number}} range @returns {Change[]} */
function alarms(all, { start, end }) {
  return all.flatMap((series) => {
    const { alertname, service = '', route, severity } = series.labels;
    const what = `${alertname}${route && !['all', 'none'].includes(route) ? ` ${route}` : ''} (${severity})`;
    return stretches(series).flatMap(([from, to]) => [
      from > start + STEP_S && /** @type {Change} */ ({ time: from, service, kind: 'alert', text: `alert ${what} began` }),
      to < end - GAP * STEP_S && /** @type {Change} */ ({ time: to, service, kind: 'over', text: `alert ${what} is over` }),
    ].filter((change) => change !== false));
  });
}
