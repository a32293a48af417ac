// The forms for alerts: acknowledge, judge, silence.

import { reason, send } from '../api.js';
import { announce, h } from '../dom.js';
import { clock, micros } from '../format.js';

/** @typedef {import('../dom.js').Child} Child */

const TIMES = { 15: '15 minutes', 60: '1 hour', 120: '2 hours', 480: '8 hours', 1440: '1 day' };

/** The name is asked for once. */
function who() {
  let known = '';
  try { known = localStorage.getItem('by') || ''; } catch { /* Storage is a comfort. */ }
  return h('input', { type: 'text', name: 'by', required: true, maxlength: 100, value: known, placeholder: 'your name', 'aria-label': 'Your name', autocomplete: 'nickname' });
}

/** @param {string} by */
function remember(by) {
  for (const field of document.querySelectorAll('input[name=by]')) {
    if (field instanceof HTMLInputElement && field.value === '') field.value = by;
  }
  try { localStorage.setItem('by', by); } catch { /* The same. */ }
}

/**
 * A form that says how it went.
 * @param {string} testid @param {Child} fields @param {string} button
 * @param {(data: Record<string, string>) => Promise<void>} act
 */
function form(testid, fields, button, act) {
  const message = h('p', { class: 'form-error', role: 'alert', hidden: true });
  const submit = h('button', { type: 'submit' }, button);
  const element = h('form', { class: 'inline', 'data-testid': testid }, fields, submit, message);
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    const data = Object.fromEntries([...new FormData(element)].map(([name, value]) => [name, String(value).trim()]));
    submit.disabled = true;
    try {
      await act(data);
      if (data.by) remember(data.by);
      message.hidden = true;
      announce(`${button}: done`);
    } catch (error) {
      message.textContent = `Not done: ${reason(error)}`;
      message.hidden = false;
    } finally {
      submit.disabled = false;
    }
  });
  return element;
}

/** @param {string} id @param {() => void} done */
export const acknowledgeForm = (id, done) => form('acknowledge', [who(),
  h('input', { type: 'text', name: 'note', maxlength: 1000, placeholder: 'note, if you like', 'aria-label': 'Note' })], 'Acknowledge', async ({ by, note }) => {
  await send('POST', `/api/herald/alerts/${id}/acknowledge`, { by, note });
  done();
});

/** @param {string} id @param {() => void} done */
export const verdictForm = (id, done) => form('verdict', [who(),
  h('select', { name: 'verdict', 'aria-label': 'Verdict' }, h('option', { value: 'true' }, 'It was real trouble'), h('option', { value: 'false' }, 'It was a false alarm'))],
'Say so', async ({ by, verdict }) => {
  await send('POST', `/api/herald/alerts/${id}/verdict`, { by, true_alarm: verdict === 'true' });
  done();
});

/** @param {Record<string, string>} labels of which all have to match @param {() => void} done */
export function silenceForm(labels, done) {
  const names = Object.keys(labels);
  const fields = names.map((name) => h('label', {}, `${name} `, h('input', { type: 'text', name: `label ${name}`, value: labels[name], spellcheck: 'false' })));
  return form('silence', [fields,
    h('label', {}, 'for ', h('select', { name: 'minutes' }, Object.entries(TIMES).map(([value, name]) => h('option', { value }, name)))),
    h('input', { type: 'text', name: 'comment', required: true, maxlength: 1000, placeholder: 'why', 'aria-label': 'Why' }), who()],
  'Silence', async (data) => {
    const matchers = names.filter((name) => data[`label ${name}`]).map((name) => ({ name, value: data[`label ${name}`], isRegex: false, isEqual: true }));
    const endsAt = new Date(Date.now() + Number(data.minutes) * 60e3).toISOString();
    await send('POST', '/api/herald/silences', { matchers, endsAt, by: data.by, comment: data.comment });
    done();
  });
}

/** @param {Record<string, any>[]} silences @param {() => void} done */
export function silenceList(silences, done) {
  if (silences.length === 0) return h('p', { class: 'muted' }, 'Nothing is silenced.');
  const words = (/** @type {any} */ { name, value, isRegex, isEqual }) => `${name}${isEqual === false ? '!' : ''}${isRegex ? '~' : isEqual === false ? '=' : '='}"${value}"`;
  return h('ul', { class: 'plain-list' }, silences.map((one) => h('li', { 'data-testid': 'silence-row' },
    h('code', {}, one.matchers.map(words).join(' ')), ` until ${clock(micros(one.endsAt || one.ends_at), false)}, `, h('bdi', {}, one.by), ': ', h('bdi', {}, one.comment), ' ',
    endButton(one.id, done))));
}

/** @param {string} id of a silence @param {() => void} done */
function endButton(id, done) {
  const message = h('span', { class: 'form-error', role: 'alert' });
  const end = async () => {
    try {
      await send('DELETE', `/api/herald/silences/${encodeURIComponent(id)}`);
      announce('The silence has ended');
    } catch (error) {
      message.textContent = ` Not ended: ${reason(error)}`;
    }
    done();
  };
  return [h('button', { class: 'plain', type: 'button', 'data-key': `end ${id}`, onclick: end }, 'End it'), message];
}
