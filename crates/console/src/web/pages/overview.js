// The overview: present problems, their places, and the changes before them.

import { get, reason } from '../api.js';
import { alertRow } from '../alerts/card.js';
import { readFiring } from '../alerts/data.js';
import { assignColours, serviceLink } from '../colours.js';
import { h, replaceWhenChanged } from '../dom.js';
import { clock, count, isoTime, percent, plural, rate, seconds } from '../format.js';
import { targetName, targetState } from '../header.js';
import { live, liveAges } from '../live.js';
import { readChanges } from '../overview/changes.js';
import { readGraph } from '../overview/graph.js';
import { FAILING, topology } from '../overview/topology.js';
import { title } from '../router.js';

/** @typedef {import('../overview/graph.js').Graph} Graph */
/** @typedef {import('../overview/graph.js').Node} Node */

const EVERY_MS = 3000;

/** @param {import('../router.js').Context} context */
export function show({ root, signal }) {
  title('Overview');
  const part = (/** @type {string} */ name, /** @type {string} */ testid) => {
    const body = h('div', { 'data-testid': testid });
    return { body, element: h('section', {}, h('h2', {}, name), body) };
  };
  const status = h('p', { class: 'status', role: 'status', 'data-testid': 'status' });
  const alerts = part('Alerts that fire', 'firing');
  const targets = part('Targets that are down', 'down');
  const map = part('Who calls whom', 'map');
  const changes = part('Changes in the last ten minutes', 'changes');
  const services = part('Services', 'services');
  alerts.element.hidden = targets.element.hidden = true;
  root.append(h('h1', {}, 'Overview'), status, alerts.element, targets.element,
    h('div', { class: 'beside' }, map.element, changes.element), services.element);

  /** @type {State} */
  const state = { firing: null, targets: null };
  const tell = () => replaceWhenChanged(status, state, () => statusWords(state));
  const guarded = (/** @type {{element: HTMLElement, body: HTMLElement}} */ { element, body }, /** @type {() => Promise<void>} */ look, forget = () => {}) => async () => {
    try {
      await look();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      forget();
      tell();
      element.hidden = false;
      replaceWhenChanged(body, reason(error), () => h('p', { class: 'notice' }, `This cannot be shown: ${reason(error)}.`));
      return false;
    }
  };

  live(['alerts'], guarded(alerts, async () => {
    const firing = await readFiring();
    state.firing = firing.alerts.length;
    alerts.element.hidden = state.firing === 0;
    replaceWhenChanged(alerts.body, firing, () => alertList(firing));
    tell();
  }, () => { state.firing = null; }), signal, 2000);
  live(['metrics'], guarded(targets, async () => {
    const { targets: all, error } = await get('/api/targets');
    if (error) throw new Error(error);
    const down = all.filter((/** @type {import('../header.js').Target} */ one) => targetState(one) === 'down');
    const up = all.filter((/** @type {import('../header.js').Target} */ one) => targetState(one) === 'up');
    state.targets = { all: all.length, up: up.length, down: down.length };
    targets.element.hidden = down.length === 0;
    replaceWhenChanged(targets.body, down.map((/** @type {any} */ one) => [one.address, one.error]), () => downList(down));
    tell();
  }, () => { state.targets = null; }), signal, EVERY_MS);
  /** @type {Graph | null} */
  let graph = null;
  const draw = () => graph && replaceWhenChanged(map.body, [graph, map.body.clientWidth], () => mapOf(/** @type {Graph} */ (graph), map.body.clientWidth));
  live(['metrics'], guarded(map, async () => {
    graph = await readGraph();
    assignColours(graph.nodes.map(({ name }) => name));
    draw();
    replaceWhenChanged(services.body, graph.nodes, () => servicesTable(/** @type {Graph} */ (graph).nodes));
  }, () => { graph = null; }), signal, EVERY_MS);
  live(['metrics', 'alerts'], guarded(changes, async () => {
    const found = await readChanges();
    replaceWhenChanged(changes.body, found, () => changeList(found));
  }), signal, 5000);
  const resized = new ResizeObserver(() => draw());
  resized.observe(map.body);
  signal.addEventListener('abort', () => resized.disconnect());
  liveAges(root, signal);
}

