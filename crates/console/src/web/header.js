// The header: the scraped targets, the stored data, the number of firing alerts, and whether the console answers.

import { ServerError, get, reason } from './api.js';
import { byId, h, replaceWhenChanged } from './dom.js';
import { age, bytes, count } from './format.js';
import { live } from './live.js';

/** @type {Date | null} */
let lostSince = null;

/** The header stays whichever page is left. */
const { signal } = new AbortController();

export function startHeader() {
  live(['traces', 'logs', 'alerts', 'metrics'], refresh, signal, 2000);
}

async function refresh() {
  try {
    const [stats, targets, alerts] = await Promise.all(['/api/stats', '/api/targets', '/api/alerts'].map((path) => get(path, signal)));
    lostSince = null;
    replaceWhenChanged(byId('stats'), stats, () => statItems(stats));
    showTargets(targets);
    const firing = alerts.data.alerts.length;
    replaceWhenChanged(byId('nav-alerts'), firing, () => firing > 0 && h('span', { class: 'badge error' }, count(firing)));
  } catch (error) {
    lostSince = lostSince || new Date();
    const answered = error instanceof ServerError && error.status > 0;
    const words = answered
      ? `The console answers with an error: ${reason(error)}`
      : `The console ${reason(error)} since ${lostSince.toTimeString().slice(0, 8)}. What you see may be old; retrying.`;
    replaceWhenChanged(byId('unreachable'), words, () => words);
  }
  byId('unreachable').hidden = lostSince === null;
  document.body.classList.toggle('lost', lostSince !== null);
  return lostSince === null;
}

/** @param {Record<string, number>} stats */
function statItems(stats) {
  const used = stats.limit_bytes ? stats.bytes / stats.limit_bytes : 0;
  const fill = h('i');
  fill.style.width = `${Math.min(100, used * 100)}%`;
  const meter = h('span', { class: 'meter', 'aria-hidden': 'true' }, fill);
  return [
    item('traces', count(stats.traces), null, stats.evicted_traces ? `${count(stats.evicted_traces)} older traces made room` : null),
    item('spans', count(stats.spans)),
    item('logs', count(stats.logs)),
    item('memory', `${bytes(stats.bytes)} of ${bytes(stats.limit_bytes)}`, meter, `${(used * 100).toFixed(1)} %; when full, the oldest traces make room`),
    lost(stats, 'dropped'),
    lost(stats, 'rejected'),
  ];
}

/** @param {string} name @param {string} value @param {import('./dom.js').Child} [extra] @param {string | null} [title] */
const item = (name, value, extra, title) => h('div', { title }, h('dt', {}, name), h('dd', {}, extra, value));

/**
 * `dropped_…` did not fit, `rejected_…` came malformed; spans, logs, samples and data points each.
 * @param {Record<string, number>} stats @param {string} what
 */
function lost(stats, what) {
  const parts = Object.entries(stats).filter(([key, number]) => key.startsWith(`${what}_`) && number > 0);
  const sum = parts.reduce((total, [, number]) => total + number, 0);
  const words = parts.map(([key, number]) => `${count(number)} ${key.slice(what.length + 1).replaceAll('_', ' ')}`);
  return sum > 0 && h('div', { class: 'warn', title: words.join(', ') }, h('dt', {}, what), h('dd', {}, count(sum)));
}

/** @typedef {{address: string, service_name: string, job: string, up: boolean, error: string | null, last_scrape_us: number | null}} Target */

/** Beside the lamp and the name. */
const STATES = { up: null, down: ' down', none: ' not scraped yet' };

/** @param {Target} target */
export const targetState = (target) => (target.up ? 'up' : target.last_scrape_us || target.error ? 'down' : 'none');

/** The job of those that a file names without one says nothing. @param {Target} target */
export const targetName = (target) => target.service_name || (target.job === 'services' ? target.address : target.job);

/** @param {{targets?: Target[], error?: string | null}} answer */
function showTargets({ targets = [], error = null }) {
  const state = targets.map((target) => [target.address, targetName(target), targetState(target), target.error]);
  replaceWhenChanged(byId('targets'), [state, error], () => {
    if (error) return h('li', { class: 'down' }, `Targets: ${error}`);
    if (targets.length === 0) return h('li', { class: 'none' }, 'Nothing is scraped');
    return targets.map((target) => h('li', { class: targetState(target), title: [target.address, target.error].filter(Boolean).join(': ') },
      h('i', { class: 'lamp', 'aria-hidden': 'true' }), h('bdi', {}, targetName(target)), STATES[targetState(target)]));
  });
  if (error) return;
  // Ages change on every scrape: they are written into the items that stand.
  targets.forEach((target, index) => {
    const item = byId('targets').children[index];
    const scraped = target.last_scrape_us ? `, scraped ${age(target.last_scrape_us)}` : '';
    if (item && targetState(target) === 'up') item.setAttribute('title', `${target.address} is up${scraped}`);
  });
}
