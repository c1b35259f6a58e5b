import assert from "node:assert/strict";
import test from "node:test";
import { _, bytesFromBase64, colorTable, quoted, rgbOf, showControlCharacters, textColorOn, withElements } from "../../assets/components/shared/mount.js";

test("a sentence is filled with what is given for it", () => {
  assert.equal(_("{step} of {steps}, {rest}", { step: 3, steps: "{step}" }), "3 of {step}, {rest}");
});

test("right-to-left letters leave their surroundings alone", () => {
  assert.equal(quoted("e"), "'e'");
  assert.equal(quoted("ש"), "'\u2068ש\u2069'");
});

test("control characters are shown", () => {
  assert.equal(showControlCharacters("a\u001bb\u007f\n\t"), "a␛b␡\n\t");
});

test("elements take the places that a sentence leaves open", () => {
  assert.deepEqual(withElements("from {a} to {b}", { a: "x" }), ["from ", "x", " to ", "{b}", ""]);
});

test("a color is read in every notation, and a scale passes its stops", () => {
  assert.deepEqual(rgbOf("#fff"), [255, 255, 255]);
  assert.deepEqual(rgbOf("rgba(1, 2, 3, 0.5)"), [1, 2, 3]);
  const table = colorTable(["#000000", "#ff0000", "#ffffff"]);
  assert.deepEqual([...table.slice(0, 3), ...table.slice(-3)], [0, 0, 0, 255, 255, 255]);
  assert.ok(table[128 * 3] > 250 && table[128 * 3 + 1] < 5);
});

test("text on a color contrasts with it", () => {
  assert.equal(textColorOn([255, 255, 255]), "#1d1d24");
  assert.equal(textColorOn([20, 20, 90]), "#ffffff");
});

test("bytes come out of base64 as they went in", () => {
  assert.deepEqual([...bytesFromBase64(Buffer.from([0, 128, 255]).toString("base64"))], [0, 128, 255]);
});
