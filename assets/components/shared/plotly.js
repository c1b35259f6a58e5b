/* plotly.js comes with the plotly wheel, and Chart2Music lies in assets/vendor; both have a route of ours. Each is loaded once a page. */
export const loadPlotly = () => loadLibrary("plotly.js", "Plotly");
export const loadChart2Music = () => loadLibrary("chart2music.js", "c2mChart");

function loadLibrary(file, name) {
  if (globalThis[name]) return Promise.resolve(globalThis[name]);
  const loading = (globalThis.__gptExplorerLibraries ||= {});
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

/* Keep a chart of plotly's as wide as its element, and call `after` whenever it has become so; returns what takes it down. */
export function fitChart(chart, after) {
  let width = 0;
  const resizes = new ResizeObserver(() => {
    if (!chart._fullLayout || !chart.clientWidth || chart.clientWidth === width) return;
    width = chart.clientWidth;
    globalThis.Plotly.Plots.resize(chart).then(after);
  });
  resizes.observe(chart);
  return () => {
    resizes.disconnect();
    if (chart._fullLayout) globalThis.Plotly.purge(chart);
  };
}
