/* A passage guessed on the keyboard. A field of one letter takes the keys, so that a phone shows its keyboard too.
   data: { before, found: [shown], guesses: [how many each took, 0 if it was told], left, wrong: [shown],
           words: { field, tried }, palettes } */
export default function (component) {
  return mountOnce(component, (root) => {
    const above = element("div", "board-above");
    const text = element("div", "board-text");
    const before = element("span", "board-before"); // what stands in the line that is guessed
    const found = element("span", "board-found");
    const field = element("input", "board-field");
    const rest = element("span", "board-rest");
    const tried = element("div", "board-tried");
    for (const [name, value] of [["type", "text"], ["autocomplete", "off"], ["autocapitalize", "off"], ["autocorrect", "off"], ["spellcheck", "false"]])
      field.setAttribute(name, value);
    tried.setAttribute("aria-live", "polite");
    text.append(before, found, field, rest);
    root.append(above, text, tried);
    let latest = component;
    let waiting = -Infinity; // the time at which a guess was sent that has not been answered yet

    const send = (letter) => {
      field.value = "";
      if (performance.now() - waiting < 1500) return; // one after the other, and never stuck
      waiting = performance.now();
      latest.setTriggerValue("guess", letter);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      send("\n");
    });
    field.addEventListener("input", () => {
      const letter = [...field.value].pop();
      if (letter) send(letter);
    });
    text.addEventListener("click", () => field.focus());

    return {
      update(next) {
        latest = next;
        waiting = -Infinity;
        const { data } = next;
        const palette = currentPalette(root, data.palettes);
        root.style.setProperty("--accent", palette.accent);
        root.style.setProperty("--bad", palette.bad);
        const line = data.before.lastIndexOf("\n") + 1;
        above.textContent = data.before.slice(0, line).trimEnd();
        before.textContent = data.before.slice(line);
        found.replaceChildren();
        data.found.forEach((letter, index) => {
          const count = data.guesses[index];
          const cell = element("span", "board-letter");
          cell.append(element("span", "board-shown", letter), element("span", "board-count", count ? String(count) : "–"));
          cell.classList.toggle("board-first", count === 1);
          cell.classList.toggle("board-told", !count);
          found.append(cell);
          if (letter === "⏎") found.append(element("br"));
        });
        field.hidden = !data.left;
        field.setAttribute("aria-label", data.words.field);
        rest.textContent = "·".repeat(Math.max(0, data.left - 1));
        tried.replaceChildren();
        if (data.wrong.length) {
          tried.append(element("span", "board-label", data.words.tried));
          for (const letter of data.wrong) tried.append(element("span", "board-wrong", letter));
        }
        if (data.left && document.activeElement?.tagName !== "INPUT") field.focus({ preventScroll: true });
      },
      destroy() {},
    };
  });
}
