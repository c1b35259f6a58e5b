/* The two traces of settings that changed during training, lines and labels. Python makes them without data
   (explorer/charts/loss.py). */
const MARK_ROWS = [0.965, 0.905, 0.845]; // allowed heights of labels
export const MARK_LETTER = 6.2; // pixels of a label's letter
export const MARK_HEIGHT = 15; // pixels between the middles of two labels

/* changes: event rows { step, label }; placeOf: a step as a share of the chart's width; width: in pixels; others: labels
   already in the chart, { left, low, high } as shares of its width and height. */
export function settingChangeTraces(changes, placeOf, stepOf, width, others = []) {
  const together = new Map();
  for (const { step, label } of changes) together.set(step, [...(together.get(step) || []), label]);
  const marks = [...together].sort(([one], [two]) => one - two).map(([step, labels]) => ({
    step,
    label: labels[labels.length - 1] + (labels.length > 1 ? ` +${labels.length - 1}` : ""),
    hover: labels.join(", "),
  }));
  const taken = MARK_ROWS.map((row) => others.filter(({ low, high }) => low < row && row < high).map(({ left }) => [left, 1]));
  for (const mark of marks.toReversed()) {
    const place = placeOf(mark.step);
    const share = (MARK_LETTER * mark.label.length + 12) / width;
    mark.onLeft = place + share > 1;
    const [left, right] = mark.onLeft ? [place - share, place] : [place, place + share];
    if (place < 0 || place > 1 || left < 0) continue;
    const row = taken.findIndex((spans) => spans.every(([begin, end]) => right < begin || left > end));
    if (row < 0) continue;
    taken[row].push([left, right]);
    mark.height = MARK_ROWS[row];
  }
  const lines = { x: [], y: [], customdata: [] };
  const labels = { x: [], y: [], text: [], textposition: [] };
  for (const { step, label, hover, height, onLeft } of marks) {
    const x = stepOf({ step });
    lines.x.push(x, x, null);
    lines.y.push(0, 1, null);
    lines.customdata.push(...Array(3).fill(plainForPlotly(hover)));
    if (!height) continue;
    labels.x.push(x);
    labels.y.push(height);
    labels.text.push(`\u00a0${plainForPlotly(label)}\u00a0`); // a small gap from its line
    labels.textposition.push(onLeft ? "middle left" : "middle right");
  }
  return [lines, labels];
}

/* Escape text for plotly, which reads some HTML tags in labels. */
function plainForPlotly(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
