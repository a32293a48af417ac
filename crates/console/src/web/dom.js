// Elements from data. Every name and value that is shown came from somewhere else, so it becomes text and nothing here
// parses HTML; it shows characters that would move, hide or reorder the text around them as a mark (`visible`).

/** @typedef {Node | string | number | false | null | undefined} Leaf */
/** @typedef {Leaf | readonly any[]} Child a list holds the same again */
/** @typedef {Record<string, any>} Props */

/** Controls but tab and line feed, separators of lines, all that changes the direction of text, joiners, fillers, and letters of tags. */
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\u{e0000}-\u{e0fff}]/gu;

/** Text in which nothing is invisible. @param {unknown} text */
export const visible = (text) => String(text).replace(UNSEEN, (char) => {
  const code = char.codePointAt(0) || 0;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
});

/**
 * The element with this id, which the page has.
 * @param {string} id
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Makes an element. `on…` properties are listeners, the rest attributes; strings become text nodes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

/**
 * The same in SVG.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, props, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

/** Attributes that a program reads, not a person. */
const RAW = new Set(['href', 'value', 'name', 'id', 'for', 'class', 'pattern', 'list', 'download', 'd']);

/**
 * @template {Element} T
 * @param {T} element
 * @param {Props | undefined} props
 * @param {Child[]} children
 * @returns {T}
 */
function filled(element, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (RAW.has(key) || key.startsWith('data-')) element.setAttribute(key, String(value));
    else element.setAttribute(key, value === true ? '' : visible(value));
  }
  element.append(...nodes(children));
  return element;
}

/** @param {Child} children @returns {(Node | string)[]} */
function nodes(children) {
  if (Array.isArray(children)) return children.flatMap(nodes);
  if (children === null || children === undefined || children === false) return [];
  return [children instanceof Node ? children : visible(children)];
}

/** The present content per parent. @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * Replaces the children only if their content has changed, so that an update moves nothing. The focused element and
 * open details stay so: they are recognised by their `data-key`, a link also by its target.
 * @param {Element} parent
 * @param {unknown} data
 * @param {() => Child} make
 */
export function replaceWhenChanged(parent, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(parent) === text) return false;
  shown.set(parent, text);
  const focused = focusIn(parent);
  const open = [...parent.querySelectorAll('details[data-key]')].filter((one) => /** @type {HTMLDetailsElement} */ (one).open).map(keyOf);
  parent.replaceChildren(...nodes(make()));
  for (const element of parent.querySelectorAll('details[data-key]')) {
    if (open.includes(keyOf(element))) /** @type {HTMLDetailsElement} */ (element).open = true;
  }
  giveFocus(parent, focused);
  return true;
}

/** Which of those with the same key. @typedef {{key: string, nth: number}} Place */

/** @param {Element} parent @param {string} key */
const withKey = (parent, key) => [...parent.querySelectorAll('[data-key], [href]')].filter((element) => keyOf(element) === key);

/** The focused element in it. @param {Element} parent @returns {Place | null} */
export function focusIn(parent) {
  const { activeElement } = document;
  const key = parent.contains(activeElement) ? keyOf(activeElement) : null;
  return key === null || !activeElement ? null : { key, nth: withKey(parent, key).indexOf(activeElement) };
}

/** Gives the focus back, if its place is still there. @param {Element} parent @param {Place | null} place */
export function giveFocus(parent, place) {
  const found = place && withKey(parent, place.key);
  const element = found && (found[place.nth] || found[0]);
  if (element) /** @type {HTMLElement} */ (element).focus({ preventScroll: true });
}

/** @param {Element | null} element */
const keyOf = (element) => element?.getAttribute('data-key') ?? element?.getAttribute('href') ?? null;

/** Announces a text to users who do not see the page. @param {string} text */
export const announce = (text) => { byId('announcer').textContent = visible(text); };

/** @param {string} text */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard API exists only in secure contexts; a console on a plain http host is not one.
    const area = h('textarea', { class: 'sr', readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    if (!copied) throw new Error('the browser did not allow it');
  }
}

/** @param {string} what @param {string} text @param {string} [label] */
export function copyButton(what, text, label = 'Copy') {
  const button = h('button', { class: 'plain', type: 'button', 'aria-label': `${label}: ${what}` }, label);
  button.addEventListener('click', async () => {
    const focused = document.activeElement;
    try {
      await copyText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Not copied';
    }
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
    announce(`${button.textContent}: ${what}`);
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}
