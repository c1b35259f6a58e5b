import assert from "node:assert/strict";
import test from "node:test";
import { chooseUnit, chosenUnit, crowdedLabels, forkRange, lossRange, lowestPositive, numberSide, smoothed, spreadLabels, stepRange } from "../../assets/components/loss_chart/axes.js";
import { settingChangeTraces } from "../../assets/components/loss_chart/setting_changes.js";

const WIDTH = 800; // pixels
const tracesOf = (changes, steps = 100) => settingChangeTraces(changes, (step) => step / steps, ({ step }) => step, WIDTH);

test("the loss axis holds all values and seldom changes", () => {
  const [low, high] = lossRange([4.2, 3.3, 3.1, 2.06]);
  assert.ok(low < 2.06 && high > 4.2);
  assert.deepEqual(lossRange([4.2, 3.05, 2.06]), [low, high]);
  assert.ok(lossRange([])[0] < lossRange([])[1]);
});

test("without smoothing the values stay", () => {
  assert.deepEqual(smoothed([4, 2], 0), [4, 2]);
  assert.deepEqual(smoothed([], 0.8), []);
});

test("a fork is shown over as many steps of its past as it has itself", () => {
  assert.deepEqual(stepRange(600, 0), [0, 600]);
  assert.deepEqual(stepRange(600, 400), [0, 1000]);
  assert.deepEqual(stepRange(100, 400), [300, 500]);
});

test("the first losses of a fork's parent leave its axis", () => {
  const parent = { x: [0, 200, 400, 900], y: [4.2, 2.2, 2.0, 1.8] };
  const [low, high] = forkRange([2.0, 1.95, 1.9], parent, 400);
  assert.ok(low < 1.8 && high > 2.2 && high < 2.5);
  assert.deepEqual(forkRange([], parent, 400), [low, high]);
});

test("a setting change is a line with a label", () => {
  const [lines, labels] = tracesOf([{ step: 40, label: "dropout 0 → 0.2" }]);
  assert.deepEqual([lines.x, lines.y], [[40, 40, null], [0, 1, null]]);
  assert.equal(labels.text[0].trim(), lines.customdata[0]);
});

test("changes at one step are one mark", () => {
  const [lines, labels] = tracesOf([{ step: 9, label: "c" }, { step: 5, label: "a" }, { step: 5, label: "b" }]);
  assert.deepEqual(labels.text.map((text) => text.trim()), ["b +1", "c"]);
  assert.equal(lines.customdata[0], "a, b");
});

test("a label near the right edge is on the left of its line", () => {
  const [, labels] = tracesOf([{ step: 10, label: "dropout 0 → 0.2" }, { step: 99, label: "dropout 0.2 → 0" }]);
  assert.deepEqual(labels.textposition, ["middle right", "middle left"]);
});

test("labels never cover each other, and the newest is always there", () => {
  let seed = 1;
  const random = (below) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  for (let round = 0; round < 200; round++) {
    const changes = Array.from({ length: random(60) }, () => ({ step: random(1000), label: "x".repeat(1 + random(52)) }));
    const [lines, labels] = tracesOf(changes, 1000);
    const spans = labels.x.map((step, index) => {
      const width = (6.2 * labels.text[index].trim().length + 12) / WIDTH;
      const left = labels.textposition[index] === "middle left" ? step / 1000 - width : step / 1000;
      return { left, right: left + width, height: labels.y[index] };
    });
    for (const [index, one] of spans.entries()) {
      assert.ok(one.left >= 0);
      for (const two of spans.slice(index + 1)) assert.ok(one.height !== two.height || one.right < two.left || two.right < one.left);
    }
    assert.equal(labels.x.at(-1), lines.x.at(-2));
  }
});

test("labels are no HTML", () => {
  assert.equal(tracesOf([{ step: 1, label: "<b>" }])[1].text[0].trim(), "&lt;b&gt;");
});

test("a logarithmic axis begins below the smallest loss above 0", () => {
  assert.ok(Math.abs(lowestPositive([4, 0.001, 0]) - 0.0008) < 1e-12);
  assert.ok(lowestPositive([0, 0]) > 0);
});

test("labels stand apart in their order, and where they fit as they are, there", () => {
  assert.deepEqual(spreadLabels([10, 50, 90], 15), [10, 50, 90]);
  assert.deepEqual(spreadLabels([50, 55, 90], 15), [45, 60, 90]);
  assert.deepEqual(spreadLabels([100, 90, 95, 20], 15), [110, 80, 95, 20]);
});

test("of lines in one place as many have labels as can be told apart, at most half a label off", () => {
  assert.deepEqual(crowdedLabels([90, 50, 10], 15), []);
  assert.deepEqual(crowdedLabels([52, 51, 50, 0], 15), [0]);
  assert.deepEqual(crowdedLabels([50, 50, 50, 50], 15), [0, 1]);
});

test("the unit chosen on one chart is that of the next, bits/byte only where a token's size is known", () => {
  assert.equal(chosenUnit(1), "nats"); // node has no storage
  chooseUnit("bits");
  const stored = new Map();
  const before = Object.getOwnPropertyDescriptor(globalThis, "localStorage");
  const storage = { getItem: (name) => stored.get(name) ?? null, setItem: (name, value) => stored.set(name, value) };
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
  chooseUnit("bits");
  assert.deepEqual([chosenUnit(1.2), chosenUnit(0), chosenUnit(undefined)], ["bits", "nats", "nats"]);
  chooseUnit("choices");
  assert.equal(chosenUnit(0), "choices");
  if (before) Object.defineProperty(globalThis, "localStorage", before);
  else delete globalThis.localStorage;
});

test("the number of the last point covers no label and stays within the chart", () => {
  assert.equal(numberSide(0.5, 0.1, []), "top");
  assert.equal(numberSide(0.5, 0.1, [{ low: 0.55, high: 0.7 }]), "bottom");
  assert.equal(numberSide(0.5, 0.1, [{ low: 0.35, high: 0.7 }]), "");
  assert.equal(numberSide(0.05, 0.1, [{ low: 0.1, high: 0.2 }]), "");
});
