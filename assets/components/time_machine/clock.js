/* The time machine's clock: which moment of a run is on view, and its frame. One a side of the page ("a", or "b" of what it
   is compared with), shared by the bar that moves it and all views that move with it. Frames are fetched ahead, nearest
   first, so that moving only draws.

   timeOf(side) -> { look(data), subscribe(tell) -> unsubscribe, go(step), pick(head), moments, step, frame, ... }
   data: { run, prompt, moments, step, head, palettes }, as Python sees it; every component of a side passes the same.
   tell({ frame, frames, moments, step, waiting, problem, head, palette }) is called after every change.

   Components are modules of their own, so what they share hangs on globalThis. */
import { takeaway } from "../shared/download.js";
import { _, bytesOf, currentPalette, element, mountOnce } from "../shared/mount.js";

export function timeOf(side) {
  const times = (globalThis.__gptExplorerTimes ||= new Map());
  if (!times.has(side)) times.set(side, openTime((left) => times.get(side) === left && times.delete(side)));
  return times.get(side);
}

function openTime(forget) {
  const AT_ONCE = 2; // requests; a browser grants six connections a host, and the stream holds one
  const tellers = new Set();
  const reported = []; // steps told to Python that it has not told back yet
  let frames = new Map(); // step -> frame
  let asking = new Map(); // step -> AbortController
  let refused = new Set(); // steps that are no longer kept
  let source = "";
  let said = null; // the step that Python told last
  let saidHead = "";
  let soon = 0;

  const time = {
    run: null, prompt: "", moments: [], step: null, frame: null, head: [0, 0], problem: "",
    get frames() { return frames; },
    get waiting() { return !time.problem && time.step !== time.frame?.step; },
    look(data) {
      const asked = JSON.stringify([data.run, data.prompt, data.anchor, data.language]);
      if (asked !== source) {
        const other = data.run !== time.run;
        source = asked;
        Object.assign(time, { run: data.run, prompt: data.prompt, anchor: data.anchor, language: data.language, problem: "" });
        for (const request of asking.values()) request.abort();
        [frames, asking, refused] = [new Map(), new Map(), new Set()];
        if (other) {
          Object.assign(time, { moments: data.moments, step: data.step, frame: null });
          said = data.step;
          reported.length = 0;
        }
      }
      if (data.moments.length > time.moments.length || !time.moments.length) time.moments = data.moments;
      if (data.step !== said) {
        said = data.step;
        const own = reported.indexOf(data.step);
        if (own < 0) time.step = data.step;
        else reported.splice(0, own + 1);
      }
      const head = String(data.head);
      if (head !== saidHead) {
        saidHead = head;
        time.head = data.head;
      }
      change();
    },
    /* The moments that there are now; whoever stood at the newest goes on to what is newest now. */
    grow(moments) {
      if (String(moments) === String(time.moments)) return;
      const newest = time.step === time.moments.at(-1);
      // A last save gives way to the next one: its frame stays for as long as it is on view.
      const kept = newest || moments.includes(time.step) ? moments : [...moments, time.step].sort((one, two) => one - two);
      time.moments = kept;
      for (const step of frames.keys()) if (!kept.includes(step)) frames.delete(step);
      if (newest) time.step = moments.at(-1);
      change();
    },
    /* Both sides, as one hand moves them: two moments of one run keep their distance, two runs go to the same step. */
    together: null, // null, "distance" or "step", as side b says
    goWith(step) {
      const times = globalThis.__gptExplorerTimes;
      const [one, other] = [times.get("a"), times.get("b")];
      const from = time.moments.indexOf(time.step);
      time.go(step);
      if (!other?.together || !one) return;
      const partner = time === one ? other : one;
      const { moments } = partner;
      const near = (all) => all.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best));
      const moved = moments.indexOf(partner.step) + time.moments.indexOf(step) - from;
      partner.go(other.together === "step" ? near(moments) : moments[Math.max(0, Math.min(moments.length - 1, moved))]);
      partner.follow?.();
    },
    go(step) {
      refused.delete(step); // what could not be had a while ago may be there now
      time.step = step;
      time.problem = "";
      change();
    },
    pick(head) {
      time.head = head;
      tell();
    },
    report: (step) => reported.push(step),
    subscribe(teller) {
      tellers.add(teller);
      teller(time);
      return () => {
        tellers.delete(teller);
        // A rerun may take a component down and put it up again at once; only a page that was left lets go.
        setTimeout(() => {
          if (tellers.size) return;
          frames = new Map(); // so that nobody goes on to ask for the others
          for (const request of asking.values()) request.abort();
          forget(time);
        }, 1000);
      };
    },
  };

  function tell() {
    cancelAnimationFrame(soon);
    soon = 0;
    for (const teller of tellers) teller(time);
  }

  /* Several changes in one moment are drawn once. */
  function change() {
    const known = frames.get(time.step);
    if (known) time.frame = known;
    fetchAhead();
    if (document.hidden) tell();
    else soon ||= requestAnimationFrame(tell);
  }

  function fetchAhead() {
    const at = time.moments.indexOf(time.step);
    const wanted = time.moments
      .map((step, index) => [step, Math.abs(index - at) - (index > at ? 0.5 : 0)])
      .filter(([step]) => !frames.has(step) && !asking.has(step) && !refused.has(step))
      .sort((one, two) => one[1] - two[1]);
    // What is on view goes before what comes next, also where that is already being asked for.
    if (wanted.length && wanted[0][0] === time.step && asking.size >= AT_ONCE) {
      const [step, request] = asking.entries().next().value;
      asking.delete(step);
      request.abort();
    }
    for (const [step] of wanted.slice(0, Math.max(0, AT_ONCE - asking.size))) ask(step);
  }

  async function ask(step) {
    const request = new AbortController();
    const into = frames;
    const address = new URL(`api/runs/${encodeURIComponent(time.run)}/frames/${step}`, document.baseURI);
    address.searchParams.set("prompt", time.prompt);
    address.searchParams.set("language", time.language);
    if (time.anchor !== null) address.searchParams.set("anchor", time.anchor);
    asking.set(step, request);
    try {
      const answer = await fetch(address, { signal: request.signal });
      if (answer.ok) into.set(step, opened(await answer.json()));
      else if (into === frames) {
        refused.add(step);
        if (step === time.step) time.problem = await answer.text();
      }
    } catch (error) {
      if (error.name !== "AbortError" && into === frames) {
        refused.add(step);
        if (step === time.step) time.problem = _("The connection to the lab was lost. Reload the page to go on.");
      }
    }
    if (into !== frames) return;
    if (asking.get(step) === request) asking.delete(step);
    change();
  }

  return time;
}

