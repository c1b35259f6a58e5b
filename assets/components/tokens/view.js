/* A text as tokens above their ids, and a batch as its training examples; data.view selects one. */
import { _, button, element, mountView, ngettext, quoted } from "../shared/mount.js";

const VIEWS = { strip, pairs };

export default (component) => mountView(component, VIEWS);

/* A text as its tokens, each above its id. Pointing at one lights up all equal ones, which have the same id.
   data: { tokens: [shown], ids: [number, or null if the text has no such token], kinds, bytes: [in hexadecimal] or [] } */
function strip(root, component) {
  const strip = element("div", "strip", [], { role: "list", tabindex: 0 });
  const readout = element("div", "hint strip-readout");
  root.append(strip, readout);

  const light = (id) => {
    let count = 0;
    for (const chip of strip.querySelectorAll(".chip")) {
      const same = id !== null && chip.dataset.id === id;
      chip.classList.toggle("same", same);
      count += same;
    }
    return count;
  };

  strip.addEventListener("pointerover", (event) => {
    const chip = event.target.closest(".chip");
    if (!chip) return;
    const count = light(chip.dataset.id);
    const filled = { token: quoted(chip.firstChild.textContent), number: chip.dataset.id };
    readout.textContent =
      chip.classList.contains("unknown") ? _("{token} does not occur in this text, so it has no token id.", filled)
      : ngettext("{token} is always number {number}; it occurs here once.", "{token} is always number {number}; it occurs here {count} times.", count, filled);
  });
  strip.addEventListener("pointerleave", () => {
    light(null);
    readout.textContent = component.data.note;
  });

  return {
    update() {
      const { data, palette } = component;
      strip.setAttribute("aria-label", _("Tokens: {tokens}. Their numbers: {numbers}", { tokens: data.tokens.join(" "), numbers: data.ids.join(" ") }));
      strip.replaceChildren();
      data.tokens.forEach((token, index) => {
        const id = data.ids[index];
        const chip = tokenChip(token, id === null ? "none" : String(id), data.kinds[index], palette);
        chip.setAttribute("role", "listitem");
        if (id === null) chip.classList.add("unknown");
        if (data.bytes[index]) chip.append(element("span", "chip-id chip-bytes", data.bytes[index]));
        strip.append(chip);
        if (token === "⏎" && index) strip.append(element("span", "strip-break"));
      });
      readout.textContent = data.note;
    },
  };
}

/* A batch, and the examples in one of its rows: each start of the row is a context, the token after it the target.
   data: { x: [[id]], y: [[id]], tokens: {id: shown}, kinds: {id: kind} } */
function pairs(root, component) {
  const batch = element("div", "pairs-batch sideways");
  const examples = element("div", "pairs-examples sideways");
  root.append(element("div", "pairs", [batch, examples]));
  let { data, palette } = component;
  let chosen = 0;

  const chip = (id) => tokenChip(data.tokens[id], String(id), data.kinds[id], palette);

  function drawBatch() {
    batch.replaceChildren(element("div", "hint", ngettext("The batch: {count} sequence of {length} tokens", "The batch: {count} sequences of {length} tokens", data.x.length, { length: data.x[0].length })));
    data.x.forEach((ids, row) => {
      const sequence = button("pairs-sequence", "", () => {
        chosen = row;
        [...batch.querySelectorAll("button")].forEach((other, index) => {
          other.setAttribute("aria-pressed", String(index === row));
        });
        drawExamples();
      });
      sequence.setAttribute("aria-pressed", String(row === chosen));
      sequence.setAttribute("aria-label", _("Sequence {piece}: {text}", { piece: row + 1, text: ids.map((id) => data.tokens[id]).join("") }));
      sequence.append(...ids.map(chip));
      batch.append(sequence);
    });
  }

  function drawExamples() {
    const ids = data.x[chosen];
    examples.replaceChildren(element("div", "hint", ngettext("In sequence {piece}: {count} training example", "In sequence {piece}: {count} training examples", ids.length, { piece: chosen + 1 })));
    ids.forEach((_id, index) => {
      const context = element("span", "pairs-context", ids.slice(0, index + 1).map(chip));
      const target = chip(data.y[chosen][index]);
      target.classList.add("target");
      examples.append(element("div", "pairs-line", [context, element("span", "pairs-arrow", "→"), target]));
    });
  }

  return {
    update() {
      if (component.data.x.join() !== data.x.join()) chosen = 0;
      ({ data, palette } = component);
      drawBatch();
      drawExamples();
    },
  };
}

/* A token as it is drawn everywhere: in the color of its kind, as displayed (a newline as ⏎), never as HTML. */
function tokenChip(visible, id, kind, palette) {
  const chip = element("span", "chip", [element("span", "chip-token", visible), element("span", "chip-id", id)]);
  chip.style.setProperty("--kind", palette.kinds[kind] || palette.muted);
  chip.dataset.id = id;
  return chip;
}
