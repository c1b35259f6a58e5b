/* An animation of one token: the forward pass in order with a sentence per stage, then a token is sampled and appended. And of
   one training step on the text, backwards: from the loss to the embedding, then the update.

   modelFilm(bar, clock, { draw, open(place) }) -> { update(picture, frame), orderOf(part, shape), paint(stage), words(picture, frame), sampling(), stop() } */
import { formatPercent } from "../shared/format.js";
import { _, ngettext, button, element, quoted } from "../shared/mount.js";

const SECONDS = 10; // for one token
const SPEEDS = [0.5, 1, 3];
const MAX_TOKENS = 40; // appended in one animation

export function modelFilm(bar, clock, { draw, open }) {
  let at = null; // the current stage; null if nothing is played
  let round = 0; // tokens appended so far
  let timer = 0;
  let typed = ""; // the prompt before the animation
  let expected = null; // the frame before a token was appended, until the next frame arrives
  let [picture, frame] = [null, null];
  let speed = 1;
  let wanted = false; // a training step was requested, and its frame has not arrived yet

  const play = button("model-play", _("▶ One token"), () => (timer ? pause() : start()));
  play.title = _("The forward pass in its order, then a token is sampled and appended.");
  const step = button("", _("Next stage"), () => {
    pause();
    advance();
  });
  const train = button("", _("▶ One training step"), () => {
    if (picture.training) return open("");
    reset();
    wanted = true;
    open("step");
  });
  train.title = _("One step on this very text: the loss flows back, and the weights move.");
  const back = button("", _("Start over"), reset);
  const pace = button("model-speed", "", () => {
    speed = SPEEDS[(SPEEDS.indexOf(speed) + 1) % SPEEDS.length];
    label();
  });
  pace.title = _("Playback speed");
  const cache = element("input");
  cache.type = "checkbox";
  const temperature = element("input");
  Object.assign(temperature, { type: "range", min: 0, max: 2, step: 0.1, value: 1 });
  const chosen = element("span", "", "1.0");
  temperature.addEventListener("input", () => {
    chosen.textContent = Number(temperature.value).toFixed(1);
    clock.setPicture({ ...clock.picture, temperature: Number(temperature.value) });
  });
  cache.addEventListener("change", draw);
  const sampling = [element("label", "", [_("Temperature"), temperature, chosen]), element("label", "", [cache, _("KV cache")])];
  bar.append(element("span", "model-space"), play, step, pace, train, back, ...sampling);

  const count = () => (picture ? orderOf({ kind: "sample" }, picture.shape) + 1 : 1);

  const backward = () => Boolean(picture?.training);
  const ended = () => at === null || (backward() ? at === 0 : at >= count() - 1);

  function start() {
    if (ended()) {
      if (backward()) at = null;
      advance();
    }
    timer = setTimeout(tick, pauseLength());
    label();
  }

  const pauseLength = () => (1000 * SECONDS) / count() / speed;

  function tick() {
    if (expected === null) advance();
    if (timer && backward() && at === 0) return pause();
    if (timer) timer = setTimeout(tick, pauseLength());
  }

  function advance() {
    if (backward()) at = at === null || at === 0 ? count() - 2 : at - 1;
    else if (at === null) begin();
    else if (at < count() - 1) at++;
    else append();
    draw();
  }

  function begin() {
    if (!round) typed = clock.prompt;
    at = 0;
  }

  /* Append the sampled token, and continue from the first stage as soon as its frame arrives. */
  function append() {
    if (round >= MAX_TOKENS || !picture.sample.typed) return stop();
    round++;
    expected = frame;
    clock.setPrompt(clock.prompt + picture.sample.typed, { ...clock.picture, seed: clock.picture.seed + 1 });
  }

  function pause() {
    clearTimeout(timer);
    timer = 0;
    label();
  }

  function stop() {
    pause();
    at = null;
  }

  function reset() {
    stop();
    if (round) clock.setPrompt(typed);
    round = 0;
    draw();
  }

  function label() {
    const begin = backward() ? _("▶ Play again") : _("▶ One token");
    play.textContent = timer ? _("❚❚ Pause") : ended() && (backward() || at === null) ? begin : _("▶ Go on");
    pace.textContent = `${speed}×`.replace("0.5", "½");
    pace.setAttribute("aria-label", _("Speed {speed}", { speed }));
    train.textContent = backward() ? _("Undo the step") : _("▶ One training step");
  }

  /* The stage at which a part is computed: tokens 0, embedding 1, then two for each block, the output, the sample. */
  function orderOf({ kind, layer }, { layers, neurons }) {
    const each = neurons ? 2 : 1;
    if (kind === "embedding") return 1;
    if (kind === "attention" || kind === "head") return 2 + each * layer;
    if (kind === "mlp" || kind === "block") return 2 + each * layer + each - 1;
    return 2 + each * layers + (kind === "sample");
  }

  /* What happens at a stage of the backward pass. */
  function backwards() {
    const { shape, training } = picture;
    const each = shape.neurons ? 2 : 1;
    const filled = { loss: training.before.toFixed(2), count: training.losses.filter((loss) => loss !== null).length };
    if (at === count() - 2) return ngettext("Loss {loss}: that of {count} next token. Its gradient enters the last residual stream.", "Loss {loss}: the mean over {count} next tokens. Its gradient enters the last residual stream.", filled.count, filled);
    if (at === 1) return _("The gradient reaches the embedding: every number now has its direction downhill.");
    const layer = Math.floor((at - 2) / each) + 1;
    if (shape.neurons && (at - 2) % 2) return _("Block {layer}, MLP: the gradient passes its matrices, and past them along the residual stream.", { layer });
    return _("Block {layer}, attention: the gradient also flows to the tokens that were attended to.", { layer });
  }

  return {
    orderOf,
    stop,
    sampling: () => at !== null && !backward() && at === count() - 1,
    update(nextPicture, nextFrame) {
      if (expected && nextFrame !== expected && nextFrame.prompt !== expected.prompt) {
        expected = null;
        at = 0;
      }
      if (Boolean(nextPicture.training) !== backward()) stop();
      [picture, frame] = [nextPicture, nextFrame];
      if (wanted && backward()) {
        wanted = false;
        start();
      }
      back.hidden = backward() || (at === null && !round);
      train.hidden = !back.hidden; // both do not fit in a line of 1280 pixels
      for (const made of sampling) made.hidden = backward();
      label();
    },
    /* Hide what is not computed yet; with a cache, cover what is not computed again. */
    paint(stage) {
      for (const made of stage.querySelectorAll("[data-order]")) {
        const order = Number(made.dataset.order);
        const later = backward() ? at > 0 && (order < at || made.matches(".model-sum")) : order > at;
        made.classList.toggle("model-future", at !== null && later);
      }
      stage.querySelector(".model-cover")?.remove();
      if (at === null || !cache.checked || !round) return;
      const tokens = [...stage.querySelectorAll(".model-token")];
      const [first, last] = [tokens[0], tokens.at(-1)];
      const cover = element("div", "model-cover aside");
      const upright = stage.classList.contains("upright");
      cover.style.cssText = upright
        ? `left: 0; top: 24px; width: ${last.offsetLeft}px; height: ${stage.offsetHeight - 250}px;`
        : `left: 44px; top: ${first.offsetTop}px; width: ${stage.offsetWidth - 230}px; height: ${last.offsetTop - first.offsetTop}px;`;
      stage.append(cover);
    },
    words() {
      if (at === null || (backward() && at === 0)) return "";
      if (backward()) return backwards();
      const { shape, next, sample } = picture;
      const [best, , share] = next.at(-1)[0];
      const each = shape.neurons ? 2 : 1;
      const only = _("The keys and values of earlier tokens are cached: only the last token is computed.");
      const cached = cache.checked && round ? ` ${only}` : "";
      const filled = { token: quoted(frame.tokens.at(-1)), count: next.length, width: shape.width, neurons: shape.neurons, heads: shape.heads, next: quoted(best), share: formatPercent(share), vocabulary: shape.vocabulary };
      if (at === 0) return _("The text is cut into tokens. {count} are drawn; the last is {token}.", filled) + cached;
      if (picture.kind === "bigram" && at === 1) return ngettext("{token} looks up its row of the table: a logit for {vocabulary} token.", "{token} looks up its row of the table: a logit for each of {vocabulary} tokens.", shape.vocabulary, filled);
      if (at === 1) return ngettext("Each token looks up a vector of {width} number: the start of its residual stream.", "Each token looks up a vector of {width} numbers: the start of its residual stream.", shape.width, filled);
      if (at < 2 + each * shape.layers) {
        const layer = Math.floor((at - 2) / each) + 1;
        if (!shape.neurons || (at - 2) % 2 === 0) return ngettext("Block {layer}, attention: {heads} head gathers from earlier tokens and adds what it finds to the residual stream.", "Block {layer}, attention: {heads} heads gather from earlier tokens and add what they find to the residual stream.", shape.heads, { ...filled, layer });
        return ngettext("Block {layer}, MLP: each token by itself passes {neurons} neuron, whose output is added to its residual stream.", "Block {layer}, MLP: each token by itself passes {neurons} neurons, whose output is added to its residual stream.", shape.neurons, { ...filled, layer });
      }
      if (!clock.picture || at === count() - 2) return ngettext("The last residual stream is compared with {vocabulary} token; softmax gives {next} {share}.", "The last residual stream is compared with all {vocabulary} tokens; softmax gives {next} {share}.", shape.vocabulary, filled);
      return _("Sampling at temperature {temperature} picks {token} with probability {share}. It is appended, and the model runs again.", { temperature: sample.temperature.toFixed(1), token: quoted(sample.token[0]), share: formatPercent(sample.token[2]) });
    },
  };
}
