/* Three small buttons below every drawing: its numbers as a table, and downloads of the drawing (SVG) and of its numbers (CSV).

   downloadButtons(root, { name(), columns(), drawn, svg() }) -> the row of buttons, at the end of root
   columns: { name: [values] }, all of the same length, or null if there is nothing; drawn: the element that is drawn, if not
   all of root; svg: if the drawing is not to be read off the page.
   What is not part of a drawing (tips, the text below) has the class "aside". A canvas has the function that paints it:
   canvas.redraw(context). */
import { _, button, element, nameFigure, ngettext, rgbOf, chartTitle } from "./mount.js";

const MAX_ROWS = 300; // of a table on the page; as in explorer/charts/csv_export.py

export function downloadButtons(root, { name, columns, drawn = root, svg = () => svgOf(drawn) }) {
  const saving = (label, title, type, make) => {
    const made = button("download-button", label, async () => {
      const content = await make();
      if (content) saveFile(`${name()}.${label.toLowerCase()}`, content, type);
    });
    made.title = title;
    return made;
  };
  const row = element("div", "downloads aside", [
    tableButton(() => columns() && showTable(row, chartTitle(drawn), tableOf(columns()))),
    saving("SVG", _("This chart as an SVG drawing, for a text or a slide."), "image/svg+xml", async () => columns() && svg()),
    saving("CSV", _("The numbers of this chart, for a spreadsheet."), "text/csv", () => columns() && csvOf(columns())),
  ]);
  root.append(row);
  nameFigure(drawn);
  return row;
}

export function tableButton(onClick) {
  const made = button("table-button", _("Table"), onClick);
  made.title = _("The numbers of this chart, as a table.");
  return made;
}

/* Show the numbers of a drawing in a dialog over the page, so that nothing moves; inside `place`, it closes with the page.
   table: as `tableOf` returns it */
export function showTable(place, title, { names, rows, count }) {
  const line = (tag, values, more) => element("tr", "", values.map((value) => element(tag, "", value, { dir: "auto", ...more })));
  const head = element("thead", "", line("th", names, { scope: "col" }));
  const body = element("tbody", "", rows.map((row) => line("td", row)));
  const filled = { shown: rows.length.toLocaleString("en"), count: count.toLocaleString("en") };
  const sentence = rows.length < count ? _("{shown} of {count} rows, evenly spaced. The CSV file has all.", filled) : ngettext("{count} row", "{count} rows", count, filled);
  const scroller = element("div", "numbers-scroll sideways", element("table", "", [head, body]), { tabindex: 0 });
  const close = button("numbers-close", _("Close"), () => dialog.close());
  const dialog = element("dialog", "numbers", [element("div", "numbers-head", [element("b", "", title), close]), element("div", "quiet", sentence), scroller], { "aria-label": title });
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  place.append(dialog);
  dialog.showModal();
}

/* Columns for the buttons, from lines that have a value for each name. */
export function columnsOf(names, lines) {
  return Object.fromEntries(names.map((name, at) => [name, lines.map((line) => line[at])]));
}

/* The columns of a run's losses, null if there are none. */
export function lossColumns(rows) {
  const names = ["step", "training loss", "validation loss", "validation bits/byte"];
  return rows.length ? columnsOf(names, rows.map((row) => [row.step, row.loss, row.val_loss, row.val_bits_per_byte])) : null;
}

/* As `csv_of` in explorer/charts/csv_export.py, which explains it; exported for the test that compares both. */
export function csvOf(columns) {
  const cell = (value) => {
    if (typeof value === "number") return shown(value);
    const text = shown(value).replace(/^[=+\-@\t\r]/, "'$&");
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const names = Object.keys(columns);
  const rows = Array.from(columns[names[0]], (_value, index) => names.map((name) => cell(columns[name][index])).join(","));
  return `\ufeff${[names.map(cell).join(","), ...rows, ""].join("\r\n")}`;
}

/* As `table_of` in explorer/charts/csv_export.py: { names, rows: at most MAX_ROWS of texts, evenly spaced, count: of all rows } */
export function tableOf(columns) {
  const names = Object.keys(columns);
  const count = columns[names[0]].length;
  const length = Math.min(count, MAX_ROWS);
  const rows = Array.from({ length }, (_value, row) => {
    const at = Math.floor((row * (count - 1)) / Math.max(1, length - 1));
    return names.map((name) => shown(columns[name][at]));
  });
  return { names, rows, count };
}

function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  return String(typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value);
}

