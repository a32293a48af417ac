// Charts over time, by uPlot. Names and values stand in a legend of our own, as text; requests behind a chart are links.

import uPlot from '../vendor/uplot/uPlot.esm.js';
import { h, replaceWhenChanged } from '../dom.js';
import { clock, isNumber } from '../format.js';
import { traceHref } from '../links.js';

/** @typedef {{label: string, points: [number, number][]}} Line */
/** @typedef {{start: number, end: number, step: number}} Range */
/** @typedef {import('../api.js').Exemplar} Exemplar */

const HEIGHT = 150;
const COLOURS = ['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7'];
/** Fixed colours, so that an error is never green by chance. @type {Record<string, string>} */
const MEANT = { error: 'error', fatal: 'error', warn: 'warn', info: 's0', ok: 'good' };
/** More dots would hide each other. */
const DOTS = 60;

/** The indices of values without neighbours: no line is drawn for them. @param {uPlot} drawn @param {number} series */
function isolatedValues(drawn, series) {
  const column = drawn.data[series];
  return [...column.keys()].filter((index) => isNumber(column[index]) && !isNumber(column[index - 1]) && !isNumber(column[index + 1]));
}

/** The name of a colour. @param {string} label @param {number} index */
const colourOf = (label, index) => MEANT[label.toLowerCase()] || COLOURS[index % COLOURS.length];

/** @param {string} name of a custom property, without its dashes */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  /** @param {{title: string, testid: string, format: (value: number) => string, signal: AbortSignal}} options `format`: a value in words */
  constructor({ title, testid, format, signal }) {
    this.format = format;
    this.signal = signal;
    this.legend = h('ul', { class: 'legend-list' });
    this.plot = h('div', { class: 'plot' });
    this.message = h('p', { class: 'error', hidden: true });
    this.element = h('figure', { class: 'chart', 'data-testid': testid }, h('figcaption', {}, title), this.plot, this.legend, this.message);
    /** @type {uPlot | null} */
    this.drawn = null;
    /** @type {Line[]} */
    this.lines = [];
    /** @type {Exemplar[]} */
    this.dots = [];
    /** @type {Range} */
    this.range = { start: 0, end: 1, step: 1 };
    this.listen();
  }

  listen() {
    const { signal } = this;
    const resized = new ResizeObserver(() => this.drawn?.setSize({ width: this.plot.clientWidth, height: HEIGHT }));
    resized.observe(this.plot);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw(), { signal });
    signal.addEventListener('abort', () => { resized.disconnect(); this.drawn?.destroy(); });
  }

  /** The drawn lines stay. @param {string} why */
  fail(why) {
    this.message.textContent = `Not up to date: ${why}.`;
    this.message.hidden = false;
  }

  /** @param {Line[]} lines @param {Range} range @param {Exemplar[]} [dots] */
  put(lines, range, dots = []) {
    if (this.signal.aborted) return;
    this.message.hidden = true;
    const same = this.drawn && lines.map(({ label }) => label).join('\n') === this.lines.map(({ label }) => label).join('\n');
    const busy = this.plot.contains(document.activeElement) || this.plot.matches(':hover');
    if (same && busy) return;
    Object.assign(this, { lines, range, dots: dots.slice(-DOTS) });
    this.element.classList.toggle('nothing', lines.every(({ points }) => points.length === 0));
    if (same) this.drawn?.setData(this.data()); else this.draw();
    this.tell(null);
  }

  /** @returns {uPlot.AlignedData} */
  data() {
    const { start, end, step } = this.range;
    const times = Array.from({ length: Math.floor((end - start) / step) + 1 }, (_, index) => start + index * step);
    const columns = this.lines.map(({ points }) => {
      const values = new Map(points);
      return times.map((time) => { const value = values.get(time); return isNumber(value) ? value : null; });
    });
    return [times, ...columns];
  }

  draw() {
    this.drawn?.destroy();
    const axis = { stroke: css('muted'), grid: { stroke: css('grid-line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const series = this.lines.map(({ label }, index) => ({ stroke: css(colourOf(label, index)), width: 1.5, spanGaps: false, points: { show: false, size: 4, filter: isolatedValues } }));
    const values = (/** @type {uPlot} */ _, /** @type {number[]} */ splits) => splits.map((value) => this.format(value));
    this.drawn = new uPlot({
      width: this.plot.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: 'service' }, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, space: 60, size: 30, gap: 10, values: (_, times) => times.map((time) => clock(time * 1e6, false).slice(-8, times[1] - times[0] < 60 ? undefined : -3)) }, { ...axis, size: 64, values }],
      series: [{}, ...series],
      hooks: { setCursor: [(drawn) => this.tell(drawn.cursor.idx ?? null)], draw: [() => this.placeDots()] },
    }, this.data(), this.plot);
  }

  /** The values at a place of the time axis, else at its end: a series without a value there has none now. @param {number | null} index */
  tell(index) {
    const columns = this.drawn ? this.drawn.data.slice(1) : [];
    const shown = this.lines.map(({ label }, line) => {
      const column = /** @type {(number | null)[]} */ (columns[line] || []);
      const value = column[index ?? column.length - 1];
      return [label, isNumber(value) ? this.format(value) : '–'];
    });
    replaceWhenChanged(this.legend, shown, () => shown.map(([label, value], line) => h('li', {}, h('i', { class: `swatch ${colourOf(label, line)}` }), h('bdi', {}, label), ' ', h('b', {}, value))));
  }

  /** Requests that were measured: where they are and how long they took. */
  placeDots() {
    const { drawn } = this;
    if (!drawn) return;
    for (const old of drawn.over.querySelectorAll('.exemplar')) old.remove();
    const { width, height } = drawn.over.getBoundingClientRect();
    for (const dot of this.dots) {
      const [left, top] = [drawn.valToPos(dot.time, 'x'), drawn.valToPos(dot.value, 'y')];
      if (left < 0 || left > width || top > height) continue;
      const mark = h('a', { class: 'exemplar', href: traceHref(dot.traceId, dot.spanId), 'data-testid': 'exemplar', 'data-trace-id': dot.traceId, title: `${this.format(dot.value)} at ${clock(dot.time * 1e6)}: open its trace`, 'aria-label': `A request of ${this.format(dot.value)}: open its trace` });
      mark.style.left = `${left}px`;
      mark.style.top = `${Math.max(2, top)}px`;
      drawn.over.append(mark);
    }
  }
}
