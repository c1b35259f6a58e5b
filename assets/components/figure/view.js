/* A figure made in Python, which draws it again and again while something is computed: the node stays, and so does a zoom.
   data: { figure: JSON, height: pixels } */
import { element, mountOnce, nameFigure } from "../shared/mount.js";
import { fitChart, loadPlotly } from "../shared/plotly.js";

export default (mounting) => mountOnce(mounting, (root, component) => {
  const chart = element("div");
  chart.style.cssText = "width: 100%; min-width: 0";
  root.append(chart);
  nameFigure(chart);
  const takeDown = fitChart(chart);
  let drawn = ""; // the figure on screen
  let drawing; // the promise of what plotly draws
  let busy = false;
  let gone = false;

  async function draw() {
    if (busy) return;
    busy = true;
    try {
      const plotly = await loadPlotly();
      while (!gone && component.data.figure !== drawn) {
        if (chart._dragging) {
          await new Promise((next) => setTimeout(next, 100)); // not under the hand that draws a zoom box
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
});
