/* The live views of a run other than its loss chart; data.view says which. */
import { downloadButtons } from "../shared/download.js";
import { formatPerplexity, formatDuration, formatRate, formatCount } from "../shared/format.js";
import { _, button, element, mountView, untrustedText, withElements } from "../shared/mount.js";
import { runStream, liveView } from "../shared/run_stream.js";
import { thinned } from "../shared/thinning.js";
import { attention, embedding } from "./pictures.js";

const VIEWS = { status, curves, samples, attention, embedding };

export default (component) => mountView(component, VIEWS);

/* The four numbers above the board. Reports to Python when the run's state changes, so that its buttons follow. */
function status(root) {
  const ALIKE = 0.05; // nats, as in core/formatting.py
  let latest = null;
  let reported = null; // the last summary that was reported to Python
  let status = null;
  let row = null;
  let measured = null;
  let lost = false;

  const cards = element("div", "cards");
  root.appendChild(cards);
  const card = (name) => {
    const box = element("div", "stat");
    const parts = { name: element("div", "stat-name", name), value: element("div", "stat-value", "–"), note: element("div", "stat-note") };
    box.append(parts.name, parts.value, parts.note);
    cards.appendChild(box);
    return parts;
  };
  const loss = card(_("Validation loss"));
  loss.value.classList.add("stat-loss");
  const speed = card(_("Speed"));
  const rate = card(_("Learning rate"));
  const time = card(_("Steps"));
  time.value.classList.add("stat-time");
  const bar = element("div", "bar");
  bar.appendChild(element("div"));
  bar.setAttribute("role", "progressbar");
  time.note.replaceWith(bar);
  const progress = element("div", "progress");
  const advice = element("span");
  advice.setAttribute("role", "status");
  const fork = button("fork", "", () => latest.setTriggerValue("fork", status.progress.back));
  progress.append(advice, " ", fork);
  root.appendChild(progress);

  function draw() {
    const { data } = latest;
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
    speed.value.textContent = row?.tokens_per_second ? formatCount(row.tokens_per_second) : "–";
    speed.note.textContent = _("tokens per second ({machine})", { machine: data.machine });
    rate.value.textContent = row && row.lr !== undefined ? formatRate(row.lr) : "–";
    rate.note.textContent = row && row.grad_norm !== undefined ? formatGradient(row.grad_norm, data.grad_clip) : _("gradient norm");
    const step = status ? status.step : 0;
    const steps = (status?.steps) || data.steps;
    const done = status && status.state === "finished" && status.seconds;
    const counted = { step: step.toLocaleString("en"), steps: steps.toLocaleString("en") };
    time.name.textContent = done ? _("{steps} steps, done in", counted) : _("Step {step} of {steps}", counted);
    time.value.textContent = lost ? _("reconnecting …") : formatTime(status, data);
    const share = Math.min(1, step / steps);
    bar.firstChild.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * share));
    const summary = status?.progress;
    const words = summary ? _(summary.sentence, summary.numbers) : "";
    if (advice.textContent !== words) advice.textContent = words; // a screen reader reads out every change
    progress.classList.toggle("trouble", Boolean(summary?.trouble));
    const back = summary?.back ?? null;
    fork.hidden = back === null;
    if (back !== null) fork.textContent = _("Fork from step {step}", { step: back.toLocaleString("en") });
  }

  return liveView(
    () => {
      row = measured = status = reported = null;
      return {
        metrics(rows) {
          row = rows.findLast((each) => each.loss !== undefined) || row;
          measured = rows.findLast((each) => each.val_loss !== undefined && each.val_loss !== null) || measured;
          draw();
        },
        status(value) {
          status = value;
          draw();
          const summary = summaryOf(value);
          if (summary !== summaryOf(latest.data) && summary !== reported) {
            reported = summary;
            latest.setTriggerValue("state", value.state);
          }
        },
        connection(state) {
          lost = state === "lost";
          draw();
        },
      };
    },
    {
      prepare: (next) => (latest = next),
      draw(next) {
        if (reported === summaryOf(next.data)) reported = null;
        if (!["finished", "stopped", "failed"].includes(next.data.state)) runStream(next.data.run).wake();
        draw();
      },
    },
  );
}

/* Return what the page around the numbers shows of the run: when it changes, the page is drawn again. */
function summaryOf({ state, attempt, name, notice }) {
  return JSON.stringify([state, attempt, name, notice || ""]);
}

/* Return which baseline this loss is below. */
function beatenBaseline(loss, baselines) {
  if (!baselines) return _("lower is better");
  const names = {
    uniform: _("below the uniform guess"), unigram: _("below the unigram baseline"),
    bigram: _("below the bigram baseline"), trigram: _("below the trigram baseline"),
  };
  const beaten = Object.keys(names).filter((name) => loss < baselines[name]);
  return beaten.length ? names[beaten[beaten.length - 1]] : _("not yet below the uniform guess");
}

