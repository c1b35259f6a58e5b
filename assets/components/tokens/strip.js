/* A text as its tokens, each over its number. Pointing at one lights up all that are the same, which have the same number.
   data: { tokens: [shown], ids: [number or null where the text has no such token], kinds, palettes } */
import { currentPalette, element, mountOnce, quoted, say } from "../shared/mount.js";
import { tokenChip } from "./chip.js";

export default function (component) {
  return mountOnce(component, (root) => {
    const strip = element("div", "strip");
    const told = element("div", "hint strip-told");
    strip.setAttribute("role", "list");
    strip.tabIndex = 0;
    root.append(strip, told);
    let shown = null;

    const light = (id) => {
      let count = 0;
      for (const chip of strip.querySelectorAll(".chip")) {
        const same = id !== null && chip.dataset.id === id;
        chip.classList.toggle("same", same);
        count += same;
      }
      return count;
    };

    strip.addEventListener("pointerover", (event) => {
      const chip = event.target.closest(".chip");
      if (!chip) return;
      const count = light(chip.dataset.id);
      const filled = { token: quoted(chip.firstChild.textContent), number: chip.dataset.id, count };
      told.textContent =
        chip.classList.contains("unknown") ? say("{token} does not occur in this text, so it has no number.", filled)
        : count === 1 ? say("{token} is always number {number}; it stands here once.", filled)
        : say("{token} is always number {number}; it stands here {count} times.", filled);
    });
    strip.addEventListener("pointerleave", () => {
      light(null);
      told.textContent = shown.note;
    });

    return {
      update({ data }) {
        shown = data;
        const palette = currentPalette(root, data.palettes);
        strip.setAttribute("aria-label", say("Tokens: {tokens}. Their numbers: {numbers}", { tokens: data.tokens.join(" "), numbers: data.ids.join(" ") }));
        strip.replaceChildren();
        data.tokens.forEach((token, index) => {
          const id = data.ids[index];
          const chip = tokenChip("span", token, id === null ? "none" : String(id), data.kinds[index], palette);
          chip.setAttribute("role", "listitem");
          if (id === null) chip.classList.add("unknown");
          strip.append(chip);
          if (token === "⏎") strip.append(element("span", "strip-break"));
        });
        told.textContent = data.note;
      },
      destroy() {},
    };
  });
}
