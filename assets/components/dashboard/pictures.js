/* The pictures of the model that change as it trains: attention of all heads, and the map of the token embeddings. */
import { downloadButtons } from "../shared/download.js";
import { embeddingMap, mapColumns } from "../shared/embedding_map.js";
import { attentionColumns, attentionHeatmaps } from "../shared/heatmaps.js";
import { _, bytesFromBase64, element } from "../shared/mount.js";
import { liveView } from "../shared/run_stream.js";

/* All heads on the probe sentence, while they form. */
export function attention(root, component) {
  const caption = element("div", "caption quiet");
  const place = element("div", "place");
  root.append(caption, place);
  const board = attentionHeatmaps(place, { onPick: (layer, head) => component.setTriggerValue("head", [layer, head]) });
  return picture(root, component, "attention", {
    waiting: element("div", "waiting", _("The first picture arrives with the first steps.")),
    files: { name: ({ step }) => `attention-step-${step}`, drawn: place, columns: attentionColumns },
    read: (value) => ({ ...value, bytes: bytesFromBase64(value.bytes) }),
    show(shown) {
      caption.textContent = caption.title = _("Step {step}, on “{text}”", { text: shown.tokens.join(""), step: shown.step.toLocaleString("en") });
      board.show({ ...shown, palette: component.palette, fade: 350, height: () => place.clientHeight });
    },
    destroy: board.destroy,
  });
}

/* The map of the token embeddings while a run trains. */
export function embedding(root, component) {
  const map = embeddingMap(root);
  return picture(map.stage, component, "embedding", {
    waiting: element("div", "waiting", _("The first map arrives with the first steps.")),
    files: { name: () => "letters", columns: mapColumns },
    prepare: () => (map.stage.style.height = `${component.data.least_height}px`),
    show: (shown) => map.show(shown, component.palette),
    clear: map.clear,
    destroy: map.destroy,
  }, root);
}

/* A picture of one kind of event, with a note in `place` until the first event, and buttons below root. */
function picture(place, component, kind, { waiting, files, read = (value) => value, prepare, show, clear, destroy }, root = place) {
  let shown = null;
  place.append(waiting);
  downloadButtons(root, { ...files, name: () => files.name(shown), columns: () => shown && files.columns(shown) });
  const draw = () => shown && show(shown);
  const begin = () => {
    shown = null;
    clear?.();
    waiting.hidden = false;
    return {
      [kind](value) {
        shown = read(value);
        waiting.hidden = true;
        draw();
      },
    };
  };
  return liveView(component, begin, { prepare, draw, destroy });
}
