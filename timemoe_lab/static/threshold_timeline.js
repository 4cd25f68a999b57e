// @ts-check
/** @file The score over time, end to end: what alarms at the threshold, labels, a window to brush, a note to pin. */
import { colours } from "./colours.js";
import { h } from "./elements.js";
import { drag, keys, tooltip } from "./hands.js";
import { clamp, envelope, lowerBound, number, seconds } from "./numbers.js";
import { axes, fillBox, hatch, layer, linear, log, outlineBox, placeOver, print, sheet } from "./plot.js";
import { FAULTY, LEFT_OUT } from "./threshold_counts.js";

/** @typedef {import("./plot.js").Box} Box */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */
/** @typedef {import("./colours.js").Tone} Tone */
/** @typedef {import("./threshold.js").Data} Data */
/** @typedef {import("./threshold.js").Facts} Facts */
/** @typedef {import("./threshold.js").Now} Now */
/** @typedef {import("./threshold.js").State} State */
/** @typedef {ReturnType<typeof stripOf>} Strip */

const STRIP = 150; // pixels

/**
 * @param {import("./frame.js").Panel} panel
 * @param {State} state
 * @param {Data} data
 * @param {() => Now} now
 */
export function timelineView(panel, state, data, now) {
  const node = h("div", { class: "tm-timeline" });
  const n = data.score.length;
  let strip = stripOf(data, 600, STRIP);
  const coloured = (/** @type {"normal" | "anomaly"} */ name) => (/** @type {Context} */ context) => {
    const tone = colours(panel.root);
    drawStrip(context, tone, strip, data, state.facts(), tone[name]);
  };
  const [calm, loud] = [layer(coloured("normal")), layer(coloured("anomaly"))];
  const note = noteView(panel, state.facts(), data, now, () => view.redraw());
  const view = sheet(node, {
    height: STRIP,
    label: "Score over time; drag to brush a window",
    focus: true,
    draw(context, width, height) {
      strip = stripOf(data, width, height);
      calm.fit(context, String(width));
      loud.fit(context, String(width));
      const at = now();
      const cut = Math.round(clamp(strip.y(at.threshold), 0, height) * (context.canvas.width / width));
      loud.show(context, 0, cut);
      calm.show(context, cut);
      drawOver(context, colours(panel.root), strip, at, note.cursor());
    },
  });
  panel.onClose(view.close);
  const { canvas } = view;
  const sample = (/** @type {number} */ pixel) => clamp(Math.floor(strip.x.invert(pixel)), 0, n - 1);
  const brush = (/** @type {number} */ a, /** @type {number} */ b) => state.set(brushed(state.facts(), data, a, b));
  const shift = (/** @type {number} */ first, /** @type {number} */ last) => {
    const span = now().span ?? [Math.floor(n * 0.45), Math.floor(n * 0.55)];
    const by = Math.max(1, Math.round(n / 200));
    brush(span[0] + first * by, span[1] + last * by);
  };
  brushByHand(canvas, sample, note, brush);
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons && !note.isPinned()) note.tell(sample(event.offsetX), event);
  });
  canvas.addEventListener("pointerleave", note.leave);
  keys(canvas, {
    ArrowLeft: () => shift(-1, -1),
    ArrowRight: () => shift(1, 1),
    "Shift+ArrowLeft": () => shift(0, -1),
    "Shift+ArrowRight": () => shift(0, 1),
    Escape: () => (note.letGo(), state.set({ window: [] })),
    Enter() {
      const span = now().span ?? [0, n];
      const i = Math.floor((span[0] + span[1]) / 2);
      note.turn(i, placeOver(canvas, strip.x(i), 20));
    },
  });
  return { node, show: view.redraw, stale: () => (calm.stale(), loud.stale()) };
}

/**
 * A stroke of more than four pixels is a window, less is a click that pins the note or lets go of it.
 * @param {HTMLCanvasElement} canvas
 * @param {(pixel: number) => number} sample
 * @param {ReturnType<typeof noteView>} note
 * @param {(a: number, b: number) => void} brush
 */
function brushByHand(canvas, sample, note, brush) {
  let [from, moved] = [0, false];
  drag(canvas, {
    start(pixel) {
      from = pixel;
      moved = false;
    },
    move(pixel) {
      if (!moved && Math.abs(pixel - from) < 4) return;
      moved = true;
      note.letGo();
      brush(sample(from), sample(pixel) + 1);
    },
    end(pixel, _, event) {
      if (!moved) note.turn(sample(pixel), event);
    },
  });
}

/**
 * The note about a sample under the pointer, and the cursor that goes with it.
 * @param {import("./frame.js").Panel} panel
 * @param {Facts} facts
 * @param {Data} data
 * @param {() => Now} now
 * @param {() => void} redraw
 */
function noteView(panel, facts, data, now, redraw) {
  const tip = tooltip(panel.root);
  /** @type {number | null} */
  let cursor = null;
  const letGo = () => {
    tip.pin(false);
    cursor = null;
    redraw();
  };
  const tell = (/** @type {number} */ i, /** @type {import("./hands.js").Place} */ event) => {
    tip.show(event, linesAt(facts, data, i, now().threshold));
    cursor = i;
    redraw();
  };
  return {
    cursor: () => cursor,
    isPinned: tip.isPinned,
    letGo,
    tell,
    leave: () => !tip.isPinned() && letGo(),
    /**
     * Pins the note of a sample, or lets go of the one that is pinned.
     * @param {number} i
     * @param {import("./hands.js").Place} event
     */
    turn(i, event) {
      if (tip.isPinned()) return letGo();
      tell(i, event);
      tip.pin(true);
    },
  };
}

