/* The map of the token embeddings, on which tokens move as the model trains. Shared by the dashboard and the time
   machine.

   embeddingMap(root, { onPick(index) }) -> { stage: the element with the height, show(value, palette, trails), clear(), destroy() }
   value: { tokens, kinds, xy: [[x, y] from -1 to 1], and optionally axes: { across, up: [[place, name]] },
            chosen: a token joined to those `near` it }; trails: the earlier places of every token, oldest first: [xy, ...] */
import { kindName } from "./format.js";
import { _, element, svgElement } from "./mount.js";

export function embeddingMap(root, { onPick = null } = {}) {
  const legend = element("div", "legend");
  const stage = element("div", "stage");
  const map = svgElement("svg", { role: "img", "aria-label": _("Map of the token embeddings") });
  const lines = svgElement("g");
  const tip = element("div", "map-tip aside");
  let palette = null;
  let shown = null;
  let trails = [];
  let letters = [];
  map.append(lines);
  tip.hidden = true;
  stage.append(map, tip);
  root.append(legend, stage);

  const colorOf = (index) => palette.kinds[shown.kinds[index]] || palette.muted;

  function paint() {
    const order = Object.keys(palette.kinds).filter((kind) => shown.kinds.includes(kind));
    legend.hidden = order.length < 2;
    legend.replaceChildren(...order.map((kind) => {
      const entry = element("span", "kind", kindName(kind));
      entry.style.color = palette.kinds[kind];
      return entry;
    }));
    letters.forEach((letter, index) => letter.setAttribute("fill", colorOf(index)));
  }

  function place() {
    const width = stage.clientWidth;
    const height = stage.clientHeight;
    if (!shown || !width) return;
    const half = [width / 2 - 16, height / 2 - 16]; // the whole panel, even if it is wider than high
    const on = ([x, y]) => [width / 2 + x * half[0], height / 2 - y * half[1]];
    const places = shown.xy.map(on);
    const first = [shown.chosen, ...(shown.near || [])].filter((index) => Number.isInteger(index));
    labelPlaces(places, shown.tokens.map(labelWidth), first).forEach(([x, y, hidden], index) => {
      const inside = [[x, width], [y, height]].map(([at, size]) => Math.min(size - 9, Math.max(9, at)).toFixed(1));
      letters[index].style.transform = `translate(${inside[0]}px, ${inside[1]}px)`;
      const label = hidden ? "•" : shown.tokens[index];
      if (letters[index].textContent !== label) letters[index].textContent = label;
    });
    const axes = ["across", "up"].flatMap((way) => (shown.axes?.[way] || []).flatMap(([at, name]) => {
      const [x, y] = on(way === "across" ? [at, 0] : [0, at]);
      const line = way === "across" ? `${x},0 ${x},${height - 18}` : `0,${y} ${width},${y}`;
      const label = way === "across" ? { x, y: height - 6 } : { x: 2, y: y - 8 };
      return [svgElement("polyline", { points: line, stroke: palette.lines }), svgElement("text", { class: "axis", fill: palette.muted, ...label, style: way === "up" ? "text-anchor: start" : "" }, name)];
    }));
    const links = (shown.near || []).map((other) => svgElement("polyline", { class: "link", points: `${on(shown.xy[shown.chosen])} ${on(shown.xy[other])}`, stroke: palette.accent }));
    letters.forEach((letter, index) => letter.classList.toggle("chosen", index === shown.chosen));
    lines.replaceChildren(...axes, ...links, ...(trails.length ? shown.xy.map((_point, index) => {
      const way = [...trails.map((before) => on(before[index])), places[index]];
      return svgElement("polyline", { points: way.map((at) => at.map((value) => value.toFixed(1)).join(",")).join(" "), stroke: colorOf(index) });
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
    const nearest = _("nearest here: {tokens}", { tokens: near.join("  ") });
    tip.textContent = `${shown.tokens[index]}   ${nearest}`;
  }

  const resizes = new ResizeObserver(place);
  resizes.observe(stage);
  return {
    stage,
    show(value, colors, before = []) {
      const others = !shown || shown.tokens.join("\n") !== value.tokens.join("\n");
      const again = !others && shown === value && palette === colors && trails.length === before.length;
      const recolored = palette !== colors;
      [shown, palette, trails] = [value, colors, before];
      if (again) return;
      if (others) {
        for (const letter of letters) letter.remove();
        letters = value.tokens.map((token, index) => {
          const letter = svgElement("text", {}, token);
          letter.addEventListener("pointerenter", () => hover(index));
          letter.addEventListener("pointerleave", () => hover(null));
          letter.addEventListener("click", () => onPick?.(index));
          letter.style.cursor = onPick ? "pointer" : "";
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

export function mapColumns({ tokens, kinds, xy }) {
  return { token: tokens, kind: kinds, x: xy.map(([x]) => x), y: xy.map(([, y]) => y) };
}

const LABEL_HEIGHT = 14; // pixels
const labelWidth = (token) => 9.5 * [...token].length + 2; // pixels, of a monospaced font of 15

/* Return the places of labels, nudged apart if they would overlap, or hidden if that is not enough, as [x, y, hidden].
   The same places always give the same result, so that letters glide as their vectors do; those in `first` are hidden last. */
export function labelPlaces(places, widths, first = []) {
  const moved = places.length > 160 ? places : nudgedApart(places, widths); // more are too many to separate
  const kept = [];
  const hidden = new Set();
  for (const index of new Set([...first, ...moved.keys()])) {
    const covered = kept.some((other) => Math.abs(moved[index][0] - moved[other][0]) < (widths[index] + widths[other]) / 2 - 2
      && Math.abs(moved[index][1] - moved[other][1]) < LABEL_HEIGHT - 3);
    if (covered) hidden.add(index);
    else kept.push(index);
  }
  return moved.map(([x, y], index) => [x, y, hidden.has(index)]);
}

function nudgedApart(places, widths) {
  const LONGEST = 34; // pixels of a nudge
  const moved = places.map(([x, y], index) => [x + 0.01 * Math.cos(index), y + 0.01 * Math.sin(index)]);
  for (let round = 0; round < 40; round++) {
    for (let one = 1; one < moved.length; one++) {
      for (let two = 0; two < one; two++) {
        const wide = (widths[one] + widths[two]) / 2;
        const across = (moved[one][0] - moved[two][0]) / wide;
        const down = (moved[one][1] - moved[two][1]) / LABEL_HEIGHT;
        const far = (across ** 4 + down ** 4) ** 0.25; // 1 on the border of a box with round corners
        if (far >= 1) continue;
        const push = (0.5 * (1 - far)) / far;
        moved[one][0] += across * push * wide;
        moved[one][1] += down * push * LABEL_HEIGHT;
        moved[two][0] -= across * push * wide;
        moved[two][1] -= down * push * LABEL_HEIGHT;
      }
    }
  }
  return moved.map(([x, y], index) => {
    const [fromX, fromY] = places[index];
    const share = Math.min(1, LONGEST / Math.hypot(x - fromX, y - fromY, 1e-9));
    return [fromX + share * (x - fromX), fromY + share * (y - fromY)];
  });
}
