// @ts-check
/**
 * @file The pictures over time: the score of the recording, and each channel's signal with its score in a strip below.
 */
import { meanOf, placesIn } from "./channels_numbers.js";
import { LEFT, RIGHT, valueAt } from "./channels_scene.js";
import { h, tableView } from "./elements.js";
import { envelope, extent, marginText, number, percent, roomy, seconds } from "./numbers.js";
import { axes, band, clip, hatch, level, linear, placeOver, print, sheet, upright } from "./plot.js";
import { crosshair, drawWindow, pinNote, timeHands, windowOf } from "./window.js";

/** @typedef {import("./channels_scene.js").Scene} Scene */
/** @typedef {ArrayLike<number>} Row */
/** @typedef {import("./plot.js").Box} Box */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Ends} Ends */
/** @typedef {import("./plot.js").Scale} Scale */
/** @typedef {import("./plot.js").Sheet} Sheet */

const MEAN_COLUMNS = ["Channel", "Unit", "Mean", "Lowest", "Highest", "Score"];

/**
 * @param {Scene} scene
 * @param {import("./hands.js").Tip} tip
 * @param {(n: number) => void} next recording
 * @param {(isSettled: boolean) => void} refresh
 */
export function timeView(scene, tip, next, refresh) {
  const { facts, isScored } = scene;
  const node = h("div", { class: "tm-channels-time" });
  const rows = h("div", { class: "tm-channels-rows" });
  const draw = drawing(scene);
  const whole = isScored ? sheet(node, { height: 120, focus: true, label: "Score over time", draw: draw.score }) : null;
  node.append(rows);
  const pictures = facts.channels.map((name, i) => {
    const parent = h("div", { "data-channel": name });
    rows.append(parent);
    return sheet(parent, { height: isScored ? 122 : 96, focus: true, label: name, draw: draw.channel(i) });
  });
  node.append(tableView("means of the window, by channel", MEAN_COLUMNS, () => meanRows(scene)));
  scene.sheets.push(...(whole ? [whole] : []), ...pictures);
  const hands = handsOver(scene, tip, { next, refresh, focus: (i) => pictures[i].canvas.focus() });
  if (whole) hands(whole.canvas, -1);
  pictures.forEach((one, i) => hands(one.canvas, i));
  return {
    node,
    show() {
      if (!scene.window.isDrawn()) inOrder(scene, rows, pictures);
      pictures.forEach((one, i) => one.canvas.setAttribute("aria-label", describe(scene, i)));
      const threshold = number(scene.state.get("threshold"));
      whole?.canvas.setAttribute("aria-label", `Score over time, ${scene.stretch()}; threshold ${threshold}`);
    },
  };
}

/**
 * What a note says of the crosshair's place.
 * @param {Scene} scene
 * @param {number} i channel, or -1 for all of them
 */
function linesAt(scene, i) {
  const { facts, data } = scene;
  const { signal, score: step } = facts.steps;
  const t = scene.cursor ?? 0;
  const isFaulty = facts.faults.some(([a, b]) => t >= a && t < b);
  const label = isFaulty ? "fault (label)" : facts.labelled ? "healthy (label)" : "no label";
  const found = [`${seconds(t)} · ${label}`];
  if (i >= 0) found.push(`${scene.labelOf(i)}: ${number(valueAt(data.signal[i], t, signal))}`);
  if (!scene.isScored) return found;
  const score = scene.scoreHere();
  found.push(`score ${number(score)}${marginText(score, scene.state.get("threshold"))}`);
  const each = facts.channels.map((name, k) => ({ name, score: valueAt(data.score[k], t, step) }));
  const best = each.filter((one) => Number.isFinite(one.score)).sort((a, b) => b.score - a.score);
  const top = best.slice(0, 3).map((one) => `${one.name} ${number(one.score, 3)}`);
  found.push(`top: ${top.join(", ")}`);
  return found;
}

/**
 * Puts the pictures into the order of the ranking; the one with the focus keeps it.
 * @param {Scene} scene
 * @param {HTMLElement} rows
 * @param {Sheet[]} pictures
 */
function inOrder(scene, rows, pictures) {
  const wanted = scene.order().map((i) => /** @type {HTMLElement} */ (pictures[i].canvas.parentElement));
  if (wanted.every((node, k) => rows.children[k] === node)) return;
  const focused = document.activeElement;
  const held = rows.contains(focused);
  rows.append(...wanted);
  if (held && focused instanceof HTMLElement) focused.focus();
}

/**
 * @param {Scene} scene
 * @param {number} i channel
 */
