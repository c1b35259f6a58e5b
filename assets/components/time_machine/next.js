/* What comes next at the moment on view: bars that grow, shrink and overtake each other. */
import { percent } from "../shared/format.js";
import { element } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root) => {
    const HEIGHT = 27; // pixels of a row
    const box = element("div", "bars");
    root.append(box);
    let rows = new Map(); // token -> its row
    function rowOf(token) {
      const row = element("div", "bars-row");
      row.append(element("span", "bars-name", token), element("span", "bars-track"), element("span", "bars-share"));
      row.children[1].append(element("span", "bars-fill"));
      box.append(row);
      return row;
    }
    return {
      words: (frame) => frame.next?.words,
      name: () => "next",
      columns: ({ next }) => next && { token: next.guesses.map(([token]) => token), probability: next.guesses.map(([, , share]) => share) },
      draw({ next }, palette) {
        box.hidden = !next;
        if (!next) return;
        const largest = Math.max(0.25, next.guesses[0][2]);
        box.style.height = `${HEIGHT * next.guesses.length}px`;
        const now = new Map();
        next.guesses.forEach(([token, kind, share], index) => {
          const row = rows.get(token) || rowOf(token);
          now.set(token, row);
          row.style.transform = `translateY(${HEIGHT * index}px)`;
          row.querySelector(".bars-fill").style.cssText = `width: ${Math.max(0.4, (100 * share) / largest)}%; background: ${palette.kinds[kind] || palette.muted}`;
          row.lastChild.textContent = percent(share, "< 0.1 %");
        });
        for (const [token, row] of rows) if (!now.has(token)) row.remove();
        rows = now;
      },
    };
  });
}
