/* plotly.js comes with the plotly wheel, and Chart2Music lies in assets/vendor; both have a route of ours. Each is loaded once a page. */
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

/* Take a chart down once plotly has drawn what it is drawing: of a chart that is gone its next stage would fail. */
export async function purgeChart(chart, ...drawing) {
  await Promise.allSettled(drawing);
  if (chart._fullLayout) globalThis.Plotly.purge(chart);
}

/* Keep a chart of plotly's as wide as its element, and call `after` whenever it has become so; returns what takes it down, given
   the promise of what is being drawn. */
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
