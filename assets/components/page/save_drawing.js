/* data: { chart: the key of a plotly chart on this page, whose own bar has one button, which saves it */
import { element, mountOnce, say } from "../shared/mount.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let data = null;
    const row = element("div", "takeaway");
    const button = element("button", "takeaway-button", "SVG");
    button.type = "button";
    button.title = say("This drawing as it is now, for a text or a slide.");
    button.addEventListener("click", () => document.querySelector(`.st-key-${CSS.escape(data.chart)} .modebar-btn`)?.click());
    row.append(button);
    root.append(row);
    return {
      update(next) {
        data = next.data;
      },
      destroy() {},
    };
  });
}
