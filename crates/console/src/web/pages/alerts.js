// All alerts: firing ones, objectives, silences, the history, and the ledger.

import { get, reason } from '../api.js';
import { alertCard, leftWords, promised, severityBadge, times } from '../alerts/card.js';
import { endOf, objectiveKey, readEpisodes, readFiring } from '../alerts/data.js';
import { silenceForm, silenceList } from '../alerts/forms.js';
import { ledgerTable } from '../alerts/ledger.js';
import { serviceLink } from '../colours.js';
import { h, replaceWhenChanged } from '../dom.js';
import { clock, micros, span } from '../format.js';
import { alertHref } from '../links.js';
import { live, liveAges } from '../live.js';
import { title } from '../router.js';

/** @typedef {import('../alerts/data.js').Firing} Firing */
/** @typedef {import('../alerts/data.js').Objective} Objective */
/** @typedef {import('../alerts/data.js').HeraldAlerts} HeraldAlerts */

/** @param {import('../router.js').Context} context */
export function show({ root, signal }) {
  title('Alerts');
  const [firing, objectives, silences, past, ledger] = ['firing', 'objectives', 'silences', 'history', 'ledger'].map((testid) => h('div', { 'data-testid': testid }));
  const silencing = h('section', {}, h('h2', {}, 'Silences'), silences, h('details', { 'data-key': 'new silence' }, h('summary', {}, 'New silence'), silenceForm({ alertname: '', service: '' }, () => look())));
  const counting = h('section', {}, h('h2', {}, 'Ledger'), ledger);
  root.append(h('h1', {}, 'Alerts'), h('h2', { class: 'sr' }, 'What fires'), firing,
    h('section', {}, h('h2', {}, 'History'), past), counting, silencing, h('section', {}, h('h2', {}, 'Objectives'), objectives));

  /** What cannot be read does not hide the others. @param {HTMLElement} place @param {string} name @param {(answer: any) => import('../dom.js').Child} view */
  async function showPart(place, name, view) {
    try {
      const answer = await get(`/api/herald/${name}`);
      // The ledger's beginning moves on with the clock.
      const { since, ...shown } = answer;
      replaceWhenChanged(place, shown, () => view(answer));
      return true;
    } catch (error) {
      if (!signal.aborted) replaceWhenChanged(place, reason(error), () => h('p', { class: 'notice' }, `This cannot be shown: ${reason(error)}.`));
      return false;
    }
  }

  /** One after the other, since herald answers few questions at once. @param {boolean} isThere */
  async function showParts(isThere) {
    silencing.hidden = !isThere;
    counting.hidden = !isThere;
    if (!isThere) return true;
    const silenced = await showPart(silences, 'silences', (answer) => silenceList(answer.silences, () => look()));
    return await showPart(ledger, 'ledger', ledgerTable) && silenced;
  }

  const look = live(['alerts'], async () => {
    try {
      const [now, told] = await Promise.all([readFiring(), readEpisodes('all')]);
      replaceWhenChanged(firing, now, () => (now.alerts.length > 0 ? now.alerts.map((alert) => alertCard(alert, now)) : h('p', { class: 'status good' }, 'No alert fires.')));
      replaceWhenChanged(objectives, [now.objectives, now.budget], () => objectiveTable(now));
      replaceWhenChanged(past, [told, now.alerts, now.ended], () => history(told, now));
      return await showParts(told.isThere) && !told.error;
    } catch (error) {
      if (!signal.aborted) replaceWhenChanged(firing, reason(error), () => h('p', { class: 'notice' }, `Alerts cannot be shown: ${reason(error)}.`));
      return false;
    }
  }, signal, 2000);
  liveAges(root, signal);
}

/** @param {Firing} firing */
function objectiveTable({ objectives, budget }) {
  const used = objectives.filter((one) => one.burns.some(({ long }) => long.burn_rate !== null));
  if (used.length === 0) return h('p', { class: 'muted' }, 'No route with an objective has been called yet.');
  return h('div', { class: 'scroll' }, h('table', { class: 'numbers' },
    h('thead', {}, h('tr', {}, ['Service', 'Route', 'Objective', 'Budget left', 'Burn rate over'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, used.map((one) => h('tr', { class: one.burns.some(({ firing }) => firing) ? 'firing' : null },
      h('td', {}, serviceLink(one.service)), h('td', {}, one.route), h('td', {}, promised(one)),
      h('td', {}, leftWords(budget[objectiveKey(one.service, one.route, one.slo)])),
      h('td', {}, one.burns.flatMap(({ long, short }) => [long, short]).map(({ window, burn_rate: burn }) => `${window} ${times(burn)}`).join(', ')))))));
}

/** @param {HeraldAlerts} told @param {Firing} now */
function history({ isThere, error, episodes }, now) {
  if (error) return h('p', { class: 'notice' }, error);
  if (!isThere) return h('p', { class: 'muted' }, 'No herald is set, so no history is kept.');
  if (episodes.length === 0) return h('p', { class: 'muted' }, 'No notification has been sent yet.');
  return h('div', { class: 'scroll' }, h('table', { class: 'numbers' },
    h('thead', {}, h('tr', {}, ['Alert', 'Began', 'Notified after', 'Over', 'Lasted', 'People'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, episodes.map((one) => row(one, endOf(now, one))))));
}

/** @param {import('../alerts/data.js').Episode} one @param {string | null} end */
function row(one, end) {
  const began = micros(one.started);
  const after = (/** @type {string} */ time) => span((micros(time) - began) / 1e3);
  const people = [
    one.acknowledged && ['acknowledged by ', h('bdi', {}, one.acknowledged.by), ' '],
    one.silenced && ['silenced by ', h('bdi', {}, one.silenced.by), ' '],
    one.verdict && (one.verdict.true_alarm ? 'real trouble' : 'false alarm'),
  ].filter(Boolean);
  return h('tr', { 'data-testid': 'episode', 'data-state': end ? 'resolved' : 'firing' },
    h('td', {}, severityBadge(one.severity), ' ', h('a', { href: alertHref(one.id), 'data-key': one.id }, h('bdi', {}, String(one.title).replace(`[${one.severity}] `, '')))),
    h('td', {}, clock(began, false)), h('td', {}, after(one.accepted)),
    h('td', {}, end ? clock(micros(end), false) : h('strong', { class: 'bad' }, 'fires')),
    h('td', {}, end ? after(end) : '–'), h('td', {}, people.length > 0 ? people : '–'));
}
