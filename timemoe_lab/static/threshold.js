// One draggable threshold over a million scored samples: counts by binary search, pictures from cached layers.

import {
  ask,
  axes,
  colours,
  count,
  drag,
  emptyState,
  envelope,
  focusable,
  frame,
  h,
  hatching,
  isAlive,
  keys,
  linear,
  log,
  lowerBound,
  number,
  percent,
  readArray,
  seconds,
  sheet,
  stateOf,
  tableView,
  tooltip,
  watchKernel,
} from "./shared.js";

// ---------------------------------------------------------------- what is counted

const FAULTY = 1; // bits of a label
const LEFT_OUT = 2; // too near to the edge of a fault to be evaluated

// The next number of single precision above or below.
export function step32(value, up) {
  const single = new Float32Array([value]);
  const bits = new Int32Array(single.buffer);
  if (single[0] === 0) return (up ? 1 : -1) * 2 ** -149;
  bits[0] += up === single[0] > 0 ? 1 : -1;
  return single[0];
}

// The smallest number of single precision that is not below `value`: float32 scores reach both or neither.
export function single(value) {
  const near = Math.fround(value);
  return near < value ? step32(near, true) : near;
}

// The scores that take part, by kind and rising; `label` null: all count as healthy.
export function sortKinds(score, label) {
  const [positive, negative] = [new Float32Array(score.length), new Float32Array(score.length)];
  let [p, n, unscored, leftOut] = [0, 0, 0, 0];
  for (let i = 0; i < score.length; i++) {
    const kind = label ? label[i] : 0;
    if (kind & LEFT_OUT) leftOut++;
    else if (!Number.isFinite(score[i])) unscored++;
    else if (kind & FAULTY) positive[p++] = score[i];
    else negative[n++] = score[i];
  }
  return { positive: positive.slice(0, p).sort(), negative: negative.slice(0, n).sort(), unscored, leftOut };
}

// TP, FP, FN, TN at a threshold, from the sorted kinds.
export function confusion({ positive, negative }, threshold) {
  const [fn, tn] = [lowerBound(positive, threshold), lowerBound(negative, threshold)];
  return { tp: positive.length - fn, fp: negative.length - tn, fn, tn };
}

// The same for the samples [start, end) of the series, by counting.
export function confusionIn(score, label, threshold, start, end) {
  const found = { tp: 0, fp: 0, fn: 0, tn: 0 };
  let [tp, fp, fn, tn] = [0, 0, 0, 0];
  for (let i = start; i < end; i++) {
    const [s, kind] = [score[i], label ? label[i] : 0];
    if (kind & LEFT_OUT || !(s > -Infinity && s < Infinity)) continue;
    if (kind & FAULTY) s >= threshold ? tp++ : fn++;
    else s >= threshold ? fp++ : tn++;
  }
  return Object.assign(found, { tp, fp, fn, tn });
}

const ratio = (part, whole) => (whole ? part / whole : NaN);

// Precision, recall, FPR and F-beta; what has no meaning without both kinds is NaN, never 0.
export function ratios({ tp, fp, fn, tn }, beta) {
  const weight = beta ** 2;
  const hit = (1 + weight) * tp;
  return {
    precision: tp + fn ? ratio(tp, tp + fp) : NaN,
    recall: ratio(tp, tp + fn),
    fpr: ratio(fp, fp + tn),
    fbeta: tp + fn ? hit / (hit + weight * fn + fp) : NaN,
  };
}

// Precision where a share `prevalence` of the samples is faulty.
export function precisionAt({ recall, fpr }, prevalence) {
  return ratio(recall * prevalence, recall * prevalence + fpr * (1 - prevalence));
}

// The threshold with the largest F-beta, the highest of equals, which is a faulty sample's score; NaN without one.
export function bestFBeta({ positive, negative }, beta) {
  const weight = beta ** 2;
  let [best, at, below] = [-1, NaN, 0];
  for (let i = 0; i < positive.length; i++) {
    if (i && positive[i] === positive[i - 1]) continue;
    while (below < negative.length && negative[below] < positive[i]) below++;
    const tp = positive.length - i;
    const hit = (1 + weight) * tp;
    const f = hit / (hit + weight * i + (negative.length - below));
    if (f >= best) [best, at] = [f, positive[i]];
  }
  return at;
}

// The nearest threshold, up or down, at which the confusion is another.
export function nextChange({ positive, negative }, threshold, up) {
  const kinds = [positive, negative];
  if (!up) return Math.max(...kinds.map((k) => k[lowerBound(k, threshold) - 1] ?? -Infinity));
  const least = (from) => Math.min(...kinds.map((k) => k[lowerBound(k, from)] ?? Infinity));
  const here = least(threshold);
  if (here === Infinity) return Infinity;
  const next = least(step32(here, true));
  return next === Infinity ? step32(here, true) : next;
}

