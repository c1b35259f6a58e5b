/* The views that follow the time machine's bar; data.view selects one. */
import { attentionReader } from "../shared/arcs.js";
import { columnsOf } from "../shared/download.js";
import { embeddingMap, mapColumns } from "../shared/embedding_map.js";
import { formatPercent } from "../shared/format.js";
import { attentionHeatmaps, attentionColumns } from "../shared/heatmaps.js";
import { _, ngettext, colorTable, element, textColorOn, quoted, shadeOf, showControlCharacters, untrustedText } from "../shared/mount.js";
import { timeMachineView } from "./clock.js";
import { model } from "./model.js";

const VIEWS = { model, heads, head, nextToken, lens, byBlock, text, map, directions };

export default (component) => timeMachineView(component, VIEWS[component.data.view]);

/* All heads at the current step; a click opens one, in the browser at once and on the page shortly after. */
function heads(root, clock, report) {
  const pick = (layer, head) => {
    clock.selectHead([layer, head]);
    report("head", [layer, head]);
  };
  const board = attentionHeatmaps(root, { onPick: pick });
  return {
    words: ({ cut, attention }) => cut || attention?.all,
    draw: ({ attention }, palette) =>
      attention && board.show({ ...attention, selected: clock.head, palette, fade: 250 }),
    name: () => "attention",
    columns: ({ attention }) => attention && attentionColumns(attention),
    destroy: board.destroy,
  };
}

/* One head at the current step, large, and as arcs from one token at a time. */
function head(root, clock) {
  const [arcs, place] = [element("div", "snapshot-arcs"), element("div")];
  root.append(arcs, place);
  const reader = attentionReader(arcs);
  const board = attentionHeatmaps(place, { large: true });
  let shown = null; // the frame and head of the current bytes
  let bytes = null;
  // The other model of a comparison may have fewer heads.
  const has = ({ layers, heads }) => clock.head[0] < layers && clock.head[1] < heads;
  const placeIn = ({ heads }) => clock.head[0] * heads + clock.head[1];
  return {
    words: ({ attention }) => (attention && has(attention) ? _("On this prompt: {words}", { words: attention.words[placeIn(attention)].replace(/^Of its/, "of its") }) : _("This model has no such head.")),
    draw({ attention }, palette) {
      arcs.hidden = place.hidden = !attention || !has(attention);
      if (arcs.hidden) return;
      const at = placeIn(attention);
      if (shown !== `${clock.step} ${at}` || bytes.frame !== attention) {
        shown = `${clock.step} ${at}`;
        const size = attention.length ** 2;
        bytes = attention.bytes.slice(at * size, (at + 1) * size);
        bytes.frame = attention;
      }
      const { tokens, length } = attention;
      reader.show({ tokens, bytes, row: length - 1, palette });
      board.show({ layers: 1, heads: 1, length, tokens, bytes, palette, first: clock.head, fade: 250 });
    },
    name: () => `attention-${clock.head[0] + 1}-${clock.head[1] + 1}`,
    columns: ({ attention }) => attention && has(attention) && attentionColumns({ ...attention, layers: 1, heads: 1, bytes, first: clock.head }),
    destroy() {
      reader.destroy();
      board.destroy();
    },
  };
}

/* The next token's probabilities at the current step: bars that grow, shrink and overtake each other. */
function nextToken(root) {
  const HEIGHT = 27; // pixels of a row
  const box = element("div", "bars");
  root.append(box);
  let rows = new Map(); // token -> its row
  function rowOf(token) {
    const row = element("div", "bars-row", [element("span", "bars-name", token), ...bar()]);
    box.append(row);
    return row;
  }
  return {
    words: (frame) => frame.next?.words,
    name: () => "next",
    columns: ({ next }) => next && { token: next.guesses.map(([token]) => token), probability: next.guesses.map(([, , share]) => share) },
    draw({ next }, palette) {
      box.hidden = !next;
      if (!next) return;
      const largest = Math.max(0.25, next.guesses[0][2]);
      box.style.height = `${HEIGHT * next.guesses.length}px`;
      const now = new Map();
      next.guesses.forEach(([token, kind, share], index) => {
        const row = rows.get(token) || rowOf(token);
        now.set(token, row);
        row.style.transform = `translateY(${HEIGHT * index}px)`;
        row.querySelector(".bars-fill").style.cssText = `width: ${Math.max(0.4, (100 * share) / largest)}%; background: ${palette.kinds[kind] || palette.muted}`;
        row.lastChild.textContent = formatPercent(share, "< 0.1%");
      });
      for (const [token, row] of rows) if (!now.has(token)) row.remove();
      rows = now;
    },
  };
}