/** @param {Graph} graph @param {number} width */
const mapOf = (graph, width) => [topology(graph, width), graph.isPart && h('p', { class: 'muted' }, 'More services or calls than a map can show: these are the busiest.')];

/** The last data; `null` if unknown. @typedef {{firing: number | null, targets: {all: number, up: number, down: number} | null}} State */

/** @param {State} state */
function statusWords({ firing, targets }) {
  return [firing !== null && firingWords(firing), ' ', targets && targetWords(targets)];
}

/** @param {number} firing */
function firingWords(firing) {
  if (firing === 0) return h('span', { class: 'good' }, 'No alert fires.');
  return h('span', { class: 'bad' }, `${plural(firing, 'alert')} ${firing === 1 ? 'fires' : 'fire'}.`);
}

/** @param {{all: number, up: number, down: number}} targets */
function targetWords({ all, up, down }) {
  if (down > 0) return h('span', { class: 'bad' }, `${plural(down, 'target')} ${down === 1 ? 'does' : 'do'} not answer.`);
  if (all === 0) return h('span', { class: 'muted' }, 'Nothing is scraped.');
  if (up < all) return h('span', { class: 'muted' }, `${plural(all - up, 'target')} not scraped yet.`);
  return h('span', { class: 'good' }, 'All targets answer.');
}

/** Pages, then tickets; those beside a page are folded. @param {import('../alerts/data.js').Firing} firing */
function alertList(firing) {
  const list = (/** @type {import('../alerts/data.js').Alert[]} */ some) => h('ul', { class: 'alert-rows' }, some.map((alert) => alertRow(alert, firing)));
  const isPage = (/** @type {import('../alerts/data.js').Alert} */ { labels }) => labels.severity === 'page';
  const [pages, tickets] = [firing.alerts.filter(isPage), firing.alerts.filter((alert) => !isPage(alert))];
  if (pages.length === 0 || tickets.length < 2) return list(firing.alerts);
  return [list(pages), h('details', { 'data-key': 'tickets' }, h('summary', {}, plural(tickets.length, 'ticket')), list(tickets))];
}

/** @param {import('../header.js').Target[]} down */
function downList(down) {
  return h('ul', { class: 'plain-list' }, down.map((target) => h('li', {}, target.service_name ? serviceLink(target.service_name) : h('bdi', {}, targetName(target)), ' ',
    h('code', {}, target.address), ' ', h('bdi', { class: 'error' }, target.error || 'does not answer'))));
}

/** @param {import('../overview/changes.js').Change[]} changes */
function changeList(changes) {
  if (changes.length === 0) return h('p', { class: 'muted' }, 'No release, no restart, no alert.');
  return h('ol', { class: 'changes' }, changes.slice(0, 12).map(({ time, service, words, kind }) => h('li', { class: kind, 'data-testid': 'change', 'data-kind': kind },
    h('time', { datetime: isoTime(time * 1e6), title: isoTime(time * 1e6) }, clock(time * 1e6, false)), ' ', service && serviceLink(service), ' ', words.map((word, index) => (index % 2 === 1 ? h('bdi', {}, word) : word)))));
}

/** @param {Node[]} nodes */
function servicesTable(nodes) {
  const all = nodes.filter((node) => node.isService);
  if (all.length === 0) return h('p', { class: 'muted' }, 'None yet.');
  const columns = ['Service', 'Version', 'Requests', 'Failed', '95 % within', 'State'];
  return h('div', { class: 'scroll' }, h('table', { class: 'numbers' },
    h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, all.map((node) => h('tr', { 'data-testid': 'service-row', 'data-service': node.name },
      h('td', {}, serviceLink(node.name)),
      h('td', {}, node.versions.length > 1 ? `${node.versions.join(', ')} (${count(node.versions.length)})` : node.versions[0] || '–'),
      h('td', {}, rate(node.rate)),
      h('td', { class: (node.errorShare || 0) >= FAILING ? 'bad' : null }, percent(node.errorShare)),
      h('td', {}, seconds(node.p95)),
      stateCell(node))))));
}

/** @param {Node} node */
function stateCell(node) {
  if (node.isGone) return h('td', { class: 'bad' }, 'gone');
  if (node.ready === false) return h('td', { class: 'bad' }, 'not ready');
  return h('td', {}, node.ready === null ? '–' : 'ready');
}
