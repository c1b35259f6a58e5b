/* data: { tokens: [shown], bytes (base64 uint8 T*T, 255 = all attention), row: the token to begin with, palettes } */
export default function (component) {
  return mountOnce(component, (root) => {
    const reader = arcsReader(root);
    return {
      update: ({ data }) => reader.show({ ...data, bytes: bytesOf(data.bytes), palette: currentPalette(root, data.palettes) }),
      destroy: reader.destroy,
    };
  });
}