function describe(scene, i) {
  const part = scene.facts.masked[i] ? "masked: takes no part" : `${scene.shareOf(i)} of the score`;
  return `${scene.labelOf(i)}: signal over time${scene.isScored ? `, ${part}` : ""}`;
}

/**
 * @param {Scene} scene
 * @returns {(string | number)[][]}
 */
function meanRows({ facts, data, window, ranking }) {
  return facts.channels.map((name, i) => {
    const signal = data.signal[i];
    const [from, to] = placesIn(window.now(), facts.steps.signal, signal.length);
    const [low, high] = extent(signal.subarray(from, to)) ?? [NaN, NaN];
    const numbers = [meanOf(signal, from, to), low, high, ranking?.mean[i]];
    return [name, facts.units[i] || "–", ...numbers.map((value) => number(value))];
  });
}

/**
 * What gives a picture its pointer and keys; `i` is its channel, -1 that of the whole score.
 * @param {Scene} scene
 * @param {import("./hands.js").Tip} tip
 * @param {object} how
 * @param {(n: number) => void} how.next recording
 * @param {(isSettled: boolean) => void} how.refresh
 * @param {(i: number) => void} how.focus the picture of a channel
 */
function handsOver(scene, tip, { next, refresh, focus }) {
  const { panel, facts, window } = scene;
  const { root } = panel;
  const length = facts.seconds;

  /** @param {number} t s */
  function moveTo(t) {
    const [a, b] = scene.span();
    scene.cursor = Math.min(b, Math.max(a, t));
    scene.redraw();
    root.dataset.cursor = String(scene.cursor);
    if (scene.isScored) root.dataset.score = String(scene.scoreHere());
  }

  /**
   * @param {number} i the channel of the picture
   * @param {number} n how many further
   */
  function turn(i, n) {
    const order = scene.order();
    const found = order[order.indexOf(i >= 0 ? i : scene.chosen()) + n];
    if (found === undefined) return;
    scene.select(found);
    if (i >= 0) focus(found);
    panel.say(scene.labelOf(found));
  }
  /** @type {(canvas: HTMLCanvasElement, i: number) => void} */
  return (canvas, i) => {
    const timeAt = (/** @type {number} */ px) => scene.xOf(canvas.clientWidth).invert(px);
    /** @type {(place: import("./hands.js").Place) => void} */
    const pin = (place) => pinNote(panel, tip, place, linesAt(scene, i), number(scene.cursor, 6));
    /** @type {import("./hands.js").Move} */
    const point = (px, _, event) => {
      moveTo(timeAt(px));
      tip.show(event, linesAt(scene, i));
    };
    const between = (/** @type {number} */ a, /** @type {number} */ b) => windowOf(a, b, length);
    timeHands(canvas, {
      panel,
      tip,
      window,
      length: () => length,
      placeAt: timeAt,
      brushed: between,
      between,
      cursor: () => (scene.cursor === null ? null : [scene.cursor, scene.cursor]),
      point,
      drawing(px, py, event) {
        point(px, py, event);
        refresh(false);
      },
      click(_, __, event) {
        if (i >= 0) scene.select(i);
        pin(event);
      },
      step(n) {
        const [a, b] = scene.span();
        moveTo((scene.cursor ?? (a + b) / 2) + (n * (b - a)) / 200);
        panel.say(linesAt(scene, i).join("; "));
      },
      next,
      pinHere: () => pin(placeOver(canvas, scene.xOf(canvas.clientWidth)(scene.cursor ?? 0), 0)),
      more: {
        ArrowUp: () => turn(i, -1),
        ArrowDown: () => turn(i, 1),
        z() {
          scene.isZoomed = !scene.isZoomed;
          refresh(false);
        },
      },
    });
  };
}

/**
 * How the pictures are drawn.
 * @param {Scene} scene
 */
