// Small helps; every page works without them.
"use strict";

// The secret of a sign-in link stands after the #: it goes into the form, and out of the address.
const linkForm = document.getElementById("link-form");
if (linkForm && location.hash.length > 1) {
  linkForm.elements.code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  linkForm.submit();
}

// Escape closes the menu of narrow windows, and focus goes back to what opened it.
const menu = document.querySelector(".menu");
if (menu) {
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// What takes long says so, and is not sent twice.
document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  const news = document.getElementById("news");
  setTimeout(() => submitter && submitter.setAttribute("aria-busy", "true"), 150);
  setTimeout(() => news && (news.textContent = form.dataset.working || "Still at work…"), 1500);
  // An answer that is a file leaves the page where it is.
  setTimeout(() => {
    delete form.dataset.sent;
    if (submitter) submitter.removeAttribute("aria-busy");
  }, 30000);
});

// What was typed outlives a session that ended: it waits in this tab while its owner signs in again,
// and is gone with the next page otherwise. Secrets do not wait, nor a document that would fill the store.
const SECRET = /secret|password|token|code|passkey|^once$|^step$|^read$|^document$/;
const kept = (field) =>
  field.name && !["password", "file", "submit", "button"].includes(field.type) && !SECRET.test(field.name);
const ticks = (field) => field.type === "checkbox" || field.type === "radio";

function keepDraft(form) {
  if (!form || form.method !== "post" || !form.closest("main") || form.closest("[data-keeps-draft]")) return;
  const fields = [...form.elements].filter(kept).filter((field) => !ticks(field) || field.checked);
  const typed = fields.map(({ name, value }) => [name, value]);
  sessionStorage.setItem("draft", JSON.stringify({ at: location.pathname, typed }));
}

function fillIn({ at, typed, back }) {
  if (!back || at !== location.pathname) return;
  const names = new Set(typed.map(([name]) => name));
  const forms = [...document.querySelectorAll("main form[method=post]")].filter((form) =>
    [...names].every((name) => form.elements[name] && kept({ name })),
  );
  // Of two forms alike nobody knows which it was.
  if (!names.size || forms.length !== 1) return;
  for (const field of [...forms[0].elements].filter(kept)) {
    if (field.type === "hidden") continue;
    if (ticks(field)) field.checked = typed.some(([name, value]) => name === field.name && value === field.value);
    else if (names.has(field.name)) field.value = typed.find(([name]) => name === field.name)[1];
  }
  document.getElementById("news").textContent =
    "What you typed before you signed in is filled in again, but for secrets. Nothing is saved yet.";
}

const draft = JSON.parse(sessionStorage.getItem("draft"));
if (draft && document.querySelector("[data-keeps-draft]")) {
  sessionStorage.setItem("draft", JSON.stringify({ ...draft, back: true }));
} else if (draft) {
  sessionStorage.removeItem("draft");
  fillIn(draft);
}
document.addEventListener("submit", (event) => event.defaultPrevented || keepDraft(event.target));
document.addEventListener("htmx:beforeOnLoad", ({ detail }) => {
  if (!detail.xhr.getResponseHeader("HX-Redirect")) return;
  // A part beside a form, such as its summary, names the form that it sends.
  const named = detail.elt.getAttribute("hx-include");
  keepDraft(detail.elt.closest("form") || (named && document.querySelector(named)));
});

// One press copies, and the button says so where it was pressed. The one who listens hears it: `#said`
// is there before it is filled.
const said = document.getElementById("said");
let silent;

function sayAt(button, text) {
  const { left, top } = button.getBoundingClientRect();
  said.textContent = text;
  const widest = document.documentElement.clientWidth - said.offsetWidth - 8;
  said.style.left = `${Math.max(8, Math.min(left, widest))}px`;
  said.style.top = `${Math.max(8, top - said.offsetHeight - 6)}px`;
  clearTimeout(silent);
  silent = setTimeout(() => said.replaceChildren(), 4000);
}

document.addEventListener("scroll", () => said.replaceChildren(), { passive: true });

document.addEventListener("click", async (event) => {
  const button = event.target.closest && event.target.closest("[data-copy], [data-copy-text]");
  if (!button) return;
  const field = button.dataset.copy && document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(field ? field.value : button.dataset.copyText);
    sayAt(button, "Copied.");
  } catch {
    if (field) {
      field.focus();
      field.select();
    }
    const shown = field ? "It is selected: press Ctrl+C to copy it." : `Copy it from here: ${button.dataset.copyText}`;
    sayAt(button, shown);
  }
});

// How long ago something was stays true while the page is open. `frame/moments.py` has the same words.
const skew = Date.now() - Number(document.body.dataset.now);
const UNITS = [[172800, 86400, "days"], [3600, 3600, "h"], [60, 60, "min"], [0, 1, "s"]];

