/* The loss chart. Its figure is made in Python (explorer/charts/loss.py), drawn once with plotly, and filled from the stream.
   Its traces are those of `fill`, in that order; the parent's losses stay as Python sent them. data.fork: { begins, mark } for
   a fork, whose steps continue from `begins`. */
import { bytesPerTokenOf, chooseUnit, chosenUnit, crowdedLabels, forkRange, inUnit, lossRange, lowestPositive, numberSide, smoothed, spreadLabels, stepRange } from "./axes.js";
import { MARK_HEIGHT, MARK_LETTER, settingChangeTraces } from "./setting_changes.js";
import { hearButton } from "./sound.js";
import { downloadButtons, lossColumns } from "../shared/download.js";
import { _, button, element, mountOnce } from "../shared/mount.js";
import { loadPlotly, purgeChart } from "../shared/plotly.js";
import { liveView, milestonesOf, settingChangesIn } from "../shared/run_stream.js";
import { thinned } from "../shared/thinning.js";

export default (mounting) => mountOnce(mounting, (root, component) => {
  const MAX_POINTS = 1500; // a screen cannot show more
  const TICK_PIXELS = 75; // a step of five digits and a gap
  let rows = [];
  let changes = [];
  let milestones = []; // of a task: { step, label }
  let totalSteps = 0; // from the run's status: they may change while it trains
  let baselines = null;
  let plot = null;
  let drawing; // the promise of plotly's drawing
  let drawn = ""; // the figure on screen, to redraw it only when Python sends another or the theme changes
  let zoomed = false;
  let timer = 0;
  let measuredAt; // the step of the last measurement
  let rest = 60; // milliseconds until the next redraw: a slow browser redraws less often, without a backlog
  let gone = false;
  const choice = { smoothing: null, logSteps: false, logLoss: false, unit: chosenUnit(component.data.bytes_per_token) };

  const chart = element("div", "loss-chart");
  const waiting = element("div", "loss-waiting", _("The first point arrives with the first evaluation."));
  const parentKey = element("span", "loss-key loss-parent", _("its parent"));
  const legend = element("span", "loss-legend", [element("span", "loss-key loss-training", _("training")), element("span", "loss-key", _("validation")), parentKey]);
  const smoothing = element("input", "", [], { type: "range", min: 0, max: 0.98, step: 0.02 });
  const smoothingLabel = element("label", "loss-control", [_("Smoothing"), smoothing]);
  const toggle = (text, name) => {
    const box = element("input", "", [], { type: "checkbox" });
    box.addEventListener("change", () => {
      choice[name] = box.checked;
      reset.click();
    });
    return element("label", "loss-control", [box, text]);
  };
  const reset = button("loss-reset", _("Show all"), () => {
    zoomed = false;
    reset.hidden = true;
    fill();
  });
  reset.hidden = true;
  const toggles = [toggle(_("log steps"), "logSteps"), toggle(_("log loss"), "logLoss")];
  root.append(element("div", "loss-controls", [legend, smoothingLabel, ...toggles, reset]), chart, waiting);
  const below = downloadButtons(root, {
    name: () => "loss",
    columns: () => lossColumns(rows),
    svg: async () => decodeURIComponent((await plot.toImage(chart, { format: "svg" })).split(",").slice(1).join(",")),
  });
  below.prepend(hearButton(chart, () => Object.fromEntries([[_("training"), "loss"], [_("validation"), "val_loss"]].map(([label, name]) => [label, known(name).map((row) => ({ x: begins() + row.step, y: row[name] }))]))));
  const units = { nats: _("nats/token"), bits: _("bits/byte"), choices: _("perplexity") };
  const options = Object.entries(units).map(([value, label]) => element("option", "", label, { value }));
  const unit = element("select", "loss-unit", options, { "aria-label": _("Unit of the loss") });
  unit.title = _("bits/byte: compares any tokenizers. perplexity: as uncertain as a uniform choice among that many tokens.");
  unit.addEventListener("change", () => {
    choice.unit = unit.value;
    chooseUnit(unit.value);
    reset.click();
  });
  unit.value = choice.unit;
  below.prepend(unit);
  smoothing.addEventListener("input", () => {
    choice.smoothing = Number(smoothing.value);
    fill();
  });

  function figure() {
    const { figures, palettes } = component.data;
    return component.palette === palettes.dark ? figures.dark : figures.light;
  }

  async function draw() {
    const plotly = await loadPlotly();
    if (gone) return;
    const made = figure();
    const key = JSON.stringify(made);
    if (key === drawn) return fill();
    drawn = key;
    plot = null;
    const old = chart._fullLayout;
    const layout = structuredClone(made.layout);
    layout.autosize = true;
    delete layout.height; // the card's height
    if (zoomed && old) {
      layout.xaxis.range = old.xaxis.range;
      layout.yaxis.range = old.yaxis.range;
    }
    const fresh = !old;
    await (drawing = plotly.react(chart, structuredClone(made.data), layout, {
      displaylogo: false, displayModeBar: false, doubleClick: false, scrollZoom: false,
    }));
    if (gone) return;
    plot = plotly;
    if (fresh) {
      chart.on("plotly_relayout", (change) => {
        if (!Object.keys(change).some((name) => name.startsWith("xaxis.range") || name.startsWith("yaxis.range"))) return;
        zoomed = true;
        reset.hidden = false;
      });
      chart.on("plotly_doubleclick", () => reset.click());
    }
    fill();
  }

  const shown = (loss) => inUnit(loss, choice.unit, bytesPerTokenOf(rows, component.data.bytes_per_token));

  const known = (name) => thinned(rows.filter((row) => Number.isFinite(row[name])), name, MAX_POINTS);

  function fillSoon(delay = rest) {
    timer ||= setTimeout(() => {
      timer = 0;
      if (chart._dragging) fillSoon(); // not while the user draws a zoom box
      else fill();
    }, delay);
  }

  function fillAtOnce() {
    clearTimeout(timer);
    timer = 0;
    fillSoon(0);
  }

  function fill() {
    if (!plot || gone) return;
    const begun = performance.now();
    options[1].disabled = !bytesPerTokenOf(rows, component.data.bytes_per_token);
    const [trained, measured] = [known("loss"), known("val_loss")];
    const share = choice.smoothing ?? component.data.smoothing;
    const onAxisOf = (step) => (choice.logSteps ? Math.max(1, step) : step); // plotly would draw step 0 far off to the left
    const stepOf = (row) => onAxisOf(begins() + row.step);
    const curve = (all, name) => ({ x: all.map(stepOf), y: all.map((row) => shown(row[name])), customdata: all.map((row) => row.step) });
    const training = curve(trained, "loss");
    const end = measured.slice(-1);
    const parent = figure().data.at(-1);
    const axes = view();
    const [left, right] = axes["xaxis.range"] || chart._fullLayout.xaxis.range;
    const placeOf = (step) => ((choice.logSteps ? Math.log10(stepOf({ step })) : stepOf({ step })) - left) / (right - left);
    const { fork } = component.data;
    const { xaxis, yaxis } = chart._fullLayout;
    const marked = fork ? [{ step: 0, label: fork.mark }, ...changes, ...milestones] : [...changes, ...milestones];
    const labels = labelsWithin(axes, xaxis, yaxis);
    const traces = [
      training,
      { ...training, y: smoothed(trained.map(({ loss }) => loss), share).map(shown) },
      curve(measured, "val_loss"),
      { ...curve(end, "val_loss"), ...numberOf(end, placeOf, labels, axes, yaxis) },
      ...settingChangeTraces(marked, placeOf, stepOf, xaxis._length, labels),
      { x: Array.from(parent.x, onAxisOf), y: Array.from(parent.y, shown) },
    ];
    const columns = ["x", "y", "text", "textposition", "customdata"].map((name) => [name, traces.map((trace) => trace[name] ?? null)]);
    drawing = plot.update(chart, Object.fromEntries(columns), axes, [...traces.keys()]);
    rest = Math.max(200, 4 * (performance.now() - begun));
  }

  /* The number of the last point: above or below it, and on its left near the right edge, so that it covers no label; none if there
     is no such place, because the same number is above the chart. */
  function numberOf(end, placeOf, labels, axes, yaxis) {
    const sides = end.map(({ step, val_loss }) => {
      const [bottom, top] = axes["yaxis.range"] || yaxis.range;
      const value = choice.logLoss ? Math.log10(shown(val_loss)) : shown(val_loss);
      const [place, middle] = [placeOf(step), (value - bottom) / (top - bottom)];
      const side = numberSide(middle, MARK_HEIGHT / yaxis._length, labels.filter(({ left }) => left < place));
      return side && `${side} ${place > 0.85 ? "left" : "right"}`;
    });
    return { text: end.map(({ val_loss }, index) => (sides[index] ? shown(val_loss).toFixed(2) : "")), textposition: sides.map((side) => side || "top left") };
  }

  /* The labels of the lines inside a narrow chart: the share of its width where they start, and the shares of its height between
     which they lie. */
  function labelsWithin(axes, xaxis, yaxis) {
    const [bottom, top] = axes["yaxis.range"] || yaxis.range;
    return figure().layout.annotations.flatMap(({ text }, index) => {
      if (!axes[`annotations[${index}].visible`] || axes[`annotations[${index}].xanchor`] !== "right") return [];
      const middle = (axes[`annotations[${index}].y`] - bottom) / (top - bottom) + axes[`annotations[${index}].yshift`] / yaxis._length;
      const half = MARK_HEIGHT / yaxis._length;
      return [{ left: 1 - (MARK_LETTER * text.length + 8) / xaxis._length, low: middle - half, high: middle + half }];
    });
  }

  /* The axes and the reference lines, which depend on the toggles, the width and the range of the data. */
  function view() {
    const whole = figure();
    const made = whole.layout;
    const narrow = chart.clientWidth < 560;
    const title = chart.clientWidth < 420 ? "" : _("loss ({unit})", { unit: units[choice.unit] }); // the unit is below the chart, too
    const layout = { "yaxis.title.text": title, "margin.r": narrow ? 10 : made.margin.r };
    const length = chart._fullLayout.xaxis._length + chart._fullLayout.margin.r - layout["margin.r"]; // as wide as it will be
    layout["xaxis.nticks"] = Math.min(made.xaxis.nticks, Math.max(2, Math.floor(length / TICK_PIXELS)));
    const types = { xaxis: choice.logSteps ? "log" : "linear", yaxis: choice.logLoss ? "log" : "linear" };
    for (const [axis, type] of Object.entries(types)) {
      // Only when it changes: setting a type makes plotly choose a new range, which would undo the zoom.
      if (chart._fullLayout[axis].type !== type) layout[`${axis}.type`] = type;
    }
    if (!zoomed) Object.assign(layout, wholeRange(whole));
    const [bottom, top] = layout["yaxis.range"] || chart._fullLayout.yaxis.range;
    const pixels = chart._fullLayout.yaxis._length / Math.abs(top - bottom);
    const lines = [];
    made.annotations.forEach(({ name }, index) => {
      const known = Number.isFinite(baselines?.[name]) && !(choice.logLoss && shown(baselines[name]) <= 0); // 0 has no logarithm
      const value = known && shown(baselines[name]);
      layout[`shapes[${index}].visible`] = layout[`annotations[${index}].visible`] = known;
      if (!known) return;
      const y = choice.logLoss ? Math.log10(value) : value;
      if (y >= Math.min(bottom, top) && y <= Math.max(bottom, top)) lines.push({ index, place: y * pixels }); // the others are not visible
      layout[`shapes[${index}].y0`] = layout[`shapes[${index}].y1`] = value;
      layout[`annotations[${index}].y`] = y;
      layout[`annotations[${index}].xanchor`] = narrow ? "right" : "left";
      layout[`annotations[${index}].bgcolor`] = narrow ? `${component.palette.surface}d0` : "rgba(0,0,0,0)"; // marks and curves pass behind it
      layout[`annotations[${index}].xshift`] = narrow ? -2 : 8;
    });
    const wanted = ({ place }) => place + (narrow ? 8 : 0); // inside a narrow chart, above their lines
    const crowded = crowdedLabels(lines.map(wanted), MARK_HEIGHT);
    for (const at of crowded) layout[`annotations[${lines[at].index}].visible`] = false;
    const labeled = lines.filter((_line, at) => !crowded.includes(at));
    const spread = spreadLabels(labeled.map(wanted), MARK_HEIGHT);
    for (const [at, { index, place }] of labeled.entries()) layout[`annotations[${index}].yshift`] = spread[at] - place;
    return layout;
  }

  const parentOf = (data) => ({ x: data.at(-1).x, y: Array.from(data.at(-1).y, shown) });

  const begins = () => component.data.fork?.begins || 0;

  /* The axes with all steps, curves and lines. A logarithmic step axis starts at step 1 and shows all of a parent's curve. */
  function wholeRange({ data, layout }) {
    const values = rows.flatMap((row) => [row.loss, row.val_loss]).filter(Number.isFinite).map(shown);
    const { fork } = component.data;
    const lines = fork ? [] : layout.annotations.map(({ name }) => baselines?.[name]).filter(Number.isFinite).map(shown);
    const [low, high] = fork ? forkRange(values, parentOf(data), choice.logSteps ? 0 : begins()) : lossRange([...values, ...lines]);
    const [left, right] = stepRange(Math.max(totalSteps || component.data.steps, rows.at(-1)?.step ?? 1), begins());
    return {
      "xaxis.range": choice.logSteps ? [0, Math.log10(Math.max(right, 2))] : [left, right],
      "yaxis.range": choice.logLoss ? [Math.log10(low > 0.05 ? low : lowestPositive([...values, ...lines])), Math.log10(high)] : [low, high],
    };
  }

  // Labels and margins depend on the width; plotly itself notices only the window's size.
  let size = "";
  const resizes = new ResizeObserver(() => {
    const now = `${chart.clientWidth} ${chart.clientHeight}`;
    if (!plot || gone || !chart.clientWidth || now === size) return;
    size = now;
    drawing = plot.Plots.resize(chart).then(() => fillSoon());
  });
  resizes.observe(chart);

  return liveView(
    component,
    () => {
      rows = [];
      changes = milestones = [];
      totalSteps = 0;
      waiting.hidden = false;
      baselines = null;
      zoomed = false;
      reset.hidden = true;
      return {
        metrics(all) {
          rows = all;
          waiting.hidden = rows.length > 0;
          const last = rows.findLast((row) => Number.isFinite(row.val_loss))?.step;
          if (last !== measuredAt) fillAtOnce(); // the numbers above the chart show this loss already
          else fillSoon();
          measuredAt = last;
        },
        events(all) {
          changes = settingChangesIn(all);
          fillSoon();
        },
        status(value) {
          const changed = value.steps !== totalSteps || (value.baselines && !baselines);
          const reached = milestonesOf(value);
          const more = reached.length !== milestones.length;
          milestones = reached;
          totalSteps = value.steps;
          baselines ||= value.baselines;
          if (changed || more) fillSoon();
        },
      };
    },
    {
      prepare() {
        const { data } = component;
        if (choice.smoothing === null) smoothing.value = data.smoothing;
        parentKey.hidden = !data.fork;
      },
      draw,
      destroy() {
        gone = true;
        resizes.disconnect();
        clearTimeout(timer);
        purgeChart(chart, drawing);
      },
    },
  );
});
