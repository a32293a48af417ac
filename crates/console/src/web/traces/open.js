// Opens a file of traces in OTLP's JSON: it is sent to the console as any sender would send it.

import { reason, sendText } from '../api.js';
import { h } from '../dom.js';
import { navigate } from '../router.js';
import { HEX } from '../links.js';

/** Larger files are no single trace. */
const MOST_BYTES = 32 << 20;

export function openFile() {
  const message = h('span', { class: 'form-error', role: 'alert' });
  const field = h('input', { type: 'file', class: 'sr', accept: '.json,application/json', 'data-testid': 'open-file' });
  field.addEventListener('change', async () => {
    const file = field.files?.[0];
    if (!file) return;
    try {
      if (file.size > MOST_BYTES) throw new Error('it is larger than 32 MiB');
      // Sent as it is: JavaScript would round large numbers.
      const text = await file.text();
      const id = firstTrace(JSON.parse(text));
      await sendText('POST', '/v1/traces', text);
      navigate(`/trace/${id}`);
    } catch (error) {
      message.textContent = `${file.name} cannot be opened: ${reason(error)}`;
      field.value = '';
    }
  });
  return h('span', { class: 'open-file' }, h('label', { class: 'plain-label' }, field, h('span', { class: 'plain' }, 'Open a file')), message);
}

/** @param {any} request */
function firstTrace(request) {
  const spans = (request?.resourceSpans || []).flatMap((/** @type {any} */ one) => one.scopeSpans || []).flatMap((/** @type {any} */ one) => one.spans || []);
  const id = String(spans[0]?.traceId || '').toLowerCase();
  if (!HEX.trace.test(id)) throw new Error('there is no span in it; expected OTLP JSON, as a trace\'s page gives it');
  return id;
}
