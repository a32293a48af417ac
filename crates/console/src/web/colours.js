// A service has one colour on every page.

import { h } from './dom.js';
import { count, plural } from './format.js';
import { serviceHref } from './links.js';

// Eight classes (`s0` … `s7` in style.css). A service's slot comes from its name; two services in one slot: the later in
// the alphabet moves on. The seed is picked so that gateway, data and downstream get the three that are easiest to tell apart.
const SLOTS = 8;
const SEED = 1158;
/** @type {Map<string, string>} */
const colours = new Map();

/** @param {Iterable<string>} services */
export function assignColours(services) {
  const all = [...new Set([...colours.keys(), ...services])].sort();
  colours.clear();
  const taken = new Set();
  for (const service of all) {
    let slot = slotOf(service);
    if (taken.size < SLOTS) while (taken.has(slot)) slot = (slot + 1) % SLOTS;
    taken.add(slot);
    colours.set(service, `s${slot}`);
  }
}

/** @param {string} text */
function slotOf(text) {
  let hash = SEED;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) || 0), 16777619) >>> 0;
  return ((hash ^ (hash >>> 15)) >>> 0) % SLOTS;
}

/** @param {string} service */
export const isKnown = (service) => colours.has(service);

/** @param {string} service */
export const colourOf = (service) => colours.get(service) || `s${slotOf(service)}`;

/** @param {string} service */
export const swatch = (service) => h('i', { class: `swatch ${colourOf(service)}` });

/** @param {string} service @param {number} [spans] */
export function chip(service, spans) {
  return h('span', { class: `chip ${colourOf(service)}` }, h('i', { class: 'swatch' }), h('bdi', {}, service),
    spans === undefined ? null : h('b', { title: plural(spans, 'span') }, count(spans)));
}

/** @param {string} service */
export const serviceLink = (service) => h('a', { class: `chip ${colourOf(service)}`, href: serviceHref(service) }, h('i', { class: 'swatch' }), h('bdi', {}, service));
