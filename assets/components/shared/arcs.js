/* Where each token of a line looks in one head: point at a token, and arcs run from it to those it looks at. Shared by the
   reader of a finished model and the time machine.

   attentionReader(root) -> { show({ tokens, bytes (uint8 T*T, 255 = all attention), row: to begin with, palette }), destroy() } */
import { formatPercent } from "./format.js";
import { _, element, quoted, withElements } from "./mount.js";

export function attentionReader(root) {
  const box = element("div", "reader");
  const line = element("div", "reader-line");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const letters = element("div", "reader-letters");
  const readout = element("div", "reader-readout aside");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("reader-arcs");
  readout.setAttribute("aria-live", "polite");
  letters.setAttribute("role", "group");
  letters.tabIndex = 0;
  line.append(svg, letters);
  box.append(line);
  root.append(box, readout);
  let data = null;
  let selected = 0;
  let shownRow = 0;

  const share = (row, column) => data.bytes[row * data.tokens.length + column] / 255;

  function draw(row) {
    shownRow = row;
    const marks = [...letters.children];
    const peak = Math.max(...marks.map((_mark, column) => share(row, column)), 1e-9);
    const height = 64;
    svg.replaceChildren();
    svg.setAttribute("width", letters.scrollWidth);
    svg.setAttribute("height", height);
    marks.forEach((mark, column) => {
      const value = share(row, column);
      mark.classList.toggle("looks", column === row);
      mark.style.setProperty("--share", value);
      if (column === row || value < 0.02) return;
      const from = marks[row].offsetLeft + marks[row].offsetWidth / 2;
      const to = mark.offsetLeft + mark.offsetWidth / 2;
      const rise = Math.min(height - 4, 12 + Math.abs(from - to) * 0.45);
      const arc = document.createElementNS("http://www.w3.org/2000/svg", "path");
      arc.setAttribute("d", `M ${from} ${height} C ${from} ${height - rise * 1.3}, ${to} ${height - rise * 1.3}, ${to} ${height}`);
      arc.setAttribute("fill", "none");
      arc.setAttribute("stroke", data.palette.accent);
      arc.setAttribute("stroke-width", (1 + 3 * value).toFixed(2));
      arc.setAttribute("opacity", (0.2 + 0.8 * (value / peak)).toFixed(2));
      svg.append(arc);
    });
    const largest = [...marks.keys()].sort((a, b) => share(row, b) - share(row, a)).slice(0, 3);
    const parts = largest.filter((column, place) => place === 0 || share(row, column) >= 0.05).map((column) => {
      const back = row - column;
      const filled = { share: formatPercent(share(row, column)), token: quoted(data.tokens[column]), count: Math.abs(back) };
      if (!back) return _("{share} at itself", filled);
      return back > 0 ? _("{share} at {token}, {count} back", filled) : _("{share} at {token}, {count} ahead", filled);
    });
    const token = element("b", "", quoted(data.tokens[row]));
    readout.replaceChildren(...withElements(_("{token} looks {places}."), { token, places: parts.join("; ") }));
  }

  function select(row) {
    selected = Math.max(0, Math.min(data.tokens.length - 1, row));
    draw(selected);
    const mark = letters.children[selected];
    if (mark.offsetLeft < box.scrollLeft || mark.offsetLeft + 20 > box.scrollLeft + box.clientWidth) {
      box.scrollLeft = mark.offsetLeft - box.clientWidth / 2;
    }
  }

  const rowOf = (event) => [...letters.children].indexOf(event.target.closest(".reader-letter"));
  letters.addEventListener("pointerover", (event) => rowOf(event) >= 0 && draw(rowOf(event)));
  letters.addEventListener("pointerleave", () => draw(selected));
  letters.addEventListener("click", (event) => rowOf(event) >= 0 && select(rowOf(event)));
  letters.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (!step) return;
    event.preventDefault();
    select(selected + step);
  });
  const resized = new ResizeObserver(() => data && draw(shownRow));
  resized.observe(box);

  return {
    show(next) {
      const same = data && data.tokens.join("\n") === next.tokens.join("\n");
      if (!same) {
        selected = next.row;
        letters.replaceChildren(...next.tokens.map((token) => element("span", "reader-letter", token)));
        letters.setAttribute("aria-label", _("{text}; the arrow keys move from letter to letter", { text: next.tokens.join("") }));
      }
      data = next;
      if (same) draw(shownRow);
      else select(selected);
    },
    destroy: () => resized.disconnect(),
  };
}
