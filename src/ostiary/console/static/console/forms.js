// Forms: what is wrong comes first and leads to its fields, and what is typed is not lost by leaving.
"use strict";

// The form as it was typed, secrets too, waits on the server under a number that the form came with: Back leads to it.
document.addEventListener("submit", ({ defaultPrevented, target: form }) => {
  const typed = form.elements.typed;
  if (!defaultPrevented && typed) history.replaceState(history.state, "", `${location.pathname}?draft=${typed.value}`);
});

// After a form that was refused, focus is on a summary that leads to the fields.
const problems = [...document.querySelectorAll("main form .problem")].filter((each) => each.closest(".field, fieldset"));
if (problems.length) {
  const form = problems[0].closest("form");
  const links = new Map();
  for (const problem of problems) {
    const place = problem.closest(".field, fieldset");
    const field = place.querySelector("input:not([type=hidden]), select, textarea");
    if (!field) continue;
    const label = (!["checkbox", "radio"].includes(field.type) && field.labels && field.labels[0]) || place.querySelector("legend, label");
    field.setAttribute("aria-invalid", "true");
    problem.id = problem.id || `problem-${links.size}`;
    const about = field.getAttribute("aria-describedby");
    field.setAttribute("aria-describedby", about ? `${problem.id} ${about}` : problem.id);
    const details = field.closest("details");
    if (details) details.open = true;
    if (label && !links.has(field)) links.set(field, label.textContent.trim());
  }
  const known = form.parentElement.querySelector(":scope > .notice.error");
  const summary = known || document.createElement("div");
  if (!known) {
    summary.className = "notice error";
    form.before(summary);
  }
  summary.tabIndex = -1;
  const many = links.size === 1 ? "1 field" : `${links.size} fields`;
  summary.textContent = `There's a problem with ${many}. Nothing was saved. `;
  for (const [field, label] of links) {
    field.id = field.id || `field-${field.name}`;
    const link = document.createElement("a");
    link.href = `#${field.id}`;
    link.textContent = label;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      field.focus();
    });
    summary.append(link, " ");
  }
  summary.focus();
} else {
  const said = document.querySelector("main .notice.error[role=alert]");
  if (said && said.closest("main form, main .card")) {
    said.tabIndex = -1;
    said.focus();
  }
}

// A shared secret that nobody can guess: as long as the hash of HS512, in base64url. It stays in sight until it is saved.
for (const each of document.querySelectorAll("[data-generates]")) each.hidden = false;
document.addEventListener("click", ({ target }) => {
  const field = target.dataset && target.dataset.generate && document.getElementById(target.dataset.generate);
  if (!field) return;
  const bytes = crypto.getRandomValues(new Uint8Array(64));
  const text = btoa(String.fromCharCode(...bytes));
  field.value = text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

// Leaving a form that was filled in, and not sent, asks.
const asksToStay = (form) => form && form.method === "post" && form.closest("main") && !form.matches("[hx-post], [data-in-place]");
const filled = new Set();
for (const type of ["input", "change"]) {
  document.addEventListener(type, ({ target }) => asksToStay(target.form) && filled.add(target.form));
}
document.addEventListener("submit", (event) => event.defaultPrevented || filled.clear());
// What was typed is kept while its author signs in again: there is nothing to ask.
document.addEventListener("htmx:beforeOnLoad", ({ detail }) => {
  if (detail.xhr.getResponseHeader("HX-Redirect")) filled.clear();
});
window.addEventListener("beforeunload", (event) => {
  if ([...filled].some((form) => form.isConnected)) event.preventDefault();
});
