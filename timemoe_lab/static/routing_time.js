// @ts-check
/**
 * @file One layer over time: its experts as a map of heat, under it the signal and the score, with labels and the
 * window.
 */
import { css } from "./colours.js";
import { h, tableView } from "./elements.js";
import { colourOf, expertHeads } from "./grid.js";
import { clamp, envelope, extent, marginText, number, percent, roomy, round, seconds, sum } from "./numbers.js";
import { axes, band, hatch, level, linear, outlineBox, placeOver, print, sheet } from "./plot.js";
import { pool } from "./routing_numbers.js";
import { scoreAt } from "./routing_scene.js";
import { crosshair, drawWindow, pinNote, timeHands } from "./window.js";

/** @typedef {import("./routing_scene.js").Scene} Scene */
/** @typedef {import("./plot.js").Box} Box */
/** @typedef {import("./plot.js").Canvas} Canvas */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */
/** @typedef {ReturnType<typeof layOver>} Lay */

export const LEFT = 58; // pixels beside a picture
export const RIGHT = 12;
const STRETCHES = 24; // rows of the table

/**
 * @param {Scene} scene
 * @param {import("./hands.js").Tip} tip
 * @param {(layer: number, expert: number) => void} drill
 * @param {() => void} refresh
 * @param {() => void} write
 */
export function overView(scene, tip, drill, refresh, write) {
  const node = h("div", {});
  const lay = layOver(scene);
  const draw = (/** @type {Canvas} */ ...on) => drawOver(scene, lay, ...on);
  const view = sheet(node, { height: lay.bottom + 34, focus: true, label: "Experts over time", draw });
  scene.panel.onClose(view.close);
  handsOver(view, scene, lay, tip, { drill, refresh, write });
  const columns = ["From s", ...expertHeads(scene.nExperts).map((name) => `${name} %`), "Label"];
  node.append(tableView("experts over time, in 24 stretches", columns, () => stretches(scene)));
  return {
    node,
    show() {
      const name = `Experts of layer ${scene.layer()} over time, above signal and score of ${scene.track().name}`;
      view.canvas.setAttribute("aria-label", `${name}; its table is below`);
      view.redraw();
    },
  };
}

/**
 * Where heat, signal and score lie under each other.
 * @param {Scene} scene
 */
function layOver({ nExperts, scores }) {
  const row = Math.max(8, Math.min(22, Math.floor(200 / nExperts)));
  const heat = row * nExperts;
  /** @type {(top: number, bottom: number) => (width: number) => Box} */
  const part = (top, bottom) => (width) => ({ left: LEFT, right: width - RIGHT, top, bottom });
  const hasScore = scores.some(Boolean);
  const bottom = heat + (hasScore ? 194 : 118);
  return {
    row,
    heat: part(22, 22 + heat),
    signal: part(heat + 48, heat + 118),
    score: hasScore ? part(heat + 144, bottom) : null,
    below: part(bottom - 1, bottom),
    bottom,
  };
}

/**
 * @param {Scene} scene
 * @param {number} width
 */
const timeOf = (scene, width) => linear([0, scene.track().seconds], [LEFT, width - RIGHT]);

/**
 * @param {import("./plot.js").Sheet} view
 * @param {Scene} scene
 * @param {Lay} lay
 * @param {import("./hands.js").Tip} tip
 * @param {{ drill: (layer: number, expert: number) => void, refresh: () => void, write: () => void }} calls
 */
