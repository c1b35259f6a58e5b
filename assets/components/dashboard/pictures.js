/* The pictures of the model that change as it trains: attention of all heads, and the map of the token embeddings. */
import { downloadButtons } from "../shared/download.js";
import { embeddingMap, mapColumns } from "../shared/embedding_map.js";
import { attentionColumns, attentionHeatmaps } from "../shared/heatmaps.js";
import { _, bytesFromBase64, element } from "../shared/mount.js";
import { liveView } from "../shared/run_stream.js";

/* All heads on the probe sentence, as they form. */
export function attention(root) {
  let latest = null;
  let shown = null;
  const caption = element("div", "caption quiet");
  const waiting = element("div", "waiting", _("The first picture arrives with the first steps."));
  const place = element("div");
  root.append(caption, place, waiting);
  downloadButtons(root, { name: () => `attention-step-${shown.step}`, drawn: place, columns: () => shown && attentionColumns({ ...shown, causal: false }) });
  const board = attentionHeatmaps(place, { onPick: (layer, head) => latest.setTriggerValue("head", [layer, head]) });

  function draw() {
    if (shown) board.show({ ...shown, palette: latest.palette, fade: 350 });
  }
  return liveView(
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
      prepare(next) {
        latest = next;
        root.style.setProperty("--least", `${next.data.least_height}px`);
      },
      draw,
      destroy: board.destroy,
    },
  );
}

/* The map of the token embeddings while a run trains. */
export function embedding(root) {
  let latest = null;
  let shown = null;
  const legend = element("div", "legend");
  const stage = element("div", "stage");
  const waiting = element("div", "waiting", _("The first map arrives with the first steps."));
  stage.append(waiting);
  root.append(legend, stage);
  const map = embeddingMap(stage, legend);
  downloadButtons(root, { name: () => "letters", columns: () => shown && mapColumns(shown) });

  function draw() {
    if (shown) map.show(shown, latest.palette);
  }
  return liveView(
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
      prepare(next) {
        latest = next;
        stage.style.height = `${next.data.least_height}px`;
      },
      draw,
      destroy: map.destroy,
    },
  );
}