// Scores at which a stretch of false alarm begins and ends, so that episodes(t) is a difference of two ranks.
export function episodeEdges(score, label, starts) {
  const [begins, ends] = [new Float32Array(score.length), new Float32Array(score.length)];
  let [n, healthy] = [0, 0];
  for (let r = 0; r + 1 < starts.length; r++) {
    let before = -Infinity;
    for (let i = starts[r]; i < starts[r + 1]; i++) {
      const kind = label ? label[i] : 0;
      if (kind & LEFT_OUT || !Number.isFinite(score[i])) continue;
      if (kind & FAULTY) before = -Infinity;
      else {
        healthy++;
        if (score[i] > before) [begins[n], ends[n++]] = [score[i], before];
        before = score[i];
      }
    }
  }
  return { begins: begins.slice(0, n).sort(), ends: ends.slice(0, n).sort(), healthy };
}

// Stretches of healthy time that are alarmed without a break.
export const episodes = ({ begins, ends }, threshold) => lowerBound(ends, threshold) - lowerBound(begins, threshold);

// Episodes of false alarm between cuts of the series, by counting.
export function episodeCount(score, label, cuts, threshold) {
  let [n, healthy] = [0, 0];
  for (let r = 0; r + 1 < cuts.length; r++) {
    let before = false;
    for (let i = cuts[r]; i < cuts[r + 1]; i++) {
      const [s, kind] = [score[i], label ? label[i] : 0];
      if (kind & LEFT_OUT || !(s > -Infinity && s < Infinity)) continue;
      const alarm = !(kind & FAULTY) && s >= threshold;
      if (!(kind & FAULTY)) healthy++;
      if (alarm && !before) n++;
      before = alarm;
    }
  }
  return { n, healthy };
}

// Each fault as the rising scores it reaches and the samples since its beginning at which it does.
export function faultRecords(score, label, starts) {
  const faults = [];
  for (let r = 0; r + 1 < starts.length; r++) {
    let fault = null;
    for (let i = starts[r]; i < starts[r + 1]; i++) {
      if (!(label[i] & FAULTY)) fault = null;
      else {
        if (!fault) faults.push((fault = { start: i, end: i, reached: [], after: [] }));
        fault.end = i + 1;
        if (score[i] > (fault.reached.at(-1) ?? -Infinity))
          (fault.reached.push(score[i]), fault.after.push(i - fault.start));
      }
    }
  }
  return faults;
}

// How many faults are found, and the median delay of those in samples.
export function delays(faults, threshold) {
  const after = faults
    .map((f) => f.after[lowerBound(f.reached, threshold)])
    .filter((d) => d !== undefined)
    .sort((a, b) => a - b);
  const middle = after.length / 2;
  const median = after.length ? (after[Math.ceil(middle) - 1] + after[Math.floor(middle)]) / 2 : NaN;
  return { found: after.length, median };
}

// ---------------------------------------------------------------- the panel

const HELP = [
  ["← →", "move the threshold one step"],
  ["Shift + ← →", "ten steps"],
  ["PgUp, PgDn", "5 % of the axis"],
  ["[ ]", "the next score that changes the matrix"],
  ["M", "the best F-beta"],
  ["E", "export operating_point.json"],
  ["drag", "the line; or, on the timeline, a window"],
  ["on the timeline", "← → move the window, Shift + ← → its end, Esc clears it, Enter pins the note"],
  ["?", "this help"],
];
const STEPS = 500; // of the axis from end to end

function render({ model, el }) {
  const state = stateOf(model);
  const facts = state.facts();
  const panel = frame(model, el, { title: "Threshold", help: HELP });
  panel.onClose(state.close);
  panel.root.classList.add("tm-threshold");
  panel.heading.replaceChildren(...topLine(facts));
  const score = readArray(model, "score");
  if (facts.empty || !score) panel.body.append(emptyState(facts.empty?.text ?? "No scores.", facts.empty?.command));
  else draw(model, state, panel, score);
  panel.root.dataset.ready = "true";
  return () => panel.close();
}

function topLine(facts) {
  const test = facts.split === "test";
  const told = [facts.run, facts.data, facts.about]
    .filter(Boolean)
    .map((text) => h("span", { class: "tm-soft" }, ` · ${text}`));
  const split = h(
    "span",
    { class: test ? "tm-amber" : "tm-soft", "data-split": facts.split },
    test ? "scores of the TEST split" : `scores of: ${facts.split}`,
  );
  return ["Threshold", ...told, h("span", { class: "tm-soft" }, " · "), split];
}

// Everything that the numbers follow from; what can be is prepared once.
function prepare(model, facts, score) {
  const label = readArray(model, "label");
  const starts = readArray(model, "starts");
  const kinds = sortKinds(score, label);
  const all = [kinds.positive, kinds.negative].filter((k) => k.length);
  const [low, high] = [Math.min(...all.map((k) => k[0])), Math.max(...all.map((k) => k.at(-1)))];
  return {
    score,
    label,
    starts,
    ...kinds,
    low,
    high,
    n: kinds.positive.length + kinds.negative.length,
    prevalence: ratio(kinds.positive.length, kinds.positive.length + kinds.negative.length),
    edges: episodeEdges(score, label, starts),
    faults: label ? faultRecords(score, label, starts) : [],
    top: readArray(model, "top"),
    fs: facts.fs,
    marks: (facts.points ?? []).map((point) => point.threshold).filter((value) => value >= low && value <= high),
    logarithmic: low > 0 && high >= 3 * low,
  };
}

