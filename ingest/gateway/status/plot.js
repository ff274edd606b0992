// A line plot of the last 15 minutes, for eyes, for a keyboard (arrow keys, Home, End) and as a table.

import { clock, element, table } from "/status/dom.js";

const STEPS = 90;
const LEFT = 44, RIGHT = 4, TOP = 8, BOTTOM = 20;

const shown = (rate) => rate.toLocaleString("en", { maximumFractionDigits: rate < 100 ? 1 : 0 });

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The least round number that is not below what has to fit.
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((bound) => bound >= most);
}

export class Plot {
  #rates = { stepSeconds: 10, steps: [] };
  #cursor = null; // the end of the step that is pointed at; null: the newest

  constructor(figure, title, series) {
    this.series = series;
    this.title = title;
    this.legend = element("div", { class: "legend", "aria-live": "off" });
    this.drawing = svg("svg", { role: "img", tabindex: "0" });
    this.data = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` });
    this.details = element("details", {}, element("summary", {}, "As a table"), this.data);
    figure.replaceChildren(element("figcaption", {}, title), this.legend, this.drawing, this.details);
    this.drawing.addEventListener("keydown", (event) => this.#key(event));
    this.drawing.addEventListener("pointermove", (event) => this.#point(event));
    for (const left of ["pointerleave", "blur"]) this.drawing.addEventListener(left, () => this.#move(null));
    this.details.addEventListener("toggle", () => this.#tabulate());
    new ResizeObserver(() => this.#draw()).observe(this.drawing);
  }

  show(rates) {
    this.#rates = rates;
    this.#draw();
    this.#tabulate();
  }

  #rate(step, name) {
    return step[name] / this.#rates.stepSeconds;
  }

  #draw() {
    const { steps, stepSeconds } = this.#rates;
    const width = this.drawing.clientWidth, height = this.drawing.clientHeight;
    if (!width) return;
    const last = steps.length ? Date.parse(steps.at(-1).end) : 0;
    const most = ceiling(Math.max(...steps.flatMap((step) => this.series.map((name) => this.#rate(step, name))), 0));
    const x = (step) => width - RIGHT - ((last - Date.parse(step.end)) / 1000 / stepSeconds / (STEPS - 1)) * (width - LEFT - RIGHT);
    const y = (rate) => height - BOTTOM - (rate / most) * (height - TOP - BOTTOM);
    this.x = x;
    const lines = [0, most / 2, most].flatMap((rate) => [
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(rate), y2: y(rate) }),
      svg("text", { x: LEFT - 6, y: y(rate) + 4, "text-anchor": "end" }, shown(rate)),
    ]);
    const times = [["15 min ago", LEFT, "start"], ["now", width - RIGHT, "end"]].map(([text, at, anchor]) =>
      svg("text", { x: at, y: height - 4, "text-anchor": anchor }, text),
    );
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawing.replaceChildren(...lines, ...times, ...this.series.flatMap((name) => this.#paths(name, x, y)));
    this.#mark();
  }

  // A step that is missing leaves a gap.
  #paths(name, x, y) {
    const runs = [];
    let before = null;
    for (const step of this.#rates.steps) {
      const at = Date.parse(step.end);
      if (before === null || at - before > this.#rates.stepSeconds * 1000) runs.push([]);
      runs.at(-1).push([x(step), y(this.#rate(step, name))]);
      before = at;
    }
    const line = runs.map((run) => `M${run.map((point) => point.map((value) => value.toFixed(1)).join(" ")).join("L")}`);
    const area = runs.map((run, number) => `${line[number]}L${run.at(-1)[0].toFixed(1)} ${y(0)}L${run[0][0].toFixed(1)} ${y(0)}Z`);
    const areas = this.series[0] === name ? [svg("path", { class: `area ${name}`, d: area.join("") })] : [];
    return [...areas, svg("path", { class: name, d: line.join("") })];
  }

  #mark() {
    const { steps } = this.#rates;
    const step = steps.find(({ end }) => end === this.#cursor) ?? steps.at(-1);
    this.drawing.querySelector(".cursor")?.remove();
    if (!step) {
      this.legend.replaceChildren("Nothing is known yet.");
      this.drawing.setAttribute("aria-label", `${this.title}: nothing is known yet.`);
      return;
    }
    if (this.#cursor !== null) {
      const x = this.x(step);
      this.drawing.append(svg("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: this.drawing.clientHeight - BOTTOM }));
    }
    const values = this.series.map((name) => [name, shown(this.#rate(step, name))]);
    const when = this.#cursor === null ? "now" : clock(step.end);
    this.legend.replaceChildren(
      ...values.map(([name, value]) => element("span", { class: `series ${name}` }, `${name} `, element("b", {}, `${value}/s`))),
      element("span", { class: "quiet" }, when),
    );
    const words = values.map(([name, value]) => `${value} ${name}`).join(", ");
    this.drawing.setAttribute("aria-label", `${this.title}, ${when}: ${words} a second. Arrow keys go through time.`);
  }

  #move(end) {
    this.#cursor = end;
    this.legend.setAttribute("aria-live", end === null ? "off" : "polite");
    this.#mark();
  }

  #key(event) {
    const { steps } = this.#rates;
    const found = steps.findIndex(({ end }) => end === this.#cursor);
    const at = found < 0 ? steps.length - 1 : found;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined || !steps.length) return;
    event.preventDefault();
    this.#move(steps[Math.min(Math.max(to, 0), steps.length - 1)].end);
  }

  #point(event) {
    const { steps } = this.#rates;
    if (!steps.length) return;
    const pointed = event.clientX - this.drawing.getBoundingClientRect().left;
    const off = (step) => Math.abs(this.x(step) - pointed);
    this.#move(steps.reduce((best, step) => (off(step) < off(best) ? step : best)).end);
  }

  #tabulate() {
    if (!this.details.open) return;
    const rate = (name) => [`${name}/s`, (step) => shown(this.#rate(step, name)), "number"];
    const columns = [["until", (step) => clock(step.end)], ...this.series.map(rate)];
    this.data.replaceChildren(table(this.title, columns, [...this.#rates.steps].reverse()));
  }
}
