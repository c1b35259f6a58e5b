/* A passage to be guessed on the keyboard. A one-letter field takes the keys, so that a phone shows its keyboard, too.
   The page handles one key at a time; keys pressed meanwhile wait here.
   data: { before, known: [shown], guesses: [how many each took, 0 if it was revealed], left, wrong: [shown], note,
           taken: number of the last key that the page has handled, words: { field, tried } } */
import {element, mountOnce, untrustedText } from "../shared/mount.js";

const ANDROID = /Android/.test(navigator.userAgent);
const COMPOSED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}]/u;

export default (mounting) => mountOnce(mounting, (root, component) => {
  const above = untrustedText("div", "board-above");
  const text = untrustedText("div", "board-text");
  const before = element("span", "board-before"); // the known start of the line that is guessed
  const known = element("span", "board-known");
  const typing = { type: "text", autocomplete: "off", autocapitalize: "off", autocorrect: "off", spellcheck: "false" };
  const field = element("input", "board-field", [], typing);
  const rest = element("span", "board-rest");
  const tried = element("div", "board-tried", [], { "aria-live": "polite" });
  text.append(before, known, field, rest);
  root.append(above, text, tried);
  const keys = []; // pressed but not sent yet
  let sent = null; // { letter, number } of the key that the page has not handled yet
  let number = Date.now(); // of the last key: greater than in any earlier visit
  let again = 0;

  function sendNext() {
    clearTimeout(again);
    sent ??= keys.length ? { letter: keys.shift(), number: ++number } : null;
    field.placeholder = sent ? { "\n": "⏎", " ": "·" }[sent.letter] ?? sent.letter : "";
    if (!sent) return;
    component.setTriggerValue("guess", sent);
    again = setTimeout(sendNext, 4000); // in case it was lost; a key that arrives twice counts once
  }
  function press(letter) {
    field.value = "";
    keys.push(letter);
    if (!sent) sendNext();
  }
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return; // the key belongs to the input method
    if (event.key !== "Enter" && !event.repeat) return;
    event.preventDefault(); // a key that is held down is one guess
    if (!event.repeat) press("\n");
  });
  // An input method shows what is undecided, such as the sounds of a Japanese word or an accent without its letter. Only
  // what it commits is a guess. Android keyboards compose all words; there a letter counts at once, unless the text is in a
  // script that has to be composed.
  const undecided = () => !ANDROID || !/[\p{L}\p{N}]/u.test(field.value) || COMPOSED.test(component.data.before);
  const take = () => [...field.value].forEach(press);
  const widen = () => field.style.setProperty("width", field.value.length > 1 ? `${field.value.length * 1.1}em` : "");
  field.addEventListener("input", (event) => {
    if (!event.isComposing || !undecided()) take();
    widen();
  });
  field.addEventListener("compositionend", () => {
    take();
    widen();
  });
  text.addEventListener("click", () => field.focus());

  return {
    update() {
      const { data } = component;
      if (sent && data.taken === sent.number) {
        sent = null;
        sendNext();
      }
      const line = data.before.lastIndexOf("\n") + 1;
      above.textContent = data.before.slice(0, line).trimEnd();
      before.textContent = data.before.slice(line);
      known.replaceChildren();
      data.known.forEach((letter, index) => {
        const count = data.guesses[index];
        const cell = element("span", "board-letter", [element("span", "board-shown", letter), element("span", "board-count", count ? String(count) : "–")]);
        cell.classList.toggle("board-first", count === 1);
        cell.classList.toggle("board-revealed", !count);
        known.append(cell);
        if (letter === "⏎") known.append(element("br"));
      });
      field.hidden = !data.left;
      field.setAttribute("aria-label", data.words.field);
      rest.textContent = "·".repeat(Math.max(0, data.left - 1));
      tried.replaceChildren();
      if (data.wrong.length) {
        tried.append(element("span", "board-label", data.words.tried));
        for (const letter of data.wrong) tried.append(element("span", "board-wrong", letter));
      }
      if (data.note) tried.append(element("span", "board-note", data.note));
      if (data.left && document.activeElement?.tagName !== "INPUT") field.focus({ preventScroll: true });
    },
    destroy: () => clearTimeout(again),
  };
});
