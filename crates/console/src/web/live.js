// Tells pages when to update: the server's events name the changed data. While no events come, as behind a proxy that holds
// them back, everything counts as changed every two seconds. A page that nobody sees has no stream: browsers give all pages of
// a console six connections, and each stream takes one.

import { age } from './format.js';

/** @typedef {'traces' | 'logs' | 'alerts' | 'metrics'} Kind */

const WITHOUT_STREAM_MS = 2000;
/** After the server has refused. */
const TRY_AGAIN_MS = 15000;
/** The server sends something every ten seconds, at least a heartbeat. */
const SILENT_MS = 25000;
/** Events do not cover all data of the pages, such as the evidence that herald gathers. */
const OLDEST_MS = 10000;
const AFTER_FAILURE_MS = 3000;

/** @typedef {{kinds: Kind[], wake: () => void}} Listener */
/** @type {Set<Listener>} */
const listeners = new Set();
/** @type {Record<string, number>} */
let counters = {};
/** @type {EventSource | null} */
let stream = null;
/** When the stream was requested, and when it sent something last. */
let asked = -Infinity;
let heard = -Infinity;

/** @param {(kind: Kind) => boolean} has */
function wake(has) {
  for (const listener of listeners) if (listener.kinds.some(has)) listener.wake();
}

function disconnect() {
  stream?.close();
  stream = null;
}

function connect() {
  disconnect();
  asked = performance.now();
  heard = -Infinity;
  stream = new EventSource('/api/events');
  stream.addEventListener('changed', (event) => {
    heard = performance.now();
    const before = counters;
    counters = JSON.parse(event.data);
    wake((kind) => counters[kind] !== before[kind]);
  });
  stream.addEventListener('heartbeat', () => { heard = performance.now(); });
}

/** Without news everything may have changed. The browser comes back by itself, unless the server has refused or the stream is dead. */
function check() {
  if (document.hidden) return;
  const now = performance.now();
  if (stream?.readyState === EventSource.OPEN && now - heard < SILENT_MS) return;
  wake(() => true);
  const patience = stream?.readyState === EventSource.CLOSED ? TRY_AGAIN_MS : SILENT_MS;
  if (now - Math.max(asked, heard) > patience) connect();
}

function shownOrHidden() {
  if (document.hidden) { disconnect(); return; }
  connect();
  wake(() => true);
}

/** Ages continue while the rest of the page stays unchanged. @param {Element} root @param {AbortSignal} signal */
export function liveAges(root, signal) {
  const show = () => {
    for (const element of root.querySelectorAll('[data-age]')) element.textContent = age(Number(element.getAttribute('data-age')));
  };
  const timer = setInterval(show, 1000);
  signal.addEventListener('abort', () => clearInterval(timer));
}

export function startLive() {
  shownOrHidden();
  setInterval(check, WITHOUT_STREAM_MS);
  document.addEventListener('visibilitychange', shownOrHidden);
}

/**
 * Calls `look` now, again whenever something of `kinds` has changed, soon after it has failed, and after a while in any case,
 * until `signal` says that the page is left. Never twice at once, not while nobody sees the page, and not more often than once
 * per `every` milliseconds.
 * @param {Kind[]} kinds
 * @param {() => Promise<boolean | void>} look which deals with its errors; `false`: it has failed
 * @param {AbortSignal} signal
 * @param {number} [every]
 * @returns {() => void} looks out of turn
 */
export function live(kinds, look, signal, every = 1000) {
  let looking = false;
  let again = false;
  let last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  async function run() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden) return;
    if (looking) { again = true; return; }
    looking = true;
    last = performance.now();
    let next = AFTER_FAILURE_MS;
    try {
      if (await look() !== false) next = OLDEST_MS;
    } finally {
      looking = false;
      plan(again ? every : Math.max(every, next));
      again = false;
    }
  }
  /** @param {number} after in milliseconds since the last look began */
  function plan(after) {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(run, Math.max(0, last + after - performance.now()));
  }

  const listener = { kinds, wake: () => { if (looking) again = true; else plan(every); } };
  listeners.add(listener);
  signal.addEventListener('abort', () => { listeners.delete(listener); clearTimeout(timer); });
  run();
  return run;
}
