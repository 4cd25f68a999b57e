// @ts-check
/** @file Plots on a canvas: scales, axes, lines, bands, layers that are kept, and the sheet that all is drawn on. */
import { hatching } from "./colours.js";
import { focusable, h } from "./elements.js";
import { number } from "./numbers.js";

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {[context: Context, width: number, height: number]} Canvas what a sheet is drawn on */
/** @typedef {import("./colours.js").Tone} Tone */
/** @typedef {{ left: number, right: number, top: number, bottom: number }} Box pixels */
/** @typedef {[number, number]} Ends */
/** @typedef {Partial<Context> & { dash?: number[] }} Style properties of the context, and a dash */

/**
 * @typedef {object} Reading of a scale, which is itself a function from a value to its pixel
 * @property {(pixel: number) => number} invert
 * @property {(n: number) => number[]} ticks
 * @property {number} low
 * @property {number} high
 */
/** @typedef {((value: number) => number) & Reading} Scale */

/**
 * @typedef {object} Sheet
 * @property {HTMLCanvasElement} canvas
 * @property {() => void} redraw at the next frame
 * @property {() => void} close
 */

/** @param {HTMLCanvasElement} canvas */
export const contextOf = (canvas) => /** @type {Context} */ (canvas.getContext("2d"));

/**
 * About n round numbers between two ends.
 * @param {number} low
 * @param {number} high
 */
export function ticks(low, high, n = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough * 0.999) ?? 10);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + 1e-12 * step; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

/**
 * Powers of ten between two positive ends, with 2 and 5 between them where there are few.
 * @param {number} low
 * @param {number} high
 */
export function logTicks(low, high, n = 6) {
  const found = [];
  const few = Math.log10(high / low) < n / 3;
  for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++)
    for (const m of few ? [1, 2, 5] : [1]) {
      const value = Number((m * 10 ** k).toPrecision(3));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  if (found.length < 2) return ticks(low, high, n);
  const every = Math.ceil(found.length / n);
  return few ? found : found.filter((_, i) => i % every === 0);
}

/**
 * A scale from values to pixels, with `invert` and `ticks`.
 * @param {Ends} values
 * @param {Ends} pixels
 * @returns {Scale}
 */
export function linear([low, high], [from, to]) {
  const slope = (to - from) / (high - low || 1);
  const scale = (/** @type {number} */ value) => from + (value - low) * slope;
  return Object.assign(scale, {
    invert: (/** @type {number} */ pixel) => low + (pixel - from) / slope,
    ticks: (/** @type {number} */ n) => ticks(low, high, n),
    low,
    high,
  });
}

/**
 * The same for values above 0, logarithmic.
 * @param {Ends} values
 * @param {Ends} pixels
 * @returns {Scale}
 */
export function log([low, high], pixels) {
  const inner = linear([Math.log(low), Math.log(high)], pixels);
  const scale = (/** @type {number} */ value) => inner(Math.log(Math.max(value, Number.MIN_VALUE)));
  return Object.assign(scale, {
    invert: (/** @type {number} */ pixel) => Math.exp(inner.invert(pixel)),
    ticks: (/** @type {number} */ n) => logTicks(low, high, n),
    low,
    high,
  });
}

/**
 * A canvas as wide as its parent, sharp on any screen; `draw` is called when it is due.
 * @param {Element} parent
 * @param {object} how
 * @param {number} how.height
 * @param {string} how.label
 * @param {boolean} [how.focus] whether it takes the focus
 * @param {(...on: Canvas) => void} how.draw
 * @returns {Sheet}
 */
export function sheet(parent, { height, label, focus = false, draw }) {
  const canvas = h("canvas", { class: "tm-canvas", role: "img", "aria-label": label, style: `height:${height}px` });
  if (focus) focusable(canvas);
  parent.append(canvas);
  const context = contextOf(canvas);
  let due = 0;
  const paint = () => {
    due = 0;
    const width = Math.floor(canvas.clientWidth);
    const ratio = devicePixelRatio || 1;
    if (width < 20) return;
    const [w, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== tall) [canvas.width, canvas.height] = [w, tall];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = '11px system-ui, "DejaVu Sans", sans-serif';
    draw(context, width, height);
  };
  const redraw = () => {
    due ||= requestAnimationFrame(paint);
  };
  const watching = new ResizeObserver(redraw);
  watching.observe(canvas);
  const close = () => {
    watching.disconnect();
    cancelAnimationFrame(due);
  };
  return { canvas, redraw, close };
}

