// Words and numbers as the pages print them.

const numbers = new Intl.NumberFormat('en');

/** @param {unknown} n */
export const count = (n) => numbers.format(Number(n || 0));

/** @param {unknown} n @param {string} one @param {string} [many] */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${Number(n) === 1 ? one : many}`;

/** Microseconds with three significant digits. @param {unknown} us */
export function duration(us) {
  const value = Number(us) || 0;
  const size = Math.abs(value);
  if (size === 0) return '0 µs';
  if (size < 999.5) return `${significant(value)} µs`;
  if (size < 999500) return `${significant(value / 1e3)} ms`;
  if (size < 59.95e6) return `${significant(value / 1e6)} s`;
  return longDuration(value / 1e6);
}

/** Of a minute or more, in seconds. @param {number} value */
function longDuration(value) {
  const seconds = Math.round(value);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A round duration without the zeros that a measured one keeps. @param {number} us */
export const roundDuration = (us) => duration(us).replace(/\.(\d*?)0+(?= )/, (_, digits) => (digits ? `.${digits}` : ''));

/** Seconds, or a dash where nothing was measured. @param {number | null | undefined} value */
export const seconds = (value) => (isNumber(value) ? duration(value * 1e6) : '–');

/** How long something lasts, in whole seconds. @param {number} ms */
export const span = (ms) => (ms < 59500 ? `${Math.max(0, Math.round(ms / 1000))} s` : longDuration(ms / 1000));

/** @param {number} value */
function significant(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** @param {unknown} value @returns {value is number} */
export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/** @param {number} us */
export const offset = (us) => `${us < 0 ? '−' : '+'}${duration(Math.abs(us))}`;

/** Per second. @param {number | null | undefined} value */
export function rate(value) {
  if (!isNumber(value)) return '–';
  if (value === 0) return '0/s';
  return value < 0.095 ? `${(value * 60).toFixed(value * 60 < 0.995 ? 2 : 1)}/min` : `${significant(value)}/s`;
}

/** A share of one. @param {number | null | undefined} value */
export function percent(value) {
  if (!isNumber(value)) return '–';
  const shown = value * 100;
  if (shown === 0) return '0 %';
  if (Math.abs(shown) < 0.1) return `${shown < 0 ? '−' : ''}< 0.1 %`;
  return `${shown.toFixed(Math.abs(shown) >= 9.95 ? 0 : 1)} %`;
}

/** A plain number of a chart. @param {number | null | undefined} value */
export function number(value) {
  if (!isNumber(value)) return '–';
  return Number.isInteger(value) ? count(value) : significant(value);
}

/** @param {unknown} n */
export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let value = Number(n) || 0;
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** @param {number} us since 1970 */
export function age(us) {
  const old = Math.max(0, (Date.now() - us / 1e3) / 1e3);
  if (old < 1.5) return 'now';
  if (old < 100) return `${Math.round(old)} s ago`;
  if (old < 6000) return `${Math.round(old / 60)} min ago`;
  if (old < 172800) return `${Math.round(old / 3600)} h ago`;
  return `${Math.round(old / 86400)} days ago`;
}

/** Local wall clock; the day only when it is not today. @param {number} us @param {boolean} [exact] with milliseconds */
export function clock(us, exact = true) {
  const date = new Date(us / 1e3);
  if (Number.isNaN(date.getTime())) return '';
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const short = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const time = exact ? `${short}.${String(date.getMilliseconds()).padStart(3, '0')}` : short;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return date.toDateString() === new Date().toDateString() ? time : `${day} ${time}`;
}

/** @param {number} us */
export function isoTime(us) {
  const date = new Date(us / 1e3);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** An RFC 3339 time in microseconds since 1970. @param {string | null | undefined} text */
export const micros = (text) => Date.parse(text || '') * 1e3;

/** @param {unknown} value */
export const valueText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
