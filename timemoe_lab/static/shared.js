// What all panels share. A panel is one self-contained module: this file followed by its own, without its import line
// (see nbs/11_panel.ipynb). Nothing here asks a network for anything.

// ---------------------------------------------------------------- elements

// An element with attributes and children; a function as an attribute listens (onclick and so on).
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(key, value === true ? "" : value);
  }
  if (["button", "input", "select", "summary"].includes(tag)) focusable(node);
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

// Lets a node take the focus; JupyterLab then leaves its keys alone (the attribute counts on the node itself only).
export function focusable(node, label) {
  node.dataset.lmSuppressShortcuts = "true";
  if (label) node.setAttribute("aria-label", label);
  if (node.tabIndex < 0 && node.getAttribute("tabindex") == null) node.tabIndex = 0;
  return node;
}

export function table(caption, columns, rows) {
  const cell = (tag) => (text) => h(tag, tag === "th" ? { scope: "col" } : {}, String(text));
  return h(
    "table",
    {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(cell("th")))),
    h(
      "tbody",
      {},
      rows.map((row) => h("tr", {}, row.map(cell("td")))),
    ),
  );
}

// A picture's numbers as a table, behind a line that opens it; it is made when it is opened.
export function tableView(caption, columns, makeRows) {
  const details = h("details", { class: "tm-table" }, h("summary", {}, `Table: ${caption}`));
  details.addEventListener("toggle", () => {
    details.querySelector("table")?.remove();
    if (details.open) details.append(table(caption, columns, makeRows()));
  });
  return details;
}

// ---------------------------------------------------------------- arrays and state

const KINDS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };

// The typed array that Python packed under `name`: its values, with `shape` on it; null where there is none.
export function readArray(model, name) {
  const found = model.get("arrays")?.[name];
  if (!found) return null;
  const { buffer, byteOffset, byteLength } = found.data;
  const values = new KINDS[found.dtype](buffer.slice(byteOffset, byteOffset + byteLength)); // aligned by the copy
  values.shape = found.shape;
  return values;
}

// Python's facts of the panel, and the state that linked panels share.
export function stateOf(model) {
  const listening = [];
  return {
    facts: () => model.get("facts") ?? {},
    get: (name) => model.get(name),
    set(values) {
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      if (isAlive(model)) model.save_changes();
    },
    on(names, callback) {
      for (const name of [names].flat()) {
        model.on(`change:${name}`, callback);
        listening.push([`change:${name}`, callback]);
      }
    },
    close: () => listening.splice(0).forEach(([name, callback]) => model.off(name, callback)),
  };
}

// Kernels that started anew: what they knew of the panels that stand is gone.
const restarted = new WeakSet();

// Whether a kernel answers; where there is no manager of a kernel that we know of, it is taken to.
export function isAlive(model) {
  if (model.standIn) return false;
  const kernel = model.widget_manager?.kernel;
  if (!kernel) return !("kernel" in (model.widget_manager ?? {}));
  return !kernel.isDisposed && !restarted.has(model) && !["dead", "terminating"].includes(kernel.status);
}

// Calls back with true or false whenever the kernel comes or goes; returns what stops it.
export function watchKernel(model, callback) {
  const kernel = model.widget_manager?.kernel;
  let known = null;
  const look = () => {
    const alive = isAlive(model);
    if (alive !== known) callback((known = alive));
  };
  const hear = (_, status) => {
    if (status === "restarting" || status === "autorestarting") restarted.add(model);
    look();
  };
  look();
  kernel?.statusChanged?.connect(hear);
  const timer = setInterval(look, 500);
  return () => (clearInterval(timer), kernel?.statusChanged?.disconnect(hear));
}

// Sends a message to `answer` in Python; resolves with its answer, rejects with its error.
export function ask(model, message) {
  const id = `${Date.now()}-${Math.random()}`;
  return new Promise((resolve, reject) => {
    const hear = (reply) => {
      if (reply?.id !== id) return;
      model.off("msg:custom", hear);
      if (reply.error) reject(new Error(reply.error));
      else resolve(reply.answer);
    };
    model.on("msg:custom", hear);
    model.send({ id, message });
  });
}

