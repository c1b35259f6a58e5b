/* Settings that change while a run trains; data.view says which view. */
import { rateInWords } from "../shared/format.js";
import { _, element, mountView } from "../shared/mount.js";
import { runSubscription } from "../shared/run_stream.js";

const VIEWS = { changes, rate };

export default (component) => mountView(component, VIEWS);

/* What was turned while the run trains, as it takes effect, and the way back.
   data: { run, waiting: [label of what no worker has taken yet], known: how many turns Python knows of, going: it trains, ended: nothing can be put back }
   Tells Python `turned` when there are others, and `back` when one shall be put back. */
function changes(root) {
  const MOST = 3; // told in words; the chart has them all
  let latest = null;
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
    const lines = waiting.map((label) => line(going ? _("on its way …") : _("when it goes on"), label));
    turns.slice(-MOST).toReversed().forEach((turn, index) => {
      const box = line(_("from step {step} on", { step: (turn.step + 1).toLocaleString("en") }), turn.label);
      if (!ended && !index && !waiting.length && turn.before !== undefined) {
        const button = element("button", "turn-back", _("Put back"));
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

  const run = runSubscription(() => {
    turns = [];
    told = -1;
    return {
      events(rows) {
        turns = rows.filter((row) => row.kind === "turn");
        draw();
        if (turns.length !== latest.data.known && turns.length !== told) {
          told = turns.length;
          latest.setTriggerValue("turned", told);
        }
      },
    };
  });

  return {
    update(next) {
      latest = next;
      run.follow(next.data.run);
      draw();
    },
    destroy: run.leave,
  };
}

/* Where the schedule has brought the learning rate, beside its knob: the knob sets the peak that the schedule scales.
   data: { run, peak } */
function rate(root) {
  let latest = null;
  let now = null;
  const line = element("div", "quiet");
  root.append(line);

  function draw() {
    const peak = rateInWords(latest.data.peak);
    line.textContent = now === null ? _("peak {peak}", { peak }) : _("peak {peak} · now {rate} by the schedule", { peak, rate: rateInWords(now) });
  }

  const run = runSubscription(() => {
    now = null;
    return {
      metrics(rows) {
        now = rows.findLast((row) => Number.isFinite(row.lr))?.lr ?? now;  // a row of a measurement tells no rate
        draw();
      },
    };
  });

  return {
    update(next) {
      latest = next;
      run.follow(next.data.run);
      draw();
    },
    destroy: run.leave,
  };
}
