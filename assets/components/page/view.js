/* Components of every page that draw no picture; data.view selects one. */
import { showTable, tableButton } from "../shared/download.js";
import { _, button, element, mountView, nameFigure, chartTitle } from "../shared/mount.js";
import { loadPlotly } from "../shared/plotly.js";
import { streams } from "../shared/run_stream.js";

const VIEWS = { pageChange, replaceAddress, watchRuns, preloadPlotly, chartButtons };
let shown = null; // the page, kept here because every page mounts the sidebar's content again

export default (component) => mountView(component, VIEWS);

/* Scroll to the top when the page shows something else, and fold the sidebar away on a phone, where it covers the page.
   Streamlit does neither when only the parameters of the address change, nor for our own links.
   data: { page, parameters: those of the address that decide what it shows } */
function pageChange(_root, component) {
  /* Return the page shown before. */
  function scrollToNew() {
    const { page, parameters } = component.data;
    const query = new URLSearchParams(location.search);
    const place = JSON.stringify([page, ...parameters.map((name) => query.get(name) || "")]);
    const before = shown;
    shown = { page, place };
    if (before && before.place !== place) document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
    return before?.page ?? page;
  }

  // If the browser reports new addresses: scroll before any new content is drawn.
  globalThis.navigation?.addEventListener("currententrychange", scrollToNew);
  return {
    destroy: () => globalThis.navigation?.removeEventListener("currententrychange", scrollToNew),
    update() {
      if (scrollToNew() === component.data.page || window.innerWidth > 768) return;
      const sidebar = document.querySelector('[data-testid="stSidebar"]');
      if (sidebar?.dataset.collapsed === "true") return;
      sidebar?.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    },
  };
}

/* Replace the parameters of the address, but only if it is still the one that the page was drawn for: a click may have changed it.
   data: { before, query: parameters as they are in an address } */
function replaceAddress(_root, component) {
  const sorted = (query) => [...new URLSearchParams(query)].map(String).sort().join("&");
  return {
    update() {
      const { data } = component;
      if (sorted(location.search) === sorted(data.before)) history.replaceState({}, "", `${location.pathname}?${data.query}`);
    },
  };
}

/* Report `changed` to Python when a run on the page has changed since it was drawn: continued, stopped, renamed or deleted by
   another tab or the shell. data: { runs: [id] or null for all, drawn: digest from explorer/streaming/broadcaster.py }

   A run's own stream (run_stream.js) reports the same while it is open, and a browser allows six connections per host; so while
   one is open, none is opened here. */
function watchRuns(_root, component) {
  const LOOK = 500; // milliseconds between checks whether the stream should be open
  const SETTLE = 300; // milliseconds before a change is reported: the click that made it often opens another page
  let source = null;
  let watched = ""; // the runs of the open stream
  let newest = null;
  let since = 0; // when the newest digest came
  let reported = null;
  let woken = null; // the digest for which ended streams were last reopened
  let gone = false;

  const runs = () => component.data.runs || [];
  const hasOwnStream = () => runs().some((id) => streams.get(id)?.open());

  function close() {
    source?.close();
    source = newest = null;
  }

  function look() {
    const wanted = new URLSearchParams(runs().map((id) => ["run", id])).toString();
    if (source && (document.hidden || wanted !== watched || hasOwnStream())) close();
    if (!source && !document.hidden && !hasOwnStream()) {
      watched = wanted;
      source = new EventSource(new URL(`api/news?${wanted}`, document.baseURI));
      source.addEventListener("news", (event) => {
        const { digest } = JSON.parse(event.data);
        if (digest === newest) return;
        since = performance.now();
        newest = digest;
        wake();
        setTimeout(report, SETTLE + 1);
      });
      source.onerror = () => source?.readyState === EventSource.CLOSED && close();
    }
    report();
  }

  /* A run whose stream has ended may continue: reopen the stream, so that its views change at once, before the page reruns. */
  function wake() {
    if (newest === component.data.drawn || newest === woken) return;
    woken = newest;
    for (const id of runs()) streams.get(id)?.wake();
  }

  /* Wait for an open dialog: a rerun of the page would close it. */
  function report() {
    if (gone || newest === null || newest === component.data.drawn || newest === reported) return;
    if (performance.now() - since < SETTLE) return;
    if (document.querySelector('[role="dialog"][aria-modal="true"]')) return;
    reported = newest;
    component.setTriggerValue("changed", newest);
  }

  const timer = setInterval(look, LOOK);
  document.addEventListener("visibilitychange", look);
  return {
    update() {
      if (reported === component.data.drawn) reported = null;
      look();
    },
    destroy() {
      gone = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      close();
    },
  };
}

/* Load plotly.js while the visitor is reading: parsing it takes a second, which would delay the first loss after a click. */
function preloadPlotly() {
  const whenIdle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 200));
  whenIdle(() => loadPlotly().catch(() => {})); // the chart itself reports a failure, if it comes to that
  return {};
}

/* Two of the buttons below a plotly chart: its numbers as a table, requested from Python, and its drawing, by a click on the only
   button of plotly's own bar. data: { chart: its key, table: as `tableOf` returns it, or null until it is requested } */
function chartButtons(root, component) {
  const chart = () => document.querySelector(`.st-key-${CSS.escape(component.data.chart)}`);
  let wanted = false;
  const show = () => showTable(root, chartTitle(root), component.data.table);
  const table = tableButton(() => {
    if (component.data.table) return show();
    wanted = true;
    component.setTriggerValue("table", true);
  });
  const save = button("download-button", "SVG", () => chart()?.querySelector(".modebar-btn")?.click());
  save.title = _("This chart as an SVG drawing, for a text or a slide.");
  root.append(element("div", "downloads", [table, save]));
  const name = () => chart() && nameFigure(chart());
  // Streamlit replaces a chart's node once the code that draws it has loaded.
  const added = new MutationObserver(name);
  added.observe(root.getRootNode().host.closest(".stVerticalBlock"), { childList: true });
  return {
    update() {
      name();
      if (!wanted || !component.data.table) return;
      wanted = false;
      show();
    },
    destroy: () => added.disconnect(),
  };
}
