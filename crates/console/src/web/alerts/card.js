// One firing alert: its meaning in plain words, its start, the remaining budget, and the next step.

import { serviceLink } from '../colours.js';
import { h } from '../dom.js';
import { age, clock, isNumber, isoTime, micros, percent } from '../format.js';
import { alertHref } from '../links.js';
import { episodeOf, objectiveKey, objectiveOf } from './data.js';

/** @typedef {import('./data.js').Firing} Firing */
/** @typedef {import('./data.js').Alert} Alert */
/** @typedef {import('./data.js').Objective} Objective */

/** @param {string} severity */
export const severityBadge = (severity) => h('span', { class: `badge ${severity === 'page' ? 'error' : 'warn'}` }, severity);

/** @param {Alert} alert @param {Firing} firing */
export function alertCard(alert, firing) {
  const { labels, annotations } = alert;
  const episode = episodeOf(firing.told, alert);
  const objective = objectiveOf(firing, labels);
  const key = `alert ${labels.alertname} ${labels.service} ${labels.route}`;
  return h('article', { class: `alert-card ${labels.severity}`, 'data-testid': 'firing-alert', 'data-alert': labels.alertname, 'data-service': labels.service },
    h('h3', {}, severityBadge(labels.severity || ''), ' ',
      h('a', { href: alertHref(episode?.id || ''), 'data-key': key, 'data-testid': 'alert-link' }, h('bdi', {}, annotations.summary || labels.alertname))),
    h('p', { class: 'since' }, labels.alertname, ' · ', labels.service && serviceLink(labels.service), ' · since ',
      h('time', { datetime: isoTime(micros(alert.activeAt)) }, clock(micros(alert.activeAt), false)), ' ',
      h('span', { class: 'muted', 'data-age': micros(alert.activeAt) }, age(micros(alert.activeAt)))),
    annotations.description && h('p', {}, annotations.description),
    objective && budgetLine(objective, firing.budget),
    h('p', { class: 'muted' }, nextStep(firing, episode)));
}

/** The state of a budget. @param {number | undefined} left */
export function leftWords(left) {
  if (left === undefined) return '–';
  return left >= 0 ? percent(left) : `none, used ${used(left)} times`;
}

/** How often it is used up. @param {number} left */
const used = (left) => (1 - left).toFixed(left > -8.95 ? 1 : 0);

/** The same in one line. @param {Alert} alert @param {Firing} firing */
export function alertRow(alert, firing) {
  const { labels, annotations } = alert;
  const began = micros(alert.activeAt);
  const objective = objectiveOf(firing, labels);
  const left = objective && firing.budget[objectiveKey(objective.service, objective.route, objective.slo)];
  return h('li', { class: `alert-row ${labels.severity}`, 'data-testid': 'firing-alert', 'data-alert': labels.alertname, 'data-service': labels.service },
    severityBadge(labels.severity || ''),
    h('a', { class: 'what', href: alertHref(episodeOf(firing.told, alert)?.id || ''), 'data-key': `${labels.alertname} ${labels.service} ${labels.route}`, 'data-testid': 'alert-link', title: annotations.description },
      h('bdi', {}, annotations.summary || labels.alertname)),
    h('span', { class: 'muted' }, labels.alertname),
    h('span', { title: isoTime(began) }, 'since ', clock(began, false), ' ', h('span', { class: 'muted', 'data-age': began }, age(began))),
    h('span', { class: 'muted' }, left !== undefined && (left >= 0 ? `budget left: ${percent(left)}` : `budget used ${used(left)} times`)));
}

/** @param {Firing} firing @param {import('./data.js').Episode | undefined} episode */
function nextStep({ told }, episode) {
  if (told.error) return told.error;
  if (!told.isThere) return 'No herald is set: nobody is notified, and no evidence is gathered.';
  if (!episode) return 'Herald does not have this alert yet: that takes a few seconds, and a page about a service holds back its tickets.';
  const { acknowledged, silenced } = episode;
  if (acknowledged) return ['Acknowledged by ', h('bdi', {}, acknowledged.by), acknowledged.note && [': ', h('bdi', {}, acknowledged.note)]];
  return silenced ? ['Silenced by ', h('bdi', {}, silenced.by), ': ', h('bdi', {}, silenced.comment)] : 'Herald has gathered the evidence.';
}

/** @param {Objective} objective @param {Record<string, number>} budget */
export function budgetLine(objective, budget) {
  const left = budget[objectiveKey(objective.service, objective.route, objective.slo)];
  return h('dl', { class: 'facts small', 'data-testid': 'budget' },
    h('div', {}, h('dt', {}, 'Objective'), h('dd', {}, promised(objective))),
    h('div', {}, h('dt', {}, 'Budget left'), h('dd', {}, leftWords(left))),
    objective.burns.map(({ threshold, long, short, firing }) => h('div', { class: firing ? 'firing' : null },
      h('dt', {}, `Burn over ${long.window} / ${short.window}`), h('dd', {}, `${times(long.burn_rate)} / ${times(short.burn_rate)} `, h('span', { class: 'muted' }, `alert from ${threshold}×`)))));
}

/** @param {Objective} objective */
export const promised = ({ objective, seconds }) => `${Number((objective * 100).toFixed(6))} % ${seconds === null ? 'do not fail' : `within ${seconds} s`}`;

/** @param {number | null} burn */
export const times = (burn) => (isNumber(burn) ? `${burn.toFixed(1)}×` : '–');