// A model without a kernel, for a saved page: `facts`, state, and arrays as base64.
export function standIn(state) {
  const values = { ...state, arrays: {} };
  for (const [name, array] of Object.entries(state.arrays)) {
    const bytes = Uint8Array.from(atob(array.data), (c) => c.charCodeAt(0));
    values.arrays[name] = { ...array, data: new DataView(bytes.buffer) };
  }
  const heard = {};
  return {
    standIn: true,
    get: (name) => values[name],
    set(name, value) {
      if (JSON.stringify(values[name]) === JSON.stringify(value)) return;
      values[name] = value;
      (heard[`change:${name}`] ?? []).slice().forEach((callback) => callback());
    },
    save_changes() {},
    send() {},
    on: (name, callback) => (heard[name] ??= []).push(callback),
    off: (name, callback) => (heard[name] = (heard[name] ?? []).filter((one) => one !== callback)),
  };
}

// ---------------------------------------------------------------- the frame around a panel

// The root of a panel with its title, help and status; `help` is a list of [keys, what they do].
export function frame(model, el, { title, help = [] }) {
  const status = h("span", { class: "tm-status", role: "status" });
  const live = h("span", { class: "tm-hidden", "aria-live": "polite" });
  const helpBox = h("dialog", { class: "tm-help", "aria-label": `Help: ${title}` });
  const helpButton = h(
    "button",
    { type: "button", "aria-label": "Help", title: "Help (?)", onclick: () => toggle() },
    "?",
  );
  const heading = h("span", { class: "tm-title" }, title);
  const top = h("div", { class: "tm-top" }, heading, h("span", { class: "tm-space" }), status, helpButton);
  const body = h("div", { class: "tm-body" });
  const root = h("section", { class: "tm-panel", role: "group", "aria-label": title }, top, body, helpBox, live);
  const closing = [];
  let back = null;

  function toggle() {
    if (helpBox.open) return helpBox.close();
    back = document.activeElement;
    helpBox.show();
    helpBox.querySelector("button").focus();
  }
  helpBox.append(
    h("h4", {}, "Keys"),
    h(
      "dl",
      {},
      help.map(([keys, what]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)]),
    ),
    h("button", { type: "button", onclick: () => helpBox.close() }, "Close"),
  );
  helpBox.addEventListener("close", () => back?.isConnected && back.focus());
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && helpBox.open) helpBox.close();
    else if (event.key === "?") toggle();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  el.append(root);
  root.dataset.theme = isDark(el) ? "dark" : "light";
  const themed = [];
  let isHere = root.isConnected; // JupyterLab may draw before it attaches; a colour is known only after that
  const look = () => {
    const theme = isDark(el) ? "dark" : "light";
    if (theme === root.dataset.theme && isHere === root.isConnected) return;
    root.dataset.theme = theme;
    isHere = root.isConnected;
    themed.forEach((callback) => callback());
  };
  const watching = new MutationObserver(() => requestAnimationFrame(look));
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class", "style"];
  watching.observe(document.body, { attributes: true, attributeFilter });
  const preference = matchMedia("(prefers-color-scheme: dark)");
  preference.addEventListener("change", look);
  const arriving = new ResizeObserver(look);
  arriving.observe(root);
  const settled = setInterval(look, 1000); // a theme's sheet may arrive after its name
  closing.push(() => (watching.disconnect(), preference.removeEventListener("change", look)));
  closing.push(() => (arriving.disconnect(), clearInterval(settled)));
  closing.push(
    watchKernel(model, (alive) => {
      root.dataset.kernel = alive ? "alive" : "gone";
      status.textContent = alive ? "" : "display only: no kernel";
    }),
  );
  const alive = (globalThis.timemoePanels ??= new Set());
  alive.add(root);
  return {
    root,
    body,
    top,
    heading,
    say: (text) => (live.textContent = text),
    onTheme: (callback) => themed.push(callback),
    onClose: (callback) => closing.push(callback),
    close() {
      closing.splice(0).forEach((callback) => callback());
      alive.delete(root);
      root.remove();
    },
  };
}

// What is shown instead of a panel that has nothing to show: one sentence and, where there is one, the command.
export function emptyState(text, command) {
  return h("p", { class: "tm-empty", role: "note" }, `${text} `, command ? h("code", {}, command) : null);
}

// ---------------------------------------------------------------- colours

