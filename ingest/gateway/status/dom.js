// Elements, tables, and values as text. Nothing is ever parsed as HTML: what callers sent stays text.

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// `columns` are [heading, row => cell, class]; `foot` is one more row, in the same columns.
export function table(caption, columns, rows, foot) {
  const row = (of) =>
    element("tr", {}, ...columns.map(([, cell, kind = ""]) => element("td", { class: kind }, cell(of))));
  const head = columns.map(([heading, , kind = ""]) => element("th", { scope: "col", class: kind }, heading));
  const made = element("table", {}, element("caption", {}, caption));
  made.append(element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows.map(row)));
  if (foot) made.append(element("tfoot", {}, row(foot)));
  return made;
}

export const count = (number) => number.toLocaleString("en");

// A decimal as its digits, which a number would round.
export function decimal(text, places = 0) {
  const [, sign, whole, fraction] = text.match(/^(-?)(\d+)\.?(\d*)$/);
  const kept = fraction.replace(/0+$/, "").padEnd(places, "0");
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (kept && `.${kept}`);
}

export const clock = (time) => `${time.slice(11, 19)} UTC`;
export const day = (time) => (time === null ? "no end" : time.slice(0, 10));

export function age(time, now) {
  if (time === null) return "";
  const seconds = Math.max(0, (Date.parse(now) - Date.parse(time)) / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${count(Math.floor(seconds / 3600))} h`;
}
