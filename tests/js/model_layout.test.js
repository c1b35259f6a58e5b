import assert from "node:assert/strict";
import { test } from "node:test";

import { blockSizes, layoutOf, streamOf } from "../../assets/components/time_machine/model_layout.js";
import { placeAfter, stepAndRole } from "../../assets/components/time_machine/model_opened.js";

const GPT = { layers: 4, heads: 4, neurons: 512 };
const sideways = (shape, more = {}) => layoutOf({ width: 960, height: 900, tokens: 27, shape, open: shape.layers - 1, upright: false, ...more });
const upright = (shape) => layoutOf({ width: 340, tokens: 27, shape, open: shape.layers - 1, upright: true });

test("parts stand in the order of the forward pass and do not overlap", () => {
  for (const layout of [sideways(GPT), sideways({ ...GPT, neurons: 0 }), sideways({ ...GPT, layers: 12 }), upright(GPT), upright({ ...GPT, layers: 12 })]) {
    layout.parts.slice(1).forEach((part, index) => assert.ok(part.from >= layout.parts[index].to, JSON.stringify([layout.parts[index], part])));
    assert.equal(layout.parts[0].kind, "embedding");
    assert.equal(layout.parts.at(-1).kind, "output");
  }
});

test("everything fits into the width, and tokens into the height", () => {
  for (const layers of [0, 1, 2, 4, 6, 12, 24]) {
    const layout = sideways({ ...GPT, layers });
    assert.ok(layout.parts.at(-1).to <= 960);
    for (const { squares = [] } of layout.parts) for (const { x, size } of squares) assert.ok(size > 8 && x + size <= 960);
    assert.ok(layout.first + layout.step * 27 <= layout.height);
  }
});

test("in a low window the patterns stand in one row and the tokens closer together", () => {
  const small = { ...GPT, layers: 2 };
  const [high, low] = [sideways(small), sideways(small, { height: 450 })];
  const rows = ({ parts }) => new Set(parts.find(({ kind }) => kind === "attention").squares.map(({ y }) => y)).size;
  assert.deepEqual([rows(high), rows(low)], [2, 1]);
  assert.ok(low.height < high.height && low.step >= 13);
  assert.ok(low.first + low.step * 27 <= low.height);
  assert.ok(sideways(small, { height: 350, tokens: 14 }).height <= 350);
  for (const height of [450, 900]) assert.equal(sideways(GPT, { height, tokens: 64 }).step, 7);
});

test("patterns are never too small to read", () => {
  for (const layers of [1, 2, 3, 4, 5]) for (const height of [350, 450, 900]) {
    for (const { squares = [] } of sideways({ ...GPT, layers }, { height }).parts) for (const { size } of squares) assert.ok(size >= 24, `${layers} layers: ${size}`);
  }
});

test("blocks that would be too narrow are folded, but for the one that is open", () => {
  const sizes = blockSizes(600, 12, 3);
  assert.deepEqual(sizes.map(({ folded }) => folded), Array.from({ length: 12 }, (_block, layer) => layer !== 3));
  assert.ok(sizes.reduce((sum, { size }) => sum + size, 0) <= 600.001);
  assert.ok(blockSizes(600, 4, 0).every(({ folded }) => !folded));
});

test("a model without MLPs has none in its picture", () => {
  assert.ok(sideways({ ...GPT, neurons: 0 }).parts.every(({ kind }) => kind !== "mlp"));
});

test("the residual stream has a stage for each norm, open or folded", () => {
  for (const layers of [1, 4, 12]) {
    assert.equal(streamOf(sideways({ ...GPT, layers }).parts, { neurons: 512, residual: true }).length, 1 + 2 * layers);
    assert.equal(streamOf(sideways({ ...GPT, layers, neurons: 0 }).parts, { neurons: 0, residual: true }).length, 1 + layers);
  }
});

test("without residual connections the stream ends at each part", () => {
  const { parts } = sideways(GPT);
  const [past, through] = [true, false].map((residual) => streamOf(parts, { neurons: 512, residual }));
  assert.ok(past[0][1] > through[0][1]);
  assert.equal(through[0][1], parts[1].from);
});

test("in an opened part the arrow keys choose the token, and a head's key, of the tokens drawn", () => {
  const picture = { first: 4, next: ["a", "b", "c"], opened: { part: "head", token: 5, cell: 4 } };
  const after = (key, place, opened = {}) => placeAfter(key, place, { ...picture, opened: { ...picture.opened, ...opened } });
  assert.equal(after("ArrowDown", "head-1.2"), "head-1.2@7");
  assert.equal(after("ArrowDown", "head-1.2@7.5"), "head-1.2@7"); // there is no token below, and each has its own strongest key
  assert.equal(after("ArrowUp", "head-1.2@6.5"), "head-1.2@5");
  assert.equal(after("ArrowRight", "head-1.2@6"), "head-1.2@6.6");
  assert.equal(after("ArrowLeft", "head-1.2@6.5"), "head-1.2@6.5");
  assert.equal(after("ArrowUp", "mlp-1@6.30", { part: "mlp", cell: 29 }), "mlp-1@5.30");
  assert.equal(after("ArrowRight", "embedding@6", { part: "embedding", cell: null }), "");
  assert.equal(after("Enter", "head-1.2@6"), "");
});

test("an opened head tells its role at the last step at which heads were scored", () => {
  const roles = { steps: [0, 100], words: [[["no clear role (0.10)"]], [["induction (0.46)"]]] };
  const head = { part: "head", layer: 0, head: 0 };
  assert.equal(stepAndRole(99, head, roles), "Step 99. Role at step 0: no clear role (0.10)");
  assert.equal(stepAndRole(100, head, roles), "Step 100. Role: induction (0.46)");
  assert.equal(stepAndRole(1500, head, roles), "Step 1,500. Role at step 100: induction (0.46)");
  assert.equal(stepAndRole(1500, head, null), "Step 1,500"); // not scored yet
  assert.equal(stepAndRole(1500, { part: "mlp", layer: 0, head: 0 }, roles), "Step 1,500");
});
