// @ts-check
/**
 * @file The panel of a run that trains: how far it is, its curves, beats, routing, and what was asked of it. It draws
 * what Python found; it steers nothing.
 */
import { colours } from "./colours.js";
import { h } from "./elements.js";
import { open, told } from "./frame.js";
import { tooltip } from "./hands.js";
import { beatsPicture, beatsView, newsView } from "./live_beats.js";
import { curvesView } from "./live_curves.js";
import { loadView } from "./live_load.js";
import { factsView, progressView } from "./live_progress.js";
import { deadOf, SIGNALS } from "./live_words.js";
import { ask, isAlive, readArray } from "./model.js";
import { number } from "./numbers.js";

/** @typedef {import("./model.js").State<Facts>} State */
/** @typedef {import("./frame.js").Panel} Panel */
/** @typedef {ReturnType<typeof sceneOf>} Scene */
/** @typedef {{ action: string, values?: Record<string, number>, author: string }} Request */

/**
 * @typedef {object} Facts
 * @property {string} [absent] why there is nothing
 * @property {string} about
 * @property {boolean} dense whether the model has no experts
 * @property {number} goal of F1
 * @property {number} every_s how often Python looks
 * @property {string} resume the command that goes on
 */

/**
 * @typedef {object} Beat
 * @property {number} step
 * @property {string} signal "f1", "synthetic_f1" or "held_out"
 * @property {number | null} value of the signal
 * @property {number | null} threshold
 * @property {number | null} f1
 */

/** @typedef {{ layer: number, load: number[], dead: number[], balance: number }} Layer */

/** @typedef {{ cells: string[], is_beat: boolean }} Line */
/** @typedef {{ columns: string[], rows: Line[], left_out: number, every: number }} Table */

/**
 * @typedef {object} Now what Python last found
 * @property {string} [state]
 * @property {string} [problem]
 * @property {boolean} live whether a process has begun
 * @property {number} step
 * @property {number} steps of the whole training
 * @property {string} [time] of the last event
 * @property {number | null} left_s
 * @property {string} device
 * @property {{ tokens_per_s?: number }} [speed]
 * @property {number | null} loss
 * @property {number | null} huber
 * @property {number | null} lr
 * @property {number | null} gating_balance
 * @property {{ delta?: number }} knobs
 * @property {string} next_beat
 * @property {Beat[]} beats
 * @property {Table} table
 * @property {{ layers: Layer[], even: number, steps: number[], note: string }} routing
 * @property {Request[]} pending
 * @property {string[]} warnings
 * @property {string[]} decisions
 */

/** @type {import("./frame.js").Help} */
const HELP = [
  ["← →", "in a picture: the logged step before, after; in the map: the expert beside"],
  ["Shift + ← →", "in a picture: ten steps"],
  ["Home End", "the first, the last"],
  ["L", "in the picture of the loss: logarithmic axis, and back"],
  ["↑ ↓", "in the map: the layer above, below"],
  ["Enter", "in the map: choose the expert; in the table: that beat's threshold; linked panels follow"],
  ["Esc", "in a picture: no crosshair"],
];
const CURVES = /** @type {const} */ (["step", "loss", "huber", "lr", "delta", "gating_balance"]);

/** @param {{ model: import("./model.js").Model, el: HTMLElement }} place */
function render(place) {
  return open(place, { name: "live", title: "Live", help: HELP }, fill);
}

/**
 * @param {State} state
 * @param {Panel} panel
 */
function fill(state, panel) {
  const { absent, about } = state.facts();
  if (absent) {
    panel.root.dataset.state = "empty";
    return panel.body.append(told(absent));
  }
  panel.heading.textContent = `Live: ${about}`;
  const scene = sceneOf(state, panel);
  const progress = progressView(scene);
  const views = viewsOf(scene, progress);
  /** Follows what was chosen, here or in a linked panel. */
  const choose = () => {
    writeChosen(scene);
    if (scene.now.state) views.forEach((view) => view.choose?.());
  };
  const announce = announcer(scene);
  function refresh() {
    scene.look();
    progress.show();
    if (scene.now.state) {
      views.forEach((view) => view.show());
      write(scene);
      choose();
      announce();
      scene.redraw();
    } else panel.root.dataset.state = "unknown";
  }
  refresh();
  state.on("now", refresh);
  state.on("_looks", progress.heard);
  state.on(["layer", "expert", "threshold"], choose);
  panel.onTheme(() => scene.redraw());
  panel.onClose(watch(state, progress.showAge));
}

