/* The words of the model picture: about its parts and the chosen token, and their numbers as text. */
import { formatPercent, formatSigned, kindName } from "../shared/format.js";
import { _, element, ngettext, quoted } from "../shared/mount.js";

/* The title of a part, its shape (in words if it is wide), and a sentence about it. */
export function titleOf({ kind, layer }, { kind: model, shape }, wide) {
  if (kind === "embedding") {
    return model === "bigram"
      ? { title: _("Row of the table"), shape: ngettext("{count} logit", "{count} logits", shape.width), about: _("Each token's row of logits, the only thing a bigram has: shape {shape}.", { shape: `(T, ${shape.width})` }) }
      : { title: _("Embedding"), shape: ngettext("{count} number", "{count} numbers", shape.width), about: _("Each of the T tokens looks up its vector, the residual stream before the first block: shape {shape}.", { shape: `(T, ${shape.width})` }) };
  }
  if (kind === "attention") return { title: _("Attention {layer}", { layer: layer + 1 }), shape: ngettext("{count} head", "{count} heads", shape.heads), about: _("Each token gathers from earlier tokens what these heads find.") };
  if (kind === "mlp") return { title: _("MLP {layer}", { layer: layer + 1 }), shape: wide ? ngettext("{count} neuron", "{count} neurons", shape.neurons) : `(T, ${shape.neurons})`, about: _("Each of the T tokens by itself passes these neurons: shape {shape}.", { shape: `(T, ${shape.neurons})` }) };
  if (kind === "block") return { title: _("Block {layer}", { layer: layer + 1 }), shape: "", about: _("Folded: open it to see its heads and its MLP.") };
  return { title: _("Next token"), shape: ngettext("softmax of {count} logit", "softmax of {count} logits", shape.vocabulary), about: _("The last residual stream, compared with every token of the vocabulary.") };
}

/* A sentence about the token of a row: what a training step changes, or what adds most to its logit, or where it attends most.
   nameOf(row) -> the token in quotes; contributions: whether those are shown */
export function summary(picture, row, nameOf, contributions) {
  const { shape, next } = picture;
  const [best, , share] = next[row][0];
  const predicted = { token: nameOf(row), next: quoted(best), probability: formatPercent(share) };
  if (picture.training) {
    const { before, after, losses, optimizer } = picture.training;
    const filled = { optimizer, before: before.toFixed(2), after: after.toFixed(2) };
    const moved = after < before
      ? _("One {optimizer} step on this text alone: its loss falls from {before} to {after}.", filled)
      : _("One {optimizer} step on this text alone: its loss goes from {before} to {after}.", filled);
    const one = losses[row] === null
      ? _("{token} is last: nothing is predicted from it.", predicted)
      : _("At {token} the loss is {loss}: {next} came.", { ...predicted, next: nameOf(row + 1), loss: losses[row].toFixed(2) });
    const unchanged = _("The run itself is not changed.");
    return `${moved} ${one} ${unchanged}`;
  }
  if (!shape.layers) return _("After {token} the table gives {next} the highest probability, {probability}.", predicted);
  const T = next.length;
  if (contributions && !picture.contributions && shape.residual) return _("This model normalizes after each sum (post-norm), so there are no contributions that add up.");
  if (contributions && !picture.contributions) return _("This model has no residual connections: each part replaces what came before, so there are no contributions that add up.");
  if (contributions) {
    const parts = [[_("the embedding"), picture.contributions.embedding[row]]];
    for (let layer = 0; layer < shape.layers; layer++) {
      parts.push([_("attention {layer}", { layer: layer + 1 }), picture.contributions.attention[layer][row]]);
      if (shape.neurons) parts.push([_("MLP {layer}", { layer: layer + 1 }), picture.contributions.mlps[layer][row]]);
    }
    const [name, value] = parts.reduce((one, other) => (Math.abs(other[1]) > Math.abs(one[1]) ? other : one));
    return _("After {token} the logit of {next} is {total}: the sum of all parts. The largest: {part}, {value}.", { ...predicted, total: formatSigned(picture.contributions.total[row]), part: name, value: formatSigned(value) });
  }
  let most = { share: -1 };
  for (let layer = 0; layer < shape.layers; layer++) for (let head = 0; head < shape.heads; head++) for (let key = 0; key < row; key++) {
    const weight = picture.weights[((layer * shape.heads + head) * T + row) * T + key] / 255;
    if (weight > most.share) most = { share: weight, place: `${layer + 1}.${head + 1}`, other: nameOf(key), back: row - key };
  }
  if (most.share < 0) return _("{token} is the first token: it can only attend to itself. Most likely next: {next}, {probability}.", predicted);
  const one = ngettext("{token} attends most to {other}, {count} token back, through head {place} ({attention} of that head's attention).", "{token} attends most to {other}, {count} tokens back, through head {place} ({attention} of that head's attention).", most.back, { ...predicted, ...most, attention: formatPercent(most.share) });
  const after = _("Most likely next: {next}, {probability}.", predicted);
  return `${one} ${after}`;
}

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

/* Return a bar for each of the next tokens [name, kind, probability], one of them marked, and the colors of all `kinds` that the
   model knows. */
export function nextTokenBars(tokens, { marked, kinds, palette }) {
  const largest = Math.max(0.25, tokens[0][2]);
  const bars = tokens.map(([name, kind, share]) => {
    const fill = element("span", "bars-fill");
    fill.style.cssText = `width: ${Math.max(0.5, (100 * share) / largest)}%; background: ${palette.kinds[kind] || palette.muted};`;
    const row = element("div", "bars-row", [element("span", "bars-name", name), element("span", "bars-track", fill), element("span", "bars-share", formatPercent(share, "< 0.1%"))]);
    row.classList.toggle("model-sampled", name === marked);
    return row;
  });
  return [...bars, element("div", "model-kinds", kinds.map((kind) => element("span", "", kindName(kind), { style: `color: ${palette.kinds[kind]}` })))];
}

/* Return the legend for the colors of stripes and of the heads' squares. */
export function colorLegend(palette, hasHeads) {
  const entry = (color, words) => element("span", "", [element("i", "", [], { style: `background: ${color}` }), words]);
  const shown = [_("Stripes:"), entry(palette.diverging.at(-1), _("above zero")), entry(palette.diverging[0], _("below zero"))];
  if (hasHeads) shown.push(_("Heads:"), entry(palette.sequential.at(-1), _("much attention")));
  return element("div", "model-legend", shown);
}
