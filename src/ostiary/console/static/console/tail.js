// "Live": puts calls that arrive at the top of the log, until it is pressed again. Bounded in rows and in time.
"use strict";

const EVERY = 2000;
const PATIENCE = 20000;
const MOST_ROWS = 200;
const LONGEST = 15 * 60 * 1000;
const button = document.getElementById("live");
const body = document.querySelector("[data-tail]");
const told = document.getElementById("arrived");
let timer;
let started;
let asking = false;
let failures = 0;

function tell(text) {
  if (told.textContent !== text) told.textContent = text;
}

function stop(text) {
  clearInterval(timer);
  timer = undefined;
  button.setAttribute("aria-pressed", "false");
  tell(text);
}

function show(rows) {
  const known = new Set([...body.children].map((row) => row.dataset.key));
  const fresh = rows.filter((row) => !known.has(row.dataset.key));
  if (!fresh.length) return;
  body.prepend(...fresh);
  body.closest("[role=region]").hidden = false;
  const nothing = document.getElementById("nothing");
  if (nothing) nothing.remove();
  const surplus = [...body.children].slice(MOST_ROWS).filter((row) => !row.contains(document.activeElement));
  for (const row of surplus) row.remove();
  const clock = new Date().toLocaleTimeString();
  tell(`Live: ${fresh.length} new call${fresh.length > 1 ? "s" : ""} at ${clock}.`);
}

async function look() {
  if (document.hidden || asking) return;
  if (Date.now() - started > LONGEST) return stop("Live stopped after 15 minutes. Press Live to go on.");
  asking = true;
  try {
    const address = `${location.pathname}${body.dataset.tail}&arrived=${body.dataset.latest}`.replace("?&", "?");
    const answer = await fetch(address, {
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.type === "opaqueredirect") return stop("You are signed out. Load the page again to go on.");
    const latest = answer.headers.get("X-Ostiary-Latest");
    if (!answer.ok || latest === null) throw new Error(answer.status);
    const table = document.createElement("table");
    table.innerHTML = `<tbody>${await answer.text()}</tbody>`;
    body.dataset.latest = latest;
    if (timer && failures >= 3) tell("Connected again. Live: calls appear here as they arrive.");
    failures = 0;
    if (timer) show([...table.querySelectorAll("tr")]);
  } catch {
    failures += 1;
    if (timer && failures === 3) tell("Ostiary does not answer: what is shown may be old.");
  } finally {
    asking = false;
  }
}

if (button && body) {
  button.addEventListener("click", () => {
    if (timer) return stop("Live is stopped.");
    started = Date.now();
    button.setAttribute("aria-pressed", "true");
    tell("Live: calls appear here as they arrive.");
    timer = setInterval(look, EVERY);
    look();
  });
}