function handsOver({ canvas, redraw }, scene, lay, tip, { drill, refresh, write }) {
  const { panel, nBins, nExperts, nLayers, window } = scene;
  const heat = lay.heat(0);
  const timeAt = (/** @type {number} */ px) => timeOf(scene, canvas.clientWidth).invert(px);
  const binAt = (/** @type {number} */ px) => clamp(Math.floor(timeAt(px) / scene.step()), 0, nBins - 1);
  /** @type {(py: number) => number} */
  const expertAt = (py) => (py >= heat.top && py < heat.bottom ? Math.floor((py - heat.top) / lay.row) : -1);
  /** @type {(bin: number) => void} */
  const moveTo = (bin) => {
    scene.cursor = clamp(bin, 0, nBins - 1);
    redraw();
    write();
  };
  /** @type {(place: import("./hands.js").Place, expert: number) => void} */
  const pin = (place, expert) => pinNote(panel, tip, place, linesAt(scene, expert), String(scene.cursor));
  /** @type {(layer: number, expert: number) => void} */
  const turn = (layer, expert) =>
    drill(clamp(scene.layer() + layer, 0, nLayers - 1), clamp(scene.expert() + expert, 0, nExperts - 1));
  timeHands(canvas, {
    panel,
    tip,
    window,
    length: () => nBins * scene.step(),
    placeAt: binAt,
    brushed: (from, to) => windowOfBins(scene, from, to + (to > from ? 1 : 0)),
    between: (a, b) => windowOfBins(scene, Math.round(a / scene.step()), Math.round(b / scene.step())),
    cursor: () => (scene.cursor === null ? null : [scene.cursor * scene.step(), (scene.cursor + 1) * scene.step()]),
    point(px, py, event) {
      scene.cursor = binAt(px);
      tip.show(event, linesAt(scene, expertAt(py)));
      redraw();
      write();
    },
    drawing: refresh,
    click(px, py, event) {
      scene.cursor = binAt(px);
      if (expertAt(py) >= 0) drill(scene.layer(), expertAt(py));
      pin(event, expertAt(py));
    },
    step(n) {
      moveTo((scene.cursor ?? Math.floor(nBins / 2)) + n);
      panel.say(linesAt(scene, scene.expert()).join("; "));
    },
    next: scene.next,
    pinHere() {
      const x = timeOf(scene, canvas.clientWidth)(((scene.cursor ?? 0) + 0.5) * scene.step());
      pin(placeOver(canvas, x, heat.bottom), scene.expert());
    },
    more: {
      ArrowUp: () => turn(0, -1),
      ArrowDown: () => turn(0, 1),
      PageUp: () => turn(-1, 0),
      PageDown: () => turn(1, 0),
      d: scene.turnPalette,
    },
  });
}

/**
 * The window between two edges of bins, in either order; [] when they are one.
 * @param {Scene} scene
 * @param {number} a
 * @param {number} b
 */
const windowOfBins = (scene, a, b) =>
  a === b ? [] : [Math.min(a, b), Math.max(a, b)].map((bin) => round(bin * scene.step(), 6));

/**
 * What a note says of the crosshair's bin.
 * @param {Scene} scene
 * @param {number} expert -1 for none
 */
function linesAt(scene, expert) {
  const bin = scene.cursor ?? 0;
  const shares = scene.sharesAt(bin);
  const label = ["healthy (label)", "fault (label)", "an edge of a fault"][scene.labels[scene.shown()][bin]];
  const found = [`${seconds(bin * scene.step())} · ${scene.track().class_id === null ? "no label" : label}`];
  if (expert >= 0)
    found.push(`expert ${expert}: ${percent(round(shares[expert]))} of layer ${scene.layer()}'s choices`);
  const ranked = shares.map((share, e) => ({ share, e })).sort((a, b) => b.share - a.share);
  const most = ranked.slice(0, 2).map(({ share, e }) => `E${e} ${percent(round(share))}`);
  found.push(`most: ${most.join(", ")}`);
  const score = scoreAt(scene, bin);
  if (Number.isFinite(score)) found.push(`score ${number(score)}${marginText(score, scene.state.get("threshold"))}`);
  return found;
}

/**
 * @param {Scene} scene
 * @param {Lay} lay
 * @param {Canvas} on
 */
function drawOver(scene, lay, ...[context, width]) {
  const { tone } = scene;
  const x = timeOf(scene, width);
  drawHeat(context, scene, lay.heat(width), lay.row);
  drawSignal(context, scene, lay.signal(width), x);
  if (lay.score) drawScore(context, scene, lay.score(width), x);
  axes(context, tone, lay.below(width), { x, xLabel: "time in s" });
  const under = { top: lay.signal(width).top, bottom: lay.bottom };
  const all = { top: lay.heat(width).top, bottom: lay.bottom };
  drawWindow(context, tone.link, x, scene.window.now(), under, all, 2);
  if (scene.cursor !== null) crosshair(context, tone.ink, x((scene.cursor + 0.5) * scene.step()), all);
}

/**
 * @param {Context} context
 * @param {Scene} scene
 * @param {Box} box
 * @param {number} row pixels
 */
