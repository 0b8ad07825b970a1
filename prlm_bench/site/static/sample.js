"use strict";
// Draws one sample; all text from the data is set by textContent or setAttribute.
window.prlm.sample = (() => {
  const LONG = 4000; // characters of a text shown before "show all"

  function make(tag, content, attributes = {}) {
    const element = document.createElement(tag);
    if (content !== undefined) element.textContent = content;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function text(title, content, level = "h4") {
    const part = make("div");
    part.append(make(level, title));
    if (content === null || content === "") {
      part.append(make("p", content === null ? "withheld" : "empty", { class: "none" }));
      return part;
    }
    const box = make("div", content.slice(0, LONG), { class: "text", dir: "auto" });
    part.append(box);
    if (content.length > LONG) {
      const all = make("button", `show all ${content.length} characters`, { type: "button" });
      all.addEventListener("click", () => {
        box.textContent = content;
        box.tabIndex = -1;
        box.focus();
        all.remove();
      });
      part.append(all);
    }
    return part;
  }

  function figures(sample) {
    const list = make("dl", undefined, { class: "chips" });
    for (const [group, values] of [["", sample.metrics], ["", sample.retrieval], ["reward ", sample.rewards]]) {
      for (const [name, value] of Object.entries(values)) {
        const pair = make("div");
        pair.append(make("dt", group + name), make("dd", value === null ? "-" : value.toFixed(4)));
        list.append(pair);
      }
    }
    return list;
  }

  function facts(sample) {
    const known = [sample.parsed === null ? "the answer could not be parsed" : `parsed by: ${sample.parsed}`];
    if (sample.finish !== null) known.push(`finish: ${sample.finish}`);
    if (sample.completion_tokens !== null) known.push(`${sample.completion_tokens} tokens`);
    if (sample.cost !== null) known.push(`cost: ${sample.cost}`);
    return make("p", known.join(", "), { class: sample.parsed === null ? "failed" : "facts" });
  }

  function items(sample) {
    const part = make("div");
    part.append(make("h4", `Retrieved items: ${sample.items.length} (shown ${sample.shown}, cut ${sample.cut}, dropped ${sample.dropped})`));
    const list = make("ol", undefined, { class: "items" });
    for (const item of sample.items) {
      const line = make("li");
      line.append(make("b", item.score === null ? "-" : item.score.toFixed(3)), " ", make("bdi", item.id));
      if (sample.cited.includes(item.id)) line.append(" ", make("span", "cited", { class: "mark" }));
      line.append(make("div", item.text, { dir: "auto" }));
      list.append(line);
    }
    part.append(list);
    return part;
  }

  function method(title, sample) {
    const column = make("section");
    column.append(title, text("Answer", sample.answer), facts(sample), figures(sample));
    if (sample.reasoning !== null) column.append(text("Reasoning", sample.reasoning));
    column.append(items(sample), text(`Prompt (${sample.prompt_tokens} tokens)`, sample.prompt));
    column.append(sample.completion === sample.answer ? make("p", "The completion is the answer.", { class: "facts" }) : text("Completion", sample.completion));
    return column;
  }

  // `other` is null or { run, name, sample }.
  function draw(sample, other) {
    const heading = make("h3", "Sample ");
    heading.append(make("bdi", sample.id), ", user ", make("bdi", sample.user));
    const columns = make("div", undefined, { class: "columns" });
    columns.append(method(make("h3", "This method"), sample));
    if (other) {
      const title = make("h3");
      title.append(make("a", other.name, { href: `../${other.run}/index.html#sample=${encodeURIComponent(sample.id)}` }));
      columns.append(other.sample?.id === sample.id ? method(title, other.sample) : title);
    }
    return [heading, text("Query", sample.query), text("Gold", sample.gold), columns];
  }

  return { draw, make };
})();
