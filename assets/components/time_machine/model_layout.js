/* The layout of the model picture, in pixels. A pure function, so that it can be tested without a page.

   Information flows from left to right and tokens are rows; upright (on a phone) it flows down and tokens are columns.

   layoutOf({ width, height: to fit into if possible, tokens: count, shape: { layers, heads, neurons }, open: layer that is
              never folded, upright })
   -> { upright, width, height, first, step: token i starts at first + i * step,
        parts: [{ kind: "embedding" | "attention" | "mlp" | "block" | "output", layer, from, to: along the flow,
                  squares: [{ head, x, y, size }] of attention, title: its place if upright and not right above }],
        title: the place of titles, across the flow } */
const MIN_BLOCK = 96; // pixels along the flow; narrower blocks are folded
const FOLDED = 34;
const MIN_SQUARE = 24; // pixels of a legible pattern

/* The end of a token's box, where its residual stream starts, along the flow. */
export const tokenEnd = ({ upright }) => (upright ? 22 : 42);

export function layoutOf(wanted) {
  return wanted.upright ? upright(wanted) : sideways(wanted);
}

function sideways(wanted) {
  const [tall, low] = [2, 1].map((rows) => sidewaysWith(wanted, rows));
  const smallest = Math.min(...low.parts.flatMap(({ squares = [] }) => squares.map(({ size }) => size)));
  return tall.height > wanted.height && smallest >= MIN_SQUARE ? low : tall;
}

/* With the patterns of at most 4 heads in `rows` rows. */
function sidewaysWith({ width, height, tokens, shape, open }, rows) {
  const GAP = 16;
  const TITLE = 38;
  const BELOW = 24;
  const label = 46;
  const embedding = Math.round(Math.min(shape.layers ? 84 : 260, Math.max(40, width * 0.09)));
  const output = Math.min(170, Math.max(120, width * 0.16));
  const room = width - label - embedding - output - 3 * GAP;
  const sizes = blockSizes(room, shape.layers, open);
  const parts = [{ kind: "embedding", from: label + 8, to: label + 8 + embedding }];
  let at = label + 8 + embedding + GAP;
  let band = 0;
  sizes.forEach(({ size, folded }, layer) => {
    if (folded) parts.push({ kind: "block", layer, from: at + 2, to: at + size - 6 });
    else {
      const attention = Math.round(shape.neurons ? (size - GAP) * 0.58 - 4 : size - GAP);
      const squares = squaresOf(shape.heads, attention, at, TITLE + (rows === 1 ? 16 : 8), rows);
      band = Math.max(band, ...squares.map(({ y, size: side }) => y + side - TITLE));
      parts.push({ kind: "attention", layer, from: at, to: at + attention, squares });
      if (shape.neurons) parts.push({ kind: "mlp", layer, from: at + attention + GAP, to: at + size - GAP });
    }
    at += size;
  });
  parts.push({ kind: "output", from: width - output, to: width });
  const first = TITLE + (band ? band + 12 : 4);
  const high = Math.min(440, Math.max(height - first - BELOW, 13 * Math.min(tokens, 27)));
  const step = Math.max(7, Math.min(26, Math.floor(high / tokens)));
  return { upright: false, width, height: Math.max(first + step * tokens, TITLE + 200) + BELOW, first, step, parts, title: 0 };
}

function upright({ width, tokens, shape, open }) {
  const TITLE = 22;
  const GAP = 14;
  const parts = [];
  let at = 26; // below the tokens
  const add = (kind, size, more = {}) => {
    parts.push({ kind, from: at + TITLE, to: at + TITLE + size, ...more });
    at += TITLE + size + GAP;
  };
  add("embedding", 36);
  for (let layer = 0; layer < shape.layers; layer++) {
    if (shape.layers > 6 && layer !== open) {
      parts.push({ kind: "block", layer, from: at, to: at + 20 });
      at += 26;
      continue;
    }
    const side = Math.floor(Math.min(60, (width - 6 * (shape.heads - 1)) / Math.min(8, shape.heads)));
    const across = Math.floor((width + 6) / (side + 6));
    const squares = Array.from({ length: shape.heads }, (_square, head) => ({
      head, size: side, x: (head % across) * (side + 6), y: at + TITLE + Math.floor(head / across) * (side + 6),
    }));
    const band = Math.ceil(shape.heads / across) * (side + 6) + 4;
    add("attention", 56 + band, { layer, squares });
    parts.at(-1).from += band;
    parts.at(-1).title = parts.at(-1).from - band - TITLE;
    if (shape.neurons) add("mlp", 36, { layer });
  }
  add("output", 190);
  return { upright: true, width, height: at, first: 0, step: Math.min(26, width / tokens), parts, title: TITLE };
}

/* The length of each block along the flow: all equal if they fit; else one is open and the others are folded. */
export function blockSizes(room, layers, open) {
  const each = room / Math.max(1, layers);
  if (each >= MIN_BLOCK) return Array.from({ length: layers }, () => ({ size: Math.min(each, 330), folded: false }));
  const folded = Math.max(10, Math.min(FOLDED, (room - MIN_BLOCK) / (layers - 1)));
  return Array.from({ length: layers }, (_block, layer) => layer === open
    ? { size: Math.max(MIN_BLOCK, Math.min(300, room - folded * (layers - 1))), folded: false }
    : { size: folded, folded: true });
}

/* The heads' patterns in rows above the tokens. */
function squaresOf(heads, width, x, y, rows) {
  const across = heads <= 4 ? Math.min(Math.ceil(4 / rows), heads) : heads <= 9 ? 3 : 4;
  const size = Math.floor(Math.min(heads === 1 ? 84 : 62, (width - 6 * (across - 1)) / across));
  return Array.from({ length: heads }, (_square, head) => ({
    head, size, x: x + (head % across) * (size + 6), y: y + Math.floor(head / across) * (size + 6),
  }));
}

/* The segments of a residual stream line: [[from, to] of each stage], one stage per norm. */
export function streamOf(parts, { neurons, residual }) {
  const bounds = parts.flatMap((part) => {
    if (part.kind !== "block") return [[part.from, part.to]];
    const middle = (part.from + part.to) / 2;
    return neurons ? [[part.from, middle], [middle, part.to]] : [[part.from, part.to]];
  });
  return bounds.slice(1).map(([from, to], index) => [bounds[index][1], residual && index < bounds.length - 2 ? to : from]);
}
