// @ts-check
/** @file Histogram and curves over the axis of scores, with the line of the threshold that a hand drags. */
import { colours } from "./colours.js";
import { h } from "./elements.js";
import { drag, keys, stepKeys } from "./hands.js";
import { clamp, lowerBound, number, percent, roomy } from "./numbers.js";
import { axes, fillBox, inked, layer, line, linear, log, print, sheet, trace, triangle, upright } from "./plot.js";
import { confusion, nextChange, precisionAt, ratios } from "./threshold_counts.js";

/** @typedef {import("./plot.js").Box} Box */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */
/** @typedef {import("./colours.js").Tone} Tone */
/** @typedef {import("./threshold.js").Data} Data */
/** @typedef {import("./threshold.js").Now} Now */
/** @typedef {import("./threshold.js").Hands} Hands */

const STEPS = 500; // of the axis from end to end

/**
 * @param {import("./frame.js").Panel} panel
 * @param {Data} data
 * @param {() => Now} now
 * @param {Hands} hands
 */
export function curvesView(panel, data, now, hands) {
  const node = h("div", { class: "tm-curves" });
  let { x, boxes } = layOut(data, 600, 390);
  const below = layer((context) => {
    const tone = colours(panel.root);
    drawHistogram(context, tone, boxes[0], x, data);
    if (data.label) drawCurves(context, tone, boxes[1], x, data, now());
  });
  const view = sheet(node, {
    height: data.label ? 390 : 230,
    label: "Histogram and curves; the threshold",
    focus: true,
    draw: paint,
  });
  const { canvas } = view;
  panel.onClose(view.close);
  canvas.setAttribute("role", "slider");
  canvas.setAttribute("aria-valuemin", number(data.low));
  canvas.setAttribute("aria-valuemax", number(data.high));

  /** @type {(context: Context, width: number, height: number) => void} */
  function paint(context, width, height) {
    const at = now();
    ({ x, boxes } = layOut(data, width, height));
    below.fit(context, [width, height, at.beta, at.base].join());
    below.show(context);
    drawLine(context, colours(panel.root), boxes, place(at.threshold), at.threshold);
  }

  const inside = (/** @type {number} */ pixel) => clamp(pixel, boxes[0].left, boxes[0].right);
  const place = (/** @type {number} */ threshold) => inside(x(threshold)); // another panel's may lie outside
  const follow = (/** @type {number} */ pixel) => hands.to(x.invert(inside(pixel)));
  const step = (/** @type {number} */ n) => follow(place(now().threshold) + (n * (x(x.high) - x(x.low))) / STEPS);
  const change = (/** @type {boolean} */ up) => hands.to(nextChange(data, now().threshold, up));
  keys(canvas, {
    ...stepKeys(step),
    ...stepKeys(step, "ArrowDown", "ArrowUp"),
    PageUp: () => step(STEPS / 20),
    PageDown: () => step(-STEPS / 20),
    Home: () => hands.to(data.low),
    End: () => hands.to(data.high),
    "]": () => change(true),
    "[": () => change(false),
    m: hands.best,
    e: hands.export,
  });
  drag(canvas, { start: follow, move: follow });
  return {
    node,
    stale: below.stale,
    /** @param {Now} at */
    show({ threshold }) {
      canvas.setAttribute("aria-valuenow", String(threshold));
      canvas.setAttribute("aria-valuetext", `threshold ${number(threshold)}`);
      view.redraw();
    },
  };
}

/**
 * The axis of scores and the boxes of histogram and curves.
 * @param {Data} data
 * @param {number} width
 * @param {number} height
 */
function layOut(data, width, height) {
  const [left, right] = [46, width - 10];
  const ends = roomy([data.low, data.high], data.logarithmic, 0.02, 0.5);
  const middle = data.label ? Math.round(height * 0.5) : height - 34;
  return {
    x: (data.logarithmic ? log : linear)(ends, [left, right]),
    boxes: [
      { left, right, top: 18, bottom: middle - (data.label ? 8 : 0) },
      { left, right, top: middle + 20, bottom: height - 34 },
    ],
  };
}

/**
 * @param {Context} context
 * @param {Tone} tone
 * @param {Box} box
 * @param {Scale} x
 * @param {Data} data
 */
