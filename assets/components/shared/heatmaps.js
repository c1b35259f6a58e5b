/* All heads of all layers as small heatmaps on one canvas. Shared by the board of a finished model and the live board.

   attentionHeatmaps(root, { onPick(layer, head), large }) -> { show(state), destroy() }
   large: one head, drawn as large as there is room, with its tokens along both sides.
   state: { layers, heads, length, tokens, bytes (uint8 layers*heads*length*length, 255 = all attention), palette,
            selected: [layer, head] | null, fade: milliseconds, height: a function that returns the pixels for all layers, if
            limited, first: [layer, head] of the first square, [0, 0] by default } */
import { _, ngettext, colorTable, element, quoted } from "./mount.js";

export function attentionHeatmaps(root, { onPick = null, large = false } = {}) {
  const canvas = element("canvas", "heads-canvas", [], onPick ? { tabindex: 0 } : {});
  const tip = element("div", "heads-tip aside");
  const box = element("div", "heads", [element("div", "heads-scroll sideways", canvas), tip]);
  tip.hidden = true;
  root.appendChild(box);
  canvas.redraw = paintOn;

  const context = canvas.getContext("2d");
  const sheet = document.createElement("canvas"); // every head at one pixel per cell, scaled up when drawn
  let state = null;
  let from = null; // the bytes we are fading from
  let shown = null; // the bytes on screen
  let grid = null; // the places of the heads
  let hover = null;
  let focus = null;
  let frame = 0;

  function layout() {
    const width = box.clientWidth;
    if (!width || !state) return false;
    if (large) return layoutLarge(width);
    const narrow = width < 460;
    const label = narrow ? 24 : 60;
    const gap = narrow ? 6 : width / state.heads < 70 ? 5 : 12;
    const top = narrow ? 16 : 20;
    const room = (width - label - gap * (state.heads - 1) - 2) / state.heads;
    const high = state.height ? (state.height() - top - gap * (state.layers - 1) - 2) / state.layers : Infinity;
    const limit = Math.max(18, Math.min(high, state.layers > 8 ? 72 : state.layers > 3 ? 112 : 150));
    let size = Math.max(Math.min(26, limit), Math.min(limit, Math.floor(room)));
    // A whole number of device pixels per cell keeps the pattern crisp; use it if that costs little size.
    const ratio = window.devicePixelRatio || 1;
    const crisp = (Math.floor((size * ratio) / state.length) * state.length) / ratio;
    if (crisp >= size * 0.8) size = crisp;
    // Few heads on a wide card are spread a little, at most about a third of a head apart.
    const spread = state.heads > 1 ? (width - label - 2 - size * state.heads) / (state.heads - 1) : gap;
    const across = size + Math.max(gap, Math.min(size * 0.35, spread));
    const down = size + gap;
    grid = { label, size, across, down, top, narrow };
    const wide = Math.max(width, Math.ceil(label + across * (state.heads - 1) + size + 2));
    return sizeCanvas(wide, Math.ceil(top + down * (state.layers - 1) + size + 2));
  }

  /* A square with room for the tokens beside and above it. */
  function layoutLarge(width) {
    const longest = Math.min(8, Math.max(...state.tokens.map((token) => token.length)));
    const room = Math.min(560, width - 24, 24 * state.length + 30);
    const font = Math.max(6, Math.min(14, (room / state.length) * 0.8));
    const label = Math.ceil(longest * font * 0.62 + 8);
    const size = Math.max(60, Math.min(room, width - label - 4));
    grid = { label, size, across: size, down: size, top: longest > 1 ? label : font + 8, narrow: true, font };
    return sizeCanvas(label + size + 3, Math.ceil(grid.top + size + 3));
  }

  function sizeCanvas(wide, high) {
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
      canvas.style.width = `${wide}px`;
      canvas.style.height = `${high}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return true;
  }

  const placeOf = (layer, head) => [grid.label + 1 + head * grid.across, grid.top + 1 + layer * grid.down];

  function paintSheet() {
    const { layers, heads, length } = state;
    sheet.width = heads * length;
    sheet.height = layers * length;
    const image = context.createImageData(sheet.width, sheet.height);
    const pixels = image.data;
    let index = 0;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        for (let row = 0; row < length; row++) {
          let pixel = ((layer * length + row) * sheet.width + head * length) * 4;
          for (let column = 0; column < length; column++, pixel += 4) {
            const level = state.levels[shown[index++]] * 3;
            pixels[pixel] = state.table[level];
            pixels[pixel + 1] = state.table[level + 1];
            pixels[pixel + 2] = state.table[level + 2];
            pixels[pixel + 3] = 255;
          }
        }
      }
    }
    sheet.getContext("2d").putImageData(image, 0, 0);
  }

  function paint() {
    if (state && layout()) paintOn(context);
  }

  function paintOn(context) {
    const { layers, heads, length, palette } = state;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.font = `12.5px ${getComputedStyle(box).fontFamily || "sans-serif"}`;
    context.textBaseline = "middle";
    context.imageSmoothingEnabled = grid.size * (window.devicePixelRatio || 1) < length;
    for (let layer = 0; layer < layers; layer++) {
      const [, top] = placeOf(layer, 0);
      context.fillStyle = palette.muted;
      context.textAlign = "left";
      if (!large) context.fillText(grid.narrow ? String(layer + 1) : _("layer {layer}", { layer: layer + 1 }), 1, top + grid.size / 2);
      for (let head = 0; head < heads; head++) {
        const [left, y] = placeOf(layer, head);
        if (layer === 0 && !large) {
          context.textAlign = "center";
          context.fillStyle = palette.muted;
          context.fillText(heads <= 6 && grid.size > 60 ? _("head {head}", { head: head + 1 }) : String(head + 1), left + grid.size / 2, 8);
        }
        context.save();
        context.beginPath();
        context.roundRect(left, y, grid.size, grid.size, 4);
        context.clip();
        context.drawImage(sheet, head * length, layer * length, length, length, left, y, grid.size, grid.size);
        context.restore();
        const picked = state.selected && state.selected[0] === layer && state.selected[1] === head;
        const pointed = hover && hover.layer === layer && hover.head === head;
        const focused = focus && focus[0] === layer && focus[1] === head;
        context.beginPath();
        context.roundRect(left - 0.5, y - 0.5, grid.size + 1, grid.size + 1, 4.5);
        context.strokeStyle = picked || pointed || focused ? palette.accent : palette.grid;
        context.lineWidth = picked ? 2.5 : pointed || focused ? 1.5 : 1;
        context.stroke();
        if (large) writeTokens(context, left, y);
      }
    }
  }

  function writeTokens(context, left, top) {
    const cell = grid.size / state.length;
    const every = Math.ceil(8 / cell); // names that would overlap are left out
    const upright = Math.max(...state.tokens.map((token) => token.length)) > 1;
    context.font = `${grid.font}px ${getComputedStyle(box).getPropertyValue("--st-code-font") || "monospace"}`;
    state.tokens.forEach((token, index) => {
      if (index % every) return;
      const at = (index + 0.5) * cell;
      const short = token.length > 8 ? `${token.slice(0, 7)}…` : token;
      context.fillStyle = hover && hover.row === index ? state.palette.accent : state.palette.text;
      context.textAlign = "right";
      context.fillText(short, left - 6, top + at);
      context.fillStyle = hover && hover.column === index ? state.palette.accent : state.palette.text;
      context.save();
      context.translate(left + at, top - 5);
      if (upright) context.rotate(-Math.PI / 2);
      context.textAlign = upright ? "left" : "center";
      context.textBaseline = upright ? "middle" : "bottom";
      context.fillText(short, 0, 0);
      context.restore();
    });
  }

  function fade(start, length) {
    const share = length ? Math.min(1, (performance.now() - start) / length) : 1;
    if (share >= 1 || !from || from.length !== state.bytes.length) {
      shown = state.bytes;
      from = null;
    } else {
      const eased = share * (2 - share);
      if (shown === state.bytes || !shown || shown.length !== from.length) shown = new Uint8Array(from.length);
      for (let index = 0; index < from.length; index++) {
        shown[index] = from[index] + (state.bytes[index] - from[index]) * eased;
      }
    }
    paintSheet();
    paint();
    showTip();
    frame = share < 1 && from ? requestAnimationFrame(() => fade(start, length)) : 0;
  }

  function show(next) {
    const table = colorTable(next.palette.sequential);
    // Small shares matter here, so lightness is the share to the power 0.6; the hover text has the number.
    const levels = Uint8Array.from({ length: 256 }, (_level, value) => Math.round(255 * (value / 255) ** 0.6));
    const same = state && state.bytes === next.bytes;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden;
    const canFade = state && !same && next.fade && !still && next.bytes.length <= 200000 && shown
      && shown.length === next.bytes.length && state.tokens.join("\n") === next.tokens.join("\n");
    from = canFade ? Uint8Array.from(shown) : null;
    if (canFade) shown = Uint8Array.from(shown); // a copy, because the fade writes into it and the old bytes are not ours
    state = { selected: null, fade: 0, first: [0, 0], ...next, table, levels };
    const { layers, heads, tokens } = state;
    canvas.setAttribute("role", "img"); // not earlier: before this it has no name
    canvas.setAttribute("aria-label", ngettext("Attention of {layers} layers with {heads} head each, on: {text}", "Attention of {layers} layers with {heads} heads each, on: {text}", heads, { layers, heads, text: tokens.join("") }));
    cancelAnimationFrame(frame);
    fade(performance.now(), canFade ? state.fade : 0);
  }

  function headAt(event) {
    if (!grid || !state) return null;
    const bounds = canvas.getBoundingClientRect();
    const x = event.clientX - bounds.left - grid.label - 1;
    const y = event.clientY - bounds.top - grid.top - 1;
    const head = Math.floor(x / grid.across);
    const layer = Math.floor(y / grid.down);
    const inside = x - head * grid.across < grid.size && y - layer * grid.down < grid.size;
    if (!inside || head < 0 || layer < 0 || head >= state.heads || layer >= state.layers) return null;
    const cell = grid.size / state.length;
    const clamp = (value) => Math.max(0, Math.min(state.length - 1, Math.floor(value)));
    return {
      layer,
      head,
      column: clamp((x - head * grid.across) / cell),
      row: clamp((y - layer * grid.down) / cell),
      x: event.clientX - box.getBoundingClientRect().left,
      y: event.clientY - box.getBoundingClientRect().top,
    };
  }

  /* Describe what the pointer is on. */
  function showTip() {
    tip.hidden = !hover;
    if (!hover || !state) return;
    const { layer, head, row, column } = hover;
    const title = _("Layer {layer}, head {head}", { layer: state.first[0] + layer + 1, head: state.first[1] + head + 1 });
    tip.replaceChildren(element("div", "heads-tip-title", title), element("div", "", attentionInWords(state, layer, head, row, column)));
    const width = box.clientWidth;
    tip.style.left = `${Math.max(0, Math.min(width - tip.offsetWidth, hover.x + 14))}px`;
    const most = state.height ? Math.max(state.height(), canvas.offsetHeight) : Infinity;
    const below = hover.y + 18;
    tip.style.top = `${below + tip.offsetHeight > most ? Math.max(0, hover.y - tip.offsetHeight - 10) : below}px`;
  }

  canvas.addEventListener("pointermove", (event) => {
    const next = headAt(event);
    const moved = (next?.layer) !== (hover?.layer) || (next?.head) !== (hover?.head);
    hover = next;
    canvas.style.cursor = hover && onPick ? "pointer" : "default";
    if (moved || large) paint();
    showTip();
  });
  canvas.addEventListener("pointerleave", () => {
    hover = null;
    paint();
    showTip();
  });
  function pick(layer, head) {
    if (!onPick) return;
    state.selected = [layer, head];
    paint();
    onPick(layer, head);
  }
  canvas.addEventListener("click", (event) => {
    const place = headAt(event);
    if (place) pick(place.layer, place.head);
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!state || !onPick) return;
    if (move) {
      const [layer, head] = focus || state.selected || [0, 0];
      focus = [
        Math.max(0, Math.min(state.layers - 1, layer + move[0])),
        Math.max(0, Math.min(state.heads - 1, head + move[1])),
      ];
      paint();
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === " ") && focus) {
      pick(...focus);
      event.preventDefault();
    }
  });
  canvas.addEventListener("blur", () => {
    focus = null;
    paint();
  });

  const resizes = new ResizeObserver(() => paint());
  resizes.observe(box);
  return {
    show,
    destroy() {
      cancelAnimationFrame(frame);
      resizes.disconnect();
      box.remove();
    },
  };
}

/* "'e' attends 62% to 'h', 1 token back" */
function attentionInWords({ heads, length, tokens, bytes }, layer, head, row, column) {
  const share = bytes[((layer * heads + head) * length + row) * length + column] / 255;
  const percent = share > 0 && share < 0.01 ? _("under 1%") : `${Math.round(share * 100)}%`;
  const back = row - column;
  const filled = { token: quoted(tokens[row]), share: percent, other: quoted(tokens[column]) };
  if (back < 0 && share === 0) return _("{token} cannot attend ahead to {other}", filled);
  if (!back) return _("{token} attends {share} to {other}, itself", filled);
  if (back > 0) return ngettext("{token} attends {share} to {other}, {count} token back", "{token} attends {share} to {other}, {count} tokens back", back, filled);
  return ngettext("{token} attends {share} to {other}, {count} token ahead", "{token} attends {share} to {other}, {count} tokens ahead", -back, filled);
}

/* Columns for `downloadButtons`, with a row for every attention weight of every head except those that a causal mask makes 0.
   first: the layer and head of the first one. */
export function attentionColumns({ layers, heads, length, tokens, bytes, first = [0, 0] }) {
  const looksAhead = bytes.some((weight, at) => weight && at % length > Math.floor(at / length) % length);
  const columns = { layer: [], head: [], looking: [], "looking no.": [], "looked at": [], "looked at no.": [], attention: [] };
  let index = 0;
  for (let layer = 0; layer < layers; layer++) for (let head = 0; head < heads; head++) for (let row = 0; row < length; row++) for (let column = 0; column < length; column++, index++) {
    if (column > row && !looksAhead) continue;
    const line = [first[0] + layer + 1, first[1] + head + 1, tokens[row], row + 1, tokens[column], column + 1, bytes[index] / 255];
    Object.values(columns).forEach((values, at) => values.push(line[at]));
  }
  return columns;
}