function draw(model, state, panel, score) {
  const facts = state.facts();
  const data = prepare(model, facts, score);
  if (!data.n) return panel.body.append(emptyState("No sample has a score.", facts.command));
  panel.body.append(...notes(facts, data));
  const now = () => {
    const [threshold, beta] = [single(state.get("threshold") ?? data.high), state.get("beta")];
    return { threshold, beta, base: state.get("base_rate") ?? data.prevalence, span: spanOf(state, facts, data) };
  };
  const hands = { to: (value) => Number.isFinite(value) && state.set({ threshold: single(value) }) };
  hands.best = () => data.label && hands.to(bestFBeta(data, state.get("beta")));
  const curves = curvesView(panel, data, now, hands);
  const side = numbersView(panel, data);
  const strip = timelineView(panel, state, facts, data, now);
  const controls = controlsView(model, state, panel, facts, data, now, hands);
  panel.body.append(
    h("div", { class: "tm-split" }, curves.node, h("div", { class: "tm-side" }, side.node, controls.node)),
    controls.points,
    strip.node,
    controls.view,
  );
  const follow = () => {
    const at = now();
    side.show(at);
    controls.show(at);
    curves.show(at);
    curves.redraw();
    strip.redraw();
  };
  state.on("threshold", follow);
  state.on(["window", "recording"], follow);
  state.on(["beta", "base_rate"], () => (curves.stale(), follow()));
  panel.onTheme(() => (curves.stale(), strip.stale(), follow()));
  panel.onClose(() => (curves.close(), strip.close()));
  follow();
}

function notes(facts, data) {
  const told = [...(facts.warnings ?? [])];
  if (data.low === data.high) told.push("The score is constant: no threshold tells anything apart.");
  if (data.label && !data.positive.length)
    told.push("Only healthy samples: precision, recall and F-beta are undefined.");
  if (data.label && !data.negative.length) told.push("Only faulty samples: there is no false alarm to count.");
  const quiet = [];
  if (!data.label)
    quiet.push("No labels: precision and recall can't be had; what is left is the quantile and the alarms per day.");
  if (data.unscored) quiet.push(`${count(data.unscored)} samples have no score (NaN) and take no part.`);
  if (data.leftOut) quiet.push(`${count(data.leftOut)} samples near the edge of a fault are left out.`);
  return [
    ...told.map((text) => h("p", { class: "tm-warning", role: "note" }, text)),
    quiet.length ? h("p", { class: "tm-soft tm-note" }, quiet.join(" ")) : "",
  ];
}

// The brushed samples [start, end) of the whole series; null when none are.
function spanOf(state, facts, data) {
  const [window, name] = [state.get("window"), state.get("recording")];
  const i = name ? facts.recordings.findIndex((r) => r === name) : -1;
  const [first, last] = i < 0 ? [0, data.score.length] : [data.starts[i], data.starts[i + 1]];
  if (!window?.length || (name && i < 0)) return null; // a window of another panel's recording
  const at = window.map((t) => Math.min(last, Math.max(first, first + Math.round(t * data.fs))));
  return at[1] > at[0] ? at : null;
}

// ---------------------------------------------------------------- histogram and curves

function curvesView(panel, data, now, hands) {
  const node = h("div", { class: "tm-curves" });
  const layer = document.createElement("canvas");
  let [drawn, x, boxes] = ["", null, null];
  const view = sheet(node, {
    height: data.label ? 390 : 230,
    label: "Histogram and curves; the threshold",
    focus: true,
    draw: paint,
  });
  const { canvas } = view;
  canvas.setAttribute("role", "slider");
  canvas.setAttribute("aria-valuemin", number(data.low));
  canvas.setAttribute("aria-valuemax", number(data.high));

  function lay(width, height) {
    const pad = data.logarithmic
      ? (data.high / data.low) ** 0.02
      : (data.high - data.low) * 0.02 || Math.abs(data.high) * 0.5 || 1;
    const ends = data.logarithmic ? [data.low / pad, data.high * pad] : [data.low - pad, data.high + pad];
    const [left, right] = [46, width - 10];
    x = (data.logarithmic ? log : linear)(ends, [left, right]);
    const middle = data.label ? Math.round(height * 0.5) : height - 34;
    boxes = [
      { left, right, top: 18, bottom: middle - (data.label ? 8 : 0) },
      { left, right, top: middle + 20, bottom: height - 34 },
    ];
  }

  function paint(context, width, height) {
    const at = now();
    const key = [width, height, at.beta, at.base].join();
    if (key !== drawn) {
      lay(width, height);
      [layer.width, layer.height] = [view.canvas.width, view.canvas.height];
      const below = layer.getContext("2d");
      below.setTransform(context.getTransform());
      below.font = context.font;
      const tone = colours(panel.root);
      drawHistogram(below, tone, boxes[0], x, data);
      if (data.label) drawCurves(below, tone, boxes[1], x, data, at);
      drawn = key;
    }
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(layer, 0, 0);
    context.restore();
    drawLine(context, colours(panel.root), boxes, place(at.threshold), at.threshold);
  }

  const inside = (pixel) => Math.min(boxes[0].right, Math.max(boxes[0].left, pixel));
  const place = (threshold) => inside(x(threshold)); // another panel may have set one that lies outside
  const step = (n) => () => hands.to(x.invert(inside(place(now().threshold) + (n * (x(x.high) - x(x.low))) / STEPS)));
  const change = (up) => () => hands.to(nextChange(data, now().threshold, up));
  const table = { m: hands.best, e: () => hands.export(), "]": change(true), "[": change(false) };
  for (const [key, n] of [
    ["ArrowRight", 1],
    ["ArrowUp", 1],
    ["ArrowLeft", -1],
    ["ArrowDown", -1],
  ])
    Object.assign(table, { [key]: step(n), [`Shift+${key}`]: step(10 * n) });
  Object.assign(table, {
    PageUp: step(STEPS / 20),
    PageDown: step(-STEPS / 20),
    Home: () => hands.to(data.low),
    End: () => hands.to(data.high),
  });
  keys(canvas, table);
  const follow = (pixel) => hands.to(x.invert(inside(pixel)));
  drag(canvas, { start: follow, move: follow });
  return {
    node,
    redraw: view.redraw,
    stale: () => (drawn = ""),
    close: view.close,
    show({ threshold }) {
      canvas.setAttribute("aria-valuenow", threshold);
      canvas.setAttribute("aria-valuetext", `threshold ${number(threshold)}`);
    },
  };
}

