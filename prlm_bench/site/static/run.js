"use strict";
(() => {
  const { load, page, sample: { draw: drawSample, make } } = window.prlm;
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const byId = (name) => document.getElementById(name);
  const LISTED = 100; // entries of the list shown at a time
  const HASH = "#sample=";
  let entries = [];
  let searched = null; // the searched texts, built at the first search
  let chosen = [];
  let first = 0;
  let current = -1;

  async function begin() {
    try {
      entries = (await load(settings.samples)).lines;
      update();
      open();
    } catch (error) {
      byId("found").textContent = error.message;
    }
  }

  // The sample in the address; the first one if the address has none.
  function open(event) {
    const id = location.hash.startsWith(HASH) ? decoded(location.hash.slice(HASH.length)) : null;
    const index = id === null ? -1 : entries.findIndex((entry) => entry[0] === id);
    if (index >= 0) {
      reveal(chosen.indexOf(index));
      show(index);
    } else if (!event && chosen.length) {
      show(chosen[0], false);
    }
  }

  function decoded(words) {
    try {
      return decodeURIComponent(words);
    } catch {
      return null;
    }
  }

  function update() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const failures = byId("failures").checked;
    if (words.length) searched ??= entries.map(([id, user, , , ...texts]) => [id, user, ...texts].join("\n").toLowerCase());
    chosen = [];
    for (let index = 0; index < entries.length; index += 1) {
      if (failures && entries[index][2]) continue;
      if (words.every((word) => searched[index].includes(word))) chosen.push(index);
    }
    const order = byId("order").value;
    if (order !== "data") {
      const sign = (order === "best") === settings.higher ? -1 : 1;
      const value = (index) => entries[index][3];
      chosen.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a - b);
    }
    first = 0;
    draw();
  }

  function draw() {
    const last = Math.min(first + LISTED, chosen.length);
    byId("found").textContent = `${chosen.length} of ${entries.length} samples` + (chosen.length > LISTED ? `, ${first + 1} to ${last} listed` : "");
    const list = byId("list");
    list.start = first + 1;
    list.replaceChildren(...chosen.slice(first, last).map(line));
    byId("pager").hidden = chosen.length <= LISTED;
    byId("earlier").disabled = first === 0;
    byId("later").disabled = last >= chosen.length;
  }

  function line(index) {
    const [id, , parsed, metric, query] = entries[index];
    const button = make("button", undefined, { type: "button", "data-index": index });
    button.append(make("bdi", id), ` ${metric === null ? "" : metric.toFixed(3)}${parsed ? "" : " (not parsed)"}`);
    button.append(make("small", query, { dir: "auto" }));
    if (index === current) button.setAttribute("aria-current", "true");
    const item = make("li");
    item.append(button);
    return item;
  }

  function mark() {
    for (const button of byId("list").querySelectorAll("button")) {
      if (Number(button.dataset.index) === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  async function show(index, named = true) {
    current = index;
    mark();
    const number = Math.floor(index / settings.size);
    const run = byId("beside").value;
    const article = byId("sample");
    try {
      const other = settings.neighbours.find((each) => each.run === run);
      const [mine, theirs] = await Promise.all([page(settings.samples, number), other ? page(other.samples, number) : null]);
      if (current !== index || byId("beside").value !== run) return;
      const sample = mine[index % settings.size];
      article.replaceChildren(...drawSample(sample, other ? { ...other, sample: theirs[index % settings.size] } : null));
      if (named) history.replaceState(null, "", HASH + encodeURIComponent(sample.id));
    } catch (error) {
      if (current === index) article.replaceChildren(make("p", error.message));
    }
  }

  // Show the part of the list that contains an index.
  function reveal(place) {
    if (place < 0 || (place >= first && place < first + LISTED)) return;
    first = Math.floor(place / LISTED) * LISTED;
    draw();
  }

  function step(by) {
    const place = chosen.indexOf(current) + by;
    if (place < 0 || place >= chosen.length) return;
    reveal(place);
    show(chosen[place]);
    byId("list").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }

  function turn(by) {
    first = Math.max(0, first + by);
    draw();
    byId("list").scrollTop = 0;
  }

  for (const { run, name } of settings.neighbours) byId("beside").append(make("option", name, { value: run }));
  byId("list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.index));
  });
  for (const name of ["search", "order", "failures"]) byId(name).addEventListener("input", update);
  byId("beside").addEventListener("input", () => current >= 0 && show(current));
  byId("earlier").addEventListener("click", () => turn(-LISTED));
  byId("later").addEventListener("click", () => turn(LISTED));
  window.addEventListener("hashchange", open);
  document.querySelector("form.filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=checkbox]), select")) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") {
      event.preventDefault();
      byId("search").focus();
    }
  });
  begin();
})();
