"use strict";
(() => {
  const sections = [...document.querySelectorAll("section[data-task]")];
  const facets = [...document.querySelectorAll("select[data-facet]")];
  const text = document.querySelector("input[data-text]");
  const controls = document.querySelector("input[data-controls]");
  const count = document.getElementById("count");

  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let tables = 0;
    let rows = 0;
    for (const section of sections) {
      const shown = facets.every((f) => !f.value || section.dataset[f.dataset.facet] === f.value);
      let left = 0;
      for (const row of section.querySelectorAll(".board tbody tr")) {
        const content = row.textContent.toLowerCase();
        const fits = words.every((word) => content.includes(word)) && (controls.checked || !row.classList.contains("control"));
        row.hidden = !fits;
        left += fits ? 1 : 0;
      }
      section.hidden = !shown || left === 0;
      tables += section.hidden ? 0 : 1;
      rows += section.hidden ? 0 : left;
    }
    count.textContent = `${rows} rows in ${tables} tables`;
  }

  function key(row, column) {
    const cell = row.cells[column];
    const value = cell.dataset.value ?? cell.textContent.trim();
    const number = Number.parseFloat(value);
    return Number.isNaN(number) ? value.toLowerCase() : number;
  }

  function compare(a, b) {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  }

  function sort(header) {
    const table = header.closest("table");
    const descending = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    const sign = descending ? -1 : 1;
    rows.sort((a, b) => sign * compare(key(a, header.cellIndex), key(b, header.cellIndex)));
    table.tBodies[0].append(...rows);
  }

  for (const button of document.querySelectorAll(".board thead button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }
  document.querySelector("form.filters").addEventListener("input", filter);
  document.querySelector("form.filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