function drawHistogram(context, tone, box, x, data) {
  const n = Math.max(10, Math.floor((box.right - box.left) / 5));
  const edges = Float32Array.from({ length: n + 1 }, (_, i) => x.invert(box.left + (i * (box.right - box.left)) / n));
  const bins = (rising) =>
    Array.from({ length: n }, (_, i) => lowerBound(rising, edges[i + 1]) - lowerBound(rising, edges[i]));
  const groups = [
    [bins(data.negative), tone.normal, data.label ? "healthy" : "all samples"],
    [bins(data.positive), tone.anomaly, "faulty"],
  ];
  const top = Math.max(2, ...groups.flatMap(([bin]) => bin));
  const y = log([0.5, 2 * top], [box.bottom, box.top]);
  axes(context, tone, box, {
    x,
    y,
    yLabel: "samples (log)",
    xLabel: data.label ? "" : "score",
    yTicks: y.ticks(5).filter((v) => v >= 1),
  });
  let right = box.right - 8;
  for (const [bin, colour, name] of groups) {
    if (!bin.some(Boolean)) continue;
    context.fillStyle = context.strokeStyle = colour;
    context.globalAlpha = 0.45;
    bin.forEach(
      (value, i) =>
        value && context.fillRect(x(edges[i]), y(value), x(edges[i + 1]) - x(edges[i]), box.bottom - y(value)),
    );
    context.globalAlpha = 1;
    context.lineWidth = 1.2;
    context.beginPath();
    bin.forEach(
      (value, i) => (context.lineTo(x(edges[i]), y(value || 0.5)), context.lineTo(x(edges[i + 1]), y(value || 0.5))),
    );
    context.stroke();
    right = legend(context, tone, right, 3, name, colour, []);
  }
}

// A name with its line at the upper right; returns where the next one to the left ends.
function legend(context, tone, right, top, name, colour, dash) {
  context.save();
  context.textAlign = "right";
  context.textBaseline = "top";
  context.fillStyle = tone.ink;
  context.fillText(name, right, top);
  const left = right - context.measureText(name).width;
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(left - 22, top + 6);
  context.lineTo(left - 5, top + 6);
  context.stroke();
  context.restore();
  return left - 34;
}

function drawCurves(context, tone, box, x, data, { beta, base }) {
  const y = linear([0, 1], [box.bottom, box.top]);
  axes(context, tone, box, { x, y, xLabel: "score, threshold", yLabel: "share" });
  const pixels = Array.from({ length: box.right - box.left + 1 }, (_, i) => box.left + i);
  const at = pixels.map((pixel) => ratios(confusion(data, x.invert(pixel)), beta));
  data.marks.forEach((mark) => drawMark(context, tone, x(mark), box.bottom));
  const lines = [
    ["fbeta", `F${number(beta)}`, tone.fbeta, [], 2],
    ["recall", "recall", tone.recall, [8, 3, 2, 3], 1.5],
    ["precision", "precision", tone.precision, [6, 3], 1.5],
  ];
  if (Math.abs(base - data.prevalence) > 1e-9) {
    at.forEach((one) => (one.plant = precisionAt(one, base)));
    lines.push(["plant", `precision at ${percent(base)}`, tone.precision, [2, 2], 1.5]);
  }
  let right = box.right - 8;
  for (const [key, name, colour, dash, width] of lines) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    let pen = false;
    at.forEach((one, i) => {
      if (Number.isNaN(one[key])) return (pen = false);
      context[pen ? "lineTo" : "moveTo"](pixels[i], y(one[key]));
      pen = true;
    });
    context.stroke();
    context.setLineDash([]);
    right = legend(context, tone, right, box.top - 15, name, colour, dash);
  }
}

