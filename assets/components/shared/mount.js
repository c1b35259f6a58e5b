/* Streamlit calls a component's function again after every change of its data or of the theme, and may call the cleanup of an
   older call after a newer one. `mountOnce` has one view for each node: it builds the view on the first call, updates it on
   later ones, and removes it only when the newest call is cleaned up and the node has left the page. Another language rebuilds it.

   The palette is `component.palette` and, in style sheets, variables such as --accent.

   build(root, component) -> { update(), destroy() if needed }; root is an empty element for the view, and component always has
   the data and the palette of the newest call. */
const sentences = { language: "", plain: {}, forms: {}, rule: [] }; // of all components in the current language, by the English ones

function addSentences({ language, plain, forms, rule }) {
  if (language !== sentences.language) Object.assign(sentences, { language, plain: {}, forms: {}, rule });
  Object.assign(sentences.plain, plain);
  Object.assign(sentences.forms, forms);
}

/* Translate a sentence of ours, with `{name}` filled in. Write it as one literal in double quotes:
   explorer/components/modules.py finds it there. */
export function _(english, numbers = {}) {
  return fill(sentences.plain[english] ?? english, numbers);
}

/* The sentence for a count, from two literals, of which English takes the first for a count of 1. */
export function ngettext(one, several, count, numbers = {}) {
  const forms = sentences.forms[one];
  const form = forms ? forms[sentences.rule[count < sentences.rule.length ? count : 100 + (count % 100)]] : count === 1 ? one : several;
  return fill(form, { count, ...numbers });
}

function fill(sentence, numbers) {
  const shown = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : String(value));
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in numbers ? isolated(shown(numbers[name])) : whole));
}

/* As `core.text.token_display.isolated`: right-to-left letters do not affect the numbers and quotes around them. */
function isolated(text) {
  return /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(text) ? `\u2068${text}\u2069` : text;
}

/* Return text with signs for control characters, which a browser would drop: ␛ for the escape character. */
export function showControlCharacters(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f]/g, (sign) => String.fromCharCode(0x2400 + sign.charCodeAt(0))).replaceAll("\u007f", "\u2421");
}

/* A displayed token in quotes: 'e'. */
export function quoted(token) {
  return `'${isolated(token)}'`;
}

/* An element for text from a user or a model: its first letter decides in which direction it is read. */
export function untrustedText(tag, className, text) {
  const made = element(tag, className, text && showControlCharacters(text));
  made.dir = "auto";
  return made;
}

/* A sentence in pieces, with `elements` (or texts) at each `{name}` that `_` has not filled. */
export function withElements(sentence, elements) {
  return sentence.split(/\{(\w+)\}/).map((piece, index) => (index % 2 ? elements[piece] ?? `{${piece}}` : piece));
}

/* Views that were mounted before Streamlit started, by component; Streamlit's components take them over unchanged. */
export const prerendered = new Map();
export const prerenderKey = ({ name, data }) => JSON.stringify([name, data.side, data.view]);

export function mountOnce(mounting, build) {
  const parent = mounting.parentElement;
  addSentences(mounting.data.sentences);
  const { language } = sentences;
  parent.__explorer ??= prerendered.get(prerenderKey(mounting))?.takenBy(parent);
  let mounted = parent.__explorer;
  if (mounted && mounted.language !== language) {
    mounted.view.destroy?.();
    mounted.root.remove();
    mounted = null;
  }
  if (!mounted) {
    mounted = parent.__explorer = { root: element("div", "root"), component: {}, language, call: 0, view: null };
    parent.appendChild(mounted.root);
  }
  // A prerendered view is still elsewhere in the document, where a theme that has just changed is not known.
  const component = Object.assign(mounted.component, mounting, { palette: currentPalette(parent.host ?? parent, mounting.data.palettes) });
  for (const [name, color] of Object.entries(component.palette)) {
    if (typeof color === "string") mounted.root.style.setProperty(`--${name}`, color);
  }
  // For the browser's own sliders, boxes and scroll bars.
  mounted.root.style.setProperty("color-scheme", component.palette === mounting.data.palettes.dark ? "dark" : "light");
  mounted.view ??= build(mounted.root, component);
  const call = ++mounted.call;
  mounted.view.update?.();
  for (const drawn of [mounted.root, ...mounted.root.querySelectorAll(".named")]) if (drawn.matches(".named")) nameFigure(drawn);
  return () => {
    // A node that is still on the page belongs to a newer call, which may have mounted before this cleanup.
    if (parent.isConnected || parent.__explorer !== mounted || mounted.call !== call) return;
    mounted.view.destroy?.();
    mounted.root.remove();
    delete parent.__explorer;
  };
}

