/* The logit lens at the moment on view: a row for each stage, a column for each of the last letters. */
import { percent } from "../shared/format.js";
import { colorTable, element, inkOn, quoted, say } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root) => {
    const scroller = element("div", "lens-scroll");
    const grid = element("div", "lens");
    scroller.append(grid);
    root.append(scroller);
    let shape = "";
    let cells = [];
    function build({ tokens, truth, rows }) {
      grid.style.gridTemplateColumns = `max-content repeat(${tokens.length}, minmax(25px, max-content))`;
      const line = (name, texts, className) => [element("span", "lens-name", name), ...texts.map((text) => element("span", className, text))];
      cells = rows.map((row) => row.map(() => element("span", "lens-cell")));
      grid.replaceChildren(
        ...line("", tokens, "lens-token"),
        ...cells.flatMap((row, stage) => [element("span", "lens-name", stage ? say("after {block}", { block: stage }) : say("embedding")), ...row]),
        ...line(say("truth"), [...truth, "?"], "lens-truth"),
      );
      scroller.scrollLeft = scroller.scrollWidth;
    }
    return {
      words: (frame) => frame.lens?.all,
      name: () => "logit-lens",
      columns({ lens }) {
        if (!lens) return null;
        const cells = lens.rows.flatMap((row, stage) => row.map(([token, share], place) => [stage ? `after block ${stage}` : "embedding", place + 1, lens.tokens[place], token, share, lens.truth[place] ?? ""]));
        return Object.fromEntries(["stage", "place", "read", "says", "probability", "what came"].map((name, at) => [name, cells.map((cell) => cell[at])]));
      },
      draw({ lens }, palette) {
        grid.hidden = !lens;
        if (!lens) return;
        grid.style.setProperty("--truth", palette.validation);
        const table = colorTable(palette.sequential);
        const next = JSON.stringify([lens.tokens, lens.rows.length]);
        if (next !== shape) build(lens);
        shape = next;
        lens.rows.forEach((row, stage) => row.forEach(([token, share], place) => {
          const cell = cells[stage][place];
          cell.classList.toggle("lens-settled", stage === lens.settled[place]);
          const level = Math.round(255 * share ** 0.6);
          if (cell.textContent !== token) cell.textContent = token;
          const color = table.slice(level * 3, level * 3 + 3);
          cell.style.background = `rgb(${color.join(",")})`;
          cell.style.color = inkOn(color);
          const filled = { read: quoted(lens.tokens[place]), block: stage, token: quoted(token), share: percent(share) };
          cell.title = stage ? say("After {read}, block {block}: {token} with {share}", filled) : say("After {read}, no block yet: {token} with {share}", filled);
        }));
      },
    };
  });
}