function opened(frame) {
  if (frame.attention) {
    frame.attention.bytes = bytesOf(frame.attention.bytes);
    frame.attention.tokens = frame.tokens;
  }
  return frame;
}

/* A view that moves: made once, drawn for every frame, quiet about what is the same.
   make(root, time) -> { draw(frame, palette, data), words(frame), name(), columns(frame), destroy() } */
export function movingView(component, make) {
  return mountOnce(component, (root, first) => {
    root.classList.add("moving");
    const time = timeOf(first.data.side);
    let latest = first;
    const told = element("div", "moving-told aside");
    const view = make(root, time, (name, value) => latest.setTriggerValue(name, value));
    root.append(told);
    if (view.columns) {
      const drawn = view.drawn || root;
      takeaway(root, { name: () => `${view.name()}-step-${time.frame.step}`, drawn, columns: () => time.frame && view.columns(time.frame) });
    }
    const leave = time.subscribe(draw);
    function draw() {
      const { frame } = time;
      root.classList.toggle("moving-waits", time.waiting);
      told.textContent = time.problem || (frame ? view.words?.(frame, latest.data) || "" : _("Looking …"));
      if (frame) view.draw(frame, currentPalette(root, latest.data.palettes), latest.data);
    }
    return {
      update(next) {
        latest = next;
        time.look(next.data);
        draw();
      },
      destroy() {
        leave();
        view.destroy?.();
      },
    };
  });
}
