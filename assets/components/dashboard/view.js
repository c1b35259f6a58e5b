/* The live views of a run other than its loss chart; data.view selects one. */
import { formatPerplexity, formatDuration, formatPercent, formatRate, formatCount } from "../shared/format.js";
import { _, ngettext, button, element, mountView, untrustedText, withElements } from "../shared/mount.js";
import { runStream, liveView } from "../shared/run_stream.js";
import { curves } from "./curves.js";
import { gauge } from "./gauge.js";
import { changes, rate } from "./live_settings.js";
import { attention, embedding } from "./pictures.js";

const VIEWS = { status, curves, accuracy: curves, samples, attention, embedding, changes, rate, gauge };

export default (component) => mountView(component, VIEWS);

/* The four numbers above the board, in a row. Reports changes of the run's state to Python, so that its buttons are updated. */
function status(root, component) {
  const ALIKE = 0.05; // nats, as in core/formatting.py
  let reported = null; // the last summary that was reported to Python
  let status = null;
  let row = null;
  let measured = null;
  let lost = false;

  const cards = element("div", "cards");
  root.appendChild(cards);
  const card = (name) => {
    const parts = { name: element("div", "stat-name", name), value: element("div", "stat-value", "–"), note: element("div", "stat-note") };
    cards.append(element("div", "stat", [element("div", "stat-words", [parts.value, parts.name]), parts.note]));
    return parts;
  };
  const loss = card(_("Validation loss"));
  loss.value.classList.add("stat-loss");
  const speed = card(_("Speed"));
  const rate = card(_("Learning rate"));
  const time = card(_("Steps"));
  time.value.classList.add("stat-time");
  const bar = element("div", "bar", element("div"), { role: "progressbar", "aria-label": _("Steps") });
  time.note.replaceWith(bar);
  const advice = element("span", "", [], { role: "status" });
  const fork = button("fork", "", () => component.setTriggerValue("fork", status.progress.back));
  const slowed = element("span", "quiet"); // no status, which a screen reader would read out at every change of the number
  const progress = element("div", "progress", [advice, " ", slowed, " ", fork]);
  root.append(progress);

  function drawNumbers() {
    const { data } = component;
    loss.value.textContent = measured ? measured.val_loss.toFixed(2) : "–";
    if (measured) {
      const { val_loss } = measured;
      const baselines = status?.baselines;
      if (baselines && val_loss > baselines.uniform) {
        const guess = { loss: baselines.uniform.toFixed(2) };
        const worse = val_loss > baselines.uniform + ALIKE;
        loss.note.textContent = worse ? _("worse than a uniform guess ({loss})", guess) : _("no better than a uniform guess ({loss})", guess);
      } else {
        const bold = element("b", "", formatPerplexity(Math.exp(val_loss)));
        const beaten = beatenBaseline(val_loss, baselines);
        loss.note.replaceChildren(...withElements(_("perplexity {choices} · {passed}", { passed: beaten }), { choices: bold }));
      }
    } else {
      loss.note.textContent = _("on text held out from training");
    }
    loss.note.title = loss.note.textContent;
    speed.value.textContent = row?.tokens_per_second ? formatCount(row.tokens_per_second) : "–";
    speed.note.textContent = _("latest tokens/s ({machine})", { machine: data.machine });
    rate.value.textContent = row && row.lr !== undefined ? formatRate(row.lr) : "–";
    rate.note.textContent = row && row.grad_norm !== undefined ? formatGradient(row.grad_norm, data.grad_clip) : _("gradient norm");
    rate.note.title = rate.note.textContent;
    const step = status ? status.step : 0;
    const steps = (status?.steps) || data.steps;
    const done = status && status.state === "finished" && status.seconds;
    const counted = { step: step.toLocaleString("en"), steps: steps.toLocaleString("en") };
    time.name.textContent = done ? ngettext("for {steps} step", "for {steps} steps", steps, counted) : _("Step {step} of {steps}", counted);
    time.value.textContent = lost ? _("reconnecting …") : formatTime(status, data);
    const share = Math.min(1, step / steps);
    bar.firstChild.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * share));
    const summary = status?.progress;
    const judged = summary ? _(summary.sentence, summary.numbers) : formatStart(status, data);
    const words = [stopReason(status ?? data), judged].filter(Boolean).join(" ");
    if (advice.textContent !== words) advice.textContent = words; // a screen reader reads out every change
    slowed.textContent = formatSlowdown(status);
    progress.classList.toggle("trouble", Boolean(summary?.trouble));
    const back = summary?.back ?? null;
    fork.hidden = back === null;
    if (back !== null) fork.textContent = _("Fork from step {step}", { step: back.toLocaleString("en") });
  }

  return liveView(
    component,
    () => {
      row = measured = status = reported = null;
      return {
        metrics(rows) {
          row = rows.findLast((each) => each.loss !== undefined) || row;
          measured = rows.findLast((each) => each.val_loss !== undefined && each.val_loss !== null) || measured;
          drawNumbers();
        },
        status(value) {
          status = value;
          drawNumbers();
          const summary = summaryOf(value);
          if (summary !== summaryOf(component.data) && summary !== reported) {
            reported = summary;
            component.setTriggerValue("state", value.state);
          }
        },
        connection(state) {
          lost = state === "lost";
          drawNumbers();
        },
      };
    },
    {
      draw() {
        const { data } = component;
        if (reported === summaryOf(data)) reported = null;
        if (!["finished", "stopped", "failed"].includes(data.state)) runStream(data.run).wake();
        drawNumbers();
      },
    },
  );
}

