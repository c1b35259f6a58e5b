import assert from "node:assert/strict";
import test from "node:test";
import { formatCount, formatPercent, formatPerplexity, formatRate } from "../../assets/components/shared/format.js";
import { attentionColumns } from "../../assets/components/shared/heatmaps.js";
import { labelPlaces } from "../../assets/components/shared/embedding_map.js";
import { clearHeight, roomFor } from "../../assets/components/shared/thinning.js";

test("a learning rate has three digits and an exponent", () => {
  assert.deepEqual([0.0005, 0.00012345, 0.123456].map(formatRate), ["5e-4", "1.23e-4", "1.23e-1"]);
});

test("a large count is shortened", () => {
  assert.deepEqual([950, 5060, 18_600, 1_234_567].map(formatCount), ["950", "5,060", "18.6k", "1.2M"]);
});

test("a share too small to write is named", () => {
  assert.equal(formatPercent(0.0002, "tiny"), "tiny");
});

test("labels never overlap, and the first and the last are always there", () => {
  for (const [count, size, width] of [[12, 40, 470], [40, 44, 300], [3, 200, 300], [2, 40, 500]]) {
    const shown = roomFor(Array(count).fill(size), width);
    assert.ok(shown[0] === 0 && shown.at(-1) === count - 1);
    const places = shown.slice(1, -1).map((index) => (width * index) / (count - 1));
    const ends = [size / 2, ...places, width - size / 2]; // the middles of all
    if (shown.length > 2) ends.slice(1).forEach((place, index) => assert.ok(place - ends[index] >= size));
  }
  assert.equal(roomFor(Array(12).fill(40), 470).length, 10);
});

test("a perplexity beyond a million is not written out", () => {
  assert.equal(formatPerplexity(2e6), "a great many");
});

test("every attention weight is listed but those that a mask makes 0", () => {
  const given = { layers: 1, heads: 2, length: 2, tokens: ["a", "b"] };
  const masked = attentionColumns({ ...given, bytes: new Uint8Array([255, 0, 51, 204, 255, 0, 0, 255]) });
  assert.deepEqual([masked["looking no."], masked["looked at no."]], [[1, 2, 2, 1, 2, 2], [1, 1, 2, 1, 1, 2]]);
  assert.equal(attentionColumns({ ...given, bytes: new Uint8Array([204, 51, 51, 204, 255, 0, 0, 255]) }).head.length, 8);
});

test("no label on the map lies over another, and few are hidden", () => {
  for (const [count, radius, size, most] of [[68, 60, 11, 0.25], [68, 200, 11, 0.02], [400, 300, 40, 0.9]]) {
    const places = Array.from({ length: count }, (_point, at) => [radius * Math.sqrt(at / count) * Math.cos(2.4 * at), radius * Math.sqrt(at / count) * Math.sin(2.4 * at)]);
    const placed = labelPlaces(places, places.map(() => size), [count - 1]);
    const seen = placed.filter(([, , hidden]) => !hidden);
    assert.ok(!placed[count - 1][2] && seen.length >= (1 - most) * count, `${seen.length} of ${count}`);
    seen.forEach(([x, y], one) => seen.slice(0, one).forEach(([otherX, otherY]) => assert.ok(Math.abs(x - otherX) >= size - 2 || Math.abs(y - otherY) >= 11)));
    assert.deepEqual(labelPlaces(places, places.map(() => size), [count - 1]), placed);
  }
});

test("a label stands at the first height where no curve and no other label is", () => {
  const curve = [{ left: 0, right: 50, top: 5, bottom: 5 }, { left: 50, right: 60, top: 5, bottom: 70 }];
  const label = { left: 52, right: 100, height: 12 };
  assert.equal(clearHeight({ ...label, left: 70 }, [20, 33, 46], curve), 20);
  assert.equal(clearHeight({ ...label, left: 5, right: 45 }, [12, 20, 33], curve), 20);
  assert.equal(clearHeight(label, [20, 33, 84], curve), 84);
  assert.equal(clearHeight({ left: 0, right: 45, height: 12 }, [20, 33], [...curve, { left: 20, right: 30, top: 8, bottom: 20 }]), 33);
});
