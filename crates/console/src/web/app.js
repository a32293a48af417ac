// The console's page: search (`/`) and one trace (`/trace/{id}`).
//
// Two rules, because every name and value shown here came from somewhere else:
// data becomes text only (`h` makes text nodes, nothing here parses HTML), and the only links made
// from data are our own `/trace/…` ones, from ids that are hexadecimal (`traceHref`).
'use strict';

(() => {
  // ---- Elements ---------------------------------------------------------------------------------

  const $ = (id) => document.getElementById(id);

  /** Makes an element. `on…` properties are listeners, the rest attributes; strings become text nodes. */
  function h(tag, props, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? '' : String(value));
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /** Replaces the children only when what they show has changed, so that polling moves nothing. */
  function replaceWhenChanged(parent, data, make) {
    const text = JSON.stringify(data);
    if (parent.shownData === text) return false;
    parent.shownData = text;
    parent.replaceChildren(...[make()].flat());
    return true;
  }

  const announce = (text) => { $('announcer').textContent = text; };

  const HEX = { trace: /^[0-9a-f]{32}$/, span: /^[0-9a-f]{16}$/ };

  /** The only way from data to a link. */
  function traceHref(traceId, spanId) {
    if (!HEX.trace.test(traceId)) return null;
    return `/trace/${traceId}${HEX.span.test(spanId) ? `#span=${spanId}` : ''}`;
  }

  function traceLink(traceId, spanId, ...children) {
    const href = traceHref(traceId, spanId);
    return href ? h('a', { href }, children) : h('span', {}, children);
  }

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

  function copyButton(what, text, label = 'Copy') {
    const button = h('button', { class: 'plain', type: 'button', 'aria-label': `Copy ${what}` }, label);
    button.addEventListener('click', async () => {
      const focused = document.activeElement;
      try {
        await copyText(text);
        button.textContent = 'Copied';
      } catch {
        button.textContent = 'Not copied';
      }
      focused?.focus({ preventScroll: true });
      announce(`${button.textContent}: ${what}`);
      setTimeout(() => { button.textContent = label; }, 1500);
    });
    return button;
  }

  // ---- Words and numbers ------------------------------------------------------------------------

  const numbers = new Intl.NumberFormat('en');
  const count = (n) => numbers.format(Number(n || 0));
  const plural = (n, one, many = `${one}s`) => `${count(n)} ${Number(n) === 1 ? one : many}`;

  /** Microseconds with three significant digits. */
  function duration(us) {
    const value = Number(us) || 0;
    const size = Math.abs(value);
    if (size === 0) return '0 µs';
    if (size < 999.5) return `${significant(value)} µs`;
    if (size < 999500) return `${significant(value / 1e3)} ms`;
    if (size < 59.95e6) return `${significant(value / 1e6)} s`;
    const seconds = Math.round(value / 1e6);
    return seconds < 3600
      ? `${Math.floor(seconds / 60)} min ${seconds % 60} s`
      : `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  }

  /** A round duration without the zeros that a measured one keeps. */
  const roundDuration = (us) => duration(us).replace(/\.(\d*?)0+(?= )/, (_, digits) => (digits ? `.${digits}` : ''));

  function significant(value) {
    const size = Math.abs(value);
    return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
  }

  const offset = (us) => `${us < 0 ? '−' : '+'}${duration(Math.abs(us))}`;

  function bytes(n) {
    const units = ['B', 'KiB', 'MiB', 'GiB'];
    let value = Number(n) || 0;
    let unit = 0;
    while (value >= 1023.5 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
  }

  function age(us) {
    const seconds = Math.max(0, (Date.now() - us / 1e3) / 1e3);
    if (seconds < 1.5) return 'now';
    if (seconds < 100) return `${Math.round(seconds)} s ago`;
    if (seconds < 6000) return `${Math.round(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
    return `${Math.round(seconds / 86400)} days ago`;
  }

  /** Local wall clock with milliseconds; the day only when it is not today. */
  function clock(us) {
    const date = new Date(us / 1e3);
    if (Number.isNaN(date.getTime())) return '';
    const two = (n) => String(n).padStart(2, '0');
    const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
    const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    return date.toDateString() === new Date().toDateString() ? time : `${day} ${time}`;
  }

  function isoTime(us) {
    const date = new Date(us / 1e3);
    return Number.isNaN(date.getTime()) ? null : date.toISOString();
  }

  const valueText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

  // ---- Service colours --------------------------------------------------------------------------

  // Eight classes (`s0` … `s7` in style.css). A service's slot comes from its name, so that it has
  // one colour on every page; two services in one slot: the later in the alphabet moves on. The seed
  // is picked so that gateway, data and downstream get the three that are easiest to tell apart.
  const SLOTS = 8;
  const SEED = 1158;
  const colours = new Map();

  function assignColours(services) {
    colours.clear();
    const taken = new Set();
    for (const service of [...new Set(services)].sort()) {
      let slot = slotOf(service);
      if (taken.size < SLOTS) while (taken.has(slot)) slot = (slot + 1) % SLOTS;
      taken.add(slot);
      colours.set(service, `s${slot}`);
    }
  }

  function slotOf(text) {
    let hash = SEED;
    for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0), 16777619) >>> 0;
    return ((hash ^ (hash >>> 15)) >>> 0) % SLOTS;
  }

  const colourOf = (service) => colours.get(service) || `s${slotOf(service)}`;

  function chip(service, spans) {
    return h('span', { class: `chip ${colourOf(service)}` }, h('i', { class: 'swatch' }), service,
      spans === undefined ? null : h('b', { title: plural(spans, 'span') }, count(spans)));
  }

  // ---- The server -------------------------------------------------------------------------------

  class ServerError extends Error {
    constructor(status, message) {
      super(message);
      this.status = status;
    }
  }

  async function api(path) {
    let response;
    try {
      response = await fetch(path, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(10000) });
    } catch (error) {
      throw new ServerError(0, error.name === 'TimeoutError' ? 'no answer within 10 s' : 'cannot be reached');
    }
    const body = await response.json().catch(() => null);
    if (response.ok && body !== null) return body;
    throw new ServerError(response.status, errorText(body) || `${response.status} ${response.statusText}`);
  }

  /** Problem documents, Jaeger's error list, or nothing. */
  function errorText(body) {
    if (!body || typeof body !== 'object') return null;
    const listed = Array.isArray(body.errors) && body.errors[0];
    const text = body.detail || body.error || (listed && (listed.msg || listed.message)) || body.title;
    return typeof text === 'string' ? text : null;
  }

  async function knownServices() {
    const { data } = await api('/api/services');
    return Array.isArray(data) ? data : [];
  }

  // ---- Header: what is scraped, what is held ----------------------------------------------------

  const REFRESH_MS = 2000;
  let lostSince = null;

  async function refreshHeader() {
    if (document.hidden) return;
    try {
      const [stats, targets, alerts] = await Promise.all(['/api/stats', '/api/targets', '/api/alerts'].map((path) => api(path)));
      lostSince = null;
      replaceWhenChanged($('stats'), stats, () => statItems(stats));
      showTargets(targets);
      showObjectives(alerts.data);
    } catch (error) {
      lostSince = lostSince || new Date();
      $('unreachable').textContent = error.status
        ? `The console answers with an error: ${error.message}`
        : `The console ${error.message} since ${lostSince.toTimeString().slice(0, 8)}. What you see may be old; retrying.`;
    }
    $('unreachable').hidden = lostSince === null;
    document.body.classList.toggle('lost', lostSince !== null);
  }

  function statItems(stats) {
    const used = stats.limit_bytes ? stats.bytes / stats.limit_bytes : 0;
    const meter = h('span', { class: 'meter', 'aria-hidden': 'true' }, h('i'));
    meter.firstChild.style.width = `${Math.min(100, used * 100)}%`;
    const item = (name, value, extra, title) => h('div', { title }, h('dt', {}, name), h('dd', {}, extra, value));
    // `dropped_…` did not fit, `rejected_…` came malformed; spans, logs, samples and data points each.
    const lost = ['dropped', 'rejected'].map((what) => {
      const parts = Object.entries(stats).filter(([key, number]) => key.startsWith(`${what}_`) && number > 0);
      return [what, parts.reduce((sum, [, number]) => sum + number, 0), parts.map(([key, number]) => `${count(number)} ${key.slice(what.length + 1).replaceAll('_', ' ')}`).join(', ')];
    }).filter(([, number]) => number > 0);
    return [
      item('traces', count(stats.traces), null, stats.evicted_traces ? `${count(stats.evicted_traces)} older traces made room` : null),
      item('spans', count(stats.spans)),
      item('logs', count(stats.logs)),
      item('memory', `${bytes(stats.bytes)} of ${bytes(stats.limit_bytes)}`, meter, `${(used * 100).toFixed(1)} %; when full, the oldest traces make room`),
      ...lost.map(([name, number, title]) => h('div', { class: 'warn', title }, h('dt', {}, name), h('dd', {}, count(number)))),
    ];
  }

  function showTargets({ targets = [], error = null }) {
    const state = targets.map(({ address, service_name, up, error: why, last_scrape_us }) => [address, service_name, up, why, Boolean(last_scrape_us)]);
    replaceWhenChanged($('targets'), [state, error], () => {
      if (error) return [h('li', { class: 'down' }, `Targets: ${error}`)];
      if (targets.length === 0) return [h('li', { class: 'none' }, 'Nothing is scraped')];
      return targets.map((target) => {
        const name = target.service_name || target.address;
        return h('li', { class: target.up ? 'up' : target.last_scrape_us || target.error ? 'down' : 'none', title: [target.address, target.error].filter(Boolean).join(': ') },
          h('i', { class: 'lamp', 'aria-hidden': 'true' }), name, h('span', {}));
      });
    });
    if (error) return;
    // Ages and counts change on every scrape: they are written into the items that stand.
    targets.forEach((target, index) => {
      const note = $('targets').children[index]?.lastChild;
      if (note) note.textContent = target.up ? `up, ${age(target.last_scrape_us)}` : target.last_scrape_us || target.error ? 'down' : 'not scraped yet';
    });
  }

  // Alerts by name, and below them the objectives of what is called, the fastest burning first.
  function showObjectives({ alerts, objectives }) {
    const rate = (one) => Math.max(0, ...one.burns.map(({ long, short }) => Math.min(long.burn_rate ?? 0, short.burn_rate ?? 0)));
    const used = objectives.filter((one) => one.burns.some(({ long }) => long.burn_rate !== null));
    used.sort((a, b) => rate(b) - rate(a));
    $('slo').hidden = used.length === 0;
    replaceWhenChanged($('slo-summary'), alerts.map(({ labels, annotations }) => [labels.severity, annotations.summary]), () => (alerts.length === 0
      ? ['Objectives: no alert']
      : alerts.map(({ labels, annotations }) => h('span', { class: `alert ${labels.severity}` }, `${labels.severity}: ${annotations.summary}`))));
    replaceWhenChanged($('slo-rows'), used, () => used.map((one) => h('tr', { class: one.burns.some(({ firing }) => firing) ? 'firing' : null },
      h('td', {}, one.service),
      h('td', {}, one.route),
      h('td', {}, `${Number((one.objective * 100).toFixed(6))} % ${one.seconds === null ? 'do not fail' : `within ${one.seconds} s`}`),
      h('td', {}, one.burns.flatMap(({ long, short }) => [long, short]).map(({ window, burn_rate: burn }) => `${window} ${burn === null ? '–' : `${burn.toFixed(1)}×`}`).join(', ')))));
  }

  // ---- Search page ------------------------------------------------------------------------------

  const FIELDS = ['service', 'operation', 'tags', 'min_duration', 'max_duration', 'error'];
  const DEFAULT_LIMIT = '20';
  const EXAMPLE = "curl -s -X POST http://127.0.0.1:8080/api/orders -H 'content-type: application/json' "
    + '-d \'{"sku":"omni-mug","quantity":1,"customer_email":"me@example.com"}\'';

  /** `key=value key2="v w"` to an object; `\"` and `\\` inside quotes. */
  function parseTags(text) {
    const tags = {};
    const token = /\s*([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?=\s|$)/y;
    let at = 0;
    while (text.slice(at).trim() !== '') {
      token.lastIndex = at;
      const match = token.exec(text);
      if (!match) throw new Error(`Tags: expected key=value or key="two words" at “${text.slice(at).trim().slice(0, 30)}”.`);
      tags[match[1]] = match[2] !== undefined ? match[2].replace(/\\(.)/g, '$1') : match[3];
      at = token.lastIndex;
    }
    return tags;
  }

  function formatTag(key, value) {
    return /^[^\s"]+$/.test(value) ? `${key}=${value}` : `${key}="${value.replace(/["\\]/g, '\\$&')}"`;
  }

  const GO_DURATION = /^(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*$/;

  /** The query for the server; throws with `field` set when the person has to correct something. */
  function serverQuery(state) {
    const wrong = (field, message) => Object.assign(new Error(message), { field });
    const query = new URLSearchParams();
    for (const field of FIELDS) if (state.get(field) && field !== 'tags') query.set(field, state.get(field));
    for (const [field, name] of [['min_duration', 'Min'], ['max_duration', 'Max']]) {
      if (state.get(field) && !GO_DURATION.test(state.get(field))) throw wrong(field, `${name}: write a number and a unit: 100us, 5ms, 1.5s, 1m.`);
    }
    if (state.get('tags')) {
      try {
        query.set('tags', JSON.stringify(parseTags(state.get('tags'))));
      } catch (error) {
        throw wrong('tags', error.message);
      }
    }
    const limit = state.get('limit') || DEFAULT_LIMIT;
    if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > 1000) throw wrong('limit', 'Limit: a whole number from 1 to 1000.');
    query.set('limit', limit);
    return query;
  }

  function searchPage() {
    const form = $('search-form');
    const fields = form.elements;
    const list = $('trace-list');
    let services = [];
    let request = 0;
    let typing = false;
    let pointing = false;
    let shown = null;
    let missed = false;

    const state = () => new URLSearchParams(location.search);
    const filtered = () => FIELDS.some((field) => state().get(field));
    const refreshing = () => (state().has('live') ? state().get('live') === '1' : !filtered() && !typing);

    function fromUrl() {
      for (const field of ['tags', 'min_duration', 'max_duration']) fields[field].value = state().get(field) || '';
      fields.limit.value = state().get('limit') || DEFAULT_LIMIT;
      fields.error.checked = state().get('error') === 'true';
      options(fields.service, 'All services', services, state().get('service') || '');
      typing = false;
      showRefresh();
      loadOperations(state().get('operation') || '');
    }

    function fromForm() {
      const query = new URLSearchParams();
      const data = new FormData(form);
      for (const field of FIELDS) if ((data.get(field) || '').trim()) query.set(field, data.get(field).trim());
      const limit = (data.get('limit') || '').trim();
      if (limit && limit !== DEFAULT_LIMIT) query.set('limit', limit);
      return query;
    }

    function options(select, all, names, chosen) {
      const every = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
      replaceWhenChanged(select, every, () => [h('option', { value: '' }, all), ...every.map((name) => h('option', { value: name }, name))]);
      select.value = chosen;
    }

    async function loadServices() {
      try {
        services = await knownServices();
        assignColours(services);
        options(fields.service, 'All services', services, fields.service.value || state().get('service') || '');
      } catch { /* The header says that the server is away. */ }
    }

    async function loadOperations(chosen) {
      const service = fields.service.value;
      fields.operation.disabled = service === '';
      fields.operation.title = service === '' ? 'Choose a service first' : '';
      options(fields.operation, 'All operations', [], service === '' ? '' : chosen);
      if (service === '') return;
      try {
        const { data } = await api(`/api/services/${encodeURIComponent(service)}/operations`);
        const names = (data || []).map((operation) => (typeof operation === 'string' ? operation : operation.name));
        if (fields.service.value === service) options(fields.operation, 'All operations', [...new Set(names)], fields.operation.value || chosen);
      } catch { /* The list stays empty. */ }
    }

    function showProblem(error) {
      $('form-error').textContent = error ? error.message : '';
      $('form-error').hidden = !error;
      for (const field of fields) if (field.name) field.removeAttribute('aria-invalid');
      if (error && error.field) fields[error.field].setAttribute('aria-invalid', 'true');
    }

    function showRefresh() {
      $('auto-refresh').checked = refreshing();
      $('refresh-note').textContent = refreshing() && pointing ? ' (held while you point at it)' : '';
    }

    async function search() {
      const mine = ++request;
      let query;
      try {
        query = serverQuery(state());
      } catch (error) {
        showProblem(error);
        return;
      }
      list.setAttribute('aria-busy', 'true');
      try {
        const answer = await api(`/api/console/traces?${query}`);
        if (mine !== request) return;
        missed = false;
        showProblem(null);
        showTraces(answer);
      } catch (error) {
        if (mine !== request) return;
        missed = error.status === 0; // The header says so; the search is made up for when it is back.
        if (!missed) showProblem(error);
      } finally {
        if (mine === request) list.removeAttribute('aria-busy');
      }
    }

    function showTraces({ traces = [], searched = 0 }) {
      const status = traces.length === 0 ? ''
        : filtered() ? `${plural(traces.length, 'match', 'matches')} in ${plural(searched, 'trace')}`
          : `${plural(traces.length, 'newest trace')}`;
      if ($('list-status').textContent !== status) $('list-status').textContent = status;
      $('list-columns').hidden = traces.length === 0;
      $('clear-filters').hidden = traces.length === 0 || !filtered();
      const longest = Math.max(1, ...traces.map((trace) => trace.duration_us));
      const focused = document.activeElement?.dataset?.traceId;
      const text = JSON.stringify(traces);
      if (text === shown) return;
      shown = text;
      if (traces.some((trace) => trace.services.some(({ name }) => !colours.has(name)))) {
        services = [...new Set([...services, ...traces.flatMap((trace) => trace.services.map(({ name }) => name))])].sort();
        assignColours(services);
        if (document.activeElement !== fields.service) options(fields.service, 'All services', services, fields.service.value);
      }
      list.replaceChildren(...traces.map((trace) => h('li', {}, traceRow(trace, longest))));
      $('list-message').replaceChildren(...(traces.length === 0 ? [filtered() ? noMatch(searched) : nothingYet()] : []));
      if (focused && HEX.trace.test(focused)) list.querySelector(`[data-trace-id="${focused}"]`)?.focus({ preventScroll: true });
      showAges();
    }

    function showAges() {
      for (const element of list.querySelectorAll('.age')) element.textContent = age(Number(element.dataset.us));
    }

    function clear() {
      history.pushState(null, '', '/');
      fromUrl();
      search();
    }

    function noMatch(searched) {
      return h('div', { class: 'empty', 'data-testid': 'empty-state' },
        h('h2', {}, 'No trace matches'),
        h('p', {}, `${plural(searched, 'stored trace')} searched. Loosen a filter, or wait: spans arrive within seconds of their request.`),
        h('button', { type: 'button', onclick: clear }, 'Clear filters'));
    }

    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const query = fromForm();
      try {
        serverQuery(query);
      } catch (error) {
        showProblem(error);
        fields[error.field].focus();
        return;
      }
      if (String(query) !== location.search.slice(1)) history.pushState(null, '', query.size ? `/?${query}` : '/');
      fromUrl();
      search();
    });
    form.addEventListener('input', () => { typing = String(fromForm()) !== ''; showRefresh(); });
    fields.service.addEventListener('change', () => { fields.operation.value = ''; loadOperations(''); });
    $('clear-filters').addEventListener('click', clear);
    $('auto-refresh').addEventListener('change', (event) => {
      const query = state();
      query.set('live', event.target.checked ? '1' : '0');
      history.replaceState(null, '', `/?${query}`);
      showRefresh();
      if (event.target.checked) search();
    });
    window.addEventListener('popstate', () => { fromUrl(); search(); });
    window.addEventListener('pagehide', () => rememberSearch());
    // A row must not move away from under the pointer.
    list.addEventListener('pointerenter', (event) => { pointing = event.pointerType === 'mouse'; showRefresh(); });
    list.addEventListener('pointerleave', () => { pointing = false; showRefresh(); });

    $('search-page').hidden = false;
    fromUrl();
    loadServices().then(search).then(() => fromUrl());
    setInterval(() => {
      showAges();
      if (document.hidden || !(missed || (refreshing() && !pointing))) return;
      search();
      loadServices();
    }, REFRESH_MS);
  }

  function traceRow(trace, longest) {
    const bar = h('span', { class: `bar ${colourOf(trace.root_service)}` });
    bar.style.width = `${Math.max(0.5, (100 * trace.duration_us) / longest)}%`;
    return h('a', { class: 'trace', href: traceHref(trace.trace_id), 'data-testid': 'trace-row', 'data-trace-id': trace.trace_id },
      h('span', { class: 'what' },
        h('span', { class: 'root' }, h('i', { class: `swatch ${colourOf(trace.root_service)}` }),
          h('span', { class: 'service' }, trace.root_service), ' ', h('span', { class: 'operation' }, trace.root_name || '(no name)'),
          trace.error_count > 0 && h('span', { class: 'badge error' }, plural(trace.error_count, 'error')))),
      h('span', { class: 'chips' }, trace.services.map(({ name, spans }) => chip(name, spans))),
      h('span', { class: 'length' }, h('span', { class: 'track' }, bar), h('span', { class: 'number' }, duration(trace.duration_us))),
      h('span', { class: 'spans' }, count(trace.span_count), h('span', { class: 'unit' }, trace.span_count === 1 ? ' span' : ' spans')),
      h('span', { class: 'when', title: isoTime(trace.start_us) }, h('span', { class: 'time' }, clock(trace.start_us)), ' ',
        h('span', { class: 'age', 'data-us': trace.start_us })));
  }

  function nothingYet() {
    return h('div', { class: 'empty', 'data-testid': 'empty-state' },
      h('h2', {}, 'No traces yet'),
      h('p', {}, 'Send a request through the gateway; its trace is here a moment later.'),
      h('div', { class: 'command' }, h('pre', { tabindex: '0', 'aria-label': 'Example request' }, EXAMPLE), copyButton('the example request', EXAMPLE)),
      h('p', { class: 'muted' }, 'If the gateway moved to another port, “omnitrace up” printed its address when it started. ',
        'Any OpenTelemetry SDK may send here too: OTLP over HTTP, to this address.'));
  }

  /** So that “All traces” on a trace's page leads back to the search that found it. */
  function rememberSearch() {
    try { sessionStorage.setItem('search', location.search); } catch { /* Storage is a comfort. */ }
  }

  function rememberedSearch() {
    try {
      const search = sessionStorage.getItem('search') || '';
      return search.startsWith('?') ? `/${search}` : '/';
    } catch {
      return '/';
    }
  }

  // ---- Trace page -------------------------------------------------------------------------------

  // Spans of one trace come in several batches, and logs after them.
  const LOOK_AGAIN_MS = [500, 1000, 1000, 2000, 2000, 3000, 5000, 5000];
  const SETTLED_MS = 15000;

  function tracePage(traceId) {
    const page = $('trace-page');
    page.hidden = false;
    let looked = 0;
    let shown = null;
    let view = null;

    if (!HEX.trace.test(traceId)) {
      page.replaceChildren(apology('Not a trace id', 'A trace id is 32 hexadecimal digits; the address of this page holds something else.', traceId));
      return;
    }

    async function load() {
      try {
        const [trace, services] = await Promise.all([
          api(`/api/console/traces/${traceId}`),
          shown === null ? knownServices().catch(() => []) : [],
        ]);
        const text = JSON.stringify(trace);
        const unsettled = !trace.complete || Date.now() - (trace.start_us + trace.duration_us) / 1e3 < SETTLED_MS;
        const waiting = unsettled && looked < LOOK_AGAIN_MS.length;
        if (text !== shown) {
          assignColours([...colours.keys(), ...services, ...trace.services]);
          view = traceView(trace, view);
          page.replaceChildren(view.element);
          view.settle(shown === null);
          // What still grows is worth more looks, though not quick ones.
          if (shown !== null) looked = Math.min(looked, 3);
        }
        shown = text;
        page.querySelector('.looking')?.replaceChildren(waiting ? 'Looking again…' : 'No longer looking; reload the page to look again.');
        if (waiting) later();
      } catch (error) {
        if (shown !== null) { later(); return; }
        const waiting = looked < LOOK_AGAIN_MS.length;
        if (error.status === 404) {
          page.replaceChildren(apology('This trace is not here',
            'It may still be on its way, it may have made room for newer traces, or it was never sent to this console.', traceId, waiting));
        } else {
          page.replaceChildren(apology('The trace cannot be shown', `The console ${error.status ? `answered: ${error.message}` : error.message}.`, traceId, waiting));
        }
        later();
      }
    }

    function later() {
      if (looked >= LOOK_AGAIN_MS.length) return;
      setTimeout(load, LOOK_AGAIN_MS[looked]);
      looked += 1;
    }

    page.replaceChildren(h('p', { class: 'muted loading' }, 'Loading the trace…'));
    window.addEventListener('hashchange', () => view?.openFromHash());
    load();
  }

  function apology(title, why, id, waiting = false) {
    document.title = `${title} · OmniTrace`;
    return h('div', { class: 'empty', 'data-testid': 'not-found' },
      h('h1', {}, title), h('p', {}, why), h('p', { class: 'mono muted' }, id.slice(0, 80)),
      waiting && h('p', { class: 'muted', role: 'status' }, 'Looking again…'),
      h('p', {}, h('a', { href: rememberedSearch() }, 'Back to all traces')));
  }

  /** The page of one trace. `before` is the view it replaces, whose folds and open spans it keeps. */
  function traceView(trace, before) {
    const root = trace.rows[0];
    const title = root ? [h('span', { class: 'service' }, h('i', { class: `swatch ${colourOf(root.service)}` }), root.service), ' ', root.name] : 'Trace';
    document.title = `${root ? `${root.service} ${root.name}` : traceHead(trace)} · OmniTrace`;
    const waterfall = makeWaterfall(trace, before?.waterfall);
    const element = h('article', { class: 'trace-view' },
      h('p', { class: 'crumb' }, h('a', { href: rememberedSearch() }, 'All traces')),
      h('h1', {}, title),
      facts(trace, waterfall),
      incompleteNotice(trace),
      linkedFrom(trace),
      waterfall.element,
      strayLogs(trace));
    return { element, waterfall, settle: waterfall.settle, openFromHash: waterfall.openFromHash };
  }

  const traceHead = (trace) => trace.trace_id.slice(0, 8);

  function facts(trace, waterfall) {
    const fact = (name, ...value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
    const spansOf = new Map();
    for (const row of trace.rows) spansOf.set(row.service, (spansOf.get(row.service) || 0) + 1);
    return h('dl', { class: 'facts' },
      fact('Duration', h('strong', {}, duration(trace.duration_us))),
      fact('Started', h('span', { title: isoTime(trace.start_us) }, clock(trace.start_us)), ' ', h('span', { class: 'muted' }, age(trace.start_us))),
      fact('Spans', count(trace.span_count)),
      fact('Errors', trace.error_count > 0
        ? h('button', { class: 'plain error', type: 'button', title: 'Go to the next span with an error', onclick: waterfall.nextError }, plural(trace.error_count, 'error'))
        : 'none'),
      fact('Services', h('span', { class: 'chips' }, trace.services.map((service) => chip(service, spansOf.get(service) || 0)))),
      fact('Trace id', h('code', { class: 'id' }, trace.trace_id), copyButton('the trace id', trace.trace_id)));
  }

  function incompleteNotice(trace) {
    const notes = [];
    if (!trace.complete) {
      const missing = trace.missing_parents || [];
      const few = missing.slice(0, 5);
      notes.push(h('p', {}, h('strong', {}, 'Incomplete. '),
        missing.length > 0
          ? [`${plural(missing.length, 'parent span')} of spans below ${missing.length === 1 ? 'has' : 'have'} not arrived: `,
            few.map((id, index) => [index > 0 ? ', ' : '', h('code', {}, id)]), missing.length > few.length ? ` and ${missing.length - few.length} more` : '', '. ']
          : 'More than one span has no parent, or none has arrived. ',
        h('span', { class: 'looking' })));
    }
    if (trace.dropped_spans > 0) {
      notes.push(h('p', {}, h('strong', {}, `${plural(trace.dropped_spans, 'span')} dropped. `), 'The trace was larger than the console keeps of one trace.'));
    }
    return notes.length > 0 && h('div', { class: 'notice', role: 'note', 'data-testid': 'incomplete' }, notes);
  }

  function linkedFrom(trace) {
    const links = trace.linked_from || [];
    return links.length > 0 && h('div', { class: 'linked', 'data-testid': 'linked-from' }, h('span', { class: 'label' }, 'Linked from'),
      h('ul', {}, links.map((link) => h('li', {}, h('i', { class: `swatch ${colourOf(link.service)}` }),
        traceLink(link.trace_id, link.span_id, `${link.service} ${link.name}`), ' ', h('code', { class: 'muted' }, String(link.trace_id).slice(0, 8))))));
  }

  function strayLogs(trace) {
    const logs = trace.logs || [];
    return logs.length > 0 && h('section', { class: 'stray' }, h('h2', {}, 'Log lines of no span shown'), logLines(logs));
  }

  // ---- Waterfall --------------------------------------------------------------------------------

  /** Rows put into the page at once; a button adds the next. */
  const ROWS_AT_ONCE = 3000;

  function makeWaterfall(trace, before) {
    const rows = trace.rows;
    const total = Math.max(1, trace.duration_us);
    const tree = treeOf(rows);
    const indexOf = new Map(rows.map((row, index) => [row.span_id, index]));
    const folded = before ? before.folded : new Set();
    const open = before ? before.open : new Set();
    const details = new Map();
    const elements = [];
    let current = before ? Math.max(0, indexOf.get(before.focusedSpan()) ?? 0) : 0;
    let latestError = -1;
    const focusAgain = before ? before.hasFocus() : false;

    const grid = h('div', { class: 'grid', role: 'treegrid', 'aria-label': 'Spans of the trace', 'aria-rowcount': rows.length + 1 });
    const more = h('p', { class: 'more' });
    const element = h('section', { class: 'waterfall', 'data-testid': 'waterfall', 'aria-label': 'Waterfall' });
    const deepest = rows.reduce((most, row) => Math.max(most, row.depth), 0);
    element.classList.toggle('deep', deepest > 12);
    element.classList.toggle('very-deep', deepest > 40);
    element.classList.toggle('no-critical', before ? !before.showsCritical() : false);

    // -- making rows

    function addRows(until) {
      const fragment = document.createDocumentFragment();
      for (let index = elements.length; index < Math.min(rows.length, until); index += 1) {
        elements.push(rowElement(rows[index], index));
        fragment.append(elements[index]);
      }
      grid.append(fragment);
      const left = rows.length - elements.length;
      more.replaceChildren(...(left > 0
        ? [h('button', { type: 'button', onclick: () => { addRows(elements.length + ROWS_AT_ONCE); applyFolds(); } }, `Show ${count(Math.min(left, ROWS_AT_ONCE))} of ${plural(left, 'more span')}`)]
        : []));
    }

    function rowElement(row, index) {
      const failed = row.status === 'error';
      const logs = row.logs || [];
      const bar = h('span', { class: 'bar' });
      place(bar, row.offset_us, row.duration_us);
      const track = h('span', { class: 'track' }, bar);
      for (const part of row.critical || []) {
        const segment = h('span', { class: 'critical', 'data-testid': 'critical-path' });
        place(segment, part.offset_us, part.duration_us);
        track.append(segment);
      }
      for (const event of (row.events || []).slice(0, 50)) {
        const mark = h('span', { class: 'event' });
        place(mark, event.offset_us, 0);
        track.append(mark);
      }
      const fold = tree.last[index] > index
        ? h('button', { class: 'fold', type: 'button', tabindex: '-1', 'aria-hidden': 'true', title: 'Fold or unfold', onclick: (event) => { event.stopPropagation(); focusRow(index); setFolded(index, !folded.has(row.span_id)); } })
        : h('span', { class: 'fold none' });
      const indent = h('span', { class: 'indent', 'aria-hidden': 'true' });
      indent.style.setProperty('--depth', row.depth);
      return h('div', {
        class: `row ${colourOf(row.service)}${failed ? ' failed' : ''}`, role: 'row', tabindex: '-1',
        'data-testid': 'span-row', 'data-span-id': row.span_id, 'data-service': row.service, 'data-index': index,
        'aria-level': row.depth + 1, 'aria-rowindex': index + 2, 'aria-setsize': tree.siblings[index], 'aria-posinset': tree.position[index],
      },
      h('div', { class: 'name', role: 'gridcell' }, indent, fold, h('i', { class: 'swatch' }),
        h('span', { class: 'service' }, row.service), ' ',
        h('button', { class: 'operation', type: 'button', tabindex: '-1', 'aria-expanded': 'false', title: `${row.service} ${row.name} (${row.kind})` }, row.name || '(no name)'),
        failed && h('span', { class: 'mark', role: 'img', 'aria-label': 'error', title: row.status_message || 'Error' }, '!'),
        h('span', { class: 'hidden-count' }),
        logs.length > 0 && h('span', { class: `log-count ${worst(logs)}` }, plural(logs.length, 'log'))),
      h('div', { class: 'time', role: 'gridcell', 'aria-label': `starts at ${offset(row.offset_us)}` }, track),
      h('div', { class: 'length', role: 'gridcell' }, duration(row.duration_us)));
    }

    function place(mark, from, length) {
      const left = Math.min(100, Math.max(0, (100 * from) / total));
      mark.style.left = `${left}%`;
      mark.style.width = `${Math.min(100 - left, Math.max(0, (100 * length) / total))}%`;
    }

    // -- folding, opening, moving

    function applyFolds() {
      let hiddenUntil = -1;
      rows.forEach((row, index) => {
        const shownRow = index > hiddenUntil;
        const isFolded = folded.has(row.span_id);
        if (shownRow && isFolded) hiddenUntil = tree.last[index];
        const target = elements[index];
        if (!target) return;
        target.hidden = !shownRow;
        if (details.has(index)) details.get(index).hidden = !shownRow;
        if (tree.last[index] > index) {
          target.setAttribute('aria-expanded', String(!isFolded));
          target.querySelector('.hidden-count').textContent = isFolded ? `+${count(tree.last[index] - index)}` : '';
        }
      });
    }

    function setFolded(index, fold) {
      if (tree.last[index] === index) return;
      if (fold) folded.add(rows[index].span_id); else folded.delete(rows[index].span_id);
      applyFolds();
      if (elements[current]?.hidden) focusRow(index);
    }

    function reveal(index) {
      addRows(Math.max(elements.length, index + 1));
      for (let parent = tree.parent[index]; parent >= 0; parent = tree.parent[parent]) folded.delete(rows[parent].span_id);
      applyFolds();
    }

    function setOpen(index, show, tellUrl = true) {
      const { span_id: id } = rows[index];
      if (show === details.has(index)) return;
      if (show) {
        const detail = spanDetail(rows[index], trace);
        details.set(index, detail);
        elements[index].after(detail);
        open.add(id);
      } else {
        details.get(index).remove();
        details.delete(index);
        open.delete(id);
      }
      elements[index].classList.toggle('open', show);
      elements[index].querySelector('.operation').setAttribute('aria-expanded', String(show));
      if (!tellUrl) return;
      if (show && HEX.span.test(id)) history.replaceState(null, '', `#span=${id}`);
      else if (location.hash === `#span=${id}`) history.replaceState(null, '', location.pathname);
    }

    function setCurrent(index) {
      elements[current]?.setAttribute('tabindex', '-1');
      current = index;
      elements[index]?.setAttribute('tabindex', '0');
    }

    function focusRow(index) {
      setCurrent(index);
      elements[index].focus({ preventScroll: true });
      elements[index].scrollIntoView({ block: 'nearest' });
    }

    function visibleFrom(index, step) {
      for (let at = index + step; at >= 0 && at < elements.length; at += step) if (!elements[at].hidden) return at;
      return index;
    }

    function nextError() {
      for (let step = 1; step <= rows.length; step += 1) {
        const index = (latestError + step) % rows.length;
        if (rows[index].status !== 'error') continue;
        latestError = index;
        reveal(index);
        setOpen(index, true);
        focusRow(index);
        elements[index].scrollIntoView({ block: 'center' });
        return;
      }
    }

    function openFromHash() {
      const match = /^#span=([0-9a-f]{16})$/.exec(location.hash);
      const index = match ? indexOf.get(match[1]) : undefined;
      if (index === undefined) return false;
      reveal(index);
      setOpen(index, true, false);
      setCurrent(index);
      elements[index].focus({ preventScroll: true });
      elements[index].scrollIntoView({ block: 'start' });
      return true;
    }

    const rowIndex = (target) => {
      const row = target.closest('.row');
      return row && grid.contains(row) ? Number(row.dataset.index) : -1;
    };

    grid.addEventListener('click', (event) => {
      const index = rowIndex(event.target);
      if (index < 0 || String(getSelection()) !== '') return;
      setCurrent(index);
      elements[index].focus({ preventScroll: true });
      setOpen(index, !details.has(index));
    });

    grid.addEventListener('keydown', (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const detail = event.target.closest('.detail');
      if (detail) {
        if (event.key !== 'Escape') return;
        const owner = Number(detail.dataset.index);
        setOpen(owner, false);
        focusRow(owner);
        return;
      }
      const index = rowIndex(event.target);
      if (index < 0) return;
      const isParent = tree.last[index] > index;
      const isFolded = folded.has(rows[index].span_id);
      const keys = {
        ArrowDown: () => focusRow(visibleFrom(index, 1)),
        ArrowUp: () => focusRow(visibleFrom(index, -1)),
        ArrowRight: () => { if (isParent && isFolded) setFolded(index, false); else if (isParent) focusRow(visibleFrom(index, 1)); },
        ArrowLeft: () => { if (isParent && !isFolded) setFolded(index, true); else if (tree.parent[index] >= 0) focusRow(tree.parent[index]); },
        Home: () => focusRow(0),
        End: () => focusRow(visibleFrom(elements.length, -1)),
        Enter: () => setOpen(index, !details.has(index)),
        Escape: () => setOpen(index, false),
      };
      const act = keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });

    // -- head: what the marks mean, and the time axis

    const criticalToggle = h('input', { type: 'checkbox', onchange: (event) => element.classList.toggle('no-critical', !event.target.checked) });
    criticalToggle.checked = !element.classList.contains('no-critical');
    const foldAll = (fold) => {
      rows.forEach((row, index) => { if (fold && row.depth > 0 && tree.last[index] > index) folded.add(row.span_id); });
      if (!fold) folded.clear();
      applyFolds();
      while (elements[current]?.hidden) setCurrent(tree.parent[current]);
    };
    const legend = h('div', { class: 'legend' },
      h('label', { class: 'check' }, criticalToggle, h('span', { class: 'key critical', 'aria-hidden': 'true' }), 'Critical path'),
      rows.some((row) => (row.events || []).length > 0) && h('span', { class: 'key-entry' }, h('span', { class: 'key event', 'aria-hidden': 'true' }), 'Event'),
      h('span', { class: 'keys' }, h('kbd', {}, '↑'), h('kbd', {}, '↓'), ' move ', h('kbd', {}, '←'), h('kbd', {}, '→'), ' fold ', h('kbd', {}, 'Enter'), ' details'),
      h('span', { class: 'actions' },
        h('button', { class: 'plain', type: 'button', onclick: () => foldAll(true) }, 'Fold all'),
        h('button', { class: 'plain', type: 'button', onclick: () => foldAll(false) }, 'Unfold all')));

    const axis = h('div', { class: 'axis', role: 'columnheader', 'aria-label': `Time, 0 to ${duration(total)}` });
    const lines = h('div', { class: 'lines', 'aria-hidden': 'true' }, h('div', {}));
    for (const tick of ticks(total, matchMedia('(max-width: 720px)').matches ? 4 : 8)) {
      const label = h('span', { 'aria-hidden': 'true' }, tick === 0 ? '0' : roundDuration(tick));
      const line = h('i', {});
      label.style.left = line.style.left = `${(100 * tick) / total}%`;
      axis.append(label);
      lines.firstChild.append(line);
    }
    grid.append(h('div', { class: 'head', role: 'row', 'aria-rowindex': '1' },
      h('div', { class: 'name', role: 'columnheader' }, 'Service and operation'), axis, h('div', { class: 'length', role: 'columnheader' }, 'Duration')));
    grid.append(lines);
    addRows(ROWS_AT_ONCE);
    applyFolds();
    element.append(legend, grid, more);

    /** After the element is in the page: what was open before, or what the address asks for. */
    function settle(first) {
      for (const id of [...open]) if (indexOf.has(id)) { reveal(indexOf.get(id)); setOpen(indexOf.get(id), true, false); }
      if (rows.length > 0) setCurrent(Math.min(current, elements.length - 1));
      if (focusAgain) elements[current]?.focus({ preventScroll: true });
      if (first) openFromHash();
    }

    return {
      element, folded, open, settle, openFromHash, nextError,
      focusedSpan: () => rows[current]?.span_id,
      hasFocus: () => grid.contains(document.activeElement),
      showsCritical: () => criticalToggle.checked,
    };
  }

  /** From rows in tree order with depths: each row's parent, last descendant, and place among its siblings. */
  function treeOf(rows) {
    const parent = [];
    const last = rows.map((_, index) => index);
    const position = [];
    const siblings = [];
    const path = [];
    const children = new Map();
    rows.forEach((row, index) => {
      path.length = Math.min(path.length, row.depth);
      parent[index] = path.length > 0 ? path[path.length - 1] : -1;
      for (const above of path) last[above] = index;
      const among = children.get(parent[index]) || [];
      among.push(index);
      children.set(parent[index], among);
      position[index] = among.length;
      path.push(index);
    });
    rows.forEach((_, index) => { siblings[index] = children.get(parent[index]).length; });
    return { parent, last, position, siblings };
  }

  /** Round times from 0: steps of 1, 2 or 5 times a power of ten, no more than `most` of them. */
  function ticks(total, most) {
    const rough = total / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
    const found = [];
    for (let at = 0; at <= total * 0.96; at += step) found.push(Number(at.toPrecision(12)));
    return found;
  }

  // ---- Span detail ------------------------------------------------------------------------------

  const LOGS_AT_ONCE = 50;
  const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

  const level = (log) => {
    const word = String(log.severity || '').toLowerCase();
    return LEVELS.find((name) => word.startsWith(name)) || 'none';
  };

  const worst = (logs) => LEVELS[Math.max(0, ...logs.map((log) => LEVELS.indexOf(level(log))))];

  function spanDetail(row, trace) {
    const part = (title, number, content, testid) => h('section', { 'data-testid': testid },
      h('h3', {}, title, number > 1 && h('span', { class: 'number' }, count(number))), content);
    const attributes = row.attributes || [];
    const resource = (trace.resources || [])[row.resource] || [];
    const events = row.events || [];
    const links = row.links || [];
    const logs = row.logs || [];
    const index = trace.rows.indexOf(row);
    const address = `${location.origin}${traceHref(trace.trace_id, row.span_id) || location.pathname}`;
    return h('div', { class: `detail ${colourOf(row.service)}`, role: 'row', 'aria-level': row.depth + 2, 'data-testid': 'span-detail', 'data-index': index },
      h('div', { role: 'gridcell', 'aria-colspan': '3', class: 'inset', 'aria-label': `Details of ${row.service} ${row.name}` },
        h('p', { class: 'summary' },
          h('span', {}, row.kind), h('span', {}, `starts at ${offset(row.offset_us)}`), h('span', {}, `lasts ${duration(row.duration_us)}`),
          (row.critical || []).length > 0 && h('span', {}, `${duration(row.critical.reduce((sum, piece) => sum + piece.duration_us, 0))} on the critical path`),
          h('span', { class: row.status === 'error' ? 'error' : null }, `status ${row.status}`),
          row.scope && h('span', {}, `scope ${row.scope}`),
          h('span', { class: 'ids' }, 'span ', h('code', {}, row.span_id), copyButton('the span id', row.span_id), copyButton('a link to this span', address, 'Copy link'))),
        row.status === 'error' && h('p', { class: 'status-message' }, h('strong', {}, 'Error'), ' ', row.status_message || 'The span says no more than that it failed.'),
        logs.length > 0 && part('Logs', logs.length, logLines(logs), 'span-logs'),
        h('div', { class: 'columns' },
          part('Attributes', attributes.length, attributes.length > 0 ? attributeTable(attributes, true) : h('p', { class: 'muted' }, 'None'), 'span-attributes'),
          h('div', {},
            events.length > 0 && part('Events', events.length, h('ol', { class: 'events' }, events.map((event) => h('li', { 'data-testid': 'span-event' },
              h('span', { class: 'at' }, offset(event.offset_us)), h('strong', {}, event.name),
              (event.attributes || []).length > 0 && attributeTable(event.attributes, false))))),
            links.length > 0 && part('Links', links.length, h('ul', { class: 'links' }, links.map(linkItem))),
            h('details', { class: 'resource' }, h('summary', {}, 'Resource', h('span', { class: 'number' }, count(resource.length))), attributeTable(resource, false))))));
  }

  function attributeTable(attributes, searchable) {
    return h('table', {}, h('tbody', {}, attributes.map(({ key, value }) => {
      const text = valueText(value);
      return h('tr', {}, h('th', { scope: 'row' }, key), h('td', {}, text),
        h('td', { class: 'do' },
          searchable && h('button', { class: 'plain', type: 'button', 'aria-label': `Find traces with ${key} of this value`, onclick: () => findTraces(key, text) }, 'Find'),
          copyButton(`the value of ${key}`, text)));
    })));
  }

  function findTraces(key, value) {
    location.assign(`/?${new URLSearchParams({ tags: formatTag(key, value) })}`);
  }

  function linkItem(link) {
    const name = [h('code', {}, link.trace_id), ' span ', h('code', {}, link.span_id)];
    return h('li', { 'data-testid': 'span-link' },
      link.known ? traceLink(link.trace_id, link.span_id, name) : h('span', {}, name, h('span', { class: 'muted' }, ' (not in this console)')),
      (link.attributes || []).length > 0 && attributeTable(link.attributes, false));
  }

  function logLines(logs) {
    const list = h('ol', { class: 'logs' });
    const show = (until) => {
      list.replaceChildren(...logs.slice(0, until).map(logLine));
      if (logs.length > until) {
        list.append(h('li', { class: 'rest' }, h('button', { class: 'plain', type: 'button', onclick: () => show(logs.length) }, `Show all ${plural(logs.length, 'line')}`)));
      }
    };
    show(LOGS_AT_ONCE);
    return list;
  }

  function logLine(log) {
    return h('li', { class: `log ${level(log)}`, 'data-testid': 'log-line' },
      h('span', { class: 'at', title: isoTime(log.time_us) }, offset(log.offset_us)),
      h('span', { class: 'severity' }, log.severity || '–'),
      h('span', { class: 'body' }, log.service && `${log.service}: `, h('span', { class: 'said' }, log.body),
        (log.attributes || []).map(({ key, value }) => [' ', h('span', { class: 'field' }, h('span', { class: 'field-key' }, `${key}=`), valueText(value))])));
  }

  // ---- Start ------------------------------------------------------------------------------------

  const match = /^\/trace\/([^/]*)\/?$/.exec(location.pathname);
  if (match) tracePage(match[1].toLowerCase());
  else searchPage();
  refreshHeader();
  setInterval(refreshHeader, REFRESH_MS);
  document.addEventListener('visibilitychange', refreshHeader);
})();
