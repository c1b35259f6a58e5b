/* Attention of a finished model: arcs both ways between tokens, all heads as heatmaps, and one head read token by token.
   data.view says which. */
import { attentionReader } from "../shared/arcs.js";
import { downloadButtons } from "../shared/download.js";
import { formatPercent } from "../shared/format.js";
import { attentionHeatmaps, attentionColumns } from "../shared/heatmaps.js";
import { _, bytesFromBase64, currentPalette, element, mountView, quoted, withElements } from "../shared/mount.js";

const VIEWS = { arcs, heatmaps, reader };

export default (component) => mountView(component, VIEWS);

/* Attention between the tokens of a line, both ways: arcs above run from the token pointed at to those it outgoing at, arcs
   below come from those that look at it. Pointing at nothing shows all strong outgoing at once. A click picks the token.
   data: { tokens: [shown], bytes (base64 uint8 T*T, 255 = all attention), row: the token picked, flow: whether shares
           are of what a token holds, nobody: a sentence where no other outgoing at it, hint: readout while nothing is pointed
           at, palettes } */
function arcs(root, first) {
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 84; // of the arcs on one side
  const LEAST = 0.02; // of a share that is drawn
  const STRONG = 0.15; // of a share that is drawn while nothing is pointed at, besides the largest of each token
  let latest = first;
  let bytes = null;
  let encoded = null;
  let pointed = null;

  const box = element("div", "arcs");
  const line = element("div", "arcs-line");
  const above = document.createElementNS(SVG, "svg");
  const below = document.createElementNS(SVG, "svg");
  const letters = element("div", "arcs-letters");
  const readout = element("div", "arcs-readout aside");
  for (const side of [above, below]) {
    side.setAttribute("aria-hidden", "true");
    side.setAttribute("height", HEIGHT);
  }
  letters.setAttribute("role", "group");
  letters.tabIndex = 0;
  readout.setAttribute("aria-live", "polite");
  line.append(above, letters, below);
  box.append(line);
  root.append(box, readout);
  downloadButtons(root, {
    name: () => latest.data.name,
    drawn: box,
    columns: () => {
      const pairs = places().flatMap((row) => places().map((column) => [row, column])).filter(([row, column]) => share(row, column));
      return {
        looking: pairs.map(([row]) => tokens()[row]),
        "looking no.": pairs.map(([row]) => row + 1),
        "looked at": pairs.map(([, column]) => tokens()[column]),
        "looked at no.": pairs.map(([, column]) => column + 1),
        share: pairs.map(([row, column]) => share(row, column)),
      };
    },
  });

  const tokens = () => latest.data.tokens;
  const share = (row, column) => bytes[row * tokens().length + column] / 255;
  const places = () => [...tokens().keys()];
  let centres = [];

  function arc(side, from, to, value, color, strength) {
    const [a, b] = [centres[from], centres[to]];
    const rise = Math.min(HEIGHT - 4, 10 + Math.abs(a - b) * 0.4) * 1.3;
    const up = side === above;
    const base = up ? HEIGHT : 0;
    const bend = up ? HEIGHT - rise : rise;
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", `M ${a} ${base} C ${a} ${bend}, ${b} ${bend}, ${b} ${base}`);
    path.setAttribute("stroke", color);
    path.setAttribute("stroke-width", (0.8 + 3.2 * value).toFixed(2));
    path.setAttribute("opacity", strength.toFixed(2));
    side.append(path);
  }

  function named(list) {
    return list.map(([place, value]) => `${quoted(tokens()[place])} ${formatPercent(value)}`).join(", ");
  }

  function draw() {
    const palette = currentPalette(root, latest.data.palettes);
    const marks = [...letters.children];
    centres = marks.map((mark) => mark.offsetLeft + mark.offsetWidth / 2);
    for (const side of [above, below]) {
      side.replaceChildren();
      side.setAttribute("width", letters.scrollWidth);
    }
    const focus = pointed;
    marks.forEach((mark, place) => {
      mark.classList.toggle("picked", place === latest.data.row);
      mark.classList.toggle("pointed", place === focus);
      mark.style.setProperty("--looks", focus === null ? 0 : share(focus, place));
      mark.style.setProperty("--seen", focus === null ? 0 : share(place, focus));
    });
    if (focus === null) {
      for (const row of places()) {
        const others = places().filter((column) => column !== row).map((column) => [column, share(row, column)]);
        const peak = Math.max(LEAST, ...others.map(([, value]) => value));
        for (const [column, value] of others) {
          if (value === peak || value >= STRONG) arc(above, row, column, value, palette.accent, 0.12 + 0.6 * value);
        }
      }
      readout.textContent = latest.data.hint;
      return;
    }
    const outgoing = places().map((place) => [place, share(focus, place)]).sort((a, b) => b[1] - a[1]);
    const incoming = places().filter((place) => place !== focus).map((place) => [place, share(place, focus)]).sort((a, b) => b[1] - a[1]);
    for (const [place, value] of outgoing) {
      if (place !== focus && value >= LEAST) arc(above, focus, place, value, palette.accent, 0.25 + 0.75 * value);
    }
    for (const [place, value] of incoming) if (value >= LEAST) arc(below, place, focus, value, palette.validation, 0.25 + 0.75 * value);
    const targets = outgoing.filter(([, value], at) => at === 0 || value >= 0.05).slice(0, 3);
    const sources = incoming.filter(([, value]) => value >= 0.05).slice(0, 3);
    const itself = targets.map(([place, value]) => (place === focus ? _("itself {share}", { share: formatPercent(value) }) : `${quoted(tokens()[place])} ${formatPercent(value)}`)).join(", ");
    const sentence = latest.data.flow ? _("{token} holds {shares}.") : _("{token} looks at {shares}.");
    const others = sources.length ? _("Most from others: {shares}.", { shares: named(sources) }) : latest.data.nobody;
    readout.replaceChildren(...withElements(sentence, { token: element("b", "", quoted(tokens()[focus])), shares: itself }), ` ${others}`);
  }

  function point(place) {
    if (place === pointed) return;
    pointed = place;
    draw();
  }

  const placeOf = (event) => [...letters.children].indexOf(event.target.closest(".arcs-letter"));
  const pick = (place) => latest.setTriggerValue("picked", place);
  letters.addEventListener("pointerover", (event) => placeOf(event) >= 0 && point(placeOf(event)));
  letters.addEventListener("pointerleave", () => point(null));
  letters.addEventListener("click", (event) => placeOf(event) >= 0 && pick(placeOf(event)));
  letters.addEventListener("blur", () => point(null));
  letters.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && pointed !== null) pick(pointed);
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (!step) return;
    event.preventDefault();
    point(Math.max(0, Math.min(tokens().length - 1, (pointed ?? latest.data.row) + step)));
  });
  const resized = new ResizeObserver(() => bytes && draw());
  resized.observe(box);

  return {
    update(next) {
      const before = latest === next ? "" : latest.data.tokens.join("\n");
      latest = next;
      if (next.data.bytes !== encoded) {
        encoded = next.data.bytes;
        bytes = bytesFromBase64(encoded);
      }
      if (!letters.childElementCount || before !== next.data.tokens.join("\n")) {
        pointed = null;
        letters.replaceChildren(...next.data.tokens.map((token) => element("span", "arcs-letter", token)));
        letters.setAttribute("aria-label", _("{text}; the arrow keys move from letter to letter", { text: next.data.tokens.join("") }));
      }
      draw();
    },
    destroy: () => resized.disconnect(),
  };
}

