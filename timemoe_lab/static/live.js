// The panel of a run that trains: how far it is, its curves, beats, routing, and what was asked of it
// (nbs/11_panel_live). It draws what Python found; it steers nothing.

import {
  ask,
  axes,
  cividis,
  colours,
  count,
  css,
  emptyState,
  focusable,
  frame,
  h,
  inkOn,
  isAlive,
  keys,
  linear,
  log,
  lowerBound,
  number,
  percent,
  readArray,
  sheet,
  stateOf,
  tableView,
  tooltip,
} from "./shared.js";

// ---------------------------------------------------------------- words and numbers

// A duration as a clock shows it: 2:05:09.
export function clock(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(s % 60)}` : `${minutes}:${pad(s % 60)}`;
}

// How long ago something was, in s, as text.
export function ago(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s ago`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

// The lowest and highest finite value of some rows, null without one.
export function extent(...rows) {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows)
    for (const value of row) if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low <= high ? [low, high] : null;
}

// Room around an extent: a twentieth on either side, or a tenth of the value where there is but one.
export function roomy([low, high], isLog = false) {
  if (isLog) {
    const pad = high > low ? (high / low) ** 0.05 : 1.1;
    return [low / pad, high * pad];
  }
  const pad = 0.05 * (high - low) || 0.1 * Math.abs(high) || 1;
  return [low - pad, high + pad];
}

// Whether all finite values are above 0, and there is one.
export const isPositive = (...rows) => (extent(...rows)?.[0] ?? 0) > 0;

// The place of the value of a rising list that is nearest to `value`; -1 in an empty one.
export function nearest(rising, value) {
  const i = Math.min(lowerBound(rising, value), rising.length - 1);
  return i > 0 && value - rising[i - 1] < rising[i] - value ? i - 1 : i;
}

// [layer, expert] of all experts that next to no token goes to.
export const deadOf = (layers) => layers.flatMap(({ layer, dead }) => dead.map((expert) => [layer, expert]));

// Where an F1 stands to the goal.
export function verdict(value, goal) {
  if (value == null) return "no F1";
  return value >= goal ? `goal ${number(goal)} met` : `${number(goal - value, 2)} below the goal ${number(goal)}`;
}

export const SIGNALS = { f1: "F1", synthetic_f1: "F1 on simulated faults", held_out: "held-out error" };
export const WORDS = {
  training: "● training",
  paused: "‖ paused",
  stopped: "■ stopped",
  finished: "✓ finished",
  "not started": "○ not started",
};

// A request as text.
export function requestText({ action, values, author }) {
  const what = Object.entries(values ?? {}).map(([name, value]) => `${name} = ${number(value)}`);
  return `${action.replace("_", " ")}${what.length ? `: ${what.join(", ")}` : ""} (${author})`;
}

// ---------------------------------------------------------------- the panel

const HELP = [
  ["← →", "in a picture: the logged step before, after; in the map: the expert beside"],
  ["Shift + ← →", "in a picture: ten steps"],
  ["Home End", "the first, the last"],
  ["L", "in the picture of the loss: logarithmic axis, and back"],
  ["↑ ↓", "in the map: the layer above, below"],
  ["Enter", "in the map: choose the expert; in the table: that beat's threshold; linked panels follow"],
  ["Esc", "in a picture: no crosshair"],
];
const CURVES = ["step", "loss", "huber", "lr", "delta", "gating_balance"];
const LEFT = 62;
const RIGHT = 12;
const DASHES = [[], [6, 3], [2, 2]];

function render({ model, el }) {
  const state = stateOf(model);
  const panel = frame(model, el, { title: "Live", help: HELP });
  panel.root.dataset.panel = "live";
  const { absent, about } = state.facts();
  if (absent) {
    const [before, command] = absent.split("`");
    panel.root.dataset.state = "empty";
    panel.body.append(emptyState(before, command));
  } else {
    panel.heading.textContent = `Live: ${about}`;
    const view = show(model, state, panel);
    state.on("now", view.refresh);
    state.on("_looks", view.heard);
    state.on(["layer", "expert", "threshold"], view.choose);
    panel.onTheme(view.draw);
    panel.onClose(watch(model, view.age));
  }
  return () => (state.close(), panel.close());
}

