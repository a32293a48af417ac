// The faults of every service: each with its ranges, its duration, and a button to end it.

import { get, reason, send } from '../api.js';
import { swatch } from '../colours.js';
import { announce, h, replaceWhenChanged } from '../dom.js';
import { span } from '../format.js';
import { live } from '../live.js';
import { title } from '../router.js';

/** @typedef {{name: string, type: string, unit: string, min: number | null, max: number | null, default: unknown}} Parameter */
/** @typedef {{name: string, description: string, parameters: Parameter[], active: {parameters: Record<string, unknown>, seconds_left: number} | null}} Fault */
/** @typedef {{service: string, faults: {faults: Fault[]} | null, error: string | null}} Board */

const EVERY_MS = 2000;
const DEFAULT_S = 300;

/** @param {import('../router.js').Context} context */
export function show({ root, signal }) {
  title('Faults');
  const message = h('p', { class: 'form-error', role: 'alert', hidden: true });
  const failed = h('div', {});
  const boards = h('div', {});
  root.append(h('h1', {}, 'Faults'),
    h('p', { class: 'muted' }, 'For exercises: switch a fault on, and find it with the other pages. Alerts and evidence do not read the switches of this page. Each fault ends by itself.'), message, failed, boards);

  /** @param {() => Promise<void>} act @param {string} words */
  async function change(act, words) {
    try {
      await act();
      message.hidden = true;
      announce(words);
    } catch (error) {
      message.textContent = `Not done: ${reason(error)}`;
      message.hidden = false;
    }
    look();
  }

  // Whether a fault is on changes no telemetry at once: it is asked for as often as metrics come.
  const look = live(['metrics'], async () => {
    try {
      const { services } = await get('/api/faults');
      replaceWhenChanged(failed, services.length, () => services.length === 0 && h('p', { class: 'muted' }, 'No service that is scraped here has a switchboard.'));
      put(boards, services, change);
      return true;
    } catch (error) {
      if (!signal.aborted) replaceWhenChanged(failed, reason(error), () => h('p', { class: 'notice' }, `The switchboards cannot be read: ${reason(error)}.`));
      return false;
    }
  }, signal, EVERY_MS);
}

/** @typedef {(act: () => Promise<void>, words: string) => Promise<void>} Change */

/** A form that a user fills in stays when other services change, and when its own service does not answer for a while. @param {HTMLElement} parent @param {Board[]} boards @param {Change} change */
function put(parent, boards, change) {
  const known = new Map([...parent.children].map((section) => [section.getAttribute('data-board'), section]));
  const sections = boards.map(({ service }) => known.get(service) || boardSection(service, change));
  if (sections.some((section, index) => parent.children[index] !== section) || known.size > sections.length) parent.replaceChildren(...sections);
  boards.forEach((board, index) => showBoard(sections[index], board, change));
}

/** Writes the active faults and their remaining time into the forms. @param {Element} section @param {Board} board @param {Change} change */
function showBoard(section, { service, faults, error }, change) {
  const [clear, failed, list] = ['.clear-all', '.failed-board', 'ul'].map((css) => /** @type {HTMLElement} */ (section.querySelector(css)));
  replaceWhenChanged(failed, error, () => error && h('p', { class: 'notice' }, error));
  if (!faults) return;
  const shape = faults.faults.map(({ name, description, parameters }) => [name, description, parameters]);
  replaceWhenChanged(list, shape, () => faults.faults.map((fault) => faultItem(service, fault, change)));
  for (const fault of faults.faults) showActive(list, service, fault, change);
  clear.hidden = !faults.faults.some(({ active }) => active);
}

/** @param {string} service @param {Change} change */
function boardSection(service, change) {
  const clearAll = () => change(() => send('DELETE', `/api/faults/${encodeURIComponent(service)}`), `All faults of ${service} are off`);
  return h('section', { 'data-board': service, 'data-testid': 'board' },
    h('div', { class: 'title-line' }, h('h2', {}, swatch(service), ' ', h('bdi', {}, service)),
      h('button', { class: 'clear-all', type: 'button', hidden: true, onclick: clearAll }, 'Clear all')),
    h('div', { class: 'failed-board' }), h('ul', { class: 'plain-list' }));
}

/** @param {string} service @param {Fault} fault @param {Change} change */
function faultItem(service, { name, description, parameters }, change) {
  const form = h('form', { class: 'inline', 'aria-label': `Switch ${name} of ${service} on` },
    parameters.map(field),
    h('label', {}, 'for ', h('input', { type: 'number', name: 'seconds', min: 1, max: 3600, value: DEFAULT_S }), ' s'),
    h('button', { type: 'submit' }, 'Switch on'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const values = parameters.filter((one) => data.get(`p ${one.name}`)).map((one) => [one.name, read(one, String(data.get(`p ${one.name}`)))]);
    const body = { ...Object.fromEntries(values), expires_in_s: Number(data.get('seconds')) || DEFAULT_S };
    change(() => send('PUT', `/api/faults/${encodeURIComponent(service)}/${encodeURIComponent(name)}`, body), `${name} is on`);
  });
  return h('li', { 'data-fault': name, 'data-testid': 'fault' },
    h('p', {}, h('strong', {}, name), ' ', h('span', { class: 'muted' }, description), ' ', h('span', { class: 'on' })), form);
}

/** @param {Parameter} parameter */
function field({ name, type, unit, min, max, default: usual }) {
  const shownUnit = unit === '1' ? '' : ` ${unit}`;
  if (type !== 'integer' && type !== 'number') return h('label', {}, `${name} `, h('input', { type: 'text', name: `p ${name}`, value: usual ?? '' }));
  const range = min !== null && max !== null ? `${min} to ${max}${shownUnit}` : '';
  return h('label', { title: range }, `${name} `, h('input', { type: 'number', name: `p ${name}`, min, max, step: type === 'integer' ? 1 : 'any', value: usual ?? '' }), shownUnit, ' ', h('span', { class: 'muted' }, `(${range})`));
}

/** @param {Parameter} parameter @param {string} text */
const read = ({ type }, text) => (type === 'integer' || type === 'number' ? Number(text) : text);

/** @param {HTMLElement} list @param {string} service @param {Fault} fault @param {Change} change */
function showActive(list, service, { name, active }, change) {
  const item = list.querySelector(`[data-fault="${CSS.escape(name)}"]`);
  const place = item?.querySelector('.on');
  if (!item || !place) return;
  item.classList.toggle('active', active !== null);
  const clear = () => change(() => send('DELETE', `/api/faults/${encodeURIComponent(service)}/${encodeURIComponent(name)}`), `${name} is off`);
  const left = active && Math.ceil(active.seconds_left);
  replaceWhenChanged(place, active && [active.parameters, left], () => active && [
    h('strong', { class: 'bad', 'data-testid': 'active' }, `on, ${span(active.seconds_left * 1000)} left`), ' ',
    Object.entries(active.parameters).map(([key, value]) => h('code', {}, `${key}=${value} `)),
    h('button', { class: 'plain', type: 'button', 'data-key': 'off', onclick: clear }, 'Switch off')]);
}
