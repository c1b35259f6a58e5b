/* Matrices as images, a pixel for each number, scaled up by the browser; and what the pointer is on. */
import { bytesFromBase64 } from "../shared/mount.js";

/* A canvas of a matrix of bytes.
   values: bytes, row by row; color(byte) -> index into `table`; upright: rows become columns; line: color of a hairline
   between rows, if they are high enough, or null */
export function paintMatrix(canvas, { values, rows, cells, table, color, upright = false, line = null }) {
  const THICK = line ? 6 : 1; // pixels of a row, the last of which is the hairline
  const [wide, high] = upright ? [rows * THICK, cells] : [cells, rows * THICK];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  const image = context.createImageData(wide, high);
  for (let row = 0; row < rows; row++) {
    for (let cell = 0; cell < cells; cell++) {
      const at = color(values[row * cells + cell]) * 3;
      for (let thick = 0; thick < THICK; thick++) {
        const [x, y] = upright ? [row * THICK + thick, cell] : [cell, row * THICK + thick];
        const pixel = (y * wide + x) * 4;
        const between = line && thick === THICK - 1;
        for (let channel = 0; channel < 3; channel++) image.data[pixel + channel] = between ? line[channel] : table[at + channel];
        image.data[pixel + 3] = 255;
      }
    }
  }
  context.putImageData(image, 0, 0);
  canvas.redraw = (paper) => paper.drawImage(canvas, 0, 0, wide, high, 0, 0, canvas.offsetWidth, canvas.offsetHeight);
}

/* Signed bytes as indices into a diverging scale of 256 colors, shares into a sequential one; small ones stay visible. */
export const signedColor = (byte) => Math.round(127.5 + 127.5 * Math.sign(byte) * (Math.abs(byte) / 127) ** 0.7);
export const evenColor = (byte) => Math.round(127.5 + (127.5 * byte) / 127);
export const shareColor = (byte) => Math.round(255 * (byte / 255) ** 0.6);

export const signedBytes = (base64) => new Int8Array(bytesFromBase64(base64).buffer);

/* The place of a pointer in a matrix: [row, cell]. */
export function matrixPlace(canvas, event, rows, cells, upright = false) {
  const bounds = canvas.getBoundingClientRect();
  const share = [(event.clientY - bounds.top) / bounds.height, (event.clientX - bounds.left) / bounds.width];
  if (upright) share.reverse();
  return [rows, cells].map((count, axis) => Math.max(0, Math.min(count - 1, Math.floor(share[axis] * count))));
}
