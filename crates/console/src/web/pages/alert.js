// One alert of herald's: the problem, the evidence, the runbook, and the notes of people.

import { ServerError, get, reason } from '../api.js';
import { budgetLine, severityBadge } from '../alerts/card.js';
import { endOf, objectiveOf, readFiring } from '../alerts/data.js';
import { evidenceParts, part, timeline } from '../alerts/evidence.js';
import { diagnosisParts } from '../alerts/diagnosis.js';
import { acknowledgeForm, silenceForm, verdictForm } from '../alerts/forms.js';
import { runbook } from '../alerts/runbook.js';
import { serviceLink } from '../colours.js';
import { h, replaceWhenChanged } from '../dom.js';
import { clock, micros } from '../format.js';
import { logsHref } from '../links.js';
import { live } from '../live.js';
import { title } from '../router.js';

/** @typedef {import('../alerts/data.js').Episode} Episode */

/** @param {import('../router.js').Context} context */
export function show({ root, match, signal }) {
  const id = match[1];
  const head = h('div', {});
  const diagnosis = h('div', {});
  const evidence = h('div', { class: 'evidence', 'data-testid': 'evidence' });
  const book = h('div', {});
  const message = h('div', {});
  const forms = h('div', { class: 'forms' });
  root.append(h('p', { class: 'crumb' }, h('a', { href: '/alerts' }, 'All alerts')), head, diagnosis, message, forms, h('div', { class: 'halves' }, evidence, book));
  title('Alert');

  /** @param {Episode} episode @param {import('../alerts/data.js').Firing} firing */
  function put(episode, firing) {
    title(episode.title);
    const names = [...new Set(episode.alerts.map((/** @type {any} */ one) => one.labels.alertname))];
    const end = endOf(firing, episode);
    replaceWhenChanged(head, [episode.title, episode.alerts, episode.delivered, end, episode.notifications], () => headParts(episode, end));
    putBudget(head, episode, firing);
    replaceWhenChanged(diagnosis, episode.diagnosis, () => episode.diagnosis && diagnosisParts(episode.diagnosis));
    replaceWhenChanged(message, [episode.acknowledged, episode.silenced, episode.verdict], () => noteParts(episode));
    replaceWhenChanged(evidence, episode.evidence, () => (episode.evidence ? evidenceParts(episode.evidence) : h('p', { class: 'muted' }, 'The evidence is being gathered.')));
    replaceWhenChanged(book, names, () => part(names.length > 1 ? 'Runbooks' : 'Runbook', 'runbooks', names.map((name) => runbook(String(name)))));
    replaceWhenChanged(forms, id, () => formParts(id, episode, () => look()));
    // Somebody may be typing in them.
    const acknowledge = forms.querySelector('details[data-key=Acknowledge]');
    if (acknowledge instanceof HTMLElement) acknowledge.hidden = episode.state !== 'firing';
  }

  const look = live(['alerts'], async () => {
    try {
      const [episode, firing] = await Promise.all([get(`/api/herald/alerts/${id}`), readFiring()]);
      if (!signal.aborted) put(episode, firing);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const gone = error instanceof ServerError && error.status === 404;
      const words = gone ? 'Herald does not know this alert: it keeps the newest thousand.' : `This alert cannot be shown: ${reason(error)}.`;
      replaceWhenChanged(head, words, () => h('p', { class: 'notice', 'data-testid': 'not-found' }, words));
      return gone;
    }
  }, signal, 2000);
}

/** @param {Episode} episode @param {string | null} end */
function headParts(episode, end) {
  const one = episode.alerts[0] || { labels: {}, annotations: {} };
  const service = episode.service || one.labels.service;
  return [
    h('h1', { 'data-testid': 'alert-title' }, severityBadge(episode.severity), ' ', h('bdi', {}, episode.summary || one.annotations.summary || episode.title)),
    h('p', { class: 'since' }, h('bdi', {}, episode.title), ' · ', service && [serviceLink(service), ' · ', h('a', { href: logsHref({ service }), 'data-testid': 'alert-logs' }, 'its log lines')]),
    episode.alerts.map((/** @type {any} */ alert) => alert.annotations.description && h('p', {}, alert.annotations.description)),
    timeline(episode, end),
    h('div', { class: 'budgets' }),
  ];
}

/** @param {HTMLElement} head @param {Episode} episode @param {import('../alerts/data.js').Firing} firing */
function putBudget(head, episode, firing) {
  const place = head.querySelector('.budgets');
  if (!place) return;
  const objectives = new Set(episode.alerts.map((/** @type {any} */ one) => objectiveOf(firing, one.labels)).filter(Boolean));
  replaceWhenChanged(place, [[...objectives], firing.budget], () => [...objectives].map((one) => budgetLine(one, firing.budget)));
}

/** @param {Episode} episode */
function noteParts({ acknowledged, silenced, verdict }) {
  const at = (/** @type {string} */ text) => clock(micros(text), false);
  return [
    acknowledged && h('p', { class: 'notice', 'data-testid': 'acknowledged' }, 'Acknowledged by ', h('bdi', {}, acknowledged.by), ` at ${at(acknowledged.at)}. `, h('bdi', {}, acknowledged.note),
      acknowledged.holds === false && ' The alert has grown since: acknowledge it again.'),
    silenced && h('p', { class: 'notice', 'data-testid': 'silenced' }, 'Silenced by ', h('bdi', {}, silenced.by), ` until ${at(silenced.until)}: `, h('bdi', {}, silenced.comment)),
    verdict && h('p', { class: 'notice', 'data-testid': 'judged' }, verdict.true_alarm ? 'Real trouble' : 'A false alarm', ', says ', h('bdi', {}, verdict.by), '.'),
  ];
}

/** @param {string} id @param {Episode} episode @param {() => void} done */
function formParts(id, episode, done) {
  const { labels = {}, alerts } = episode;
  const alertname = labels.alertname || alerts[0]?.labels.alertname || '';
  const service = labels.service || alerts[0]?.labels.service || '';
  const fold = (/** @type {string} */ name, /** @type {HTMLElement} */ content) => h('details', { 'data-key': name }, h('summary', {}, name), content);
  return [
    fold('Acknowledge', acknowledgeForm(id, done)),
    fold('Silence', silenceForm({ alertname, service }, done)),
    fold('Judge', verdictForm(id, done)),
  ];
}