// Tells Python every few seconds that somebody looks, one question at a time; returns what ends that.
function watch(model, tick) {
  let [due, waiting] = [0, false];
  const timer = setInterval(() => {
    tick();
    if (waiting || document.hidden || performance.now() < due || !isAlive(model)) return;
    waiting = true;
    due = performance.now() + 5000;
    ask(model, { kind: "watching" })
      .catch(() => {})
      .finally(() => (waiting = false));
  }, 1000);
  return () => clearInterval(timer);
}

function show(model, state, panel) {
  const { root, body } = panel;
  const facts = state.facts();
  const tip = tooltip(root);
  let now = state.get("now");
  let curves = {};
  let tone = {};
  let heardAt = performance.now();
  let cursor = null; // a step
  let isLog = true; // where the values allow it
  let known = null; // what was announced: beats and state
  const from = (name) => curves[name] ?? [];

  // ------------------------------------------------ how far it is

  const word = h("span", { class: "tm-live-state" });
  const bar = h("progress", { "aria-label": "Steps done" });
  const far = h("span", {});
  const age = h("span", { class: "tm-soft" });
  const problem = h("div", { class: "tm-warning", role: "note", hidden: true });
  const empty = h("div", { hidden: true });
  const shown = h("dl", { class: "tm-live-facts" });
  const all = h("div", {});
  body.append(h("div", { class: "tm-row tm-live-row" }, word, bar, far, age), problem, empty, all);
  const [left, right] = [h("div", {}), h("div", {})];
  const grid = h("div", { class: "tm-live-grid" }, left, right);
  all.append(shown, grid);

  function showProgress() {
    const share = now.steps ? Math.min(1, now.step / now.steps) : 0;
    word.textContent = WORDS[now.state] ?? now.state;
    word.dataset.word = now.state;
    [bar.max, bar.value] = [1, share];
    const parts = [`step ${count(now.step)} of ${count(now.steps)}`, percent(Number(share.toFixed(3)))];
    if (now.left_s != null) parts.push(`${clock(now.left_s)} left`);
    if (now.device !== "unknown") parts.push(now.device);
    if (now.speed?.tokens_per_s) parts.push(`${count(now.speed.tokens_per_s)} tokens/s`);
    far.textContent = parts.join(" · ");
    problem.hidden = !now.problem;
    problem.textContent = now.problem ?? "";
  }
  function showAge() {
    const seconds = (performance.now() - heardAt) / 1000;
    const last = now.time ? `last event ${now.time.replace("T", " ").replace("+00:00", " UTC")}` : "";
    const isOld = seconds > facts.every_s + 3;
    root.dataset.age = String(Math.floor(seconds));
    const told = isOld ? `updated ${ago(seconds)}` : "up to date";
    const text = model.standIn ? last : isOld && isAlive(model) ? `${told}: the kernel is busy` : told;
    if (age.textContent !== text) age.textContent = text;
    age.title = last;
  }
  function showFacts() {
    const beat = now.beats.at(-1);
    const rows = [
      ["Loss", number(now.loss)],
      ["of it Huber", number(now.huber)],
      ["Learning rate", number(now.lr, 3)],
      ["Huber delta", number(now.knobs.delta)],
      ["Gating balance", facts.dense ? "dense model" : number(now.gating_balance)],
      [SIGNALS[beat?.signal ?? "f1"], number(beat?.value)],
      ["Threshold", number(beat?.threshold)],
      ["Next beat", now.next_beat],
    ];
    shown.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  // ------------------------------------------------ pictures

  const xOf = (width) => {
    const steps = from("step");
    return linear([steps[0] ?? 0, Math.max(steps.at(-1) ?? 1, (steps[0] ?? 0) + 1)], [LEFT, width - RIGHT]);
  };

  // Curves [name, steps, values, colour] in one box, with a legend above it.
  function plot(context, box, x, rows, { logarithmic = false, xLabel, goal, yLabel = "", low } = {}) {
    let range = extent(...rows.map((row) => row[2]), goal == null ? [] : [goal]);
    if (!range) return axes(context, tone, box, { x, xLabel, yLabel: `${rows[0][0]}: not known yet` });
    if (low != null) range[0] = Math.min(range[0], low);
    const bent = logarithmic && range[0] > 0;
    const y = (bent ? log : linear)(roomy(range, bent), [box.bottom, box.top]);
    axes(context, tone, box, { x, y, xLabel, yLabel, yTicks: y.ticks(box.bottom - box.top > 90 ? 5 : 3) });
    context.save();
    context.beginPath();
    context.rect(box.left - 5, box.top - 5, box.right - box.left + 10, box.bottom - box.top + 10);
    context.clip();
    rows.forEach(([, steps, values, colour, dots], k) => {
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = 1.6;
      context.setLineDash(DASHES[k]);
      context.beginPath();
      let open = false;
      values.forEach((value, i) => {
        if (!Number.isFinite(value)) return (open = false);
        open ? context.lineTo(x(steps[i]), y(value)) : context.moveTo(x(steps[i]), y(value));
        open = true;
      });
      context.stroke();
      if (dots || values.length < 3)
        values.forEach((value, i) => {
          if (!Number.isFinite(value)) return;
          context.beginPath();
          context.arc(x(steps[i]), y(value), i === values.length - 1 ? 4 : 2.5, 0, 7);
          context.fill();
        });
    });
    context.setLineDash([]);
    context.lineWidth = 1;
    if (goal != null) {
      context.strokeStyle = tone.ink;
      context.setLineDash([8, 3, 2, 3]);
      stroke(context, box.left, y(goal), box.right, y(goal));
    }
    if (cursor !== null) {
      context.setLineDash([]);
      context.strokeStyle = tone.soft;
      stroke(context, x(cursor), box.top, x(cursor), box.bottom);
    }
    context.restore();
    legend(context, box, rows, goal);
  }
  function legend(context, box, rows, goal) {
    const named = rows.map(([name, , , colour], k) => [name, colour, DASHES[k]]);
    if (goal != null) named.push([`goal ${number(goal)}`, tone.ink, [8, 3, 2, 3]]);
    let at = box.left;
    for (const [name, colour, dash] of named) {
      context.save();
      context.strokeStyle = colour;
      context.lineWidth = 1.8;
      context.setLineDash(dash);
      stroke(context, at, box.top - 9, at + 20, box.top - 9);
      context.fillStyle = tone.ink;
      context.textBaseline = "middle";
      context.fillText(name, at + 25, box.top - 9);
      at += context.measureText(name).width + 42;
      context.restore();
    }
  }
  // n boxes under each other
  const boxes = (width, height, n) => {
    const tall = (height - 14 - 20 * n) / n;
    return Array.from({ length: n }, (_, k) => ({
      left: LEFT,
      right: width - RIGHT,
      top: 20 + k * (tall + 18),
      bottom: 20 + k * (tall + 18) + tall - (k === n - 1 ? 14 : 0),
    }));
  };
  const noTicks = (x) => Object.assign((v) => x(v), { ...x, ticks: () => [] });
  const curve = (label, name, colour) => [label, from("step"), from(name), colour];

  const pictures = [];
  function picture(parent, { height, label, draw, press = {} }) {
    const inColour = (...how) => ((tone = colours(root)), draw(...how)); // a panel is made before it is on the page
    const made = sheet(parent, { height, label, focus: true, draw: inColour });
    pictures.push(made);
    panel.onClose(made.close);
    const { canvas } = made;
    canvas.addEventListener("pointermove", (event) => {
      if (!from("step").length) return;
      point(from("step")[nearest(from("step"), xOf(canvas.clientWidth).invert(event.offsetX))]);
      tip.show(event, linesAt());
    });
    canvas.addEventListener("pointerleave", () => (tip.hide(), point(null)));
    const go = (n) => () => {
      const steps = from("step");
      if (!steps.length) return;
      const at = cursor === null ? steps.length - (n < 0 ? 0 : 1) : nearest(steps, cursor);
      point(steps[Math.min(steps.length - 1, Math.max(0, at + n))]);
      panel.say(linesAt().join("; "));
      const box = canvas.getBoundingClientRect();
      tip.show({ clientX: box.left + xOf(box.width)(cursor), clientY: box.top + 20 }, linesAt());
    };
    keys(canvas, {
      ArrowLeft: go(-1),
      ArrowRight: go(1),
      "Shift+ArrowLeft": go(-10),
      "Shift+ArrowRight": go(10),
      Home: go(-Infinity),
      End: go(Infinity),
      Escape: () => (tip.hide(), point(null)),
      ...press,
    });
    canvas.addEventListener("blur", () => (tip.hide(), point(null)));
    return made;
  }
  function point(step) {
    if (step === cursor) return;
    cursor = step;
    root.dataset.cursor = cursor === null ? "" : String(cursor);
    pictures.forEach((one) => one.redraw());
  }
  function linesAt() {
    const i = nearest(from("step"), cursor);
    const value = (name, digits) => number(from(name)[i], digits);
    const found = [`step ${count(cursor)}`, `loss ${value("loss")}, of it Huber ${value("huber")}`];
    found.push(`learning rate ${value("lr", 3)}, delta ${value("delta")}`);
    if (!facts.dense) found.push(`balance ${value("gating_balance")}`);
    const beat = now.beats.findLast((one) => one.step <= cursor);
    if (beat) found.push(`beat at ${count(beat.step)}: ${SIGNALS[beat.signal]} ${number(beat.value)}`);
    return found;
  }

  const turn = () => {
    isLog = !isLog;
    root.dataset.log = String(isLog);
    scaleButton.setAttribute("aria-pressed", String(isLog));
    pictures[0].redraw();
  };
  root.dataset.log = "true";
  const scaleButton = h("button", { type: "button", "aria-pressed": "true", onclick: turn }, "Logarithmic");
  left.append(h("div", { class: "tm-row" }, h("strong", {}, "Loss"), h("span", { class: "tm-space" }), scaleButton));
  picture(left, {
    height: 210,
    label: "Loss over steps",
    press: { l: turn },
    draw(context, width, height) {
      const [box] = boxes(width, height, 1);
      const rows = [curve("total", "loss", tone.anomaly), curve("Huber", "huber", tone.normal)];
      plot(context, box, xOf(width), rows, { logarithmic: isLog, xLabel: "step" });
    },
  });
  left.append(h("div", { class: "tm-row" }, h("strong", {}, "Learning rate, Huber delta and gating balance")));
  picture(left, {
    height: facts.dense ? 190 : 270,
    label: "Learning rate, Huber delta and gating balance over steps",
    draw(context, width, height) {
      const rows = [curve("learning rate", "lr", tone.precision), curve("Huber delta", "delta", tone.fbeta)];
      if (!facts.dense) rows.push(curve("gating balance (0 is even)", "gating_balance", tone.normal));
      const x = xOf(width);
      boxes(width, height, rows.length).forEach((box, k) => {
        const isLast = k === rows.length - 1;
        plot(context, box, isLast ? x : noTicks(x), [rows[k]], {
          xLabel: isLast ? "step" : "",
          low: k === 2 ? 0 : null,
        });
      });
    },
  });
  left.append(
    tableView("curves", ["Step", "Loss", "Huber", "Learning rate", "Delta", "Balance"], () => {
      const every = Math.max(1, Math.floor(from("step").length / 40));
      const at = [...from("step").keys()].filter((i) => i % every === 0 || i === from("step").length - 1);
      return at.reverse().map((i) => [count(from("step")[i]), ...CURVES.slice(1).map((name) => number(from(name)[i]))]);
    }),
  );

  // ------------------------------------------------ routing

  const map = h("div", { class: "tm-live-map tm-live-scroll" });
  const dead = h("p", {});
  if (facts.dense) right.append(h("p", { class: "tm-empty" }, "A dense model: it has no experts."));
  else right.append(h("div", { class: "tm-row" }, h("strong", {}, "Load of the experts")), map, dead);
  let buttons = [];
  let cell = null;
  function build(layers) {
    const caption = h("caption", {});
    buttons = layers.map(({ load, layer }, row) =>
      load.map((_, expert) => {
        const button = h("button", { type: "button", tabindex: -1, onclick: () => drill(layer, expert) });
        const go = (dl, de) => () => {
          cell = [
            Math.min(layers.length - 1, Math.max(0, row + dl)),
            Math.min(load.length - 1, Math.max(0, expert + de)),
          ];
          showMap();
          buttons[cell[0]][cell[1]].focus();
        };
        keys(button, {
          ArrowLeft: go(0, -1),
          ArrowRight: go(0, 1),
          ArrowUp: go(-1, 0),
          ArrowDown: go(1, 0),
          Home: go(0, -Infinity),
          End: go(0, Infinity),
        });
        return button;
      }),
    );
    const head = ["Layer", ...buttons[0].map((_, e) => `E${e}`), "Balance"].map((text) =>
      h("th", { scope: "col" }, text),
    );
    const row = (cells, i) => [
      h("th", { scope: "row" }, String(layers[i].layer)),
      cells.map((b) => h("td", { role: "gridcell" }, b)),
      h("td", { role: "gridcell" }),
    ];
    const rows = buttons.map((cells, i) => h("tr", {}, row(cells, i)));
    map.replaceChildren(h("table", { role: "grid" }, caption, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)));
  }
  function drill(layer, expert) {
    cell = null;
    state.set({ layer, expert });
    const { load, dead: lost } = now.routing.layers.find((one) => one.layer === layer);
    panel.say(`layer ${layer}, expert ${expert}: ${percent(load[expert])}${lost.includes(expert) ? ", dead" : ""}`);
  }
  function showMap() {
    const { layers, even, steps, note } = now.routing;
    if (facts.dense) return;
    if (!layers.length) return map.replaceChildren(h("p", { class: "tm-soft" }, note));
    if (buttons.length !== layers.length || buttons[0].length !== layers[0].load.length || !map.querySelector("table"))
      build(layers);
    const most = Math.max(2 * even, ...layers.flatMap((one) => one.load));
    const chosen = layers.findIndex((one) => one.layer === state.get("layer"));
    const [rowHere, expertHere] = cell ?? [Math.max(0, chosen), Math.max(0, state.get("expert"))];
    layers.forEach(({ layer, load, dead: lost, balance }, row) => {
      load.forEach((share, expert) => {
        const [button, colour, isDead] = [buttons[row][expert], cividis(share / most), lost.includes(expert)];
        const isChosen = row === chosen && expert === state.get("expert");
        [button.style.background, button.style.color] = [css(colour), inkOn(colour)];
        button.textContent = `${isDead ? "† " : ""}${(100 * share).toFixed(1)}`;
        button.tabIndex = row === rowHere && expert === Math.min(expertHere, load.length - 1) ? 0 : -1;
        button.classList.toggle("tm-live-dead", isDead);
        button.classList.toggle("tm-live-chosen", isChosen);
        button.parentElement.setAttribute("aria-selected", String(isChosen));
        const told = `layer ${layer}, expert ${expert}: ${percent(share)} of the choices${isDead ? ", dead" : ""}`;
        button.setAttribute("aria-label", told);
      });
      map.querySelectorAll("tbody tr")[row].lastChild.textContent = number(balance, 3);
    });
    const span = steps.length > 1 ? `mean of steps ${count(steps[0])} to ${count(steps.at(-1))}` : `step ${steps[0]}`;
    const told = `% of a layer's choices, ${span}; even is ${percent(even)}. † is dead.`;
    map.querySelector("caption").textContent = told;
    dead.textContent = `${note[0].toUpperCase()}${note.slice(1)}.`;
    dead.className = deadOf(layers).length ? "tm-warning" : "tm-soft";
  }

  // ------------------------------------------------ beats

  const beatsHead = h("span", { class: "tm-soft" });
  right.append(h("div", { class: "tm-row" }, h("strong", {}, "Over the beats"), beatsHead));
  picture(right, {
    height: 250,
    label: "F1 and threshold over beats",
    draw(context, width, height) {
      const [above, below] = boxes(width, height, 2);
      const { beats } = now;
      const signal = beats.at(-1)?.signal ?? "f1";
      const x = xOf(width);
      const steps = beats.map((one) => one.step);
      const of = (name) => beats.map((one) => (name === "value" && one.signal !== signal ? NaN : (one[name] ?? NaN)));
      const goal = signal === "held_out" ? null : facts.goal;
      plot(context, above, noTicks(x), [[SIGNALS[signal], steps, of("value"), tone.fbeta, true]], { goal });
      const thresholds = [["threshold", steps, of("threshold"), tone.threshold, true]];
      const chosen = state.get("threshold");
      const isOwn = chosen != null && chosen !== beats.at(-1)?.threshold;
      if (isOwn) thresholds.push([`chosen ${number(chosen)}`, [x.low, x.high], [chosen, chosen], tone.link]);
      plot(context, below, x, thresholds, { xLabel: "step" });
    },
  });

  const beatsBox = h("div", { class: "tm-live-scroll tm-live-beats" });
  const news = h("div", { class: "tm-live-news" });
  focusable(beatsBox, "Beats and epochs");
  beatsBox.setAttribute("role", "region");
  const beatsNote = h("p", { class: "tm-soft" });
  all.append(h("div", { class: "tm-live-grid" }, h("div", {}, beatsNote, beatsBox), news));
  let drawn = "";
  function showBeats() {
    const { columns, rows, left_out: leftOut, every } = now.table;
    const beat = now.beats.at(-1);
    beatsHead.textContent = !beat ? "none yet" : beat.signal === "held_out" ? "" : verdict(beat.value, facts.goal);
    const text = JSON.stringify(now.table);
    if (text === drawn) return mark();
    drawn = text;
    const focused = document.activeElement?.closest?.("[data-beat]")?.dataset.beat;
    const newest = rows.findLastIndex((row) => row.is_beat);
    const place = (i) => now.beats[now.beats.length - rows.slice(i).filter((row) => row.is_beat).length];
    const made = rows.map(({ cells, is_beat: isBeat }, i) => {
      const one = isBeat ? place(i) : null;
      const set = () => (state.set({ threshold: one.threshold }), panel.say(`Threshold ${number(one.threshold)}`));
      const label = one && `Beat at step ${one.step}: take its threshold ${number(one.threshold)}`;
      const first = one
        ? h("button", { type: "button", "data-beat": one.step, "aria-label": label, onclick: set }, cells[0])
        : cells[0];
      const last = i === newest ? `${cells.at(-1)}, newest` : cells.at(-1);
      const texts = [first, ...cells.slice(1, -1), last].map((content) => h("td", {}, content));
      return h("tr", { class: i === newest ? "tm-live-newest" : null, "data-kind": isBeat ? "beat" : "epoch" }, texts);
    });
    const more = `${leftOut ? ` ${count(leftOut)} earlier rows are left out.` : ""}`;
    const some = every > 1 ? ` One epoch of ${every} is shown.` : "";
    beatsNote.textContent = rows.length
      ? `Beats and epochs, the newest first; a beat's button takes its threshold.${more}${some}`
      : "No beat and no epoch yet.";
    const head = columns.map((name) => h("th", { scope: "col" }, name));
    const parts = [h("thead", {}, h("tr", {}, head)), h("tbody", {}, made.reverse())];
    beatsBox.replaceChildren(rows.length ? h("table", { "aria-label": "Beats and epochs" }, parts) : "");
    beatsBox.querySelector(`[data-beat="${focused}"]`)?.focus();
    mark();
  }
  function mark() {
    for (const button of beatsBox.querySelectorAll("[data-beat]")) {
      const beat = now.beats.find((one) => String(one.step) === button.dataset.beat);
      button.setAttribute("aria-pressed", String(beat?.threshold === state.get("threshold")));
    }
  }
  function showNews() {
    const parts = [
      ["Asked, without an answer yet", now.pending.map(requestText)],
      ["Warnings", now.warnings],
      ["Decisions", now.decisions],
    ];
    const list = (name, lines) => [
      h("h4", {}, name),
      h(
        "ul",
        {},
        lines.toReversed().map((line) => h("li", {}, line)),
      ),
    ];
    news.replaceChildren(...parts.filter(([, lines]) => lines.length).flatMap(([name, lines]) => list(name, lines)));
  }

  // ------------------------------------------------ all of it

  function announce() {
    const beat = now.beats.at(-1);
    const told = { state: now.state, beat: beat?.step ?? null };
    const parts = [];
    if (known && told.state !== known.state) parts.push(`The run is ${now.state}`);
    if (known && told.beat !== null && told.beat !== known.beat)
      parts.push(
        `Beat at step ${beat.step}: ${SIGNALS[beat.signal]} ${number(beat.value)}, threshold ${number(beat.threshold)}`,
      );
    known = told;
    if (parts.length) panel.say(parts.join(". "));
  }
  function write() {
    const beat = now.beats.at(-1);
    const text = (value) => (value == null ? "" : String(value));
    Object.assign(root.dataset, {
      state: now.state,
      step: text(now.step),
      steps: text(now.steps),
      loss: text(now.loss),
      beats: String(now.beats.length),
      threshold: text(beat?.threshold),
      f1: text(beat?.f1),
      delta: text(now.knobs.delta),
      dead: JSON.stringify(deadOf(now.routing.layers)),
      load: JSON.stringify(now.routing.layers.map((one) => one.load)),
      pending: String(now.pending.length),
      points: String(from("step").length),
    });
    choose();
  }
  function choose() {
    const chosen = state.get("threshold");
    Object.assign(root.dataset, {
      layer: String(state.get("layer")),
      expert: String(state.get("expert")),
      chosen: chosen == null ? "" : String(chosen),
    });
    mark();
    showMap();
    pictures.at(-1).redraw();
  }
  function name() {
    const beat = now.beats.at(-1);
    const at = `at step ${count(now.step)}`;
    const balance = facts.dense ? "" : `, balance ${number(now.gating_balance)}`;
    const last = `at the last of ${now.beats.length} beats`;
    const labels = [
      `Loss ${number(now.loss)} ${at}; its table is below`,
      `Learning rate ${number(now.lr, 3)}, delta ${number(now.knobs.delta)}${balance} ${at}`,
      beat
        ? `${SIGNALS[beat.signal]} ${number(beat.value)} and threshold ${number(beat.threshold)} ${last}`
        : "F1 and threshold: no beat yet",
    ];
    pictures.forEach((one, i) => one.canvas.setAttribute("aria-label", labels[i]));
  }
  const draw = () => pictures.forEach((one) => one.redraw());
  function refresh() {
    now = state.get("now");
    if (!now?.state) {
      all.hidden = true;
      problem.hidden = !now?.problem;
      problem.textContent = now?.problem ?? "";
      root.dataset.state = "unknown";
      return;
    }
    curves = Object.fromEntries(CURVES.map((key) => [key, readArray(model, key) ?? []]));
    const isEmpty = !curves.step.length;
    all.hidden = isEmpty;
    empty.hidden = !isEmpty;
    if (isEmpty) {
      const begun = now.live
        ? "A process has begun; its first step isn't logged yet."
        : "No step has been logged. Go on with";
      empty.replaceChildren(emptyState(begun, now.live ? null : facts.resume));
    }
    showProgress();
    showFacts();
    showBeats();
    showNews();
    write();
    name();
    announce();
    draw();
    showAge();
  }
  refresh();
  return { refresh, draw, choose, age: showAge, heard: () => ((heardAt = performance.now()), showAge()) };
}

function stroke(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

export default { render };