// A small triangle on the axis: an operating point to jump to.
function drawMark(context, tone, at, bottom) {
  context.fillStyle = tone.ink;
  context.beginPath();
  context.moveTo(at, bottom - 8);
  context.lineTo(at + 4, bottom - 1);
  context.lineTo(at - 4, bottom - 1);
  context.fill();
}

function drawLine(context, tone, boxes, at, threshold) {
  const bottom = boxes.at(-1).bottom > boxes[0].bottom ? boxes.at(-1).bottom : boxes[0].bottom;
  context.strokeStyle = context.fillStyle = tone.threshold;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(at, boxes[0].top);
  context.lineTo(at, bottom);
  context.stroke();
  context.beginPath(); // a handle to take hold of
  context.roundRect(at - 5, boxes[0].top - 3, 10, 16, 3);
  context.fill();
  const text = number(threshold);
  const side = at > (boxes[0].left + boxes[0].right) / 2 ? -1 : 1;
  const width = context.measureText(text).width + 8;
  context.fillStyle = tone.page;
  context.globalAlpha = 0.85;
  context.fillRect(side > 0 ? at + 8 : at - 8 - width, boxes[0].top + 1, width, 15);
  context.globalAlpha = 1;
  context.fillStyle = tone.ink;
  context.textAlign = side > 0 ? "left" : "right";
  context.textBaseline = "top";
  context.fillText(text, at + 12 * side, boxes[0].top + 3);
}

// ---------------------------------------------------------------- numbers

// What follows from counts, for all samples or for those of a window.
function measured(data, { beta, base }, counts, { n, healthy }, faults, threshold) {
  const at = ratios(counts, beta);
  const { found, median } = delays(faults, threshold);
  return {
    ...counts,
    ...at,
    plant: precisionAt(at, base),
    alarmsPerDay: ratio(n, healthy / data.fs / 86400),
    delay: median / data.fs,
    found,
    nFaults: faults.length,
    quantile: ratio(counts.tn, counts.tn + counts.fp),
  };
}

function measuredAll(data, at) {
  const counts = confusion(data, at.threshold);
  const out = { n: episodes(data.edges, at.threshold), healthy: data.edges.healthy };
  return measured(data, at, counts, out, data.faults, at.threshold);
}

function measuredIn(data, at, [start, end]) {
  const counts = confusionIn(data.score, data.label, at.threshold, start, end);
  const cuts = [start, ...data.starts.filter((s) => s > start && s < end), end];
  const out = episodeCount(data.score, data.label, cuts, at.threshold);
  const begun = data.faults.filter((fault) => fault.start >= start && fault.start < end);
  return measured(data, at, counts, out, begun, at.threshold);
}

const ROWS = ["precision", "recall", "fbeta", "plant", "alarmsPerDay", "delay"];
const ROWS_BARE = ["quantile", "alarmsPerDay"]; // without labels

function numbersView(panel, data) {
  const places = [matrixView("all", data.label), matrixView("in window", data.label)];
  const rows = data.label ? ROWS : ROWS_BARE;
  const cells = Object.fromEntries(rows.map((key) => [key, [h("th", { scope: "row" }), h("td"), h("td")]]));
  const head = ["", "all", "in window"].map((name) => h("th", { scope: "col" }, name));
  const body = rows.map((key) => h("tr", {}, cells[key]));
  const caption = h("caption", { class: "tm-hidden" }, "Numbers at the threshold");
  const list = h("table", { class: "tm-list" }, caption, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
  const node = h("div", { class: "tm-numbers" }, places[0].node, places[1].node, list);

  function show(at) {
    const all = measuredAll(data, at);
    const inside = at.span ? measuredIn(data, at, at.span) : null;
    [all, inside].forEach((found, i) => {
      places[i].fill(found);
      for (const [key, text] of Object.entries(inWords(found, at))) if (cells[key]) put(cells[key][i + 1], text);
    });
    for (const [key, text] of Object.entries(rowNames(at, data.label))) if (cells[key]) put(cells[key][0], text);
    const told = { ...all, threshold: at.threshold, beta: at.beta, baseRate: at.base, unscored: data.unscored };
    for (const key of ["tp", "fp", "fn", "tn", "precision", "alarmsPerDay"])
      told[`window${key[0].toUpperCase()}${key.slice(1)}`] = inside ? inside[key] : "";
    told.window = at.span ? at.span.join() : "";
    for (const [key, value] of Object.entries(told))
      panel.root.dataset[key] = Number.isNaN(value) ? "undefined" : String(value);
  }
  return { node, show };
}

// Text is only touched where it changes: that spares the browser a layout.
const put = (node, text) => node.textContent !== text && (node.textContent = text);

const rowNames = ({ beta, base }, labelled) => ({
  precision: "Precision",
  recall: "Recall",
  fbeta: `F-beta, β ${number(beta, 3)}`,
  plant: `Precision at ${percent(Number(base.toPrecision(3)))} faulty`,
  alarmsPerDay: labelled ? "False alarms per day" : "Alarms per day",
  delay: "Detection delay, median",
  quantile: "Quantile of the threshold",
});

const inWords = (found) =>
  found
    ? {
        ...Object.fromEntries(["precision", "recall", "fbeta", "plant"].map((key) => [key, number(found[key])])),
        alarmsPerDay: number(found.alarmsPerDay, 3),
        delay: found.nFaults ? `${seconds(found.delay)} (${found.found} of ${found.nFaults})` : "–",
        quantile: number(found.quantile, 6),
      }
    : Object.fromEntries([...ROWS, ...ROWS_BARE].map((key) => [key, ""]));

function matrixView(name, labelled) {
  const cells = Object.fromEntries(["tp", "fn", "fp", "tn"].map((key) => [key, h("td")]));
  const heads = ["", "alarm", "no alarm"].map((text) => h("th", { scope: "col" }, text));
  const row = (text, ...keys) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, text),
      keys.map((key) => cells[key]),
    );
  const rows = [row(labelled ? "healthy" : "samples", "fp", "tn")];
  if (labelled) rows.unshift(row("faulty", "tp", "fn"));
  const caption = h("caption", {}, name === "all" ? "All samples" : "In window: drag over the timeline");
  const node = h("table", { class: "tm-matrix" }, caption, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));

  function fill(found) {
    if (name !== "all") put(caption, found ? "In window" : "In window: drag over the timeline");
    for (const [key, other] of Object.entries({ tp: "fn", fn: "tp", fp: "tn", tn: "fp" })) {
      const kind = labelled ? `${key.toUpperCase()} ` : "";
      const share = found && percent(ratio(found[key], found[key] + found[other]));
      put(cells[key], found ? `${kind}${count(found[key])} (${share})` : kind);
    }
  }
  return { node, fill };
}

