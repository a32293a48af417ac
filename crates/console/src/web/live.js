// Tells pages when to look again: the server's events say what has changed. While there is no stream of events, as behind a
// proxy that holds it back, everything counts as changed every two seconds.

/** @typedef {'traces' | 'logs' | 'alerts' | 'metrics'} Kind */

const WITHOUT_STREAM_MS = 2000;
const TRY_AGAIN_MS = 15000;

/** @typedef {{kinds: Kind[], wake: () => void}} Listener */
/** @type {Set<Listener>} */
const listeners = new Set();
/** @type {Record<string, number>} */
let counters = {};
/** @type {EventSource | null} */
let stream = null;

/** @param {(kind: Kind) => boolean} has */
function wake(has) {
  for (const listener of listeners) if (listener.kinds.some(has)) listener.wake();
}

function connect() {
  stream = new EventSource('/api/events');
  stream.addEventListener('changed', (event) => {
    const before = counters;
    counters = JSON.parse(event.data);
    wake((kind) => counters[kind] !== before[kind]);
  });
  // The browser comes back by itself unless the server has refused.
  stream.addEventListener('error', () => {
    if (stream?.readyState === EventSource.CLOSED) setTimeout(connect, TRY_AGAIN_MS);
  });
}

export function startLive() {
  connect();
  setInterval(() => { if (stream?.readyState !== EventSource.OPEN) wake(() => true); }, WITHOUT_STREAM_MS);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) wake(() => true); });
}

/**
 * Calls `look` now, and again whenever something of `kinds` has changed, until `signal` says that the page is left. Never
 * twice at once, not while nobody sees the page, and not more often than once per `every` milliseconds.
 * @param {Kind[]} kinds
 * @param {() => Promise<void>} look which deals with its errors
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
    timer = undefined;
    if (signal.aborted || document.hidden) return;
    if (looking) { again = true; return; }
    looking = true;
    last = performance.now();
    try {
      await look();
    } finally {
      looking = false;
      if (again) { again = false; soon(); }
    }
  }
  function soon() {
    if (timer === undefined) timer = setTimeout(run, Math.max(0, last + every - performance.now()));
  }

  const listener = { kinds, wake: soon };
  listeners.add(listener);
  signal.addEventListener('abort', () => { listeners.delete(listener); clearTimeout(timer); });
  run();
  return run;
}