/**
 * A picture that is kept and drawn anew when its key changes: what doesn't follow the hand costs nothing under it.
 * @param {(context: Context) => void} draw
 */
export function layer(draw) {
  const canvas = document.createElement("canvas");
  let drawn = "";
  return {
    stale: () => (drawn = ""),
    /**
     * @param {Context} above
     * @param {number} [from] pixels of the layer
     * @param {number} [to]
     */
    show(above, from = 0, to = canvas.height) {
      if (to <= from) return;
      inked(above, {}, () => {
        above.setTransform(1, 0, 0, 1, 0, 0);
        above.drawImage(canvas, 0, from, canvas.width, to - from, 0, from, canvas.width, to - from);
      });
    },
    /**
     * @param {Context} above of the sheet, whose size and transform the layer takes
     * @param {string} key
     */
    fit(above, key) {
      if (key === drawn) return;
      [canvas.width, canvas.height] = [above.canvas.width, above.canvas.height];
      const context = contextOf(canvas);
      context.setTransform(above.getTransform());
      context.font = above.font;
      draw(context);
      drawn = key;
    },
  };
}

/**
 * Draws axes around a box; either scale may be missing.
 * @param {Context} context
 * @param {Tone} tone
 * @param {Box} box
 * @param {object} what
 * @param {Scale} [what.x]
 * @param {Scale} [what.y]
 * @param {string} [what.xLabel]
 * @param {string} [what.yLabel]
 * @param {number[]} [what.xTicks]
 * @param {number[]} [what.yTicks]
 * @param {(value: number, digits: number) => string} [what.format] of the ticks of x
 */
export function axes(context, tone, box, { x, y, xLabel, yLabel, xTicks, yTicks, format = number }) {
  context.save();
  context.lineWidth = 1;
  context.strokeStyle = tone.grid;
  context.beginPath();
  if (x)
    for (const value of xTicks ?? x.ticks(Math.max(2, (box.right - box.left) / 90))) {
      const at = Math.round(x(value)) + 0.5;
      if (at < box.left - 1 || at > box.right + 1) continue;
      context.moveTo(at, box.top);
      context.lineTo(at, box.bottom);
      print(context, tone.soft, "center", "top", format(value, 3), at, box.bottom + 4);
    }
  if (y)
    for (const value of yTicks ?? y.ticks(Math.max(2, (box.bottom - box.top) / 40))) {
      const at = Math.round(y(value)) + 0.5;
      if (at < box.top - 1 || at > box.bottom + 1) continue;
      context.moveTo(box.left, at);
      context.lineTo(box.right, at);
      print(context, tone.soft, "right", "middle", number(value, 3), box.left - 5, at);
    }
  context.stroke();
  context.strokeStyle = tone.line;
  context.strokeRect(box.left + 0.5, box.top + 0.5, box.right - box.left - 1, box.bottom - box.top - 1);
  if (xLabel) print(context, tone.ink, "right", "top", xLabel, box.right, box.bottom + 17);
  if (yLabel) print(context, tone.ink, "left", "bottom", yLabel, 2, box.top - 4);
  context.restore();
}

/**
 * Draws with properties of the context, and a dash, that hold for this drawing alone.
 * @param {Context} context
 * @param {Style} style
 * @param {() => void} draw
 */
export function inked(context, { dash = [], ...style }, draw) {
  context.save();
  Object.assign(context, style);
  context.setLineDash(dash);
  draw();
  context.restore();
}

/**
 * @param {Context} context
 * @param {Box} box
 * @param {Style} style
 */
export const outlineBox = (context, { left, right, top, bottom }, style, inset = 0) =>
  inked(context, style, () =>
    context.strokeRect(left + inset, top + inset, right - left - 2 * inset, bottom - top - 2 * inset),
  );

/**
 * A small triangle that points at `tip`.
 * @param {Context} context
 * @param {number} x
 * @param {number} tip
 * @param {number} base
 */
export function triangle(context, x, tip, base, isFilled = true) {
  context.beginPath();
  context.moveTo(x, tip);
  context.lineTo(x - 4, base);
  context.lineTo(x + 4, base);
  context.closePath();
  context[isFilled ? "fill" : "stroke"]();
}

