import { takeaway } from "../shared/download.js";
import { headsBoard, lookColumns } from "../shared/heatmaps.js";
import { bytesOf, currentPalette, element, mountOnce } from "../shared/mount.js";

export default function (component) {
  return mountOnce(component, (root, first) => {
    let latest = first;
    let encoded = null;
    let bytes = null;
    const place = element("div");
    root.append(place);
    takeaway(root, { name: () => "attention", drawn: place, columns: () => bytes && lookColumns({ ...latest.data, bytes, causal: false }) });
    const board = headsBoard(place, { onPick: (layer, head) => latest.setTriggerValue("head", [layer, head]) });
    return {
      update(next) {
        latest = next;
        const { data } = next;
        if (data.bytes !== encoded) {
          encoded = data.bytes;
          bytes = bytesOf(encoded);
        }
        board.show({ ...data, bytes, palette: currentPalette(root, data.palettes), fade: 250 });
      },
      destroy: () => board.destroy(),
    };
  });
}
