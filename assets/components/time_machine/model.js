/* The whole model on one prompt: tokens, embedding, blocks with their heads and MLPs, the residual stream past them, and the
   next token. Every width and color is a number, shown on hover.

   This file has its state and what changes it. Drawing: model_stage.js, model_flow.js. A part opened in place: model_opened.js.
   Playing: model_film.js, model_writer.js. */
import { columnsOf } from "../shared/download.js";
import { _, button, bytesFromBase64, element, pointerTips, svgElement } from "../shared/mount.js";
import { modelFilm } from "./model_film.js";
import { drawFlow } from "./model_flow.js";
import { signedBytes } from "./model_images.js";
import { layoutOf } from "./model_layout.js";
import { openedPart, placeAfter } from "./model_opened.js";
import { buildStage, chosenRow, nameOf, partNumber, placeOf, showNextTokens, tokenAt, usualRow } from "./model_stage.js";
import { colorLegend, contributionOf, partName, summary, updateRatio } from "./model_words.js";
import { modelWriter } from "./model_writer.js";

const AROUND = 230; // pixels of a window for what is above and below the picture
const KEYS_REST = 400; // milliseconds without a key until the address is updated
const WRITES = 350; // pixels of the picture of a model that keeps generating

export function model(root, clock, _report, keep) {
  const bar = element("div", "model-bar aside");
  const stage = element("div", "model-stage");
  const panel = element("div", "model-opened");
  const says = element("div", "model-says");
  says.setAttribute("aria-live", "polite");
  bar.hidden = panel.hidden = says.hidden = true; // until there is something to draw: hiding them only then would move what is below
  root.append(bar, stage, panel, says);
  const svg = svgElement("svg", { "aria-hidden": "true" });
  const tips = pointerTips(stage);
  // The current view, as in model_stage.js, and block: the layer of the one that is never folded, null for the last;
  // contributions: whether ribbons show contributions to a logit; roles: of heads, at the steps where they were scored.
  const view = { frame: null, picture: null, palette: null, layout: null, token: null, block: null, contributions: false, roles: null };
  const places = placeOnPage(clock, keep);
  let drawn = { key: "", canvases: [], stops: [] }; // the elements on the stage, and the key that they were made for
  let writer = null; // of a model that keeps generating

  const film = modelFilm(bar, clock, { draw: () => redraw(), open: (place) => open(place) });
  const opened = openedPart(panel, { open, close: () => open(""), tips: pointerTips });
  const modes = modeButtons(view, () => redraw());
  bar.prepend(modes.bar);
  const resizes = new ResizeObserver(() => redraw());
  resizes.observe(root);
  root.addEventListener("keydown", (event) => view.picture && onKey(event, { root, clock, view, stops: drawn.stops, open, choose }));

  /* Open a part ("head-1.2@18.12"), in the browser at once and on the page `wait` milliseconds later; "" is the whole picture. */
  function open(place, wait = 0) {
    film.stop();
    places.open(place, wait);
  }

  function choose(row) {
    view.token = row === usualRow(view.picture) ? null : row + view.picture.first;
    redraw();
  }

  /* A folded block unfolds, any other part opens. */
  function activate(part) {
    if (part.kind === "block") {
      view.block = part.layer;
      return redraw();
    }
    open(placeOf(view, partName(part.kind === "attention" ? { ...part, kind: "head", head: 0 } : part)));
  }

  function redraw() {
    const { picture, frame, palette } = view;
    if (!picture || !root.clientWidth) return;
    const focused = root.getRootNode().activeElement;
    const [opening, closing] = [panel.hidden && stage.contains(focused), !panel.hidden && panel.contains(focused)];
    modes.update();
    bar.hidden = stage.hidden = says.hidden = Boolean(picture.opened);
    panel.hidden = !picture.opened;
    film.update(picture, frame);
    writer?.update(picture);
    if (picture.opened) {
      opened.show(picture, frame, palette, view.roles);
      if (opening) opened.focus();
      return;
    }
    rebuild();
    for (const [, paint] of drawn.canvases) paint();
    drawChosen();
    if (closing) drawn.stops.find((made) => made.tabIndex === 0)?.focus({ preventScroll: true });
  }

  /* Recreate the elements of the stage if they no longer fit the current view. */
  function rebuild() {
    const { picture, frame, palette } = view;
    const width = root.clientWidth;
    const tokens = clock.writes ? clock.picture.rows : picture.next.length;
    const wanted = { width, height: writer ? WRITES : window.innerHeight - AROUND, tokens, shape: picture.shape, open: view.block ?? picture.shape.layers - 1, upright: width < 560 };
    const key = JSON.stringify([wanted, frame.tokens, palette.surface, picture.first]);
    if (key === drawn.key) return;
    view.layout = layoutOf(wanted);
    drawn = { key, ...buildStage(view, { stage, svg, tips, orderOf, on: { choose, activate, open } }) };
  }

  const orderOf = (part) => film.orderOf(part, view.picture.shape);

  /* Everything that depends on the chosen token: the residual stream, ribbons, contributions, next tokens. */
  function drawChosen() {
    const { picture, palette, layout } = view;
    const row = chosenRow(view);
    const contributions = view.contributions && picture.contributions;
    for (const [index, box] of [...stage.querySelectorAll(".model-token")].entries()) box.setAttribute("aria-selected", String(index === row));
    const openHead = (place, query, key) => open(placeOf(view, `head-${place}`, query, picture.first + key));
    drawFlow(svg, { layout, picture, palette, additive: contributions, nameOf: (at) => nameOf(view, at), orderOf, openHead }, row);
    stage.querySelectorAll(".model-sum").forEach((made) => made.remove());
    const numbers = picture.training ? (part) => updateRatio(part, picture.training.ratios) : contributions && ((part) => contributionOf(part, picture, row));
    for (const part of numbers ? layout.parts : []) {
      const number = partNumber(view, part, numbers(part));
      number.dataset.order = orderOf(part);
      stage.append(number);
    }
    showNextTokens(view, stage, { row, sampling: film.sampling() });
    says.replaceChildren(element("div", "", wordsOf(row)), colorLegend(palette, picture.shape.layers > 0), writer ? "" : element("div", "quiet", _("Point at anything for its number. Click a part to open it; Escape leads back. Arrow keys: left and right walk the parts, up and down the tokens.")));
    film.paint(stage);
  }

  const wordsOf = (row) => film.words(view.picture, view.frame) || summary(view.picture, row, (at) => nameOf(view, at), view.contributions);

  function writeByItself() {
    bar.replaceChildren();
    says.setAttribute("aria-live", "off"); // a sentence for every token would interrupt a screen reader
    writer = modelWriter(bar, clock);
  }

  return {
    words: () => "",
    name: () => "model",
    drawn: stage,
    columns: () => view.picture && !view.picture.opened && nextTokenColumns(view),
    draw(frame, palette, data) {
      places.follow(data.place);
      Object.assign(view, { palette, roles: data.roles || null });
      if (data.writes && !writer) writeByItself();
      if (!frame.picture) return; // a frame of the previous view
      if (view.frame !== frame) decode(frame.picture);
      Object.assign(view, { frame, picture: frame.picture });
      redraw();
    },
    destroy() {
      resizes.disconnect();
      places.stop();
      film.stop();
      writer?.stop();
    },
  };
}

