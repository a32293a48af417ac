// Alerts: the present state of the console's rules, and herald's notifications about them.

import { get, getIfThere, instant, reason } from '../api.js';
import { BUDGET } from '../queries.js';

/** @typedef {{labels: Record<string, string>, annotations: Record<string, string>, activeAt: string}} Alert */
/** @typedef {{window: string, burn_rate: number | null, bad_events?: number | null}} Burn */
/** @typedef {{service: string, route: string, slo: string, objective: number, seconds: number | null, burns: {threshold: number, long: Burn, short: Burn, firing: boolean}[]}} Objective */
/** Herald's record of an alert from its beginning to its end. @typedef {Record<string, any>} Episode */

/** @typedef {{labels: Record<string, string>, endedAt: string}} Ended */
/** @typedef {{alerts: Alert[], ended: Ended[], objectives: Objective[], budget: Record<string, number>, told: HeraldAlerts}} Firing */
/** @typedef {{isThere: boolean, error: string | null, episodes: Episode[]}} HeraldAlerts */

/** @param {string} service @param {string} route @param {string} slo */
export const objectiveKey = (service, route, slo) => JSON.stringify([service, route, slo]);

/** Pages first, and the oldest alerts of each kind first. @returns {Promise<Firing>} */
export async function readFiring() {
  const [{ data }, left, told] = await Promise.all([get('/api/alerts'), instant(BUDGET.left), readEpisodes('firing')]);
  const rank = (/** @type {Alert} */ { labels }) => (labels.severity === 'page' ? 0 : 1);
  const alerts = data.alerts.sort((/** @type {Alert} */ a, /** @type {Alert} */ b) => rank(a) - rank(b) || a.activeAt.localeCompare(b.activeAt));
  const budget = Object.fromEntries(left.map(({ labels, value }) => [objectiveKey(labels.service_name, labels.http_route, labels.slo), value]));
  return { alerts, ended: data.ended, objectives: data.objectives, budget, told: { ...told, episodes: await Promise.all(told.episodes.map(whole)) } };
}

/** @param {'firing' | 'all'} state @returns {Promise<HeraldAlerts>} */
export async function readEpisodes(state) {
  try {
    const list = await getIfThere(`/api/herald/alerts?state=${state}&limit=${MAX_EPISODES}`);
    return { isThere: list !== null, error: null, episodes: list?.alerts || [] };
  } catch (error) {
    return { isThere: true, error: `Herald cannot be asked: ${reason(error)}`, episodes: [] };
  }
}

const MAX_EPISODES = 100;

/** The alerts of those that were read, until herald has newer ones. @type {Map<string, {updated: string, alerts: Promise<Alert[]>}>} */
const read = new Map();

/** The episode with its alerts. Acknowledgements and verdicts do not count as updates: they are in the summary. @param {Episode} summary @returns {Promise<Episode>} */
async function whole(summary) {
  let known = read.get(summary.id);
  if (!known || known.updated !== summary.updated) {
    if (read.size > 2 * MAX_EPISODES) read.clear();
    const alerts = get(`/api/herald/alerts/${summary.id}`).then((episode) => episode.alerts).catch(() => { read.delete(summary.id); return []; });
    known = { updated: summary.updated, alerts };
    read.set(summary.id, known);
  }
  return { ...summary, alerts: await known.alerts };
}

const SAME = ['alertname', 'service', 'route', 'slo', 'severity'];

/** @typedef {{labels: Record<string, string>}} Labelled @param {Labelled} one @param {Labelled} other */
const isSame = (one, other) => SAME.every((label) => one.labels[label] === other.labels[label]);

/** Herald's record of an alert. @param {HeraldAlerts} told @param {Alert} alert */
export function episodeOf(told, alert) {
  return told.episodes.find(({ alerts = [] }) => alerts.some((/** @type {Alert} */ one) => isSame(one, alert)));
}

/** When all of it was over, if it is: the rules show it minutes before herald's notification. @param {Firing} firing @param {Episode} episode @returns {string | null} */
export function endOf({ alerts, ended, told }, episode) {
  if (episode.state !== 'firing') return episode.ended;
  const known = episode.alerts || told.episodes.find(({ id }) => id === episode.id)?.alerts || [];
  const ends = known.filter((/** @type {any} */ one) => one.status === 'firing').map((/** @type {Alert} */ one) => (
    alerts.some((now) => isSame(now, one)) ? undefined : ended.filter((end) => isSame(end, one)).map(({ endedAt }) => endedAt).sort().pop()));
  return ends.every(Boolean) ? ends.sort().pop() || null : null;
}

/** The objective, if the alert is about one. @param {Firing} firing @param {Record<string, string>} labels */
export function objectiveOf(firing, labels) {
  return firing.objectives.find(({ service, route, slo }) => service === labels.service && route === labels.route && slo === labels.slo);
}