/* Return the part of the run's status that the page around the numbers shows: when it changes, the page reruns. */
function summaryOf({ state, attempt, name, notice, waits_for }) {
  return JSON.stringify([state, attempt, name, notice || "", waits_for || ""]);
}

/* Return which baseline this loss is below. */
function beatenBaseline(loss, baselines) {
  if (!baselines) return _("lower is better");
  if (loss < baselines.floor + 0.005) return _("the lowest possible");
  const names = {
    uniform: _("below uniform guess"), unigram: _("below unigram baseline"),
    bigram: _("below bigram baseline"), trigram: _("below trigram baseline"),
  };
  const beaten = Object.keys(names).filter((name) => loss < baselines[name]);
  return beaten.length ? names[beaten[beaten.length - 1]] : _("not below uniform guess");
}

function formatGradient(norm, clip) {
  const shown = norm < 0.095 ? norm.toPrecision(1) : norm.toFixed(1);
  if (!clip) return _("gradient norm {norm}", { norm: shown });
  return norm > clip ? _("gradient norm {norm}, clipped to {clip}", { norm: shown, clip }) : _("gradient norm {norm}", { norm: shown });
}

/* Return a sentence about the start, before the first number, or "". */
function formatStart(status, data) {
  const state = status ? status.state : data.state;
  if (state === "queued" && data.waits) return data.waits;
  if (state === "queued" || state === "starting") return _("Starting a process, which reads the text and builds the model …");
  return state === "running" && !status?.step ? _("Measuring the untrained model: the first point of the curve …") : "";
}

/* Return how much other programs slow the run down, or why it took so long once it has finished; "" if they hardly do. */
function formatSlowdown(status) {
  const now = status?.state === "running" && status.gauge?.slowdown;
  if (now) return _("Other programs use this machine: about {times}× the time of an idle one.", { times: now.toFixed(1) });
  if (status?.state !== "finished" || !status.slowdown) return "";
  const { seconds, waited } = status;
  const filled = { share: formatPercent(waited / seconds), time: formatDuration(seconds - waited) };
  return _("Other programs took {share} of this time: about {time} without them.", filled);
}

/* Return why a run was stopped, or "": the page shows the reason of a failed run elsewhere. */
function stopReason({ state, reason, notice }) {
  return state === "stopped" && reason !== notice ? reason : "";
}

function formatTime(status, data) {
  const state = status ? status.state : data.state;
  if (state === "queued") return _("waiting");
  if (state === "starting") return _("starting …");
  if (state === "running") {
    if (!status || !status.step) return _("starting …");
    return Number.isFinite(status.seconds_left) ? _("{time} left", { time: formatDuration(status.seconds_left) }) : _("estimating …");
  }
  if (state === "finished") return status?.seconds ? formatDuration(status.seconds) : _("done");
  return { paused: _("paused"), stopped: _("stopped"), failed: _("failed") }[state] ?? state;
}

/* Return a list of problems with the model's answers, marked right or wrong by a sign, with the right answer beside a wrong one. */
function graded(problems) {
  const lines = problems.map(({ question, answer, written }) => {
    const right = written === answer;
    const mark = element("span", `problem-mark ${right ? "problem-right" : "problem-wrong"}`, right ? "\u2713" : "\u2717", { role: "img", "aria-label": right ? _("right") : _("wrong") });
    const line = element("div", "problem", [mark, untrustedText("span", "problem-question", question), untrustedText("span", "problem-written", written)]);
    if (!right) line.append(untrustedText("span", "problem-answer quiet", _("right: {answer}", { answer })));
    return line;
  });
  return element("div", "problems", lines);
}

/* The generated texts: the newest in full, the earlier ones below it. */
function samples(root, component) {
  const opened = new Set(); // steps of the earlier texts that are shown in full
  const newest = element("div", "newest");
  const list = element("div", "earlier");
  const waiting = element("div", "waiting", _("The first text is generated before the first step."));
  root.append(newest, list, waiting);

  const head = (row) => {
    const step = element("span", "sample-step quiet", _("step {step}", { step: row.step.toLocaleString("en") }));
    return element("span", "sample-head", [step, element("span", "sample-loss", row.val_loss?.toFixed(2) ?? "")]);
  };

  function clear() {
    newest.replaceChildren();
    list.replaceChildren();
    waiting.hidden = false;
  }

  function draw(rows) {
    if (!rows.length) return clear(); // the run restarts from its first step
    waiting.hidden = true;
    const last = rows[rows.length - 1];
    newest.replaceChildren(head(last), last.problems ? graded(last.problems) : untrustedText("div", "sample-text", last.text.replace(/^\n+/, "")));
    const lines = rows.slice(0, -1).reverse().map((row) => {
      const summary = element("summary", "sample-summary", [head(row), untrustedText("span", "sample-line", row.text.trim().replace(/\n+/g, " ⏎ "))]);
      const line = element("details", "sample", [summary, untrustedText("div", "sample-text", row.text.replace(/^\n+/, ""))]);
      line.open = opened.has(row.step);
      line.addEventListener("toggle", () => (line.open ? opened.add(row.step) : opened.delete(row.step)));
      return line;
    });
    list.replaceChildren(...lines);
  }
  return liveView(
    component,
    () => {
      opened.clear();
      clear();
      return { samples: draw };
    },
    {},
  );
}
