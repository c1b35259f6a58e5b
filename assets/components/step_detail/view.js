/* One training step: the tokens of its batch, shaded by their loss, and the gradient norm of each part of the model.
   data: { run: the run whose stream has the step } */
import { downloadButtons } from "../shared/download.js";
import { formatPerplexity, formatPercent } from "../shared/format.js";
import { _, ngettext, element, mountOnce, quoted, withElements, untrustedText } from "../shared/mount.js";
import { liveView } from "../shared/run_stream.js";

export default (mounting) => mountOnce(mounting, (root, component) => {
  const MAX_SURPRISED = 6; // nats, of the strongest shade
  let status = null;
  let shown = null;
  root.classList.add("detail");
  const summary = element("div", "detail-summary");
  const sequences = element("div", "detail-sequences");
  const hint = element("div", "detail-hint");
  const legend = element("div", "detail-legend", [element("span", "", _("low loss")), element("span", "detail-scale"), element("span", "", _("high loss"))]);
  const change = element("div", "detail-change");
  const title = element("div", "detail-title", _("What happened in this step?"));
  const bars = element("div", "detail-bars");
  const note = element("div", "detail-note", _("How strongly this step pushes each part's weights."));
  const push = element("div", "detail-push", [element("div", "detail-title", _("Gradient norm of each part")), note, bars]);
  root.append(element("div", "detail-batch", [title, change, summary, sequences, hint, legend]), push);
  downloadButtons(push, {
    name: () => `gradients-step-${shown.step}`,
    columns: () => shown && { part: shown.parts.map((part) => part.name), gradient: shown.parts.map((part) => part.gradient), weights: shown.parts.map((part) => part.weight) },
  });

  sequences.addEventListener("pointerover", ({ target }) => {
    const letter = target.closest(".detail-letter");
    if (letter) hint.textContent = explain(letter);
  });
  sequences.addEventListener("pointerleave", () => (hint.textContent = HINT));
  const HINT = _("Point at or tap a token to see its probability and loss.");

  function explain(letter) {
    if (letter.classList.contains("detail-question")) return _("{token} is a part of the question: only answers count in the loss.", { token: quoted(letter.dataset.token) });
    const loss = Number(letter.dataset.loss);
    const share = formatPercent(Math.exp(-loss));
    const filled = { token: quoted(letter.dataset.token), before: quoted(letter.dataset.before), share, loss: loss.toFixed(2) };
    return _("{token} after {before}: probability {share}, loss {loss}.", filled);
  }

  function draw() {
    const fits = shown && status && status.state === "paused" && status.step === shown.step;
    root.classList.toggle("detail-ready", Boolean(fits));
  }

  function fill() {
    const loss = shown.loss;
    const filled = { step: shown.step.toLocaleString("en"), count: shown.batch_size.toLocaleString("en") };
    if (loss !== null) {
      const sentence = ngettext("Step {step} trained on {count} sequence. Its loss is {loss}, a perplexity of {choices} per token.", "Step {step} trained on {count} sequences. Its loss is {loss}, a perplexity of {choices} per token.", shown.batch_size, filled);
      const bold = { loss: element("b", "", loss.toFixed(2)), choices: element("b", "", formatPerplexity(Math.exp(loss))) };
      summary.replaceChildren(...withElements(sentence, bold));
    } else summary.replaceChildren(ngettext("Step {step} trained on {count} sequence, and its loss is not a finite number.", "Step {step} trained on {count} sequences, and its loss is not a finite number.", shown.batch_size, filled));
    change.hidden = !Number.isFinite(shown.before) || !Number.isFinite(shown.after);
    if (!change.hidden) {
      const [before, after] = [shown.before, shown.after].map((value) => value.toFixed(3));
      const verdict =
        before === after ? _("Loss on this batch: {before} before, {after} after. No change.")
        : after < before ? _("Loss on this batch: {before} before, {after} after. The step helped.")
        : _("Loss on this batch: {before} before, {after} after. The step was too large, or momentum or weight decay dominated it.");
      const note = shown.loss !== null && Math.abs(shown.before - shown.loss) > 0.002 ? ` ${_("Both are measured without dropout.")}` : "";
      change.replaceChildren(...withElements(verdict, { before: element("b", "", before), after: element("b", "detail-after", after) }), note);
    }
    if (shown.sequences.length < shown.batch_size) summary.append(" ", _("{count} of them are shown.", { count: shown.sequences.length }));
    sequences.replaceChildren(...shown.sequences.map(sequenceOf));
    hint.textContent = HINT;
    const most = shown.parts.reduce((top, part) => Math.max(top, part.gradient || 0), 0) || 1;
    bars.replaceChildren(...shown.parts.map((part) => barOf(part, most)));
  }

  function sequenceOf({ tokens, losses, counted }) {
    const line = untrustedText("div", "detail-sequence");
    line.append(element("span", "detail-first", inText(tokens[0])));
    losses.forEach((loss, index) => {
      const token = tokens[index + 1];
      const letter = element("span", counted[index] ? "detail-letter" : "detail-letter detail-question", inText(token));
      letter.dataset.token = token;
      letter.dataset.before = tokens.slice(Math.max(0, index - 5), index + 1).join("");
      letter.dataset.loss = loss === null ? "Infinity" : loss;
      const strength = loss === null ? 1 : Math.min(1, loss / MAX_SURPRISED);
      letter.style.setProperty("--strength", `${Math.round(strength * 78)}%`);
      line.append(letter);
    });
    return line;
  }

  function barOf(part, most) {
    const bar = element("span", part.gradient === most ? "most" : "");
    bar.style.width = `${(100 * (part.gradient || 0)) / most}%`;
    const norm = part.gradient === null ? _("not finite") : part.gradient.toPrecision(2);
    const row = element("div", "detail-bar", [element("span", "detail-part", part.name), element("span", "detail-track", bar), element("span", "detail-norm", norm)]);
    if (part.weight !== null) row.title = _("{part}: gradient norm {gradient}, weight norm {weights}", { part: part.name, gradient: norm, weights: part.weight.toPrecision(3) });
    return row;
  }

  return liveView(
    component,
    () => {
      status = shown = null;
      return {
        status(value) {
          status = value;
          draw();
        },
        step_detail(value) {
          shown = value;
          fill();
          draw();
        },
      };
    },
    { draw },
  );
});

/* Show a space as a space here, because its shade makes it visible. */
function inText(token) {
  return token === "·" ? " " : token;
}