/**
 * Draws inside a box alone.
 * @param {Context} context
 * @param {Box} box
 * @param {() => void} draw
 */
export function clip(context, box, draw) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  context.clip();
  draw();
  context.restore();
}

/**
 * @param {Context} context
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 * @param {Style} style
 */
export function line(context, x0, y0, x1, y1, style) {
  inked(context, style, () => {
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  });
}

/**
 * Text at a place that `across` and `along` relate it to.
 * @param {Context} context
 * @param {string} colour
 * @param {CanvasTextAlign} across
 * @param {CanvasTextBaseline} along
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {number} [most] pixels wide
 */
export function print(context, colour, across, along, text, x, y, most) {
  context.fillStyle = colour;
  context.textAlign = across;
  context.textBaseline = along;
  context.fillText(text, x, y, most);
}

/**
 * A filled rectangle.
 * @param {Context} context
 * @param {Box} box
 * @param {Style} style
 */
export const fillBox = (context, { left, right, top, bottom }, style) =>
  inked(context, style, () => context.fillRect(left, top, right - left, bottom - top));

/**
 * An upright line through a box.
 * @param {Context} context
 * @param {number} at
 * @param {{ top: number, bottom: number }} box
 * @param {Style} style
 */
export const upright = (context, at, { top, bottom }, style) => line(context, at, top, at, bottom, style);

/**
 * A level line through a box.
 * @param {Context} context
 * @param {number} at
 * @param {Box} box
 * @param {Style} style
 */
export const level = (context, at, { left, right }, style) => line(context, left, at, right, at, style);

/**
 * A line through values, broken where one isn't finite.
 * @param {Context} context
 * @param {ArrayLike<number | null>} values
 * @param {(i: number) => number} x of the i-th value
 * @param {(value: number, i: number) => number} y
 * @param {Style} style
 */
export function trace(context, values, x, y, style) {
  context.beginPath();
  let open = false;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    const known = value !== null && Number.isFinite(value);
    if (known) context[open ? "lineTo" : "moveTo"](x(i), y(value, i));
    open = known;
  }
  inked(context, style, () => context.stroke());
}

/**
 * What `envelope` found, as a line up and down in each bin, broken where there is none.
 * @param {Context} context
 * @param {Float32Array} ends
 * @param {(bin: number) => number} x
 * @param {Scale} y
 * @param {Style} style
 */
export function band(context, ends, x, y, style) {
  const n = ends.length / 2;
  context.beginPath();
  let open = false;
  for (let i = 0; i < n; i++) {
    const known = !Number.isNaN(ends[i]);
    if (known) {
      context[open ? "lineTo" : "moveTo"](x(i), y(ends[n + i]));
      if (ends[i] !== ends[n + i]) context.lineTo(x(i), y(ends[i]));
    }
    open = known;
  }
  inked(context, style, () => context.stroke());
}

/**
 * A name with its line before it; returns where its text ends.
 * @param {Context} context
 * @param {Tone} tone
 * @param {number} left
 * @param {number} y of the middle
 * @param {{ name: string, colour: string, dash?: number[] }} what
 */
export function legend(context, tone, left, y, { name, colour, dash = [] }) {
  line(context, left, y, left + 20, y, { strokeStyle: colour, lineWidth: 1.8, dash });
  print(context, tone.ink, "left", "middle", name, left + 25, y);
  return left + 25 + context.measureText(name).width;
}

/**
 * Hatches stretches [left, right] of a box: what is hatched is a label.
 * @param {Context} context
 * @param {string} colour
 * @param {Box} box
 * @param {Ends[]} stretches pixels
 */
export function hatch(context, colour, box, stretches, globalAlpha = 0.45) {
  inked(context, { fillStyle: hatching(context, colour), globalAlpha }, () => {
    for (const [left, right] of stretches) context.fillRect(left, box.top, right - left, box.bottom - box.top);
  });
}

/**
 * The place in the window of a point of a canvas, as an event has it.
 * @param {HTMLCanvasElement} canvas
 * @param {number} x
 * @param {number} y
 */
export function placeOver(canvas, x, y) {
  const { left, top } = canvas.getBoundingClientRect();
  return { clientX: left + x, clientY: top + y };
}
