/* The merges of a byte-pair encoding as an animation: a slider and a play button for all of them, and the tokens of a passage.
   data: { pairs: base64 of uint16, counts: base64 of uint32, how many pairs each merge joined, bytes: of the first 256 tokens,
           names: of all tokens as displayed, passage: its ids after all merges, length: bytes of the whole text, parameters: as
           for `parametersAt`, start: initial number of merges } */
import { mergesAt, parametersAt, placeOf, textsOf, tokensAfter } from "./merges.js";
import { _, arrowStep, button, bytesFromBase64, element, mountOnce, ngettext, quoted, showControlCharacters } from "../shared/mount.js";

export default (mounting) => mountOnce(mounting, (root, component) => {
  const TICK = 100; // milliseconds
  const SECONDS = 30; // for all merges
  let pairs;
  let left; // tokens of the whole text after each number of merges
  let merges = 0;
  let place = 0; // of the slider
  let timer = 0;
  let read = ""; // the last start and pairs

  const slider = element("input", "", [], { type: "range", min: 0, max: 1, step: "any", "aria-label": _("Merges") });
  const play = button("merges-button", "", () => (timer ? stop() : start()));
  const back = button("merges-button", "‹", () => moveTo(merges - 1));
  const on = button("merges-button", "›", () => moveTo(merges + 1));
  back.setAttribute("aria-label", _("One merge back"));
  on.setAttribute("aria-label", _("One merge on"));
  const merge = element("div", "merges-merge");
  const cost = element("div", "merges-cost");
  const text = element("div", "merges-text", [], { dir: "auto", tabindex: 0, role: "group" });
  root.append(element("div", "merges-bar", [play, back, slider, on]), merge, cost, text);

  const total = () => pairs.length / 2;
  const number = (value, digits = 0) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  function start() {
    // Play up to the chosen vocabulary; from beyond it, up to all merges of the text.
    const last = merges > component.data.start ? total() : component.data.start || total();
    if (merges >= last) place = 0;
    timer = setInterval(() => {
      place = Math.min(placeOf(last, total()), place + TICK / 1000 / SECONDS);
      show(Math.min(last, mergesAt(place, total())));
      if (merges >= last) stop();
    }, TICK);
    showPlay();
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    showPlay();
  }

  function showPlay() {
    play.textContent = timer ? "❚❚" : "▶";
    play.setAttribute("aria-label", timer ? _("Pause the merges") : _("Play the merges"));
  }

  function moveTo(wanted) {
    stop();
    const found = Math.max(0, Math.min(total(), wanted));
    place = placeOf(found, total());
    show(found);
  }

  slider.addEventListener("input", () => {
    stop();
    place = Number(slider.value);
    show(mergesAt(place, total()));
  });
  slider.addEventListener("keydown", (event) => {
    const step = arrowStep(event);
    if (step) moveTo(merges + step);
  });

  function show(wanted) {
    const { data } = component;
    merges = wanted;
    slider.value = place;
    const size = 256 + merges;
    const name = (id) => quoted(data.names[id]);
    const [first, second] = pairs.slice(2 * merges - 2, 2 * merges);
    const times = merges ? left[merges - 1] - left[merges] : 0;
    const filled = { merge: number(merges), total: number(total()), left: name(first), right: name(second), token: name(size - 1), count: number(times) };
    merge.textContent = merges
      ? ngettext("Merge {merge} of {total}: {left} + {right} → {token}, once in the text", "Merge {merge} of {total}: {left} + {right} → {token}, {count} times in the text", times, filled)
      : _("No merge yet: each byte is a token.");
    const costs = { tokens: number(left[merges]), each: number(data.length / left[merges], 2), size: number(size), parameters: number(parametersAt(data.parameters, size)) };
    cost.textContent = _("Length of the text in tokens: {tokens}. Bytes per token: {each}. Parameters of a model with this vocabulary of {size}: {parameters}.", costs);
    slider.setAttribute("aria-valuetext", merge.textContent);
    drawText();
  }

  function drawText() {
    const { data, palette } = component;
    const ids = tokensAfter(data.passage, pairs, merges);
    const texts = textsOf(ids, pairs, data.bytes);
    text.replaceChildren(...ids.map((id, index) => {
      const token = element("span", merges && id === 255 + merges ? "merges-token merges-made" : "merges-token", showControlCharacters(texts[index]));
      token.style.setProperty("--token", palette.runs[id % palette.runs.length]);
      token.title = `${data.names[id]} · ${id}`;
      return token;
    }));
    text.setAttribute("aria-label", ngettext("The beginning of the text in {count} token", "The beginning of the text in {count} tokens", ids.length));
  }

  return {
    update() {
      const { data } = component;
      const now = `${data.start} ${data.pairs}`;
      if (now !== read) {
        pairs = new Uint16Array(bytesFromBase64(data.pairs).buffer);
        left = [data.length];
        for (const count of new Uint32Array(bytesFromBase64(data.counts).buffer)) left.push(left.at(-1) - count);
        read = now;
        moveTo(data.start);
      } else {
        show(merges);
      }
      showPlay();
    },
    destroy: stop,
  };
});
