// The panel of routing: the load of every expert by layer, and of one layer over time under the signal, by class and
// condition, and over the training (nbs/11_panel_routing).

import {
  axes,
  cividis,
  colours,
  count,
  css,
  diverging,
  drag,
  emptyState,
  envelope,
  frame,
  h,
  hatching,
  inkOn,
  isAlive,
  keys,
  linear,
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

// The bins [start, end) whose middle lies in a window in s; all n without a window, and one at least.
export function binsIn(window, length, n) {
  if (!window?.length) return [0, n];
  const [start, end] = window.map((s) => Math.min(n, Math.max(0, Math.ceil((s / length) * n - 0.5))));
  return end > start ? [start, end] : [Math.min(n - 1, start), Math.min(n - 1, start) + 1];
}

// The choices of some series (-1: all) and bins, summed: (layer * expert). `counts` has the shape (series, layer,
// expert, bin).
export function pool(counts, series, [start, end]) {
  const [n, layers, experts, bins] = counts.shape;
  const found = new Float64Array(layers * experts);
  for (let s = 0; s < n; s++)
    if (series < 0 || s === series)
      for (let k = 0; k < found.length; k++) {
        const at = (s * found.length + k) * bins;
        for (let bin = start; bin < end; bin++) found[k] += counts[at + bin];
      }
  return found;
}

// The load that counts (layer * expert) make, as `load_of` in Python; `dead` is a list of [layer, expert].
export function loadOf(counts, experts, topK, deadShare) {
  const layers = counts.length / experts;
  const [share, entropy, balance, dead] = [new Float64Array(counts.length).fill(NaN), [], [], []];
  for (let layer = 0; layer < layers; layer++) {
    const row = Array.from(counts.subarray(layer * experts, (layer + 1) * experts));
    const total = row.reduce((a, b) => a + b, 0);
    const each = row.map((v) => v / total);
    each.forEach((v, expert) => {
      share[layer * experts + expert] = v;
      if (v < deadShare / topK) dead.push([layer, expert]);
    });
    entropy.push(-each.reduce((sum, v) => sum + (v === 0 ? 0 : v * Math.log(v)), 0) / Math.log(Math.max(experts, 2)));
    balance.push(experts * Math.sqrt(each.reduce((sum, v) => sum + (v - 1 / experts) ** 2, 0) / experts));
  }
  return { share, entropy, balance, dead };
}

// The share of each expert of a layer in each bin: (expert * bin), NaN in a bin without choices.
export function overTime(counts, series, layer) {
  const [n, layers, experts, bins] = counts.shape;
  const found = new Float64Array(experts * bins);
  const total = new Float64Array(bins);
  for (let s = 0; s < n; s++)
    if (series < 0 || s === series)
      for (let expert = 0; expert < experts; expert++)
        for (let bin = 0; bin < bins; bin++) {
          const value = counts[((s * layers + layer) * experts + expert) * bins + bin];
          found[expert * bins + bin] += value;
          total[bin] += value;
        }
  return found.map((value, k) => value / total[k % bins]);
}

// The colour of a share: by itself up to `most`, or by its deviation from 1/E, which is 0 at 0 and full at 2/E.
export function colourOf(share, { palette, even, most }) {
  if (!Number.isFinite(share)) return null;
  return palette === "deviation" ? diverging((share - even) / even) : cividis(share / most);
}

export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// ---------------------------------------------------------------- the panel

const HELP = [
  ["← → ↑ ↓", "in the map: the expert and layer beside, above, below"],
  ["Enter", "in the map: drill down to that expert; over time: pin"],
  ["← →", "over time: move the crosshair; with Shift ten bins"],
  ["↑ ↓", "over time: the expert above, below"],
  ["PgUp PgDn", "over time: the layer before, after"],
  ["[ ]", "begin, end the window at the crosshair (or drag)"],
  ["Esc", "no window; lets go of what is pinned"],
  ["D", "colours by deviation from 1/E, and back"],
  ["N P", "next, previous recording"],
];
const LEFT = 58;
const RIGHT = 12;
const SCOPES = { all: "all recordings", recording: "this recording", window: "its window" };

function render({ model, el }) {
  const state = stateOf(model);
  const panel = frame(model, el, { title: "Routing", help: HELP });
  const { root, body } = panel;
  root.dataset.panel = "routing";
  const tip = tooltip(root);
  const closing = [];
  const facts = state.facts();
  root.dataset.state = facts.absent ? "empty" : "ready";
  if (facts.absent) {
    const [before, command] = facts.absent.split("`");
    body.append(emptyState(before, command));
  } else {
    const of = facts.checkpoint ? `, checkpoint of ${facts.checkpoint}` : "";
    panel.heading.textContent = `Routing of ${facts.title}${of}`;
    const view = show(model, state, panel, tip, closing);
    state.on(["recording", "window", "channel", "layer", "expert", "threshold", "scope", "palette"], view.refresh);
    panel.onTheme(view.refresh);
  }
  return () => {
    closing.forEach((close) => close());
    state.close();
    panel.close();
  };
}

function show(model, state, panel, tip, closing) {
  const { root, body } = panel;
  const { tracks, groups, top_k: topK, dead_share: deadShare } = state.facts();
  const counts = tracks.map((_, i) => readArray(model, `count${i}`));
  const arraysOf = (name) => tracks.map((_, i) => readArray(model, `${name}${i}`));
  const [labels, signals, scores] = [arraysOf("label"), arraysOf("signal"), arraysOf("score")];
  const grouped = readArray(model, "groups");
  const history = Object.fromEntries(
    ["step", "entropy", "gating_balance", "n_dead", "expert_load"].map((name) => [name, readArray(model, name)]),
  );
  const [, nLayers, nExperts, nBins] = counts[0].shape;
  const even = 1 / nExperts;
  const first = Math.max(
    0,
    labels.findIndex((row) => row.includes(1)),
  );
  let tone = colours(root);
  let cursor = null; // bin
  let brush = null;
  let cell = null; // [layer, expert] that takes the focus in the map
  let load = null;
  let timed = null; // shares over time of the layer

  const at = () =>
    Math.max(
      tracks.findIndex((t) => t.name === state.get("recording")),
      -1,
    );
  const shown = () => (at() < 0 ? first : at());
  const windowNow = () => brush ?? (at() >= 0 ? (state.get("window") ?? []) : []);
  const layerNow = () => Math.min(nLayers - 1, Math.max(0, state.get("layer")));
  const expertNow = () => (state.get("expert") < nExperts ? state.get("expert") : -1);
  const series = () => tracks[shown()].series.indexOf(state.get("channel"));
  const drawnSeries = () => Math.max(0, series());
  const scopeNow = () => (state.get("scope") === "window" && !windowNow().length ? "recording" : state.get("scope"));
  const scale = (shares) => ({
    palette: state.get("palette"),
    even,
    most: Math.max(2 * even, ...shares.filter(Number.isFinite)),
  });
  const step = () => tracks[shown()].seconds / nBins;
  const name = (layer, expert) => `layer ${layer}, expert ${expert}`;

  // ------------------------------------------------ what is above the pictures

  const option = (value, text, selected) => h("option", { value, selected }, text);
  const choose = (label, options, onchange) =>
    h("select", { "aria-label": label, onchange: (event) => onchange(event.target.value) }, options);
  const recording = choose(
    "Recording",
    tracks.map((t) => option(t.name, `${t.name} · ${t.kind}`)),
    (value) => state.set({ recording: value, window: [] }),
  );
  const channel = choose(
    "Channel",
    [option("", "all channels"), ...tracks[0].series.map((s) => option(s, s))],
    (value) => state.set({ channel: value }),
  );
  const scope = choose(
    "What is counted",
    Object.entries(SCOPES).map(([key, text]) =>
      option(key, key === "all" ? `all ${tracks.length} recordings` : text),
    ),
    (value) => state.set({ scope: value }),
  );
  const palette = h("button", { type: "button", onclick: () => turnPalette() }, "Deviation from 1/E");
  const clear = h("button", { type: "button", onclick: () => setWindow([]) }, "No window");
  const word = (text, node) => h("label", {}, `${text} `, node);
  body.append(
    h(
      "div",
      { class: "tm-row" },
      word("Tokens of", scope),
      word("in", channel),
      word("Recording", recording),
      palette,
      clear,
    ),
  );

  const turnPalette = () => state.set({ palette: state.get("palette") === "deviation" ? "share" : "deviation" });
  const next = (n) => tracks[shown() + n] && state.set({ recording: tracks[shown() + n].name, window: [] });
  function setWindow(window) {
    brush = null;
    state.set({
      recording: tracks[shown()].name,
      window,
      ...(window.length ? { scope: "window" } : state.get("scope") === "window" ? { scope: "recording" } : {}),
    });
    panel.say(window.length ? `Window ${seconds(window[0])} to ${seconds(window[1])}` : "No window");
  }
  function drill(layer, expert) {
    cell = [layer, expert];
    state.set({ layer, expert });
    panel.say(`${name(layer, expert)}: ${percent(load.share[layer * nExperts + expert])} of the choices`);
  }

  // ------------------------------------------------ the map of layers and experts

  const map = h("div", { class: "tm-routing-map" });
  const sums = h("div", { class: "tm-routing-sums" });
  const classes = h("div", { class: "tm-routing-map" });
  const [left, right] = [h("div", {}, map, sums), h("div", {})];
  body.append(h("div", { class: "tm-routing-grid" }, left, right));

  const mapNode = h("table", { role: "grid" });
  const buttons = Array.from({ length: nLayers }, (_, layer) =>
    Array.from({ length: nExperts }, (_, expert) =>
      h("button", { type: "button", tabindex: -1, onclick: () => drill(layer, expert) }),
    ),
  );
  const caption = h("caption", {});
  mapNode.append(
    caption,
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Layer"),
        buttons[0].map((_, e) => h("th", { scope: "col" }, `E${e}`)),
      ),
    ),
    h(
      "tbody",
      {},
      buttons.map((row, layer) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, String(layer)),
          row.map((b) => h("td", { role: "gridcell" }, b)),
        ),
      ),
    ),
  );
  const bar = h("div", { class: "tm-routing-bar", role: "img" });
  const evenMark = h("span", { class: "tm-routing-even" });
  const ends = h("div", { class: "tm-routing-ends tm-soft" });
  bar.append(evenMark);
  map.append(mapNode, bar, ends);

  buttons.forEach((row, layer) =>
    row.forEach((button, expert) => {
      const go = (dl, de) => () => {
        cell = [Math.min(nLayers - 1, Math.max(0, layer + dl)), Math.min(nExperts - 1, Math.max(0, expert + de))];
        showMap();
        buttons[cell[0]][cell[1]].focus();
      };
      keys(button, {
        ArrowLeft: go(0, -1),
        ArrowRight: go(0, 1),
        ArrowUp: go(-1, 0),
        ArrowDown: go(1, 0),
        Home: go(0, -nExperts),
        End: go(0, nExperts),
        d: turnPalette,
      });
      button.addEventListener("pointermove", (event) =>
        tip.show(event, [
          `${name(layer, expert)}: ${percent(load.share[layer * nExperts + expert])} of the choices`,
          `1/E is ${percent(even)}`,
        ]),
      );
      button.addEventListener("pointerleave", tip.hide);
    }),
  );

  function paint(node, share, how) {
    const colour = colourOf(share, how);
    node.style.background = colour ? css(colour) : "none";
    node.style.color = colour ? inkOn(colour) : "inherit";
  }

  function showMap() {
    const how = scale([...load.share]);
    const [layerHere, expertHere] = cell ?? [layerNow(), Math.max(0, expertNow())];
    buttons.forEach((row, layer) =>
      row.forEach((button, expert) => {
        const share = load.share[layer * nExperts + expert];
        const isDead = load.dead.some(([l, e]) => l === layer && e === expert);
        const isChosen = layer === layerNow() && expert === expertNow();
        paint(button, share, how);
        button.textContent = Number.isFinite(share) ? `${isDead ? "† " : ""}${(100 * share).toFixed(1)}` : "–";
        button.tabIndex = layer === layerHere && expert === expertHere ? 0 : -1;
        button.classList.toggle("tm-routing-dead", isDead);
        button.classList.toggle("tm-routing-chosen", isChosen);
        button.parentElement.setAttribute("aria-selected", String(isChosen));
        button.setAttribute(
          "aria-label",
          `${name(layer, expert)}: ${percent(round(share))} of the choices${isDead ? ", dead" : ""}`,
        );
      }),
    );
    buttons.forEach((row, layer) => row[0].closest("tr").classList.toggle("tm-routing-layer", layer === layerNow()));
    const of =
      scopeNow() === "all"
        ? `all ${tracks.length} recordings`
        : `${tracks[shown()].name}${scopeNow() === "window" ? ", in window" : ", all of it"}`;
    const only = series() < 0 ? "" : `, ${tracks[shown()].series[series()]}`;
    caption.textContent = `Share of each layer's choices in %: ${of}${only}`;
    const isDeviation = how.palette === "deviation";
    const most = isDeviation ? 2 * even : how.most;
    const stops = Array.from({ length: 12 }, (_, k) => css(colourOf((most * k) / 11, how)));
    bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    bar.setAttribute("aria-label", `Colours from 0 to ${percent(round(most))}; 1/E is ${percent(even)}`);
    evenMark.style.left = `${(100 * even) / most}%`;
    const end = (text, share) => h("span", { style: `left:${100 * share}%` }, text);
    ends.replaceChildren(
      end("0", 0),
      end(`1/E = ${percent(round(even))}`, even / most),
      end(`${percent(round(most))}${isDeviation ? " and more" : ""}`, 1),
    );
    const dead = load.dead.map(([l, e]) => `layer ${l} expert ${e}`);
    sums.replaceChildren(
      h(
        "div",
        {},
        `Entropy ${number(mean(load.entropy))} (1 is even), balance ${number(mean(load.balance))} (0 is even), ` +
          "means over layers.",
      ),
      h(
        "div",
        dead.length ? { class: "tm-warning" } : {},
        dead.length
          ? `† Dead, under ${percent(deadShare)} of the tokens: ${dead.join(", ")}.`
          : `No dead expert: each takes at least ${percent(deadShare)} of the tokens.`,
      ),
    );
  }
  left.append(
    tableView("entropy and balance by layer", ["Layer", "Entropy", "Balance", "Least", "Most"], () =>
      load.entropy.map((v, l) => {
        const row = [...load.share.subarray(l * nExperts, (l + 1) * nExperts)];
        return [
          l,
          number(v),
          number(load.balance[l]),
          percent(round(Math.min(...row))),
          percent(round(Math.max(...row))),
        ];
      }),
    ),
  );

  // ------------------------------------------------ one layer over time

  const ROW = Math.max(8, Math.min(22, Math.floor(200 / nExperts)));
  const hasScore = scores.some(Boolean);
  const heatHeight = ROW * nExperts;
  const parts = {
    heat: [22, 22 + heatHeight],
    signal: [heatHeight + 48, heatHeight + 118],
    score: hasScore ? [heatHeight + 144, heatHeight + 194] : null,
  };
  const bottom = (parts.score ?? parts.signal)[1];
  const over = sheet(right, { height: bottom + 34, focus: true, label: "Experts over time", draw: drawOver });
  closing.push(over.close);
  const boxOf = ([top, end], width) => ({ left: LEFT, right: width - RIGHT, top, bottom: end });
  const xOf = (width) => linear([0, tracks[shown()].seconds], [LEFT, width - RIGHT]);

  function drawOver(context, width) {
    const i = shown();
    const x = xOf(width);
    drawHeat(context, boxOf(parts.heat, width), x);
    drawSignal(context, boxOf(parts.signal, width), x, i);
    if (parts.score) drawScore(context, boxOf(parts.score, width), x, i);
    axes(context, tone, boxOf([bottom - 1, bottom], width), { x, xLabel: "time in s" });
    const window = windowNow();
    context.save();
    context.strokeStyle = tone.link;
    context.fillStyle = tone.link;
    if (window.length) {
      context.globalAlpha = 0.14;
      context.fillRect(x(window[0]), parts.signal[0], x(window[1]) - x(window[0]), bottom - parts.signal[0]);
      context.globalAlpha = 1;
      context.lineWidth = 2;
      for (const s of window) stroke(context, x(s), parts.heat[0], x(s), bottom);
      context.lineWidth = 1;
    }
    if (cursor !== null) {
      context.strokeStyle = tone.ink;
      context.setLineDash([3, 3]);
      const px = Math.round(x((cursor + 0.5) * step())) + 0.5;
      stroke(context, px, parts.heat[0], px, bottom);
    }
    context.restore();
  }

  function drawHeat(context, box, x) {
    const how = scale([...timed]);
    const wide = (box.right - box.left) / nBins;
    for (let expert = 0; expert < nExperts; expert++)
      for (let bin = 0; bin < nBins; bin++) {
        const colour = colourOf(timed[expert * nBins + bin], how);
        context.fillStyle = colour ? css(colour) : tone.card;
        context.fillRect(box.left + bin * wide, box.top + expert * ROW, wide + 0.6, ROW + 0.5);
      }
    const meaning = how.palette === "deviation" ? "red above 1/E, blue below" : "brighter is more";
    axes(context, tone, box, { yLabel: `layer ${layerNow()}: share of the choices, ${meaning}` });
    context.fillStyle = tone.ink;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let expert = 0; expert < nExperts; expert++)
      context.fillText(`E${expert}`, box.left - 6, box.top + (expert + 0.5) * ROW);
    if (expertNow() >= 0) {
      context.lineWidth = 2;
      for (const [colour, shift] of [
        ["#fff", 0],
        ["#000", 2],
      ]) {
        context.strokeStyle = colour;
        context.strokeRect(
          box.left + 1 + shift,
          box.top + expertNow() * ROW + 1 + shift,
          box.right - box.left - 2 - 2 * shift,
          ROW - 2 - 2 * shift,
        );
      }
      context.lineWidth = 1;
    }
  }

  function hatch(context, box, i) {
    const wide = (box.right - box.left) / nBins;
    context.fillStyle = hatching(context, tone.anomaly);
    context.globalAlpha = 0.55;
    labels[i].forEach((label, bin) => {
      if (label === 1) context.fillRect(box.left + bin * wide, box.top, wide + 0.5, box.bottom - box.top);
    });
    context.globalAlpha = 1;
  }

  function trace(context, box, x, row, y, colour) {
    const width = Math.max(1, Math.min(row.length, Math.floor(box.right - box.left)));
    const found = envelope(row, width);
    context.strokeStyle = colour;
    context.beginPath();
    let open = false;
    for (let k = 0; k < width; k++) {
      const px = box.left + ((k + 0.5) / width) * (box.right - box.left);
      if (Number.isNaN(found[k])) open = false;
      else {
        open ? context.lineTo(px, y(found[width + k])) : context.moveTo(px, y(found[width + k]));
        context.lineTo(px, y(found[k]));
        open = true;
      }
    }
    context.stroke();
  }

  const rowOf = (values, s) => values.subarray(s * values.shape[1], (s + 1) * values.shape[1]);
  function drawSignal(context, box, x, i) {
    const { series: names, units } = tracks[i];
    const s = drawnSeries();
    const label = units[s] ? `${names[s]} in ${units[s]}` : names[s];
    hatch(context, box, i);
    if (!signals[i]) return axes(context, tone, box, { yLabel: `${label}: no signal given` });
    const row = rowOf(signals[i], s);
    const known = row.filter(Number.isFinite);
    if (!known.length) return axes(context, tone, box, { yLabel: `${label}: every sample is missing` });
    const [low, high] = known.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const pad = 0.06 * (high - low) || 1;
    const y = linear([low - pad, high + pad], [box.bottom, box.top]);
    axes(context, tone, box, { x, y, yLabel: label, yTicks: y.ticks(3), format: () => "" });
    trace(context, box, x, row, y, tone.normal);
  }

  function drawScore(context, box, x, i) {
    hatch(context, box, i);
    const row = scores[i];
    const threshold = state.get("threshold");
    if (!row?.some(Number.isFinite)) return axes(context, tone, box, { yLabel: "score: none" });
    const high = row.reduce((a, v) => (v > a ? v : a), threshold ?? 0);
    const y = linear([0, 1.1 * high], [box.bottom, box.top]);
    axes(context, tone, box, {
      x,
      y,
      yLabel: `score${threshold == null ? "" : `; threshold ${number(threshold)} dashed`}`,
      yTicks: y.ticks(3),
      format: () => "",
    });
    trace(context, box, x, row, y, tone.anomaly);
    if (threshold == null) return;
    context.save();
    context.strokeStyle = tone.threshold;
    context.setLineDash([6, 3]);
    stroke(context, box.left, y(threshold), box.right, y(threshold));
    context.restore();
  }

  const scoreAt = (bin) => {
    const row = scores[shown()];
    if (!row) return NaN;
    const [a, b] = [bin, bin + 1].map((k) => Math.floor((k * row.length) / nBins));
    return row.subarray(a, Math.max(b, a + 1)).reduce((high, v) => (v > high || Number.isNaN(high) ? v : high), NaN);
  };
  function linesAt(expert) {
    const [score, threshold] = [scoreAt(cursor), state.get("threshold")];
    const label = ["healthy (label)", "fault (label)", "an edge of a fault"][labels[shown()][cursor]];
    const shares = Array.from({ length: nExperts }, (_, e) => [timed[e * nBins + cursor], e]).sort(
      (a, b) => b[0] - a[0],
    );
    const found = [`${seconds(cursor * step())} · ${tracks[shown()].class_id === null ? "no label" : label}`];
    if (expert >= 0)
      found.push(
        `expert ${expert}: ${percent(round(timed[expert * nBins + cursor]))} of layer ${layerNow()}'s choices`,
      );
    found.push(
      `most: ${shares
        .slice(0, 2)
        .map(([v, e]) => `E${e} ${percent(round(v))}`)
        .join(", ")}`,
    );
    const gap = `, ${number(Math.abs(score - threshold), 3)} ${score >= threshold ? "above" : "below"} the threshold`;
    const margin = threshold == null ? "" : gap;
    if (Number.isFinite(score)) found.push(`score ${number(score)}${margin}`);
    return found;
  }
  const binAt = (px) =>
    Math.min(
      nBins - 1,
      Math.max(0, Math.floor((xOf(over.canvas.clientWidth).invert(px) / tracks[shown()].seconds) * nBins)),
    );
  const expertAt = (py) => (py >= parts.heat[0] && py < parts.heat[1] ? Math.floor((py - parts.heat[0]) / ROW) : -1);
  let from = null;
  over.canvas.addEventListener("pointermove", (event) => {
    if (from !== null) return;
    cursor = binAt(event.offsetX);
    tip.show(event, linesAt(expertAt(event.offsetY)));
    over.redraw();
    write();
  });
  over.canvas.addEventListener("pointerleave", tip.hide);
  const between = (a, b) =>
    Math.abs(a - b) < 1 ? [] : [Math.min(a, b), Math.max(a, b)].map((bin) => Number((bin * step()).toFixed(6)));
  drag(over.canvas, {
    start: (px) => ((from = binAt(px)), true),
    move(px) {
      brush = between(from, binAt(px) + (binAt(px) >= from ? 1 : 0));
      if (Math.abs(binAt(px) - from) < 1) brush = null;
      refresh();
    },
    end(px, py, event) {
      const drawn = brush;
      from = brush = null;
      if (drawn?.length) return setWindow(drawn);
      cursor = binAt(px);
      if (expertAt(py) >= 0) drill(layerNow(), expertAt(py));
      pin(event, expertAt(py));
    },
  });
  function pin(event, expert) {
    if (tip.pinned) tip.pin(false);
    tip.show(event, linesAt(expert));
    tip.pin(true);
    root.dataset.pinned = String(cursor);
  }
  const moveBy = (n) => () => {
    cursor = Math.min(nBins - 1, Math.max(0, (cursor ?? Math.floor(nBins / 2)) + n));
    panel.say(linesAt(expertNow()).join("; "));
    over.redraw();
    write();
  };
  const turn = (layer, expert) => () =>
    drill(
      Math.min(nLayers - 1, Math.max(0, layerNow() + layer)),
      Math.min(nExperts - 1, Math.max(0, expertNow() + expert)),
    );
  const edge = (isEnd) => () => {
    if (cursor === null) return;
    const [a, b] = windowNow().length ? windowNow().map((s) => Math.round(s / step())) : [0, nBins];
    setWindow(isEnd ? between(Math.min(a, cursor), cursor + 1) : between(cursor, Math.max(b, cursor + 1)));
  };
  keys(over.canvas, {
    ArrowLeft: moveBy(-1),
    ArrowRight: moveBy(1),
    "Shift+ArrowLeft": moveBy(-10),
    "Shift+ArrowRight": moveBy(10),
    ArrowUp: turn(0, -1),
    ArrowDown: turn(0, 1),
    PageUp: turn(-1, 0),
    PageDown: turn(1, 0),
    "[": edge(false),
    "]": edge(true),
    d: turnPalette,
    n: () => next(1),
    p: () => next(-1),
    Escape: () => (tip.pin(false), delete root.dataset.pinned, setWindow([])),
    Enter() {
      if (cursor === null) return;
      const box = over.canvas.getBoundingClientRect();
      pin(
        { clientX: box.left + xOf(box.width)((cursor + 0.5) * step()), clientY: box.top + parts.heat[1] },
        expertNow(),
      );
    },
  });
  right.append(
    tableView("experts over time, in 24 stretches", ["From s", ...buttons[0].map((_, e) => `E${e} %`), "Label"], () =>
      Array.from({ length: 24 }, (_, k) => {
        const [a, b] = [k, k + 1].map((j) => Math.floor((j * nBins) / 24));
        const sums = pool(counts[shown()], series(), [a, b]).subarray(
          layerNow() * nExperts,
          (layerNow() + 1) * nExperts,
        );
        const total = sums.reduce((x, y) => x + y, 0);
        const kinds = [...new Set(labels[shown()].subarray(a, b))];
        return [
          number(a * step()),
          ...[...sums].map((v) => number((100 * v) / total, 3)),
          kinds.length > 1 || kinds[0] === 2 ? "both" : kinds[0] ? "fault" : "healthy",
        ];
      }),
    ),
  );

  // ------------------------------------------------ classes and training

  const trained = h("div", {});
  left.append(classes);
  right.append(trained);

  function showClasses() {
    const layer = layerNow();
    const rows = groups.map((_, g) => {
      const row = [...grouped.subarray((g * nLayers + layer) * nExperts, (g * nLayers + layer + 1) * nExperts)];
      const total = row.reduce((a, b) => a + b, 0);
      return { shares: row.map((v) => v / total), total };
    });
    const how = scale(rows.flatMap((row) => row.shares));
    const cells = (shares) =>
      shares.map((share, e) => {
        const node = h("td", { class: e === expertNow() ? "tm-routing-chosen" : null }, (100 * share).toFixed(1));
        paint(node, share, how);
        return node;
      });
    classes.replaceChildren(
      h(
        "table",
        { "data-classes": layer },
        h("caption", {}, `Layer ${layer} by class and condition: % of the choices in all recordings`),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Class, condition", ...buttons[0].map((_, e) => `E${e}`), "Tokens"].map((text) =>
              h("th", { scope: "col" }, text),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row, g) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, groups[g]),
              cells(row.shares),
              h("td", {}, count(row.total / topK)),
            ),
          ),
        ),
      ),
    );
  }

  const nSteps = history.step?.length ?? 0;
  let curve = null;
  if (nSteps) {
    curve = sheet(trained, { height: 190, label: "Entropy and balance over the training", draw: drawTraining });
    closing.push(curve.close);
    trained.append(
      tableView("entropy, balance and dead experts over the training", ["Step", "Entropy", "Balance", "Dead"], () => {
        const every = Math.max(1, Math.floor(nSteps / 40));
        return [...history.step]
          .map((s, k) => [count(s), number(history.entropy[k]), number(history.gating_balance[k]), history.n_dead[k]])
          .filter((_, k) => k % every === 0 || k === nSteps - 1);
      }),
    );
  } else trained.append(h("div", { class: "tm-empty" }, "No step of a training has been logged with its routing."));

  function drawTraining(context, width, height) {
    const box = { left: LEFT, right: width - RIGHT, top: 36, bottom: height - 32 };
    const x = linear([history.step[0], history.step[nSteps - 1]], [box.left, box.right]);
    const own =
      expertNow() >= 0 && history.expert_load
        ? [...history.step].map((_, k) => history.expert_load[(k * nLayers + layerNow()) * nExperts + expertNow()])
        : null;
    const curves = [
      ["entropy (1 is even)", history.entropy, tone.normal, []],
      ["balance (0 is even)", history.gating_balance, tone.anomaly, [6, 3]],
      ...(own ? [[`load of ${name(layerNow(), expertNow())}`, own, tone.fbeta, [2, 2]]] : []),
    ];
    const y = linear([0, Math.max(1.05, ...history.gating_balance)], [box.bottom, box.top]);
    axes(context, tone, box, { x, y, xLabel: "step of the training, one batch each" });
    const at = state.facts().step;
    if (at != null) {
      context.strokeStyle = context.fillStyle = tone.ink;
      stroke(context, x(at), box.top, x(at), box.bottom);
      context.textBaseline = "top";
      context.textAlign = x(at) > (box.left + box.right) / 2 ? "right" : "left";
      context.fillText(" checkpoint ", x(at), box.top + 4);
    }
    let left = 2;
    for (const [text, values, colour, dash] of curves) {
      context.save();
      context.strokeStyle = colour;
      context.lineWidth = 1.8;
      context.setLineDash(dash);
      stroke(context, left, 12, left + 20, 12);
      context.beginPath();
      values.forEach((v, k) =>
        k ? context.lineTo(x(history.step[k]), y(v)) : context.moveTo(x(history.step[k]), y(v)),
      );
      context.stroke();
      context.restore();
      context.fillStyle = tone.ink;
      context.textAlign = "left";
      context.textBaseline = "middle";
      context.fillText(text, left + 25, 12);
      left += context.measureText(text).width + 45;
      if (left > width - 120) left = 2;
    }
  }

  // ------------------------------------------------ all of it

  function write() {
    const json = (values) => JSON.stringify([...values].map((v) => (Number.isFinite(v) ? v : null)));
    const [layer, expert] = [layerNow(), expertNow()];
    Object.assign(root.dataset, {
      recording: tracks[shown()].name,
      channel: series() < 0 ? "" : tracks[shown()].series[series()],
      layer: String(layer),
      expert: String(expert),
      window: windowNow().join(","),
      scope: scopeNow(),
      palette: state.get("palette"),
      even: String(even),
      cursor: cursor === null ? "" : String(cursor),
      load: json(load.share),
      share: expert < 0 ? "" : String(load.share[layer * nExperts + expert]),
      entropy: json(load.entropy),
      balance: json(load.balance),
      dead: JSON.stringify(load.dead),
      threshold: String(state.get("threshold") ?? ""),
      score: cursor === null ? "" : String(scoreAt(cursor)),
      atCursor: cursor === null ? "" : json(Array.from({ length: nExperts }, (_, e) => timed[e * nBins + cursor])),
    });
  }
  function refresh() {
    tone = colours(root);
    const i = shown();
    const bins = scopeNow() === "window" ? binsIn(windowNow(), tracks[i].seconds, nBins) : [0, nBins];
    const sums = new Float64Array(nLayers * nExperts);
    counts.forEach((one, k) => {
      if (scopeNow() === "all" || k === i) pool(one, series(), bins).forEach((v, j) => (sums[j] += v));
    });
    load = loadOf(sums, nExperts, topK, deadShare);
    timed = overTime(counts[i], series(), layerNow());
    recording.value = tracks[i].name;
    channel.value = series() < 0 ? "" : tracks[i].series[series()];
    scope.value = scopeNow();
    scope.options[2].disabled = clear.disabled = !windowNow().length;
    palette.setAttribute("aria-pressed", String(state.get("palette") === "deviation"));
    over.canvas.setAttribute(
      "aria-label",
      `Experts of layer ${layerNow()} over time, above signal and score of ${tracks[i].name}; its table is below`,
    );
    const last = (name) => number(history[name]?.[nSteps - 1]);
    curve?.canvas.setAttribute(
      "aria-label",
      `Entropy ${last("entropy")} and balance ${last("gating_balance")} at the last step; their table is below`,
    );
    showMap();
    showClasses();
    write();
    over.redraw();
    curve?.redraw();
  }
  refresh();
  return { refresh };
}

const round = (value) => Number(value.toFixed(4));

function stroke(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

export default { render };
