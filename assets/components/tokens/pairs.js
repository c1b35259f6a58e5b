/* A batch, and the examples hidden in one of its rows: each beginning of the row is a context, the token after it the target.
   data: { x: [[id]], y: [[id]], tokens: {id: shown}, kinds: {id: kind}, palettes } */
import { currentPalette, element, mountOnce, say } from "../shared/mount.js";
import { tokenChip } from "./chip.js";

export default function (component) {
  return mountOnce(component, (root, first) => {
    const board = element("div", "pairs");
    const batch = element("div", "pairs-batch");
    const examples = element("div", "pairs-examples");
    board.append(batch, examples);
    root.append(board);
    let data = first.data;
    let chosen = 0;
    let palette = null;

    const chip = (id) => tokenChip("span", data.tokens[id], String(id), data.kinds[id], palette);

    function drawBatch() {
      batch.replaceChildren(element("div", "hint", say("The batch: {count} pieces, {length} tokens each", { count: data.x.length, length: data.x[0].length })));
      data.x.forEach((ids, row) => {
        const piece = element("button", "pairs-piece");
        piece.type = "button";
        piece.setAttribute("aria-pressed", String(row === chosen));
        piece.setAttribute("aria-label", say("Piece {piece}: {text}", { piece: row + 1, text: ids.map((id) => data.tokens[id]).join("") }));
        piece.append(...ids.map(chip));
        piece.addEventListener("click", () => {
          chosen = row;
          [...batch.querySelectorAll("button")].forEach((other, index) => {
            other.setAttribute("aria-pressed", String(index === row));
          });
          drawExamples();
        });
        batch.append(piece);
      });
    }

    function drawExamples() {
      const ids = data.x[chosen];
      examples.replaceChildren(element("div", "hint", say("Hidden in piece {piece}: {count} examples at once", { piece: chosen + 1, count: ids.length })));
      ids.forEach((_, index) => {
        const line = element("div", "pairs-line");
        const context = element("span", "pairs-context");
        context.append(...ids.slice(0, index + 1).map(chip));
        const target = chip(data.y[chosen][index]);
        target.classList.add("target");
        line.append(context, element("span", "pairs-arrow", "→"), target);
        examples.append(line);
      });
    }

    return {
      update(next) {
        if (next.data.x.join() !== data.x.join()) chosen = 0;
        data = next.data;
        palette = currentPalette(root, data.palettes);
        drawBatch();
        drawExamples();
      },
      destroy() {},
    };
  });
}
