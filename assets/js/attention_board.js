export default function (component) {
  return mountOnce(component, (root, first) => {
    let latest = first;
    let encoded = null;
    let bytes = null;
    const board = headsBoard(root, { onPick: (layer, head) => latest.setTriggerValue("head", [layer, head]) });
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
