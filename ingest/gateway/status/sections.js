// What the page says of the parts, the partitions, a subscription and rejected events.

import { age, byId, clock, count, day, decimal, element, table } from "/status/dom.js";

const WORDS = new Map([[true, "well"], [false, "not well"], [null, "unknown"]]);
const CLASSES = new Map([[true, "well"], [false, "ill"], [null, "unknown"]]);

export function showParts({ parts, at }) {
  byId("parts").replaceChildren(
    ...parts.map(({ part, isWell, fact }) =>
      element("li", { class: CLASSES.get(isWell) }, element("strong", {}, part), ` ${WORDS.get(isWell)}`, element("p", {}, fact)),
    ),
  );
  const wrong = parts.filter(({ isWell }) => isWell !== true);
  const overall = byId("overall");
  overall.className = wrong.length ? "ill" : "well";
  const words = wrong.length ? `Look at: ${wrong.map(({ part }) => part).join(", ")}` : "All parts are well";
  if (overall.textContent !== words) overall.textContent = words; // else it would be read out each time
  byId("updated").textContent = `As of ${day(at)} ${clock(at)}; looked at again every few seconds.`;
}

const VERDICTS = ["accepted", "duplicate", "rejected", "forwarded"];

// The page adds up by itself, whatever the gateway says.
function check({ ledger, problem }) {
  if (problem) return element("span", { class: "ill" }, problem);
  const sum = VERDICTS.reduce((all, name) => all + ledger[name], 0);
  return sum === ledger.received ? element("span", { class: "well" }, "✓ adds up") : element("span", { class: "ill" }, `${count(sum)} verdicts`);
}

export function showPartitions({ partitions, at }) {
  if (!partitions.length) return byId("partitions").replaceChildren("Nothing is known while Kafka is away.");
  const verdict = (name) => [name, ({ ledger }) => (ledger ? count(ledger[name]) : ""), "number"];
  const columns = [
    ["partition", ({ partition }) => String(partition)],
    ["position", ({ position }) => count(position), "number"],
    ["end", ({ endOffset }) => count(endOffset), "number"],
    ["lag", ({ lag }) => count(lag), "number"],
    ["oldest waits", ({ waitingSince }) => age(waitingSince, at), "number"],
    ["last commit", ({ positionAt }) => (positionAt === null ? "never" : age(positionAt, at)), "number"],
    ...["received", ...VERDICTS].map(verdict),
    ["check", check],
  ];
  const sum = (values) => values.reduce((all, value) => all + value, 0);
  const known = partitions.filter(({ ledger }) => ledger);
  const waiting = partitions.map(({ waitingSince }) => waitingSince).filter((time) => time !== null);
  const written = partitions.map(({ positionAt }) => positionAt).filter((time) => time !== null);
  const all = {
    partition: "all",
    ...Object.fromEntries(["position", "endOffset", "lag"].map((name) => [name, sum(partitions.map((one) => one[name]))])),
    waitingSince: waiting.sort()[0] ?? null,
    positionAt: written.sort().at(-1) ?? null,
    ledger: Object.fromEntries(["received", ...VERDICTS].map((name) => [name, sum(known.map(({ ledger }) => ledger[name]))])),
    problem: known.length < partitions.length ? "not all can be shown" : null,
  };
  byId("partitions").replaceChildren(
    table("Records of usage-events, since the beginning", columns, partitions, partitions.length > 1 ? all : undefined),
  );
}

export function showUsage({ periods, asOf }, invoices) {
  const usage = periods.reverse().map((period) => {
    const caption = `${day(period.start)} to ${day(period.end)}, ${period.closed ? "closed" : "open"}: ${decimal(period.amount, 6)} ${period.currency}`;
    const columns = [
      ["meter", ({ meter }) => meter, "break"],
      ["quantity", ({ quantity }) => decimal(quantity), "number"],
      ["events", ({ eventCount }) => count(eventCount), "number"],
      ["amount", ({ amount }) => decimal(amount, 6), "number"],
    ];
    return period.totals.length
      ? table(caption, columns, period.totals)
      : element("p", {}, element("strong", {}, caption), element("br"), "No usage.");
  });
  const counted = asOf.time === null ? "Nothing is counted yet." : `All before offset ${count(asOf.offset)} of partition ${asOf.partition} is counted.`;
  const columns = [
    ["period", ({ periodStart, periodEnd }) => (periodStart ? `${day(periodStart)} to ${day(periodEnd)}` : "none")],
    ["no.", ({ sequence }) => (sequence === null ? "by hand" : String(sequence))],
    ["status", ({ status }) => status],
    ["amount", ({ amount, currency }) => `${decimal(amount, 6)} ${currency}`, "number"],
  ];
  const billed = invoices.length ? table("The newest first", columns, invoices) : element("p", {}, "There is none yet.");
  const region = (label, ...children) =>
    element("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": label }, element("h3", {}, label), ...children);
  byId("usage").replaceChildren(
    region("Running totals", ...usage, element("p", { class: "quiet" }, counted)),
    region("Invoices", billed),
  );
}

const decoder = new TextDecoder("utf-8", { fatal: true });

// Indented where it is JSON; what is not even text, as hexadecimal digits.
function payload(base64) {
  if (base64 === null) return "(none)";
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  try {
    return indented(decoder.decode(bytes)) || "(empty)";
  } catch {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
}

function indented(text) {
  try {
    const document = JSON.parse(text);
    // Numbers are shown as they were sent, and JavaScript would round some.
    const packed = (some) => some.replace(/\s/g, "");
    return packed(JSON.stringify(document)) === packed(text) ? JSON.stringify(document, null, 2) : text;
  } catch {
    return text;
  }
}

function rejectedEvent(event) {
  const { id, code, error, field, receivedAt, origin, keyBase64, valueBase64 } = event;
  const facts = { id, field: field ?? "none", key: payload(keyBase64), origin: `${origin.topic}, partition ${origin.partition}, offset ${origin.offset}` };
  const listed = Object.entries(facts).flatMap(([name, value]) => [element("dt", {}, name), element("dd", { class: "mono" }, value)]);
  const time = element("time", { datetime: receivedAt }, `${day(receivedAt)} ${clock(receivedAt)}`);
  const made = element("details", { "data-id": id }, element("summary", {}, time, element("code", {}, code), error));
  made.append(element("dl", {}, ...listed), element("pre", { tabindex: "0", "aria-label": "Value as received" }, payload(valueBase64)));
  return made;
}

// Those that are shown already stay as they are: one may be open, or have the focus.
export function showRejected(events) {
  const list = byId("rejected");
  const held = new Map([...list.querySelectorAll("details")].map((one) => [one.dataset.id, one]));
  const ids = events.map(({ id }) => id).join();
  if (ids && list.dataset.ids === ids) return;
  list.dataset.ids = ids;
  if (!events.length) return list.replaceChildren("None.");
  if (!held.size) list.replaceChildren();
  const wanted = events.map((event) => held.get(event.id) ?? rejectedEvent(event));
  for (const one of held.values()) if (!wanted.includes(one) && !one.open) one.remove();
  wanted.forEach((one, at) => {
    if (list.children[at] !== one) list.insertBefore(one, list.children[at] ?? null);
  });
}