function saveFile(name, content, type) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/* Return what is on the page as an SVG: backgrounds, borders, texts, SVGs and canvases, at their places. */
function svgOf(drawn) {
  const PRESENTED = ["fill", "stroke", "stroke-width", "stroke-linejoin", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "vector-effect"];
  const parts = [];
  const start = drawn.getBoundingClientRect();
  const ruler = document.createElement("canvas").getContext("2d");
  let [right, bottom] = [start.width, start.height];
  const round = (value) => Math.round(value * 100) / 100;

  /* A color in a form that all programs read, and its opacity. */
  function paintOf(color) {
    const mixed = color.match(/^color\(srgb ([\d.]+) ([\d.]+) ([\d.]+)(?: \/ ([\d.]+))?\)$/);
    const [red, green, blue] = mixed ? mixed.slice(1, 4).map((share) => Math.round(255 * share)) : rgbOf(color);
    const alpha = mixed ? Number(mixed[4] ?? 1) : color.startsWith("rgba") ? Number(color.match(/[\d.]+/g)[3]) : color === "transparent" ? 0 : 1;
    return [`rgb(${red},${green},${blue})`, alpha];
  }
  const filled = (name, color) => {
    const [paint, alpha] = paintOf(color);
    return ` ${name}="${paint}"${alpha < 1 ? ` ${name}-opacity="${round(alpha)}"` : ""}`;
  };

  function write(node, style) {
    const text = node.textContent;
    if (!text.trim()) return;
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()];
    if (!rects.length) return;
    let lines = [[text, rects[0]]];
    if (rects.length > 1) { // several lines: letters at the same height form one line
      lines = [];
      for (let place = 0; place < text.length; place++) {
        range.setStart(node, place);
        range.setEnd(node, place + 1);
        const rect = range.getBoundingClientRect();
        const last = lines.at(-1);
        if (last && Math.abs(last[1].top - rect.top) < 2) last[0] += text[place];
        else if (rect.width) lines.push([text[place], rect]);
      }
    }
    ruler.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const { fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = ruler.measureText(text);
    const room = node.parentElement.getBoundingClientRect();
    for (const [line, rect] of lines) {
      const cut = style.overflowX === "hidden" && rect.width > room.width + 1;
      const shown = cut ? `${line.slice(0, Math.max(1, Math.floor((line.length * room.width) / rect.width) - 1))}…` : line;
      const y = rect.top - start.top + (rect.height - above - below) / 2 + above;
      parts.push(`<text x="${round(rect.left - start.left)}" y="${round(y)}" font-family="${forXml(style.fontFamily)}" font-size="${style.fontSize}" font-weight="${style.fontWeight}" xml:space="preserve"${filled("fill", style.color)}>${forXml(shown)}</text>`);
      if (!cut) right = Math.max(right, rect.right - start.left);
    }
  }

  function paper(svg, rect) {
    const copy = svg.cloneNode(true);
    const pairs = [[svg, copy], ...[...svg.querySelectorAll("*")].map((made, index) => [made, copy.querySelectorAll("*")[index]])];
    for (const [from, to] of pairs) {
      const style = getComputedStyle(from);
      for (const name of PRESENTED) {
        const value = style.getPropertyValue(name);
        if (value && value !== "none" && value !== "auto" && !(name === "opacity" && value === "1")) to.setAttribute(name, value.startsWith("color(") ? paintOf(value)[0] : value);
        else if (name === "fill" && value === "none") to.setAttribute(name, value);
      }
      if (from !== svg && style.transform !== "none") to.setAttribute("transform", style.transform);
      for (const name of ["class", "style", "role", "aria-label", "aria-hidden"]) to.removeAttribute(name);
    }
    const place = { x: round(rect.left - start.left), y: round(rect.top - start.top), width: round(rect.width), height: round(rect.height), overflow: "visible" };
    for (const [name, value] of Object.entries(place)) copy.setAttribute(name, value);
    return new XMLSerializer().serializeToString(copy);
  }

  function walk(node) {
    if (node.nodeType === Node.TEXT_NODE) return write(node, getComputedStyle(node.parentElement));
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(".aside, button, input, label, style")) return;
    const style = getComputedStyle(node);
    const rect = node.getBoundingClientRect();
    if (style.display === "none" || style.visibility === "hidden" || !rect.width) return;
    const [x, y] = [round(rect.left - start.left), round(rect.top - start.top)];
    if (style.overflowX === "visible" || node.matches("canvas")) [right, bottom] = [Math.max(right, x + rect.width), Math.max(bottom, y + rect.height)];
    const opacity = Number(style.opacity);
    if (opacity < 1) parts.push(`<g opacity="${round(opacity)}">`);
    if (node.matches("svg")) parts.push(paper(node, rect));
    else if (node.redraw) {
      const context = svgContext();
      node.redraw(context);
      parts.push(`<g transform="translate(${x} ${y})">${context.svg()}</g>`);
    } else {
      const [, alpha] = paintOf(style.backgroundColor);
      const width = parseFloat(style.borderTopWidth);
      const edge = style.borderTopStyle === "solid" && style.borderBottomWidth === style.borderTopWidth && width && paintOf(style.borderTopColor)[1];
      if (alpha || edge) {
        const inset = edge ? width / 2 : 0;
        const radius = Math.min(parseFloat(style.borderTopLeftRadius) || 0, rect.width / 2, rect.height / 2);
        parts.push(`<rect x="${round(x + inset)}" y="${round(y + inset)}" width="${round(rect.width - 2 * inset)}" height="${round(rect.height - 2 * inset)}" rx="${style.borderTopLeftRadius.endsWith("%") ? rect.width / 2 : radius}"${alpha ? filled("fill", style.backgroundColor) : ' fill="none"'}${edge ? `${filled("stroke", style.borderTopColor)} stroke-width="${width}"` : ""}/>`);
      }
      for (const child of node.childNodes) walk(child);
    }
    if (opacity < 1) parts.push("</g>");
  }

  // What is scrolled out of view belongs to the drawing, too.
  const scrolled = [...drawn.querySelectorAll("*")].filter((part) => part.scrollLeft || part.scrollTop).map((part) => [part, part.scrollLeft, part.scrollTop]);
  for (const [part] of scrolled) [part.scrollLeft, part.scrollTop] = [0, 0];
  for (const child of drawn.childNodes) walk(child);
  for (const [part, left, top] of scrolled) [part.scrollLeft, part.scrollTop] = [left, top];
  const behind = getComputedStyle(drawn).getPropertyValue("--st-background-color").trim() || "#ffffff";
  const [wide, high] = [Math.ceil(right), Math.ceil(bottom)];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${wide + 16}" height="${high + 16}" viewBox="-8 -8 ${wide + 16} ${high + 16}"><rect x="-8" y="-8" width="${wide + 16}" height="${high + 16}" fill="${forXml(behind)}"/>${parts.join("")}</svg>`;
}

