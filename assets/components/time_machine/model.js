/* The whole model on one prompt: tokens, embedding, blocks with their heads and MLPs, the residual stream past them, and the
   next token. Every width and color is a number that pointing at it tells. A part opens in place: see model_opened.js. */
import { columnsOf } from "../shared/download.js";
import { formatPercent, formatSigned, kindName } from "../shared/format.js";
import { _, button, bytesFromBase64, colorTable, element, pointerTips, quoted, rgbOf, svgElement } from "../shared/mount.js";
import { evenColor, matrixPlace, paintMatrix, shareColor, signedBytes, signedColor } from "./model_images.js";
import { layoutOf, tokenEnd } from "./model_layout.js";
import { openedPart, placeAfter } from "./model_opened.js";
import { modelFilm } from "./model_film.js";
import { drawFlow, headColor } from "./model_flow.js";
import { summary, titleOf } from "./model_words.js";
import { modelWriter } from "./model_writer.js";

const AROUND = 230; // pixels of a window for what is above and below the picture
const KEYS_REST = 400; // milliseconds without a key until the address says where
const WRITES = 350; // pixels of the picture of a model that writes by itself

export function model(root, clock, _report, keep) {
  const bar = element("div", "model-bar aside");
  const stage = element("div", "model-stage");
  const panel = element("div", "model-opened");
  const says = element("div", "model-says");
  says.setAttribute("aria-live", "polite");
  bar.hidden = panel.hidden = says.hidden = true; // until there is something to draw: what is hidden then would move what is below
  root.append(bar, stage, panel, says);
  const svg = svgElement("svg", { "aria-hidden": "true" });
  const tips = pointerTips(stage);
  let [frame, palette, picture] = [null, null, null];
  let layout = null;
  let drawnFor = ""; // what the elements on the stage were made for
  let token = null; // counted from the prompt's first, or null for its last
  let block = null; // the one that is never folded; null: the last
  let contributions = false; // what ribbons show: attention, or contributions to a logit
  let pythonPlace = null; // as Python sent it last
  let roles = null; // of heads, at the steps where they were scored
  let report = 0; // the timer that tells Python of the place
  const reported = []; // places that Python has not sent back yet
  let canvases = []; // [canvas, paint(canvas)] of everything that moves with the step
  let stops = []; // the elements that the arrow keys walk

  let writer = null; // of a model that writes by itself
  const film = modelFilm(bar, clock, { draw: () => redraw(), open: (place) => open(place) });
  const opened = openedPart(panel, { open, close: () => open(""), tips: pointerTips });
  const modes = element("div", "model-modes", [
    mode(_("Attention"), _("Ribbons show where the chosen token attends, a color for each head."), false),
    mode(_("Contributions"), _("Ribbons show what each token adds to the logit of the most likely next token, through each head."), true),
  ]);
  bar.prepend(modes);
  const resizes = new ResizeObserver(() => redraw());
  resizes.observe(root);
  root.addEventListener("keydown", onKey);

  function mode(label, title, value) {
    const made = button("", label, () => {
      contributions = value;
      redraw();
    });
    made.title = title;
    made.setContributions = () => made.setAttribute("aria-pressed", String(contributions === value));
    return made;
  }

  /* Open a part ("head-1.2@18.12"), in the browser at once and on the page `wait` milliseconds later; "" is the whole picture. */
  function open(place, wait = 0) {
    film.stop();
    clock.setPicture({ ...clock.picture, place });
    clearTimeout(report);
    const tell = () => {
      reported.push(place);
      keep("place", { place, at: Date.now() });
    };
    if (wait) report = setTimeout(tell, wait);
    else tell();
  }

  /* Rows are counted from the first token drawn, tokens from the first of the prompt. */
  const rowOf = () => (token === null ? usualRow() : Math.max(0, Math.min(picture.next.length - 1, token - picture.first)));
  /* The last token; in a training step the one whose next token has the highest loss. */
  const usualRow = () => (picture.training ? picture.training.losses.indexOf(Math.max(...picture.training.losses)) : picture.next.length - 1);
  const tokenAt = (row) => frame.tokens[frame.tokens.length - picture.next.length + row];
  const nameOf = (row) => quoted(tokenAt(row));

  function choose(row) {
    token = row === usualRow() ? null : row + picture.first;
    redraw();
  }

  function redraw() {
    if (!picture || !root.clientWidth) return;
    for (const made of modes.children) made.setContributions();
    const focused = root.getRootNode().activeElement;
    const [opening, closing] = [panel.hidden && stage.contains(focused), !panel.hidden && panel.contains(focused)];
    bar.hidden = !!picture.opened;
    modes.hidden = !picture.shape.layers;
    stage.hidden = !!picture.opened;
    panel.hidden = !picture.opened;
    says.hidden = !!picture.opened;
    film.update(picture, frame);
    writer?.update(picture);
    if (picture.opened) {
      opened.show(picture, frame, palette, roles);
      if (opening) opened.focus();
      return;
    }
    const width = root.clientWidth;
    const tokens = clock.writes ? clock.picture.rows : picture.next.length;
    const wanted = { width, height: writer ? WRITES : window.innerHeight - AROUND, tokens, shape: picture.shape, open: block ?? picture.shape.layers - 1, upright: width < 560 };
    const key = JSON.stringify([wanted, frame.tokens, palette.surface, picture.first]);
    if (key !== drawnFor) build(wanted);
    drawnFor = key;
    for (const [canvas, paint] of canvases) paint(canvas);
    select();
    if (closing) stops.find((made) => made.tabIndex === 0)?.focus({ preventScroll: true });
  }

  /* Make the elements of the stage: titles, tokens and canvases. What changes with the step is painted on them later. */
  function build(wanted) {
    layout = layoutOf(wanted);
    const { upright, height, width } = layout;
    stage.style.height = `${height}px`;
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    stage.classList.toggle("upright", upright);
    canvases = [];
    stops = [];
    const tip = stage.querySelector(".pointer-tip");
    tip.hidden = true; // what it was about is gone
    const tokens = element("div", "model-prompt", tokenBoxes(), { role: "listbox", "aria-label": _("Tokens of the prompt") });
    const next = element("div", "model-next");
    next.dataset.order = orderOf({ kind: "output" });
    stage.replaceChildren(svg, tokens, ...layout.parts.flatMap(partElements), next, tip);
  }

  function rect(from, to, first, last) {
    const [x, y, w, h] = layout.upright ? [first, from, last - first, to - from] : [from, first, to - from, last - first];
    return `left: ${x}px; top: ${y}px; width: ${w}px; height: ${h}px;`;
  }

  const acrossAll = () => [layout.first, layout.first + layout.step * picture.next.length];

  function tokenBoxes() {
    const { first, step, upright } = layout;
    return picture.next.map((_next, row) => {
      const box = element("div", "model-token", tokenAt(row));
      const size = Math.max(5, Math.min(14, step - 2));
      box.style.cssText = `${rect(0, tokenEnd(layout), first + row * step, first + (row + 1) * step - 1)} font-size: ${size}px; line-height: ${upright ? 22 : step - 1}px;`;
      box.title = _("Token {number}: {token}", { number: picture.first + row + 1, token: nameOf(row) });
      box.setAttribute("role", "option");
      box.setAttribute("aria-label", box.title);
      box.addEventListener("click", () => choose(row));
      box.dataset.order = 0;
      return box;
    });
  }

  const orderOf = (part) => film.orderOf(part, picture.shape);

  /* The title and the images of one part. */
  function partElements(part) {
    const names = titleOf(part, picture, part.to - part.from > 60 || layout.upright);
    const made = stop(element("div", "model-part", [element("b", "", names.title), element("span", "", names.shape)]), part, names);
    const [from, to] = [part.from, part.to];
    if (part.kind === "block") {
      made.replaceChildren(String(part.layer + 1));
      made.classList.add("model-block");
      made.style.cssText = rect(from, to, ...acrossAll());
      return [made];
    }
    made.style.cssText = layout.upright ? `left: 0; top: ${part.title ?? from - layout.title}px; height: ${layout.title}px;` : `left: ${from}px; top: 0; width: ${(layout.parts[layout.parts.indexOf(part) + 1]?.from ?? layout.width + 4) - from - 4}px; height: 36px;`;
    if (part.kind === "attention") return [made, ...part.squares.map((square) => headSquare(part, square))];
    if (part.kind === "output") return [made];
    return [made, stripCanvas(part, from, to)];
  }

  /* Let an element be walked to by the arrow keys, and opened by a click or Enter. */
  function stop(made, part, { title, about }) {
    made.setAttribute("role", "button");
    made.setAttribute("aria-label", `${title}. ${about}`);
    made.tabIndex = stops.length ? -1 : 0;
    made.dataset.order = orderOf(part);
    made.addEventListener("click", () => activate(part));
    tips.attach(made, () => about);
    stops.push(made);
    return made;
  }

  function activate(part) {
    if (part.kind === "block") {
      block = part.layer;
      return redraw();
    }
    open(placeOf(partName(part.kind === "attention" ? { ...part, kind: "head", head: 0 } : part)));
  }

  /* As links name a part: "head-1.2", "mlp-1", "embedding". */
  const partName = ({ kind, layer, head }) => (kind === "head" ? `head-${layer + 1}.${head + 1}` : layer === undefined ? kind : `${kind}-${layer + 1}`);
  const placeOf = (part, row = rowOf(), cell = null) => `${part}@${picture.first + row + 1}${cell === null ? "" : `.${cell + 1}`}`;

  function stripCanvas(part, from, to) {
    const canvas = element("canvas");
    canvas.style.cssText = rect(from, to, ...acrossAll());
    canvas.dataset.order = orderOf(part);
    const stripsOf = () => (part.kind === "embedding" ? picture.embedding : picture.neurons[part.layer]);
    const rows = picture.next.length;
    canvases.push([canvas, () => paintMatrix(canvas, { values: signedBytes(stripsOf().bytes), rows, cells: stripsOf().cells, table: colorTable(palette.diverging), color: part.kind === "mlp" ? evenColor : signedColor, upright: layout.upright, line: layout.step >= 9 ? rgbOf(palette.surface) : null })]);
    tips.attach(canvas, (event) => {
      const strips = stripsOf();
      const [row, cell] = matrixPlace(canvas, event, rows, strips.cells, layout.upright);
      const value = formatSigned((signedBytes(strips.bytes)[row * strips.cells + cell] / 127) * strips.most);
      const [low, high] = [cell, cell + 1].map((at) => Math.floor((at * strips.size) / strips.cells));
      const filled = { token: nameOf(row), number: low + 1, last: high, value };
      return high - low === 1 ? _("{token}, number {number}: {value}", filled) : _("{token}, numbers {number} to {last}, the largest: {value}", filled);
    });
    canvas.addEventListener("click", (event) => {
      const [row] = matrixPlace(canvas, event, rows, 1, layout.upright);
      open(placeOf(partName(part), row));
    });
    return canvas;
  }

  function headSquare(part, { head, x, y, size }) {
    const canvas = element("canvas");
    const T = picture.next.length;
    const name = `${part.layer + 1}.${head + 1}`;
    const box = stop(element("div", size < 44 ? "model-square small" : "model-square", size < 22 ? canvas : [canvas, element("span", "model-name", name)]), { kind: "head", layer: part.layer, head }, { title: _("Head {place}", { place: name }), about: _("Its attention pattern: a row is a query, a column a key.") });
    box.style.cssText = `left: ${x}px; top: ${y}px; width: ${size}px; height: ${size}px; border-color: ${headColor(palette, head)};`;
    const weights = () => picture.weights.subarray((part.layer * picture.shape.heads + head) * T * T, (part.layer * picture.shape.heads + head + 1) * T * T);
    canvases.push([canvas, () => paintMatrix(canvas, { values: weights(), rows: T, cells: T, table: colorTable(palette.sequential), color: shareColor })]);
    tips.attach(canvas, (event) => {
      const [row, column] = matrixPlace(canvas, event, T, T);
      return _("Head {place}: {token} attends {share} to {other}", { place: name, token: nameOf(row), share: formatPercent(weights()[row * T + column] / 255), other: nameOf(column) });
    });
    return box;
  }

  /* Everything that depends on the chosen token: the residual stream, ribbons, contributions, next tokens. */
  function select() {
    const row = rowOf();
    const { parts } = layout;
    for (const [index, box] of [...stage.querySelectorAll(".model-token")].entries()) box.setAttribute("aria-selected", String(index === row));
    const openHead = (place, query, key) => open(placeOf(`head-${place}`, query, picture.first + key));
    drawFlow(svg, { layout, picture, palette, additive: contributions && picture.contributions, nameOf, orderOf, openHead }, row);
    stage.querySelectorAll(".model-sum").forEach((made) => made.remove());
    if (picture.training) stage.append(...parts.map((part) => label(part, ratioOf(part), _("Update-to-weight ratio: how far this step moves the weights of this part"))));
    else if (contributions && picture.contributions) stage.append(...parts.map((part) => sums(part, row)));
    showNext(row);
    showWords(row);
    film.paint(stage);
  }

  /* What a part adds to the logit of the most likely next token. */
  function sums(part, row) {
    const { contributions: of } = picture;
    const byPart = { embedding: of.embedding, output: of.total, attention: of.attention[part.layer], mlp: of.mlps[part.layer] };
    const value = part.kind === "block" ? byPart.attention[row] + byPart.mlp[row] : byPart[part.kind][row];
    const text = part.kind === "output" ? _("rest {rest}, logit {value}", { value: formatSigned(value), rest: formatSigned(of.rest[row]) }) : formatSigned(value);
    const title = part.kind === "output"
      ? _("The logit is the sum of all contributions; the rest are biases and, where the model has them, counted pairs.")
      : _("Contribution of this part to the logit of {next}", { next: quoted(picture.next[row][0][0]) });
    return label(part, text, title, palette.diverging.at(value < 0 ? 0 : -1));
  }

  /* How far a training step moves the weights of a part, in percent. */
  function ratioOf(part) {
    const { ratios } = picture.training;
    const named = part.kind === "block" ? Math.max(ratios[`attention-${part.layer + 1}`], ratios[`mlp-${part.layer + 1}`] || 0) : ratios[partName(part)];
    return named === undefined ? "" : `Δ ${(100 * named).toPrecision(2)}%`;
  }

  /* A number below a part (upright: beside its title). */
  function label(part, text, title, color = palette.validation) {
    const made = element("div", "model-sum", text);
    made.style.cssText = `color: ${color}; ${layout.upright
      ? `right: 0; top: ${part.title ?? part.from - layout.title}px;`
      : `left: ${part.from}px; top: ${layout.height - 20}px; width: ${part.to - part.from}px;`}`;
    made.title = title;
    made.dataset.order = orderOf(part);
    return made;
  }

  function showNext(row) {
    const box = stage.querySelector(".model-next");
    const output = layout.parts.at(-1);
    const sampling = film.sampling();
    const shown = sampling ? picture.sample.shares : picture.next[row];
    const high = 25 * shown.length;
    const top = layout.upright ? output.from : Math.max(layout.first, Math.min(layout.height - high - 40, layout.first + (row + 0.5) * layout.step - high / 2));
    box.style.cssText = `left: ${layout.upright ? 0 : output.from}px; top: ${top}px; width: ${layout.upright ? layout.width : output.to - output.from}px;`;
    const largest = Math.max(0.25, shown[0][2]);
    const kinds = Object.keys(palette.kinds).filter((kind) => shown.some((each) => each[1] === kind));
    const legend = element("div", "model-kinds", kinds.map((kind) => element("span", "", kindName(kind), { style: `color: ${palette.kinds[kind]}` })));
    box.replaceChildren(...shown.map(([name, kind, share]) => {
      const fill = element("span", "bars-fill");
      fill.style.cssText = `width: ${Math.max(0.5, (100 * share) / largest)}%; background: ${palette.kinds[kind] || palette.muted};`;
      const made = element("div", "bars-row", [element("span", "bars-name", name), element("span", "bars-track", fill), element("span", "bars-share", formatPercent(share, "< 0.1%"))]);
      const marked = sampling ? picture.sample.token[0] : picture.training && row + 1 < picture.next.length ? tokenAt(row + 1) : null;
      made.classList.toggle("model-sampled", name === marked);
      return made;
    }), legend);
  }

  function showWords(row) {
    const words = film.words(picture, frame) || summary(picture, row, nameOf, contributions);
    says.replaceChildren(element("div", "", words), legend(), writer ? "" : element("div", "quiet", _("Point at anything for its number. Click a part to open it; Escape leads back. Arrow keys: left and right walk the parts, up and down the tokens.")));
  }

  /* What the colors of stripes and squares are. */
  function legend() {
    const entry = (color, words) => element("span", "", [element("i", "", [], { style: `background: ${color}` }), words]);
    const shown = [_("Stripes:"), entry(palette.diverging.at(-1), _("above zero")), entry(palette.diverging[0], _("below zero"))];
    if (picture.shape.layers) shown.push(_("Heads:"), entry(palette.sequential.at(-1), _("much attention")));
    return element("div", "model-legend", shown);
  }

  function onKey(event) {
    if (event.target.matches("input, select") || !picture) return;
    if (event.key === "Escape" && clock.picture.place) return open("");
    if (picture.opened) {
      const place = placeAfter(event.key, clock.picture.place, picture);
      if (place) {
        open(place, KEYS_REST);
        event.preventDefault();
      }
      return;
    }
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const rows = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (move) walk(move);
    else if (rows) choose(Math.max(0, Math.min(picture.next.length - 1, rowOf() + rows)));
    else if ((event.key === "Enter" || event.key === " ") && stops.includes(event.target)) event.target.click();
    else return;
    event.preventDefault();
  }

  function walk(move) {
    const at = stops.indexOf(root.getRootNode().activeElement);
    const next = stops[Math.max(0, Math.min(stops.length - 1, at + move))];
    for (const made of stops) made.tabIndex = made === next ? 0 : -1;
    next.focus();
  }

  return {
    words: () => "",
    name: () => "model",
    drawn: stage,
    columns: () => picture && !picture.opened && columnsOf(["token no.", "token", "next", "probability"], picture.next.flatMap((next, row) => next.map(([name, , share]) => [picture.first + row + 1, tokenAt(row), name, share]))),
    draw(next, colors, data) {
      if (data.place !== pythonPlace) {
        pythonPlace = data.place;
        while (reported.length && reported[0] !== data.place) reported.shift();
        if (reported.shift() === undefined) clock.setPicture({ ...clock.picture, place: data.place });
      }
      [palette, roles] = [colors, data.roles || null];
      if (data.writes && !writer) {
        bar.replaceChildren();
        says.setAttribute("aria-live", "off"); // a sentence for every token would interrupt a screen reader
        writer = modelWriter(bar, clock);
      }
      if (!next.picture) return; // of the view that was left
      if (frame !== next) decode(next.picture);
      [frame, picture] = [next, next.picture];
      redraw();
    },
    destroy() {
      resizes.disconnect();
      clearTimeout(report);
      film.stop();
      writer?.stop();
    },
  };
}

function decode(picture) {
  if (picture.patterns === undefined || picture.weights) return;
  picture.weights = bytesFromBase64(picture.patterns);
  picture.sources = picture.contributions && signedBytes(picture.contributions.sources);
}
