// Log lines, the newest on top. Only those in sight are in the page, so ten thousand scroll as smoothly as ten; what is new on
// top moves nothing for a user who has scrolled down, and waits while the pointer or the focus is in the list.

import { newestFirst } from '../api.js';
import { swatch } from '../colours.js';
import { focusIn, giveFocus, h } from '../dom.js';
import { clock, count, isoTime } from '../format.js';
import { traceHref } from '../links.js';
import { level } from '../trace/logs.js';
import { lineText } from './query.js';

/** @typedef {import('../api.js').Line} Line */

/** Pixels; style.css has the same. */
const ROW = 24;
/** Rows beyond both ends of the visible ones. */
const BEYOND = 15;
/** The oldest make room. */
export const MOST = 10000;

/** The identity of a line. @param {Line} line */
const keyOf = ({ ns, text, labels }) => `${ns} ${labels.service_name} ${labels.span_id || ''} ${text}`;

export class LogList {
  /** @param {{older: () => void, open: (line: Line) => void, left: () => void}} options `older`: the end is in sight; `open`: a line is chosen; `left`: nobody points at it any more */
  constructor({ older, open, left }) {
    this.older = older;
    this.open = open;
    this.pointing = false;
    /** @type {Line[]} */
    this.lines = [];
    /** @type {Set<string>} */
    this.keys = new Set();
    this.rows = h('div', { class: 'log-rows' });
    this.space = h('div', { class: 'log-space' }, this.rows);
    this.element = h('div', { class: 'log-list', tabindex: 0, role: 'list', 'aria-label': 'Log lines, newest first', 'data-testid': 'log-list' }, this.space);
    this.element.addEventListener('scroll', () => { this.draw(); this.askForOlder(); }, { passive: true });
    this.element.addEventListener('pointerenter', (event) => { this.pointing = event.pointerType === 'mouse'; });
    this.element.addEventListener('pointerleave', () => { this.pointing = false; left(); });
  }

  get held() { return this.lines.length > 0 && (this.pointing || this.element.contains(document.activeElement)); }

  get oldest() { return this.lines[this.lines.length - 1]; }

  get newest() { return this.lines[0]; }

  clear() {
    this.lines = [];
    this.keys.clear();
    this.element.scrollTop = 0;
    this.draw();
  }

  /** Those that it does not have. @param {Line[]} found */
  fresh(found) {
    return found.filter((line) => !this.keys.has(keyOf(line)));
  }

  /** @param {Line[]} found the newest first @returns how many are new above what is in sight */
  add(found) {
    const above = this.insert(found);
    // At the end of the list nobody can scroll on.
    this.askForOlder();
    return above;
  }

  /** @param {Line[]} found */
  insert(found) {
    const fresh = this.fresh(found);
    if (fresh.length === 0) return 0;
    const first = this.lines[Math.floor(this.element.scrollTop / ROW)];
    for (const line of fresh) this.keys.add(keyOf(line));
    this.lines = [...this.lines, ...fresh].sort(newestFirst);
    for (const line of this.lines.splice(MOST)) this.keys.delete(keyOf(line));
    const down = this.element.scrollTop > 0 && first ? this.lines.indexOf(first) - Math.floor(this.element.scrollTop / ROW) : 0;
    this.space.style.height = `${this.lines.length * ROW}px`;
    if (down > 0) this.element.scrollTop += down * ROW;
    this.draw();
    return Math.max(0, down);
  }

  /** Asks for older lines when the end of the list is visible. */
  askForOlder() {
    if (this.element.scrollTop + this.element.clientHeight > (this.lines.length - BEYOND) * ROW) this.older();
  }

  draw() {
    this.space.style.height = `${this.lines.length * ROW}px`;
    const from = Math.max(0, Math.floor(this.element.scrollTop / ROW) - BEYOND);
    const until = Math.min(this.lines.length, from + Math.ceil(this.element.clientHeight / ROW) + 2 * BEYOND);
    this.rows.style.top = `${from * ROW}px`;
    const focused = focusIn(this.rows);
    this.rows.replaceChildren(...this.lines.slice(from, until).map((line, index) => this.row(line, from + index)));
    giveFocus(this.rows, focused);
    this.element.setAttribute('aria-label', `Log lines, newest first: ${count(this.lines.length)}`);
  }

  /** @param {Line} line @param {number} index */
  row(line, index) {
    const { labels, us } = line;
    const href = traceHref(labels.trace_id, labels.span_id);
    const severity = level(labels.severity_text || labels.detected_level || '');
    const key = keyOf(line).slice(0, 200);
    return h('div', { class: `log-row ${severity}`, role: 'listitem', 'aria-setsize': this.lines.length, 'aria-posinset': index + 1, 'data-testid': 'log-row' },
      h('time', { datetime: isoTime(us), title: isoTime(us) }, clock(us).slice(-12, -4), h('span', { class: 'ms' }, clock(us).slice(-4))),
      h('span', { class: 'severity' }, labels.severity_text || '–'),
      h('span', { class: 'service' }, swatch(labels.service_name), h('bdi', {}, labels.service_name)),
      href ? h('a', { class: 'plain', href, 'aria-label': 'Open its trace', 'data-testid': 'log-trace', 'data-key': `trace ${key}` }, 'trace') : h('span', {}),
      h('button', { class: 'said', type: 'button', 'data-key': key, title: lineText(line).slice(0, 2000), onclick: () => this.open(line) }, lineText(line).slice(0, 500)));
  }
}
