/* The embeddings at the moment on view, with short trails to where they were at the moments before. data: { height } */
import { letterMap, mapColumns } from "../shared/embedding_map.js";
import { element } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root, time) => {
    const TRAIL = 5; // moments
    const legend = element("div", "legend");
    const stage = element("div", "stage");
    root.append(legend, stage);
    const map = letterMap(stage, legend);
    return {
      words: (frame) => frame.map?.words,
      name: () => "letters",
      columns: ({ map }) => map && mapColumns(map),
      draw(frame, palette, data) {
        stage.style.height = `${data.height}px`;
        if (!frame.map) return;
        const at = time.moments.indexOf(frame.step);
        const before = time.moments.slice(Math.max(0, at - TRAIL), at).map((step) => time.frames.get(step)?.map?.xy);
        const unknown = before.lastIndexOf(undefined); // a trail has no holes
        map.show(frame.map, palette, before.slice(unknown + 1));
      },
      destroy: map.destroy,
    };
  });
}
