// Functions that every panel uses.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cividis, diverging, inkOn } from "../../timemoe_lab/static/colours.js";
import { readArray, standIn, stateOf } from "../../timemoe_lab/static/model.js";
import { envelope, lowerBound, number, percent, seconds } from "../../timemoe_lab/static/numbers.js";
import { linear, log, logTicks, ticks } from "../../timemoe_lab/static/plot.js";

test("lowerBound counts what lies below", () => {
  const rising = Float32Array.of(1, 2, 2, 2, 5);
  for (const value of [0, 1, 1.5, 2, 3, 5, 6])
    assert.equal(lowerBound(rising, value), rising.filter((v) => v < value).length);
  assert.equal(lowerBound([], 1), 0);
});

test("an envelope has the lowest and highest of each bin, and NaN where there is none", () => {
  const y = Float32Array.from({ length: 1003 }, (_, i) => Math.sin(i * i));
  y.fill(NaN, 100, 160);
  const found = envelope(y, 40);
  for (let bin = 0; bin < 40; bin++) {
    const part = [...y.slice(Math.floor((1003 * bin) / 40), Math.floor((1003 * (bin + 1)) / 40))].filter(
      (v) => v === v,
    );
    assert.equal(found[bin], part.length ? Math.min(...part) : NaN);
    assert.equal(found[40 + bin], part.length ? Math.max(...part) : NaN);
  }
  assert.deepEqual([...envelope(Float32Array.of(1, 2), 4)], [1, 1, 2, 2, 1, 1, 2, 2]); // fewer samples than bins
});

test("ticks are round, rising and inside", () => {
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(-3, 11, 4), [0, 5, 10]);
  assert.deepEqual(ticks(2, 2), [2]);
  for (const [low, high] of [
    [0.013, 0.0179],
    [-1e6, 3e7],
    [99.5, 100.5],
  ]) {
    const found = ticks(low, high, 5);
    assert.ok(
      found.length >= 3 &&
        found.length <= 11 &&
        found.every((v, i) => v >= low && v <= high && (!i || v > found[i - 1])),
    );
  }
  assert.deepEqual(logTicks(0.01, 1000, 8), [0.01, 0.1, 1, 10, 100, 1000]);
  assert.deepEqual(logTicks(1, 10, 6), [1, 2, 5, 10]);
});

test("a scale and its inverse undo each other", () => {
  for (const scale of [linear([-2, 7], [10, 510]), log([0.02, 900], [10, 510]), linear([0, 1], [100, 0])])
    for (const pixel of [10, 77.5, 100]) assert.ok(Math.abs(scale(scale.invert(pixel)) - pixel) < 1e-9);
});

test("numbers in words", () => {
  assert.deepEqual(
    [0.123456, 12345.6, 1e-5, 0, NaN, null, Infinity].map((v) => number(v)),
    ["0.1235", "12,350", "1.000e-5", "0", "–", "–", "∞"],
  );
  assert.deepEqual([0, 1, 0.5, 0.99999, 0.00012, NaN].map(percent), [
    "0 %",
    "100 %",
    "50 %",
    "99.999 %",
    "0.012 %",
    "–",
  ]);
  assert.deepEqual([0, 0.0123, 2.5, 7200, 200000, NaN].map(seconds), ["0 s", "12.3 ms", "2.5 s", "2 h", "2.31 d", "–"]);
});

test("ink is readable on every colour of the maps", () => {
  const light = (c) =>
    c
      .map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  for (let i = 0; i <= 50; i++)
    for (const colour of [cividis(i / 50), diverging(i / 25 - 1)]) {
      const [a, b] = [light(colour), inkOn(colour) === "#000" ? 0 : 1].sort((p, q) => q - p);
      assert.ok((a + 0.05) / (b + 0.05) >= 4.5, `${colour}`);
    }
  assert.deepEqual(diverging(0), [247, 247, 247]);
});

test("a saved page's model gives its arrays and tells of changes, once each", () => {
  const data = Buffer.from(Float32Array.of(1.5, -2).buffer).toString("base64");
  const model = standIn({ threshold: 1, window: [], arrays: { score: { dtype: "float32", shape: [2], data } } });
  assert.deepEqual([...readArray(model, "score")], [1.5, -2]);
  assert.equal(readArray(model, "label"), null);
  const [state, heard] = [stateOf(model), []];
  state.on(["threshold", "window"], () => heard.push(state.get("threshold")));
  state.set({ threshold: 2 });
  state.set({ threshold: 2 });
  state.set({ window: [1, 2] });
  assert.deepEqual(heard, [2, 2]);
  state.close();
  state.set({ threshold: 3 });
  assert.deepEqual(heard, [2, 2]);
});
