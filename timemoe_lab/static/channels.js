// The panel of channels: each with its score, ranked by what it adds to the score of the window under the brush, and
// beside them spectrum, Park's vector and negative sequence over what healthy recordings show (11_panel_channels).

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
  number,
  percent,
  readArray,
  seconds,
  sheet,
  stateOf,
  tableView,
  tooltip,
} from "./shared.js";

// ---------------------------------------------------------------- numbers

// The places [start, end) of the values that begin inside a window in s; all n of them without a window.
export function placesIn(window, step, n) {
  if (!window?.length) return [0, n];
  const [start, end] = window.map((s) => Math.min(n, Math.max(0, Math.ceil(s / step - 1e-9))));
  return [start, Math.max(start, end)];
}

// The mean of what is finite in values[start, end); NaN where nothing is.
export function meanOf(values, start, end) {
  let total = 0;
  let n = 0;
  for (let i = start; i < end; i++)
    if (Number.isFinite(values[i])) {
      total += values[i];
      n++;
    }
  return n ? total / n : NaN;
}

// What each channel adds to the score of places [start, end): as `contribution` in Python.
export function contributions({ score, l1, l2 }, weights, [start, end]) {
  const each = (rows) => rows.map((row) => meanOf(row, start, end));
  const mean = each(score);
  const [forecast, latent] = [each(l1).map((v) => weights[0] * v), each(l2).map((v) => weights[1] * v)];
  const total = mean.reduce((sum, v) => sum + (Number.isFinite(v) ? v : 0), 0);
  const height = (i) => (Number.isFinite(mean[i]) ? mean[i] : -Infinity);
  return {
    mean,
    share: mean.map((v) => v / total),
    l1: forecast.map((v, i) => v / (v + latent[i])),
    order: mean.map((_, i) => i).sort((a, b) => height(b) - height(a) || a - b),
  };
}

// The marks of a spectrum that stand above every healthy recording's: places in `value`.
export function aboveUsual(value, high) {
  return value.map((v, i) => (v != null && high?.[i] != null && v > high[i] ? i : -1)).filter((i) => i >= 0);
}

// The rows of a flat array with a shape [rows, n].
export function rowsOf(values) {
  if (!values) return null;
  const n = values.shape.at(-1);
  return Array.from({ length: values.length / n }, (_, i) => values.subarray(i * n, (i + 1) * n));
}

// A window from two times in either order inside [0, length]; [] when it is too short to mean anything.
export function windowOf(a, b, length) {
  const [start, end] = [Math.min(a, b), Math.max(a, b)].map((s) => Math.min(length, Math.max(0, s)));
  return end - start < length / 2000 ? [] : [Number(start.toFixed(6)), Number(end.toFixed(6))];
}

// ---------------------------------------------------------------- the panel

const HELP = [
  ["← →", "move the crosshair; with Shift ten times as far"],
  ["[ ]", "begin, end the window at the crosshair (or drag)"],
  ["Esc", "no window; lets go of what is pinned"],
  ["Z", "zoom into the window, and out"],
  ["Enter", "pin what stands at the crosshair (or click)"],
  ["↑ ↓", "the channel above, below"],
  ["N P", "next, previous recording"],
];
const LEFT = 58;
const NARROW = 38;
const RIGHT = 12;

// A sentence with `commands` in backquotes.
function told(text) {
  const [before, command, after = ""] = text.split("`");
  return emptyState(before, command ? command + after : null);
}

function render({ model, el }) {
  const state = stateOf(model);
  const panel = frame(model, el, { title: "Channels", help: HELP });
  const { root, body } = panel;
  root.dataset.panel = "channels";
  const tip = tooltip(root);
  let closing = [];
  let view = null;

  function build() {
    closing.splice(0).forEach((close) => close());
    body.replaceChildren();
    view = null;
    const facts = state.facts();
    panel.heading.textContent = facts.names?.length ? `Channels of ${facts.title}` : "Channels";
    root.dataset.state = facts.names?.length ? (facts.absent ? "unscored" : "ready") : "empty";
    if (facts.names?.length) view = show(model, state, panel, tip, closing);
    else body.append(told(facts.absent));
  }
  build();
  state.on("facts", build);
  state.on(["window", "channel", "threshold"], () => view?.refresh());
  panel.onTheme(() => view?.refresh());
  return () => {
    closing.splice(0).forEach((close) => close());
    state.close();
    panel.close();
  };
}

