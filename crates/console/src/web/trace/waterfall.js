// The waterfall: a tree grid of spans that can be folded, opened, searched and walked by keyboard.

import { rewrite } from '../router.js';
import { h } from '../dom.js';
import { count, plural } from '../format.js';
import { HEX } from '../links.js';
import { head, legend } from './frame.js';
import { Groups } from './groups.js';
import { act } from './keys.js';
import { rowElement } from './row.js';
import { spanDetail } from './span.js';
import { rowContains, timeHints, treeOf } from './tree.js';

/** Rows put into the page at once; a button adds the next. */
const ROWS_AT_ONCE = 3000;

export class Waterfall {
  /** @param {import('./tree.js').Trace} trace @param {Waterfall} [before] what it replaces, whose folds and open spans it keeps */
  constructor(trace, before) {
    this.trace = trace;
    this.rows = trace.rows;
    this.tree = treeOf(this.rows);
    this.hints = this.rows.map((row, index) => timeHints(row, this.rows[this.tree.parent[index]]));
    this.indexOf = new Map(this.rows.map((row, index) => [row.span_id, index]));
    /** @type {Set<string>} */
    this.folded = before?.folded || new Set();
    /** @type {Set<string>} */
    this.open = before?.open || new Set();
    /** @type {Map<number, HTMLElement>} */
    this.details = new Map();
    /** @type {HTMLElement[]} */
    this.elements = [];
    this.current = Math.max(0, this.indexOf.get(before?.focused() || '') ?? 0);
    this.latest = -1;
    this.focusAgain = before?.hasFocus() || false;
    /** The search field. */
    this.typingAt = before?.searchField() === document.activeElement ? before?.searchField()?.selectionStart ?? null : null;
    this.build(before);
  }

  /** The span that the keys act on. */
  focused() {
    return this.rows[this.current]?.span_id || '';
  }

  hasFocus() {
    return this.grid?.contains(document.activeElement) || false;
  }

  /** @returns {HTMLInputElement | null} */
  searchField() {
    return this.element?.querySelector('input[type=text]') || null;
  }

  /** @param {Waterfall} [before] */
  build(before) {
    const deepest = this.rows.reduce((most, row) => Math.max(most, row.depth), 0);
    this.grid = h('div', { class: 'grid', role: 'treegrid', 'aria-label': 'Spans of the trace', 'aria-rowcount': this.rows.length + 1 });
    this.more = h('p', { class: 'more' });
    this.element = h('section', { class: 'waterfall', 'data-testid': 'waterfall', 'aria-label': 'Waterfall' });
    this.element.classList.toggle('deep', deepest > 12);
    this.element.classList.toggle('very-deep', deepest > 40);
    this.element.classList.toggle('no-critical', before?.element?.classList.contains('no-critical') || false);
    this.grid.append(...head(Math.max(1, this.trace.duration_us)));
    this.groups = new Groups(this, this.grid);
    this.addRows(ROWS_AT_ONCE);
    this.applyFolds();
    this.element.append(legend(this, before), this.grid, this.more);
    this.grid.addEventListener('click', (event) => this.clicked(event));
    this.grid.addEventListener('keydown', (event) => this.pressed(event));
  }

  /** @param {number} until */
  addRows(until) {
    const end = Math.min(this.rows.length, until);
    if (end <= this.elements.length) return;
    const { last, position, siblings } = this.tree;
    const total = Math.max(1, this.trace.duration_us);
    for (let index = this.elements.length; index < end; index += 1) {
      const place = { index, total, isParent: last[index] > index, position: position[index], siblings: siblings[index], hint: this.hints[index] };
      this.elements.push(rowElement(this.rows[index], place, () => { this.focusRow(index); this.setFolded(index, !this.isFolded(index)); }));
    }
    this.groups?.extend();
    const left = this.rows.length - this.elements.length;
    const next = () => { this.addRows(this.elements.length + ROWS_AT_ONCE); this.applyFolds(); };
    this.more?.replaceChildren(...(left > 0 ? [h('button', { type: 'button', onclick: next }, `Show ${count(Math.min(left, ROWS_AT_ONCE))} of ${plural(left, 'more span')}`)] : []));
  }

  /** @param {number} index */
  isFolded(index) {
    return this.folded.has(this.rows[index].span_id);
  }

  applyFolds() {
    let hiddenUntil = -1;
    this.rows.forEach((_, index) => {
      const visible = index > hiddenUntil;
      const last = this.tree.last[index];
      const isFolded = this.isFolded(index);
      if (visible && isFolded) hiddenUntil = last;
      const element = this.elements[index];
      if (!element) return;
      element.hidden = !visible;
      const detail = this.details.get(index);
      if (detail) detail.hidden = !visible;
      if (last === index) return;
      element.setAttribute('aria-expanded', String(!isFolded));
      const hidden = element.querySelector('.hidden-count');
      if (hidden) hidden.textContent = isFolded ? `+${count(last - index)}` : '';
    });
    this.groups?.fit();
  }

