/* The pictures of the model that change as it trains: attention of all heads, and the map of the token embeddings. */
import { downloadButtons } from "../shared/download.js";
import { embeddingMap, mapColumns } from "../shared/embedding_map.js";
import { attentionColumns, attentionHeatmaps } from "../shared/heatmaps.js";
import { _, bytesFromBase64, element } from "../shared/mount.js";
import { liveView } from "../shared/run_stream.js";

/* All heads on the probe sentence, as they form. */
export function attention(root, component) {
  let shown = null;
  const caption = element("div", "caption quiet");
  const waiting = element("div", "waiting", _("The first picture arrives with the first steps."));
  const place = element("div");
  root.append(caption, place, waiting);
  downloadButtons(root, { name: () => `attention-step-${shown.step}`, drawn: place, columns: () => shown && attentionColumns({ ...shown, causal: false }) });
  const board = attentionHeatmaps(place, { onPick: (layer, head) => component.setTriggerValue("head", [layer, head]) });

  function draw() {
    if (shown) board.show({ ...shown, palette: component.palette, fade: 350 });
  }
  return liveView(
    component,
    () => {
      shown = null;
      waiting.hidden = false;
      return {
        attention(value) {
          shown = { ...value, bytes: bytesFromBase64(value.bytes) };
          waiting.hidden = true;
          caption.textContent = _("On “{text}” · step {step}", { text: value.tokens.join(""), step: value.step.toLocaleString("en") });
          draw();
        },
      };
    },
    {
      prepare: () => root.style.setProperty("--least", `${component.data.least_height}px`),
      draw,
      destroy: board.destroy,
    },
  );
}

/* The map of the token embeddings while a run trains. */
export function embedding(root, component) {
  let shown = null;
  const waiting = element("div", "waiting", _("The first map arrives with the first steps."));
  const map = embeddingMap(root);
  map.stage.append(waiting);
  downloadButtons(root, { name: () => "letters", columns: () => shown && mapColumns(shown) });

  function draw() {
    if (shown) map.show(shown, component.palette);
  }
  return liveView(
    component,
    () => {
      shown = null;
      map.clear();
      waiting.hidden = false;
      return {
        embedding(value) {
          shown = value;
          waiting.hidden = true;
          draw();
        },
      };
    },
    {
      prepare: () => (map.stage.style.height = `${component.data.least_height}px`),
      draw,
      destroy: map.destroy,
    },
  );
}
