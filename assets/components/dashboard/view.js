/* The live views of a run other than its loss chart; data.view says which. */
import { downloadButtons } from "../shared/download.js";
import { formatPerplexity, formatDuration, formatPercent, formatRate, formatCount } from "../shared/format.js";
import { _, ngettext, button, element, mountView, svgElement, untrustedText, withElements } from "../shared/mount.js";
import { runStream, liveView, milestonesOf } from "../shared/run_stream.js";
import { nearest, thinned } from "../shared/thinning.js";
import { changes, rate } from "./live_settings.js";
import { attention, embedding } from "./pictures.js";

const VIEWS = { status, curves, accuracy: curves, samples, attention, embedding, changes, rate };

export default (component) => mountView(component, VIEWS);

/* The four numbers above the board, in a row. Reports to Python when the run's state changes, so that its buttons follow. */
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
  const progress = element("div", "progress", [advice, " ", fork]);
  root.append(progress);

  function draw() {
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
    speed.value.textContent = row?.tokens_per_second ? formatCount(row.tokens_per_second) : "–";
    speed.note.textContent = _("tokens per second ({machine})", { machine: data.machine });
    rate.value.textContent = row && row.lr !== undefined ? formatRate(row.lr) : "–";
    rate.note.textContent = row && row.grad_norm !== undefined ? formatGradient(row.grad_norm, data.grad_clip) : _("gradient norm");
    const step = status ? status.step : 0;
    const steps = (status?.steps) || data.steps;
    const done = status && status.state === "finished" && status.seconds;
    const counted = { step: step.toLocaleString("en"), steps: steps.toLocaleString("en") };
    time.name.textContent = done ? ngettext("{steps} step, done in", "{steps} steps, done in", steps, counted) : _("Step {step} of {steps}", counted);
    time.value.textContent = lost ? _("reconnecting …") : formatTime(status, data);
    const share = Math.min(1, step / steps);
    bar.firstChild.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * share));
    const summary = status?.progress;
    const words = summary ? _(summary.sentence, summary.numbers) : formatStart(status, data);
    if (advice.textContent !== words) advice.textContent = words; // a screen reader reads out every change
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
          draw();
        },
        status(value) {
          status = value;
          draw();
          const summary = summaryOf(value);
          if (summary !== summaryOf(component.data) && summary !== reported) {
            reported = summary;
            component.setTriggerValue("state", value.state);
          }
        },
        connection(state) {
          lost = state === "lost";
          draw();
        },
      };
    },
    {
      draw() {
        const { data } = component;
        if (reported === summaryOf(data)) reported = null;
        if (!["finished", "stopped", "failed"].includes(data.state)) runStream(data.run).wake();
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
  if (loss < baselines.floor + 0.005) return _("the lowest possible");
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

/* Return what happens before the first number, or "". */
function formatStart(status, data) {
  const state = status ? status.state : data.state;
  if (state === "queued" && data.waits) return data.waits;
  if (state === "queued" || state === "starting") return _("Starting a process, which reads the text and builds the model …");
  return state === "running" && !status?.step ? _("Measuring the untrained model: the first point of the curve …") : "";
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

/* Small curves of one column of the metrics each, or of two: how it went, its range, its last value. A curve names its column,
   may name a second one in `beside`; with `most`, the highest value of its axis, it has axes and the milestones of a task. */
function curves(root, component) {
  const [AXIS_LEFT, AXIS_BELOW] = [36, 16]; // pixels
  let rows = [];
  let timer = 0;
  let curves = [];
  let totalSteps = 0; // as the run's status says: they may change while it trains
  let milestones = [];
  let built = ""; // the curves that are drawn

  function build() {
    root.replaceChildren();
    curves = component.data.curves.map((spec) => {
      const value = element("span", "curve-value");
      const plot = svgElement("svg", { class: "curve-plot", "aria-hidden": "true" });
      root.append(element("div", "curve", [element("div", "curve-head", [element("span", "curve-name", spec.label), value]), plot]));
      const curve = { spec, value, plot, hover: null };
      plot.addEventListener("pointermove", (event) => {
        const bounds = plot.getBoundingClientRect();
        curve.hover = (event.clientX - bounds.left) / bounds.width;
        paint(curve);
      });
      plot.addEventListener("pointerleave", () => {
        curve.hover = null;
        paint(curve);
      });
      return curve;
    });
    const names = Object.fromEntries(component.data.curves.flatMap(({ column, label, beside, besideLabel }) => [[label, column], ...(beside ? [[besideLabel, beside]] : [])]));
    downloadButtons(root, {
      name: () => component.data.view,
      columns: () => rows.length && { step: rows.map((row) => row.step), ...Object.fromEntries(Object.entries(names).map(([label, column]) => [label, rows.map((row) => row[column])])) },
    });
  }

  function paint({ spec, value, plot, hover }) {
    const { palette } = component;
    const { width, height } = plot.getBoundingClientRect();
    const points = rows.filter((row) => Number.isFinite(row[spec.column]));
    if (!width || !points.length) {
      value.textContent = "–";
      plot.replaceChildren();
      return;
    }
    const steps = Math.max(totalSteps || component.data.steps, points.at(-1).step);
    const top = spec.most ?? (points.reduce((most, row) => Math.max(most, row[spec.column]), 0) * 1.08 || 1);
    const [left, below] = spec.most ? [AXIS_LEFT, AXIS_BELOW] : [1, 4];
    const xAt = (step) => ((step / steps) * (width - left - 7) + left).toFixed(1);
    const yAt = (value) => (height - below - (value / top) * (height - below - 6)).toFixed(1);
    const x = (row) => xAt(row.step);
    const y = (row, column = spec.column) => yAt(row[column]);
    const line = hover === null ? points.at(-1) : nearest(points, hover * steps, (row) => row.step);
    const color = spec.beside ? palette.validation : palette.accent;
    const lineOf = (column, stroke) => {
      const known = points.filter((row) => Number.isFinite(row[column]));
      const places = thinned(known, column, 4 * width).map((row) => `${x(row)},${y(row, column)}`);
      return svgElement("polyline", { points: places.join(" "), stroke });
    };
    /* Both axes with their ticks, and the milestones as lines, whose words lie above the line of 50%, apart from each other. */
    function axes() {
      const word = (at, across, anchor, said) => svgElement("text", { x: at, y: across, "text-anchor": anchor }, said);
      const grid = [0, top / 2, top].flatMap((value) => [
        svgElement("path", { d: `M${left} ${yAt(value)}H${width - 7}`, stroke: palette.grid }),
        word(left - 5, Number(yAt(value)) + 4, "end", formatPercent(value)),
      ]);
      const ticks = [word(left, height - 1, "start", "0"), word(xAt(steps / 2), height - 1, "middle", _("step")), word(width - 7, height - 1, "end", steps.toLocaleString("en"))];
      const lines = milestones.flatMap(({ step, label }, index) => {
        const late = step > steps / 2;
        return [
          svgElement("path", { d: `M${xAt(step)} ${yAt(top)}V${yAt(0)}`, stroke: palette.accent, "stroke-dasharray": "3 3" }),
          word(Number(xAt(step)) + (late ? -4 : 4), Number(yAt(top)) + 14 + 14 * (index % 2), late ? "end" : "start", label),
        ];
      });
      return [...grid, ...ticks, ...lines];
    }

    plot.replaceChildren(
      ...(spec.most ? axes() : [svgElement("path", { d: `M0 ${height - 3.5}H${width}`, stroke: palette.grid })]),
      ...(spec.beside ? [lineOf(spec.beside, palette.training)] : []),
      lineOf(spec.column, color),
      svgElement("circle", { cx: x(line), cy: y(line), r: 3.2, fill: color }),
    );
    const text = { rate: formatRate, short: formatCount, share: formatPercent }[spec.format]?.(line[spec.column]) ?? line[spec.column].toFixed(2);
    value.textContent = hover === null ? text : _("{value} at step {step}", { value: text, step: line.step.toLocaleString("en") });
  }

  const paintAll = () => curves.forEach(paint);
  const resizes = new ResizeObserver(paintAll);
  resizes.observe(root);
  return liveView(
    component,
    () => {
      rows = milestones = [];
      totalSteps = 0;
      return {
        status(value) {
          const reached = milestonesOf(value);
          const more = reached.length !== milestones.length;
          milestones = reached;
          totalSteps = value.steps;
          if (more) paintAll();
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
      prepare() {
        const wanted = JSON.stringify(component.data.curves);
        if (wanted !== built) build();
        built = wanted;
      },
      draw: paintAll,
      destroy() {
        clearTimeout(timer);
        resizes.disconnect();
      },
    },
  );
}

/* Return a list of problems with the model's answers, marked right or wrong by a sign, and the right answer beside a wrong one. */
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

/* What the model writes: the newest text in full, the earlier ones beneath it. */
function samples(root, component) {
  const opened = new Set(); // steps of the earlier texts that are shown whole
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
    if (!rows.length) return clear(); // the run begins again from its first step
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
