// What the panel of routing counts, against counting by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import { colourOf } from "../../timemoe_lab/static/grid.js";
import { binsIn, loadOf, mean, overTime, pool } from "../../timemoe_lab/static/routing_numbers.js";

// Two series, two layers, three experts, four bins: 1000 s + 100 layer + 10 expert + bin, so that sums tell what is in them.
const shape = [2, 2, 3, 4];
const counts = Int32Array.from({ length: 48 }, (_, i) => {
  const [bin, expert, layer, s] = [i % 4, Math.floor(i / 4) % 3, Math.floor(i / 12) % 2, Math.floor(i / 24)];
  return 1000 * s + 100 * layer + 10 * expert + bin;
});
counts.shape = shape;

test("a window holds the bins whose middle lies in it, and one at least", () => {
  assert.deepEqual(binsIn([], 2, 8), [0, 8]);
  assert.deepEqual(binsIn([0.5, 1], 2, 8), [2, 4]); // middles at 0.125, 0.375, 0.625, 0.875
  assert.deepEqual(binsIn([0.374, 0.376], 2, 8), [1, 2]);
  assert.deepEqual(binsIn([0.38, 0.5], 2, 8), [2, 3]); // no middle: the next bin
  assert.deepEqual(binsIn([1.99, 2], 2, 8), [7, 8]);
});

test("choices are pooled over series and bins", () => {
  assert.deepEqual([...pool(counts, 0, [1, 3])], [3, 23, 43, 203, 223, 243]);
  assert.deepEqual([...pool(counts, -1, [0, 1])], [1000, 1020, 1040, 1200, 1220, 1240]);
});

test("load, entropy, balance and dead experts", () => {
  const found = loadOf(Float64Array.from([10, 10, 10, 10, 40, 0, 0, 0, 0, 0, 0, 0]), 4, 2, 0.01);
  assert.deepEqual([...found.share.slice(0, 5)], [0.25, 0.25, 0.25, 0.25, 1]);
  assert.deepEqual(found.entropy.slice(0, 2), [1, -0]);
  assert.ok(Math.abs(found.balance[0]) < 1e-12 && Math.abs(found.balance[1] - Math.sqrt(3)) < 1e-12);
  assert.deepEqual(found.dead, [[1, 1], [1, 2], [1, 3]]); // none where nothing was chosen
  assert.ok(Number.isNaN(found.entropy[2]) && Number.isNaN(found.share[8]));
});

test("an expert is dead under 1 % of the tokens, which choose more than one", () => {
  const load = (own) => loadOf(Float64Array.from([200 - own, own]), 2, 2, 0.01).dead; // 100 tokens
  assert.deepEqual(load(0.9), [[0, 1]]);
  assert.deepEqual(load(1.1), []);
});

test("shares over time add up to 1 in every bin", () => {
  const found = overTime(counts, -1, 1);
  for (let bin = 0; bin < 4; bin++)
    assert.ok(Math.abs(found[bin] + found[4 + bin] + found[8 + bin] - 1) < 1e-12);
  assert.equal(overTime(counts, 0, 0)[4 + 2], 12 / (2 + 12 + 22));
  const none = Object.assign(new Int32Array(2), { shape: [1, 1, 2, 1] });
  assert.ok(Number.isNaN(overTime(none, -1, 0)[0]));
});

test("the diverging map has its middle at 1/E", () => {
  const how = { palette: "deviation", even: 0.25, most: 1 };
  assert.deepEqual(colourOf(0.25, how), [247, 247, 247]);
  assert.deepEqual(colourOf(0, how), [0x21, 0x66, 0xac]);
  assert.deepEqual(colourOf(0.9, how), [0xb2, 0x18, 0x2b]);
  assert.deepEqual(colourOf(1, { ...how, palette: "share" }), [0xfe, 0xe8, 0x38]);
  assert.equal(colourOf(NaN, how), null);
});

test("a mean", () => assert.equal(mean([1, 2, 6]), 3));
