import assert from "node:assert/strict";
import test from "node:test";
import { _, bytesFromBase64, colorTable, quoted, rgbOf, showControlCharacters, textColorOn, tipTop, withElements } from "../../assets/components/shared/mount.js";

test("a sentence is filled with what is given for it", () => {
  assert.equal(_("step {step}, loss {loss}", { step: 4000, loss: 1234.5 }), "step 4,000, loss 1234.5");
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
  const light = ([red, green, blue]) => [red, green, blue].map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)).reduce((sum, value, at) => sum + [0.2126, 0.7152, 0.0722][at] * value, 0);
  for (let level = 0; level < 256; level++) for (const color of [[level, level, level], [level, 70, 216], [224, level, 44]]) {
    const [low, high] = [light(color), light(rgbOf(textColorOn(color)))].sort((one, two) => one - two);
    assert.ok((high + 0.05) / (low + 0.05) >= 4.5, color.join());
  }
});

test("bytes come out of base64 as they went in", () => {
  assert.deepEqual([...bytesFromBase64(Buffer.from([0, 128, 255]).toString("base64"))], [0, 128, 255]);
});

test("a tip does not cover what it explains", () => {
  assert.equal(tipTop({ top: 100, bottom: 190 }, 30, 120, 720), 196);
  assert.equal(tipTop({ top: 600, bottom: 700 }, 30, 620, 720), 564);
  assert.equal(tipTop({ top: 100, bottom: 400 }, 30, 120, 720), 138);
});
