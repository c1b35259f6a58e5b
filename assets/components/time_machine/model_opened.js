/* One part of the model, opened in place: its tensors with names and shapes, its formula, the code that computes it, and the
   arithmetic of one number. A click on a row chooses a token, a click on a cell the number to work out. */
import { formatSigned } from "../shared/format.js";
import { _, bytesFromBase64, button, colorTable, element, quoted, rgbOf } from "../shared/mount.js";
import { numberStrips } from "../shared/number_strips.js";
import { matrixPlace, paintMatrix, shareColor, signedBytes, signedColor } from "./model_images.js";

/* openedPart(root, { open(place), close(), tips(box) }) -> { show(picture, frame, palette), focus() } */
export function openedPart(root, { open, close, tips: tipsIn }) {
  const back = button("model-back", _("← Whole model"), close);
  back.title = _("Escape leads back, too. Arrow keys: up and down choose the token, left and right the key of a head.");
  const title = element("h2");
  const nearby = element("div", "model-modes");
  const says = element("div", "");
  const formula = element("div", "model-formula");
  const tokens = element("div", "model-tokens", [], { role: "listbox", tabindex: "0", "aria-label": _("Tokens of the prompt") });
  const boxes = element("div", "model-boxes");
  const tensors = element("div", "model-tensors sideways", [tokens, boxes]); // the tokens stay, so that they keep the focus
  const where = element("div", "hint");
  const code = element("pre", "model-code sideways");
  const note = element("div", "hint");
  const role = element("span", "model-role");
  const head = element("div", "model-head", [back, title, role, nearby]);
  root.append(head, says, formula, tensors);
  const tips = tipsIn(root);
  const strips = numberStrips(root);
  root.append(note, where, code);

  function show(picture, frame, palette, roles) {
    const { opened, first } = picture;
    const count = picture.next.length;
    const shown = frame.tokens.slice(-count);
    const name = { embedding: "embedding", output: "output", head: `head-${opened.layer + 1}.${opened.head + 1}`, mlp: `mlp-${opened.layer + 1}` }[opened.part];
    const step = Math.max(7, Math.min(24, Math.floor(360 / count)));
    const high = step * count;
    const place = (row, cell = null) => `${name}@${first + row + 1}${cell === null ? "" : `.${cell + 1}`}`;
    title.textContent = opened.title;
    role.textContent = stepAndRole(frame.step, opened, roles);
    role.title = opened.part === "head" && roles ? _("Scored at some of the saved steps, and on less text than in the view Heads, whose number may differ a little.") : "";
    says.textContent = opened.says;
    formula.textContent = opened.formula;
    note.textContent = opened.note;
    note.hidden = !opened.note;
    where.textContent = _("Computed in {place}", { place: opened.code.where });
    code.textContent = opened.code.text;
    strips.show(opened.steps, palette);
    nearby.replaceChildren(...neighbours(picture.shape, opened).map(([text, part]) => {
      const made = button("", text, () => open(`${part}@${opened.token + 1}`));
      made.setAttribute("aria-pressed", String(part === name));
      return made;
    }));

    tokens.setAttribute("aria-activedescendant", `token-${opened.token - first}`);
    tokens.replaceChildren(...shown.map((token, row) => {
      const made = element("div", "model-token", token);
      made.style.cssText = `left: 0; width: 44px; top: ${row * step}px; height: ${step - 1}px; font-size: ${Math.min(14, step - 2)}px; line-height: ${step - 1}px;`;
      made.id = `token-${row}`;
      made.setAttribute("role", "option");
      made.setAttribute("aria-selected", String(row + first === opened.token));
      made.addEventListener("click", () => open(place(row)));
      return made;
    }));
    tokens.style.height = `${high}px`;
    const drawn = opened.tensors.map((tensor) => {
      const values = signedBytes(tensor.bytes);
      const canvas = matrix(Math.min(260, Math.max(90, tensor.cells * 3)), high, `${tensor.name} ${tensor.shape}`);
      paintMatrix(canvas, { values, rows: count, cells: tensor.cells, table: colorTable(palette.diverging), color: signedColor, line: step >= 9 ? rgbOf(palette.surface) : null });
      tips.attach(canvas, (event) => {
        const [row, cell] = matrixPlace(canvas, event, count, tensor.cells);
        const number = Math.floor((cell * tensor.size) / tensor.cells) + 1;
        return _("{name} of {token}, number {number}: {value}", { name: tensor.name, token: quoted(shown[row]), number, value: formatSigned((values[row * tensor.cells + cell] / 127) * tensor.most, "") });
      });
      canvas.addEventListener("click", (event) => {
        const [row, cell] = matrixPlace(canvas, event, count, tensor.cells);
        // A number that can be worked out is chosen with its token; otherwise an MLP and the output keep their choice.
        const same = opened.part === "mlp" || opened.part === "output" ? opened.cell : null;
        open(place(row, tensor.places ? tensor.places[row][cell] : same));
      });
      return element("div", "model-tensor", [element("div", "", [element("b", "", tensor.name), element("span", "", tensor.shape)]), canvas]);
    });
    boxes.replaceChildren(...(opened.pattern ? [pattern(picture, high, shown, palette, place)] : []), ...drawn);
  }

  function matrix(width, height, name) {
    const canvas = element("canvas", "", [], { role: "img", "aria-label": name });
    canvas.style.cssText = `width: ${width}px; height: ${height}px;`;
    return canvas;
  }

  function pattern({ opened, first }, high, shown, palette, place) {
    const count = shown.length;
    const canvas = matrix(high, high, _("attention"));
    const values = bytesFromBase64(opened.pattern);
    paintMatrix(canvas, { values, rows: count, cells: count, table: colorTable(palette.sequential), color: shareColor });
    tips.attach(canvas, (event) => {
      const [row, column] = matrixPlace(canvas, event, count, count);
      return _("{token} attends {share} to {other}", { token: quoted(shown[row]), share: `${Math.round((100 * values[row * count + column]) / 255)}%`, other: quoted(shown[column]) });
    });
    canvas.addEventListener("click", (event) => {
      const [row, column] = matrixPlace(canvas, event, count, count);
      open(place(row, first + column));
    });
    return element("div", "model-tensor", [element("div", "", [element("b", "", _("attention")), element("span", "", "(T, T)")]), canvas]);
  }

  return { show, focus: () => tokens.focus({ preventScroll: true }) };
}