// ---------------------------------------------------------------- controls

const BASE = [-5, Math.log10(0.5)]; // of the base-rate slider, in powers of ten

function slider(name, low, high, step, move) {
  const input = h("input", {
    type: "range",
    min: low,
    max: high,
    step,
    "aria-label": name,
    oninput: () => move(Number(input.value)),
  });
  const shown = h("output", {});
  return { input, shown, node: h("label", { class: "tm-slider" }, h("span", {}, name), input, shown) };
}

function controlsView(model, state, panel, facts, data, now, hands) {
  const beta = slider("β", -3, 3, 0.01, (v) => state.set({ beta: Number((2 ** v).toPrecision(3)) }));
  const base = slider("base rate", BASE[0], BASE[1], 0.01, (v) =>
    state.set({ base_rate: Number((10 ** v).toPrecision(3)) }),
  );
  const asHere = h(
    "button",
    {
      type: "button",
      title: "The share of faulty samples in these scores",
      onclick: () => state.set({ base_rate: null }),
    },
    "as scored",
  );
  const message = h("span", { class: "tm-message", role: "status" });
  const exported = h("button", { type: "button", onclick: () => hands.export() }, "Export (E)");
  const node = h(
    "div",
    { class: "tm-controls" },
    data.label && beta.node,
    data.label && h("div", { class: "tm-row" }, base.node, asHere),
    h("div", { class: "tm-row" }, exported, message),
  );
  const points = pointsView(facts, data, hands, now);
  const names = ["threshold", "TP", "FP", "FN", "TN", "precision", "recall", `F-beta`];
  const view = data.label ? tableView("curves", names, () => tableRows(data, now().beta)) : "";

  hands.export = async () => {
    if (exported.disabled) return;
    const at = now();
    exported.disabled = true;
    message.textContent = "asked the kernel …";
    try {
      const done = await ask(model, {
        kind: "export",
        threshold: at.threshold,
        beta: at.beta,
        base_rate: state.get("base_rate"),
      });
      message.textContent = `threshold ${number(done.threshold)} written to ${done.path}`;
      panel.root.dataset.exported = done.path;
    } catch (error) {
      message.textContent = error.message;
    }
    exported.disabled = !can();
  };
  const can = () => facts.can_export && isAlive(model);
  panel.onClose(
    watchKernel(model, () => {
      exported.disabled = !can();
      exported.title = facts.can_export
        ? can()
          ? `Writes ${facts.path}`
          : "Export needs a kernel"
        : (facts.why_not ?? "");
    }),
  );

  function show(at) {
    beta.input.value = Math.log2(at.beta);
    beta.input.setAttribute("aria-valuetext", `beta ${number(at.beta, 3)}`);
    beta.shown.textContent = number(at.beta, 3);
    base.input.value = Math.log10(Math.max(1e-5, Math.min(0.5, at.base)));
    base.input.setAttribute("aria-valuetext", `${percent(at.base)} of the samples faulty`);
    base.shown.textContent = percent(at.base);
    asHere.setAttribute("aria-pressed", String(state.get("base_rate") == null));
    points.show(at);
  }
  return { node, points: points.node, view, show };
}

