/* How the model would go on at the moment on view, always taking the likeliest letter; shaded by how likely it was. */
import { percent } from "../shared/format.js";
import { colorTable, element, say, withSigns, writtenText } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root) => {
    const { unit } = component.data;
    const text = writtenText("div", "moving-text");
    root.append(text);
    return {
      words({ written }) {
        if (!written?.length) return "";
        const sure = written.reduce((sum, [, share]) => sum + share, 0) / written.length;
        const filled = { share: percent(sure), count: new Set(written.map(([, , token]) => token)).size };
        return unit === "tokens"
          ? say("It holds what it writes for {share} likely on average, and writes {count} different tokens.", filled)
          : say("It holds what it writes for {share} likely on average, and writes {count} different letters.", filled);
      },
      name: () => "continuation",
      columns: ({ written }) => written && { token: written.map(([, , token]) => token), probability: written.map(([, share]) => share) },
      draw({ prompt, written }, palette) {
        const table = colorTable(palette.sequential);
        const marks = (written || []).map(([part, share]) => {
          const mark = element("span", part ? "moving-letter" : "moving-letter part", part === "\n" ? "⏎\n" : withSigns(part));
          const level = Math.round(share * 128) * 3;
          mark.style.backgroundColor = `rgb(${table.slice(level, level + 3).join(",")})`;
          mark.title = percent(share);
          return mark;
        });
        text.replaceChildren(element("span", "moving-prompt", withSigns(prompt)), ...marks);
      },
    };
  });
}