/* "Step 503. Role at step 441: previous token (0.52)": a head's role at the last step up to this one at which heads were scored. */
export function stepAndRole(at, { part, layer, head }, roles) {
  const step = at.toLocaleString("en");
  const scored = part === "head" && roles ? roles.steps.filter((each) => each <= at).length : 0;
  if (!scored) return _("Step {step}", { step });
  const [last, words] = [roles.steps[scored - 1], roles.words[scored - 1][layer][head]];
  return last === at ? _("Step {step}. Role: {role}", { step, role: words }) : _("Step {step}. Role at step {scored}: {role}", { step, scored: last.toLocaleString("en"), role: words });
}

/* The place after a key press, from one such as "head-1.2@18.12", or "": up and down choose the token, left and right a head's key. */
export function placeAfter(key, place, { opened, first, next }) {
  const [name, at = ""] = place.split("@");
  const [token = opened.token + 1, cell = opened.cell + 1] = at.split(".").filter(Boolean).map(Number);
  const within = (number) => Math.max(first + 1, Math.min(first + next.length, number));
  const [down, right] = [{ ArrowUp: -1, ArrowDown: 1 }[key], opened.part === "head" && { ArrowLeft: -1, ArrowRight: 1 }[key]];
  if (right) return `${name}@${token}.${within(cell + right)}`;
  if (!down) return "";
  return `${name}@${within(token + down)}${opened.part === "mlp" || opened.part === "output" ? `.${cell}` : ""}`;
}

/* The parts beside the current one: the other heads of its layer, or the other layers. */
function neighbours({ layers, heads }, { part, layer, head }) {
  if (part === "head") {
    const others = Array.from({ length: heads }, (_head, other) => [`${layer + 1}.${other + 1}`, `head-${layer + 1}.${other + 1}`]);
    const below = layer ? [[`↓ ${layer}`, `head-${layer}.${head + 1}`]] : [];
    const above = layer + 1 < layers ? [[`↑ ${layer + 2}`, `head-${layer + 2}.${head + 1}`]] : [];
    return [...below, ...others, ...above];
  }
  if (part === "mlp") return Array.from({ length: layers }, (_layer, other) => [`MLP ${other + 1}`, `mlp-${other + 1}`]);
  return [];
}