function pointsView(facts, data, hands, now) {
  const best = data.label && data.positive.length ? h("button", { type: "button", onclick: hands.best }, "") : null;
  const known = (facts.points ?? []).filter((p) => Number.isFinite(p.threshold));
  const buttons = known.map((p) =>
    h(
      "button",
      { type: "button", "data-point": p.name, title: `chosen on ${p.split}`, onclick: () => hands.to(p.threshold) },
      `${p.name} ${number(p.threshold)}`,
    ),
  );
  const node = h(
    "div",
    { class: "tm-row tm-points", role: "group", "aria-label": "Operating points" },
    h("span", { class: "tm-soft" }, "Jump to"),
    ...buttons,
    best,
    facts.split === "test" && data.label
      ? h("span", { class: "tm-soft" }, "An oracle is chosen on the test recordings themselves: a bound, not a result.")
      : null,
  );
  return {
    node,
    show({ threshold, beta }) {
      known.forEach((p, i) => buttons[i].setAttribute("aria-pressed", String(single(p.threshold) === threshold)));
      if (best) best.textContent = `${facts.split === "test" ? "oracle" : "best"} F${number(beta, 3)} (M)`;
    },
  };
}

// Thresholds at even steps of rank, as a table shows them.
function tableRows(data, beta) {
  const all = Float32Array.from([
    ...data.positive.filter((_, i, a) => i % Math.ceil(a.length / 20) === 0),
    ...data.negative.filter((_, i, a) => i % Math.ceil(a.length / 20) === 0),
  ]).sort();
  return [...new Set(all)].map((threshold) => {
    const counts = confusion(data, threshold);
    const at = ratios(counts, beta);
    return [
      number(threshold),
      ...["tp", "fp", "fn", "tn"].map((k) => count(counts[k])),
      ...["precision", "recall", "fbeta"].map((k) => number(at[k])),
    ];
  });
}

// ---------------------------------------------------------------- timeline

const STRIP = 150; // pixels

function timelineView(panel, state, facts, data, now) {
  const node = h("div", { class: "tm-timeline" });
  const [calm, loud] = [document.createElement("canvas"), document.createElement("canvas")];
  const tip = tooltip(panel.root);
  let [drawn, box, x, y, cursor] = ["", null, null, null, null];
  const n = data.score.length;
  const view = sheet(node, {
    height: STRIP,
    label: "Score over time; drag to brush a window",
    focus: true,
    draw: paint,
  });

  function paint(context, width, height) {
    const at = now();
    if (drawn !== `${width}`) {
      const { width: w, height: tall } = view.canvas;
      box = { left: 46, right: width - 10, top: 16, bottom: height - 32 };
      x = linear([0, n], [box.left, box.right]);
      const pad = (data.high - data.low) * 0.05 || 1;
      y = data.logarithmic
        ? log([data.low / 1.1, data.high * 1.1], [box.bottom, box.top])
        : linear([data.low - pad, data.high + pad], [box.bottom, box.top]);
      const tone = colours(panel.root);
      const range = envelope(data.score, Math.max(1, Math.floor(box.right - box.left)));
      for (const [layer, colour] of [
        [calm, tone.normal],
        [loud, tone.anomaly],
      ]) {
        [layer.width, layer.height] = [w, tall];
        const below = layer.getContext("2d");
        below.setTransform(context.getTransform());
        below.font = context.font;
        drawStrip(below, tone, box, x, y, range, data, facts, colour);
      }
      drawn = `${width}`;
    }
    const ratio = view.canvas.width / width;
    const cut = Math.round(Math.min(height, Math.max(0, y(at.threshold))) * ratio);
    const { width: w, height: tall } = view.canvas;
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (cut > 0) context.drawImage(loud, 0, 0, w, cut, 0, 0, w, cut);
    if (cut < tall) context.drawImage(calm, 0, cut, w, tall - cut, 0, cut, w, tall - cut);
    context.restore();
    drawOver(context, colours(panel.root), box, x, y, at, cursor);
  }

  const sample = (pixel) => Math.max(0, Math.min(n - 1, Math.floor(x.invert(pixel))));
  const recordingOf = (i) => lowerBound(data.starts, i + 1) - 1;

  function brush(a, b) {
    const [start, end] = [Math.max(0, Math.min(a, b)), Math.min(n, Math.max(a, b))];
    if (end - start < 1) return state.set({ window: [] });
    const [first, last] = [recordingOf(start), recordingOf(end - 1)];
    const from = first === last ? data.starts[first] : 0;
    state.set({
      recording: first === last ? facts.recordings[first] : "",
      window: [(start - from) / data.fs, (end - from) / data.fs],
    });
  }

  function tell(i, event) {
    const r = recordingOf(i);
    const { threshold } = now();
    const lines = [
      `${facts.recordings[r]}, ${seconds((i - data.starts[r]) / data.fs)}`,
      `score ${number(data.score[i])}`,
    ];
    lines.push(
      Number.isNaN(data.score[i])
        ? "no score"
        : `margin ${number(data.score[i] - threshold)}: ${data.score[i] >= threshold ? "alarm" : "no alarm"}`,
    );
    if (data.label)
      lines.push(
        (data.label[i] & FAULTY ? "label: fault" : "label: healthy") +
          (data.label[i] & LEFT_OUT ? ", left out (near an edge)" : ""),
      );
    if (data.top)
      lines.push(
        `most of it: ${[0, 1]
          .map((k) => facts.channels[data.top[k * n + i]])
          .filter(Boolean)
          .join(", ")}`,
      );
    tip.show(event, lines);
    cursor = i;
    view.redraw();
  }
  const pin = (value) => {
    tip.pin(value);
    if (!tip.pinned) cursor = null;
    view.redraw();
  };

  let [from, moved] = [0, false];
  drag(view.canvas, {
    start: (pixel) => ((from = pixel), (moved = false), true),
    move(pixel) {
      if (!moved && Math.abs(pixel - from) < 4) return;
      moved = true;
      pin(false);
      brush(sample(from), sample(pixel) + 1);
    },
    end(pixel, _, event) {
      if (moved) return;
      if (tip.pinned) return pin(false);
      tell(sample(pixel), event);
      pin(true);
    },
  });
  view.canvas.addEventListener(
    "pointermove",
    (event) => event.buttons || tip.pinned || tell(sample(event.offsetX), event),
  );
  view.canvas.addEventListener("pointerleave", () => tip.pinned || ((cursor = null), tip.hide(), view.redraw()));
  const shift = (n0, n1) => () => {
    const span = now().span ?? [Math.floor(n * 0.45), Math.floor(n * 0.55)];
    const by = Math.max(1, Math.round(n / 200));
    brush(span[0] + n0 * by, span[1] + n1 * by);
  };
  keys(view.canvas, {
    ArrowLeft: shift(-1, -1),
    ArrowRight: shift(1, 1),
    "Shift+ArrowLeft": shift(0, -1),
    "Shift+ArrowRight": shift(0, 1),
    Escape: () => (pin(false), state.set({ window: [] })),
    Enter() {
      const span = now().span ?? [0, n];
      const place = view.canvas.getBoundingClientRect();
      if (tip.pinned) return pin(false);
      const i = Math.floor((span[0] + span[1]) / 2);
      tell(i, { clientX: place.left + x(i), clientY: place.top + 20 });
      pin(true);
    },
  });
  return { node, redraw: view.redraw, stale: () => (drawn = ""), close: view.close };
}

