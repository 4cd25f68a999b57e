// @ts-check
/**
 * @file The panel of routing: the load of every expert by layer, and of one layer over time under the signal, by class
 * and condition, and over the training.
 */
import { button, h, select } from "./elements.js";
import { open, told } from "./frame.js";
import { expertName } from "./grid.js";
import { tooltip } from "./hands.js";
import { jsonOf, percent } from "./numbers.js";
import { classesView, mapView } from "./routing_map.js";
import { sceneOf, scoreAt } from "./routing_scene.js";
import { overView } from "./routing_time.js";
import { trainingView } from "./routing_training.js";

/** @typedef {import("./routing_scene.js").Scene} Scene */
/** @typedef {import("./routing_scene.js").State} State */

/** @type {import("./frame.js").Help} */
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
const FOLLOWED = ["recording", "window", "channel", "layer", "expert", "threshold", "scope", "palette"];

/** @param {{ model: import("./model.js").Model, el: HTMLElement }} place */
function render(place) {
  return open(place, { name: "routing", title: "Routing", help: HELP }, fill);
}

/**
 * @param {State} state
 * @param {import("./frame.js").Panel} panel
 */
function fill(state, panel) {
  const { absent, checkpoint, title } = state.facts();
  panel.root.dataset.state = absent ? "empty" : "ready";
  if (absent) return panel.body.append(told(absent));
  panel.heading.textContent = `Routing of ${title}${checkpoint ? `, checkpoint of ${checkpoint}` : ""}`;
  const refresh = draw(state, panel);
  state.on(FOLLOWED, refresh);
  panel.onTheme(refresh);
}

/**
 * @param {State} state
 * @param {import("./frame.js").Panel} panel
 */
function draw(state, panel) {
  const scene = sceneOf(state, panel);
  const tip = tooltip(panel.root);
  /** @type {(layer: number, expert: number) => void} */
  const drill = (layer, expert) => {
    state.set({ layer, expert });
    const share = scene.load.share[layer * scene.nExperts + expert];
    panel.say(`${expertName(layer, expert)}: ${percent(share)} of the choices`);
  };
  const choices = choicesView(scene);
  const map = mapView(scene, tip, drill);
  const over = overView(scene, tip, drill, refresh, () => write(scene));
  const classes = classesView(scene);
  const trained = trainingView(scene);
  const left = h("div", {}, map.node, classes.node);
  const right = h("div", {}, over.node, trained.node);
  panel.body.append(choices.node, h("div", { class: "tm-routing-grid" }, left, right));
  const views = [choices, map, over, classes, trained];
  function refresh() {
    scene.look();
    views.forEach((view) => view.show());
    write(scene);
  }
  refresh();
  return refresh;
}

/** @param {Scene} scene */
function choicesView({ state, facts, window, scope, series, track, turnPalette }) {
  const { tracks } = facts;
  const scopes = { all: `all ${tracks.length} recordings`, recording: "this recording", window: "its window" };
  /** @type {[string, string][]} */
  const channels = [
    ["", "all channels"],
    ...tracks[0].series.map((name) => /** @type {[string, string]} */ ([name, name])),
  ];
  const names = tracks.map(({ name, kind }) => /** @type {[string, string]} */ ([name, `${name} · ${kind}`]));
  const counted = select("What is counted", Object.entries(scopes), (value) => state.set({ scope: value }));
  const channel = select("Channel", channels, (value) => state.set({ channel: value }));
  const recording = select("Recording", names, (value) => state.set({ recording: value, window: [] }));
  const palette = button("Deviation from 1/E", turnPalette);
  const clear = button("No window", () => window.set([]));
  const word = (/** @type {string} */ text, /** @type {HTMLElement} */ node) => h("label", {}, `${text} `, node);
  const words = [word("Tokens of", counted), word("in", channel), word("Recording", recording)];
  return {
    node: h("div", { class: "tm-row" }, words, palette, clear),
    show() {
      const { name, series: known } = track();
      recording.value = name;
      channel.value = known[series()] ?? "";
      counted.value = scope();
      counted.options[2].disabled = clear.disabled = !window.now().length;
      palette.setAttribute("aria-pressed", String(state.get("palette") === "deviation"));
    },
  };
}

/**
 * Numbers for tests and whoever reads the page.
 * @param {Scene} scene
 */
function write(scene) {
  const { state, load, cursor } = scene;
  const [layer, expert] = [scene.layer(), scene.expert()];
  Object.assign(scene.panel.root.dataset, {
    recording: scene.track().name,
    channel: scene.track().series[scene.series()] ?? "",
    layer: String(layer),
    expert: String(expert),
    window: scene.window.now().join(","),
    scope: scene.scope(),
    palette: state.get("palette"),
    even: String(scene.even),
    cursor: cursor === null ? "" : String(cursor),
    load: jsonOf(load.share),
    share: expert < 0 ? "" : String(load.share[layer * scene.nExperts + expert]),
    entropy: jsonOf(load.entropy),
    balance: jsonOf(load.balance),
    dead: JSON.stringify(load.dead),
    threshold: String(state.get("threshold") ?? ""),
    score: cursor === null ? "" : String(scoreAt(scene, cursor)),
    atCursor: cursor === null ? "" : jsonOf(scene.sharesAt(cursor)),
  });
}

export default { render };
