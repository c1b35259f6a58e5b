/* Texts whose letters are shaded by an amount, with words for the letter that is pointed at.
   data: { rows: [{ lead, tokens: [as they are], shades: [0..1], words: [for each token, or ""], strong: place or null }], note, palettes } */
import { colorTable, currentPalette, element, mountOnce, withSigns, writtenText } from "../shared/mount.js";

export default function (component) {
  return mountOnce(component, (root) => {
    const rows = element("div", "marked-rows");
    const told = element("div", "hint marked-told");
    told.setAttribute("role", "status");
    root.append(rows, told);
    let data = null;

    const wordsOf = (event) => {
      const mark = event.target.closest("[data-row]");
      return mark ? data.rows[mark.dataset.row].words[mark.dataset.place] : "";
    };
    rows.addEventListener("pointerover", (event) => (told.textContent = wordsOf(event) || data.note));
    rows.addEventListener("click", (event) => (told.textContent = wordsOf(event) || data.note));
    rows.addEventListener("pointerleave", () => (told.textContent = data.note));

    return {
      update(next) {
        data = next.data;
        const palette = currentPalette(root, data.palettes);
        const table = colorTable(palette.sequential);
        root.style.setProperty("--accent", palette.accent);
        rows.replaceChildren(...data.rows.map((row, at) => line(row, at, table)));
        told.textContent = data.note;
      },
      destroy() {},
    };

    function line(row, at, table) {
      const made = element("div", "marked-row");
      if (row.lead) made.append(element("span", "marked-lead", row.lead));
      const text = writtenText("div", "marked-text");
      row.tokens.forEach((token, place) => {
        const broken = token === "\n";
        const kind = broken ? "marked newline" : token ? "marked" : "marked part"; // "": it ends within a character
        const mark = element("span", kind, broken ? "⏎" : withSigns(token));
        if (place === row.strong) mark.classList.add("strong");
        mark.dataset.row = at;
        mark.dataset.place = place;
        // Half the scale is used, so that the letters stay readable on it.
        const level = Math.round(Math.min(1, Math.max(0, row.shades[place])) * 128) * 3;
        if (level) mark.style.backgroundColor = `rgb(${table[level]},${table[level + 1]},${table[level + 2]})`;
        text.append(mark);
        if (broken && data.breaks) text.append(document.createElement("br"));
      });
      made.append(text);
      return made;
    }
  });
}