function drawing(scene) {
  const { facts, data, total, isScored } = scene;
  const { masked, steps } = facts;
  const bandOf = keptBands();
  const scored = /** @type {Ends} */ ([0, topOf(data.score.filter((_, i) => !masked[i]))]);
  const heights = facts.channels.map((_, i) => roomy(extent(data.signal[i]) ?? [0, 1], false, 0.06, 1));

  /** @type {(context: Context, width: number, height: number) => void} */
  function score(context, width, height) {
    const x = scene.xOf(width);
    const box = { left: LEFT, right: width - RIGHT, top: 18, bottom: height - 32 };
    const threshold = scene.state.get("threshold") ?? NaN;
    backdrop(context, scene, x, box);
    const top = Math.max(topOf([total]), Number.isFinite(threshold) ? threshold * 1.15 : 0);
    const y = linear([0, top], [box.bottom, box.top]);
    axes(context, scene.tone, box, { x, y, xLabel: "time in s", yLabel: "score of the recording" });
    clip(context, box, () => {
      bandOf(context, "score", total, steps.score, x, y, box, scene.tone.normal);
      if (Number.isFinite(threshold))
        level(context, y(threshold), box, { strokeStyle: scene.tone.threshold, dash: [6, 3] });
    });
    cross(context, scene, x, box);
  }

  /** @type {(i: number) => (context: Context, width: number, height: number) => void} */
  const channel = (i) => (context, width, height) => {
    const { tone } = scene;
    const x = scene.xOf(width);
    const strip = { left: LEFT, right: width - RIGHT, top: height - 36, bottom: height - 6 };
    const box = { left: LEFT, right: width - RIGHT, top: 18, bottom: isScored ? strip.top - 6 : height - 6 };
    const both = { ...box, bottom: isScored ? strip.bottom : box.bottom };
    backdrop(context, scene, x, both);
    const y = linear(heights[i], [box.bottom, box.top]);
    const yTicks = y.ticks(3).filter((v) => y(v) < box.bottom - 5);
    axes(context, tone, box, { y, yLabel: scene.labelOf(i), yTicks });
    const colour = masked[i] ? tone.soft : tone.normal;
    clip(context, box, () => bandOf(context, `signal ${i}`, data.signal[i], steps.signal, x, y, box, colour));
    if (isScored) drawStrip(context, i, x, strip);
    if (i === scene.chosen()) upright(context, 1.5, both, { strokeStyle: tone.link, lineWidth: 3 });
    cross(context, scene, x, both);
  };

  /** @type {(context: Context, i: number, x: Scale, box: Box) => void} */
  function drawStrip(context, i, x, box) {
    const { tone, ranking } = scene;
    const y = linear(scored, [box.bottom, box.top]);
    axes(context, tone, box, { y, yTicks: scored });
    const share = ranking ? `${percent(ranking.share[i])} of the score` : "";
    print(context, tone.ink, "right", "bottom", share, box.right, 14);
    const row = data.score[i];
    if (row.some(Number.isFinite))
      return clip(context, box, () => bandOf(context, `strip ${i}`, row, steps.score, x, y, box, tone.anomaly));
    const why = masked[i] ? "masked: takes no part" : "no score: every sample is missing";
    print(context, tone.ink, "center", "middle", why, (box.left + box.right) / 2, (box.top + box.bottom) / 2);
  }
  return { score, channel };
}

/**
 * Where an axis of scores ends, which begins at 0.
 * @param {ArrayLike<number>[]} rows
 */
function topOf(rows) {
  const range = extent(...rows);
  if (!range) return 1;
  return range[1] > 0 ? range[1] * 1.08 : 1;
}

/**
 * Draws rows as bands; the lowest and highest value for each pixel is remembered.
 */
function keptBands() {
  /** @type {Map<string, Float32Array>} */
  const seen = new Map();
  /** @type {(c: Context, key: string, row: Row, step: number, x: Scale, y: Scale, box: Box, colour: string) => void} */
  return (context, key, row, step, x, y, box, strokeStyle) => {
    const from = Math.max(0, Math.floor(x.low / step));
    const to = Math.min(row.length, Math.ceil(x.high / step));
    const n = Math.max(1, Math.min(box.right - box.left, to - from));
    const name = [key, n, from, to].join();
    if (seen.size > 60) seen.clear();
    const ends = seen.get(name) ?? envelope(row, n, from, to);
    seen.set(name, ends);
    band(context, ends, (i) => x(Math.min((from + ((to - from) * (i + 0.5)) / n) * step, x.high)), y, { strokeStyle });
  };
}

/**
 * Labels and the window, which all pictures over time share.
 * @param {Context} context
 * @param {Scene} scene
 * @param {Scale} x
 * @param {Box} box
 */
export function backdrop(context, scene, x, box) {
  const { tone, facts, window } = scene;
  clip(context, { ...box, left: x(x.low), right: x(x.high) }, () => {
    const faults = facts.faults.map((fault) => /** @type {Ends} */ (fault.map(x)));
    hatch(context, tone.anomaly, box, faults);
    if (!scene.isZoomed || window.isDrawn()) drawWindow(context, tone.link, x, window.now(), box);
  });
}

/**
 * @param {Context} context
 * @param {Scene} scene
 * @param {Scale} x
 * @param {Box} box
 */
export function cross(context, { cursor, tone }, x, box) {
  if (cursor !== null && cursor >= x.low && cursor <= x.high) crosshair(context, tone.ink, x(cursor), box);
}
