/* Where the schedule has brought the learning rate, beside its knob: the knob sets the peak that the schedule scales.
   data: { run, peak } */
import { rateInWords } from "../shared/format.js";
import { element, mountOnce, say } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let latest = null;
    let leave = null;
    let runId = null;
    let now = null;
    const line = element("div", "quiet");
    root.append(line);

    function draw() {
      const peak = rateInWords(latest.data.peak);
      line.textContent = now === null ? say("peak {peak}", { peak }) : say("peak {peak} · now {rate} by the schedule", { peak, rate: rateInWords(now) });
    }

    return {
      update(next) {
        latest = next;
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          now = null;
          leave = liveRun(runId).subscribe({
            metrics(rows) {
              now = rows.findLast((row) => Number.isFinite(row.lr))?.lr ?? now;  // a row of a measurement tells no rate
              draw();
            },
          });
        }
        draw();
      },
      destroy: () => leave?.(),
    };
  });
}
