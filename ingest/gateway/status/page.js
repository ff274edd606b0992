// The key, what is asked with it, and when.

import { byId, element } from "/status/dom.js";
import { Plot } from "/status/plot.js";
import { showParts, showPartitions, showRejected, showUsage } from "/status/sections.js";

const EVERY_MS = 3000;
const PATIENCE_MS = 30000; // the gateway itself waits 4 s for Postgres and 4 s for Kafka, unless told otherwise
const UNKNOWN_KEY = "This key is unknown, or was revoked. Is all of it there? 'tally keys create' makes a new one.";
const KEY = "tally-key", THEME = "tally-theme";

const received = new Plot(byId("received"), "Events received", ["received"]);
const verdicts = new Plot(byId("verdicts"), "Verdicts", ["accepted", "duplicate", "rejected"]);

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function get(path) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  const answer = await fetch(`/api/v1${path}`, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.error);
  return body;
}

let chosen = null; // the subscription that is shown
let timer = null;
let turn = 0; // raised when the key changes: what was asked before is shown no more

async function look() {
  clearTimeout(timer);
  const mine = turn;
  try {
    await Promise.all([showDeployment(mine), showEvents(mine), chosen && showChosen(mine)]);
    if (mine === turn) notice("");
  } catch (error) {
    if (mine !== turn) return;
    if (error.status === 401) return ask(UNKNOWN_KEY);
    if (error.status === 403) return ask(error.message);
    notice(error instanceof Refused ? error.message : "The gateway does not answer; what is shown is old.");
  }
  if (mine === turn && !document.hidden) timer = setTimeout(look, EVERY_MS);
}

async function showDeployment(mine) {
  if (byId("deployment").hidden) return;
  try {
    const { status } = await get("/status");
    if (mine !== turn) return;
    showParts(status);
    showPartitions(status);
    received.show(status.rates);
    verdicts.show(status.rates);
  } catch (error) {
    if (error.status !== 403) throw error;
    // Of a key that is bound to services, or else has no scope at all: then the other questions say so.
    if (mine !== turn) return;
    byId("deployment").hidden = true;
    byId("overall").className = "quiet";
    byId("overall").textContent = "This key sees subscriptions and rejected events of its services";
  }
}

async function showEvents(mine) {
  const { rejectedEvents } = await get("/rejected-events?limit=12");
  if (mine === turn) showRejected(rejectedEvents);
}

async function showChosen(mine) {
  const id = chosen;
  const name = encodeURIComponent(id);
  const [usage, { invoices }] = await Promise.all([get(`/subscriptions/${name}/usage`), get(`/invoices?limit=20&subscriptionId=${name}`)]);
  if (mine === turn && id === chosen) showUsage(usage, invoices);
}

async function offerSubscriptions(mine) {
  const { subscriptions } = await get("/subscriptions?limit=100");
  if (mine !== turn) return;
  byId("subscriptions").replaceChildren(...subscriptions.map(({ id, userId }) => element("option", { value: id }, userId)));
}

function notice(sentence) {
  byId("notice").hidden = !sentence;
  if (byId("notice").textContent !== sentence) byId("notice").textContent = sentence;
}

function ask(sentence) {
  turn += 1;
  clearTimeout(timer);
  sessionStorage.removeItem(KEY);
  chosen = null;
  for (const id of ["parts", "partitions", "subscriptions", "usage", "rejected", "unknown", "overall", "updated"]) byId(id).replaceChildren();
  for (const plot of [received, verdicts]) plot.show({ stepSeconds: 10, steps: [] });
  byId("subscription").value = "";
  delete byId("rejected").dataset.ids;
  byId("shown").hidden = byId("forget").hidden = true;
  byId("enter").hidden = false;
  byId("refused").textContent = sentence;
  byId("key").focus();
}

function begin() {
  turn += 1;
  byId("enter").hidden = true;
  byId("shown").hidden = byId("forget").hidden = byId("deployment").hidden = false;
  look();
  offerSubscriptions(turn).catch(() => {}); // look() says what is wrong, and an id can be typed
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = byId("key").value.trim();
  byId("key").value = "";
  if (!/^[!-~]+$/.test(key)) return ask(UNKNOWN_KEY); // no header can hold it
  sessionStorage.setItem(KEY, key);
  begin();
});

byId("choose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const id = (chosen = byId("subscription").value.trim());
  byId("unknown").textContent = "";
  try {
    await showChosen(turn);
  } catch (error) {
    if (id !== chosen) return; // another one was chosen meanwhile
    chosen = null;
    byId("usage").replaceChildren();
    byId("unknown").textContent = error instanceof Refused ? error.message : "The gateway does not answer.";
  }
});

byId("forget").addEventListener("click", () => ask(""));

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !byId("shown").hidden) look();
});

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function paint() {
  const theme = sessionStorage.getItem(THEME) ?? (prefersDark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

byId("theme").addEventListener("click", () => {
  sessionStorage.setItem(THEME, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  paint();
});
prefersDark.addEventListener("change", paint);
paint();

if (sessionStorage.getItem(KEY)) begin();
else ask("");
