/* The next token as each stage of the model would have it, at the moment on view: from the embedding up to the last block. */
import { percent } from "../shared/format.js";
import { element, say } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root) => {
    const box = element("div", "mind");
    root.append(box);
    let rows = [];
    const stages = ({ rows }) => rows.map((row) => row.at(-1)); // at the prompt's last token
    return {
      words: (frame) => frame.lens?.words,
      name: () => "next-by-block",
      columns: ({ lens }) => lens && { stage: stages(lens).map((_, stage) => (stage ? `after block ${stage}` : "embedding")), says: stages(lens).map(([token]) => token), probability: stages(lens).map(([, share]) => share) },
      draw({ lens }, palette) {
        box.hidden = !lens;
        if (!lens) return;
        const said = stages(lens);
        if (rows.length !== said.length) {
          rows = said.map((_, stage) => {
            const row = element("div", "mind-row");
            row.append(element("span", "lens-name", stage ? say("after {block}", { block: stage }) : say("embedding")), element("span", "mind-token"), element("span", "bars-track"), element("span", "bars-share"));
            row.children[2].append(element("span", "bars-fill"));
            return row;
          });
          box.replaceChildren(...rows);
        }
        box.style.setProperty("--truth", palette.validation);
        const final = said.at(-1)[0];
        said.forEach(([token, share], stage) => {
          const [, name, track, told] = rows[stage].children;
          name.textContent = token;
          name.classList.toggle("lens-settled", stage === lens.settled.at(-1));
          track.firstChild.style.cssText = `width: ${Math.max(0.4, 100 * share)}%; background: ${token === final ? palette.accent : palette.lines}`;
          told.textContent = percent(share);
        });
      },
    };
  });
}