function show(model, state, panel, tip, closing) {
  const { root, body } = panel;
  const facts = state.facts();
  const { channels, units, masked, steps } = facts;
  const length = facts.seconds;
  const data = Object.fromEntries(
    ["signal", "channel_score", "l1", "l2"].map((name) => [name, rowsOf(readArray(model, name))]),
  );
  const total = readArray(model, "score");
  const isScored = total !== null;
  let tone = colours(root);
  let physics = facts.physics;
  let asked = null; // the window whose physics the kernel was last asked for
  let isShown = true;
  closing.push(() => (isShown = false));
  let cursor = null; // s
  let zoomed = false;
  let brush = null; // the window while a hand draws it
  let ranking = null;

  const windowNow = () => brush ?? (state.get("recording") === facts.name ? (state.get("window") ?? []) : []);
  const span = () => (zoomed && windowNow().length && !brush ? windowNow() : [0, length]);
  const chosen = () =>
    Math.max(
      0,
      channels.includes(state.get("channel")) ? channels.indexOf(state.get("channel")) : (ranking?.order[0] ?? 0),
    );
  const select = (i) => state.set({ channel: channels[i] });
  const labelOf = (i) => (units[i] ? `${channels[i]} in ${units[i]}` : channels[i]);
  const isFaulty = (t) => facts.faults.some(([a, b]) => t >= a && t < b);
  const valueAt = (row, t, step) => row?.[Math.min(row.length - 1, Math.floor(t / step))];
  const scoreAt = (row, t) => valueAt(row, t, steps.score);

  // ------------------------------------------------ what is above the pictures

  const choice = h(
    "select",
    { "aria-label": "Recording", onchange: (event) => state.set({ recording: event.target.value, window: [] }) },
    facts.names.map((name, i) =>
      h("option", { value: name, selected: name === facts.name }, `${name} · ${facts.kinds[i]}`),
    ),
  );
  const next = (step) => {
    const i = facts.names.indexOf(facts.name) + step;
    if (i >= 0 && i < facts.names.length && isAlive(model)) state.set({ recording: facts.names[i], window: [] });
  };
  const zoom = h(
    "button",
    { type: "button", "aria-pressed": "false", onclick: () => setZoom(!zoomed) },
    "Zoom to window",
  );
  const clear = h("button", { type: "button", onclick: () => setWindow([]) }, "Whole recording");
  const said = h("span", { class: "tm-soft" });
  body.append(h("div", { class: "tm-row" }, choice, zoom, clear, said));
  if (facts.absent) body.append(told(facts.absent));
  const notes = [];
  if (!facts.labelled) notes.push("No label: whether there is a fault isn't known, and nothing is hatched.");
  facts.missing.forEach(
    (n, i) => n && notes.push(`${channels[i]}: ${count(n)} of ${count(facts.samples)} samples are missing.`),
  );
  if (notes.length) body.append(h("div", { class: "tm-warning" }, notes.join(" ")));

  function setWindow(window) {
    brush = null;
    state.set({ recording: facts.name, window });
    panel.say(window.length ? `Window ${seconds(window[0])} to ${seconds(window[1])}` : "Whole recording");
  }
  function setZoom(value) {
    zoomed = value && windowNow().length > 0;
    refresh(false);
  }

  // ------------------------------------------------ the pictures over time

  const left = h("div", { class: "tm-channels-time" });
  const right = h("div", { class: "tm-channels-side" });
  body.append(h("div", { class: "tm-channels-grid" }, left, right));
  const sheets = [];
  const made = (canvas) => (sheets.push(canvas), closing.push(canvas.close), canvas);

  const xOf = (width) => linear(span(), [LEFT, width - RIGHT]);

  // Labels, the window and the crosshair, which all pictures over time share.
  function backdrop(context, x, top, bottom) {
    context.save();
    context.beginPath();
    context.rect(x(x.low), top, x(x.high) - x(x.low), bottom - top);
    context.clip();
    context.globalAlpha = 0.45;
    context.fillStyle = hatching(context, tone.anomaly);
    for (const [a, b] of facts.faults) context.fillRect(x(a), top, x(b) - x(a), bottom - top);
    const window = windowNow();
    if (window.length && !(zoomed && !brush)) {
      context.globalAlpha = 0.14;
      context.fillStyle = tone.link;
      context.fillRect(x(window[0]), top, x(window[1]) - x(window[0]), bottom - top);
      context.globalAlpha = 1;
      context.strokeStyle = tone.link;
      for (const at of window) line(context, x(at), top, x(at), bottom);
    }
    context.restore();
  }
  function crosshair(context, x, top, bottom) {
    if (cursor === null || cursor < x.low || cursor > x.high) return;
    context.save();
    context.strokeStyle = tone.ink;
    context.setLineDash([3, 3]);
    line(context, Math.round(x(cursor)) + 0.5, top, Math.round(x(cursor)) + 0.5, bottom);
    context.restore();
  }

  // The lowest and highest value of a row for each pixel, remembered until the view changes.
  const seen = new Map();
  function bins(key, row, step, width) {
    const [a, b] = span();
    const name = `${key} ${width} ${a} ${b}`;
    if (!seen.has(name)) {
      if (seen.size > 60) seen.clear();
      const from = Math.max(0, Math.floor(a / step));
      const to = Math.min(row.length, Math.ceil(b / step));
      const n = Math.max(1, Math.min(width, to - from));
      seen.set(name, { n, from, to, ends: envelope(row, n, from, to) });
    }
    return seen.get(name);
  }
  function band(context, key, row, step, x, y, width) {
    const { n, from, to, ends } = bins(key, row, step, width);
    const at = (i) => x(Math.min((from + ((to - from) * (i + 0.5)) / n) * step, x.high));
    context.beginPath();
    let open = false;
    for (let i = 0; i < n; i++) {
      if (Number.isNaN(ends[i])) open = false;
      else {
        open ? context.lineTo(at(i), y(ends[n + i])) : context.moveTo(at(i), y(ends[n + i]));
        if (ends[i] !== ends[n + i]) context.lineTo(at(i), y(ends[i]));
        open = true;
      }
    }
    context.stroke();
  }
  function reach(rows, floor) {
    let [low, high] = [Infinity, -Infinity];
    for (const row of rows)
      for (const v of row) {
        if (v < low) low = v;
        if (v > high) high = v;
      }
    if (!(high >= low)) return [0, 1];
    if (floor !== undefined) return [floor, high > floor ? high * 1.08 : floor + 1];
    const pad = 0.06 * (high - low) || Math.abs(high) || 1;
    return [low - pad, high + pad];
  }

  const limits = (threshold) => {
    const [low, high] = reach([total], 0);
    return [low, Math.max(high, Number.isFinite(threshold) ? threshold * 1.15 : 0)];
  };
  function drawScore(context, width, height) {
    const [x, box] = [xOf(width), { left: LEFT, right: width - RIGHT, top: 18, bottom: height - 32 }];
    const threshold = state.get("threshold") ?? NaN;
    backdrop(context, x, box.top, box.bottom);
    const y = linear(limits(threshold), [box.bottom, box.top]);
    axes(context, tone, box, { x, y, xLabel: "time in s", yLabel: "score of the recording" });
    clip(context, box, () => {
      context.strokeStyle = tone.normal;
      band(context, "score", total, steps.score, x, y, box.right - box.left);
      if (Number.isFinite(threshold)) {
        context.strokeStyle = tone.threshold;
        context.setLineDash([6, 3]);
        line(context, box.left, y(threshold), box.right, y(threshold));
      }
    });
    crosshair(context, x, box.top, box.bottom);
  }

  const top = isScored
    ? reach(
        data.channel_score.filter((_, i) => !masked[i]),
        0,
      )
    : [0, 1];
  const heights = channels.map((_, i) => reach([data.signal[i]]));
  const drawChannel = (i) => (context, width, height) => {
    const x = xOf(width);
    const strip = { left: LEFT, right: width - RIGHT, top: height - 36, bottom: height - 6 };
    const box = { left: LEFT, right: width - RIGHT, top: 18, bottom: isScored ? strip.top - 6 : height - 6 };
    backdrop(context, x, box.top, isScored ? strip.bottom : box.bottom);
    const y = linear(heights[i], [box.bottom, box.top]);
    axes(context, tone, box, { y, yLabel: labelOf(i), yTicks: y.ticks(3).filter((v) => y(v) < box.bottom - 5) });
    clip(context, box, () => {
      context.strokeStyle = masked[i] ? tone.soft : tone.normal;
      band(context, `signal ${i}`, data.signal[i], steps.signal, x, y, box.right - box.left);
    });
    if (isScored) drawStrip(context, i, x, strip);
    if (i === chosen()) {
      context.strokeStyle = tone.link;
      context.lineWidth = 3;
      line(context, 1.5, box.top, 1.5, isScored ? strip.bottom : box.bottom);
      context.lineWidth = 1;
    }
    crosshair(context, x, box.top, isScored ? strip.bottom : box.bottom);
  };
  function drawStrip(context, i, x, box) {
    axes(context, tone, box, { y: linear(top, [box.bottom, box.top]), yTicks: [0, top[1]] });
    context.fillStyle = tone.ink;
    context.textBaseline = "bottom";
    context.textAlign = "right";
    context.fillText(ranking ? `${percent(ranking.share[i])} of the score` : "", box.right, 14);
    if (!data.channel_score[i].some(Number.isFinite)) {
      context.textAlign = "center";
      context.textBaseline = "middle";
      const why = masked[i] ? "masked: takes no part" : "no score: every sample is missing";
      context.fillText(why, (box.left + box.right) / 2, (box.top + box.bottom) / 2);
      return;
    }
    const y = linear(top, [box.bottom, box.top]);
    clip(context, box, () => {
      context.strokeStyle = tone.anomaly;
      band(context, `strip ${i}`, data.channel_score[i], steps.score, x, y, box.right - box.left);
    });
  }

  const rows = h("div", { class: "tm-channels-rows" });
  const whole = isScored
    ? made(sheet(left, { height: 120, focus: true, label: "Score over time", draw: drawScore }))
    : null;
  left.append(rows);
  const canvases = channels.map((_, i) => {
    const parent = h("div", { "data-channel": channels[i] });
    rows.append(parent);
    return made(
      sheet(parent, { height: isScored ? 122 : 96, focus: true, label: channels[i], draw: drawChannel(i) }),
    );
  });
  left.append(
    tableView("means of the window, by channel", ["Channel", "Unit", "Mean", "Lowest", "Highest", "Score"], () =>
      channels.map((name, i) => {
        const [from, to] = placesIn(windowNow(), steps.signal, data.signal[i].length);
        const [low, high] = reachOf(data.signal[i], from, to);
        return [
          name,
          units[i] || "–",
          number(meanOf(data.signal[i], from, to)),
          number(low),
          number(high),
          number(ranking?.mean[i]),
        ];
      }),
    ),
  );

  // ------------------------------------------------ pointer and keys over time

  const timed = [...(whole ? [[whole, -1]] : []), ...canvases.map((c, i) => [c, i])];
  const linesAt = (i) => {
    const found = [
      `${seconds(cursor)} · ${isFaulty(cursor) ? "fault (label)" : facts.labelled ? "healthy (label)" : "no label"}`,
    ];
    if (i >= 0) found.push(`${labelOf(i)}: ${number(valueAt(data.signal[i], cursor, steps.signal))}`);
    if (!isScored) return found;
    const [score, threshold] = [scoreAt(total, cursor), state.get("threshold")];
    const margin =
      threshold == null
        ? ""
        : `, ${number(Math.abs(score - threshold), 3)} ${score >= threshold ? "above" : "below"} the threshold`;
    found.push(`score ${number(score)}${margin}`);
    const best = channels
      .map((name, k) => [scoreAt(data.channel_score[k], cursor), name])
      .filter(([v]) => Number.isFinite(v));
    best.sort((a, b) => b[0] - a[0]);
    found.push(
      `top: ${best
        .slice(0, 3)
        .map(([v, name]) => `${name} ${number(v, 3)}`)
        .join(", ")}`,
    );
    return found;
  };
  function moveTo(t, i, event) {
    const [a, b] = span();
    cursor = Math.min(b, Math.max(a, t));
    sheets.forEach((one) => one.redraw());
    writeCursor();
    if (event) tip.show(event, linesAt(i));
  }
  for (const [one, i] of timed) {
    const node = one.canvas;
    const timeAt = (px) => xOf(node.clientWidth).invert(px);
    let from = null;
    node.addEventListener("pointermove", (event) => from === null && moveTo(timeAt(event.offsetX), i, event));
    node.addEventListener("pointerleave", tip.hide);
    drag(node, {
      start: (px) => ((from = timeAt(px)), true),
      move(px, _, event) {
        brush = windowOf(from, timeAt(px), length);
        moveTo(timeAt(px), i, event);
        refresh(false);
      },
      end(px, _, event) {
        const drawn = windowOf(from, timeAt(px), length);
        from = null;
        if (drawn.length) return setWindow(drawn);
        brush = null;
        if (i >= 0) select(i);
        pin(i, event);
      },
    });
    keys(node, timeKeys(i));
  }
  function pin(i, event) {
    if (tip.pinned) tip.pin(false);
    tip.show(event, linesAt(i));
    tip.pin(true);
    root.dataset.pinned = number(cursor, 6);
  }
  function timeKeys(i) {
    const step = (n) => () => {
      const [a, b] = span();
      moveTo((cursor ?? (a + b) / 2) + (n * (b - a)) / 200, i);
      panel.say(linesAt(i).join("; "));
    };
    const edge = (which) => () => {
      if (cursor === null) return;
      const [a, b] = windowNow().length ? windowNow() : [0, length];
      setWindow(
        which ? windowOf(Math.min(a, cursor), cursor, length) : windowOf(cursor, Math.max(b, cursor), length),
      );
    };
    const turn = (n) => () => {
      const order = ranking?.order ?? channels.map((_, k) => k);
      const at = order.indexOf(i >= 0 ? i : chosen()) + n;
      if (at < 0 || at >= order.length) return;
      select(order[at]);
      if (i >= 0) canvases[order[at]].canvas.focus();
      panel.say(labelOf(order[at]));
    };
    const box = () => (i >= 0 ? canvases[i] : whole).canvas.getBoundingClientRect();
    return {
      ArrowLeft: step(-1),
      ArrowRight: step(1),
      "Shift+ArrowLeft": step(-10),
      "Shift+ArrowRight": step(10),
      ArrowUp: turn(-1),
      ArrowDown: turn(1),
      "[": edge(0),
      "]": edge(1),
      z: () => setZoom(!zoomed),
      n: () => next(1),
      p: () => next(-1),
      Escape: () => (tip.pin(false), delete root.dataset.pinned, (zoomed = false), setWindow([])),
      Enter: () => cursor !== null && pin(i, { clientX: box().left + xOf(box().width)(cursor), clientY: box().top }),
    };
  }

  // ------------------------------------------------ contributions

  const ranks = h("div", { class: "tm-channels-ranks" });
  right.append(ranks);
  function showRanking() {
    const inside = windowNow().length ? "in the window" : "all of the recording";
    if (!isScored) return ranks.replaceChildren();
    const bar = (share, kind) =>
      h("span", { class: `tm-channels-bar ${kind}`, style: `width:${Math.max(0, 100 * (share || 0))}%` });
    const rowOf = (i, rank) =>
      h(
        "tr",
        { "data-channel": channels[i], "aria-current": i === chosen() ? "true" : null },
        h(
          "td",
          {},
          h(
            "button",
            { type: "button", "aria-pressed": String(i === chosen()), onclick: () => select(i) },
            `${rank + 1}. ${channels[i]}`,
          ),
        ),
        masked[i]
          ? h("td", { colspan: 4, class: "tm-channels-masked" }, "masked: takes no part")
          : [
              h("td", {}, number(ranking.mean[i], 3)),
              h("td", {}, percent(round(ranking.share[i], 3))),
              h("td", { class: "tm-channels-cell" }, bar(ranking.share[i], "tm-channels-share")),
              h(
                "td",
                { class: "tm-channels-cell", title: `L1 ${percent(round(ranking.l1[i], 3))}` },
                bar(ranking.l1[i], "tm-channels-l1"),
                bar(1 - ranking.l1[i], "tm-channels-l2"),
              ),
              h("td", {}, percent(round(ranking.l1[i], 2))),
            ],
      );
    const head = h(
      "tr",
      {},
      ["Channel", "Score", "Share", "", "L1 | L2", "L1"].map((text) => h("th", { scope: "col" }, text)),
    );
    const focused = ranks.contains(document.activeElement) && document.activeElement.closest("tr").dataset.channel;
    ranks.replaceChildren(
      h(
        "table",
        {},
        h("caption", {}, `What each channel adds to the score, ${inside}`),
        h("thead", {}, head),
        h("tbody", {}, ranking.order.map(rowOf)),
      ),
      h(
        "div",
        { class: "tm-soft" },
        "L1 | L2: forecast error against distance of hidden states, as the specification weighs them.",
      ),
    );
    if (focused) ranks.querySelector(`tr[data-channel="${CSS.escape(focused)}"] button`)?.focus();
  }

  // ------------------------------------------------ physics

  const basis = h("div", { class: "tm-soft", role: "status" });
  let mark = -1; // the mark under the keys or the pointer
  right.append(h("div", { class: "tm-channels-basis" }, basis));
  const spectrum = sheet(right, { height: 210, focus: true, label: "Spectrum", draw: drawSpectrum });
  const pair = h("div", { class: "tm-channels-pair" });
  right.append(pair);
  const parts = [h("div", {}), h("div", {})];
  pair.append(...parts);
  const locus = sheet(parts[0], { height: 190, label: "Park's vector", draw: drawLocus });
  const negative = sheet(parts[1], { height: 190, label: "Negative sequence", draw: drawNegative });
  [spectrum, locus, negative].forEach(made);

  const binHz = () => physics.base_hz / facts.bins;
  function drawSpectrum(context, width, height) {
    const i = chosen();
    const { value, low, high } = physics.spectrum;
    const box = { left: LEFT, right: width - RIGHT, top: 42, bottom: height - 32 };
    const known = [value[i], low?.[i], high?.[i]].flatMap((row) => (row ?? []).filter((v) => v > 0));
    const title = `${channels[i]}: amplitude${units[i] ? ` in ${units[i]}` : ""}`;
    if (!known.length)
      return nothing(context, width, height, title, masked[i] ? "masked: takes no part" : "nothing to draw");
    const x = linear([0, value[i].length * binHz()], [box.left, box.right]);
    const y = log([Math.min(...known), Math.max(...known) * 1.5], [box.bottom, box.top]);
    context.fillStyle = tone.ink;
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.fillText(title, 2, 28);
    axes(context, tone, box, { x, y, xLabel: "frequency in Hz", xTicks: x.ticks(5) });
    const at = (k) => x((k + 0.5) * binHz());
    clip(context, box, () => {
      if (high) fillBand(context, high[i], low[i], at, y, tone.normal);
      trace(context, value[i], at, y, tone.anomaly);
    });
    const above = new Set(aboveUsual(physics.line.value[i], physics.line.high?.[i]));
    physics.marks.forEach((one, k) => {
      if (one.hz > x.high) return;
      const px = Math.round(x(one.hz)) + 0.5;
      context.strokeStyle = context.fillStyle = k === mark ? tone.link : one.side ? tone.fbeta : tone.soft;
      context.globalAlpha = k === mark ? 1 : 0.6;
      context.setLineDash(one.side ? [2, 3] : []);
      line(context, px, box.top, px, box.bottom);
      context.setLineDash([]);
      context.globalAlpha = 1;
      triangle(context, px, box.top - 1, above.has(k));
    });
    if (mark >= 0) {
      context.fillStyle = tone.ink;
      context.textAlign = "right";
      context.textBaseline = "bottom";
      context.fillText(markText(mark), box.right, 14, box.right - 4);
    }
  }
  function markText(k) {
    const [one, i] = [physics.marks[k], chosen()];
    const { value, low, high } = physics.line;
    const usual = high?.[i]?.[k] == null ? "" : ` (healthy ${number(low[i][k], 3)} to ${number(high[i][k], 3)})`;
    return `${one.name} = ${number(one.hz)} Hz: ${number(value[i][k], 3)}${usual}`;
  }
  const setMark = (k) => {
    if (!physics.marks.length) return;
    mark = Math.min(physics.marks.length - 1, Math.max(0, k));
    const order = sorted();
    panel.say(markText(order[mark]));
    mark = order[mark];
    root.dataset.mark = physics.marks[mark].name;
    spectrum.redraw();
  };
  const sorted = () => physics.marks.map((_, k) => k).sort((a, b) => physics.marks[a].hz - physics.marks[b].hz);
  const stepMark = (n) => () =>
    setMark(mark < 0 ? (n > 0 ? 0 : physics.marks.length - 1) : sorted().indexOf(mark) + n);
  keys(spectrum.canvas, {
    ArrowLeft: stepMark(-1),
    ArrowRight: stepMark(1),
    Home: () => setMark(0),
    End: () => setMark(physics.marks.length - 1),
  });
  spectrum.canvas.addEventListener("pointermove", (event) => {
    if (!physics.marks.length) return;
    const hz = linear(
      [0, physics.spectrum.value[0].length * binHz()],
      [LEFT, spectrum.canvas.clientWidth - RIGHT],
    ).invert(event.offsetX);
    const order = sorted();
    const gaps = order.map((k) => Math.abs(physics.marks[k].hz - hz));
    setMark(gaps.indexOf(Math.min(...gaps)));
  });

  function drawLocus(context, width, height) {
    const { d, q, fs, start } = physics.vector;
    const size =
      Math.max(...d.map(Math.abs), ...q.map(Math.abs), ...(physics.ring.high ?? []).map((v) => v ?? 0)) * 1.06;
    if (!d.length) return nothing(context, width, height, "Park's vector", "no three currents with a supply in them");
    const half = Math.min(width - NARROW - RIGHT, height - 54) / 2;
    const middle = [NARROW + (width - NARROW - RIGHT) / 2, 22 + half];
    const box = { left: middle[0] - half, right: middle[0] + half, top: middle[1] - half, bottom: middle[1] + half };
    const x = linear([-size, size], [box.left, box.right]);
    const y = linear([-size, size], [box.bottom, box.top]);
    axes(context, tone, box, {
      x,
      y,
      xLabel: "d",
      yLabel: `Park's vector, q${unitOfCurrent() ? ` in ${unitOfCurrent()}` : ""}`,
      xTicks: x.ticks(3),
      yTicks: y.ticks(3),
    });
    const window = windowNow();
    clip(context, box, () => {
      context.strokeStyle = tone.anomaly;
      context.lineWidth = 0.6;
      context.beginPath();
      let open = false;
      d.forEach((value, k) => {
        const t = start + k / fs;
        const inside = value !== null && (!window.length || (t >= window[0] && t < window[1]));
        if (inside) open ? context.lineTo(x(value), y(q[k])) : context.moveTo(x(value), y(q[k]));
        open = inside;
      });
      context.stroke();
      if (physics.ring.high) annulus(context, physics.ring.high, physics.ring.low, x, y, tone.normal);
    });
  }
  const unitOfCurrent = () => facts.current_unit;

  function drawNegative(context, width, height) {
    const { time, value, low, high } = physics.negative;
    const title = "|I−| / |I+|";
    if (!time.length) return nothing(context, width, height, title, "no three currents with a supply in them");
    const box = { left: NARROW, right: width - RIGHT, top: 22, bottom: height - 32 };
    const x = linear(span(), [box.left, box.right]);
    const peak = Math.max(...value.map((v) => v ?? 0), high ?? 0) * 1.1 || 1;
    const y = linear([0, 100 * peak], [box.bottom, box.top]);
    backdrop(context, x, box.top, box.bottom);
    axes(context, tone, box, { x, y, xLabel: "time in s", yLabel: `${title} in %` });
    clip(context, box, () => {
      if (high != null) {
        context.fillStyle = tone.normal;
        context.globalAlpha = 0.3;
        context.fillRect(box.left, y(100 * high), box.right - box.left, Math.max(2, y(100 * low) - y(100 * high)));
        context.globalAlpha = 1;
      }
      context.lineWidth = 1.8;
      trace(
        context,
        value.map((v) => (v === null ? null : 100 * v)),
        (k) => x(time[k]),
        y,
        tone.anomaly,
      );
      context.lineWidth = 1;
    });
    crosshair(context, x, box.top, box.bottom);
  }
  right.append(
    h(
      "div",
      { class: "tm-channels-key" },
      h("i", { class: "tm-channels-own" }),
      " this recording ",
      h("i", { class: "tm-channels-usual" }),
      " healthy, lowest to highest ",
      h("i", { class: "tm-channels-label" }),
      " fault (label)",
    ),
    tableView("lines of the spectrum", ["Line", "Hz", "Amplitude", "Healthy low", "Healthy high", "Above"], () =>
      sorted().map((k) => {
        const [i, { value, low, high }] = [chosen(), physics.line];
        const isAbove = aboveUsual(value[i], high?.[i]).includes(k);
        return [
          physics.marks[k].name,
          number(physics.marks[k].hz),
          number(value[i][k], 3),
          number(low?.[i][k], 3),
          number(high?.[i][k], 3),
          isAbove ? "above" : "",
        ];
      }),
    ),
    tableView("negative sequence over time", ["Time in s", "Share"], () =>
      physics.negative.time.map((t, k) => [number(t), percent(physics.negative.value[k])]),
    ),
    tableView("Park's vector: mean length by direction", ["Degrees", "Length", "Healthy low", "Healthy high"], () =>
      physics.ring.value.map((v, k) => [
        (360 / physics.ring.value.length) * k,
        number(v),
        number(physics.ring.low?.[k]),
        number(physics.ring.high?.[k]),
      ]),
    ),
  );

  function sayBasis() {
    const of = physics.window.length
      ? `of the window ${seconds(physics.window[0])} to ${seconds(physics.window[1])}`
      : "of the whole recording";
    const wanted = windowNow();
    const late = !brush && String(wanted) !== String(physics.window) && wanted.length > 0;
    const why = !late ? "" : isAlive(model) ? " (the window is being looked at)" : " (no kernel: not of the window)";
    const supply =
      physics.supply_hz === null
        ? "no supply line found in three currents, or too short a window: no lines are marked"
        : `supply ${number(physics.supply_hz)} Hz`;
    const slip =
      physics.supply_hz === null
        ? ""
        : physics.slip === null
          ? "; slip unknown: only the unmodulated harmonics are marked"
          : `; slip ${percent(round(physics.slip, 4))} from the currents: (k ± n(1−s)/p) f marked, dashed`;
    basis.textContent = `Physics ${of}${why}: ${supply}${slip}. Healthy range: ${physics.words}.`;
  }
  async function askPhysics() {
    const wanted = windowNow();
    const isHere = state.get("recording") === facts.name || !facts.names.includes(state.get("recording"));
    if (!isHere || String(wanted) === String(asked ?? physics.window) || !isAlive(model)) return;
    asked = wanted;
    try {
      const answer = await ask(model, { recording: facts.name, window: wanted });
      if (isShown && asked === wanted) physics = answer;
    } catch (error) {
      if (isShown) basis.textContent = error.message;
      return;
    }
    if (isShown) refresh(false); // another recording may have come in the meantime
  }

  // ------------------------------------------------ numbers for the eye and for tests

  function writeCursor() {
    root.dataset.cursor = cursor === null ? "" : String(cursor);
    if (isScored && cursor !== null) root.dataset.score = String(scoreAt(total, cursor));
  }
  function write() {
    const window = windowNow();
    const i = chosen();
    const json = (values) => JSON.stringify(values.map((v) => (Number.isFinite(v) ? v : null)));
    Object.assign(root.dataset, {
      recording: facts.name,
      channel: channels[i],
      window: window.join(","),
      in: window.length ? "window" : "all",
      threshold: String(state.get("threshold") ?? ""),
      zoomed: String(zoomed),
      supply: String(physics.supply_hz ?? ""),
      slip: String(physics.slip ?? ""),
      marks: JSON.stringify(physics.marks.map((one) => [one.name, one.hz])),
      lines: JSON.stringify(physics.line.value[i]),
      high: JSON.stringify(physics.line.high?.[i] ?? null),
      above: JSON.stringify(aboveUsual(physics.line.value[i], physics.line.high?.[i])),
      healthy: String(physics.n),
      physicsWindow: physics.window.join(","),
      negative: JSON.stringify([physics.negative.low, physics.negative.high]),
    });
    if (ranking)
      Object.assign(root.dataset, {
        order: JSON.stringify(ranking.order.map((k) => channels[k])),
        mean: json(ranking.mean),
        share: json(ranking.share),
        l1: json(ranking.l1),
      });
  }

  function refresh(isSettled = true) {
    tone = colours(root);
    const window = windowNow();
    if (!window.length) zoomed = false;
    if (isScored)
      ranking = contributions(
        { score: data.channel_score, l1: data.l1, l2: data.l2 },
        facts.weights,
        placesIn(window, steps.score, total.length),
      );
    if (ranking && !brush) {
      const focused = document.activeElement;
      const held = rows.contains(focused);
      const wanted = ranking.order.map((i) => channels[i]);
      if ([...rows.children].some((node, k) => node.dataset.channel !== wanted[k])) {
        rows.append(...ranking.order.map((i) => canvases[i].canvas.parentElement));
        if (held) focused.focus();
      }
    }
    said.textContent = window.length
      ? `window ${seconds(window[0])} to ${seconds(window[1])}`
      : `${seconds(length)} at ${number(facts.fs)} Hz`;
    zoom.setAttribute("aria-pressed", String(zoomed));
    zoom.disabled = clear.disabled = !window.length;
    choice.disabled = !isAlive(model);
    canvases.forEach((one, i) => one.canvas.setAttribute("aria-label", describe(i)));
    whole?.canvas.setAttribute(
      "aria-label",
      `Score over time, ${said.textContent}; threshold ${number(state.get("threshold"))}`,
    );
    const nAbove = aboveUsual(physics.line.value[chosen()], physics.line.high?.[chosen()]).length;
    spectrum.canvas.setAttribute(
      "aria-label",
      `Spectrum of ${labelOf(chosen())}; lines above the healthy range: ${nAbove}; arrow keys step through the lines`,
    );
    locus.canvas.setAttribute(
      "aria-label",
      "Park's vector, d against q, over the ring of healthy recordings; its table is below",
    );
    negative.canvas.setAttribute(
      "aria-label",
      "Negative sequence over time, over the band of healthy recordings; its table is below",
    );
    if (!brush) showRanking();
    sayBasis();
    write();
    sheets.forEach((one) => one.redraw());
    if (isSettled && !brush) askPhysics();
  }
  function describe(i) {
    const score = !isScored
      ? ""
      : masked[i]
        ? ", masked: takes no part"
        : `, ${percent(round(ranking.share[i], 3))} of the score`;
    return `${labelOf(i)}: signal over time${score}`;
  }
  closing.push(watchChoice());
  function watchChoice() {
    const timer = setInterval(() => (choice.disabled = !isAlive(model)), 1000);
    return () => clearInterval(timer);
  }
  refresh();
  return { refresh };
}

