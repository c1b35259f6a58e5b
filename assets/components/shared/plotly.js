/* plotly.js comes with the plotly wheel, from a route of our own, once a page. */
export function loadPlotly() {
  if (globalThis.Plotly) return Promise.resolve(globalThis.Plotly);
  return (globalThis.__gptExplorerPlotly ||= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("api/plotly.js", document.baseURI);
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      delete globalThis.__gptExplorerPlotly;
      reject(new Error("plotly.js could not be loaded"));
    };
    document.head.appendChild(script);
  }));
}