function formatGradient(norm, clip) {
  const shown = norm < 0.095 ? norm.toPrecision(1) : norm.toFixed(1);
  if (!clip) return _("gradient norm {norm}", { norm: shown });
  return norm > clip ? _("gradient norm {norm}, clipped to {clip}", { norm: shown, clip }) : _("gradient norm {norm}", { norm: shown });
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

/* Small curves of one column of the metrics each: how it went, its range, its last value. Plain canvas. */
function curves(root) {
  let latest = null;
  let rows = [];
  let timer = 0;
  let curves = [];
  let totalSteps = 0; // as the run's status says: they may change while it trains

  function build() {
    root.replaceChildren();
    curves = latest.data.curves.map((spec) => {
      const box = element("div", "curve");
      const head = element("div", "curve-head");
      const value = element("span", "curve-value");
      const canvas = element("canvas");
      head.append(element("span", "curve-name", spec.label), value);
      const plot = element("div", "curve-plot");
      plot.appendChild(canvas);
      box.append(head, plot);
      root.appendChild(box);
      const curve = { spec, value, canvas, hover: null };
      canvas.addEventListener("pointermove", (event) => {
        const bounds = canvas.getBoundingClientRect();
        curve.hover = (event.clientX - bounds.left) / bounds.width;
        paint(curve);
      });
      canvas.addEventListener("pointerleave", () => {
        curve.hover = null;
        paint(curve);
      });
      return curve;
    });
    const names = Object.fromEntries(latest.data.curves.map(({ column, label }) => [label, column]));
    downloadButtons(root, {
      name: () => "curves",
      columns: () => rows.length && { step: rows.map((row) => row.step), ...Object.fromEntries(Object.entries(names).map(([label, column]) => [label, rows.map((row) => row[column])])) },
    });
  }

  function paint(curve) {
    const { canvas } = curve;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    canvas.redraw = (paper) => paintOn(paper, curve, width, height);
    paintOn(context, curve, width, height);
  }

  function paintOn(context, { spec, value, hover }, width, height) {
    const palette = latest.palette;
    context.clearRect(0, 0, width, height);
    const points = rows.filter((row) => Number.isFinite(row[spec.column]));
    if (!points.length) {
      value.textContent = "–";
      return;
    }
    const steps = Math.max(totalSteps || latest.data.steps, points[points.length - 1].step);
    const top = points.reduce((most, row) => Math.max(most, row[spec.column]), 0) * 1.08 || 1;
    const x = (row) => (row.step / steps) * (width - 8) + 1;
    const y = (row) => height - 4 - (row[spec.column] / top) * (height - 10);
    context.strokeStyle = palette.grid;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, height - 3.5);
    context.lineTo(width, height - 3.5);
    context.stroke();
    const line = hover === null ? points[points.length - 1] : nearest(points, hover * steps);
    context.strokeStyle = palette.accent;
    context.lineWidth = 1.6;
    context.lineJoin = "round";
    context.beginPath();
    thinned(points, spec.column, 4 * width).forEach((row, index) => {
      if (index) context.lineTo(x(row), y(row));
      else context.moveTo(x(row), y(row));
    });
    context.stroke();
    context.fillStyle = palette.accent;
    context.beginPath();
    context.arc(x(line), y(line), 3.2, 0, 2 * Math.PI);
    context.fill();
    const text = spec.format === "rate" ? formatRate(line[spec.column]) : spec.format === "short" ? formatCount(line[spec.column]) : line[spec.column].toFixed(2);
    value.textContent = hover === null ? text : _("{value} at step {step}", { value: text, step: line.step.toLocaleString("en") });
  }

  const paintAll = () => curves.forEach(paint);
  const resizes = new ResizeObserver(paintAll);
  resizes.observe(root);
  return liveView(
    () => {
      rows = [];
      totalSteps = 0;
      return {
        status(value) {
          totalSteps = value.steps;
        },
        metrics(all) {
          const first = !rows.length;
          rows = all;
          if (first) paintAll();
          timer ||= setTimeout(() => {
            timer = 0;
            paintAll();
          }, 200);
        },
      };
    },
    {
      prepare(next) {
        const first = !latest || JSON.stringify(latest.data.curves) !== JSON.stringify(next.data.curves);
        latest = next;
        if (first) build();
      },
      draw: paintAll,
      destroy() {
        clearTimeout(timer);
        resizes.disconnect();
      },
    },
  );
}

function nearest(points, step) {
  return points.reduce((best, row) => (Math.abs(row.step - step) < Math.abs(best.step - step) ? row : best));
}

/* What the model writes: the newest text in full, the earlier ones beneath it. */
function samples(root) {
  const opened = new Set(); // steps of the earlier texts that are shown whole
  const newest = element("div", "newest");
  const list = element("div", "earlier");
  const waiting = element("div", "waiting", _("The first text is generated before the first step."));
  root.append(newest, list, waiting);

  const head = (row) => {
    const line = element("span", "sample-head");
    line.append(element("span", "sample-step quiet", _("step {step}", { step: row.step.toLocaleString("en") })));
    const known = row.val_loss !== undefined && row.val_loss !== null;
    line.append(element("span", "sample-loss", known ? row.val_loss.toFixed(2) : ""));
    return line;
  };

  function draw(rows) {
    waiting.hidden = true;
    const last = rows[rows.length - 1];
    newest.replaceChildren(head(last), untrustedText("div", "sample-text", last.text.replace(/^\n+/, "")));
    const lines = rows.slice(0, -1).reverse().map((row) => {
      const line = element("details", "sample");
      const summary = element("summary", "sample-summary");
      summary.append(head(row), untrustedText("span", "sample-line", row.text.trim().replace(/\n+/g, " ⏎ ")));
      line.append(summary, untrustedText("div", "sample-text", row.text.replace(/^\n+/, "")));
      line.open = opened.has(row.step);
      line.addEventListener("toggle", () => (line.open ? opened.add(row.step) : opened.delete(row.step)));
      return line;
    });
    list.replaceChildren(...lines);
  }
  return liveView(
    () => {
      opened.clear();
      newest.replaceChildren();
      list.replaceChildren();
      waiting.hidden = false;
      return {
        samples: draw,
      };
    },
    {},
  );
}
