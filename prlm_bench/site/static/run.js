"use strict";
(() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const byId = (name) => document.getElementById(name);
  const LISTED = 100; // entries of the list that are drawn at once
  const LONG = 4000; // characters of a text that are drawn before "show all"
  const pages = new Map();
  const waiting = new Map();
  let entries = [];
  let chosen = [];
  let first = 0;
  let current = -1;

  window.prlmList = (list) => {
    entries = list;
    update();
  };
  window.prlmPage = (run, number, samples) => {
    const name = `${run}/${number}`;
    pages.set(name, samples);
    for (const resolve of waiting.get(name) ?? []) resolve(samples);
    waiting.delete(name);
  };

  function load(run, number) {
    const name = `${run}/${number}`;
    if (pages.has(name)) return Promise.resolve(pages.get(name));
    return new Promise((resolve, reject) => {
      if (waiting.has(name)) return waiting.get(name).push(resolve);
      waiting.set(name, [resolve]);
      const script = document.createElement("script");
      script.src = `../${run}/pages/${number}.js`;
      script.onerror = () => reject(new Error(`${script.src} is missing`));
      document.body.append(script);
    });
  }

  function make(tag, content, attributes = {}) {
    const element = document.createElement(tag);
    if (content !== undefined) element.textContent = content;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function update() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const failures = byId("failures").checked;
    chosen = entries.map((_, index) => index).filter((index) => {
      const [id, user, parsed, , ...texts] = entries[index];
      if (failures && parsed) return false;
      const content = [id, user, ...texts].join("\n").toLowerCase();
      return words.every((word) => content.includes(word));
    });
    const order = byId("order").value;
    if (order !== "data") {
      const sign = order === "worst" ? 1 : -1;
      chosen.sort((a, b) => sign * ((entries[a][3] ?? 0) - (entries[b][3] ?? 0)) || a - b);
    }
    first = 0;
    draw();
  }

  function draw() {
    byId("found").textContent = `${chosen.length} of ${entries.length} samples, from ${chosen.length ? first + 1 : 0}`;
    const list = byId("list");
    list.replaceChildren();
    for (const index of chosen.slice(first, first + LISTED)) {
      const [id, , parsed, metric, query] = entries[index];
      const button = make("button", undefined, { type: "button", "data-index": index });
      button.append(make("bdi", id), ` ${metric === null ? "" : metric.toFixed(3)}${parsed ? "" : " (not parsed)"}`);
      button.append(make("small", query, { dir: "auto" }));
      if (index === current) button.setAttribute("aria-current", "true");
      const item = make("li");
      item.append(button);
      list.append(item);
    }
    byId("earlier").disabled = first === 0;
    byId("later").disabled = first + LISTED >= chosen.length;
  }

  function text(title, content) {
    const part = make("div");
    part.append(make("h3", title));
    const box = make("div", content === null || content === "" ? "(empty)" : content.slice(0, LONG), { class: "text", dir: "auto" });
    part.append(box);
    if (content !== null && content.length > LONG) {
      const all = make("button", `show all ${content.length} characters`, { type: "button" });
      all.addEventListener("click", () => { box.textContent = content; all.remove(); });
      part.append(all);
    }
    return part;
  }

  function figures(sample) {
    const table = make("table");
    for (const [group, values] of [["", sample.metrics], ["retrieval ", sample.retrieval], ["reward ", sample.rewards]]) {
      for (const [name, value] of Object.entries(values)) {
        const row = table.insertRow();
        row.append(make("th", group + name, { scope: "row" }), make("td", value === null ? "-" : value.toFixed(4)));
      }
    }
    return table;
  }

  function answers(title, sample) {
    const column = make("div");
    column.append(make("h2", title), text("Answer", sample.answer));
    column.append(make("p", sample.parsed === null ? "The answer could not be parsed." : `Parsed: ${sample.parsed}`));
    if (sample.reasoning !== null) column.append(text("Reasoning", sample.reasoning));
    column.append(figures(sample));
    return column;
  }

  function items(sample) {
    const part = make("div");
    part.append(make("h3", `Retrieved items: ${sample.items.length}, shown ${sample.shown}, cut ${sample.cut}, dropped ${sample.dropped}`));
    const list = make("ol", undefined, { class: "items" });
    for (const item of sample.items) {
      const line = make("li");
      line.append(make("b", item.score.toFixed(3)), " ", make("bdi", item.id), ": ", make("span", item.text, { dir: "auto" }));
      list.append(line);
    }
    part.append(list);
    return part;
  }

  async function show(index) {
    current = index;
    draw();
    const number = Math.floor(index / settings.size) + 1;
    const article = byId("sample");
    try {
      const sample = (await load(settings.run, number))[index % settings.size];
      const beside = byId("beside").value;
      const other = beside ? (await load(beside, number))[index % settings.size] : null;
      if (current !== index) return;
      const columns = make("div", undefined, { class: "columns" });
      columns.append(answers("This method", sample));
      if (other && other.id === sample.id) columns.append(answers("Beside", other));
      article.replaceChildren(
        make("h2", `Sample ${sample.id}, user ${sample.user}`),
        text("Query", sample.query), text("Gold", sample.gold), columns, items(sample),
        text(`Prompt (${sample.prompt_tokens} tokens)`, sample.prompt), text("Completion", sample.completion),
      );
    } catch (error) {
      article.replaceChildren(make("p", String(error)));
    }
  }

  function step(by) {
    const at = chosen.indexOf(current) + by;
    if (at < 0 || at >= chosen.length) return;
    if (at < first || at >= first + LISTED) first = Math.floor(at / LISTED) * LISTED;
    show(chosen[at]);
    document.querySelector('#list [aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }

  for (const { run, name } of settings.neighbours) byId("beside").append(make("option", name, { value: run }));
  byId("list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.index));
  });
  for (const name of ["search", "order", "failures"]) byId(name).addEventListener("input", update);
  byId("beside").addEventListener("input", () => current >= 0 && show(current));
  byId("earlier").addEventListener("click", () => { first = Math.max(0, first - LISTED); draw(); });
  byId("later").addEventListener("click", () => { first += LISTED; draw(); });
  document.querySelector("form.filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
  });
})();
