/* A map of vectors at the moment on view, with short trails. All moments were laid out together, in Python.
   data: as time.js wants it, and { steps, xy: [[[x, y] in thousandths] of each step], words_of: [of each step], tokens, kinds,
           axes: { across, up: [[place, name]] } or null, chosen, near, height, name, trail: of so many moments } */
import { letterMap, mapColumns } from "../shared/embedding_map.js";
import { element } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root, _time, report) => {
    const legend = element("div", "legend");
    const stage = element("div", "stage");
    root.append(legend, stage);
    const map = letterMap(stage, legend, { onPick: (index) => report("picked", index) });
    let source = null;
    let maps = []; // of each step
    const placeOf = (step, { steps }) => Math.max(0, steps.findLastIndex((known) => known <= step));
    const open = (data) => {
      if (source === data) return;
      source = data;
      const { tokens, kinds, axes, chosen, near } = data;
      maps = data.xy.map((points) => ({ tokens, kinds, axes, chosen, near, xy: points.map(([x, y]) => [x / 1000, y / 1000]) }));
    };
    return {
      words: ({ step }, data) => data.words_of[placeOf(step, data)],
      name: () => source.name,
      columns: ({ step }) => mapColumns(maps[placeOf(step, source)]),
      draw({ step }, palette, data) {
        stage.style.height = `${data.height}px`;
        open(data);
        const at = placeOf(step, data);
        map.show(maps[at], palette, maps.slice(Math.max(0, at - data.trail), at).map(({ xy }) => xy));
      },
      destroy: map.destroy,
    };
  });
}
