import assert from "node:assert/strict";
import test from "node:test";
import { formatCount, formatPercent, formatPerplexity, formatRate } from "../../assets/components/shared/format.js";

test("a learning rate keeps three digits", () => {
  assert.deepEqual([0.0005, 0.00012345, 0.123456].map(formatRate), ["5e-4", "1.23e-4", "0.123"]);
});

test("a large count is shortened", () => {
  assert.deepEqual([950, 5060, 18_600, 1_234_567].map(formatCount), ["950", "5,060", "18.6k", "1.2M"]);
});

test("a share too small to write is named", () => {
  assert.equal(formatPercent(0.0002, "tiny"), "tiny");
});

test("a perplexity beyond a million is not written out", () => {
  assert.equal(formatPerplexity(2e6), "a great many");
});
