/* The time machine's clock: the current saved step of a run, and its frame (all that the views draw of it). There is one for each
   side of the page ("a", and "b" for a comparison), shared by the bar that moves it and all views that follow it.
   Frames are prefetched, nearest first, so that moving only draws.

   clockOf(side) -> { update(data), subscribe(listener) -> unsubscribe, go(step), selectHead(head), savedSteps, step, frame, ... }
   data: { run, prompt, saved_steps, step, head } from Python, the same for every component of a side. It may include the frame
   of a step.
   listener({ frame, frames, savedSteps, step, waiting, problem, head }) is called after every change. */
import { downloadButtons } from "../shared/download.js";
import { _, bytesFromBase64, element, mountOnce } from "../shared/mount.js";
import { nearest } from "../shared/thinning.js";

export const clocks = new Map(); // by side

export function clockOf(side) {
  if (!clocks.has(side)) clocks.set(side, openClock((left) => clocks.get(side) === left && clocks.delete(side)));
  return clocks.get(side);
}

function openClock(onUnused) {
  const WRITING = 0.8; // temperature for a model that keeps generating
  const MAX_REQUESTS = 2; // per clock; a browser allows six connections per host, and the stream takes one
  const listeners = new Set();
  const reported = []; // steps reported to Python that it has not sent back yet
  let frames = new Map(); // step -> frame
  let requests = new Map(); // step -> AbortController
  let unavailable = new Set(); // steps whose frames could not be loaded
  let source = "";
  let pythonStep = null; // the step that Python last sent
  let pythonHead = "";
  let nextFrame = 0;

  const clock = {
    run: null, prompt: "", savedSteps: [], step: null, frame: null, head: [0, 0], problem: "",
    get frames() { return frames; },
    picture: null, // the request for the model picture, if it is drawn: { place, temperature, seed, rows }
    get waiting() { return !clock.problem && frames.get(clock.step) !== clock.frame; },
    update(data) {
      const pictured = data.place !== null; // whether the page shows the model picture
      const newSource = JSON.stringify([data.run, data.prompt, data.anchor, data.language, pictured]);
      if (newSource !== source) {
        const other = data.run !== clock.run;
        source = newSource;
        Object.assign(clock, { run: data.run, prompt: data.prompt, anchor: data.anchor, language: data.language });
        const usual = data.writes ? { place: "", temperature: WRITING, seed: 0, rows: data.writes } : { place: data.place, temperature: 1, seed: 0 };
        clock.picture = pictured ? clock.picture || usual : null;
        clock.writes = data.writes > 0;
        dropFrames();
        if (data.frame) frames.set(data.frame.step, decoded(data.frame));
        if (other) {
          Object.assign(clock, { savedSteps: data.saved_steps, step: data.step, frame: null });
          pythonStep = data.step;
          reported.length = 0;
        }
      }
      if (data.saved_steps.length > clock.savedSteps.length || !clock.savedSteps.length) clock.savedSteps = data.saved_steps;
      if (data.step !== pythonStep) {
        pythonStep = data.step;
        const own = reported.indexOf(data.step);
        if (own < 0) clock.step = data.step;
        else reported.splice(0, own + 1);
      }
      const head = String(data.head);
      if (head !== pythonHead) {
        pythonHead = head;
        clock.head = data.head;
      }
      change();
    },
    /* Set the saved steps; if the newest one was shown, show the new newest one. */
    setSavedSteps(savedSteps) {
      if (String(savedSteps) === String(clock.savedSteps)) return;
      const newest = clock.step === clock.savedSteps.at(-1);
      // The next save replaces the last one; its frame stays while it is shown.
      const all = newest || savedSteps.includes(clock.step) ? savedSteps : [...savedSteps, clock.step].sort((one, two) => one - two);
      clock.savedSteps = all;
      for (const step of frames.keys()) if (!all.includes(step)) frames.delete(step);
      if (newest) clock.step = savedSteps.at(-1);
      change();
    },
    /* Move both sides: two steps of one run keep their distance, two runs go to the same step. */
    together: null, // null, "distance" or "step", set by side b
    moveTogether(step) {
      const [one, other] = [clocks.get("a"), clocks.get("b")];
      const from = clock.savedSteps.indexOf(clock.step);
      clock.go(step);
      if (!other?.together || !one) return;
      const partner = clock === one ? other : one;
      const { savedSteps } = partner;
      const moved = savedSteps.indexOf(partner.step) + clock.savedSteps.indexOf(step) - from;
      partner.go(other.together === "step" ? nearest(savedSteps, step) : savedSteps[Math.max(0, Math.min(savedSteps.length - 1, moved))]);
      partner.follow?.();
    },
    go(step) {
      unavailable.delete(step); // a frame that could not be loaded earlier may exist now
      clock.step = step;
      clock.problem = "";
      change();
    },
    /* Draw another place of the whole model, or another sample; this changes the frames. */
    setPicture(picture) {
      if (JSON.stringify(picture) === JSON.stringify(clock.picture)) return;
      clock.picture = picture;
      dropFrames();
      change();
    },
    /* Use another prompt than the page's, until the page sends another; for the model picture also another sample. */
    setPrompt(prompt, picture = clock.picture) {
      Object.assign(clock, { prompt, picture });
      dropFrames();
      change();
    },
    selectHead(head) {
      clock.head = head;
      notify();
    },
    report: (step) => reported.push(step),
    subscribe(listener) {
      listeners.add(listener);
      listener(clock);
      return () => {
        listeners.delete(listener);
        // A rerun may remove a component and add it again at once; only leaving the page ends the clock.
        setTimeout(() => {
          if (listeners.size) return;
          frames = new Map(); // so that the others are not requested
          for (const controller of requests.values()) controller.abort();
          onUnused(clock);
        }, 1000);
      };
    },
  };

  function dropFrames() {
    for (const controller of requests.values()) controller.abort();
    [frames, requests, unavailable] = [new Map(), new Map(), new Set()];
    clock.problem = "";
  }

  function notify() {
    cancelAnimationFrame(nextFrame);
    nextFrame = 0;
    for (const listener of listeners) listener(clock);
  }

  /* Draw several changes within one frame once. */
  function change() {
    const known = frames.get(clock.step);
    if (known) clock.frame = known;
    prefetch();
    if (document.hidden) notify();
    else nextFrame ||= requestAnimationFrame(notify);
  }

  function prefetch() {
    const at = clock.savedSteps.indexOf(clock.step);
    // A model that keeps generating uses every prompt once, so only its current step needs a frame.
    const wanted = clock.savedSteps
      .map((step, index) => [step, Math.abs(index - at) - (index > at ? 0.5 : 0)])
      .filter(([step]) => (!clock.writes || step === clock.step) && !frames.has(step) && !requests.has(step) && !unavailable.has(step))
      .sort((one, two) => one[1] - two[1]);
    // The current step comes before prefetched ones, even if those are already requested.
    if (wanted.length && wanted[0][0] === clock.step && requests.size >= MAX_REQUESTS) {
      const [step, controller] = requests.entries().next().value;
      requests.delete(step);
      controller.abort();
    }
    for (const [step] of wanted.slice(0, Math.max(0, MAX_REQUESTS - requests.size))) request(step);
  }

  async function request(step) {
    const controller = new AbortController();
    const target = frames;
    const address = new URL(`api/runs/${encodeURIComponent(clock.run)}/frames/${step}`, document.baseURI);
    address.searchParams.set("prompt", clock.prompt);
    address.searchParams.set("language", clock.language);
    for (const [name, value] of Object.entries(clock.picture || {})) address.searchParams.set(name, value);
    if (clock.anchor !== null) address.searchParams.set("anchor", clock.anchor);
    requests.set(step, controller);
    try {
      const answer = await fetch(address, { signal: controller.signal });
      if (answer.ok) target.set(step, decoded(await answer.json()));
      else if (target === frames) {
        unavailable.add(step);
        if (step === clock.step) clock.problem = await answer.text();
      }
    } catch (error) {
      if (error.name !== "AbortError" && target === frames) {
        unavailable.add(step);
        if (step === clock.step) clock.problem = _("The connection to the server was lost. Reload the page.");
      }
    }
    if (target !== frames) return;
    if (requests.get(step) === controller) requests.delete(step);
    change();
  }

  return clock;
}

