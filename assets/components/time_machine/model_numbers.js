/* Numbers of the model's picture as text: what a part adds to a logit, how far a step moves it, the most likely next tokens. */
import { formatPercent, formatSigned, kindName } from "../shared/format.js";
import { _, element, quoted } from "../shared/mount.js";

/* Return a part's name as links have it: "head-1.2", "mlp-1", "embedding". */
export function partName({ kind, layer, head }) {
  if (kind === "head") return `head-${layer + 1}.${head + 1}`;
  return layer === undefined ? kind : `${kind}-${layer + 1}`;
}

/* Return what a part adds to the logit of the most likely next token of a row, with its text and title. */
export function contributionOf(part, { contributions, next }, row) {
  const { embedding, attention, mlps, total, rest } = contributions;
  const byPart = { embedding, output: total, attention: attention[part.layer], mlp: mlps[part.layer] };
  const value = part.kind === "block" ? byPart.attention[row] + byPart.mlp[row] : byPart[part.kind][row];
  if (part.kind !== "output") return { value, text: formatSigned(value), title: _("Contribution of this part to the logit of {next}", { next: quoted(next[row][0][0]) }) };
  const text = _("rest {rest}, logit {value}", { value: formatSigned(value), rest: formatSigned(rest[row]) });
  return { value, text, title: _("The logit is the sum of all contributions; the rest are biases and, where the model has them, counted pairs.") };
}

/* Return how far a training step moves the weights of a part, in percent, with its title. */
export function updateRatio(part, ratios) {
  const ratio = part.kind === "block" ? Math.max(ratios[`attention-${part.layer + 1}`], ratios[`mlp-${part.layer + 1}`] || 0) : ratios[partName(part)];
  const text = ratio === undefined ? "" : `Δ ${(100 * ratio).toPrecision(2)}%`;
  return { text, title: _("Update-to-weight ratio: how far this step moves the weights of this part") };
}

/* Return a bar for each of the next tokens [name, kind, probability], one of them marked, and what their colors are. */
export function nextTokenBars(tokens, marked, palette) {
  const largest = Math.max(0.25, tokens[0][2]);
  const kinds = Object.keys(palette.kinds).filter((kind) => tokens.some((token) => token[1] === kind));
  const bars = tokens.map(([name, kind, share]) => {
    const fill = element("span", "bars-fill");
    fill.style.cssText = `width: ${Math.max(0.5, (100 * share) / largest)}%; background: ${palette.kinds[kind] || palette.muted};`;
    const row = element("div", "bars-row", [element("span", "bars-name", name), element("span", "bars-track", fill), element("span", "bars-share", formatPercent(share, "< 0.1%"))]);
    row.classList.toggle("model-sampled", name === marked);
    return row;
  });
  return [...bars, element("div", "model-kinds", kinds.map((kind) => element("span", "", kindName(kind), { style: `color: ${palette.kinds[kind]}` })))];
}

/* Return what the colors of stripes and of the heads' squares are. */
export function colorLegend(palette, hasHeads) {
  const entry = (color, words) => element("span", "", [element("i", "", [], { style: `background: ${color}` }), words]);
  const shown = [_("Stripes:"), entry(palette.diverging.at(-1), _("above zero")), entry(palette.diverging[0], _("below zero"))];
  if (hasHeads) shown.push(_("Heads:"), entry(palette.sequential.at(-1), _("much attention")));
  return element("div", "model-legend", shown);
}