export function isDark(node) {
  for (let at = node; at; at = at.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (r !== undefined && a > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

const NAMES = ["ink", "soft", "page", "card", "line", "grid", "normal", "anomaly", "fbeta", "precision", "recall"];
const MORE = ["threshold", "warn", "link"];

// The colours in force, by the names of panel.css.
export function colours(root) {
  const style = getComputedStyle(root);
  return Object.fromEntries([...NAMES, ...MORE].map((name) => [name, style.getPropertyValue(`--tm-${name}`).trim()]));
}

const CIVIDIS = "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838";
const BLUE_RED = "2166ac 67a9cf d1e5f0 f7f7f7 fddbc7 ef8a62 b2182b";

// The colour of a share 0 to 1 on a list of equidistant colours, as [r, g, b].
function mix(list, share) {
  const all = list.split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const at = Math.min(1, Math.max(0, share)) * (all.length - 1);
  const i = Math.min(all.length - 2, Math.floor(at));
  return all[i].map((low, k) => Math.round(low + (all[i + 1][k] - low) * (at - i)));
}

export const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
export const cividis = (share) => mix(CIVIDIS, share); // 0 to 1
export const diverging = (value) => mix(BLUE_RED, (value + 1) / 2); // -1 to 1, 0 is white

// Black or white, whichever is easier to read on [r, g, b].
export function inkOn(colour) {
  const light = colour.map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.179 ? "#000" : "#fff";
}

// A pattern of slanting lines: what is hatched is a label.
export function hatching(context, colour) {
  const tile = document.createElement("canvas");
  const size = 6 * devicePixelRatio;
  tile.width = tile.height = size;
  const ink = tile.getContext("2d");
  ink.strokeStyle = colour;
  ink.lineWidth = devicePixelRatio;
  ink.beginPath();
  for (const shift of [-size, 0, size]) {
    ink.moveTo(shift, size);
    ink.lineTo(shift + size, 0);
  }
  ink.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / devicePixelRatio));
  return pattern;
}

// ---------------------------------------------------------------- numbers

export const count = (n) => Math.round(n).toLocaleString("en");

// A number in four digits; a dash where it is undefined.
export function number(value, digits = 4) {
  if (value == null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return value.toExponential(digits - 1);
  const text = Number(value.toPrecision(digits));
  return size >= 1e4 ? text.toLocaleString("en") : String(text);
}

// A share in words; no share but 0 reads 0 %, and none but 1 reads 100 %.
export function percent(share) {
  if (share == null || Number.isNaN(share)) return "–";
  const value = 100 * share;
  const rest = Math.min(value, 100 - value);
  const digits = rest > 0 ? Math.min(6, Math.max(1, 1 - Math.floor(Math.log10(rest)))) : 0;
  const text = value.toFixed(digits);
  return `${text.includes(".") ? text.replace(/\.?0+$/, "") : text} %`;
}

export function seconds(value) {
  if (value == null || Number.isNaN(value)) return "–";
  if (Math.abs(value) >= 86400) return `${number(value / 86400, 3)} d`;
  if (Math.abs(value) >= 3600) return `${number(value / 3600, 3)} h`;
  return Math.abs(value) >= 1 || value === 0 ? `${number(value, 4)} s` : `${number(1000 * value, 3)} ms`;
}

// How many of the rising values lie below `value`: its place among them.
export function lowerBound(rising, value, low = 0, high = rising.length) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The lowest and highest value of each of n even bins of y[start, end): [low..., high...], NaN where a bin has none.
export function envelope(y, n, start = 0, end = y.length) {
  const found = new Float32Array(2 * n).fill(NaN);
  for (let bin = 0; bin < n; bin++) {
    const from = start + Math.floor(((end - start) * bin) / n);
    const to = Math.max(from + 1, start + Math.floor(((end - start) * (bin + 1)) / n));
    let low = Infinity;
    let high = -Infinity;
    for (let i = from; i < to && i < end; i++) {
      if (y[i] < low) low = y[i];
      if (y[i] > high) high = y[i];
    }
    if (low <= high) [found[bin], found[n + bin]] = [low, high];
  }
  return found;
}

// ---------------------------------------------------------------- scales and axes

// About n round numbers between two ends.
export function ticks(low, high, n = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + 1e-12 * step; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Powers of ten between two positive ends, with 2 and 5 between them where there are few.
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

// A scale from values to pixels, with `invert` and `ticks`.
export function linear([low, high], [from, to]) {
  const slope = (to - from) / (high - low || 1);
  const scale = (value) => from + (value - low) * slope;
  return Object.assign(scale, {
    invert: (pixel) => low + (pixel - from) / slope,
    ticks: (n) => ticks(low, high, n),
    low,
    high,
  });
}

export function log([low, high], range) {
  const inner = linear([Math.log(low), Math.log(high)], range);
  const scale = (value) => inner(Math.log(Math.max(value, Number.MIN_VALUE)));
  return Object.assign(scale, {
    invert: (pixel) => Math.exp(inner.invert(pixel)),
    ticks: (n) => logTicks(low, high, n),
    low,
    high,
  });
}

// A canvas as wide as its parent, sharp on any screen; draw(context, width, height) is called when it is due.
export function sheet(parent, { height, label, focus = false, draw }) {
  const canvas = h("canvas", { class: "tm-canvas", role: "img", "aria-label": label, style: `height:${height}px` });
  if (focus) focusable(canvas);
  parent.append(canvas);
  const context = canvas.getContext("2d");
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
  const redraw = () => (due ||= requestAnimationFrame(paint));
  const watching = new ResizeObserver(redraw);
  watching.observe(canvas);
  const close = () => (watching.disconnect(), cancelAnimationFrame(due));
  return { canvas, context, redraw, paint, close };
}

// Draws axes around box {left, top, right, bottom}: x and y are scales, either may be missing.
export function axes(context, tone, box, { x, y, xLabel, yLabel, xTicks, yTicks, format = number }) {
  context.save();
  context.lineWidth = 1;
  context.fillStyle = tone.soft;
  context.strokeStyle = tone.grid;
  context.beginPath();
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of x ? (xTicks ?? x.ticks(Math.max(2, (box.right - box.left) / 90))) : []) {
    const at = Math.round(x(value)) + 0.5;
    if (at < box.left - 1 || at > box.right + 1) continue;
    context.moveTo(at, box.top);
    context.lineTo(at, box.bottom);
    context.fillText(format(value, 3), at, box.bottom + 4);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of y ? (yTicks ?? y.ticks(Math.max(2, (box.bottom - box.top) / 40))) : []) {
    const at = Math.round(y(value)) + 0.5;
    if (at < box.top - 1 || at > box.bottom + 1) continue;
    context.moveTo(box.left, at);
    context.lineTo(box.right, at);
    context.fillText(number(value, 3), box.left - 5, at);
  }
  context.stroke();
  context.strokeStyle = tone.line;
  context.strokeRect(box.left + 0.5, box.top + 0.5, box.right - box.left - 1, box.bottom - box.top - 1);
  context.fillStyle = tone.ink;
  context.textAlign = "right";
  context.textBaseline = "top";
  if (xLabel) context.fillText(xLabel, box.right, box.bottom + 17);
  context.textAlign = "left";
  context.textBaseline = "bottom";
  if (yLabel) context.fillText(yLabel, 2, box.top - 4);
  context.restore();
}

// ---------------------------------------------------------------- hands

// Follows a pointer that is pressed on `node`: start, move and end get (x, y, event) in pixels of the node.
export function drag(node, { start = () => true, move = () => {}, end = () => {} }) {
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, event];
  };
  let active = false;
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || start(...at(event)) === false) return;
    active = true;
    node.setPointerCapture(event.pointerId);
    node.focus({ preventScroll: true });
    event.preventDefault();
  });
  node.addEventListener("pointermove", (event) => active && move(...at(event)));
  for (const name of ["pointerup", "pointercancel"])
    node.addEventListener(name, (event) => {
      if (!active) return;
      active = false;
      end(...at(event));
    });
}

