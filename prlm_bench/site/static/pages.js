"use strict";
// Loads the numbered data files of this and other results; pages opened from a folder cannot use fetch.
window.prlm = (() => {
  const KEPT = 20; // data files kept in memory
  const pages = new Map();
  const waiting = new Map();

  window.prlmPage = (run, number, samples) => {
    const name = `${run}/${number}`;
    pages.set(name, samples);
    if (pages.size > KEPT) pages.delete(pages.keys().next().value);
    waiting.get(name)?.resolve(samples);
    waiting.delete(name);
  };

  function load(run, number) {
    const name = `${run}/${number}`;
    if (pages.has(name)) return Promise.resolve(pages.get(name));
    if (waiting.has(name)) return waiting.get(name).promise;
    const wait = {};
    wait.promise = new Promise((resolve, reject) => {
      wait.resolve = resolve;
      wait.reject = reject;
    });
    waiting.set(name, wait);
    const script = document.createElement("script");
    script.src = `../${run}/pages/${number}.js`;
    script.onload = () => script.remove();
    script.onerror = () => {
      waiting.delete(name);
      script.remove();
      wait.reject(new Error(`The file runs/${name.replace("/", "/pages/")}.js is missing.`));
    };
    document.body.append(script);
    return wait.promise;
  }

  return { load };
})();
