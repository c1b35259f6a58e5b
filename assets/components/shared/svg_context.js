/* What a canvas is painted with, for paper: the same calls write SVG, so that one piece of code draws both.

   svgContext() -> a drawing context with what our canvases use of it, and .svg(), what was drawn so far as SVG elements */
export function svgContext() {
  const parts = [];
  const state = { fillStyle: "#000000", strokeStyle: "#000000", lineWidth: 1, lineJoin: "miter", globalAlpha: 1, font: "", textAlign: "left", textBaseline: "alphabetic", moved: "" };
  const saved = [];
  let path = "";
  let clips = 0; // groups open since the last save
  const round = (value) => Math.round(value * 100) / 100;
  const at = (x, y) => `${round(x)} ${round(y)}`;
  const common = () => (state.moved ? ` transform="${state.moved.trim()}"` : "") + (state.globalAlpha < 1 ? ` opacity="${state.globalAlpha}"` : "");

  /* An image of cells, a pixel each, as one path a colour; what most cells have is laid below all others. */
  function drawImage(sheet, left, top, width, height, x, y, wide, high) {
    const pixels = sheet.getContext("2d").getImageData(left, top, width, height).data;
    const words = new Uint32Array(pixels.buffer);
    const runs = new Map(); // colour -> [cells, path]
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
    // The bytes of a word lie as red, green, blue, alpha.
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
    moveTo: (x, y) => (path += `M${at(x, y)}`),
    lineTo: (x, y) => (path += `L${at(x, y)}`),
    arc: (x, y, radius) => (path += `M${at(x - radius, y)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0z`),
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
    stroke: () => parts.push(`<path d="${path}" fill="none" stroke="${state.strokeStyle}" stroke-width="${state.lineWidth}" stroke-linejoin="${state.lineJoin}"${common()}/>`),
    fill: () => parts.push(`<path d="${path}" fill="${state.fillStyle}"${common()}/>`),
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

/* Any text as it may stand in an SVG. */
export function forXml(text) {
  const signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return String(text).replace(/[&<>"]/g, (sign) => signs[sign]).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "");
}
