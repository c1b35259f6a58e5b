/* The steps of a lesson as links. The browser stores its progress under STORE:
   { lesson: { last: step, seen: [step], right: [step] } }. The links work without a store, too (a private window may refuse one).
   data: { lesson, steps: [[name, title, url]], here, right, label, listed, resume } */
import {element, mountOnce } from "../shared/mount.js";

const STORE = "gpt-explorer-lessons";

function loadProgress(lesson) {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) || "{}")[lesson] || {};
    const list = (steps) => (Array.isArray(steps) ? steps : []);
    return { last: typeof stored.last === "string" ? stored.last : null, seen: list(stored.seen), right: list(stored.right) };
  } catch {
    return { last: null, seen: [], right: [] };
  }
}

function saveProgress(lesson, progress) {
  try {
    const all = JSON.parse(localStorage.getItem(STORE) || "{}");
    localStorage.setItem(STORE, JSON.stringify({ ...all, [lesson]: progress }));
  } catch {
    /* progress is not remembered then */
  }
}

export default (mounting) => mountOnce(mounting, (root, component) => {
  const list = element("ol", "path");
  root.append(list);

  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    component.setTriggerValue("step", link.dataset.step);
  });

  return {
    update() {
      const { data } = component;
      const progress = loadProgress(data.lesson);
      const right = new Set([...progress.right, ...data.right]);
      const seen = new Set([...progress.seen, ...(data.here ? [data.here] : [])]);
      if (data.here) saveProgress(data.lesson, { last: data.here, seen: [...seen], right: [...right] });
      list.setAttribute("aria-label", data.label);
      list.classList.toggle("listed", data.listed);
      const here = data.here || progress.last;
      const place = data.steps.findIndex(([name]) => name === here);
      list.replaceChildren(...data.steps.map(([name, title, url], index) => {
        const dot = element("span", "path-dot", right.has(name) ? "✓" : String(index + 1), { "aria-hidden": "true" });
        const shown = [dot, element("span", "path-title", title)];
        const link = element("a", "path-step", shown, { href: url, "data-step": name, title });
        link.classList.toggle("path-here", index === place);
        link.classList.toggle("path-seen", seen.has(name));
        link.classList.toggle("path-right", right.has(name));
        if (index === place && data.here) link.setAttribute("aria-current", "step");
        if (index === place && data.resume) link.append(element("span", "path-resume", data.resume));
        return element("li", "", link);
      }));
    },
  };
});
