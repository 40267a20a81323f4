// Gives each widget of a page what Jupyter would: a model with the values of data-state, and a place to draw.
const cdmlWidgets = (() => {
  "use strict";
  const factories = {};

  const makeModel = (state) => {
    const values = { ...state };
    const listeners = {};
    return {
      get: (name) => values[name],
      set(name, value) {
        if (values[name] === value) return;
        values[name] = value;
        for (const event of [`change:${name}`, "change"]) [...(listeners[event] ?? [])].forEach((call) => call());
      },
      on: (event, call) => { (listeners[event] ??= new Set()).add(call); },
      off: (event, call) => { listeners[event]?.delete(call); },
      save_changes() {},
    };
  };

  // The fallback comes back when a widget cannot be drawn, and the console says why.
  const start = (element) => {
    const fallback = [...element.childNodes];
    const { widget, state } = element.dataset;
    try {
      element.cdmlModel = makeModel(JSON.parse(state)); // for the page's own scripts
      factories[widget]().render({ model: element.cdmlModel, el: element });
    } catch (error) {
      element.replaceChildren(...fallback);
      console.error(`widget ${widget}:`, error);
    }
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".cdml-widget").forEach(start));
  return { define: (name, factory) => { factories[name] = factory; } };
})();
