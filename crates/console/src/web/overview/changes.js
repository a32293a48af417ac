// The changes of the last ten minutes: releases, restarts, services that stopped, alerts that began or ended.

import { over } from '../api.js';
import { CHANGES } from '../queries.js';

/** @typedef {import('../api.js').Series} Series */
/** `words`: the event in words; every second one is a name. @typedef {{time: number, service: string, words: string[], kind: 'release' | 'restart' | 'gone' | 'alert' | 'over'}} Change `time` in seconds */

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

/** A version that appears when another has run until then. @param {Series[]} all @returns {Change[]} */
function releases(all) {
  const runs = all.flatMap((series) => stretches(series).map(([from, to]) => ({ service: series.labels.service_name || '', version: series.labels.service_version, from, to })));
  return runs.flatMap(({ service, version, from }) => {
    const earlier = runs.filter((one) => one.service === service && one.from < from - STEP_S);
    const [before] = earlier.sort((a, b) => Math.min(b.to, from) - Math.min(a.to, from) || b.from - a.from);
    return before && before.version !== version
      ? [/** @type {Change} */ ({ time: from, service, kind: 'release', words: ['runs version ', version, ', before ', before.version] })] : [];
  });
}

/** The time at which an instance's process was started changes. @param {Series[]} all @returns {Change[]} */
function restarts(all) {
  return all.flatMap(({ labels, points }) => points.flatMap(([, value], index) => (
    index > 0 && value > points[index - 1][1] + 1
      ? [/** @type {Change} */ ({ time: value, service: labels.service_name || '', kind: 'restart', words: ['was started again'] })] : [])));
}

/** A service of which no instance is left. @param {Series[]} all @param {number} end @returns {Change[]} */
function gone(all, end) {
  return [...new Set(all.map(({ labels }) => labels.service_name || ''))].flatMap((service) => {
    const own = all.filter(({ labels }) => (labels.service_name || '') === service);
    const latest = Math.max(...own.flatMap(stretches).map(([, to]) => to));
    return latest < end - GAP * STEP_S ? [/** @type {Change} */ ({ time: latest, service, kind: 'gone', words: ['does not answer any more'] })] : [];
  });
}

/** @param {Series[]} all @param {{start: number, end: number}} range @returns {Change[]} */
function alarms(all, { start, end }) {
  return all.flatMap((series) => {
    const { alertname, service = '', route, severity } = series.labels;
    const where = route && !['all', 'none'].includes(route) ? [' ', route] : [];
    const what = ['alert ', alertname, ...where, ' (', severity];
    return stretches(series).flatMap(([from, to]) => [
      from > start + STEP_S && /** @type {Change} */ ({ time: from, service, kind: 'alert', words: [...what, ') began'] }),
      to < end - GAP * STEP_S && /** @type {Change} */ ({ time: to, service, kind: 'over', words: [...what, ') is over'] }),
    ].filter((change) => change !== false));
  });
}
