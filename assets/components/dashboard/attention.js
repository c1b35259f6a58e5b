/* All heads on the probe sentence, as they form. */
import { takeaway } from "../shared/download.js";
import { headsBoard, lookColumns } from "../shared/heatmaps.js";
import { bytesOf, currentPalette, element, mountOnce, say } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let latest = null;
    let leave = null;
    let runId = null;
    let shown = null;
    const caption = element("div", "caption quiet");
    const waiting = element("div", "waiting", say("The first picture arrives with the first steps."));
    const place = element("div");
    root.append(caption, place, waiting);
    takeaway(root, { name: () => `attention-step-${shown.step}`, drawn: place, columns: () => shown && lookColumns({ ...shown, causal: false }) });
    const board = headsBoard(place, { onPick: (layer, head) => latest.setTriggerValue("head", [layer, head]) });

    function draw() {
      if (!shown) return;
      board.show({ ...shown, palette: currentPalette(root, latest.data.palettes), fade: 350 });
    }
    return {
      update(next) {
        latest = next;
        root.style.setProperty("--least", `${next.data.height}px`);
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          shown = null;
          waiting.hidden = false;
          leave = liveRun(runId).subscribe({
            attention(value) {
              shown = { ...value, bytes: bytesOf(value.bytes) };
              waiting.hidden = true;
              caption.textContent = say("On “{text}” · step {step}", { text: value.tokens.join(""), step: value.step.toLocaleString("en") });
              draw();
            },
          });
        }
        draw();
      },
      destroy() {
        leave?.();
        board.destroy();
      },
    };
  });
}
