/* The ranges of the loss chart's axes, and its smoothed line. */

const SPANS = 10; // a curve has at least this many smoothing windows, so a short one is smoothed less

/* A line fitted around each value, which does not lag behind a falling curve; as `smoothed` in explorer/charts/loss.py. */
export function smoothed(values, most) {
  const share = Math.min(most, Math.max(0, 1 - SPANS / Math.max(1, values.length)));
  const reach = Math.ceil(1 / (1 - share));
  const sumsBefore = weightedSums(values, share);
  const sumsAfter = weightedSums([...values].reverse(), share).reverse();
  return values.map((value, at) => {
    const [b0, b1, b2, bv, bd] = sumsBefore[at];
    const [a0, a1, a2, av, ad] = sumsAfter[at];
    const [weight, first, second] = [b0 + a0 - 1, a1 - b1, a2 + b2];
    const [total, slope] = [bv + av - value, ad - bd];
    const spread = weight * second - first * first;
    const fit = spread > 0 ? (total * second - slope * first) / spread : value;
    const near = values.slice(Math.max(0, at - reach), at + reach + 1);
    return Math.max(Math.min(...near), Math.min(Math.max(...near), fit));
  });
}

/* For each value, the sums of share ** d times 1, d, d ** 2, value and d * value over it and earlier values. */
function weightedSums(values, share) {
  let [w0, w1, w2, v, d] = [0, 0, 0, 0, 0];
  return values.map((value) => {
    [w0, w1, w2] = [share * w0 + 1, share * (w1 + w0), share * (w2 + 2 * w1 + w0)];
    [v, d] = [share * v + value, share * (d + v)];
    return [w0, w1, w2, v, d];
  });
}

/* Convert a loss in nats/token to another unit; as `in_unit` in explorer/charts/loss.py. */
export function inUnit(loss, unit, bytesPerToken) {
  return { nats: loss, bits: loss / Math.LN2 / bytesPerToken, choices: Math.exp(Math.min(loss, 700)) }[unit];
}

const STORED = "gpt-explorer loss unit";

/* The unit last chosen in this browser, on any page; bits/byte only if a token's size is known. */
export function chosenUnit(bytesPerToken) {
  let unit = null;
  try {
    unit = localStorage.getItem(STORED);
  } catch { /* a browser without storage shows nats */ }
  return unit === "choices" || (unit === "bits" && bytesPerToken) ? unit : "nats";
}

export function chooseUnit(unit) {
  try {
    localStorage.setItem(STORED, unit);
  } catch { /* then only this chart changes */ }
}

/* Bytes of text per token of the validation loss, from the newest row that has them; else `unless`. */
export function bytesPerTokenOf(rows, unless) {
  const row = rows.findLast(({ val_loss, val_bits_per_byte }) => val_loss > 0 && val_bits_per_byte > 0);
  return row ? row.val_loss / Math.LN2 / row.val_bits_per_byte : unless;
}

/* All steps; for a fork, which starts at step `begins` of its ancestors, also as many steps before that. */
export function stepRange(steps, begins) {
  return [Math.max(0, begins - steps), begins + steps];
}

/* The range of all values with a margin, in quarters, so that it rarely changes; as `loss_range` in explorer/charts/loss.py. */
export function lossRange(values) {
  const [low, high] = extremes(values);
  return [Math.floor((low - 0.12) * 4) / 4, Math.min(Math.ceil((high + 0.08) * 4) / 4, high + 1)];
}

/* The start of a logarithmic axis for values that may be 0. */
export function lowestPositive(values) {
  return 0.8 * values.reduce((low, value) => (value > 0 ? Math.min(low, value) : low), 0.05);
}

/* The loss axis of a fork: its own values and its parent's near and after the branch, in tenths. The parent's first steps, with
   far higher losses, are cut off at the top. parent: { x: steps, y: losses } */
export function forkRange(values, parent, begins) {
  const [low, high] = extremes([...values, ...parent.y.filter((_loss, index) => parent.x[index] >= begins / 2)]);
  return [Math.floor((low - 0.06) * 10) / 10, Math.ceil((high + 0.12) * 10) / 10];
}

/* The lowest and highest value; without values, those of an untrained model. */
function extremes(values) {
  const known = values.length ? values : [0, 4.5];
  return known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/* The places of labels that belong at `places`, in pixels: at least `apart` from each other, in the same order, and moved as
   little as possible. */
export function spreadLabels(places, apart) {
  const order = [...places.keys()].sort((one, two) => places[one] - places[two]);
  const groups = []; // of labels that touch: { first: in order, count, middle: of the places where they belong }
  for (const [at, index] of order.entries()) {
    let group = { first: at, count: 1, middle: places[index] };
    while (groups.length && group.middle - ((group.count - 1) / 2) * apart < groups.at(-1).middle + ((groups.at(-1).count + 1) / 2) * apart) {
      const before = groups.pop();
      const count = before.count + group.count;
      group = { first: before.first, count, middle: (before.middle * before.count + group.middle * group.count) / count };
    }
    groups.push(group);
  }
  const spread = [];
  for (const { first, count, middle } of groups) {
    for (let at = 0; at < count; at++) spread[order[first + at]] = middle + (at - (count - 1) / 2) * apart;
  }
  return spread;
}

/* The labels to leave out, as indices of `places`: as many as it takes until `spreadLabels` moves none by more than half of
   `apart`, so that each label is clearly at its line. Of lines in one place, the last ones keep their labels. */
export function crowdedLabels(places, apart) {
  const shown = [...places.keys()];
  for (;;) {
    const spread = spreadLabels(shown.map((index) => places[index]), apart);
    const moved = shown.map((index, at) => Math.abs(spread[at] - places[index]));
    const worst = Math.max(0, ...moved);
    if (worst <= apart / 2 + 0.01) return [...places.keys()].filter((index) => !shown.includes(index));
    shown.splice(moved.indexOf(worst), 1);
  }
}

/* Return on which side of a point its number covers no label and stays within the chart: "top", "bottom", or "" for neither.
   middle, apart, labels { low, high }: as shares of the chart's height */
export function numberSide(middle, apart, labels) {
  const clear = (at) => at >= 0 && !labels.some(({ low, high }) => low < at && at < high);
  if (clear(middle + apart)) return "top";
  return clear(middle - apart) ? "bottom" : "";
}
