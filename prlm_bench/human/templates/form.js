"use strict";
(() => {
  const { export: name, pairs } = JSON.parse(document.getElementById("content").textContent);
  const byId = (id) => document.getElementById(id);
  const KEY = `prlm-bench human ${name}`;
  const choices = new Map(); // by pair: 1, 2 or 0
  let place = 0;
  let kept = false; // whether the browser has stored the choices
  let saved = true;

  function keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify({ annotator: byId("annotator").value, choices: [...choices], place }));
      kept = true;
    } catch {
      kept = false; // browsers may refuse storage for local files; then only saving helps
    }
  }

  function recall() {
    try {
      const found = JSON.parse(localStorage.getItem(KEY) ?? "null");
      if (found === null) return;
      byId("annotator").value = found.annotator;
      for (const [pair, choice] of found.choices) choices.set(pair, choice);
      place = Math.min(Math.max(0, found.place), pairs.length - 1);
    } catch {
      choices.clear();
    }
  }

  function put(id, text) {
    const box = byId(id);
    box.textContent = text === "" ? "(empty)" : text;
    box.classList.toggle("none", text === "");
    box.scrollTop = 0;
  }

  function draw() {
    const pair = pairs[place];
    byId("task").textContent = pair.task;
    put("question", pair.question);
    put("answer_1", pair.answer_1);
    put("answer_2", pair.answer_2);
    byId("about").hidden = pair.profile === "";
    put("profile", pair.profile);
    for (const button of document.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(choices.get(pair.pair) === Number(button.dataset.choice)));
    }
    byId("count").textContent = `Pair ${place + 1} of ${pairs.length}, ${choices.size} judged`;
    byId("progress").value = choices.size;
    byId("back").disabled = place === 0;
    byId("forth").disabled = place === pairs.length - 1;
    byId("open").disabled = choices.size === pairs.length;
  }

  function go(to) {
    place = Math.min(Math.max(0, to), pairs.length - 1);
    keep();
    draw();
  }

  // The next pair without a choice, starting over after the last one.
  function nextOpen() {
    for (let step = 1; step <= pairs.length; step += 1) {
      const other = (place + step) % pairs.length;
      if (!choices.has(pairs[other].pair)) return other;
    }
    return place;
  }

  function choose(choice) {
    const before = choices.has(pairs[place].pair);
    choices.set(pairs[place].pair, choice);
    saved = false;
    say(choices.size === pairs.length ? "All pairs are judged. Save the file and hand it in." : "");
    go(before ? place : nextOpen());
  }

  function say(text) {
    byId("message").textContent = text;
  }

  const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const guarded = (text) => (/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text);

  function content(form, annotator) {
    const rows = pairs.filter(({ pair }) => choices.has(pair)).map(({ pair }) => ({ pair, annotator, choice: choices.get(pair) }));
    if (form === "json") return `[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`;
    const lines = rows.map((row) => [row.pair, quoted(guarded(row.annotator)), row.choice].join(","));
    return ["pair,annotator,choice", ...lines, ""].join("\n");
  }

  function save(form) {
    const annotator = byId("annotator").value.trim();
    if (annotator === "") {
      say("Enter your name first.");
      byId("annotator").focus();
      return;
    }
    if (choices.size === 0) {
      say("Nothing to save yet.");
      return;
    }
    const url = URL.createObjectURL(new Blob([content(form, annotator)], { type: form === "json" ? "application/json" : "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `judgements-${name}-${annotator.replace(/[^A-Za-z0-9]+/g, "-")}.${form}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    saved = true;
    const left = pairs.length - choices.size;
    say(`Saved ${counted(choices.size, "judgement")}.` + (left ? ` Not judged yet: ${counted(left, "pair")}.` : ""));
  }

  function startOver() {
    if (!window.confirm("Delete all choices?")) return;
    choices.clear();
    byId("annotator").value = "";
    saved = true;
    say("");
    go(0);
  }

  for (const button of document.querySelectorAll("[data-choice]")) {
    button.addEventListener("click", () => choose(Number(button.dataset.choice)));
  }
  for (const button of document.querySelectorAll("[data-save]")) {
    button.addEventListener("click", () => save(button.dataset.save));
  }
  byId("annotator").addEventListener("input", keep);
  byId("back").addEventListener("click", () => go(place - 1));
  byId("forth").addEventListener("click", () => go(place + 1));
  byId("open").addEventListener("click", () => go(nextOpen()));
  byId("again").addEventListener("click", startOver);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("input")) return;
    if (["0", "1", "2"].includes(event.key)) choose(Number(event.key));
    else if (event.key === "ArrowLeft") go(place - 1);
    else if (event.key === "ArrowRight") go(place + 1);
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved && !kept) event.preventDefault();
  });
  recall();
  byId("instructions").open = choices.size === 0;
  draw();
})();