// ---------------------------------------------------------------- drawing

const round = (value, digits) => Number(value.toFixed(digits));

function reachOf(values, from, to) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = from; i < to; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return low <= high ? [low, high] : [NaN, NaN];
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function clip(context, box, draw) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  context.clip();
  draw();
  context.restore();
}

function trace(context, values, x, y, colour) {
  context.strokeStyle = colour;
  context.beginPath();
  let open = false;
  values.forEach((value, k) => {
    if (value != null) open ? context.lineTo(x(k), y(value)) : context.moveTo(x(k), y(value));
    open = value != null;
  });
  context.stroke();
}

function fillBand(context, high, low, x, y, colour) {
  const known = high.map((v, k) => k).filter((k) => high[k] != null && low[k] != null);
  context.fillStyle = colour;
  context.globalAlpha = 0.35;
  context.beginPath();
  known.forEach((k) => context.lineTo(x(k), y(high[k])));
  known.reverse().forEach((k) => context.lineTo(x(k), y(low[k])));
  context.fill();
  context.globalAlpha = 1;
}

function annulus(context, high, low, x, y, colour) {
  context.fillStyle = context.strokeStyle = colour;
  context.globalAlpha = 0.45;
  context.lineWidth = 1.2;
  context.beginPath();
  for (const values of [high, low]) {
    let go = (px, py) => (context.moveTo(px, py), (go = (a, b) => context.lineTo(a, b)));
    values.forEach((v, k) => {
      const angle = ((k + 0.5) * 2 * Math.PI) / values.length;
      if (v != null) go(x(v * Math.cos(angle)), y(v * Math.sin(angle)));
    });
    context.closePath();
  }
  context.fill("evenodd");
  context.globalAlpha = 1;
  context.stroke();
}

function triangle(context, x, y, isFilled) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x - 4, y - 7);
  context.lineTo(x + 4, y - 7);
  context.closePath();
  if (isFilled) context.fill();
  else context.stroke();
}

function nothing(context, width, height, title, why) {
  context.fillStyle = getComputedStyle(context.canvas).color;
  context.textBaseline = "bottom";
  context.textAlign = "left";
  context.fillText(title, 2, 16);
  context.textAlign = "center";
  context.fillText(why, width / 2, height / 2);
}

export default { render };
