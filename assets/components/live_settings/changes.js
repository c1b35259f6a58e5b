/* What was turned while the run trains, as it takes effect, and the way back.
   data: { run, waiting: [label of what no worker has taken yet], known: how many turns Python knows of, going: it trains, ended: nothing can be put back }
   Tells Python `turned` when there are others, and `back` when one shall be put back. */
import { element, mountOnce, say } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";

export default function (component) {
  return mountOnce(component, (root) => {
    const MOST = 3; // told in words; the chart has them all
    let latest = null;
    let leave = null;
    let runId = null;
    let turns = [];
    let told = -1;
    const list = element("div", "turns");
    list.setAttribute("role", "status");
    root.append(list);

    const line = (when, label) => {
      const box = element("div", "turn");
      box.append(element("div", "turn-label", label), element("span", "turn-when quiet", when));
      return box;
    };

    function draw() {
      const { waiting, going, ended } = latest.data;
      const lines = waiting.map((label) => line(going ? say("on its way …") : say("when it goes on"), label));
      turns.slice(-MOST).toReversed().forEach((turn, index) => {
        const box = line(say("from step {step} on", { step: (turn.step + 1).toLocaleString("en") }), turn.label);
        if (!ended && !index && !waiting.length && turn.before !== undefined) {
          const button = element("button", "turn-back", say("Put back"));
          button.type = "button";
          button.addEventListener("click", () => {
            button.disabled = true;
            latest.setTriggerValue("back", { knob: turn.knob, value: turn.before });
          });
          box.append(" · ", button);
        }
        lines.push(box);
      });
      list.replaceChildren(...lines.slice(0, MOST));
    }

    return {
      update(next) {
        latest = next;
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          turns = [];
          told = -1;
          leave = liveRun(runId).subscribe({
            events(rows) {
              turns = rows.filter((row) => row.kind === "turn");
              draw();
              if (turns.length !== latest.data.known && turns.length !== told) {
                told = turns.length;
                latest.setTriggerValue("turned", told);
              }
            },
          });
        }
        draw();
      },
      destroy: () => leave?.(),
    };
  });
}
