// What herald takes for the cause of an alert, and what to do first.

import { serviceLink } from '../colours.js';
import { h } from '../dom.js';
import { part } from './evidence.js';

/** @typedef {{service: string, dependency: string | null, kind: string, why: string}} Cause */
/** @typedef {{do: string, target: string, to?: string, why: string, text: string}} FirstAction */
/** @typedef {{causes: Cause[], first_action: FirstAction}} Diagnosis */

/** @param {Diagnosis} diagnosis */
export function diagnosisParts({ causes, first_action: first }) {
  return part('What to do first', 'diagnosis', [
    h('p', { class: 'notice', 'data-testid': 'first-action', 'data-do': first.do }, h('strong', {}, h('bdi', {}, withTraces(first.text)))),
    h('ol', { class: 'plain-list' }, causes.map(cause)),
  ]);
}

/** Only traces of this console become links: parts of the text come from services. @param {string} text */
function withTraces(text) {
  return text.split(/(https?:\/\/[^\s()/]+\/trace\/[0-9a-f]{32})/)
    .map((piece, index) => (index % 2 ? h('a', { href: piece.slice(piece.indexOf('/trace/')) }, piece) : piece));
}

/** @param {Cause} cause */
const cause = ({ service, dependency, kind, why }) => h('li', { 'data-testid': 'cause', 'data-kind': kind },
  serviceLink(service), dependency && [', ', h('bdi', {}, dependency)], ` ${kind.replaceAll('_', ' ')}: `, h('bdi', {}, why));