function drawStrip(context, tone, box, x, y, range, data, facts, colour) {
  const n = range.length / 2;
  const step = (box.right - box.left) / n;
  const hours = data.score.length / data.fs > 7200;
  const time = linear([0, data.score.length / data.fs / (hours ? 3600 : 1)], [box.left, box.right]);
  axes(context, tone, box, {
    x: time,
    y,
    yLabel: "score",
    xLabel: hours ? "time in h, recordings end to end" : "time in s, recordings end to end",
    yTicks: y.ticks(4),
  });
  for (let i = 0; i < n; i++) {
    if (Number.isNaN(range[i])) {
      context.fillStyle = tone.grid;
      context.fillRect(box.left + i * step, box.top, step, box.bottom - box.top);
      continue;
    }
    const [top, bottom] = [y(range[n + i]), y(range[i])];
    context.fillStyle = colour;
    context.fillRect(box.left + i * step, top - 0.5, Math.max(1, step), Math.max(1.2, bottom - top));
  }
  const pattern = hatching(context, tone.ink);
  for (const fault of data.faults) {
    context.fillStyle = pattern;
    context.globalAlpha = 0.45;
    context.fillRect(x(fault.start), box.top, Math.max(1, x(fault.end) - x(fault.start)), box.bottom - box.top);
    context.globalAlpha = 1;
  }
  context.strokeStyle = tone.line;
  context.fillStyle = tone.soft;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  facts.recordings.forEach((name, r) => {
    const [left, right] = [x(data.starts[r]), x(data.starts[r + 1])];
    if (r) context.strokeRect(left, box.top, 0, box.bottom - box.top);
    if (context.measureText(name).width < right - left - 6 && (r || right - left > 120))
      context.fillText(name, left + (r ? 4 : 44), box.top - 3);
  });
}

function drawOver(context, tone, box, x, y, { threshold, span }, cursor) {
  context.strokeStyle = tone.threshold;
  context.lineWidth = 1.5;
  context.setLineDash([5, 3]);
  const at = y(threshold);
  if (at >= box.top && at <= box.bottom) context.strokeRect(box.left, at, box.right - box.left, 0);
  context.setLineDash([]);
  if (span) {
    context.fillStyle = tone.page;
    context.globalAlpha = 0.6;
    context.fillRect(box.left, box.top, x(span[0]) - box.left, box.bottom - box.top);
    context.fillRect(x(span[1]), box.top, box.right - x(span[1]), box.bottom - box.top);
    context.globalAlpha = 1;
    context.strokeStyle = tone.link;
    context.lineWidth = 2;
    context.strokeRect(x(span[0]), box.top, Math.max(1, x(span[1]) - x(span[0])), box.bottom - box.top);
  }
  if (cursor != null) {
    context.strokeStyle = tone.soft;
    context.lineWidth = 1;
    context.strokeRect(x(cursor), box.top, 0, box.bottom - box.top);
  }
}

export default { render };
