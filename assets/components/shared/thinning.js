/* Fewer rows to draw, without losing an extreme. */

/* Keep the rows with the lowest and the highest value of each column in every `size` rows, the last row, and some rows of every
   doubling of the steps, so that a logarithmic axis has points at its start, too. `spared(row)` keeps more. Stretches are
   counted from the first row, so that the picture of a growing list does not change. */
export function withExtremes(rows, columns, size, spared = () => false) {
  const EACH = 24; // rows of a doubling
  const chosen = new Set();
  let octave = -1;
  rows.forEach(({ step }, index) => {
    const place = Math.floor(EACH * Math.log2(1 + step));
    if (place > octave) chosen.add(index);
    octave = Math.max(octave, place);
  });
  for (let begin = 0; begin < rows.length; begin += size) {
    const end = Math.min(begin + size, rows.length);
    for (const column of columns) {
      let low = -1;
      let high = -1;
      for (let index = begin; index < end; index++) {
        const value = rows[index][column];
        if (!Number.isFinite(value)) continue;
        if (low < 0 || value < rows[low][column]) low = index;
        if (high < 0 || value > rows[high][column]) high = index;
      }
      chosen.add(low).add(high);
    }
  }
  return rows.filter((row, index) => chosen.has(index) || index === rows.length - 1 || spared(row));
}

/* Return the item whose number comes nearest to `wanted`. */
export function nearest(items, wanted, numberOf = (item) => item) {
  return items.reduce((best, item) => (Math.abs(numberOf(item) - wanted) < Math.abs(numberOf(best) - wanted) ? item : best));
}

/* Return at most `most` rows, with the last, for the curve of one column. The stretches double as a curve grows, so it rarely
   moves. `most` must leave room for the rows of every doubling: 24 each, 400 for 65,000 steps. */
export function thinned(rows, column, most) {
  let fewer = rows;
  for (let size = 2 ** Math.ceil(Math.log2((2 * rows.length) / most)); fewer.length > most && size < 2 * rows.length; size *= 2) {
    fewer = withExtremes(rows, [column], size);
  }
  return fewer;
}

/* Return which of evenly spaced labels fit into a line: the first at its left end, the last at its right end, and from the
   left those with room between. widths: of the labels, in pixels; width: of the line */
export function roomFor(widths, width) {
  const last = widths.length - 1;
  const shown = [0];
  let free = widths[0];
  for (let index = 1; index < last; index++) {
    const [from, to] = [-1, 1].map((side) => (width * index) / last + (side * widths[index]) / 2);
    if (from < free || to > width - widths[last]) continue;
    shown.push(index);
    free = to;
  }
  return last > 0 ? [...shown, last] : shown;
}

/* Return the first of `heights` at which nothing in `taken` overlaps a label, else the last.
   label: { left, right, height }; heights: of its lower edge; taken: boxes { left, right, top, bottom }; all in pixels */
export function clearHeight({ left, right, height }, heights, taken) {
  const covered = (bottom) => taken.some((box) => box.left < right && left < box.right && box.top < bottom && bottom - height < box.bottom);
  return heights.find((bottom) => !covered(bottom)) ?? heights.at(-1);
}
