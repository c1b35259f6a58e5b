/* A model that keeps generating: token after token is sampled and appended, and the picture follows.

   modelWriter(bar, clock) -> { update(picture), stop() } */
import { _, button, showControlCharacters, untrustedText } from "../shared/mount.js";

export function modelWriter(bar, clock) {
  const PACE = 600; // milliseconds between two tokens
  const MOST = 120; // tokens; then it starts over
  const LENGTH = 150; // characters of the text, or fewer if two lines have less room
  const LETTER = 10.3; // pixels
  let picture = null;
  let begun = null; // the initial prompt
  let count = 0;
  let step = clock.step; // the step of the weights
  let timer = 0;
  const toggle = button("model-write", "", () => (timer ? stop() : start()));
  const text = untrustedText("div", "model-written");
  bar.append(toggle, text);

  function start() {
    clearTimeout(timer);
    timer = setTimeout(next, PACE);
    label();
  }

  function stop() {
    clearTimeout(timer);
    timer = 0;
    label();
  }

  function next() {
    timer = setTimeout(next, PACE);
    if (document.hidden || clock.waiting || clock.problem || !picture?.sample || clock.picture.place) return;
    begun ??= clock.prompt;
    // At another step it starts over, because those weights would generate another text.
    const over = count >= MOST || !picture.sample.typed || clock.step !== step;
    step = clock.step;
    count = over ? 0 : count + 1;
    clock.setPrompt(over ? begun : clock.prompt + picture.sample.typed, { ...clock.picture, seed: clock.picture.seed + 1 });
  }

  function label() {
    toggle.textContent = timer ? _("❚❚ Pause writing") : _("▶ Write on");
  }

  if (matchMedia("(prefers-reduced-motion: reduce)").matches) label();
  else start();
  return {
    stop,
    update(drawn) {
      picture = drawn;
      const written = showControlCharacters(clock.prompt);
      const most = Math.min(LENGTH, 2 * Math.floor(text.clientWidth / LETTER) - 4) || LENGTH;
      text.textContent = written.length > most ? `…${written.slice(-most)}` : written;
    },
  };
}
