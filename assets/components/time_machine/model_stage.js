/* The elements of the model picture: tokens, the parts' titles, strips and head squares, next tokens. They are recreated when
   the layout changes; what changes with the step or the chosen token is drawn on them.

   view: the current { frame, picture, palette, layout, token: chosen, counted from the prompt's first, or null }
   on: the actions of clicks { choose(row), activate(part), open(place) }

   Rows are counted from the first token drawn, tokens from the first of the prompt. */
import { formatPercent, formatSigned } from "../shared/format.js";
import { _, colorTable, element, quoted, rgbOf } from "../shared/mount.js";
import { headColor } from "./model_flow.js";
import { evenColor, matrixPlace, paintMatrix, shareColor, signedBytes, signedColor } from "./model_images.js";
import { tokenEnd } from "./model_layout.js";
import { nextTokenBars, partName, titleOf } from "./model_words.js";

/* The last token; in a training step the one whose next token has the highest loss. */
export const usualRow = ({ training, next }) => (training ? training.losses.indexOf(Math.max(...training.losses)) : next.length - 1);
export const chosenRow = ({ token, picture }) => (token === null ? usualRow(picture) : Math.max(0, Math.min(picture.next.length - 1, token - picture.first)));
export const tokenAt = ({ frame, picture }, row) => frame.tokens[frame.tokens.length - picture.next.length + row];
export const nameOf = (view, row) => quoted(tokenAt(view, row));
export const placeOf = (view, part, row = chosenRow(view), cell = null) => `${part}@${view.picture.first + row + 1}${cell === null ? "" : `.${cell + 1}`}`;

/* Put the elements on the stage.
   orderOf(part): its place in the forward pass
   -> { canvases: [[canvas, paint()]] of everything that changes with the step, stops: the elements that the arrow keys visit } */
export function buildStage(view, { stage, svg, tips, orderOf, on }) {
  const { upright, height, width, parts } = view.layout;
  stage.style.height = `${height}px`;
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  stage.classList.toggle("upright", upright);
  const tip = stage.querySelector(".pointer-tip");
  tip.hidden = true; // what it explained is gone
  const made = { canvases: [], stops: [] };
  const tokens = element("div", "model-prompt", tokenBoxes(view, on), { role: "listbox", "aria-label": _("Tokens of the prompt") });
  const next = element("div", "model-next");
  next.dataset.order = orderOf({ kind: "output" });
  stage.replaceChildren(svg, tokens, ...parts.flatMap((part) => partElements(view, part, { made, tips, orderOf, on })), next, tip);
  return made;
}

/* The place of an element: from where to where along the flow, and across it. */
function rect({ upright }, [from, to], [first, last]) {
  const [x, y, w, h] = upright ? [first, from, last - first, to - from] : [from, first, to - from, last - first];
  return `left: ${x}px; top: ${y}px; width: ${w}px; height: ${h}px;`;
}

const acrossAll = ({ layout, picture }) => [layout.first, layout.first + layout.step * picture.next.length];

function tokenBoxes(view, { choose }) {
  const { first, step, upright } = view.layout;
  return view.picture.next.map((_next, row) => {
    const box = element("div", "model-token", tokenAt(view, row));
    const size = Math.max(5, Math.min(14, step - 2));
    const place = rect(view.layout, [0, tokenEnd(view.layout)], [first + row * step, first + (row + 1) * step - 1]);
    box.style.cssText = `${place} font-size: ${size}px; line-height: ${upright ? 22 : step - 1}px;`;
    box.title = _("Token {number}: {token}", { number: view.picture.first + row + 1, token: nameOf(view, row) });
    box.setAttribute("role", "option");
    box.setAttribute("aria-label", box.title);
    box.addEventListener("click", () => choose(row));
    box.dataset.order = 0;
    return box;
  });
}

/* The title and the images of one part. */
function partElements(view, part, { made, tips, orderOf, on }) {
  const { layout, picture } = view;
  const [from, to] = [part.from, part.to];
  const names = titleOf(part, picture, to - from > 60 || layout.upright);
  const box = element("div", "model-part", [element("b", "", names.title), element("span", "", names.shape)]);
  addStop(box, { part, names, made, tips, orderOf, on });
  if (part.kind === "block") {
    box.replaceChildren(String(part.layer + 1));
    box.classList.add("model-block");
    box.style.cssText = rect(layout, [from, to], acrossAll(view));
    return [box];
  }
  const end = layout.parts[layout.parts.indexOf(part) + 1]?.from ?? layout.width + 4;
  box.style.cssText = layout.upright ? `left: 0; top: ${part.title ?? from - layout.title}px; height: ${layout.title}px;` : `left: ${from}px; top: 0; width: ${end - from - 4}px; height: 36px;`;
  if (part.kind === "attention") return [box, ...part.squares.map((square) => headSquare(view, part, square, { made, tips, orderOf, on }))];
  if (part.kind === "output") return [box];
  return [box, stripCanvas(view, part, { made, tips, orderOf, on })];
}

