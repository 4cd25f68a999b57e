// @ts-check
/** @file A window of time: the one that is brushed, how it looks, and the hand and keys that draw it. */
import { drag, keys, stepKeys } from "./hands.js";
import { clamp, round, seconds } from "./numbers.js";
import { fillBox, upright } from "./plot.js";

/** @typedef {import("./frame.js").Panel} Panel */
/** @typedef {import("./model.js").Values} Values */
/** @typedef {import("./plot.js").Context} Context */
/** @typedef {import("./plot.js").Scale} Scale */
/** @typedef {ReturnType<typeof shownWindow>} Window */

/**
 * A window from two times in either order inside [0, length]; [] when it is too short to mean anything.
 * @param {number} a
 * @param {number} b
 * @param {number} length
 */
export function windowOf(a, b, length) {
  const [start, end] = [Math.min(a, b), Math.max(a, b)].map((s) => clamp(s, 0, length));
  return end - start < length / 2000 ? [] : [round(start, 6), round(end, 6)];
}

/**
 * The window of a panel that shows one recording at a time: the one that a hand draws, or else the state's.
 * @param {import("./model.js").State<unknown>} state
 * @param {Panel} panel
 * @param {object} how
 * @param {() => string} how.recording the one that is shown
 * @param {string} how.none what no window is called
 * @param {(window: number[]) => Partial<Values>} [how.also] what else a new window changes
 */
export function shownWindow(state, panel, { recording, none, also = () => ({}) }) {
  /** @type {number[] | null} */
  let brush = null;
  return {
    isDrawn: () => brush !== null,
    now: () => brush ?? (state.get("recording") === recording() ? (state.get("window") ?? []) : []),
    /** @param {number[]} window an empty one: the state's again */
    draw(window) {
      brush = window.length ? window : null;
    },
    /** @param {number[]} window */
    set(window) {
      brush = null;
      state.set({ recording: recording(), window, ...also(window) });
      panel.say(window.length ? `Window ${seconds(window[0])} to ${seconds(window[1])}` : none);
    },
  };
}

/**
 * @typedef {object} TimeHands what is asked of a picture over time
 * @property {Panel} panel
 * @property {import("./hands.js").Tip} tip
 * @property {Window} window
 * @property {() => number} length s
 * @property {(px: number) => number} placeAt in a unit of the picture's own
 * @property {(a: number, b: number) => number[]} brushed the window between two places
 * @property {(a: number, b: number) => number[]} between the window between two times
 * @property {() => [number, number] | null} cursor begin and end in s of what stands under the crosshair
 * @property {import("./hands.js").Move} point at a place without pressing
 * @property {import("./hands.js").Move} drawing while a window is drawn
 * @property {import("./hands.js").Move} click
 * @property {(n: number) => void} step moves the crosshair
 * @property {(n: number) => void} next recording
 * @property {() => void} pinHere
 * @property {import("./hands.js").KeyTable} more keys
 */

/**
 * A pointer and keys over a picture of time: the crosshair follows, a stroke is a window, a click is a click.
 * @param {HTMLCanvasElement} canvas
 * @param {TimeHands} how
 */
export function timeHands(canvas, how) {
  const { panel, tip, window } = how;
  /** @type {number | null} */
  let from = null;
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) how.point(event.offsetX, event.offsetY, event);
  });
  canvas.addEventListener("pointerleave", tip.hide);
  drag(canvas, {
    start(px) {
      from = how.placeAt(px);
    },
    move(px, py, event) {
      window.draw(how.brushed(/** @type {number} */ (from), how.placeAt(px)));
      how.drawing(px, py, event);
    },
    end(px, py, event) {
      const drawn = how.brushed(/** @type {number} */ (from), how.placeAt(px));
      from = null;
      window.draw([]);
      if (drawn.length) window.set(drawn);
      else how.click(px, py, event);
    },
  });
  const edge = (/** @type {boolean} */ isEnd) => () => {
    const at = how.cursor();
    if (!at) return;
    const [a, b] = window.now().length ? window.now() : [0, how.length()];
    window.set(isEnd ? how.between(Math.min(a, at[0]), at[1]) : how.between(at[0], Math.max(b, at[1])));
  };
  keys(canvas, {
    ...stepKeys(how.step),
    "[": edge(false),
    "]": edge(true),
    n: () => how.next(1),
    p: () => how.next(-1),
    Enter: () => how.cursor() && how.pinHere(),
    Escape() {
      tip.pin(false);
      delete panel.root.dataset.pinned;
      window.set([]);
    },
    ...how.more,
  });
}

/**
 * Pins a note where it is asked for, in place of the one that was.
 * @param {Panel} panel
 * @param {import("./hands.js").Tip} tip
 * @param {import("./hands.js").Place} event
 * @param {string[]} lines
 * @param {string} name for data-pinned
 */
export function pinNote(panel, tip, event, lines, name) {
  tip.pin(false);
  tip.show(event, lines);
  tip.pin(true);
  panel.root.dataset.pinned = name;
}

/**
 * A window's tint and its two edges.
 * @param {Context} context
 * @param {string} colour
 * @param {Scale} x
 * @param {number[]} window may be empty
 * @param {{ top: number, bottom: number }} tinted
 * @param {{ top: number, bottom: number }} [edged]
 */
export function drawWindow(context, colour, x, window, tinted, edged = tinted, lineWidth = 1) {
  if (!window.length) return;
  const [left, right] = window.map(x);
  fillBox(context, { left, right, top: tinted.top, bottom: tinted.bottom }, { fillStyle: colour, globalAlpha: 0.14 });
  for (const at of [left, right]) upright(context, at, edged, { strokeStyle: colour, lineWidth });
}

/**
 * @param {Context} context
 * @param {string} colour
 * @param {number} at pixel
 * @param {{ top: number, bottom: number }} box
 */
export function crosshair(context, colour, at, box) {
  upright(context, Math.round(at) + 0.5, box, { strokeStyle: colour, dash: [3, 3] });
}
