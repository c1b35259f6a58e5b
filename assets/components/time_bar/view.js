/* The time machine's bar: play, a slider over the saved steps of a run, and the loss curve along the same axis.
   The loss is in the unit last chosen on a loss chart.
   data: as for clock.js, and { steps: of the whole run, emergence: [{ step, layer, head, words }] of heads, same: whether side b
         shows the same run } */
import { bytesPerTokenOf, chosenUnit, inUnit } from "../loss_chart/axes.js";
import { downloadButtons, lossColumns } from "../shared/download.js";
import { formatPerplexity } from "../shared/format.js";
import { _, ngettext, button, element, mountOnce, pointerTips, svgElement } from "../shared/mount.js";
import { liveView } from "../shared/run_stream.js";
import { nearest, roomFor, thinned } from "../shared/thinning.js";
import { clockOf } from "../time_machine/clock.js";

export default (mounting) => mountOnce(mounting, (root, component) => {
  const SPEEDS = [1, 2, 4, 0.5];
  const PACE = 700; // milliseconds from one saved step to the next at speed 1
  const REST = 450; // milliseconds without a move until the page follows
  const clock = clockOf(component.data.side);
  let rows = [];
  let speed = 1;
  let playing = 0; // a timer
  let resting = 0; // a timer
  let held = false; // by the pointer: a pause while dragging does not select a step
  let leftUntil = 0; // a link to another page was clicked: a report meanwhile would bring this page back
  let reportedLast = component.data.step;

  const play = button("time-play", "", toggle);
  const playSign = element("span", "");
  play.append(playSign, element("span", "time-what", _("training")));
  const pace = button("time-pace", "", () => {
    speed = SPEEDS[(SPEEDS.indexOf(speed) + 1) % SPEEDS.length];
    paint();
  });
  const step = element("b");
  const note = element("span", "time-note");
  const loss = element("span", "time-loss");
  const curve = svgElement("svg", { "aria-hidden": "true", preserveAspectRatio: "none", viewBox: "0 0 1000 100" });
  const paths = {};
  const spot = element("span", "time-spot");
  const rail = element("div", "time-rail");
  const dots = element("div", "time-dots");
  const slider = element("input", "", [], { type: "range", min: 0, step: 1, "aria-label": _("Training step") });
  pace.title = _("Playback speed");
  for (const name of ["training", "validation"]) {
    paths[name] = svgElement("path", { class: `time-${name}` });
    curve.append(paths[name]);
  }
  const marks = element("div", "time-marks");
  const labels = element("div", "time-labels");
  const track = element("div", "time-track", [curve, spot, rail, dots, slider, marks, labels], { "data-title": _("Loss over the training") });
  const tips = pointerTips(track); // the browser's own tips come after a second, and never on touch
  labels.title = slider.title = _("Saved steps, evenly spaced. Most lie early, where the model changes most.");
  const line = element("div", "time-line", [play, element("div", "time-readout", [step, note]), track, loss, pace]);
  root.append(line);
  line.append(downloadButtons(root, {
    name: () => "loss",
    drawn: track,
    columns: () => lossColumns(rows),
  }));
  const bothBox = element("input", "", [], { type: "checkbox" });
  const both = element("label", "time-both", [bothBox, _("move both")]);
  both.title = _("Moving one slider moves the other: two steps of one run keep their distance, two runs go to the same step.");
  if (component.data.side === "b") line.insertBefore(both, loss);
  bothBox.addEventListener("change", () => (clock.together = bothBox.checked ? (component.data.same ? "distance" : "step") : null));

  /* A step's place on the slider, 0 to 1: saved steps are evenly spaced, and so are the steps between two of them. */
  function placeOf(at) {
    const { savedSteps } = clock;
    const after = savedSteps.findIndex((each) => each >= at);
    if (after <= 0) return after ? 1 : 0;
    return (after - 1 + (at - savedSteps[after - 1]) / (savedSteps[after] - savedSteps[after - 1])) / (savedSteps.length - 1);
  }

  const known = (name) => rows.filter((row) => Number.isFinite(row[name]) && row.step <= clock.savedSteps.at(-1));

  /* The loss near a step: on validation text if it was measured near then, else on the training text. */
  function lossAt(at, trained, measured) {
    const near = (all, share) => all.filter((row) => Math.abs(row.step - at) <= 1 + share * at);
    const close = near(measured, 0.04);
    if (close.length) return ["validation", nearest(close, at, (row) => row.step).val_loss];
    const around = near(trained, 0.08);
    return around.length ? ["training", around.reduce((sum, row) => sum + row.loss, 0) / around.length] : null;
  }

  function paint() {
    const { savedSteps } = clock;
    if (savedSteps.length < 2) return;
    const palette = component.palette;
    const at = savedSteps.indexOf(clock.step);
    slider.max = savedSteps.length - 1;
    slider.value = at;
    const share = at / (savedSteps.length - 1);
    rail.style.setProperty("--share", share);
    const counted = { step: clock.step.toLocaleString("en"), steps: Math.max(component.data.steps, savedSteps.at(-1)).toLocaleString("en") };
    slider.setAttribute("aria-valuetext", _("step {step}", counted));
    step.textContent = root.clientWidth < 480 ? _("Step {step}", counted) : _("Step {step} of {steps}", counted);
    const emerging = component.data.emergence.filter((each) => each.step === clock.step);
    const places = emerging.map(placeIn).join(", ");
    const emergingHeads = emerging.length > 2 ? ngettext("role of {count} head emerged here", "roles of {count} heads emerged here", emerging.length) : ngettext("emerged here: head {places}", "emerged here: heads {places}", emerging.length, { places });
    note.hidden = clock.writes; // it would come and go with every token
    note.textContent = clock.waiting ? _("loading …") : emerging.length ? emergingHeads : component.data.note;
    note.title = emerging.length ? emergedInWords(clock.step, emerging) : note.textContent;
    paintLabels();
    paintEmergence(palette);
    if (dots.children.length !== savedSteps.length) dots.replaceChildren(...savedSteps.map(() => element("i")));
    const [trained, measured] = [known("loss"), known("val_loss")];
    const bytesPerToken = bytesPerTokenOf(rows, component.data.bytes_per_token);
    const unit = chosenUnit(bytesPerToken);
    const shown = (value) => inUnit(value, unit, bytesPerToken);
    const values = [...trained.map((row) => row.loss), ...measured.map((row) => row.val_loss)].map(shown);
    const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
    const heightOf = (value) => 8 + 84 * (high > low ? (high - shown(value)) / (high - low) : 0.5); // percent
    const lineOf = (all, name) => all.map((row, index) => `${index ? "L" : "M"}${(1000 * placeOf(row.step)).toFixed(1)} ${heightOf(row[name]).toFixed(1)}`).join("");
    paths.training.setAttribute("d", lineOf(thinned(trained, "loss", 600), "loss"));
    paths.validation.setAttribute("d", lineOf(measured, "val_loss"));
    const here = lossAt(clock.step, trained, measured);
    spot.hidden = !here;
    loss.textContent = "";
    if (here) {
      const filled = { loss: shown(here[1]).toFixed(2), choices: formatPerplexity(Math.exp(here[1])) };
      if (unit === "bits") filled.loss = _("{loss} bits/byte", filled);
      const words = unit === "choices" ? [_("training perplexity {choices}", filled), _("validation perplexity {choices}", filled)] : [_("training loss {loss}", filled), _("validation loss {loss}", filled)];
      loss.textContent = words[here[0] === "training" ? 0 : 1];
      loss.title = component.data.unit === "tokens" ? _("Perplexity {choices} per token", filled) : _("Perplexity {choices} per character", filled);
      spot.style.cssText = `left: ${100 * share}%; top: ${0.28 * heightOf(here[1])}px; background: ${palette[here[0]]}`;
    }
    playSign.textContent = playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", playing ? _("Pause the training's playback") : _("Play the training"));
    pace.textContent = `${speed}×`.replace("0.5", "½");
    pace.setAttribute("aria-label", _("Speed {speed}", { speed }));
  }

  /* Label as many saved steps below the slider as have room: their numbers are not evenly spaced, unlike their places. */
  function paintLabels() {
    const words = clock.savedSteps.map((at, index) => (index ? at.toLocaleString("en") : _("step {step}", { step: at })));
    const key = JSON.stringify([words, track.clientWidth]);
    if (key === labels.dataset.key || !track.clientWidth) return;
    labels.dataset.key = key;
    const shown = roomFor(words.map((text) => 7 * text.length + 8), track.clientWidth);
    labels.replaceChildren(...shown.map((index) => {
      const label = element("span", "", words[index]);
      label.style.left = `${(100 * index) / (words.length - 1)}%`;
      return label;
    }));
  }

  const placeIn = ({ layer, head }) => `${layer + 1}.${head + 1}`;
  const inWords = (each) => _("head {head}, {role}", { head: placeIn(each), role: each.words });
  const emergedInWords = (at, heads) => _("Emerged at step {step}: {heads}", { step: at.toLocaleString("en"), heads: heads.map(inWords).join("; ") });

  /* A mark on the curve at each step where the role of a head emerged; a click moves there. */
  function paintEmergence(palette) {
    const key = JSON.stringify([component.data.emergence, clock.savedSteps, palette.accent]);
    if (key === marks.dataset.key) return;
    marks.dataset.key = key;
    const steps = [...new Set(component.data.emergence.map(({ step }) => step))].filter((at) => at <= clock.savedSteps.at(-1));
    marks.replaceChildren(...steps.map((at) => {
      const mark = button("time-mark", "", () => {
        if (playing) stop();
        clock.moveTogether(nearest(clock.savedSteps, at));
        rest();
      });
      const here = component.data.emergence.filter(({ step }) => step === at);
      mark.tabIndex = -1;
      const words = emergedInWords(at, here);
      tips.attach(mark, () => words);
      mark.setAttribute("aria-label", words);
      mark.style.left = `${100 * placeOf(at)}%`;
      mark.style.setProperty("--many", Math.min(3, here.length));
      return mark;
    }));
  }

  clock.follow = () => rest();

  /* Rerun the page once the slider rests, so that its other sections show this step, too. */
  function rest() {
    clearTimeout(resting);
    if (playing || held) return;
    resting = setTimeout(() => {
      if (clock.step === reportedLast || performance.now() < leftUntil) return;
      reportedLast = clock.step;
      clock.report(clock.step);
      component.setTriggerValue("step", { step: clock.step, newest: clock.step === clock.savedSteps.at(-1) });
    }, REST);
  }

  function stop() {
    clearTimeout(playing);
    playing = 0;
    paint();
    rest();
  }

  function next() {
    playing = setTimeout(() => {
      if (clock.waiting) return next(); // never ahead of what is drawn
      const at = clock.savedSteps.indexOf(clock.step);
      if (at >= clock.savedSteps.length - 1) return stop();
      clock.moveTogether(clock.savedSteps[at + 1]);
      next();
    }, PACE / speed);
  }

  function toggle() {
    if (playing) return stop();
    clearTimeout(resting);
    if (clock.step === clock.savedSteps.at(-1)) clock.moveTogether(clock.savedSteps[0]);
    next();
    paint();
  }

  const resizes = new ResizeObserver(paintLabels);
  resizes.observe(track);
  const onLeave = (event) => {
    if (event.target.closest?.("[data-testid=stSidebar] a")) leftUntil = performance.now() + 4000;
  };
  const onDocument = new AbortController();
  const listening = { capture: true, signal: onDocument.signal };
  document.addEventListener("click", onLeave, listening);
  const release = () => {
    if (!held) return;
    held = false;
    rest();
  };
  slider.addEventListener("pointerdown", () => (held = true));
  for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, release, listening);
  slider.addEventListener("input", () => {
    if (playing) stop();
    clock.moveTogether(clock.savedSteps[Number(slider.value)]);
    rest();
  });
  slider.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    toggle();
  });

  const unsubscribe = clock.subscribe(paint);
  return liveView(
    component,
    () => {
      if (playing) stop();
      rows = [];
      reportedLast = component.data.step;
      return {
        metrics(all) {
          rows = all;
          paint();
        },
        status({ saved_steps }) {
          const newest = clock.step;
          clock.setSavedSteps(saved_steps);
          if (clock.step !== newest) rest();
        },
      };
    },
    {
      prepare() {
        bothBox.checked = Boolean(clock.together);
        if (clock.together) clock.together = component.data.same ? "distance" : "step";
        clock.update(component.data);
      },
      draw: paint,
      destroy() {
        clearTimeout(playing);
        clearTimeout(resting);
        onDocument.abort();
        resizes.disconnect();
        unsubscribe();
      },
    },
  );
});
