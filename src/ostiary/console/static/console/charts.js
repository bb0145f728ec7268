// Charts: what a bar stands for is read out under the pointer and by the arrow keys; a click, or Enter,
// lists its calls. The table on the page has the same figures and links for those without scripts.
"use strict";

const columnsOf = (plot) => [...plot.querySelectorAll(".column")];

function point(plot, column) {
  for (const each of plot.querySelectorAll(".column.here")) each.classList.remove("here");
  if (column) column.classList.add("here");
  const text = column ? column.dataset.told : "";
  const readout = plot.querySelector(".readout");
  if (readout.textContent !== text) readout.textContent = text;
}

const open = (column) => column && column.dataset.logs && location.assign(column.dataset.logs);
const plotOf = (event) => event.target.closest && event.target.closest("[data-chart]");

document.addEventListener("pointermove", (event) => {
  const plot = plotOf(event);
  const column = plot && event.target.closest(".column");
  if (column && !column.classList.contains("here")) point(plot, column);
});

document.addEventListener("pointerout", (event) => {
  const plot = plotOf(event);
  if (plot && plot !== document.activeElement && !plot.contains(event.relatedTarget)) point(plot, null);
});

document.addEventListener("click", (event) => {
  const plot = plotOf(event);
  if (plot) open(event.target.closest(".column"));
});

document.addEventListener("keydown", (event) => {
  const plot = event.target.matches && event.target.matches("[data-chart]") && event.target;
  if (!plot) return;
  const columns = columnsOf(plot);
  const at = columns.findIndex((column) => column.classList.contains("here"));
  const last = columns.length - 1;
  const next = {
    ArrowLeft: at < 0 ? last : Math.max(0, at - 1),
    ArrowRight: at < 0 ? last : Math.min(last, at + 1),
    Home: 0,
    End: last,
  }[event.key];
  if (next !== undefined) {
    event.preventDefault();
    point(plot, columns[next]);
  } else if (event.key === "Enter") {
    open(columns[at]);
  } else if (event.key === "Escape") {
    point(plot, null);
  }
});

document.addEventListener("focusout", (event) => {
  if (event.target.matches("[data-chart]")) point(event.target, null);
});
