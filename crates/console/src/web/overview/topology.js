// The map of services and their calls, drawn from callers to callees: from left to right, on narrow screens downwards.

import { colourOf } from '../colours.js';
import { h, s } from '../dom.js';
import { percent, rate, seconds } from '../format.js';
import { serviceHref } from '../links.js';

/** @typedef {import('./graph.js').Graph} Graph */
/** @typedef {import('./graph.js').Node} Node */
/** @typedef {import('./graph.js').Edge} Edge */
/** @typedef {{x: number, y: number}} Point */

const NODE = { width: 164, height: 58 };
/** So wide is the label of an arrow. */
const GAP = 100;
/** A call fails worth telling from this share on, as herald has it. */
export const FAILING = 0.01;

/** @param {Graph} graph @param {number} width in pixels */
export function topology(graph, width) {
  if (graph.nodes.length === 0) return h('p', { class: 'muted' }, 'No service has reported a request yet.');
  const layers = layersOf(graph);
  const layout = width < layers.length * (NODE.width + GAP) ? downwards(layers, width) : rightwards(layers, width);
  const at = (/** @type {string} */ name) => /** @type {Point} */ (layout.places.get(name));
  return s('svg', { class: 'topology', width: layout.width, height: layout.height, viewBox: `0 0 ${layout.width} ${layout.height}`, role: 'group', 'aria-label': 'Which service calls which', 'data-testid': 'topology' },
    arrowHeads(),
    graph.edges.map((edge) => edgeElement(edge, layout.path(at(edge.from), at(edge.to)))),
    graph.edges.map((edge) => edgeLabel(edge, layout.path(at(edge.from), at(edge.to)).middle)),
    graph.nodes.map((node) => nodeElement(node, at(node.name))));
}

/** Each name in the layer below all that call it; calls in a circle do not count twice. @param {Graph} graph @returns {string[][]} */
function layersOf({ nodes, edges }) {
  const depth = new Map(nodes.map(({ name }) => [name, 0]));
  const deepest = nodes.length - 1;
  for (let round = 0; round < deepest; round += 1) {
    for (const { from, to } of edges) {
      const below = (depth.get(from) || 0) + 1;
      if (from !== to && below <= deepest && below > (depth.get(to) || 0)) depth.set(to, below);
    }
  }
  /** @type {string[][]} */
  const layers = [];
  const used = [...new Set(depth.values())].sort((a, b) => a - b);
  for (const [name, layer] of depth) (layers[used.indexOf(layer)] ||= []).push(name);
  return layers;
}

/** @typedef {{width: number, height: number, places: Map<string, Point>, path: (from: Point, to: Point) => {d: string, middle: Point}}} Layout */

/** @param {string[][]} layers @param {number} width @returns {Layout} */
function rightwards(layers, width) {
  const most = Math.max(...layers.map((layer) => layer.length));
  const height = most * (NODE.height + 58) - 30;
  const step = layers.length > 1 ? Math.min(420, (width - NODE.width - 4) / (layers.length - 1)) : 0;
  const places = new Map(layers.flatMap((layer, index) => layer.map((name, row) => [name, {
    x: 2 + index * step, y: (height * (row + 0.5)) / layer.length - NODE.height / 2,
  }])));
  return { width: Math.max(width - 1, NODE.width + 4), height, places, path: (from, to) => {
    const start = { x: from.x + NODE.width, y: from.y + NODE.height / 2 };
    const end = { x: to.x - 8, y: to.y + NODE.height / 2 };
    const bend = Math.max(30, (end.x - start.x) / 2);
    return curve(start, { x: start.x + bend, y: start.y }, { x: end.x - bend, y: end.y }, end);
  } };
}

/** A layer of more than fit beside each other takes several rows. @param {string[][]} all @param {number} width @returns {Layout} */
function downwards(all, width) {
  const beside = Math.max(1, Math.floor(width / (NODE.width + 12)));
  const layers = all.flatMap((layer) => Array.from({ length: Math.ceil(layer.length / beside) }, (_, row) => layer.slice(row * beside, (row + 1) * beside)));
  const full = Math.max(width, NODE.width + 12);
  const places = new Map(layers.flatMap((layer, index) => layer.map((name, column) => [name, {
    x: (full * (column + 0.5)) / layer.length - NODE.width / 2, y: 2 + index * (NODE.height + 74),
  }])));
  return { width: full - 1, height: layers.length * (NODE.height + 74) - 70, places, path: (from, to) => {
    const start = { x: from.x + NODE.width / 2, y: from.y + NODE.height };
    const end = { x: to.x + NODE.width / 2, y: to.y - 8 };
    const bend = Math.max(20, (end.y - start.y) / 2);
    // The label stands where the ways to neighbours have parted.
    return curve(start, { x: start.x, y: start.y + bend }, { x: end.x, y: end.y - bend }, end, 0.72);
  } };
}

