// @ts-check
/**
 * @file The panel of channels: each with its score, ranked by what it adds to the score of the window under the brush,
 * and beside them spectrum, Park's vector and negative sequence over what healthy recordings show.
 */
import { physicsView } from "./channels_physics.js";
import { rankingView } from "./channels_ranking.js";
import { sceneOf } from "./channels_scene.js";
import { timeView } from "./channels_time.js";
import { button, h, select } from "./elements.js";
import { open, told } from "./frame.js";
import { tooltip } from "./hands.js";
import { count, jsonOf } from "./numbers.js";

/** @typedef {import("./channels_scene.js").Scene} Scene */
/** @typedef {import("./channels_scene.js").Facts} Facts */
/** @typedef {import("./channels_scene.js").State} State */

/** @type {import("./frame.js").Help} */
const HELP = [
  ["← →", "move the crosshair; with Shift ten times as far"],
  ["[ ]", "begin, end the window at the crosshair (or drag)"],
  ["Esc", "no window; lets go of what is pinned"],
  ["Z", "zoom into the window, and out"],
  ["Enter", "pin what stands at the crosshair (or click)"],
  ["↑ ↓", "the channel above, below"],
  ["N P", "next, previous recording"],
];

/** @param {{ model: import("./model.js").Model, el: HTMLElement }} place */
function render(place) {
  return open(place, { name: "channels", title: "Channels", help: HELP }, fill);
}

/**
 * @param {State} state
 * @param {import("./frame.js").Panel} panel
 */
function fill(state, panel) {
  const { root, body } = panel;
  const tip = tooltip(root);
  /** @type {ReturnType<typeof recordingView> | null} */
  let view = null;
  const close = () => {
    view?.close();
    view = null;
  };
  function build() {
    close();
    body.replaceChildren();
    const facts = state.facts();
    const any = Boolean(facts.names?.length);
    panel.heading.textContent = any ? `Channels of ${facts.title}` : "Channels";
    root.dataset.state = any ? (facts.absent ? "unscored" : "ready") : "empty";
    if (any) view = recordingView(state, panel, tip);
    else body.append(told(facts.absent ?? ""));
  }
  build();
  state.on("facts", build);
  state.on(["window", "channel", "threshold"], () => view?.refresh());
  panel.onTheme(() => view?.refresh());
  panel.onClose(close);
}

/**
 * One recording: what is above the pictures, over time, the ranking, and the physics.
 * @param {State} state
 * @param {import("./frame.js").Panel} panel
 * @param {import("./hands.js").Tip} tip
 */
function recordingView(state, panel, tip) {
  const scene = sceneOf(state, panel);
  const { facts } = scene;
  const choices = choicesView(scene, refresh);
  const time = timeView(scene, tip, choices.next, refresh);
  const ranks = rankingView(scene);
  const physics = physicsView(scene, refresh);
  const side = h("div", { class: "tm-channels-side" }, ranks.node, physics.nodes);
  panel.body.append(choices.node);
  if (facts.absent) panel.body.append(told(facts.absent));
  panel.body.append(notes(facts), h("div", { class: "tm-channels-grid" }, time.node, side));
  const views = [choices, time, ranks, physics];

  /** Follows the state; once a hand has let go, the kernel is asked for the physics of the window. */
  function refresh(isSettled = true) {
    scene.look();
    views.forEach((view) => view.show());
    scene.redraw();
    write(scene);
    if (isSettled && !scene.window.isDrawn()) physics.ask();
  }
  refresh();
  const closing = [choices, physics, ...scene.sheets];
  return { refresh, close: () => closing.forEach((one) => one.close()) };
}

/** @param {Facts} facts */
function notes(facts) {
  const found = facts.labelled ? [] : ["No label: whether there is a fault isn't known, and nothing is hatched."];
  facts.missing.forEach((n, i) => {
    if (n) found.push(`${facts.channels[i]}: ${count(n)} of ${count(facts.samples)} samples are missing.`);
  });
  return found.length ? h("div", { class: "tm-warning" }, found.join(" ")) : "";
}

/**
 * @param {Scene} scene
 * @param {(isSettled: boolean) => void} refresh
 */
function choicesView(scene, refresh) {
  const { state, facts, window } = scene;
  const names = facts.names ?? [];
  const to = (/** @type {string} */ name) => state.set({ recording: name, window: [] });
  const options = names.map((name, i) => /** @type {[string, string]} */ ([name, `${name} · ${facts.kinds[i]}`]));
  const choice = select("Recording", options, to);
  choice.value = facts.name;
  const turnZoom = () => {
    scene.isZoomed = !scene.isZoomed;
    refresh(false);
  };
  const zoom = button("Zoom to window", turnZoom, { "aria-pressed": "false" });
  const clear = button("Whole recording", () => window.set([]));
  const said = h("span", { class: "tm-soft" });
  const watching = setInterval(() => (choice.disabled = !scene.alive()), 1000);
  return {
    node: h("div", { class: "tm-row" }, choice, zoom, clear, said),
    /** @param {number} step */
    next(step) {
      const i = names.indexOf(facts.name) + step;
      if (names[i] !== undefined && scene.alive()) to(names[i]);
    },
    show() {
      said.textContent = scene.stretch();
      zoom.setAttribute("aria-pressed", String(scene.isZoomed));
      zoom.disabled = clear.disabled = !window.now().length;
      choice.disabled = !scene.alive();
    },
    close: () => clearInterval(watching),
  };
}

/**
 * Numbers for tests and whoever reads the page.
 * @param {Scene} scene
 */
function write(scene) {
  const { state, facts, physics, ranking } = scene;
  const window = scene.window.now();
  const i = scene.chosen();
  Object.assign(scene.panel.root.dataset, {
    recording: facts.name,
    channel: facts.channels[i],
    window: window.join(","),
    in: window.length ? "window" : "all",
    threshold: String(state.get("threshold") ?? ""),
    zoomed: String(scene.isZoomed),
    supply: String(physics.supply_hz ?? ""),
    slip: String(physics.slip ?? ""),
    marks: JSON.stringify(physics.marks.map((one) => [one.name, one.hz])),
    lines: JSON.stringify(physics.line.value[i]),
    high: JSON.stringify(physics.line.high?.[i] ?? null),
    above: JSON.stringify(scene.above(i)),
    healthy: String(physics.n),
    physicsWindow: physics.window.join(","),
    negative: JSON.stringify([physics.negative.low, physics.negative.high]),
  });
  if (ranking)
    Object.assign(scene.panel.root.dataset, {
      order: JSON.stringify(ranking.order.map((k) => facts.channels[k])),
      mean: jsonOf(ranking.mean),
      share: jsonOf(ranking.share),
      l1: jsonOf(ranking.l1),
    });
}

export default { render };
