// Small line charts of the last minute, drawn as SVG by hand. All charts share one cursor: pointing at a moment in one
// of them shows that moment in each.

export const moments = 120;

const svg_name = "http://www.w3.org/2000/svg";
const width = 240, height = 56;

function svg(name, className) {
  const made = document.createElementNS(svg_name, name);
  made.setAttribute("class", className);
  return made;
}

// The next of 1, 2, 5, 10, 20, 50...: so that the scale changes seldom.
function round_up(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value * 0.999);
}

export class Chart {
  // series: functions from a sample to a number; least: what the scale goes up to at least; label: its text.
  constructor(place, { series, least, most = Infinity, label = String }) {
    this.series = series;
    this.least = least;
    this.most = most;
    this.label = label;
    this.root = document.createElement("div");
    this.root.className = "chart";
    this.root.setAttribute("aria-hidden", "true");  // the figure beside it says the same
    this.drawing = svg("svg", "");
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawing.setAttribute("preserveAspectRatio", "none");
    this.area = svg("path", "area");
    this.lines = series.map((_, i) => svg("path", `stroke s${i}`));
    this.drawing.append(this.area, ...this.lines);
    this.scale = document.createElement("span");
    this.scale.className = "scale numbers";
    this.cursor = document.createElement("i");
    this.cursor.className = "cursor";
    this.cursor.hidden = true;
    this.root.append(this.drawing, this.scale, this.cursor);
    place.append(this.root);
  }

  // samples: [{ n, ... }] by growing n; the right edge is `last`.
  draw(samples, last) {
    const top = Math.min(this.most, round_up(Math.max(this.least, ...samples.flatMap((sample) =>
      this.series.map((get) => get(sample) || 0)))));
    const x = (n) => width - ((last - n) * width) / (moments - 1);
    const y = (value) => height - 1 - (Math.min(value, top) / top) * (height - 3);
    this.series.forEach((get, i) => {
      const runs = unbroken(samples, get);
      const paths = runs.map((run) => "M" + run.map(([n, v]) => `${x(n).toFixed(1)},${y(v).toFixed(1)}`).join("L"));
      this.lines[i].setAttribute("d", paths.join(""));
      if (i > 0) return;
      this.area.setAttribute("d", runs.map((run, r) =>
        `${paths[r]}L${x(run.at(-1)[0]).toFixed(1)},${height}L${x(run[0][0]).toFixed(1)},${height}Z`).join(""));
    });
    this.scale.textContent = this.label(top);
  }

  // ago: in moments, or null.
  point_at(ago) {
    this.cursor.hidden = ago === null;
    if (ago !== null) this.cursor.style.right = `${(100 * ago) / (moments - 1)}%`;
  }

  on_point(tell) {
    this.root.addEventListener("pointermove", (event) => {
      const box = this.root.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (box.right - event.clientX) / box.width));
      tell(Math.round(share * (moments - 1)));
    });
    this.root.addEventListener("pointerleave", () => tell(null));
  }
}

// The values as runs of [n, value] that nothing is missing from.
function unbroken(samples, get) {
  const runs = [];
  let before = null;
  for (const sample of samples) {
    const value = get(sample);
    if (value === undefined) { before = null; continue; }
    if (before === null || sample.n !== before + 1) runs.push([]);
    runs.at(-1).push([sample.n, value]);
    before = sample.n;
  }
  return runs;
}