// Keys by name ("ArrowLeft", "Shift+ArrowLeft", "m"): callbacks by key; JupyterLab and the page don't see them.
export function keys(node, table) {
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = (event.shiftKey && table[`Shift+${name}`]) || table[name];
    if (!found) return;
    event.preventDefault();
    event.stopPropagation();
    found(event);
  });
}

// A box that follows the pointer over a panel; `pin` keeps it where it is until it is called with false.
export function tooltip(root) {
  const box = h("div", { class: "tm-tip", role: "tooltip", hidden: true });
  root.append(box);
  let pinned = false;
  const hide = () => pinned || (box.hidden = true);
  return {
    box,
    hide,
    pin(value = !pinned) {
      pinned = value;
      box.classList.toggle("tm-pinned", pinned);
      if (!pinned) box.hidden = true;
    },
    get pinned() {
      return pinned;
    },
    show(event, lines) {
      if (pinned) return;
      const outer = root.getBoundingClientRect();
      box.replaceChildren(...lines.map((line) => h("div", {}, line)));
      box.hidden = false;
      const left = Math.min(event.clientX - outer.left + 14, outer.width - box.offsetWidth - 4);
      box.style.left = `${Math.max(4, left)}px`;
      box.style.top = `${event.clientY - outer.top + 16}px`;
    },
  };
}
