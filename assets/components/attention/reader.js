/* data: { tokens: [shown], bytes (base64 uint8 T*T, 255 = all attention), row: the token to begin with, palettes } */
import { arcsReader } from "../shared/arcs.js";
import { takeaway } from "../shared/download.js";
import { lookColumns } from "../shared/heatmaps.js";
import { bytesOf, currentPalette, element, mountOnce } from "../shared/mount.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let looks = null;
    const place = element("div");
    root.append(place);
    const reader = arcsReader(place);
    takeaway(root, { name: () => "attention-arcs", drawn: place, columns: () => lookColumns({ layers: 1, heads: 1, length: looks.tokens.length, ...looks, causal: false }) });
    return {
      update({ data }) {
        looks = { tokens: data.tokens, bytes: bytesOf(data.bytes) };
        reader.show({ ...data, ...looks, palette: currentPalette(root, data.palettes) });
      },
      destroy: reader.destroy,
    };
  });
}
