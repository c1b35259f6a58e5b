/* Prerender Home while the browser still loads Streamlit: its parts are mounted on a page of ours that covers Streamlit's
   (explorer/web/templates/home_prerender.html), and moved to Streamlit's page unchanged once that has places for all of them. */
import { element, prerendered, prerenderKey } from "../shared/mount.js";
import bar from "../time_bar/view.js";
import picture from "../time_machine/view.js";

const MOUNTS = { "gpt_explorer.time_bar": bar, "gpt_explorer.time_machine": picture };
const LOOK = 250; // milliseconds between checks whether Streamlit shows something else instead
const LONGEST = 30_000; // milliseconds after which Streamlit's own page shows what went wrong
const LONGEST_PLACED = 10_000; // milliseconds for Streamlit to load the code that mounts the parts it has places for
const PAINTED = 150; // milliseconds to wait for a frame: a hidden tab paints none

/* Mount the parts, [{ key, name, message, styles }], into `page`; resolves when they are painted. */
export function prerender(page, parts) {
  const moves = [];
  let looks = 0; // consecutive checks that found a page of Streamlit's without the parts
  const timer = setInterval(look, LOOK);
  const latest = setTimeout(end, LONGEST);

  /* Replace our page by Streamlit's, scrolled to the same place. */
  function end() {
    clearInterval(timer);
    clearTimeout(latest);
    for (const move of moves.splice(0)) move();
    const left = [...prerendered.values()];
    prerendered.clear();
    const main = document.querySelector('[data-testid="stMain"]');
    if (main) main.scrollTop = page.scrollTop;
    for (const node of [page, document.querySelector(".prerendered-side")]) node?.remove();
    for (const { unmount } of left) unmount();
    document.documentElement.classList.remove("prerendered-light", "prerendered-dark");
  }

  function look() {
    const { testScriptState, testConnectionState } = document.querySelector(".stApp")?.dataset ?? {};
    const drawn = testScriptState === "notRunning" && testConnectionState === "CONNECTED" && document.querySelector(".stMain .stElementContainer:not(.prerendered *)");
    looks = drawn ? looks + 1 : 0;
    const placed = parts.some(({ key }) => document.querySelector(`.stMain .st-key-${key}:not(.prerendered *)`));
    if (looks > (placed ? LONGEST_PLACED / LOOK : 3)) end();
  }

  for (const { key, name, message, styles } of parts) {
    const parentElement = page.querySelector(`.st-key-${key}`).attachShadow({ mode: "open" });
    parentElement.append(element("style", "", styles));
    const unmount = MOUNTS[name]({ name, data: message, parentElement, setStateValue() {}, setTriggerValue() {} });
    const mounted = parentElement.__explorer;
    const takenBy = (parent) => {
      prerendered.delete(prerenderKey({ name, data: message }));
      moves.push(() => parent.__explorer === mounted && parent.append(mounted.root));
      if (!prerendered.size) queueMicrotask(end);
      return mounted;
    };
    prerendered.set(prerenderKey({ name, data: message }), { takenBy, unmount });
  }
  const frame = new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
  return Promise.race([frame, new Promise((late) => setTimeout(late, PAINTED))]);
}
