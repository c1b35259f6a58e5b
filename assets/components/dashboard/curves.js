/* Small curves of one column of the metrics each: how it went, its range, its last value. Plain canvas. */
import { takeaway } from "../shared/download.js";
import { rateInWords, short } from "../shared/format.js";
import { currentPalette, element, mountOnce, say } from "../shared/mount.js";
import { liveRun } from "../shared/run_stream.js";
import { thinned } from "../shared/thinning.js";

export default function (component) {
  return mountOnce(component, (root) => {
    let latest = null;
    let leave = null;
    let runId = null;
    let rows = [];
    let timer = 0;
    let curves = [];
    let asked = 0; // steps, as the run's status says: they may be turned while it trains

    function build() {
      root.replaceChildren();
      curves = latest.data.curves.map((spec) => {
        const box = element("div", "curve");
        const head = element("div", "curve-head");
        const value = element("span", "curve-value");
        const canvas = element("canvas");
        head.append(element("span", "curve-name", spec.label), value);
        const plot = element("div", "curve-plot");
        plot.appendChild(canvas);
        box.append(head, plot);
        root.appendChild(box);
        const curve = { spec, value, canvas, hover: null };
        canvas.addEventListener("pointermove", (event) => {
          const bounds = canvas.getBoundingClientRect();
          curve.hover = (event.clientX - bounds.left) / bounds.width;
          paint(curve);
        });
        canvas.addEventListener("pointerleave", () => {
          curve.hover = null;
          paint(curve);
        });
        return curve;
      });
      const names = Object.fromEntries(latest.data.curves.map(({ column, label }) => [label, column]));
      takeaway(root, {
        name: () => "curves",
        columns: () => rows.length && { step: rows.map((row) => row.step), ...Object.fromEntries(Object.entries(names).map(([label, column]) => [label, rows.map((row) => row[column])])) },
      });
    }

    function paint(curve) {
      const { canvas } = curve;
      const ratio = window.devicePixelRatio || 1;
      const width = canvas.clientWidth;
      const height = canvas.clientHeight;
      if (!width) return;
      if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
      if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
      const context = canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      canvas.redraw = (paper) => paintOn(paper, curve, width, height);
      paintOn(context, curve, width, height);
    }

    function paintOn(context, { spec, value, hover }, width, height) {
      const palette = currentPalette(root, latest.data.palettes);
      context.clearRect(0, 0, width, height);
      const points = rows.filter((row) => Number.isFinite(row[spec.column]));
      if (!points.length) {
        value.textContent = "–";
        return;
      }
      const steps = Math.max(asked || latest.data.steps, points[points.length - 1].step);
      const top = points.reduce((most, row) => Math.max(most, row[spec.column]), 0) * 1.08 || 1;
      const x = (row) => (row.step / steps) * (width - 8) + 1;
      const y = (row) => height - 4 - (row[spec.column] / top) * (height - 10);
      context.strokeStyle = palette.grid;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(0, height - 3.5);
      context.lineTo(width, height - 3.5);
      context.stroke();
      const line = hover === null ? points[points.length - 1] : nearest(points, hover * steps);
      context.strokeStyle = palette.accent;
      context.lineWidth = 1.6;
      context.lineJoin = "round";
      context.beginPath();
      thinned(points, spec.column, 4 * width).forEach((row, index) => {
        if (index) context.lineTo(x(row), y(row));
        else context.moveTo(x(row), y(row));
      });
      context.stroke();
      context.fillStyle = palette.accent;
      context.beginPath();
      context.arc(x(line), y(line), 3.2, 0, 2 * Math.PI);
      context.fill();
      const text = spec.format === "rate" ? rateInWords(line[spec.column]) : spec.format === "short" ? short(line[spec.column]) : line[spec.column].toFixed(2);
      value.textContent = hover === null ? text : say("{value} at step {step}", { value: text, step: line.step.toLocaleString("en") });
    }

    const paintAll = () => curves.forEach(paint);
    const resizes = new ResizeObserver(paintAll);
    resizes.observe(root);
    return {
      update(next) {
        const first = !latest || JSON.stringify(latest.data.curves) !== JSON.stringify(next.data.curves);
        latest = next;
        if (first) build();
        if (next.data.run !== runId) {
          leave?.();
          runId = next.data.run;
          rows = [];
          asked = 0;
          leave = liveRun(runId).subscribe({
            status(value) {
              asked = value.steps;
            },
            metrics(all) {
              const first = !rows.length;
              rows = all;
              if (first) paintAll();
              timer ||= setTimeout(() => {
                timer = 0;
                paintAll();
              }, 200);
            },
          });
        }
        paintAll();
      },
      destroy() {
        clearTimeout(timer);
        leave?.();
        resizes.disconnect();
      },
    };
  });
}

function nearest(points, step) {
  return points.reduce((best, row) => (Math.abs(row.step - step) < Math.abs(best.step - step) ? row : best));
}
