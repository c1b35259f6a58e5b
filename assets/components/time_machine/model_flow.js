/* The flow through the whole model to the chosen token: the residual stream past all parts, and ribbons through the heads.

   drawFlow(svg, scene, row): redraws both, for a token's row.
   scene: { layout, picture, palette, additive: whether ribbons show contributions, nameOf(row), orderOf(part), openHead(place, row, key) } */
import { formatPercent, formatSigned } from "../shared/format.js";
import { _, quoted, svgElement } from "../shared/mount.js";
import { streamOf, tokenEnd } from "./model_layout.js";

const SHOWN = 0.03; // the least share of attention that is drawn as a ribbon

export const headColor = (palette, head) => palette.runs[head % palette.runs.length];

export function drawFlow(svg, scene, row) {
  const { first, step, upright, parts } = scene.layout;
  const center = (at) => first + (at + 0.5) * step;
  const point = (flow, across) => (upright ? `${across} ${flow}` : `${flow} ${across}`);
  const blocks = parts.filter(({ kind }) => kind === "attention");
  svg.replaceChildren(...streamLines(scene, row, center, point), ...blocks.map((part) => ribbons(scene, part, row, center, point)));
}

function streamLines({ layout, picture, palette, nameOf }, row, center, point) {
  const { parts } = layout;
  const segments = picture.kind === "bigram" ? [[parts[0].to, parts[1].from]] : streamOf(parts, picture.shape);
  const { training } = picture;
  const widths = training ? training.stream : picture.norms;
  const made = [[tokenEnd(layout), segments[0][0]], ...segments].map(([from, to], index) => {
    const lines = picture.next.map((_next, other) => `M ${point(from, center(other))} L ${point(to, center(other))}`);
    return svgElement("path", { fill: "none", stroke: palette.grid, "stroke-width": 1, d: lines.join(" "), "data-order": index });
  });
  // The residual stream of the chosen token; for a training step, the gradients of all tokens.
  const rows = training ? picture.next.map((_next, index) => index) : [row];
  const largest = Math.max(...widths.flatMap((norms) => rows.map((other) => norms[other]))) || 1;
  for (const other of rows) segments.forEach(([from, to], index) => {
    const norm = widths[index][other];
    if (!norm) return;
    const width = training ? 0.4 + Math.min(layout.step, 7) * (norm / largest) : 1 + (5 * norm) / largest;
    const line = svgElement("path", { fill: "none", stroke: training ? palette.validation : palette.accent, "stroke-width": width.toFixed(2), d: `M ${point(from, center(other))} L ${point(to, center(other))}`, class: "model-ribbon", "data-order": index + 1 });
    const words = training ? _("Gradient of the loss at {token}: norm {norm}", { token: nameOf(other), norm: norm.toPrecision(2) }) : _("Residual stream of {token}: norm {norm}", { token: nameOf(other), norm: norm.toFixed(1) });
    line.append(svgElement("title", {}, words));
    made.push(line);
  });
  return made;
}

/* From each token to the chosen one, through each head of a block. */
function ribbons({ picture, palette, additive, nameOf, orderOf, openHead }, part, row, center, point) {
  const { shape } = picture;
  const T = picture.next.length;
  const group = svgElement("g", { fill: "none", "data-order": orderOf(part) });
  const middle = (part.from + part.to) / 2;
  for (let head = 0; head < shape.heads; head++) {
    for (let key = 0; key < T; key++) {
      const at = ((part.layer * shape.heads + head) * T + row) * T + key;
      const share = picture.weights[at] / 255;
      const value = additive ? (picture.sources[at] / 127) * picture.contributions.most : share;
      const size = additive ? Math.abs(picture.sources[at]) / 127 : share;
      if (size < SHOWN) continue;
      const color = additive ? palette.diverging.at(value < 0 ? 0 : -1) : headColor(palette, head);
      const d = `M ${point(part.from, center(key))} C ${point(middle, center(key))}, ${point(middle, center(row))}, ${point(part.to, center(row))}`;
      const ribbon = svgElement("path", { d, stroke: color, "stroke-width": (0.75 + 5 * size).toFixed(2), opacity: (0.3 + 0.6 * size).toFixed(2), class: "model-ribbon" });
      const filled = { place: `${part.layer + 1}.${head + 1}`, token: nameOf(row), share: formatPercent(share), other: nameOf(key), value: formatSigned(value), next: quoted(picture.next[row][0][0]) };
      ribbon.append(svgElement("title", {}, additive ? _("{other} through head {place}: {value} to the logit of {next}", filled) : _("Head {place}: {token} attends {share} to {other}", filled)));
      ribbon.addEventListener("click", () => openHead(filled.place, row, key));
      group.append(ribbon);
    }
  }
  return group;
}
