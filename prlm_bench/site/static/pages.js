"use strict";
// Loads the packed data files; pages opened from a folder cannot use fetch.
window.prlm = (() => {
  const KEPT = 40; // data files kept in memory
  const files = new Map(); // promises of contents by name
  const waiting = new Map();

  window.prlmData = (name, packed) => {
    waiting.get(name)?.resolve(unpack(packed));
    waiting.delete(name);
  };

  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  function load(name) {
    if (files.has(name)) return files.get(name);
    const found = new Promise((resolve, reject) => {
      if (!window.DecompressionStream) {
        reject(new Error("This browser cannot unpack the samples; browsers since 2023 can."));
        return;
      }
      waiting.set(name, { resolve });
      const script = document.createElement("script");
      script.src = `../../samples/${name}.js`;
      script.onload = () => script.remove();
      script.onerror = () => {
        waiting.delete(name);
        files.delete(name);
        script.remove();
        reject(new Error(`The file samples/${name}.js is missing.`));
      };
      document.body.append(script);
    });
    files.set(name, found);
    if (files.size > KEPT) files.delete(files.keys().next().value);
    return found;
  }

  // The samples of a page, counted from 0, of the result whose index has this name.
  async function page(index, number) {
    const names = (await load(index)).pages[number] ?? [];
    const [asked, answered] = await Promise.all(names.map(load));
    return (asked ?? []).map((sample, place) => ({ ...sample, ...answered[place] }));
  }

  return { load, page };
})();
