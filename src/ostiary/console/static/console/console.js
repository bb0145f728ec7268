// Small helps; every page works without them.
"use strict";

// The secret of a sign-in link stands after the #: it goes into the form, and out of the address.
const linkForm = document.getElementById("link-form");
if (linkForm && location.hash.length > 1) {
  linkForm.elements.code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  linkForm.submit();
}

// Dangerous actions ask.
document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// One press copies; the page says that it did.
document.addEventListener("click", async (event) => {
  const from = event.target.dataset && event.target.dataset.copy;
  if (!from) return;
  const field = document.getElementById(from);
  const said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(field.value);
    said.textContent = "Copied.";
  } catch {
    field.focus();
    field.select();
    said.textContent = "It is selected: press Ctrl+C to copy it.";
  }
});

// A page that showed a secret is not brought back from the browser's memory.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
