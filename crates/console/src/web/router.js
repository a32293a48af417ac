// Which page an address shows. A page is left when its signal is aborted: whatever it has begun ends by that.

import { askFor } from './api.js';
import { byId, h, visible } from './dom.js';

/** @typedef {{root: HTMLElement, match: RegExpExecArray, query: URLSearchParams, signal: AbortSignal}} Context */
/** @typedef {{show: (context: Context) => void}} Page */
/** @typedef {{path: RegExp, nav: string, load: () => Promise<Page>}} Route */

/** @type {Route[]} */
let routes = [];
let leaving = new AbortController();
let address = '';

/** @param {string} path */
const routeOf = (path) => routes.find((route) => route.path.test(path));

/** @param {string} name */
export function title(name) {
  document.title = visible(`${name} · OmniTrace`);
}

/** Goes to one of our own pages. @param {string} href */
export function navigate(href) {
  history.pushState(null, '', href);
  go(true);
}

/** @param {boolean} arrived by a click, not by the address bar */
async function go(arrived) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  askFor(signal);
  address = location.pathname + location.search;
  const route = routeOf(location.pathname);
  const match = route?.path.exec(location.pathname);
  const main = byId('main');
  markNav(route?.nav);
  const root = h('section', { class: 'view' });
  main.replaceChildren(root);
  if (arrived) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
  if (!route || !match) { root.append(nothingHere()); return; }
  try {
    const page = await route.load();
    if (!signal.aborted) page.show({ root, match, query: new URLSearchParams(location.search), signal });
  } catch (error) {
    root.replaceChildren(h('p', { class: 'notice', role: 'alert' }, `This page cannot be loaded: ${error}. Reload it.`));
    throw error;
  }
}

function nothingHere() {
  title('No such page');
  return h('div', { class: 'empty', 'data-testid': 'not-found' }, h('h1', {}, 'There is no such page'),
    h('p', {}, h('a', { href: '/' }, 'Go to the overview')));
}

/** @param {string | undefined} name */
function markNav(name) {
  for (const link of byId('nav').querySelectorAll('a')) {
    if (link.dataset.nav === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

/** @param {MouseEvent} event */
function clicked(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  const href = link?.getAttribute('href');
  if (!href || link?.hasAttribute('download') || link?.hasAttribute('target')) return;
  const url = new URL(href, location.href);
  if (url.origin !== location.origin || !routeOf(url.pathname)) return;
  if (url.pathname + url.search === address && url.hash) return;
  event.preventDefault();
  navigate(url.pathname + url.search + url.hash);
}

/** @param {Route[]} all */
export function startRouter(all) {
  routes = all;
  document.addEventListener('click', clicked);
  addEventListener('popstate', () => { if (location.pathname + location.search !== address) go(false); });
  go(false);
}

/** The page has changed its own address. @param {string} href */
export function rewrite(href) {
  history.replaceState(null, '', href);
  address = location.pathname + location.search;
}

/** The same, so that “back” leads to the address before. @param {string} href */
export function advance(href) {
  history.pushState(null, '', href);
  address = location.pathname + location.search;
}