function drawHistogram(context, tone, box, x, data) {
  const n = Math.max(10, Math.floor((box.right - box.left) / 5));
  const edges = Float32Array.from({ length: n + 1 }, (_, i) => x.invert(box.left + (i * (box.right - box.left)) / n));
  const rank = (/** @type {Float32Array} */ rising) => Array.from(edges, (edge) => lowerBound(rising, edge));
  const bins = (/** @type {Float32Array} */ rising) => {
    const ranks = rank(rising);
    return ranks.slice(1).map((value, i) => value - ranks[i]);
  };
  const groups = [
    { bin: bins(data.negative), colour: tone.normal, name: data.label ? "healthy" : "all samples" },
    { bin: bins(data.positive), colour: tone.anomaly, name: "faulty" },
  ];
  const top = Math.max(2, ...groups.flatMap(({ bin }) => bin));
  const y = log([0.5, 2 * top], [box.bottom, box.top]);
  const yTicks = y.ticks(5).filter((v) => v >= 1);
  axes(context, tone, box, { x, y, yLabel: "samples (log)", xLabel: data.label ? "" : "score", yTicks });
  let right = box.right - 8;
  for (const { bin, colour, name } of groups) {
    if (!bin.some(Boolean)) continue;
    inked(context, { fillStyle: colour, globalAlpha: 0.45 }, () =>
      bin.forEach((value, i) => {
        const width = x(edges[i + 1]) - x(edges[i]);
        if (value) context.fillRect(x(edges[i]), y(value), width, box.bottom - y(value));
      }),
    );
    const steps = bin.flatMap((value) => [value || 0.5, value || 0.5]);
    trace(context, steps, (i) => x(edges[(i + 1) >> 1]), y, { strokeStyle: colour, lineWidth: 1.2 });
    right = legendToTheLeft(context, tone, right, 3, name, colour);
  }
}

/**
 * A name with its line at the upper right; returns where the next one to the left ends.
 * @param {Context} context
 * @param {Tone} tone
 * @param {number} right
 * @param {number} top
 * @param {string} name
 * @param {string} colour
 * @param {number[]} [dash]
 */
function legendToTheLeft(context, tone, right, top, name, colour, dash = []) {
  print(context, tone.ink, "right", "top", name, right, top);
  const left = right - context.measureText(name).width;
  line(context, left - 22, top + 6, left - 5, top + 6, { strokeStyle: colour, lineWidth: 3, dash });
  return left - 34;
}

/**
 * @param {Context} context
 * @param {Tone} tone
 * @param {Box} box
 * @param {Scale} x
 * @param {Data} data
 * @param {Now} now
 */
function drawCurves(context, tone, box, x, data, { beta, base }) {
  const y = linear([0, 1], [box.bottom, box.top]);
  axes(context, tone, box, { x, y, xLabel: "score, threshold", yLabel: "share" });
  const pixels = Array.from({ length: box.right - box.left + 1 }, (_, i) => box.left + i);
  const at = pixels.map((pixel) => ratios(confusion(data, x.invert(pixel)), beta));
  context.fillStyle = tone.ink;
  data.marks.forEach((mark) => triangle(context, x(mark), box.bottom - 8, box.bottom - 1)); // to jump to
  const curves = [
    { name: `F${number(beta)}`, values: at.map((one) => one.fbeta), colour: tone.fbeta, dash: [], lineWidth: 2 },
    { name: "recall", values: at.map((one) => one.recall), colour: tone.recall, dash: [8, 3, 2, 3], lineWidth: 1.5 },
    { name: "precision", values: at.map((one) => one.precision), colour: tone.precision, dash: [6, 3], lineWidth: 1.5 },
  ];
  if (Math.abs(base - data.prevalence) > 1e-9) {
    const values = at.map((one) => precisionAt(one, base));
    curves.push({
      name: `precision at ${percent(base)}`,
      values,
      colour: tone.precision,
      dash: [2, 2],
      lineWidth: 1.5,
    });
  }
  let right = box.right - 8;
  for (const { name, values, colour, dash, lineWidth } of curves) {
    trace(context, values, (i) => pixels[i], y, { strokeStyle: colour, lineWidth, dash });
    right = legendToTheLeft(context, tone, right, box.top - 15, name, colour, dash);
  }
}

/**
 * @param {Context} context
 * @param {Tone} tone
 * @param {Box[]} boxes
 * @param {number} at pixel
 * @param {number} threshold
 */
function drawLine(context, tone, boxes, at, threshold) {
  const { left, right, top } = boxes[0];
  const bottom = Math.max(...boxes.map((box) => box.bottom));
  upright(context, at, { top, bottom }, { strokeStyle: tone.threshold, lineWidth: 2 });
  context.fillStyle = tone.threshold;
  context.beginPath(); // a handle to take hold of
  context.roundRect(at - 5, top - 3, 10, 16, 3);
  context.fill();
  const text = number(threshold);
  const side = at > (left + right) / 2 ? -1 : 1;
  const width = context.measureText(text).width + 8;
  const from = side > 0 ? at + 8 : at - 8 - width;
  const behind = { left: from, right: from + width, top: top + 1, bottom: top + 16 };
  fillBox(context, behind, { fillStyle: tone.page, globalAlpha: 0.85 });
  const across = side > 0 ? "left" : "right";
  print(context, tone.ink, across, "top", text, at + 12 * side, top + 3);
}