function relative(seconds) {
  const distance = Math.abs(seconds);
  if (distance < 10) return "now";
  const [, size, unit] = UNITS.find(([least]) => distance >= least);
  const told = `${Math.floor(distance / size)} ${unit}`;
  return seconds > 0 ? `${told} ago` : `in ${told}`;
}

function refreshMoments() {
  for (const moment of document.querySelectorAll("time.moment")) {
    const seconds = Math.round((Date.now() - skew - Date.parse(moment.dateTime)) / 1000);
    // What is a month away is a date, and stays one.
    if (Math.abs(seconds) < 2592000 && moment.textContent !== relative(seconds)) moment.textContent = relative(seconds);
  }
}

setInterval(() => document.hidden || refreshMoments(), 15000);

// A page that showed a secret is not brought back from the browser's memory.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// A folded form of filters says how many are chosen.
document.addEventListener("change", ({ target }) => {
  const fold = target.closest(".fold");
  if (!fold) return;
  const chosen = [...fold.querySelectorAll("select, input")].filter(({ name, value }) => value && name !== "order");
  fold.querySelector("[data-chosen]").textContent = chosen.length ? `(${chosen.length})` : "";
});

// The search box is a combobox: / and Ctrl-K (or Command-K) lead there, arrows choose, Enter opens, Escape closes.
const finder = document.querySelector(".finder");
if (finder) {
  const box = finder.querySelector("input[type=search]");
  const found = finder.querySelector(".found");
  const writes = "input, textarea, select, [contenteditable]";
  const options = () => [...found.querySelectorAll("[role=option]")];
  let chosen;

  function choose(option) {
    if (chosen) chosen.removeAttribute("aria-selected");
    chosen = option;
    if (option) {
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      box.setAttribute("aria-activedescendant", option.id);
    } else box.removeAttribute("aria-activedescendant");
  }

  function listChanged() {
    choose();
    box.setAttribute("aria-expanded", String(options().length > 0));
  }

  const close = () => found.replaceChildren();

  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", "found-list");
  listChanged();
  new MutationObserver(listChanged).observe(found, { childList: true });
  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const palette = (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k";
    if (palette || (event.key === "/" && plain && !event.target.closest(writes))) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  });
  box.addEventListener("keydown", (event) => {
    const all = options();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && all.length) {
      event.preventDefault();
      // Past either end it is the text again.
      const at = all.indexOf(chosen) + step;
      choose(all[at === -2 ? all.length - 1 : at]);
    } else if (event.key === "Enter" && chosen && !event.isComposing) {
      event.preventDefault();
      chosen.click();
    } else if (event.key === "Escape" && found.childElementCount) {
      event.preventDefault();
      close();
    }
  });
  document.addEventListener("focusin", (event) => finder.contains(event.target) || close());
  document.addEventListener("click", (event) => finder.contains(event.target) || close());
}

// A request behind the page that fails says so where it was made. What was typed and shown before stays.
const FAILURES = {
  "htmx:sendError": () => "The console did not answer.",
  "htmx:timeout": () => "The console took too long to answer.",
  "htmx:beforeSwap": () => "Something other than the console answered. You may be signed out: reload the page to see.",
  "htmx:swapError": () => "The answer could not be shown.",
  "htmx:responseError": ({ xhr }) =>
    ({
      400: "The console refused what was sent.",
      403: "Your role does not allow this, or this page is older than your sign-in: reload it.",
      404: "What this page shows was deleted, or you may not see it any more.",
      503: "The database fails at the moment. Nothing was saved.",
    })[xhr.status] || `The console failed to answer (${xhr.status}).`,
};

function tellFailure({ detail, type }) {
  const { elt } = detail.requestConfig || detail;
  const place = detail.target && detail.target.isConnected ? detail.target : elt;
  forgetFailure({ detail });
  const text = document.createElement("p");
  text.className = "notice error failure";
  text.setAttribute("role", "alert");
  const form = elt.closest("[data-unanswered]");
  const more = form ? form.dataset.unanswered : "Nothing was changed on this page. Try again.";
  text.textContent = `${FAILURES[type](detail)} ${more}`;
  if (place.matches("[aria-live], .found")) place.prepend(text);
  else place.before(text);
}

function forgetFailure({ detail }) {
  const place = detail.target && detail.target.isConnected ? detail.target : detail.elt;
  for (const old of document.querySelectorAll(".failure"))
    if (place.contains(old) || old.nextElementSibling === place) old.remove();
}
for (const type of Object.keys(FAILURES).filter((each) => each !== "htmx:beforeSwap"))
  document.addEventListener(type, tellFailure);

// A proxy's answer, or the page that a redirect led to, does not belong into this page.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, pathInfo, shouldSwap } = event.detail;
  const path = (address) => new URL(address, location.href).pathname;
  const own = xhr.getResponseHeader("X-Ostiary-Console") && path(xhr.responseURL) === path(pathInfo.finalRequestPath);
  if (!shouldSwap || own) return;
  event.detail.shouldSwap = false;
  tellFailure(event);
});
document.addEventListener("htmx:beforeRequest", forgetFailure);
