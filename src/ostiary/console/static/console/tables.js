// Ticks of a table: all of a page at once, and how many there are.
"use strict";

function count(form) {
  const ticks = [...form.querySelectorAll("input[name=id]")];
  const all = form.querySelector("[data-all]");
  const page = form.querySelector("[data-tick-page]");
  const said = form.querySelector("[data-ticked]");
  const ticked = ticks.filter((tick) => tick.checked).length;
  if (page) {
    page.hidden = ticks.length === 0;
    page.checked = ticked > 0 && ticked === ticks.length;
    page.indeterminate = ticked > 0 && ticked < ticks.length;
  }
  const bulk = form.querySelector(".bulk");
  if (bulk) bulk.dataset.ticks = all && all.checked ? "all" : ticked;
  if (said) said.textContent = all && all.checked ? "All that match" : ticked ? `${ticked} ticked` : "";
}

document.addEventListener("change", (event) => {
  const form = event.target.closest(".table-form");
  if (!form) return;
  if (event.target.matches("[data-tick-page]")) {
    for (const tick of form.querySelectorAll("input[name=id]")) tick.checked = event.target.checked;
  }
  count(form);
});

const countAll = () => document.querySelectorAll(".table-form").forEach(count);
countAll();
document.addEventListener("htmx:afterSwap", countAll);
