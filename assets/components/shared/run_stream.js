/* One stream per page and run, shared by every live component on it (a browser allows six connections per host).

   runStream(runId).subscribe(handlers) -> unsubscribe
   handlers, all optional: metrics(rows), samples(rows), events(rows) with the rows so far, for a long history fewer early ones;
   status, attention, embedding, step_detail with the latest; end(state); connection("open" | "lost"). A late subscriber gets all this at once. */
import { _ } from "./mount.js";
import { withExtremes } from "./thinning.js";

export const streams = new Map(); // by run
export const COLUMNS = ["loss", "grad_norm", "tokens_per_second", "lr", "val_loss"]; // their extremes stay, as in jsonl_tail.py

export function runStream(runId) {
  if (!streams.has(runId)) streams.set(runId, openRun(runId, () => streams.delete(runId)));
  return streams.get(runId);
}

/* Return the rows of events that are setting changes, by the name that they have on disk (core/runs/commands.py). */
export const settingChangesIn = (rows) => rows.filter((row) => row.kind === "turn");

/* The view of a run, component.data.run or none. begin() resets the view and returns the handlers for the next run; every update
   calls `prepare` before that and `draw` after it. */
export function liveView(component, begin, { prepare, draw, destroy }) {
  let current = null;
  let leave = null;
  return {
    update() {
      prepare?.();
      const { run } = component.data;
      if (run !== current) {
        leave?.();
        current = run;
        leave = run === null ? null : runStream(run).subscribe(begin());
      }
      draw?.();
    },
    destroy() {
      leave?.();
      destroy?.();
    },
  };
}

/* When a task was memorized and generalized, as marks of a chart, from a run's status (core/training/progress_summary.py). */
export function milestonesOf(status) {
  const labels = { memorized: _("memorized"), generalized: _("generalized") };
  return Object.entries(status.progress?.milestones ?? {}).map(([name, step]) => ({ step, label: labels[name] }));
}

function openRun(runId, onUnused) {
  const MAX_ROWS = { metrics: 6000, samples: 300, events: 6000 };
  const lists = { metrics: [], samples: [], events: [] };
  const latest = { status: null, attention: null, embedding: null, step_detail: null };
  const subscribers = new Set();
  let source = null;
  let cursor = "";
  let ended = null;
  let lost = false;
  let attempts = 0;
  let timer = 0;

  function notify(kind, value) {
    for (const handlers of subscribers) handlers[kind]?.(value);
  }

  /* Thin the older half to about half; extremes stay, and so do measured rows, unless they are a quarter of it or more. */
  function fewer(kind, list) {
    const older = list.slice(0, list.length / 2);
    const measured = (row) => row.val_loss !== undefined;
    const spared = older.filter(measured).length < older.length / 4 ? measured : undefined;
    const fewerRows =
      kind === "metrics"
        ? withExtremes(older, COLUMNS, 4 * COLUMNS.length, spared)
        : older.filter((_row, index) => index % 2 === 0);
    return fewerRows.concat(list.slice(older.length));
  }

  /* After a reset (a run resumed from a checkpoint), the rows replace all earlier ones. */
  function addRows(kind, { rows, reset }) {
    const list = reset ? (lists[kind] = []) : lists[kind];
    list.push(...rows);
    if (list.length > MAX_ROWS[kind]) lists[kind] = fewer(kind, list);
    notify(kind, lists[kind]);
  }

  function open() {
    clearTimeout(timer);
    if (source || ended || document.hidden || !subscribers.size) return;
    const address = new URL(`api/runs/${encodeURIComponent(runId)}/stream`, document.baseURI);
    if (cursor) address.searchParams.set("cursor", cursor);
    source = new EventSource(address);
    const listen = (kind, then) =>
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) cursor = event.lastEventId;
        then(JSON.parse(event.data));
      });
    for (const kind of Object.keys(lists)) listen(kind, (value) => addRows(kind, value));
    for (const kind of Object.keys(latest)) {
      listen(kind, (value) => {
        latest[kind] = value;
        notify(kind, value);
      });
    }
    listen("end", ({ state }) => {
      ended = state;
      close();
      notify("end", state);
    });
    source.onopen = () => {
      attempts = 0;
      lost = false;
      notify("connection", "open");
    };
    source.onerror = () => {
      if (!source) return;
      lost = true;
      notify("connection", "lost");
      if (source.readyState !== EventSource.CLOSED) return; // the browser reconnects
      close();
      timer = setTimeout(open, Math.min(10000, 1000 * 2 ** attempts++));
    };
  }

  function close() {
    source?.close();
    source = null;
  }

  function onVisibility() {
    if (document.hidden) close();
    else open();
  }
  document.addEventListener("visibilitychange", onVisibility);

  return {
    subscribe(handlers) {
      subscribers.add(handlers);
      for (const [kind, rows] of Object.entries(lists)) if (rows.length) handlers[kind]?.(rows);
      for (const [kind, value] of Object.entries(latest)) if (value) handlers[kind]?.(value);
      if (lost) handlers.connection?.("lost");
      if (ended) handlers.end?.(ended);
      open();
      return () => {
        subscribers.delete(handlers);
        // A rerun may remove a component and add it again at once; only leaving the page ends the stream.
        setTimeout(() => {
          if (subscribers.size) return;
          clearTimeout(timer);
          close();
          document.removeEventListener("visibilitychange", onVisibility);
          onUnused();
        }, 1000);
      };
    },
    /* Whether changes of the run still arrive here. */
    open: () => source !== null && !lost,
    /* Reopen the stream after its end (a stopped run was resumed). */
    wake() {
      if (!ended) return;
      ended = null;
      open();
    },
  };
}
