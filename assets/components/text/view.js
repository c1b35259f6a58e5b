/* Text with shaded tokens: as a model generates it, or by other amounts; data.view selects one. */
import { formatPercent } from "../shared/format.js";
import { _, ngettext, arrowStep, button, colorTable, element, mountView, shadeOf, showControlCharacters, untrustedText } from "../shared/mount.js";

const VIEWS = { generated, marked };

export default (component) => mountView(component, VIEWS);

/* Text as a model generates it: every token shaded by its probability, with its alternatives on hover, key or touch.
   data: { url: of the token stream, or null; tokens: those that exist already; prompt; total; go: changes when a new text is
           requested }
   A token: { text, visible, p, sampled: its probability after temperature and truncation, if any, alternatives: [[visible, p, text], ...] };
   with data.branches, a click on an alternative continues from there. */
function generated(root, component) {
  const status = element("div", "generated-readout", [], { role: "status" });
  const stop = button("generated-button", _("Stop"), () => end());
  const copy = button("generated-button", _("Copy"), async () => {
    const done = await copyText(data.prompt + tokens.map((token) => token.text).join(""));
    copy.textContent = done ? _("Copied") : _("Select and copy by hand");
    setTimeout(() => (copy.textContent = _("Copy")), 1500);
  });
  const text = untrustedText("div", "generated-text");
  const panel = element("div", "generated-panel", [], { "aria-live": "polite" });
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", _("The generated text; the arrow keys move from token to token"));
  const scale = element("span", "generated-scale");
  root.append(
    element("div", "generated-bar", [status, stop, copy]),
    element("div", "generated-body", [text, panel]),
    element("div", "generated-legend hint", [element("span", "", _("low probability")), scale, element("span", "", _("high probability"))]),
  );

  let data = null;
  let table = null;
  let source = null;
  let tokens = [];
  let selected = -1;
  let shown = -1;
  let began = 0;
  const waiting = []; // tokens that have come since the last frame
  let frame = 0;

  function add(token) {
    const index = tokens.push(token) - 1;
    const mark = letterOf("letter", token.text);
    mark.dataset.index = index;
    mark.style.backgroundColor = shadeOf(table, token.p);
    text.append(mark);
    if (token.text === "\n") text.append(element("br"));
  }

  function flush() {
    frame = 0;
    const follow = text.scrollHeight - text.scrollTop - text.clientHeight < 60;
    waiting.splice(0).forEach(add);
    if (follow) text.scrollTop = text.scrollHeight;
    if (selected < 0 && tokens.length) explain(tokens.length - 1);
    showStatus();
  }

  const isTokens = () => data.unit === "tokens"; // tokens are longer than letters

  function showStatus() {
    const count = tokens.length;
    if (source) {
      const rate = count / Math.max(0.05, (performance.now() - began) / 1000);
      const filled = { count, total: data.total, rate: Math.round(rate) };
      status.textContent =
        !count ? _("Generating …")
        : isTokens() ? ngettext("{count} of {total} token, {rate} tokens/s", "{count} of {total} tokens, {rate} tokens/s", data.total, filled)
        : ngettext("{count} of {total} character, {rate} characters/s", "{count} of {total} characters, {rate} characters/s", data.total, filled);
    } else if (count) {
      const crossEntropy = tokens.reduce((sum, token) => sum - Math.log(Math.max(token.p, 1e-12)), 0) / count;
      const filled = { count, choices: Math.exp(crossEntropy).toFixed(1) };
      status.textContent = isTokens()
        ? ngettext("{count} token, perplexity {choices} per token", "{count} tokens, perplexity {choices} per token", count, filled)
        : ngettext("{count} character, perplexity {choices} per character", "{count} characters, perplexity {choices} per character", count, filled);
    }
    stop.hidden = !source;
    copy.hidden = !count;
  }

  function end(problem = "") {
    close();
    showStatus();
    if (!problem) return;
    status.textContent = problem;
    status.classList.add("problem");
  }

  function close() {
    if (source) source.close();
    source = null;
    if (waiting.length) {
      cancelAnimationFrame(frame);
      flush();
    }
  }

  function begin() {
    close();
    tokens = [];
    selected = shown = -1;
    status.classList.remove("problem");
    text.replaceChildren(element("span", "prompt", showControlCharacters(data.prompt)));
    const hint = isTokens()
      ? _("Point at or tap a token to see its alternatives.")
      : _("Point at or tap a letter to see its alternatives.");
    panel.replaceChildren(element("div", "hint", hint));
    data.tokens.forEach(add);
    if (tokens.length) explain(0);
    if (!data.url) return showStatus();
    began = performance.now();
    source = new EventSource(new URL(data.url, document.baseURI));
    source.addEventListener("token", (event) => {
      waiting.push(JSON.parse(event.data));
      frame ||= requestAnimationFrame(flush);
      if (document.hidden) flush(); // a hidden page draws no frames
    });
    source.addEventListener("problem", (event) => end(JSON.parse(event.data).sentence));
    source.addEventListener("end", () => end());
    // Reconnecting would restart the text, so a lost connection ends it.
    source.onerror = () => end(_("The connection to the server was lost while generating. Press Generate again."));
    showStatus();
  }

  function explain(index) {
    const token = tokens[index];
    if (!token) return;
    if (text.children.length > 1) {
      text.querySelector(".letter.on")?.classList.remove("on");
      text.querySelector(`.letter[data-index="${index}"]`)?.classList.add("on");
    }
    shown = index;
    const rows = token.alternatives.map(([visible, p, text]) => ({ visible, p, text }));
    let own = rows.find((row) => row.visible === token.visible);
    if (!own) rows.push((own = { visible: token.visible, p: token.p }));
    const sentence = element("span", "", sampledInWords(token));
    panel.replaceChildren(element("div", "panel-head", [element("span", "panel-token", token.visible), sentence]));
    for (const row of rows) {
      const fill = element("span", "panel-fill");
      fill.style.width = `${Math.max(1, row.p * 100)}%`;
      const parts = [element("span", "panel-name", row.visible), element("span", "panel-track", fill), element("span", "panel-share", formatPercent(row.p, "< 0.1%"))];
      const branches = data.branches && row !== own && row.text;
      const line = branches ? button("panel-row branch", "", () => branch(index, row.text)) : element("div", row === own ? "panel-row own" : "panel-row");
      line.append(...parts);
      if (branches) line.title = line.ariaLabel = _("Write on from here with {token} instead", { token: row.visible });
      line.classList.toggle("wide", isTokens());
      panel.append(line);
    }
    panel.append(element("div", "hint", own === rows[0] ? _("The most likely token here.") : _("Not the most likely token here.")));
  }

  /* Let Python continue the text before a token with another token instead. */
  function branch(index, text) {
    end();
    component.setTriggerValue("branch", data.prompt + tokens.slice(0, index).map((token) => token.text).join("") + text);
  }

  function select(index) {
    selected = Math.max(0, Math.min(tokens.length - 1, index));
    explain(selected);
    text.querySelector(".letter.on")?.scrollIntoView({ block: "nearest" });
  }

  const indexOf = (event) => Number(event.target.closest(".letter")?.dataset.index ?? -1);
  text.addEventListener("pointerover", (event) => indexOf(event) >= 0 && explain(indexOf(event)));
  text.addEventListener("pointerleave", () => selected >= 0 && explain(selected));
  text.addEventListener("click", (event) => indexOf(event) >= 0 && select(indexOf(event)));
  text.addEventListener("focus", () => selected < 0 && tokens.length && select(Math.max(0, shown)));
  text.addEventListener("keydown", (event) => {
    const step = tokens.length && arrowStep(event);
    if (!step) return;
    select(selected + (getComputedStyle(text).direction === "rtl" && Math.abs(step) === 1 ? -step : step));
  });

  return {
    update() {
      const isNew = data?.go !== component.data.go;
      data = component.data;
      table = colorTable(component.palette.sequential);
      const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => shadeOf(table, share));
      scale.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
      if (isNew) begin();
      else for (const mark of text.querySelectorAll(".letter")) mark.style.backgroundColor = shadeOf(table, tokens[mark.dataset.index].p);
    },
    destroy: close,
  };
}

