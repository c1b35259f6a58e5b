/* One head at the moment on view, large, and read letter by letter. */
import { arcsReader } from "../shared/arcs.js";
import { headsBoard, lookColumns } from "../shared/heatmaps.js";
import { element, say } from "../shared/mount.js";
import { movingView } from "./clock.js";

export default function (component) {
  return movingView(component, (root, time) => {
    const arcs = element("div", "moving-arcs");
    const place = element("div");
    root.append(arcs, place);
    const reader = arcsReader(arcs);
    const board = headsBoard(place, { large: true });
    let shown = null; // the frame and head whose bytes were cut out last
    let bytes = null;
    // A model that is compared with may have fewer heads.
    const has = ({ layers, heads }) => time.head[0] < layers && time.head[1] < heads;
    const placeIn = ({ heads }) => time.head[0] * heads + time.head[1];
    return {
      words: ({ attention }) => (attention && has(attention) ? say("On this prompt: {words}", { words: attention.words[placeIn(attention)].replace(/^Of its/, "of its") }) : say("This model has no such head.")),
      draw({ attention }, palette) {
        arcs.hidden = place.hidden = !attention || !has(attention);
        if (arcs.hidden) return;
        const at = placeIn(attention);
        if (shown !== `${time.step} ${at}` || bytes.frame !== attention) {
          shown = `${time.step} ${at}`;
          const size = attention.length ** 2;
          bytes = attention.bytes.slice(at * size, (at + 1) * size);
          bytes.frame = attention;
        }
        const { tokens, length } = attention;
        reader.show({ tokens, bytes, row: length - 1, palette });
        board.show({ layers: 1, heads: 1, length, tokens, bytes, palette, first: time.head, fade: 250 });
      },
      name: () => `attention-${time.head[0] + 1}-${time.head[1] + 1}`,
      columns: ({ attention }) => attention && has(attention) && lookColumns({ ...attention, layers: 1, heads: 1, bytes, first: time.head }),
      destroy() {
        reader.destroy();
        board.destroy();
      },
    };
  });
}
