/* How a token looks wherever it is drawn: in the colour of its kind, as it is shown (a newline as ⏎), never as HTML. */
function tokenChip(tag, visible, id, kind, palette) {
  const chip = element(tag, "chip");
  chip.style.setProperty("--kind", palette.kinds[kind] || palette.muted);
  chip.dataset.id = id;
  chip.append(element("span", "chip-token", visible), element("span", "chip-id", id));
  return chip;
}

/* 62 %, 3.4 %, less than 0.1 %: a share as a person says it. */
function percent(share, least = say("less than 0.1 %")) {
  if (share >= 0.0995) return `${Math.round(share * 100)} %`;
  if (share >= 0.001) return `${(share * 100).toFixed(1)} %`;
  return share ? least : "0 %";
}
