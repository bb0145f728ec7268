// The consumer's page. It works without this: the link is pasted then.
"use strict";

// The key stands after the #: it goes into the form, and waits for the button.
const form = document.getElementById("handover-form");
if (form && location.hash.length > 1) form.elements.code.value = decodeURIComponent(location.hash.slice(1));

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