function heatmaps(root, first) {
  let latest = first;
  let encoded = null;
  let bytes = null;
  const place = element("div");
  root.append(place);
  downloadButtons(root, { name: () => "attention", drawn: place, columns: () => bytes && attentionColumns({ ...latest.data, bytes, causal: false }) });
  const board = attentionHeatmaps(place, { onPick: (layer, head) => latest.setTriggerValue("head", [layer, head]) });
  return {
    update(next) {
      latest = next;
      const { data } = next;
      if (data.bytes !== encoded) {
        encoded = data.bytes;
        bytes = bytesFromBase64(encoded);
      }
      board.show({ ...data, bytes, palette: currentPalette(root, data.palettes), fade: 250 });
    },
    destroy: () => board.destroy(),
  };
}

/* data: { tokens: [shown], bytes (base64 uint8 T*T, 255 = all attention), row: the token to begin with, palettes } */
function reader(root) {
  let outgoing = null;
  const place = element("div");
  root.append(place);
  const reader = attentionReader(place);
  downloadButtons(root, { name: () => "attention-arcs", drawn: place, columns: () => attentionColumns({ layers: 1, heads: 1, length: outgoing.tokens.length, ...outgoing, causal: false }) });
  return {
    update({ data }) {
      outgoing = { tokens: data.tokens, bytes: bytesFromBase64(data.bytes) };
      reader.show({ ...data, ...outgoing, palette: currentPalette(root, data.palettes) });
    },
    destroy: reader.destroy,
  };
}