function decoded(frame) {
  if (frame.attention) {
    frame.attention.bytes = bytesFromBase64(frame.attention.bytes);
    frame.attention.tokens = frame.tokens;
  }
  return frame;
}

/* A view that follows the clock: created once, drawn for every frame.
   make(root, clock, report(name, value) once, keep(name, value), which survives a rerun that another one overtakes)
   -> { draw(frame, palette, data), words(frame), name(), columns(frame), destroy() } */
export function timeMachineView(mounting, make) {
  return mountOnce(mounting, (root, component) => {
    root.classList.add("snapshot");
    root.dataset.view = component.data.view;
    const clock = clockOf(component.data.side);
    const readout = element("div", "snapshot-readout aside");
    const view = make(root, clock, (name, value) => component.setTriggerValue(name, value), (name, value) => component.setStateValue(name, value));
    root.append(readout);
    if (view.columns) {
      const drawn = view.drawn || root;
      downloadButtons(root, { name: () => `${view.name()}-step-${clock.frame.step}`, drawn, columns: () => clock.frame && view.columns(clock.frame) });
    }
    const leave = clock.subscribe(draw);
    function draw() {
      const { frame } = clock;
      // A model that keeps generating stays visible until the next frame arrives: on a busy server it would flicker.
      root.classList.toggle("snapshot-waits", clock.waiting && !(clock.writes && frame?.step === clock.step));
      root.classList.toggle("snapshot-empty", !frame);
      readout.textContent = clock.problem || (frame ? view.words?.(frame, component.data) || "" : _("Loading …"));
      if (frame) view.draw(frame, component.palette, component.data);
    }
    return {
      update() {
        clock.update(component.data);
        draw();
      },
      destroy() {
        leave();
        view.destroy?.();
      },
    };
  });
}
