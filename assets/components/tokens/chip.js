/* How a token looks wherever it is drawn: in the colour of its kind, as it is shown (a newline as ⏎), never as HTML. */
import { element } from "../shared/mount.js";

export function tokenChip(tag, visible, id, kind, palette) {
  const chip = element(tag, "chip");
  chip.style.setProperty("--kind", palette.kinds[kind] || palette.muted);
  chip.dataset.id = id;
  chip.append(element("span", "chip-token", visible), element("span", "chip-id", id));
  return chip;
}
