/* The map of the token embeddings: tokens move to where training takes them. Shared by the dashboard and the time
   machine.

   embeddingMap(root, { onPick(index) }) -> { stage: the element with the height, show(value, palette, trails), clear(), destroy() }
   value: { tokens, kinds, xy: [[x, y] from -1 to 1], and, where there are such: axes: { across, up: [[place, name]] },
            chosen: a token joined to those `near` it }; trails: where every token was before, oldest first: [xy, ...] */
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
    const half = [width / 2 - 16, height / 2 - 16]; // the whole panel, also where it is wider than high
    const on = ([x, y]) => [width / 2 + x * half[0], height / 2 - y * half[1]];
    const places = shown.xy.map(on);
    apart(places).forEach(([x, y], index) => {
      letters[index].style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
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

  /* The places with letters that would lie over each other nudged apart, none further than a letter or two. Always the same for
     the same places, so that letters glide as their vectors do. */
  function apart(places) {
    const [wide, high, most] = [11, 14, 26]; // pixels: of a letter, and of the longest nudge
    const moved = places.map(([x, y], index) => [x + 0.01 * Math.cos(index), y + 0.01 * Math.sin(index)]);
    if (places.length > 160) return moved; // too many to separate anyway
    for (let round = 0; round < 24; round++) {
      for (let one = 1; one < moved.length; one++) {
        for (let two = 0; two < one; two++) {
          const across = (moved[one][0] - moved[two][0]) / wide;
          const down = (moved[one][1] - moved[two][1]) / high;
          const far = Math.hypot(across, down);
          if (far >= 1) continue;
          const push = (0.5 * (1 - far)) / far;
          moved[one][0] += across * push * wide;
          moved[one][1] += down * push * high;
          moved[two][0] -= across * push * wide;
          moved[two][1] -= down * push * high;
        }
      }
    }
    return moved.map(([x, y], index) => {
      const [fromX, fromY] = places[index];
      const share = Math.min(1, most / Math.hypot(x - fromX, y - fromY, 1e-9));
      return [fromX + share * (x - fromX), fromY + share * (y - fromY)];
    });
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
