// A runbook, rendered by the console from the project's own docs. Even so only plain elements of it are taken over, and no
// address but those of other runbooks.

import { getText, reason } from '../api.js';
import { h } from '../dom.js';

const KEPT = new Set(['H1', 'H2', 'H3', 'H4', 'P', 'UL', 'OL', 'LI', 'PRE', 'CODE', 'STRONG', 'EM', 'TABLE', 'THEAD', 'TBODY', 'TR', 'TH', 'TD', 'BLOCKQUOTE', 'BR', 'HR']);

/** @param {string} name of the alert */
export function runbook(name) {
  const body = h('div', { class: 'runbook', 'data-testid': 'runbook', tabindex: '-1' });
  show(body, name);
  return body;
}

/** @param {HTMLElement} body @param {string} name */
async function show(body, name) {
  try {
    const html = await getText(`/api/runbooks/${encodeURIComponent(name)}`);
    if (html === null) {
      body.replaceChildren(h('p', { class: 'muted' }, `There is no runbook for ${name}.`));
      return;
    }
    const parsed = new DOMParser().parseFromString(html, 'text/html');
    body.replaceChildren(...kept(parsed.body, (other) => { show(body, other); body.focus(); body.scrollIntoView(); }));
  } catch (error) {
    body.replaceChildren(h('p', { class: 'notice' }, `The runbook cannot be shown: ${reason(error)}.`));
  }
}

/** @param {Node} parent @param {(name: string) => void} open @returns {Node[]} */
function kept(parent, open) {
  return [...parent.childNodes].flatMap((node) => {
    if (node.nodeType === Node.TEXT_NODE) return [document.createTextNode(node.textContent || '')];
    if (!(node instanceof Element)) return [];
    const children = kept(node, open);
    if (node.tagName === 'A') return [link(node.getAttribute('href') || '', children, open)];
    if (!KEPT.has(node.tagName)) return children;
    const copy = document.createElement(node.tagName);
    if (copy.tagName === 'PRE') copy.tabIndex = 0;
    copy.append(...children);
    return [copy];
  });
}

/** @param {string} href @param {Node[]} children @param {(name: string) => void} open */
function link(href, children, open) {
  const other = /^(?:\/api\/runbooks\/)?([A-Za-z]+)(?:\.md)?$/.exec(href);
  if (!other || other[1] === 'README') return h('span', {}, children);
  return h('button', { class: 'plain', type: 'button', onclick: () => open(other[1]) }, children);
}
