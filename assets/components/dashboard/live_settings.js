/* Settings that change while a run trains. */
import { formatRate } from "../shared/format.js";
import { _, button, element } from "../shared/mount.js";
import { liveView, settingChangesIn } from "../shared/run_stream.js";

/* The settings that changed while the run trains, and a button that restores the last one.
   data: { run, waiting: [label of a change that no worker has applied yet], known: the number of changes that Python knows of,
           going: whether it trains, ended: whether nothing can be restored }
   Reports `changed` to Python when there are others, and `restore` when one is to be restored. */
export function changes(root, component) {
  const MOST = 3; // listed; the chart shows all
  let settingChanges = [];
  let reported = -1;
  const list = element("div", "list", [], { role: "status" });
  root.append(list);

  const line = (when, label) => element("div", "change", [element("div", "change-label", label), element("span", "quiet", when)]);

  function draw() {
    const { waiting, going, ended } = component.data;
    const lines = waiting.map((label) => line(going ? _("sent to the worker …") : _("when training resumes"), label));
    settingChanges.slice(-MOST).toReversed().forEach((change, index) => {
      const box = line(_("from step {step}", { step: (change.step + 1).toLocaleString("en") }), change.label);
      if (!ended && !index && !waiting.length && change.before !== undefined) {
        const restore = button("change-restore", _("Restore"), () => {
          restore.disabled = true;
          component.setTriggerValue("restore", { setting: change.knob, value: change.before });
        });
        box.append(" · ", restore);
      }
      lines.push(box);
    });
    list.replaceChildren(...lines.slice(0, MOST));
  }

  return liveView(
    component,
    () => {
      settingChanges = [];
      reported = -1;
      return {
        events(rows) {
          settingChanges = settingChangesIn(rows);
          draw();
          if (settingChanges.length !== component.data.known && settingChanges.length !== reported) {
            reported = settingChanges.length;
            component.setTriggerValue("changed", reported);
          }
        },
      };
    },
    { draw },
  );
}

/* The learning rate that the schedule gives now, below the slider for its peak.
   data: { run, peak } */
export function rate(root, component) {
  let now = null;
  const line = element("div", "quiet");
  root.append(line);

  function draw() {
    const peak = formatRate(component.data.peak);
    line.textContent = now === null ? _("peak {peak}", { peak }) : _("scheduled: now {rate} (peak {peak})", { peak, rate: formatRate(now) });
  }

  return liveView(
    component,
    () => {
      now = null;
      return {
        metrics(rows) {
          now = rows.findLast((row) => Number.isFinite(row.lr))?.lr ?? now; // an evaluation's row has no rate
          draw();
        },
      };
    },
    { draw },
  );
}