/** A Bézier curve, and the point at `t` of it. @param {Point} a @param {Point} b @param {Point} c @param {Point} d */
function curve(a, b, c, d, t = 0.5) {
  const on = (/** @type {'x' | 'y'} */ axis) => (1 - t) ** 3 * a[axis] + 3 * t * (1 - t) ** 2 * b[axis] + 3 * t ** 2 * (1 - t) * c[axis] + t ** 3 * d[axis];
  const middle = { x: on('x'), y: on('y') };
  return { d: `M${a.x},${a.y} C${b.x},${b.y} ${c.x},${c.y} ${d.x},${d.y}`, middle };
}

const ARROWS = ['good', 'bad', 'idle'];

function arrowHeads() {
  return s('defs', {}, ARROWS.map((kind) => s('marker', { id: `arrow-${kind}`, class: `arrow ${kind}`, viewBox: '0 0 8 8', refX: 4, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: 'userSpaceOnUse', orient: 'auto' },
    s('path', { d: 'M0,0 L8,4 L0,8 z' }))));
}

/** @param {{rate: number | null, errorShare: number | null}} one */
function kindOf({ rate: calls, errorShare }) {
  if (!calls) return 'idle';
  return (errorShare || 0) >= FAILING ? 'bad' : 'good';
}

/** @param {Edge} edge @param {{d: string}} path */
const edgeElement = (edge, { d }) => s('path', { class: `edge ${kindOf(edge)}`, d, 'marker-end': `url(#arrow-${kindOf(edge)})` });

/** In words. @param {Edge} edge */
const words = (edge) => `${edge.from} calls ${edge.to}: ${rate(edge.rate)}, ${percent(edge.errorShare)} fail, 95 % within ${seconds(edge.p95)}`;

/** @param {Edge} edge @param {Point} middle */
function edgeLabel(edge, { x, y }) {
  const failing = edge.rate > 0 && s('tspan', { class: kindOf(edge) === 'bad' ? 'bad' : null }, `${percent(edge.errorShare)} err`);
  return s('text', { class: 'edge-label', x, y, 'text-anchor': 'middle', 'data-testid': 'edge', 'data-from': edge.from, 'data-to': edge.to },
    s('title', {}, words(edge)),
    s('tspan', { x, dy: -6 }, rate(edge.rate)),
    edge.rate > 0 && s('tspan', { x, dy: 21 }, failing, ` · ${seconds(edge.p95)}`));
}

/** @param {string} name */
const short = (name) => (name.length > 19 ? `${name.slice(0, 18)}…` : name);

/** @param {Node} node @param {Point} place */
function nodeElement(node, { x, y }) {
  const state = node.isGone ? 'gone' : node.ready === false ? 'not ready' : null;
  const failing = (node.errorShare || 0) >= FAILING;
  const bad = state !== null || failing;
  const numbers = state || (node.rate === null ? (node.isService ? 'no requests' : 'database') : `${rate(node.rate)} · ${failing ? `${percent(node.errorShare)} err` : seconds(node.p95)}`);
  const box = s('g', { class: `node ${colourOf(node.name)}${bad ? ' bad' : ''}`, transform: `translate(${x},${y})`, 'data-testid': 'node', 'data-service': node.name },
    s('title', {}, `${node.name} ${node.versions.join(', ')}`),
    s('rect', { class: 'box', width: NODE.width, height: NODE.height, rx: 7 }),
    s('rect', { class: 'stripe', width: 5, height: NODE.height - 12, x: 6, y: 6, rx: 2.5 }),
    s('text', { class: 'title', x: 20, y: 24 }, short(node.name)),
    s('text', { class: 'numbers', x: 20, y: 43 }, numbers));
  return node.isService ? s('a', { href: serviceHref(node.name) }, box) : box;
}
