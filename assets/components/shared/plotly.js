/* plotly.js comes with the plotly wheel, Chart2Music is in assets/vendor; both have a route of ours. Each is loaded once per page. */
export const loadPlotly = () => loadLibrary("plotly.js", "Plotly");
export const loadChart2Music = () => loadLibrary("chart2music.js", "c2mChart");

const loading = {}; // promises, by file

function loadLibrary(file, name) {
  if (globalThis[name]) return Promise.resolve(globalThis[name]);
  return (loading[file] ||= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(`api/${file}`, document.baseURI);
    script.onload = () => resolve(globalThis[name]);
    script.onerror = () => {
      delete loading[file];
      reject(new Error(`${file} could not be loaded`));
    };
    document.head.appendChild(script);
  }));
}

/* Remove a chart once plotly has finished its current drawing, whose next stage would fail on a removed chart. */
export async function purgeChart(chart, ...drawing) {
  await Promise.allSettled(drawing);
  if (chart._fullLayout) globalThis.Plotly.purge(chart);
}

/* Keep a plotly chart as wide as its element, and call `after` after each resize; return a function that removes the chart, given
   the promise of its current drawing. */
export function fitChart(chart, after) {
  let width = 0;
  let resizing;
  const resizes = new ResizeObserver(() => {
    if (!chart._fullLayout || !chart.clientWidth || chart.clientWidth === width) return;
    width = chart.clientWidth;
    resizing = globalThis.Plotly.Plots.resize(chart).then(after);
  });
  resizes.observe(chart);
  return (drawing) => {
    resizes.disconnect();
    purgeChart(chart, drawing, resizing);
  };
}
