/* A loss curve as sound: pitch follows loss, point by point with the arrow keys (Chart2Music, loaded on demand).

   hearButton(chart, curves) -> the button; while it is pressed, the chart takes the keys, and a line after it tells each point
   curves() -> { name: [{ x, y }] }, the current ones */
import { _, button, element, chartTitle } from "../shared/mount.js";
import { loadChart2Music } from "../shared/plotly.js";

export function hearButton(chart, curves) {
  const spoken = element("div", "loss-spoken aside");
  let sound = null;
  const hear = button("table-button loss-hear", _("Hear it"), async () => {
    if (!sound) await start();
    else stop();
    hear.setAttribute("aria-pressed", Boolean(sound));
  });
  hear.title = _("Pitch follows the loss as it is now. Arrow keys move along a curve, Page Up and Down between curves, Shift with End plays. H lists all keys.");
  hear.setAttribute("aria-pressed", false);

  async function start() {
    const make = await loadChart2Music();
    const data = Object.fromEntries(Object.entries(curves()).filter(([, points]) => points.length));
    if (sound || !Object.keys(data).length) return;
    chart.after(spoken);
    const axes = { x: { label: _("step") }, y: { label: _("loss"), format: (value) => value.toFixed(2) } };
    const made = make({ type: Object.keys(data).map(() => "line"), title: chartTitle(chart), data, axes, element: chart, cc: spoken });
    if (made.err) throw new Error(made.err);
    sound = made.data;
    chart.focus();
  }

  function stop() {
    sound.cleanUp();
    sound = null;
    chart.removeAttribute("tabindex");
    spoken.replaceChildren();
    spoken.remove();
  }

  return hear;
}
