/* A run's speed relative to its machine: a bar of where its time goes, and what would make it faster (core/training/gauge.py). */
import { formatCount, formatPercent } from "../shared/format.js";
import { _, element } from "../shared/mount.js";
import { liveView } from "../shared/run_stream.js";

const LEAST = 0.005; // share of the run's time; smaller parts are not listed

export function gauge(root, component) {
  const head = element("div", "gauge-head");
  const bar = element("div", "gauge-bar", [], { "aria-hidden": "true" });
  const parts = element("ul", "gauge-parts");
  const advice = element("ul", "gauge-advice");
  const waiting = element("div", "waiting", _("The speed is known after the first steps."));
  root.append(head, bar, parts, advice, waiting);
  let shown = null;

  function draw() {
    for (const part of [head, bar, parts, advice]) part.hidden = !shown;
    waiting.hidden = Boolean(shown);
    if (!shown) return;
    const colored = (name, { color }, children = []) => {
      const drawn = element("span", name, children);
      drawn.style.background = component.palette.runs[color];
      return drawn;
    };
    head.textContent = headOf(shown);
    bar.replaceChildren(
      ...shown.parts.map((part) => {
        const piece = colored("gauge-piece", part);
        piece.style.flexGrow = part.share;
        piece.title = `${_(part.name)}: ${formatPercent(part.share)}`;
        return piece;
      }),
    );
    const listed = shown.parts.filter(({ share }) => share >= LEAST);
    parts.replaceChildren(
      ...listed.map((part) => element("li", "", [colored("gauge-swatch", part), element("span", "gauge-name", _(part.name)), element("b", "", formatPercent(part.share))])),
    );
    const sentences = shown.advice.map(({ sentence, numbers }) => _(sentence, numbers));
    advice.replaceChildren(...(sentences.length ? sentences : [_("No single setting would give 1.1× the tokens per second.")]).map((words) => element("li", "", words)));
  }

  return liveView(
    component,
    () => {
      shown = null;
      return {
        status(status) {
          shown = status.gauge ?? null;
          draw();
        },
      };
    },
    { draw },
  );
}

function headOf({ tokens_per_second, peak, peak_share }) {
  const speed = formatCount(tokens_per_second);
  const all = _("{speed} tokens/s, with evaluations, samples and writing", { speed });
  if (peak === null) return all;
  const numbers = { all, share: formatPercent(peak_share), peak: Math.round(peak / 1e9).toLocaleString("en") };
  return _("{all} · {share} of this machine's matrix-product peak ({peak} GFLOP/s)", numbers);
}
