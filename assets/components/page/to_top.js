/* Streamlit keeps the place on a page whose address only changes its parameters: from the list of lessons to a lesson, or from a
   run's board to the settings of its fork, one would land in the middle. */
export default function (component) {
  const { shown } = component.data;
  const before = globalThis.__gptExplorerShown;
  globalThis.__gptExplorerShown = shown;
  if (before !== undefined && before !== shown) document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
}
