/* All heads at the moment on view; a click opens one, in the browser at once and on the page a moment later. */
import { headsBoard, lookColumns } from "../shared/heatmaps.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root, time, report) => {
    const pick = (layer, head) => {
      time.pick([layer, head]);
      report("head", [layer, head]);
    };
    const board = headsBoard(root, { onPick: pick });
    return {
      words: ({ cut, attention }) => cut || attention?.all,
      draw: ({ attention }, palette) =>
        attention && board.show({ ...attention, selected: time.head, palette, fade: 250 }),
      name: () => "attention",
      columns: ({ attention }) => attention && lookColumns(attention),
      destroy: board.destroy,
    };
  });
}
