/* The map of the token embeddings: letters that glide to where training takes them. Shared by the live board and the time
   machine.

   letterMap(stage, legend) -> { show(value, palette, trails), destroy() }
   value: { tokens, kinds, xy: [[x, y] from -1 to 1] }; trails: where every token was before, oldest first: [xy, ...] */
function letterMap(stage, legend) {
  const SVG = "http://www.w3.org/2000/svg";
  const map = document.createElementNS(SVG, "svg");
  const lines = document.createElementNS(SVG, "g");
  const tip = element("div", "map-tip aside");
  let palette = null;
  let shown = null;
  let trails = [];
  let letters = [];
  map.setAttribute("role", "img");
  map.setAttribute("aria-label", "Map of the token embeddings");
  map.append(lines);
  tip.hidden = true;
  stage.append(map, tip);

  const colorOf = (index) => palette.kinds[shown.kinds[index]] || palette.muted;

  function paint() {
    const order = Object.keys(palette.kinds).filter((kind) => shown.kinds.includes(kind));
    legend.replaceChildren(...order.map((kind) => {
      const entry = element("span", "kind", KIND_NAMES[kind] || kind);
      entry.style.color = palette.kinds[kind];
      return entry;
    }));
    letters.forEach((letter, index) => letter.setAttribute("fill", colorOf(index)));
  }

  function place() {
    const width = stage.clientWidth;
    const height = stage.clientHeight;
    if (!shown || !width) return;
    const side = Math.min(width, height) / 2 - 16;
    const stretch = Math.min(1.25, (width / 2 - 16) / side);
    const on = ([x, y]) => [(width / 2 + x * side * stretch).toFixed(1), (height / 2 - y * side).toFixed(1)];
    shown.xy.forEach((point, index) => {
      const [x, y] = on(point);
      letters[index].style.transform = `translate(${x}px, ${y}px)`;
    });
    lines.replaceChildren(...(trails.length ? shown.xy.map((point, index) => {
      const trail = document.createElementNS(SVG, "polyline");
      trail.setAttribute("points", [...trails.map((before) => before[index]), point].map((at) => on(at).join(",")).join(" "));
      trail.setAttribute("stroke", colorOf(index));
      return trail;
    }) : []));
  }

  function hover(index) {
    tip.hidden = index === null;
    if (index === null) return;
    const [x, y] = shown.xy[index];
    const near = shown.tokens
      .map((other, at) => [other, Math.hypot(shown.xy[at][0] - x, shown.xy[at][1] - y), at])
      .filter(([, , at]) => at !== index)
      .sort((one, two) => one[1] - two[1])
      .slice(0, 5)
      .map(([other]) => other);
    tip.textContent = `${shown.tokens[index]}   nearest here: ${near.join("  ")}`;
  }

  const resizes = new ResizeObserver(place);
  resizes.observe(stage);
  return {
    show(value, colors, before = []) {
      const others = !shown || shown.tokens.join("\n") !== value.tokens.join("\n");
      const again = !others && shown === value && palette === colors && trails.length === before.length;
      const recolored = palette !== colors;
      [shown, palette, trails] = [value, colors, before];
      if (again) return;
      if (others) {
        for (const letter of letters) letter.remove();
        letters = value.tokens.map((token, index) => {
          const letter = document.createElementNS(SVG, "text");
          letter.textContent = token;
          letter.addEventListener("pointerenter", () => hover(index));
          letter.addEventListener("pointerleave", () => hover(null));
          return letter;
        });
        map.append(...letters);
      }
      place();
      if (others || recolored) paint();
    },
    clear() {
      shown = null;
      lines.replaceChildren();
      for (const letter of letters) letter.remove();
      letters = [];
    },
    destroy: () => resizes.disconnect(),
  };
}

const KIND_NAMES = {
  vowel: "vowels", consonant: "consonants", capital: "capitals", digit: "digits", punctuation: "marks", space: "spaces", other: "others",
};

function mapColumns({ tokens, kinds, xy }) {
  return { token: tokens, kind: kinds, x: xy.map(([x]) => x), y: xy.map(([, y]) => y) };
}
