/* A line of tokens with arcs between them, and a reader for one attention head.

   tokenArcs(root, { height: of one side, below: whether there are arcs below, too, onPoint(index or null), onClick(index),
                     onMove(step) by an arrow key, draw() after a resize })
   -> { box, letters, readout, setTokens(tokens) -> whether they changed, clear(), arc(side, from, to, style), destroy() } */
import { formatPercent } from "./format.js";
import { _, arrowStep, element, ngettext, quoted, svgElement, withElements } from "./mount.js";

export function tokenArcs(root, { height, below = false, onPoint, onClick, onMove, draw }) {
  const letters = element("div", "arcs-letters", [], { role: "group", tabindex: 0 });
  const readout = element("div", "arcs-readout aside", [], { "aria-live": "polite" });
  const sides = { above: svgElement("svg", { "aria-hidden": "true", height }) };
  if (below) sides.below = svgElement("svg", { "aria-hidden": "true", height });
  const line = element("div", "arcs-line", [sides.above, letters, ...(below ? [sides.below] : [])]);
  const box = element("div", "arcs sideways", line);
  root.append(box, readout);
  let shown = [];

  const indexOf = (event) => [...letters.children].indexOf(event.target.closest(".arcs-letter"));
  letters.addEventListener("pointerover", (event) => indexOf(event) >= 0 && onPoint(indexOf(event)));
  letters.addEventListener("pointerleave", () => onPoint(null));
  letters.addEventListener("click", (event) => indexOf(event) >= 0 && onClick(indexOf(event)));
  letters.addEventListener("keydown", (event) => {
    const step = arrowStep(event);
    if (step) onMove(step);
  });
  const resizes = new ResizeObserver(() => shown.length && draw());
  resizes.observe(box);

  return {
    box, letters, readout,
    setTokens(tokens) {
      if (shown.length && shown.join("\n") === tokens.join("\n")) return false;
      shown = tokens;
      letters.replaceChildren(...tokens.map((token) => element("span", "arcs-letter", token)));
      letters.setAttribute("aria-label", _("{text}; the arrow keys move from token to token", { text: tokens.join("") }));
      return true;
    },
    clear() {
      for (const svg of Object.values(sides)) {
        svg.replaceChildren();
        svg.setAttribute("width", letters.scrollWidth);
      }
    },
    arc(side, from, to, { color, width, opacity }) {
      const [a, b] = [from, to].map((index) => letters.children[index].offsetLeft + letters.children[index].offsetWidth / 2);
      const rise = Math.min(height - 4, 10 + Math.abs(a - b) * 0.4) * 1.3;
      const [base, bend] = side === "above" ? [height, height - rise] : [0, rise];
      const d = `M ${a} ${base} C ${a} ${bend}, ${b} ${bend}, ${b} ${base}`;
      sides[side].append(svgElement("path", { d, stroke: color, "stroke-width": width.toFixed(2), opacity: opacity.toFixed(2) }));
    },
    destroy: () => resizes.disconnect(),
  };
}

/* Arcs run from the token that is pointed at to those it attends to.
   attentionReader(root) -> { show({ tokens, bytes (uint8 T*T, 255 = all attention), row: initial token, palette }), destroy() } */
export function attentionReader(root) {
  let data = null;
  let selected = 0;
  let shownRow = 0;
  const arcs = tokenArcs(root, {
    height: 64,
    onPoint: (row) => draw(row ?? selected),
    onClick: select,
    onMove: (step) => select(selected + step),
    draw: () => draw(shownRow),
  });
  arcs.box.classList.add("compact");

  const share = (row, column) => data.bytes[row * data.tokens.length + column] / 255;

  function draw(row) {
    shownRow = row;
    const columns = [...data.tokens.keys()];
    const peak = Math.max(...columns.map((column) => share(row, column)), 1e-9);
    arcs.clear();
    for (const column of columns) {
      const value = share(row, column);
      const letter = arcs.letters.children[column];
      letter.classList.toggle("pointed", column === row);
      letter.style.setProperty("--outgoing", value);
      if (column !== row && value >= 0.02) arcs.arc("above", row, column, { color: data.palette.accent, width: 1 + 3 * value, opacity: 0.2 + 0.8 * (value / peak) });
    }
    const largest = columns.sort((a, b) => share(row, b) - share(row, a)).slice(0, 3);
    const parts = largest.filter((column, index) => index === 0 || share(row, column) >= 0.05).map((column) => {
      const back = row - column;
      const filled = { share: formatPercent(share(row, column)), token: quoted(data.tokens[column]) };
      if (!back) return _("{share} to itself", filled);
      if (back > 0) return ngettext("{share} to {token}, {count} token back", "{share} to {token}, {count} tokens back", back, filled);
      return ngettext("{share} to {token}, {count} token ahead", "{share} to {token}, {count} tokens ahead", -back, filled);
    });
    const token = element("b", "", quoted(data.tokens[row]));
    arcs.readout.replaceChildren(...withElements(_("{token} attends {places}."), { token, places: parts.join("; ") }));
  }

  function select(row) {
    selected = Math.max(0, Math.min(data.tokens.length - 1, row));
    draw(selected);
    const { box } = arcs;
    const letter = arcs.letters.children[selected];
    if (letter.offsetLeft < box.scrollLeft || letter.offsetLeft + 20 > box.scrollLeft + box.clientWidth) {
      box.scrollLeft = letter.offsetLeft - box.clientWidth / 2;
    }
  }

  return {
    show(next) {
      data = next;
      if (arcs.setTokens(next.tokens)) select(next.row);
      else draw(shownRow);
    },
    destroy: arcs.destroy,
  };
}
