// @ts-check
/**
 * @file What comes from Python and goes back to it: arrays, state that linked panels share, questions, a kernel that
 * may go.
 */

/** @typedef {(Float32Array | Float64Array | Int32Array | Uint8Array) & { shape: number[] }} Shaped */
/** @typedef {{ id: string, answer: unknown, error?: string }} Reply */
/** @typedef {(reply: Reply) => void} Hear */
/** @typedef {(sender: unknown, status: string) => void} HearStatus */

/**
 * @typedef {object} Kernel as JupyterLab has it
 * @property {boolean} isDisposed
 * @property {string} status
 * @property {{ connect(hear: HearStatus): void, disconnect(hear: HearStatus): void }} [statusChanged]
 */

/**
 * @typedef {object} Model anywidget's, or `standIn`
 * @property {(name: string) => unknown} get
 * @property {(name: string, value: unknown) => void} set
 * @property {() => void} save_changes
 * @property {(message: object) => void} send
 * @property {(name: string, callback: Hear) => void} on
 * @property {(name: string, callback: Hear) => void} off
 * @property {boolean} [standIn]
 * @property {{ kernel?: Kernel }} [widget_manager]
 */

/**
 * @typedef {object} Values what the traits of a panel hold, by name
 * @property {string} recording name; "": all of them
 * @property {number[]} window [start, end) in s; empty: all
 * @property {number | null} threshold
 * @property {string} channel name; "": none
 * @property {number} layer -1: none
 * @property {number} expert -1: none
 * @property {number} beta of F-beta
 * @property {number | null} base_rate share; null: as scored
 * @property {string} scope of routing
 * @property {string} palette of routing
 */

/**
 * @template Facts
 * @typedef {object} State
 * @property {Model} model
 * @property {() => Facts} facts
 * @property {<Name extends keyof Values>(name: Name) => Values[Name]} get
 * @property {(values: Partial<Values>) => void} set
 * @property {(names: string | string[], callback: () => void) => void} on
 * @property {() => void} close
 */

/** @type {Record<string, new (buffer: ArrayBuffer) => Float32Array | Float64Array | Int32Array | Uint8Array>} */
const KINDS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };

/** @typedef {{ dtype: string, shape: number[], data: DataView }} Packed */

/**
 * The typed array that Python packed under `name`, with `shape` on it; null where there is none.
 * @param {Model} model
 * @param {string} name
 * @returns {Shaped | null}
 */
export function readArray(model, name) {
  const arrays = /** @type {Record<string, Packed> | undefined} */ (model.get("arrays"));
  const found = arrays?.[name];
  if (!found) return null;
  const { buffer, byteOffset, byteLength } = found.data;
  const aligned = /** @type {ArrayBuffer} */ (buffer.slice(byteOffset, byteOffset + byteLength));
  return Object.assign(new KINDS[found.dtype](aligned), { shape: found.shape });
}

/**
 * Python's facts of the panel, and the state that linked panels share.
 * @template Facts
 * @param {Model} model
 * @returns {State<Facts>}
 */
export function stateOf(model) {
  /** @type {[string, Hear][]} */
  const listening = [];
  return {
    model,
    facts: () => /** @type {Facts} */ (model.get("facts") ?? {}),
    get: (name) => /** @type {Values[typeof name]} */ (model.get(name)),
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

/** Kernels that started anew: what they knew of the panels that stand is gone. */
const restarted = new WeakSet();

/**
 * Whether a kernel answers; where there is no manager of a kernel that we know of, it is taken to.
 * @param {Model} model
 */
export function isAlive(model) {
  if (model.standIn) return false;
  const kernel = model.widget_manager?.kernel;
  if (!kernel) return !("kernel" in (model.widget_manager ?? {}));
  return !kernel.isDisposed && !restarted.has(model) && !["dead", "terminating"].includes(kernel.status);
}

/**
 * Calls back whenever the kernel comes or goes; returns what stops it.
 * @param {Model} model
 * @param {(alive: boolean) => void} callback
 */
export function watchKernel(model, callback) {
  const kernel = model.widget_manager?.kernel;
  /** @type {boolean | null} */
  let known = null;
  const look = () => {
    const alive = isAlive(model);
    if (alive !== known) callback((known = alive));
  };
  /** @type {HearStatus} */
  const hear = (_, status) => {
    if (status === "restarting" || status === "autorestarting") restarted.add(model);
    look();
  };
  look();
  kernel?.statusChanged?.connect(hear);
  const timer = setInterval(look, 500);
  return () => {
    clearInterval(timer);
    kernel?.statusChanged?.disconnect(hear);
  };
}

/**
 * Sends a message to `answer` in Python; resolves with its answer, rejects with its error.
 * @template Answer
 * @param {Model} model
 * @param {object} message
 * @returns {Promise<Answer>}
 */
export function ask(model, message) {
  const id = `${Date.now()}-${Math.random()}`;
  return new Promise((resolve, reject) => {
    /** @type {Hear} */
    const hear = (reply) => {
      if (reply?.id !== id) return;
      model.off("msg:custom", hear);
      if (reply.error) reject(new Error(reply.error));
      else resolve(/** @type {Answer} */ (reply.answer));
    };
    model.on("msg:custom", hear);
    model.send({ id, message });
  });
}

/**
 * A model without a kernel, for a saved page: `facts`, state, and arrays as base64.
 * @param {Record<string, unknown> & { arrays: Record<string, { dtype: string, shape: number[], data: string }> }} state
 * @returns {Model}
 */
export function standIn(state) {
  /** @type {Record<string, Packed>} */
  const arrays = {};
  for (const [name, array] of Object.entries(state.arrays)) {
    const bytes = Uint8Array.from(atob(array.data), (c) => c.charCodeAt(0));
    arrays[name] = { ...array, data: new DataView(bytes.buffer) };
  }
  /** @type {Record<string, unknown>} */
  const values = { ...state, arrays };
  /** @type {Record<string, Hear[]>} */
  const heard = {};
  const told = /** @type {Reply} */ ({});
  return {
    standIn: true,
    get: (name) => values[name],
    set(name, value) {
      if (JSON.stringify(values[name]) === JSON.stringify(value)) return;
      values[name] = value;
      (heard[`change:${name}`] ?? []).slice().forEach((callback) => callback(told));
    },
    save_changes() {},
    send() {},
    on: (name, callback) => (heard[name] ??= []).push(callback),
    off: (name, callback) => (heard[name] = (heard[name] ?? []).filter((one) => one !== callback)),
  };
}
