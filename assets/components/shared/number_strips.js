/* A calculation as steps, each with rows of numbers on a heat strip. Numbers that belong together are below each other and
   light up together.
   numberStrips(root) -> { box, show(steps, palette) }
   steps: [{ title, shape, says, strips: [{ label, values: [number or null for minus infinity], names: [shown] or null,
             of: "numbers" or "tokens", scale: "signed" or "share", most, marked: index or null }] }] */
import { formatSigned } from "./format.js";
import { colorTable, element, textColorOn } from "./mount.js";

export function numberStrips(root) {
  const box = element("div", "strips");
  root.append(box);

  const written = (value, scale) => {
    if (value === null) return "−∞";
    if (scale === "share") return value < 0.0005 ? "0" : value.toFixed(value < 0.0995 ? 3 : 2);
    return formatSigned(value, "");
  };

  function cell(value, index, strip, tables, palette) {
    const made = element("div", "strips-cell");
    const share = strip.scale === "share";
    const level = value === null ? 0 : share ? Math.max(0, value) ** 0.6 : (Math.max(-1, Math.min(1, value / (strip.most || 1))) + 1) / 2;
    if (value !== null) {
      const at = Math.round(level * 255) * 3;
      const color = (share ? tables.share : tables.signed).slice(at, at + 3);
      made.style.background = `rgb(${color.join(",")})`;
      made.style.color = textColorOn(color);
    } else {
      made.classList.add("hidden-cell");
      made.style.color = palette.muted;
    }
    if (strip.names) made.append(element("span", "strips-name", strip.names[index]));
    made.append(element("span", "", written(value, strip.scale)));
    made.dataset.of = `${strip.of}${index}`;
    if (index === strip.marked) made.classList.add("marked");
    return made;
  }

  const light = (of) => {
    for (const made of box.querySelectorAll(".strips-cell")) made.classList.toggle("lit", of !== null && made.dataset.of === of);
  };
  box.addEventListener("pointerover", (event) => light(event.target.closest(".strips-cell")?.dataset.of ?? null));
  box.addEventListener("pointerleave", () => light(null));

  function show(steps, palette) {
    const tables = { signed: colorTable(palette.diverging), share: colorTable(palette.sequential) };
    box.replaceChildren(
      ...steps.map((step, index) => {
        const head = [element("span", "strips-number", String(index + 1)), element("b", "", step.title), element("span", "strips-shape", step.shape)];
        const made = element("section", "strips-step", element("div", "strips-head", head));
        if (step.says) made.append(element("div", "strips-says", step.says));
        const rows = step.strips.map((strip) => {
          const cells = strip.values.map((value, place) => cell(value, place, strip, tables, palette));
          return element("div", "strips-row", [element("div", "strips-label", strip.label), ...cells]);
        });
        if (rows.length) made.append(element("div", "strips-rows sideways", rows, { role: "group", "aria-label": step.title }));
        return made;
      }),
    );
    for (const rows of box.querySelectorAll(".strips-rows")) {
      if (rows.scrollWidth > rows.clientWidth) rows.tabIndex = 0; // the arrow keys scroll it
      const cell = rows.querySelector(".marked");
      const label = rows.querySelector(".strips-label"); // which stays
      if (cell) rows.scrollLeft = cell.offsetLeft + cell.offsetWidth / 2 - (rows.clientWidth + label.offsetWidth) / 2;
    }
  }

  return { box, show };
}
