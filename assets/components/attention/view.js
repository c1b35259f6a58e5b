/* Attention of a finished model: arcs in both directions between tokens, all heads as heatmaps, and a weight calculated in steps;
   data.view selects one. */
import { tokenArcs } from "../shared/arcs.js";
import { columnsOf, downloadButtons } from "../shared/download.js";
import { formatPercent } from "../shared/format.js";
import { attentionHeatmaps, attentionColumns } from "../shared/heatmaps.js";
import { _, bytesFromBase64, element, mountView, quoted, withElements } from "../shared/mount.js";
import { numberStrips } from "../shared/number_strips.js";

const VIEWS = { arcs, heatmaps, strips };

export default (component) => mountView(component, VIEWS);

/* Attention between the tokens of a line, in both directions: arcs above run from the token pointed at to those it attends to,
   arcs below come from those that attend to it. If no token is pointed at, all strong arcs are shown. A click picks the token.
   data: { tokens: [shown], bytes (base64 uint8 T*T, 255 = all attention), row: the token picked, flow: whether the shares are
           attention rollout, nobody: a sentence if no other token attends to it, hint: readout if no token is pointed at } */
function arcs(root, component) {
  const SMALLEST = 0.02; // share that is drawn
  const STRONG = 0.15; // share that is drawn while nothing is pointed at, besides the largest of each token
  const bytesOf = lastBytes();
  let bytes = null;
  let pointed = null;
  const line = tokenArcs(root, {
    height: 84,
    below: true,
    onPoint: point,
    onClick: pick,
    onMove: (step) => point(Math.max(0, Math.min(tokens().length - 1, (pointed ?? component.data.row) + step))),
    draw,
  });
  line.letters.addEventListener("blur", () => point(null));
  line.letters.addEventListener("keydown", (event) => event.key === "Enter" && pointed !== null && pick(pointed));
  downloadButtons(root, {
    name: () => component.data.name,
    drawn: line.box,
    columns: () => {
      const lines = places().flatMap((row) => places().map((column) => [tokens()[row], row + 1, tokens()[column], column + 1, share(row, column)]));
      return columnsOf(["looking", "looking no.", "looked at", "looked at no.", "share"], lines.filter((line) => line[4]));
    },
  });

  const tokens = () => component.data.tokens;
  const share = (row, column) => bytes[row * tokens().length + column] / 255;
  const places = () => [...tokens().keys()];
  const arc = (side, from, to, value, color, opacity) => line.arc(side, from, to, { color, width: 0.8 + 3.2 * value, opacity });
  const inWords = (list) => list.map(([place, value]) => `${quoted(tokens()[place])} ${formatPercent(value)}`).join(", ");

  function draw() {
    const { palette, data } = component;
    line.clear();
    [...line.letters.children].forEach((letter, place) => {
      letter.classList.toggle("picked", place === data.row);
      letter.classList.toggle("pointed", place === pointed);
      letter.style.setProperty("--outgoing", pointed === null ? 0 : share(pointed, place));
      letter.style.setProperty("--incoming", pointed === null ? 0 : share(place, pointed));
    });
    if (pointed === null) {
      for (const row of places()) {
        const others = places().filter((column) => column !== row).map((column) => [column, share(row, column)]);
        const peak = Math.max(SMALLEST, ...others.map(([, value]) => value));
        for (const [column, value] of others) {
          if (value === peak || value >= STRONG) arc("above", row, column, value, palette.accent, 0.12 + 0.6 * value);
        }
      }
      line.readout.textContent = data.hint;
      return;
    }
    const outgoing = places().map((place) => [place, share(pointed, place)]).sort((a, b) => b[1] - a[1]);
    const incoming = places().filter((place) => place !== pointed).map((place) => [place, share(place, pointed)]).sort((a, b) => b[1] - a[1]);
    for (const [place, value] of outgoing) {
      if (place !== pointed && value >= SMALLEST) arc("above", pointed, place, value, palette.accent, 0.25 + 0.75 * value);
    }
    for (const [place, value] of incoming) if (value >= SMALLEST) arc("below", place, pointed, value, palette.validation, 0.25 + 0.75 * value);
    const targets = outgoing.filter(([, value], at) => at === 0 || value >= 0.05).slice(0, 3);
    const sources = incoming.filter(([, value]) => value >= 0.05).slice(0, 3);
    const shares = targets.map((target) => (target[0] === pointed ? _("itself {share}", { share: formatPercent(target[1]) }) : inWords([target]))).join(", ");
    const sentence = data.flow ? _("{token} contains {shares}.") : _("{token} attends to {shares}.");
    const others = sources.length ? _("Most from others: {shares}.", { shares: inWords(sources) }) : data.nobody;
    line.readout.replaceChildren(...withElements(sentence, { token: element("b", "", quoted(tokens()[pointed])), shares }), ` ${others}`);
  }

  function point(place) {
    if (place === pointed) return;
    pointed = place;
    draw();
  }

  function pick(place) {
    component.setTriggerValue("picked", place);
  }

  return {
    update() {
      bytes = bytesOf(component.data.bytes);
      if (line.setTokens(tokens())) pointed = null;
      draw();
    },
    destroy: line.destroy,
  };
}

function heatmaps(root, component) {
  const bytesOf = lastBytes();
  const place = element("div");
  root.append(place);
  const shown = () => ({ ...component.data, bytes: bytesOf(component.data.bytes) });
  downloadButtons(root, { name: () => "attention", drawn: place, columns: () => attentionColumns(shown()) });
  const board = attentionHeatmaps(place, { onPick: (layer, head) => component.setTriggerValue("head", [layer, head]) });
  return {
    update: () => board.show({ ...shown(), palette: component.palette, fade: 250 }),
    destroy: board.destroy,
  };
}

/* A calculation as steps. data: { steps: as shared/number_strips.js takes them } */
function strips(root, component) {
  const drawn = numberStrips(root);
  downloadButtons(root, {
    name: () => "one-look",
    drawn: drawn.box,
    columns: () => {
      const lines = component.data.steps.flatMap((step, at) => step.strips.flatMap((strip) => strip.values.map((value, place) => [at + 1, step.title, strip.label, place + 1, value ?? "-inf"])));
      return columnsOf(["step", "title", "strip", "no.", "value"], lines);
    },
  });
  return { update: () => drawn.show(component.data.steps, component.palette) };
}

/* Decode bytes; equal input returns the same array, so that a view can tell that nothing has changed. */
function lastBytes() {
  let encoded = null;
  let bytes = null;
  return (base64) => {
    if (base64 !== encoded) [encoded, bytes] = [base64, bytesFromBase64(base64)];
    return bytes;
  };
}
