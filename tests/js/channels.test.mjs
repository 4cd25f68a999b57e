// What the panel of channels counts, against counting by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import { aboveUsual, contributions, meanOf, placesIn, rowsOf } from "../../timemoe_lab/static/channels_numbers.js";
import { windowOf } from "../../timemoe_lab/static/window.js";

const rows = (...values) => values.map((row) => Float32Array.from(row));

test("a window holds the values that begin in it", () => {
  assert.deepEqual(placesIn([], 0.1, 7), [0, 7]);
  assert.deepEqual(placesIn([0.2, 0.5], 0.1, 7), [2, 5]); // 0.5 itself begins the next
  assert.deepEqual(placesIn([0.21, 0.5001], 0.1, 7), [3, 6]);
  assert.deepEqual(placesIn([-1, 99], 0.1, 7), [0, 7]);
  assert.deepEqual(placesIn([3 * 0.1, 0.6], 0.1, 7), [3, 6]); // 3 * 0.1 is a little over 0.3
});

test("a mean leaves out what is missing", () => {
  assert.equal(meanOf([1, NaN, 3, 100], 0, 3), 2);
  assert.ok(Number.isNaN(meanOf([NaN, NaN], 0, 2)) && Number.isNaN(meanOf([1], 1, 1)));
});

test("contributions are shares of the mean scores, the largest first, the unknown last", () => {
  const score = rows([9, 1, 1], [0, 3, 3], [NaN, NaN, NaN], [9, 4, 4]);
  const l1 = rows([0, 2, 2], [0, 1, 1], [NaN, NaN, NaN], [0, 0, 0]);
  const l2 = rows([0, 20, 20], [0, 0, 0], [NaN, NaN, NaN], [0, 1, 1]);
  const found = contributions({ score, l1, l2 }, [1, 0.1], [1, 3]);
  assert.deepEqual(found.order, [3, 1, 0, 2]);
  assert.deepEqual(found.share.slice(0, 2), [1 / 8, 3 / 8]);
  assert.ok(Number.isNaN(found.share[2]));
  assert.deepEqual([found.l1[0], found.l1[1], found.l1[3]], [0.5, 1, 0]);
});

test("equal channels keep their order", () => {
  const same = rows([1], [1], [1]);
  assert.deepEqual(contributions({ score: same, l1: same, l2: same }, [1, 1], [0, 1]).order, [0, 1, 2]);
});

test("a line stands out only above every healthy recording", () => {
  assert.deepEqual(aboveUsual([1, 2, null, 4], [1, 1.5, 0, null]), [1]);
  assert.deepEqual(aboveUsual([1], undefined), []);
});

test("rows share the memory of their array", () => {
  const flat = Object.assign(Float32Array.from([1, 2, 3, 4]), { shape: [2, 2] });
  assert.deepEqual(rowsOf(flat).map((row) => [...row]), [[1, 2], [3, 4]]);
  assert.equal(rowsOf(null), null);
});

test("a brush may be drawn in either direction and stays inside", () => {
  assert.deepEqual(windowOf(1.5, 0.5, 2), [0.5, 1.5]);
  assert.deepEqual(windowOf(-1, 5, 2), [0, 2]);
  assert.deepEqual(windowOf(0.5, 0.5001, 2), []);
});
