/* Tells Python `changed` when a run that the page shows is no longer as it was drawn: continued, stopped, renamed or deleted by
   another tab or the shell. data: { runs: [id] or null for all, drawn: digest }; the digest is that of explorer/news.py.

   A run's own stream (hub.js) tells the same while it is open, and a browser grants six connections a host; so as long as one
   is open, none is opened here. */
import { mountOnce } from "../shared/mount.js";

export default function (component) {
  return mountOnce(component, () => {
    const LOOK = 500; // milliseconds between two looks whether the stream should be open
    const SETTLE = 800; // milliseconds that a change must stand: a click that made it is often leading to another page
    let latest = null;
    let source = null;
    let watched = ""; // the runs that the open stream tells of
    let newest = null;
    let since = 0; // when the newest digest came
    let told = null;

    const runs = () => latest.data.runs || [];
    const hasOwnStream = () => runs().some((id) => globalThis.__gptExplorerRuns?.get(id)?.open());

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
          if (digest !== newest) since = performance.now();
          newest = digest;
        });
        source.onerror = () => source?.readyState === EventSource.CLOSED && close();
      }
      tell();
    }

    /* A dialog would be closed by the page that is drawn anew, so it is waited for. */
    function tell() {
      if (newest === null || newest === latest.data.drawn || newest === told) return;
      if (performance.now() - since < SETTLE) return;
      if (document.querySelector('[role="dialog"][aria-modal="true"]')) return;
      told = newest;
      latest.setTriggerValue("changed", newest);
    }

    const timer = setInterval(look, LOOK);
    document.addEventListener("visibilitychange", look);
    return {
      update(next) {
        latest = next;
        if (told === next.data.drawn) told = null;
        look();
      },
      destroy() {
        clearInterval(timer);
        document.removeEventListener("visibilitychange", look);
        close();
      },
    };
  });
}