/* The logit lens at the current step: a row for each stage, a column for each of the last letters. */
function lens(root) {
  const grid = element("div", "lens");
  const scroller = element("div", "sideways", grid);
  root.append(scroller);
  let shape = "";
  let cells = [];
  function build({ tokens, truth, rows }) {
    grid.style.gridTemplateColumns = `max-content repeat(${tokens.length}, minmax(25px, max-content))`;
    const line = (name, texts, className) => [element("span", "lens-name", name), ...texts.map((text) => element("span", className, text))];
    cells = rows.map((row) => row.map(() => element("span", "lens-cell")));
    grid.replaceChildren(
      ...line("", tokens, "lens-token"),
      ...cells.flatMap((row, stage) => [stageName(stage), ...row]),
      ...line(_("actual"), [...truth, "?"], "lens-truth"),
    );
    scroller.style.setProperty("--held", `${grid.firstChild.offsetWidth}px`);
    scroller.scrollLeft = scroller.scrollWidth;
  }
  return {
    words: (frame) => frame.lens?.all,
    name: () => "logit-lens",
    columns({ lens }) {
      if (!lens) return null;
      const cells = lens.rows.flatMap((row, stage) => row.map(([token, share], place) => [stage ? `after block ${stage}` : "embedding", place + 1, lens.tokens[place], token, share, lens.truth[place] ?? ""]));
      return columnsOf(["stage", "place", "read", "says", "probability", "what came"], cells);
    },
    draw({ lens }, palette) {
      grid.hidden = !lens;
      if (!lens) return;
      const table = colorTable(palette.sequential);
      const next = JSON.stringify([lens.tokens, lens.rows.length]);
      if (next !== shape) build(lens);
      shape = next;
      lens.rows.forEach((row, stage) => row.forEach(([token, share], place) => {
        const cell = cells[stage][place];
        cell.classList.toggle("lens-stable", stage === lens.stable_from[place]);
        const level = Math.round(255 * share ** 0.6);
        if (cell.textContent !== token) cell.textContent = token;
        const color = table.slice(level * 3, level * 3 + 3);
        cell.style.background = `rgb(${color.join(",")})`;
        cell.style.color = textColorOn(color);
        const filled = { read: quoted(lens.tokens[place]), block: stage, token: quoted(token), share: formatPercent(share) };
        cell.title = stage ? _("After {read}, block {block}: {token}, probability {share}", filled) : _("After {read}, embedding only: {token}, probability {share}", filled);
      }));
    },
  };
}

/* The next token as predicted after each stage of the model at the current step: from the embedding up to the last block. */
function byBlock(root) {
  const box = element("div", "by-block");
  root.append(box);
  let rows = [];
  const stages = ({ rows }) => rows.map((row) => row.at(-1)); // at the prompt's last token
  return {
    words: (frame) => frame.lens?.words,
    name: () => "next-by-block",
    columns: ({ lens }) => lens && { stage: [...stages(lens).keys()].map((stage) => (stage ? `after block ${stage}` : "embedding")), says: stages(lens).map(([token]) => token), probability: stages(lens).map(([, share]) => share) },
    draw({ lens }, palette) {
      box.hidden = !lens;
      if (!lens) return;
      const predictions = stages(lens);
      if (rows.length !== predictions.length) {
        rows = predictions.map((_row, stage) => element("div", "by-block-row", [stageName(stage), element("span", "by-block-token"), ...bar()]));
        box.replaceChildren(...rows);
      }
      const final = predictions.at(-1)[0];
      predictions.forEach(([token, share], stage) => {
        const [, name, track, percentage] = rows[stage].children;
        name.textContent = token;
        name.classList.toggle("lens-stable", stage === lens.stable_from.at(-1));
        track.firstChild.style.cssText = `width: ${Math.max(0.4, 100 * share)}%; background: ${token === final ? palette.accent : palette.lines}`;
        percentage.textContent = formatPercent(share);
      });
    },
  };
}

