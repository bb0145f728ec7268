// Keeps the parts of a page that are marked [data-live] true: asks for the page every few seconds
// while it is looked at, and changes only what differs. Focus stays where it is.
"use strict";

const EVERY = 3000;
const PATIENCE = 20000;
const news = document.getElementById("news");
let failures = 0;

function changed(old, fresh) {
  const before = new Map([...old.querySelectorAll("[data-name]")].map((e) => [e.dataset.key, plain(e)]));
  const after = [...fresh.querySelectorAll("[data-name]")];
  const differ = after.filter((e) => {
    const was = before.get(e.dataset.key);
    return !was || !was.isEqualNode(plain(e));
  });
  const gone = [...before].filter(([key]) => !after.some((e) => e.dataset.key === key));
  return [...new Set([...differ.map((e) => e.dataset.name), ...gone.map(([, e]) => e.dataset.name)])];
}

const say = (text) => {
  if (news.textContent !== text) news.textContent = text;
};

async function look(part) {
  const answer = await fetch(part.dataset.live, {
    headers: { "X-Ostiary-Live": "1", "If-None-Match": part.dataset.version },
    redirect: "manual",
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (answer.status === 304) return;
  if (answer.type === "opaqueredirect") return stop("You are signed out. Load the page again to go on.");
  if (answer.status === 404) return stop("What this page shows was deleted, or you may see it no longer.");
  if (!answer.ok || !answer.headers.has("X-Ostiary-Console")) throw new Error(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  // A filter may have been typed meanwhile: then this answer is about another list.
  if (!fresh || !part.isConnected) return;
  const names = changed(part, fresh);
  const focused = document.activeElement;
  const looks = !same(part, fresh);
  renew(part, fresh);
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  if (looks && names.length) say(`Changed elsewhere, and shown now: ${names.slice(0, 3).join(", ")}.`);
}

const timer = setInterval(check, EVERY);

function stop(text) {
  clearInterval(timer);
  document.removeEventListener("visibilitychange", check);
  say(text);
}

async function check() {
  const part = document.querySelector("[data-live]");
  if (!part || document.hidden || part.dataset.asking) return;
  part.dataset.asking = "1";
  try {
    await look(part);
    if (failures >= 3) say("Connected again.");
    failures = 0;
  } catch {
    failures += 1;
    if (failures === 3) say("Ostiary does not answer: what is shown may be old.");
  } finally {
    delete part.dataset.asking;
  }
}

document.addEventListener("visibilitychange", check);
