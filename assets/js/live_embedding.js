/* The map of the token embeddings: letters that glide to where training takes them. */
export default function (component) {
  return mountOnce(component, (root) => {
    const SVG = "http://www.w3.org/2000/svg";
    let palette = null;
    let leave = null;
    let runId = null;
    let shown = null;
    let letters = new Map();
    const legend = element("div", "legend");
    const stage = element("div", "stage");
    const map = document.createElementNS(SVG, "svg");
    const tip = element("div", "map-tip");
    const waiting = element("div", "waiting", "The first map arrives with the first steps.");
    map.setAttribute("role", "img");
    map.setAttribute("aria-label", "Map of the token embeddings");
    tip.hidden = true;
    stage.append(map, tip, waiting);
    root.append(legend, stage);

    function paint() {
      if (!palette || !shown) return;
      const kinds = [...new Set(shown.kinds)];
      const order = Object.keys(palette.kinds).filter((kind) => kinds.includes(kind));
      legend.replaceChildren(...order.map((kind) => {
        const entry = element("span", "kind", KIND_NAMES[kind] || kind);
        entry.style.color = palette.kinds[kind];
        return entry;
      }));
      for (const [token, letter] of letters) letter.setAttribute("fill", palette.kinds[shown.kinds[shown.tokens.indexOf(token)]] || palette.muted);
    }

    function place() {
      if (!shown) return;
      const width = stage.clientWidth;
      const height = stage.clientHeight;
      if (!width) return;
      const side = Math.min(width, height) / 2 - 16;
      const stretch = Math.min(1.25, (width / 2 - 16) / side);
      shown.tokens.forEach((token, index) => {
        let letter = letters.get(token);
        const isNew = !letter;
        if (isNew) {
          letter = document.createElementNS(SVG, "text");
          letter.textContent = token;
          letter.addEventListener("pointerenter", () => hover(token));
          letter.addEventListener("pointerleave", () => hover(null));
          map.appendChild(letter);
          letters.set(token, letter);
        }
        const [x, y] = shown.xy[index];
        letter.style.transform = `translate(${(width / 2 + x * side * stretch).toFixed(1)}px, ${(height / 2 - y * side).toFixed(1)}px)`;
      });
    }

    function hover(token) {
      tip.hidden = token === null;
      if (token === null) return;
      const index = shown.tokens.indexOf(token);
      const [x, y] = shown.xy[index];
      const near = shown.tokens
        .map((other, at) => [other, Math.hypot(shown.xy[at][0] - x, shown.xy[at][1] - y)])
        .filter(([other]) => other !== token)
        .sort((one, two) => one[1] - two[1])
        .slice(0, 5)
        .map(([other]) => other);
      tip.textContent = `${token}   nearest here: ${near.join("  ")}`;
    }

    const resizes = new ResizeObserver(place);
    resizes.observe(stage);
    return {
      update(next) {
        palette = currentPalette(root, next.data.palettes);
        stage.style.height = next.data.height + "px";
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          shown = null;
          map.replaceChildren();
          letters = new Map();
          waiting.hidden = false;
          leave = liveRun(runId).subscribe({
            embedding(value) {
              const others = shown && shown.tokens.join("\n") !== value.tokens.join("\n");
              if (others) {
                map.replaceChildren();
                letters = new Map();
              }
              const first = !shown || others;
              shown = value;
              waiting.hidden = true;
              place();
              if (first) paint();
            },
          });
        }
        paint();
      },
      destroy() {
        leave?.();
        resizes.disconnect();
      },
    };
  });
}

const KIND_NAMES = {
  vowel: "vowels", consonant: "consonants", capital: "capitals", digit: "digits", punctuation: "marks", space: "spaces", other: "others",
};