/* Make an element reachable by the arrow keys, and open it on a click or Enter. */
function addStop(box, { part, names: { title, about }, made, tips, orderOf, on }) {
  box.setAttribute("role", "button");
  box.setAttribute("aria-label", `${title}. ${about}`);
  box.tabIndex = made.stops.length ? -1 : 0;
  box.dataset.order = orderOf(part);
  box.addEventListener("click", () => on.activate(part));
  tips.attach(box, () => about);
  made.stops.push(box);
}

/* The vectors of the embedding, or the neurons of an MLP: a row for each token. */
function stripCanvas(view, part, { made, tips, orderOf, on }) {
  const { layout } = view;
  const canvas = element("canvas");
  canvas.style.cssText = rect(layout, [part.from, part.to], acrossAll(view));
  canvas.dataset.order = orderOf(part);
  const strips = () => (part.kind === "embedding" ? view.picture.embedding : view.picture.neurons[part.layer]);
  const rows = view.picture.next.length;
  const color = part.kind === "mlp" ? evenColor : signedColor;
  made.canvases.push([canvas, () => paintMatrix(canvas, { values: signedBytes(strips().bytes), rows, cells: strips().cells, table: colorTable(view.palette.diverging), color, upright: layout.upright, line: layout.step >= 9 ? rgbOf(view.palette.surface) : null })]);
  tips.attach(canvas, (event) => {
    const { bytes, cells, most, size } = strips();
    const [row, cell] = matrixPlace(canvas, event, rows, cells, layout.upright);
    const value = formatSigned((signedBytes(bytes)[row * cells + cell] / 127) * most);
    const [low, high] = [cell, cell + 1].map((at) => Math.floor((at * size) / cells));
    const filled = { token: nameOf(view, row), number: low + 1, last: high, value };
    return high - low === 1 ? _("{token}, number {number}: {value}", filled) : _("{token}, numbers {number} to {last}, the largest: {value}", filled);
  });
  canvas.addEventListener("click", (event) => {
    const [row] = matrixPlace(canvas, event, rows, 1, layout.upright);
    on.open(placeOf(view, partName(part), row));
  });
  return canvas;
}

/* The attention pattern of a head. */
function headSquare(view, part, { head, x, y, size }, { made, tips, orderOf, on }) {
  const canvas = element("canvas");
  const T = view.picture.next.length;
  const place = `${part.layer + 1}.${head + 1}`;
  const box = element("div", size < 44 ? "model-square small" : "model-square", size < 22 ? canvas : [canvas, element("span", "model-name", place)]);
  const names = { title: _("Head {place}", { place }), about: _("Its attention pattern: a row is a query, a column a key.") };
  addStop(box, { part: { kind: "head", layer: part.layer, head }, names, made, tips, orderOf, on });
  box.style.cssText = `left: ${x}px; top: ${y}px; width: ${size}px; height: ${size}px; border-color: ${headColor(view.palette, head)};`;
  const weights = () => {
    const at = part.layer * view.picture.shape.heads + head;
    return view.picture.weights.subarray(at * T * T, (at + 1) * T * T);
  };
  made.canvases.push([canvas, () => paintMatrix(canvas, { values: weights(), rows: T, cells: T, table: colorTable(view.palette.sequential), color: shareColor })]);
  tips.attach(canvas, (event) => {
    const [row, column] = matrixPlace(canvas, event, T, T);
    return _("Head {place}: {token} attends {share} to {other}", { place, token: nameOf(view, row), share: formatPercent(weights()[row * T + column] / 255), other: nameOf(view, column) });
  });
  return box;
}

/* A number below a part (upright: beside its title). */
export function partNumber({ layout, palette }, part, { text, title, value }) {
  const made = element("div", "model-sum", text);
  const place = layout.upright
    ? `right: 0; top: ${part.title ?? part.from - layout.title}px;`
    : `left: ${part.from}px; top: ${layout.height - 20}px; width: ${part.to - part.from}px;`;
  made.style.cssText = `color: ${value === undefined ? palette.validation : palette.diverging.at(value < 0 ? 0 : -1)}; ${place}`;
  made.title = title;
  return made;
}

/* Draw the top next tokens of a row beside it; sampling: those that the next token is sampled from. */
export function showNextTokens(view, stage, { row, sampling }) {
  const { layout, picture, palette } = view;
  const box = stage.querySelector(".model-next");
  const output = layout.parts.at(-1);
  const shown = sampling ? picture.sample.shares : picture.next[row];
  const high = 25 * shown.length;
  const top = layout.upright ? output.from : Math.max(layout.first, Math.min(layout.height - high - 40, layout.first + (row + 0.5) * layout.step - high / 2));
  box.style.cssText = `left: ${layout.upright ? 0 : output.from}px; top: ${top}px; width: ${layout.upright ? layout.width : output.to - output.from}px;`;
  const marked = sampling ? picture.sample.token[0] : picture.training && row + 1 < picture.next.length ? tokenAt(view, row + 1) : null;
  box.replaceChildren(...nextTokenBars(shown, { marked, kinds: picture.kinds, palette }));
  const stream = layout.first + (row + 0.5) * layout.step; // the line of the token's residual stream ends here
  box.classList.toggle("kinds-first", !layout.upright && stream > top + high - 12);
}
