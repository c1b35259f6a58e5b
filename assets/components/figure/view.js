/* Figures from Python that change in place, so that the node and its zoom stay; data.view selects one. */
import { columnsOf, downloadButtons } from "../shared/download.js";
import { _, element, mountView, nameFigure } from "../shared/mount.js";
import { fitChart, loadPlotly } from "../shared/plotly.js";
import { clockOf } from "../time_machine/clock.js";

const VIEWS = { growing, moving };

export default (component) => mountView(component, VIEWS);

/* A figure that Python redraws while something is computed. data: { figure: JSON, height: pixels } */
function growing(root, component) {
  const chart = element("div");
  chart.style.cssText = "width: 100%; min-width: 0";
  root.append(chart);
  nameFigure(chart);
  const takeDown = fitChart(chart);
  let drawn = ""; // the figure on screen
  let drawing; // the promise of plotly's drawing
  let busy = false;
  let gone = false;

  async function draw() {
    if (busy) return;
    busy = true;
    try {
      const plotly = await loadPlotly();
      while (!gone && component.data.figure !== drawn) {
        if (chart._dragging) {
          await new Promise((next) => setTimeout(next, 100)); // not while the user draws a zoom box
          continue;
        }
        drawn = component.data.figure;
        const { data, layout } = JSON.parse(drawn);
        await (drawing = plotly.react(chart, data, layout, { displayModeBar: false, displaylogo: false }));
      }
    } finally {
      busy = false;
    }
  }

  return {
    update() {
      chart.style.height = `${component.data.height}px`;
      draw();
    },
    destroy() {
      gone = true;
      takeDown(drawing);
    },
  };
}

/* A plotly figure from Python that follows the time machine's bar, below sentences about the current step.
   data: as for clock.js, and { steps: measured, ascending, figure: JSON or null, moves: [{ traces, layout } of each], height,
           words: [[[sentence, whether it is a warning]] of each], name: of its files, compared: the other run of a comparison,
           which shares the scale of x: { side, steps, layouts: of its moves }, or null } */
function moving(root, component) {
  const ABOVE = 32; // pixels for the titles of panels, below a legend
  const clock = clockOf(component.data.side);
  const words = element("div", "moving-words");
  const chart = element("div", "moving-chart");
  root.append(words, chart);
  let drawing; // the promise of plotly's drawing
  let busy = false;
  let gone = false;
  let drawn = null; // the data on screen and the place in it
  let figure = null; // as drawn
  let more = 0; // further pixels that the legend needs on a narrow page

  const placeOf = (step, steps = component.data.steps) => Math.max(0, steps.findLastIndex((measured) => measured <= step));

  /* The settings of its layout, on the wider scale of two runs. */
  function layoutOf({ layout = {} }) {
    const { compared } = component.data;
    const theirs = compared?.layouts[placeOf(clockOf(compared.side).step, compared.steps)];
    if (!theirs || theirs["xaxis.range"][1] <= layout["xaxis.range"][1]) return layout;
    return Object.fromEntries(Object.keys(layout).map((name) => [name, theirs[`xaxis.${name.split(".")[1]}`]]));
  }

  if (component.data.figure) {
    downloadButtons(root, {
      name: () => `${component.data.name}-step-${clock.step}`,
      columns: () => figure && columnsOf(["series", "x", "y"], figure.data.flatMap(({ name, x, y }, index) => Array.from(x, (value, at) => [name || index + 1, value, y[at]]))),
      svg: async () => decodeURIComponent((await globalThis.Plotly.toImage(chart, { format: "svg" })).split(",").slice(1).join(",")),
    });
  }

  function moved({ data, layout }, move) {
    const next = { data: data.map((trace, index) => ({ ...trace, ...move.traces?.[index] })), layout: structuredClone(layout) };
    for (const [name, value] of Object.entries(layoutOf(move))) {
      const [axis, setting] = name.split(".");
      if (setting) next.layout[axis][setting] = value;
      else next.layout[axis] = value;
    }
    return next;
  }

  function say(at) {
    const { steps, words: sentences } = component.data;
    const lines = sentences[at].map(([text, trouble]) => element("p", trouble ? "moving-trouble" : "", trouble ? `⚠ ${text}` : text));
    if (steps[at] !== clock.step) lines.push(element("p", "", _("Measured at step {step}.", { step: steps[at].toLocaleString("en") })));
    words.replaceChildren(...lines);
  }

  async function draw() {
    const { data } = component;
    say(placeOf(clock.step));
    if (!data.figure || busy) return;
    busy = true;
    try {
      const plotly = await loadPlotly();
      while (!gone && (drawn?.data !== component.data || drawn.at !== placeOf(clock.step) || drawn.compared !== comparedStep())) {
        drawn = { data: component.data, at: placeOf(clock.step), compared: comparedStep() };
        figure = moved(JSON.parse(component.data.figure), component.data.moves[drawn.at]);
        await show(plotly);
      }
    } finally {
      busy = false;
    }
  }

  /* Draw the figure, taller by the lines that its legend needs beyond the room that Python left for it. */
  async function show(plotly) {
    const { height, margin } = figure.layout;
    const layout = () => ({ ...figure.layout, height: height + more, margin: { ...margin, t: margin.t + more } });
    const react = () => (drawing = plotly.react(chart, figure.data, layout(), { displayModeBar: false, displaylogo: false }));
    await react();
    const legend = chart.querySelector(".legend")?.getBBox().height ?? 0;
    const missing = legend && Math.max(0, Math.ceil(legend + ABOVE - margin.t));
    if (missing === more) return;
    more = missing;
    chart.style.height = `${height + more}px`;
    await react();
  }

  const comparedStep = () => component.data.compared && clockOf(component.data.compared.side).step;

  const takeDown = fitChart(chart, () => {
    drawn = null;
    draw();
  });
  const leave = clock.subscribe(draw);
  let leaveOther;

  return {
    update() {
      if (component.data.figure) chart.style.height = `${component.data.height + more}px`;
      clock.update(component.data);
      if (component.data.compared) leaveOther ??= clockOf(component.data.compared.side).subscribe(draw);
      draw();
    },
    destroy() {
      gone = true;
      leave();
      leaveOther?.();
      takeDown(drawing);
    },
  };
}