const stageName = (stage) => element("span", "lens-name", stage ? _("after {block}", { block: stage }) : _("embedding"));
const bar = () => [element("span", "bars-track", element("span", "bars-fill")), element("span", "bars-share")];

/* The greedy continuation at the current step, shaded by probability. */
function text(root) {
  const text = untrustedText("div", "snapshot-text");
  root.append(text);
  return {
    words({ written }, { unit }) {
      if (!written?.length) return "";
      const sure = written.reduce((sum, [, share]) => sum + share, 0) / written.length;
      const filled = { share: formatPercent(sure), count: new Set(written.map(([, , token]) => token)).size };
      return unit === "tokens"
        ? ngettext("Average probability {share}; {count} different token.", "Average probability {share}; {count} different tokens.", filled.count, filled)
        : ngettext("Average probability {share}; {count} different character.", "Average probability {share}; {count} different characters.", filled.count, filled);
    },
    name: () => "continuation",
    columns: ({ written }) => written && { token: written.map(([, , token]) => token), probability: written.map(([, share]) => share) },
    draw({ prompt, written }, palette) {
      const table = colorTable(palette.sequential);
      const marks = (written || []).map(([part, share]) => {
        const mark = element("span", part ? "snapshot-letter" : "snapshot-letter part", part === "\n" ? "⏎\n" : showControlCharacters(part));
        mark.style.backgroundColor = shadeOf(table, share);
        mark.title = formatPercent(share);
        return mark;
      });
      text.replaceChildren(element("span", "snapshot-prompt", showControlCharacters(prompt)), ...marks);
    },
  };
}

/* The embeddings at the current step, with short trails of their places at the saved steps before. data: { height } */
function map(root, clock) {
  const TRAIL = 5; // saved steps
  const map = embeddingMap(root);
  return {
    words: (frame) => frame.map?.words,
    name: () => "letters",
    columns: ({ map }) => map && mapColumns(map),
    draw(frame, palette, data) {
      map.stage.style.height = `${data.height}px`;
      if (!frame.map) return;
      const at = clock.savedSteps.indexOf(frame.step);
      const before = clock.savedSteps.slice(Math.max(0, at - TRAIL), at).map((step) => clock.frames.get(step)?.map?.xy);
      const unknown = before.lastIndexOf(undefined); // a trail has no holes
      map.show(frame.map, palette, before.slice(unknown + 1));
    },
    destroy: map.destroy,
  };
}

/* A map of vectors at the current step, with short trails. All steps were laid out together, in Python.
   data: as for clock.js, and { steps, xy: [[[x, y] in thousandths] of each step], words_of: [of each step], tokens, kinds,
           axes: { across, up: [[place, name]] } or null, chosen, near, height, name, trail: of how many saved steps } */
function directions(root, _clock, report) {
  const map = embeddingMap(root, { onPick: (index) => report("picked", index) });
  let source = null;
  let maps = []; // of each step
  const placeOf = (step, { steps }) => Math.max(0, steps.findLastIndex((known) => known <= step));
  const open = (data) => {
    if (source === data) return;
    source = data;
    const { tokens, kinds, axes, chosen, near } = data;
    maps = data.xy.map((points) => ({ tokens, kinds, axes, chosen, near, xy: points.map(([x, y]) => [x / 1000, y / 1000]) }));
  };
  return {
    words: ({ step }, data) => data.words_of[placeOf(step, data)],
    name: () => source.name,
    columns: ({ step }) => mapColumns(maps[placeOf(step, source)]),
    draw({ step }, palette, data) {
      map.stage.style.height = `${data.height}px`;
      open(data);
      const at = placeOf(step, data);
      map.show(maps[at], palette, maps.slice(Math.max(0, at - data.trail), at).map(({ xy }) => xy));
    },
    destroy: map.destroy,
  };
}
