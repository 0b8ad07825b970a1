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
        const content = `${row.textContent} ${row.dataset.text}`.toLowerCase();
        const fits = words.every((word) => content.includes(word)) && (controls.checked || !row.classList.contains("control"));
        row.hidden = !fits;
        left += fits ? 1 : 0;
      }
      section.hidden = !shown || left === 0;
      tables += section.hidden ? 0 : 1;
      rows += section.hidden ? 0 : left;
    }
    count.textContent = `${rows} ${rows === 1 ? "row" : "rows"} in ${tables} ${tables === 1 ? "table" : "tables"}`;
  }

  // A number, a text in lower case, or null if the cell has no value.
  function key(row, column) {
    const cell = row.cells[column];
    const value = (cell.dataset.value ?? cell.textContent).trim();
    if (value === "" || value === "-") return null;
    const number = Number(value.replace(/%$/, ""));
    return Number.isNaN(number) ? value.toLowerCase() : number;
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null); // missing values last, in both directions
    if (typeof a === typeof b) return sign * (a < b ? -1 : a > b ? 1 : 0);
    return typeof a === "number" ? -1 : 1;
  }

  function sort(header) {
    const table = header.closest("table");
    const before = header.getAttribute("aria-sort");
    const best = header.dataset.better === "high" ? "descending" : "ascending";
    const order = before === null ? best : before === "ascending" ? "descending" : "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const sign = order === "descending" ? -1 : 1;
    const keyed = [...table.tBodies[0].rows].map((row) => [key(row, header.cellIndex), row]);
    keyed.sort((a, b) => compare(a[0], b[0], sign));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  for (const button of document.querySelectorAll(".board thead button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }
  document.querySelector("form.filters").addEventListener("input", filter);
  document.querySelector("form.filters").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("pageshow", filter); // browsers restore form values on back navigation
  filter();
})();
