/* The small curves of a run's numbers, as SVG. */
import { downloadButtons } from "../shared/download.js";
import { formatCount, formatPercent, formatRate } from "../shared/format.js";
import { _, element, svgElement } from "../shared/mount.js";
import { liveView, milestonesOf } from "../shared/run_stream.js";
import { clearHeight, nearest, thinned } from "../shared/thinning.js";

const [AXIS_LEFT, AXIS_BELOW, LINE, LETTER] = [36, 16, 13, 6]; // pixels; LINE is the height of a word, LETTER the width of a letter

/* Small curves of one or two columns of the metrics each: the course, the range, the last value. A curve names its `column`,
   and may name a `second` one; with `most`, the highest value of its axis, it has axes and a task's milestones. */
export function curves(root, component) {
  let rows = [];
  let timer = 0;
  let curves = [];
  let totalSteps = 0; // from the run's status: they may change while it trains
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
    const names = Object.fromEntries(component.data.curves.flatMap(({ column, label, second, secondLabel }) => [[label, column], ...(second ? [[secondLabel, second]] : [])]));
    downloadButtons(root, {
      name: () => component.data.view,
      columns: () => rows.length && { step: rows.map((row) => row.step), ...Object.fromEntries(Object.entries(names).map(([label, column]) => [label, rows.map((row) => row[column])])) },
    });
  }

  function paint({ spec, value, plot, hover }) {
    const { palette } = component;
    const points = rows.filter((row) => Number.isFinite(row[spec.column]));
    const scale = scaleOf(spec, points, plot.getBoundingClientRect(), totalSteps || component.data.steps);
    if (!scale) {
      value.textContent = "–";
      plot.replaceChildren();
      return;
    }
    const { width, height, steps } = scale;
    const line = hover === null ? points.at(-1) : nearest(points, hover * steps, (row) => row.step);
    const lineOf = (column, stroke) => svgElement("polyline", { points: placesOf(points, column, scale).map((place) => place.join(",")).join(" "), stroke });
    plot.replaceChildren(
      ...(spec.most ? axesOf(spec, points, milestones, scale, palette) : [svgElement("path", { d: `M0 ${height - 3.5}H${width}`, stroke: palette.grid })]),
      ...(spec.second ? [lineOf(spec.second, palette.training)] : []),
      lineOf(spec.column, spec.second ? palette.validation : palette.accent),
      svgElement("circle", { cx: scale.xAt(line.step), cy: scale.yAt(line[spec.column]), r: 3.2, fill: spec.second ? palette.validation : palette.accent }),
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

/* Return functions from steps and values to pixels (one decimal), and the plot's size; null if nothing can be drawn. */
function scaleOf(spec, points, { width, height }, runSteps) {
  if (!width || !points.length) return null;
  const steps = Math.max(runSteps, points.at(-1).step);
  const top = spec.most ?? (points.reduce((most, row) => Math.max(most, row[spec.column]), 0) * 1.08 || 1);
  const [left, below] = spec.most ? [AXIS_LEFT, AXIS_BELOW] : [1, 4];
  const xAt = (step) => ((step / steps) * (width - left - 7) + left).toFixed(1);
  const yAt = (value) => (height - below - (value / top) * (height - below - 6)).toFixed(1);
  return { width, height, steps, top, left, below, xAt, yAt };
}

/* Return the places [x, y] of a column's curve, thinned to what the plot can show. */
function placesOf(points, column, { width, xAt, yAt }) {
  const known = points.filter((row) => Number.isFinite(row[column]));
  return thinned(known, column, 4 * width).map((row) => [xAt(row.step), yAt(row[column])]);
}

/* Return the pieces of the curves as boxes that labels must not cover. */
function boxesOf(spec, points, scale) {
  return [spec.column, spec.second].filter(Boolean).flatMap((column) => {
    const places = placesOf(points, column, scale).map((place) => place.map(Number));
    return places.slice(1).map(([right, to], index) => {
      const [left, from] = places[index];
      return { left, right, top: Math.min(from, to), bottom: Math.max(from, to) };
    });
  });
}

/* Return both axes with their ticks, and the milestones as lines, with labels that cover neither the curves nor each other. */
function axesOf(spec, points, milestones, scale, palette) {
  const { width, height, steps, top, left, below, xAt, yAt } = scale;
  const word = (at, across, anchor, said) => svgElement("text", { x: at, y: across, "text-anchor": anchor }, said);
  const grid = [0, top / 2, top].flatMap((value) => [
    svgElement("path", { d: `M${left} ${yAt(value)}H${width - 7}`, stroke: palette.grid }),
    word(left - 5, Number(yAt(value)) + 4, "end", formatPercent(value)),
  ]);
  const ticks = [word(left, height - 1, "start", "0"), word(xAt(steps / 2), height - 1, "middle", _("step")), word(width - 7, height - 1, "end", steps.toLocaleString("en"))];
  const taken = milestones.length ? boxesOf(spec, points, scale) : [];
  const heights = Array.from({ length: Math.floor((height - below - 20) / LINE) + 1 }, (_none, row) => 20 + row * LINE);
  const lines = milestones.flatMap(({ step, label }) => {
    const late = step > steps / 2;
    const at = Number(xAt(step)) + (late ? -4 : 4);
    const long = LETTER * label.length;
    const box = late ? { left: at - long, right: at } : { left: at, right: at + long };
    const bottom = clearHeight({ ...box, height: LINE }, heights, taken);
    taken.push({ ...box, top: bottom - LINE, bottom });
    return [
      svgElement("path", { d: `M${xAt(step)} ${yAt(top)}V${yAt(0)}`, stroke: palette.accent, "stroke-dasharray": "3 3" }),
      word(at, bottom - 3, late ? "end" : "start", label),
    ];
  });
  return [...grid, ...ticks, ...lines];
}
