/* The map of the token embeddings while a run trains. */
import { takeaway } from "../shared/download.js";
import { letterMap, mapColumns } from "../shared/embedding_map.js";
import { currentPalette, element, mountOnce, say } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let latest = null;
    let leave = null;
    let runId = null;
    let shown = null;
    const legend = element("div", "legend");
    const stage = element("div", "stage");
    const waiting = element("div", "waiting", say("The first map arrives with the first steps."));
    stage.append(waiting);
    root.append(legend, stage);
    const map = letterMap(stage, legend);
    takeaway(root, { name: () => "letters", columns: () => shown && mapColumns(shown) });

    function draw() {
      if (shown) map.show(shown, currentPalette(root, latest.data.palettes));
    }
    return {
      update(next) {
        latest = next;
        stage.style.height = `${next.data.height}px`;
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          shown = null;
          map.clear();
          waiting.hidden = false;
          leave = liveRun(runId).subscribe({
            embedding(value) {
              shown = value;
              waiting.hidden = true;
              draw();
            },
          });
        }
        draw();
      },
      destroy() {
        leave?.();
        map.destroy();
      },
    };
  });
}