/* The opened place of the picture, in the browser and in the page's address: a place that Python sends back late does not undo
   a newer one. */
function placeOnPage(clock, keep) {
  const reported = []; // places that Python has not sent back yet
  let fromPython = null; // the place that it last sent
  let timer = 0;
  return {
    open(place, wait) {
      clock.setPicture({ ...clock.picture, place });
      clearTimeout(timer);
      const report = () => {
        reported.push(place);
        keep("place", { place, at: Date.now() });
      };
      if (wait) timer = setTimeout(report, wait);
      else report();
    },
    follow(place) {
      if (place === fromPython) return;
      fromPython = place;
      while (reported.length && reported[0] !== place) reported.shift();
      if (reported.shift() === undefined) clock.setPicture({ ...clock.picture, place });
    },
    stop: () => clearTimeout(timer),
  };
}

/* The two buttons that select what ribbons show: attention, or contributions to a logit. */
function modeButtons(view, redraw) {
  const modes = [
    [false, _("Attention"), _("Ribbons show where the chosen token attends, a color for each head.")],
    [true, _("Contributions"), _("Ribbons show what each token adds to the logit of the most likely next token, through each head.")],
  ];
  const buttons = modes.map(([contributions, label, title]) => {
    const made = button("", label, () => {
      view.contributions = contributions;
      redraw();
    });
    made.title = title;
    return made;
  });
  const bar = element("div", "model-modes", buttons);
  return {
    bar,
    update() {
      bar.hidden = !view.picture.shape.layers;
      modes.forEach(([contributions], index) => buttons[index].setAttribute("aria-pressed", String(view.contributions === contributions)));
    },
  };
}

/* Arrow keys move between parts and tokens, Enter opens a part, Escape goes back; in an opened part they choose its cells. */
function onKey(event, { root, clock, view, stops, open, choose }) {
  const { picture } = view;
  if (event.target.matches("input, select")) return;
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
  if (move) focusNext(stops, stops.indexOf(root.getRootNode().activeElement) + move);
  else if (rows) choose(Math.max(0, Math.min(picture.next.length - 1, chosenRow(view) + rows)));
  else if ((event.key === "Enter" || event.key === " ") && stops.includes(event.target)) event.target.click();
  else return;
  event.preventDefault();
}

function focusNext(stops, at) {
  const next = stops[Math.max(0, Math.min(stops.length - 1, at))];
  for (const made of stops) made.tabIndex = made === next ? 0 : -1;
  next.focus();
}

function nextTokenColumns(view) {
  const { first, next } = view.picture;
  return columnsOf(["token no.", "token", "next", "probability"], next.flatMap((tokens, row) => tokens.map(([name, , share]) => [first + row + 1, tokenAt(view, row), name, share])));
}

function decode(picture) {
  if (picture.patterns === undefined || picture.weights) return;
  picture.weights = bytesFromBase64(picture.patterns);
  picture.sources = picture.contributions && signedBytes(picture.contributions.sources);
}