function drawHeat(context, scene, box, row) {
  const { tone, timed, nBins, nExperts } = scene;
  const scale = scene.scale(timed);
  const wide = (box.right - box.left) / nBins;
  for (let expert = 0; expert < nExperts; expert++)
    for (let bin = 0; bin < nBins; bin++) {
      const colour = colourOf(timed[expert * nBins + bin], scale);
      context.fillStyle = colour ? css(colour) : tone.card;
      context.fillRect(box.left + bin * wide, box.top + expert * row, wide + 0.6, row + 0.5);
    }
  const meaning = scale.palette === "deviation" ? "red above 1/E, blue below" : "brighter is more";
  axes(context, tone, box, { yLabel: `layer ${scene.layer()}: share of the choices, ${meaning}` });
  expertHeads(nExperts).forEach((name, e) =>
    print(context, tone.ink, "right", "middle", name, box.left - 6, box.top + (e + 0.5) * row),
  );
  if (scene.expert() < 0) return;
  const top = box.top + scene.expert() * row;
  const ends = { ...box, top, bottom: top + row };
  outlineBox(context, ends, { strokeStyle: "#fff", lineWidth: 2 }, 1); // seen on every colour: white,
  outlineBox(context, ends, { strokeStyle: "#000", lineWidth: 2 }, 3); // and black inside it
}

/**
 * The bins of faults, hatched.
 * @param {Context} context
 * @param {Scene} scene
 * @param {Box} box
 */
function hatchFaults(context, scene, box) {
  const wide = (box.right - box.left) / scene.nBins;
  /** @type {import("./plot.js").Ends[]} */
  const bins = [];
  scene.labels[scene.shown()].forEach((label, bin) => {
    if (label === 1) bins.push([box.left + bin * wide, box.left + (bin + 1) * wide + 0.5]);
  });
  hatch(context, scene.tone.anomaly, box, bins, 0.55);
}

/**
 * @param {Context} context
 * @param {Scene} scene
 * @param {Box} box
 * @param {Scale} x
 */
function drawSignal(context, scene, box, x) {
  const { tone } = scene;
  const { series, units } = scene.track();
  const s = Math.max(0, scene.series());
  const label = units[s] ? `${series[s]} in ${units[s]}` : series[s];
  const signal = scene.signals[scene.shown()];
  hatchFaults(context, scene, box);
  if (!signal) return axes(context, tone, box, { yLabel: `${label}: no signal given` });
  const row = signal.subarray(s * signal.shape[1], (s + 1) * signal.shape[1]);
  const range = extent(row);
  if (!range) return axes(context, tone, box, { yLabel: `${label}: every sample is missing` });
  const y = linear(roomy(range, false, 0.06, 1), [box.bottom, box.top]);
  axes(context, tone, box, { x, y, yLabel: label, yTicks: y.ticks(3), format: () => "" });
  drawRow(context, box, row, y, tone.normal);
}

/**
 * @param {Context} context
 * @param {Scene} scene
 * @param {Box} box
 * @param {Scale} x
 */
function drawScore(context, scene, box, x) {
  const { tone } = scene;
  const row = scene.scores[scene.shown()];
  const threshold = scene.state.get("threshold");
  hatchFaults(context, scene, box);
  const range = row && extent(row);
  if (!row || !range) return axes(context, tone, box, { yLabel: "score: none" });
  const y = linear([0, 1.1 * Math.max(range[1], threshold ?? 0)], [box.bottom, box.top]);
  const yLabel = `score${threshold == null ? "" : `; threshold ${number(threshold)} dashed`}`;
  axes(context, tone, box, { x, y, yLabel, yTicks: y.ticks(3), format: () => "" });
  drawRow(context, box, row, y, tone.anomaly);
  if (threshold != null) level(context, y(threshold), box, { strokeStyle: tone.threshold, dash: [6, 3] });
}

/**
 * A row over the whole width of a box.
 * @param {Context} context
 * @param {Box} box
 * @param {ArrayLike<number>} row
 * @param {Scale} y
 * @param {string} colour
 */
function drawRow(context, box, row, y, colour) {
  const n = Math.max(1, Math.min(row.length, Math.floor(box.right - box.left)));
  const x = (/** @type {number} */ k) => box.left + ((k + 0.5) / n) * (box.right - box.left);
  band(context, envelope(row, n), x, y, { strokeStyle: colour });
}

/**
 * @param {Scene} scene
 * @returns {string[][]}
 */
function stretches(scene) {
  const { nBins, nExperts } = scene;
  const layer = scene.layer();
  return Array.from({ length: STRETCHES }, (_, k) => {
    const [a, b] = [k, k + 1].map((j) => Math.floor((j * nBins) / STRETCHES));
    const pooled = pool(scene.counts[scene.shown()], scene.series(), [a, b]);
    const own = pooled.subarray(layer * nExperts, (layer + 1) * nExperts);
    const total = sum(own);
    const kinds = [...new Set(scene.labels[scene.shown()].subarray(a, b))];
    const label = kinds.length > 1 || kinds[0] === 2 ? "both" : kinds[0] ? "fault" : "healthy";
    return [number(a * scene.step()), ...Array.from(own, (v) => number((100 * v) / total, 3)), label];
  });
}