/**
 * @param {Data} data
 * @param {number} i sample
 */
const recordingOf = (data, i) => lowerBound(data.starts, i + 1) - 1;

/**
 * The recording and window that samples [a, b) are, in either order.
 * @param {Facts} facts
 * @param {Data} data
 * @param {number} a
 * @param {number} b
 */
function brushed(facts, data, a, b) {
  const [start, end] = [Math.max(0, Math.min(a, b)), Math.min(data.score.length, Math.max(a, b))];
  if (end - start < 1) return { window: [] };
  const [first, last] = [recordingOf(data, start), recordingOf(data, end - 1)];
  const from = first === last ? data.starts[first] : 0;
  return {
    recording: first === last ? facts.recordings[first] : "",
    window: [(start - from) / data.fs, (end - from) / data.fs],
  };
}

/**
 * @param {Facts} facts
 * @param {Data} data
 * @param {number} i sample
 * @param {number} threshold
 */
function linesAt(facts, data, i, threshold) {
  const r = recordingOf(data, i);
  const value = data.score[i];
  const margin = `margin ${number(value - threshold)}: ${value >= threshold ? "alarm" : "no alarm"}`;
  const lines = [`${facts.recordings[r]}, ${seconds((i - data.starts[r]) / data.fs)}`];
  lines.push(`score ${number(value)}`, Number.isNaN(value) ? "no score" : margin);
  if (data.label) {
    const edge = data.label[i] & LEFT_OUT ? ", left out (near an edge)" : "";
    lines.push((data.label[i] & FAULTY ? "label: fault" : "label: healthy") + edge);
  }
  if (data.top) {
    const { top } = data;
    const names = [0, 1].map((k) => facts.channels[top[k * data.score.length + i]]);
    lines.push(`most of it: ${names.filter(Boolean).join(", ")}`);
  }
  return lines;
}

/**
 * Where the strip lies: its box, its time in samples, its scores.
 * @param {Data} data
 * @param {number} width
 * @param {number} height
 */
function stripOf(data, width, height) {
  const box = { left: 46, right: width - 10, top: 16, bottom: height - 32 };
  const x = linear([0, data.score.length], [box.left, box.right]);
  const pad = (data.high - data.low) * 0.05 || 1;
  const y = data.logarithmic
    ? log([data.low / 1.1, data.high * 1.1], [box.bottom, box.top])
    : linear([data.low - pad, data.high + pad], [box.bottom, box.top]);
  return { box, x, y };
}

/**
 * @param {Context} context
 * @param {Tone} tone
 * @param {Strip} strip
 * @param {Data} data
 * @param {Facts} facts
 * @param {string} colour
 */
function drawStrip(context, tone, { box, x, y }, data, facts, colour) {
  const n = Math.max(1, Math.floor(box.right - box.left));
  const range = envelope(data.score, n);
  const step = (box.right - box.left) / n;
  const hours = data.score.length / data.fs > 7200;
  const time = linear([0, data.score.length / data.fs / (hours ? 3600 : 1)], [box.left, box.right]);
  const xLabel = `time in ${hours ? "h" : "s"}, recordings end to end`;
  axes(context, tone, box, { x: time, y, yLabel: "score", xLabel, yTicks: y.ticks(4) });
  for (let i = 0; i < n; i++) {
    const known = !Number.isNaN(range[i]);
    const [top, bottom] = known ? [y(range[n + i]), y(range[i])] : [box.top, box.bottom];
    context.fillStyle = known ? colour : tone.grid;
    if (known) context.fillRect(box.left + i * step, top - 0.5, Math.max(1, step), Math.max(1.2, bottom - top));
    else context.fillRect(box.left + i * step, top, step, bottom - top);
  }
  /** @type {import("./plot.js").Ends[]} */
  const faults = data.faults.map(({ start, end }) => [x(start), Math.max(x(start) + 1, x(end))]);
  hatch(context, tone.ink, box, faults);
  context.strokeStyle = tone.line;
  facts.recordings.forEach((name, r) => {
    const [left, right] = [x(data.starts[r]), x(data.starts[r + 1])];
    if (r) context.strokeRect(left, box.top, 0, box.bottom - box.top);
    if (context.measureText(name).width < right - left - 6 && (r || right - left > 120))
      print(context, tone.soft, "left", "bottom", name, left + (r ? 4 : 44), box.top - 3);
  });
}

/**
 * What follows the hand: the threshold, the window, the cursor.
 * @param {Context} context
 * @param {Tone} tone
 * @param {Strip} strip
 * @param {Now} now
 * @param {number | null} cursor sample
 */
function drawOver(context, tone, { box, x, y }, { threshold, span }, cursor) {
  const at = y(threshold);
  if (at >= box.top && at <= box.bottom)
    outlineBox(context, { ...box, top: at, bottom: at }, { strokeStyle: tone.threshold, lineWidth: 1.5, dash: [5, 3] });
  if (span) {
    const [left, right] = span.map(x);
    const veil = { fillStyle: tone.page, globalAlpha: 0.6 };
    fillBox(context, { ...box, right: left }, veil);
    fillBox(context, { ...box, left: right }, veil);
    outlineBox(context, { ...box, left, right: Math.max(left + 1, right) }, { strokeStyle: tone.link, lineWidth: 2 });
  }
  if (cursor !== null)
    outlineBox(context, { ...box, left: x(cursor), right: x(cursor) }, { strokeStyle: tone.soft, lineWidth: 1 });
}