/**
 * The run as the panel shows it, and the pictures that share one crosshair.
 * @param {State} state
 * @param {Panel} panel
 */
function sceneOf(state, panel) {
  /** @type {ArrayLike<number>} */
  const none = [];
  return {
    state,
    panel,
    facts: state.facts(),
    tip: tooltip(panel.root),
    tone: /** @type {import("./colours.js").Tone} */ ({}),
    now: /** @type {Now} */ ({}),
    curves: { step: none, loss: none, huber: none, lr: none, delta: none, gating_balance: none },
    cursor: /** @type {number | null} */ (null), // a step
    sheets: /** @type {import("./plot.js").Sheet[]} */ ([]),
    redraw() {
      this.tone = colours(panel.root);
      this.sheets.forEach((one) => one.redraw());
    },
    look() {
      this.now = /** @type {Now} */ (state.model.get("now") ?? {});
      for (const name of CURVES) this.curves[name] = readArray(state.model, name) ?? [];
    },
    /** The newest beat. */
    beat() {
      return this.now.beats[this.now.beats.length - 1];
    },
  };
}

/**
 * What is under the line of progress.
 * @param {Scene} scene
 * @param {ReturnType<typeof progressView>} progress
 * @returns {{ show: () => void, choose?: () => void }[]}
 */
function viewsOf(scene, progress) {
  const facts = factsView(scene);
  const curves = curvesView(scene);
  const load = loadView(scene);
  const picture = beatsPicture(scene);
  const beats = beatsView(scene);
  const news = newsView(scene);
  const left = h("div", {}, curves.nodes);
  const right = h("div", {}, load.nodes, picture.nodes);
  progress.all.append(
    facts.node,
    h("div", { class: "tm-live-grid" }, left, right),
    h("div", { class: "tm-live-grid" }, beats.node, news.node),
  );
  scene.panel.body.append(...progress.nodes);
  return [facts, curves, load, picture, beats, news];
}

/**
 * Tells Python every few seconds that somebody looks, one question at a time; returns what ends that.
 * @param {State} state
 * @param {() => void} tick
 */
function watch({ model }, tick) {
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

/**
 * Says aloud what has changed: the run's state, a further beat.
 * @param {Scene} scene
 */
function announcer(scene) {
  /** @type {{ state?: string, beat: number | null } | null} */
  let known = null;
  return () => {
    const beat = scene.beat();
    const told = { state: scene.now.state, beat: beat?.step ?? null };
    const parts = [];
    if (known && told.state !== known.state) parts.push(`The run is ${told.state}`);
    if (known && told.beat !== null && told.beat !== known.beat) {
      const threshold = `threshold ${number(beat.threshold)}`;
      parts.push(`Beat at step ${beat.step}: ${SIGNALS[beat.signal]} ${number(beat.value)}, ${threshold}`);
    }
    known = told;
    if (parts.length) scene.panel.say(parts.join(". "));
  };
}

/**
 * Numbers for tests and whoever reads the page.
 * @param {Scene} scene
 */
function write(scene) {
  const { now, curves, panel } = scene;
  const beat = scene.beat();
  const text = (/** @type {unknown} */ value) => (value == null ? "" : String(value));
  Object.assign(panel.root.dataset, {
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
    points: String(curves.step.length),
  });
}

/** @param {Scene} scene */
function writeChosen({ state, panel }) {
  Object.assign(panel.root.dataset, {
    layer: String(state.get("layer")),
    expert: String(state.get("expert")),
    chosen: String(state.get("threshold") ?? ""),
  });
}

export default { render };
