// The LogQL query of a filter of log lines.

import { HEX } from '../links.js';
import { literal } from '../queries.js';

export const FIELDS = ['service', 'level', 'text', 'trace_id'];

/** The names of severities in several languages; each entry includes the worse ones. @type {Record<string, string>} */
export const LEVELS = {
  info: 'info.*|notice|warn.*|err.*|crit.*|fatal.*|panic|alert|emerg.*',
  warn: 'warn.*|err.*|crit.*|fatal.*|panic|alert|emerg.*',
  error: 'err.*|crit.*|fatal.*|panic|alert|emerg.*',
};

/** A text as a pattern that means just it. @param {string} text */
const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** @param {URLSearchParams} state @throws {Error} for who has to correct something */
export function selected(state) {
  const [service, level, text, trace] = FIELDS.map((field) => (state.get(field) || '').trim());
  if (trace && !HEX.trace.test(trace.toLowerCase())) throw new Error('Trace id: 32 hexadecimal digits.');
  return [
    service ? `{service_name=${literal(service)}}` : '{service_name=~".+"}',
    text && `|~ ${literal(`(?i)${escaped(text)}`)}`,
    LEVELS[level] && `| detected_level=~${literal(LEVELS[level])}`,
    trace && `| trace_id=${literal(trace.toLowerCase())}`,
  ].filter(Boolean).join(' ');
}

/** How many there are of each level. @param {string} query @param {number} step in seconds */
export const counted = (query, step) => `sum by (detected_level) (count_over_time(${query} [${step}s]))`;

/** The text of a line, and the error that its sender attached to it. @param {import('../api.js').Line} line */
export function lineText({ text, labels }) {
  const error = labels.error || labels.exception_message || labels.error_message;
  return error && !text.includes(error) ? `${text}: ${error}` : text;
}