/* The model's probability of a token, and the one it was sampled with. */
export function sampledInWords({ p, sampled }) {
  const share = formatPercent(p);
  return sampled === undefined ? _("had probability {share} here", { share }) : _("model {share}, sampled with {sampled}", { share, sampled: formatPercent(sampled) });
}

/* A token's text, which is empty if it ends within a character. */
function letterOf(className, text) {
  const broken = text === "\n";
  return element("span", broken ? `${className} newline` : text ? className : `${className} part`, broken ? "⏎" : showControlCharacters(text));
}

/* Browsers offer their clipboard only to https and localhost; the older way still works in a classroom's plain http. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.style.cssText = "position:fixed;opacity:0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/* Texts whose tokens are shaded by amounts, with words for the token that is pointed at.
   data: { rows: [{ lead, tokens: [raw], shades: [0..1], words: [for each token, or ""], strong: place or null }], note } */
function marked(root, component) {
  const rows = element("div", "marked-rows");
  const readout = element("div", "hint marked-readout", [], { role: "status" });
  root.append(rows, readout);
  let data = null;

  const explain = (event) => {
    const mark = event.target.closest("[data-row]");
    readout.textContent = (mark && data.rows[mark.dataset.row].words[mark.dataset.place]) || data.note;
  };
  for (const name of ["pointerover", "click", "pointerleave"]) rows.addEventListener(name, explain);

  return {
    update() {
      data = component.data;
      const table = colorTable(component.palette.sequential);
      rows.replaceChildren(...data.rows.map((row, at) => line(row, at, table)));
      readout.textContent = data.note;
    },
  };

  function line(row, at, table) {
    const made = element("div", "marked-row");
    if (row.lead) made.append(element("span", "marked-lead", row.lead));
    const text = untrustedText("div", "marked-text");
    row.tokens.forEach((token, place) => {
      const mark = letterOf("marked", token);
      if (place === row.strong) mark.classList.add("strong");
      mark.dataset.row = at;
      mark.dataset.place = place;
      if (row.shades[place] >= 1 / 256) mark.style.backgroundColor = shadeOf(table, Math.min(1, row.shades[place]));
      text.append(mark);
      if (token === "\n" && data.breaks) text.append(element("br"));
    });
    made.append(text);
    return made;
  }
}