  /** @param {number} index @param {boolean} fold */
  setFolded(index, fold) {
    if (this.tree.last[index] === index) return;
    if (fold) this.folded.add(this.rows[index].span_id); else this.folded.delete(this.rows[index].span_id);
    this.applyFolds();
    if (this.elements[this.current]?.hidden) this.focusRow(index);
  }

  /** @param {boolean} fold */
  foldAll(fold) {
    this.rows.forEach((row, index) => { if (fold && row.depth > 0 && this.tree.last[index] > index) this.folded.add(row.span_id); });
    if (!fold) this.folded.clear();
    this.applyFolds();
    while (this.elements[this.current]?.hidden) this.setCurrent(this.tree.parent[this.current]);
  }

  /** @param {number} index */
  reveal(index) {
    this.addRows(Math.max(this.elements.length, index + 1));
    for (let parent = this.tree.parent[index]; parent >= 0; parent = this.tree.parent[parent]) this.folded.delete(this.rows[parent].span_id);
    this.applyFolds();
  }

  /** @param {number} index @param {boolean} show @param {boolean} [tellUrl] */
  setOpen(index, show, tellUrl = true) {
    const id = this.rows[index].span_id;
    if (show === this.details.has(index)) return;
    if (show) {
      const detail = spanDetail(this.rows[index], this.trace, this.hints[index]);
      this.details.set(index, detail);
      this.elements[index].after(detail);
      this.open.add(id);
    } else {
      this.details.get(index)?.remove();
      this.details.delete(index);
      this.open.delete(id);
    }
    this.elements[index].classList.toggle('open', show);
    this.elements[index].querySelector('.operation')?.setAttribute('aria-expanded', String(show));
    if (!tellUrl) return;
    if (show && HEX.span.test(id)) rewrite(`#span=${id}`);
    else if (location.hash === `#span=${id}`) rewrite(location.pathname);
  }

  /** @param {number} index */
  setCurrent(index) {
    this.groups?.put(index);
    this.elements[this.current]?.setAttribute('tabindex', '-1');
    this.current = index;
    this.elements[index]?.setAttribute('tabindex', '0');
  }

  /** @param {number} index @param {ScrollLogicalPosition} [block] */
  focusRow(index, block = 'nearest') {
    this.setCurrent(index);
    this.elements[index].focus({ preventScroll: true });
    this.elements[index].scrollIntoView({ block });
  }

  /** Goes to the next span that `wanted` accepts, and opens it. @param {(row: import('./tree.js').Row) => boolean} wanted */
  next(wanted) {
    for (let step = 1; step <= this.rows.length; step += 1) {
      const index = (this.latest + step + this.rows.length) % this.rows.length;
      if (!wanted(this.rows[index])) continue;
      this.latest = index;
      this.reveal(index);
      this.setOpen(index, true);
      this.focusRow(index, 'center');
      return;
    }
  }

  /** Marks the spans that say this. @param {string} text @returns how many do */
  mark(text) {
    const wanted = text.trim().toLowerCase();
    const found = this.rows.map((row) => wanted !== '' && rowContains(row, wanted));
    this.elements.forEach((element, index) => {
      element.classList.toggle('found', found[index]);
      element.classList.toggle('passed', wanted !== '' && !found[index]);
    });
    return found.filter(Boolean).length;
  }

  /** @param {EventTarget | null} target */
  rowOf(target) {
    const row = target instanceof Element ? target.closest('.row') : null;
    return row instanceof HTMLElement && this.grid?.contains(row) ? Number(row.dataset.index) : -1;
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const index = this.rowOf(event.target);
    if (index < 0 || String(getSelection()) !== '') return;
    this.setCurrent(index);
    this.elements[index].focus({ preventScroll: true });
    this.setOpen(index, !this.details.has(index));
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const detail = event.target instanceof Element ? event.target.closest('.detail') : null;
    if (detail instanceof HTMLElement) {
      if (event.key !== 'Escape') return;
      this.setOpen(Number(detail.dataset.index), false);
      this.focusRow(Number(detail.dataset.index));
      return;
    }
    const index = this.rowOf(event.target);
    if (index < 0 || !act(this, event.key, index)) return;
    event.preventDefault();
  }

  /** The span that the address names. */
  openFromHash() {
    const match = /^#span=([0-9a-f]{16})$/.exec(location.hash);
    const index = match ? this.indexOf.get(match[1]) : undefined;
    if (index === undefined) return;
    this.reveal(index);
    this.setOpen(index, true, false);
    this.focusRow(index, 'start');
  }

  /** After the element is in the page: opens the rows that were open before, or the one that the URL names. @param {boolean} first */
  settle(first) {
    for (const id of [...this.open]) {
      const index = this.indexOf.get(id);
      if (index !== undefined) { this.reveal(index); this.setOpen(index, true, false); }
    }
    if (this.rows.length > 0) this.setCurrent(Math.min(this.current, this.elements.length - 1));
    const field = this.searchField();
    if (field && this.typingAt !== null) { field.focus({ preventScroll: true }); field.setSelectionRange(this.typingAt, this.typingAt); }
    if (this.focusAgain) this.elements[this.current]?.focus({ preventScroll: true });
    if (first) this.openFromHash();
  }
}
