// Puts only those rows of the waterfall into the page that are near the visible ones, so that thousands cost as little as dozens.

import { h } from '../dom.js';

/** Rows that come and go together. */
const ROWS = 25;
/** Rows that are in the page before the browser has reported the visible ones. */
const AT_ONCE = 100;
/** How far beyond the visible rows further ones are in the page. */
const MARGIN = '800px 0px';

/** @typedef {{element: HTMLElement, first: number, isPut: boolean, isNear: boolean}} Group */

export class Groups {
  /** @param {import('./waterfall.js').Waterfall} waterfall @param {HTMLElement} grid */
  constructor(waterfall, grid) {
    this.waterfall = waterfall;
    this.grid = grid;
    /** @type {Group[]} */
    this.all = [];
    this.observer = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: MARGIN });
  }

  /** Takes in rows that were made since. */
  extend() {
    const { elements } = this.waterfall;
    const last = this.all.at(-1);
    if (last?.isPut) { last.isPut = false; this.fill(last); }
    for (let first = this.all.length * ROWS; first < elements.length; first += ROWS) {
      const group = { element: h('div', { class: 'rows', role: 'rowgroup' }), first, isPut: false, isNear: false };
      this.all.push(group);
      this.grid.append(group.element);
      if (first < AT_ONCE) this.fill(group);
      this.observer.observe(group.element);
    }
  }

  /** @param {IntersectionObserverEntry[]} entries */
  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const group = this.all.find(({ element }) => element === target);
      if (group) group.isNear = isIntersecting;
    }
    for (const group of this.all) {
      if (group.isNear) this.fill(group);
      else if (group.isPut && this.mayGo(group)) this.empty(group);
    }
  }

  /** Keys continue from the current row, and the focused element keeps the focus. @param {Group} group */
  mayGo(group) {
    return group !== this.of(this.waterfall.current) && !group.element.contains(document.activeElement);
  }

  /** @param {number} index of a row */
  of(index) {
    return this.all[Math.floor(index / ROWS)];
  }

  /** Has this row in the page. @param {number} index */
  put(index) {
    const group = this.of(index);
    if (group) this.fill(group);
  }

  /** @param {Group} group */
  fill(group) {
    if (group.isPut) return;
    group.isPut = true;
    const { elements, details } = this.waterfall;
    const rows = elements.slice(group.first, group.first + ROWS);
    group.element.style.height = '';
    group.element.replaceChildren(...rows.flatMap((row, at) => [row, details.get(group.first + at)].filter((one) => one !== undefined)));
  }

  /** Keeps its place. @param {Group} group */
  empty(group) {
    group.element.style.height = `${group.element.offsetHeight}px`;
    group.element.replaceChildren();
    group.isPut = false;
  }

  /** Gives those that are not in the page the height of their rows that are not folded. */
  fit() {
    const { elements } = this.waterfall;
    for (const { element, first, isPut } of this.all) {
      const shown = elements.slice(first, first + ROWS).filter((row) => !row.hidden).length;
      if (!isPut) element.style.height = `calc(${shown} * var(--row))`;
    }
  }
}