/* Mount the one of `views` that data.view names; style sheets select it by [data-view]. */
export function mountView(mounting, views) {
  return mountOnce(mounting, (root, component) => {
    root.dataset.view = component.data.view;
    return views[component.data.view](root, component);
  });
}

/* The title and the question of the drawing at a node: the last heading before it on the page, and the caption below that;
   a drawing without its own heading has its title in data-title. */
export function chartTitle(node) {
  if (node.dataset.title) return node.dataset.title;
  const place = node.getRootNode().host ?? node;
  const follows = (other, one) => Boolean(one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
  const before = (selector) => [...document.querySelectorAll(`.stMain :is(${selector})`)].filter((each) => follows(place, each));
  const heading = before("h1, h2, h3, h4, h5, h6").at(-1);
  const caption = heading && before('[data-testid="stCaptionContainer"]').find((each) => follows(each, heading));
  return [heading, caption].filter(Boolean).map((each) => each.textContent.trim()).join(": ");
}

/* Set the accessible name of a drawing; `mountOnce` sets it again after every change. */
export function nameFigure(drawn) {
  drawn.classList.add("named");
  drawn.setAttribute("role", "figure");
  drawn.setAttribute("aria-label", chartTitle(drawn));
}

/* Light or dark, by the actual background of the component. */
function currentPalette(element, palettes) {
  const background = getComputedStyle(element).getPropertyValue("--st-background-color").trim();
  const [red, green, blue] = rgbOf(background || "#ffffff");
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128 ? palettes.dark : palettes.light;
}

export function rgbOf(color) {
  if (color.startsWith("#")) {
    const hex = color.length < 6 ? color.slice(1).replace(/./g, "$&$&") : color.slice(1);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }
  return (color.match(/[\d.]+/g) || [255, 255, 255]).slice(0, 3).map(Number);
}

/* 256 colors between the stops of a scale, as a flat array of RGB. */
export function colorTable(stops) {
  const table = new Uint8ClampedArray(256 * 3);
  const colors = stops.map(rgbOf);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (colors.length - 1);
    const index = Math.min(colors.length - 2, Math.floor(place));
    for (let channel = 0; channel < 3; channel++) {
      const from = colors[index][channel];
      table[level * 3 + channel] = from + (colors[index + 1][channel] - from) * (place - index);
    }
  }
  return table;
}

/* The shade of a text's background for a share from 0 to 1: it uses half the scale, so that letters stay readable. */
export function shadeOf(table, share) {
  const level = Math.round(share * 128) * 3;
  return `rgb(${table.slice(level, level + 3).join(",")})`;
}

/* The color of readable text on a color given as [red, green, blue]. */
export function textColorOn(color) {
  const [red, green, blue] = [...color].map((value) => (value / 255 <= 0.04045 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

/* An SVG element with attributes and a text. */
export function svgElement(name, attributes = {}, text = undefined) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function button(className, text, onClick) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/* How far an arrow key moves in a line of tokens; 0 for any other key. */
export function arrowStep(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key] || 0;
  if (step) event.preventDefault();
  return step;
}

/* An element with a class, a text or a list of nodes and texts, and attributes; text is never read as HTML. */
export function element(tag, className, content = [], attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...[content].flat());
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function bytesFromBase64(base64) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/* Return a tip, a sentence beside the pointer. attach(node, words(event) -> text or "") */
export function pointerTips(box) {
  const tip = element("div", "pointer-tip aside");
  tip.hidden = true;
  box.append(tip);
  let shown = null; // the last event with a tip: of two nested elements, the inner one gets the event first
  return {
    attach(node, words) {
      node.addEventListener("pointermove", (event) => {
        if (shown === event) return;
        shown = event;
        tip.textContent = words(event);
        tip.hidden = !tip.textContent;
        const bounds = box.getBoundingClientRect();
        tip.style.left = `${Math.max(0, Math.min(bounds.width - tip.offsetWidth, event.clientX - bounds.left + 12))}px`;
        tip.style.top = `${tipTop(node.getBoundingClientRect(), tip.offsetHeight, event.clientY, window.innerHeight) - bounds.top}px`;
      });
      node.addEventListener("pointerleave", () => (tip.hidden = true));
    },
  };
}

/* Return the top of a tip that does not cover what it explains: below it, or above it at the bottom of the window; for a tall
   node, below the pointer. node: { top, bottom }; all in pixels of the window */
export function tipTop(node, height, pointer, windowHeight) {
  const [TALL, GAP] = [200, 6];
  if (node.bottom - node.top > TALL) return pointer + 3 * GAP;
  const below = node.bottom + GAP;
  return below + height > windowHeight ? node.top - GAP - height : below;
}
