/* What the model writes: the newest text in full, the earlier ones beneath it. */
import { currentPalette, element, mountOnce, say, writtenText } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let leave = null;
    let runId = null;
    const opened = new Set(); // steps of the earlier texts that are shown whole
    const newest = element("div", "newest");
    const list = element("div", "earlier");
    const waiting = element("div", "waiting", say("The first text is written before the first step."));
    root.append(newest, list, waiting);

    const head = (row) => {
      const line = element("span", "sample-head");
      line.append(element("span", "sample-step quiet", say("step {step}", { step: row.step.toLocaleString("en") })));
      const known = row.val_loss !== undefined && row.val_loss !== null;
      line.append(element("span", "sample-loss", known ? row.val_loss.toFixed(2) : ""));
      return line;
    };

    function draw(rows) {
      waiting.hidden = true;
      const last = rows[rows.length - 1];
      newest.replaceChildren(head(last), writtenText("div", "sample-text", last.text.replace(/^\n+/, "")));
      const lines = rows.slice(0, -1).reverse().map((row) => {
        const line = element("details", "sample");
        const summary = element("summary", "sample-summary");
        summary.append(head(row), writtenText("span", "sample-line", row.text.trim().replace(/\n+/g, " ⏎ ")));
        line.append(summary, writtenText("div", "sample-text", row.text.replace(/^\n+/, "")));
        line.open = opened.has(row.step);
        line.addEventListener("toggle", () => (line.open ? opened.add(row.step) : opened.delete(row.step)));
        return line;
      });
      list.replaceChildren(...lines);
    }
    return {
      update(next) {
        root.style.setProperty("--validation", currentPalette(root, next.data.palettes).validation);
        if (next.data.run === runId) return;
        leave?.();
        runId = next.data.run;
        opened.clear();
        newest.replaceChildren();
        list.replaceChildren();
        waiting.hidden = false;
        leave = liveRun(runId).subscribe({ samples: draw });
      },
      destroy: () => leave?.(),
    };
  });
}
