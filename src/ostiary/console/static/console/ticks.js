// Ticks the boxes of many operations at once: all of them, or those of a tag.
"use strict";

for (const set of document.querySelectorAll(".ticks")) set.hidden = false;

document.addEventListener("click", ({ target }) => {
  const name = target.dataset && target.dataset.tick;
  if (!name) return;
  const form = target.closest("form");
  const tag = form.querySelector("#tick-tag");
  for (const box of form.querySelectorAll(`input[name="${name}"]`)) {
    const row = box.closest("tr");
    const fits = !tag || !tag.value || (row.dataset.tags || "").split("\n").includes(tag.value);
    if (fits && !row.hidden) box.checked = target.dataset.on === "1";
  }
});