/* A drawing context that writes SVG, so that the same code draws on a canvas and into a file.

   svgContext() -> what our canvases use of a drawing context, and .svg(), the SVG elements drawn so far */
function svgContext() {
  const parts = [];
  const state = { fillStyle: "#000000", strokeStyle: "#000000", lineWidth: 1, globalAlpha: 1, font: "", textAlign: "left", textBaseline: "alphabetic", moved: "" };
  const saved = [];
  let path = "";
  let clips = 0; // groups open since the last save
  const round = (value) => Math.round(value * 100) / 100;
  const at = (x, y) => `${round(x)} ${round(y)}`;
  const common = () => (state.moved ? ` transform="${state.moved.trim()}"` : "") + (state.globalAlpha < 1 ? ` opacity="${state.globalAlpha}"` : "");

  /* An image with one pixel per cell, as one path per color; the most frequent color is a rectangle below all others. */
  function drawImage(sheet, left, top, width, height, x, y, wide, high) {
    const pixels = sheet.getContext("2d").getImageData(left, top, width, height).data;
    const words = new Uint32Array(pixels.buffer);
    const runs = new Map(); // color -> [cells, path]
    for (let row = 0; row < height; row++) {
      for (let from = row * width, end = from + width; from < end; ) {
        let to = from + 1;
        while (to < end && words[to] === words[from]) to++;
        const run = runs.get(words[from]) || runs.set(words[from], [0, []]).get(words[from]);
        run[0] += to - from;
        run[1].push(`M${from - row * width} ${row}h${to - from}v1h${from - to}z`);
        from = to;
      }
    }
    // The bytes of a word are red, green, blue, alpha.
    const colorOf = (word) => `#${[0, 8, 16].map((shift) => ((word >>> shift) & 255).toString(16).padStart(2, "0")).join("")}`;
    const [[most], ...others] = [...runs].sort(([, one], [, two]) => two[0] - one[0]);
    parts.push(
      `<g${common()}><g transform="translate(${at(x, y)}) scale(${wide / width} ${high / height})" shape-rendering="crispEdges">`,
      `<rect width="${width}" height="${height}" fill="${colorOf(most)}"/>`,
      ...others.map(([word, [, cells]]) => `<path fill="${colorOf(word)}" d="${cells.join("")}"/>`),
      "</g></g>",
    );
  }

  return Object.assign(state, {
    clearRect() {},
    setTransform() {},
    save: () => saved.push([{ ...state }, clips]) && (clips = 0),
    restore() {
      parts.push("</g>".repeat(clips));
      const [before, open] = saved.pop();
      Object.assign(state, before);
      clips = open;
    },
    translate: (x, y) => (state.moved += ` translate(${at(x, y)})`),
    rotate: (angle) => (state.moved += ` rotate(${round((angle * 180) / Math.PI)})`),
    beginPath: () => (path = ""),
    roundRect(x, y, width, height, radius) {
      const corner = (dx, dy) => `a${radius} ${radius} 0 0 1 ${dx} ${dy}`;
      const [across, down] = [round(width - 2 * radius), round(height - 2 * radius)];
      path += `M${at(x + radius, y)}h${across}${corner(radius, radius)}v${down}${corner(-radius, radius)}h${-across}${corner(-radius, -radius)}v${-down}${corner(radius, -radius)}z`;
    },
    clip() {
      const name = `clip${svgContext.clips = (svgContext.clips || 0) + 1}`;
      parts.push(`<clipPath id="${name}"><path d="${path}"/></clipPath><g clip-path="url(#${name})">`);
      clips++;
    },
    stroke: () => parts.push(`<path d="${path}" fill="none" stroke="${state.strokeStyle}" stroke-width="${state.lineWidth}"${common()}/>`),
    fillText(text, x, y) {
      const [, size, family] = state.font.match(/([\d.]+)px\s+(.*)$/) || [0, 12, "sans-serif"];
      const anchor = { center: "middle", right: "end" }[state.textAlign] || "start";
      const drop = { middle: 0.35, top: 0.8, bottom: -0.2 }[state.textBaseline] || 0; // of the letters' height
      parts.push(`<text x="${round(x)}" y="${round(y + drop * size)}" font-size="${size}" font-family="${forXml(family)}" text-anchor="${anchor}" fill="${state.fillStyle}"${common()}>${forXml(text)}</text>`);
    },
    drawImage,
    svg: () => parts.join(""),
  });
}

/* Escape text for an SVG. */
function forXml(text) {
  const signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return String(text).replace(/[&<>"]/g, (sign) => signs[sign]).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "");
}
