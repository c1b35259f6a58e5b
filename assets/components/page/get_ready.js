/* Load plotly.js while the visitor still reads: parsing it takes a second, which would stand between a click and a first loss. */
import { loadPlotly } from "../shared/plotly.js";

export default function () {
  const later = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 200));
  later(() => loadPlotly().catch(() => {})); // the chart itself tells of a failure, if it comes to that
}
