// The parts that every widget is built from. cdmllab.book.widgets.source() prepends this text to a widget's own.
const kit = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const mine = Math.random().toString(36).slice(2, 8); // several kits may share a page
  let count = 0;

  // The page's palette if it has one (the book), otherwise JupyterLab's, otherwise light colours.
  const CSS = `
.cdw { --w-ink: var(--cdml-ink, var(--jp-content-font-color1, #1b2330));
  --w-muted: var(--cdml-muted, var(--jp-content-font-color2, #58616f));
  --w-grid: var(--cdml-grid, var(--jp-border-color2, #c9ced6));
  --w-paper: var(--cdml-paper, var(--jp-layout-color0, #ffffff));
  --w-surface: var(--cdml-surface, var(--jp-layout-color2, #f5f6f8));
  --w-accent: var(--cdml-accent, var(--jp-brand-color1, #2f6fb7));
  container-type: inline-size; box-sizing: border-box; max-width: 100%; color: var(--w-ink);
  font: 15px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums;
  background: var(--w-paper); border: 1px solid var(--w-grid); border-radius: 10px; padding: 14px 16px; }
.cdw *, .cdw *::before { box-sizing: border-box; }
.cdw p, .cdw dl, .cdw dd, .cdw fieldset, .cdw label { margin: 0; padding: 0; border: 0; min-width: 0; }
.cdw svg { display: block; overflow: visible; font: 13px system-ui, sans-serif; }
.cdw svg text { fill: var(--w-muted); }
.cdw .cdw-halo { paint-order: stroke; stroke: var(--w-paper); stroke-width: 4px; stroke-linejoin: round; }
.cdw .cdw-gridline { stroke: var(--w-grid); stroke-width: 1; shape-rendering: crispEdges; }
.cdw .cdw-axis { stroke: var(--w-muted); stroke-width: 1; shape-rendering: crispEdges; }
.cdw .cdw-slider { display: grid; grid-template-columns: 1fr auto; align-items: baseline; column-gap: 8px; }
.cdw .cdw-slider small { color: var(--w-muted); font-size: 13px; }
.cdw .cdw-slider .cdw-value { font-weight: 600; }
.cdw input[type=range] { grid-column: 1 / -1; width: 100%; height: 28px; margin: 0; accent-color: var(--w-accent);
  cursor: pointer; touch-action: pan-y; }
.cdw legend { float: none; width: auto; margin: 0 0 4px; padding: 0; font: inherit; }
.cdw .cdw-row { display: flex; flex-wrap: wrap; gap: 6px; }
.cdw .cdw-chip { display: inline-flex; align-items: center; gap: 7px; min-height: 34px; padding: 3px 12px; margin: 0;
  font: inherit; font-size: 14px; color: var(--w-ink); background: var(--w-surface); cursor: pointer;
  border: 1px solid var(--w-grid); border-radius: 17px; }
.cdw .cdw-chip:hover { border-color: var(--w-muted); }
.cdw .cdw-chip[aria-pressed=true], .cdw .cdw-chip:has(:checked) { border-color: var(--chip, var(--w-accent));
  box-shadow: inset 0 0 0 1px var(--chip, var(--w-accent)); background: var(--w-paper); font-weight: 600; }
.cdw .cdw-chip input { position: absolute; opacity: 0; width: 1px; height: 1px; margin: 0; }
.cdw .cdw-dot { width: 10px; height: 10px; border-radius: 50%; background: var(--chip); }
.cdw :focus-visible, .cdw .cdw-chip:has(:focus-visible) { outline: 2px solid var(--w-accent); outline-offset: 2px; }
.cdw dl.cdw-readout { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 8px;
  margin: 10px 0 0; }
.cdw dl.cdw-readout > div { padding: 6px 10px; border-radius: 8px; background: var(--w-surface); }
.cdw dl.cdw-readout > div > dt { color: var(--w-muted); font-weight: 400; font-size: 13px; }
.cdw dl.cdw-readout > div > dd { font-size: 18px; font-weight: 600; line-height: 1.3; }
.cdw.cdw dl.cdw-readout > div > :is(dt, dd) { display: block; float: none; clear: none; width: auto; margin: 0;
  padding: 0; }
@container (max-width: 480px) {
  .cdw dl.cdw-readout { grid-template-columns: 1fr 1fr; }
  .cdw dl.cdw-readout > div:last-child:nth-child(odd) { grid-column: 1 / -1; }
}
.cdw .cdw-choose { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; }
.cdw select { min-height: 34px; max-width: 100%; padding: 3px 8px; font: inherit; color: var(--w-ink); cursor: pointer;
  background: var(--w-surface); border: 1px solid var(--w-muted); border-radius: 8px; }
.cdw .cdw-under { margin-top: 4px; }
.cdw .cdw-under .cdw-slider :is(label, .cdw-value) { padding: 0 8px; }
.cdw .cdw-controls button { justify-self: start; }
.cdw .cdw-check { display: flex; align-items: center; gap: 8px; min-height: 34px; cursor: pointer; font-size: 14px; }
.cdw .cdw-check input { width: 18px; height: 18px; margin: 0; flex: none; accent-color: var(--w-accent); }
.cdw .cdw-body { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 28px; margin-top: 12px; }
.cdw .cdw-controls { display: grid; gap: 8px 28px; align-content: start;
  grid-template-columns: repeat(auto-fit, minmax(min(210px, 100%), 1fr)); }
.cdw .cdw-legend { display: flex; flex-wrap: wrap; gap: 2px 20px; margin: 0 0 10px; align-content: start; }
.cdw .cdw-legend span { display: flex; align-items: center; gap: 8px; }
.cdw .cdw-legend i { flex: none; width: 24px; border-top: 3px solid var(--mark); }
.cdw .cdw-legend i.cdw-area { height: 12px; border: 0; border-radius: 2px; }
.cdw .cdw-note { margin: 10px 0; color: var(--w-muted); font-size: 14px; }
.cdw [hidden] { display: none; }
@container (min-width: 660px) {
  .cdw .cdw-body { grid-template-columns: minmax(0, 1fr) 218px; }
  .cdw .cdw-controls { grid-template-columns: 1fr; gap: 14px; }
  .cdw .cdw-whole { grid-column: 1 / -1; }
}
.cdw .cdw-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
@media print { .cdw { break-inside: avoid; } }
`;

  // The book's colours for losses and for identities (the latter as in cdmllab.plots.style).
  const COLOURS = Object.fromEntries([
    ["softmax", "#7d828a"], ["normface", "#4a97cf"], ["sphereface", "#b86bb0"], ["cosface", "#2a9d7f"],
    ["arcface", "#2f6fb7"], ["cdml", "#d9542b"], ["combined", "#c08a1e"],
  ].map(([name, fallback]) => [name, `var(--cdml-${name}, ${fallback})`]));
  const colour = (name) => COLOURS[name] ?? "var(--w-accent)";
  const IDENTITIES = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c7a00", "#7a4fb5",
    "#8a8f98", "#b03060"];
  const identity = (k) => IDENTITIES[k % IDENTITIES.length];

  // Decodes the text of cdmllab.book.widgets.base.packed: float32, little-endian, base64.
  const floats = (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  };

  const SLOP_PX = 8; // an unsteady finger moves up to this far
  // Whether the reader has asked the system to reduce motion.
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  const add = (node, attributes, children) => {
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };
  const html = (tag, attributes = {}, ...children) => add(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => add(document.createElementNS(SVG, tag), attributes, children);
  const uid = (stem) => `cdw-${mine}-${stem}-${(count += 1)}`;

  // Formats a number for the reader: fixed decimals, a typographic minus sign, no negative zero.
  const number = (value, digits) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
  };

  // Round tick values between two ends, in steps of 1, 2 or 5 times a power of ten, about `about` of them; and the
  // number of decimals that they need.
  const ticks = (low, high, about) => {
    const rough = (high - low) / about;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const values = Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
    return { values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };

  // Degrees in [-180, 180).
  const wrap = (deg) => ((((deg + 180) % 360) + 360) % 360) - 180;

  const commit = (model, values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };

  // Keys that a control handles do not reach the page, because JupyterLab has shortcuts for arrows and letters. All
  // other keys, and those with Ctrl, Alt or Meta, do.
  const MOVES = /^(Arrow\w+|Home|End|Page\w+| )$/;
  const keep = (event) => {
    const { key, target, ctrlKey, altKey, metaKey, shiftKey } = event;
    if (ctrlKey || altKey || metaKey) return;
    const typed = key.length === 1 && target.matches("select");
    const pressed = (key === "Enter" && target.matches("button")) || MOVES.test(key);
    if (typed || (pressed && !shiftKey)) event.stopPropagation();
  };

  // The widget's root element, which contains its style sheet so that it works on any page.
  const root = (el, label, css = "") => {
    const node = html("div", { class: "cdw", role: "group", "aria-label": label }, html("style", {}, CSS + css));
    node.addEventListener("keydown", keep);
    el.replaceChildren(node);
    return node;
  };

  // Calls begin(down) when a press is intended: at once for mouse and pen; for a finger when it has moved sideways or
  // is lifted, because until then it may be scrolling the page. If it scrolls, drop() is called instead. Returns a
  // function that is true while this is undecided.
  const press = (node, begin, drop = () => {}) => {
    let down = null;
    const meant = () => {
      const first = down;
      down = null;
      if (first) begin(first);
    };
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return;
      down = event;
      if (event.pointerType !== "touch") meant();
    });
    node.addEventListener("pointermove", (event) => {
      if (!down) return;
      const [across, along] = [event.clientX - down.clientX, event.clientY - down.clientY].map(Math.abs);
      if (across > Math.max(along, SLOP_PX)) meant();
    });
    node.addEventListener("pointerup", meant);
    node.addEventListener("pointercancel", () => { down = null; drop(); });
    return () => down !== null;
  };

  // A labelled native slider for one number of the model: {name, symbol, hint, min, max, step, digits, unit}.
  const slider = (model, spec) => {
    const id = uid(spec.name);
    const shown = html("span", { class: "cdw-value" }); // a screen reader would speak an <output> at every step
    const say = spec.say ?? ((value) => `${number(value, spec.digits)}${spec.unit ?? ""}`);
    const save = () => {
      const value = Number(input.value);
      if (value !== model.get(spec.name)) commit(model, { [spec.name]: value });
    };
    const input = html("input", {
      type: "range", id, name: spec.name, min: spec.min, max: spec.max, step: spec.step,
      oninput: () => { if (!undecided()) save(); },
    });
    const label = html("label", { for: id }, spec.symbol, " ", html("small", {}, spec.hint));
    const update = () => {
      const value = model.get(spec.name);
      if (Number(input.value) !== value) input.value = String(value);
      shown.textContent = say(value);
      input.setAttribute("aria-valuetext", say(value));
    };
    const undecided = press(input, save, update);
    return { node: html("div", { class: "cdw-slider" }, label, shown, input), input, update };
  };

  // A slider below a plot, aligned so that its thumb, 16 px wide, is below the marker that it moves:
  // fit({ left, right }, width) of the plot.
  const under = ({ node }) => {
    const row = html("div", { class: "cdw-under" }, node);
    const fit = ({ left, right }, width) => { row.style.padding = `0 ${width - right - 8}px 0 ${left - 8}px`; };
    return { node: row, fit };
  };

  // A choice of one out of several, as native radio buttons: options are [value, text] pairs.
  const choice = (model, name, title, options) => {
    const group = uid(name);
    const inputs = options.map(([value]) =>
      html("input", { type: "radio", name: group, value, onchange: () => commit(model, { [name]: value }) }));
    const row = options.map(([, text], i) => html("label", { class: "cdw-chip" }, inputs[i], text));
    const update = () => inputs.forEach((input) => { input.checked = input.value === model.get(name); });
    return { node: html("fieldset", {}, html("legend", {}, title), html("div", { class: "cdw-row" }, ...row)), update };
  };

  // A choice of one out of many, as a native list: options are [value, text] pairs, or [title, [pairs]] for a group.
  // `also` returns further values that are set together with a choice.
  const select = (model, name, title, options, also = () => ({})) => {
    const id = uid(name);
    const values = [];
    const option = ([value, text]) => {
      values.push(value);
      return html("option", { value: values.length - 1 }, text);
    };
    const node = html("select", { id, name,
      onchange: () => { const value = values[node.value]; commit(model, { ...also(value), [name]: value }); } },
      ...options.map(([value, text]) => (Array.isArray(text)
        ? html("optgroup", { label: value }, ...text.map(option)) : option([value, text]))));
    const update = () => { node.value = String(values.indexOf(model.get(name))); };
    return { node: html("div", { class: "cdw-choose" }, html("label", { for: id }, title), node), update };
  };

  // A yes-or-no choice, as a native checkbox.
  const check = (model, name, text) => {
    const input = html("input", { type: "checkbox", name, onchange: () => commit(model, { [name]: input.checked }) });
    return { node: html("label", { class: "cdw-check" }, input, text),
      update: () => { input.checked = model.get(name); } };
  };

  // A legend: entries are [colour, text, style], with the style "solid", "dashed" or "dotted" for a line, or "area".
  const legend = (entries) => html("p", { class: "cdw-legend" }, ...entries.map(([mark, text, as = "solid"]) => html(
    "span", {}, html("i", as === "area" ? { class: "cdw-area", style: `background: ${mark}` }
      : { style: `--mark: ${mark}; border-top-style: ${as}` }), text)));

  // A list of labelled numbers: entries are [key, label], and show({key: text}) updates them.
  const readout = (entries) => {
    const cells = Object.fromEntries(entries.map(([key]) => [key, html("dd", { "data-value": key })]));
    const rows = entries.map(([key, label]) => html("div", {}, html("dt", {}, label), cells[key]));
    const show = (values) => Object.entries(values).forEach(([key, text]) => { cells[key].textContent = text; });
    return { node: html("dl", { class: "cdw-readout" }, ...rows), show };
  };

  // One sentence for a screen reader, spoken when the pointer rests and not at every step of a drag. The first sentence
  // is not spoken, nor is one repeated because only the width has changed.
  const announcer = () => {
    const node = html("p", { class: "cdw-unseen", "aria-live": "polite" });
    let [timer, known] = [0, null];
    const say = (text) => {
      const news = known !== null && text !== known;
      known = text;
      if (!news) return;
      clearTimeout(timer);
      timer = setTimeout(() => { node.textContent = text; }, 400);
    };
    return { node, say, stop: () => clearTimeout(timer) };
  };

  // An SVG image with a title and a description that can be updated.
  const picture = (title) => {
    const [titleId, descId] = [uid("title"), uid("desc")];
    const desc = svg("desc", { id: descId });
    const layer = svg("g");
    const node = svg("svg", { role: "img", "aria-labelledby": `${titleId} ${descId}` },
      svg("title", { id: titleId }, title), desc, layer);
    return { node, layer, describe: (text) => { desc.textContent = text; } };
  };

  // A plot's frame: maps values x0..x1, y0..y1 to pixels left..right, bottom..top; y grows upwards.
  const frame = (values, pixels) => {
    const { x0, x1, y0, y1 } = values;
    const { left, right, top, bottom } = pixels;
    const toX = (x) => left + ((x - x0) / (x1 - x0)) * (right - left);
    const toY = (y) => bottom + ((y - y0) / (y1 - y0)) * (top - bottom);
    const fromX = (px) => x0 + ((px - left) / (right - left)) * (x1 - x0);
    // Seven decimals of a pixel, and the frame as data attributes, so that tests can read the values from the path.
    const curve = (pieces, attributes) => {
      const at = ([x, y], i) => `${i ? "L" : "M"}${toX(x).toFixed(7)},${toY(y).toFixed(7)}`;
      return svg("path", {
        d: pieces.map((points) => points.map(at).join("")).join(""), fill: "none", ...attributes,
        "data-x0": x0, "data-x1": x1, "data-y0": y0, "data-y1": y1,
        "data-left": left, "data-right": right, "data-top": top, "data-bottom": bottom,
      });
    };
    const axes = (xTicks, yTicks, xLabel, yLabel, xText = String, yText = String) => svg("g", { "aria-hidden": "true" },
      ...yTicks.flatMap((y) => [
        svg("line", { class: "cdw-gridline", x1: left, x2: right, y1: toY(y), y2: toY(y) }),
        svg("text", { x: left - 8, y: toY(y) + 4, "text-anchor": "end" }, yText(y))]),
      ...xTicks.flatMap((x) => [
        svg("line", { class: "cdw-axis", x1: toX(x), x2: toX(x), y1: bottom, y2: bottom + 5 }),
        svg("text", { x: toX(x), y: bottom + 20, "text-anchor": "middle" }, xText(x))]),
      svg("line", { class: "cdw-axis", x1: left, x2: right, y1: bottom, y2: bottom }),
      svg("text", { x: (left + right) / 2, y: bottom + 40, "text-anchor": "middle" }, xLabel),
      svg("text", { x: 0, y: top - 12 }, yLabel));
    return { ...values, ...pixels, toX, toY, fromX, curve, axes };
  };

  // Calls moved(x, y, begun) with the pointer's position while it is pressed, for mouse, pen and finger; `begun` is
  // true for the first call of a press. A finger that moves up or down scrolls the page instead.
  const draggable = (node, moved) => {
    const at = (event, begun) => {
      const box = node.getBoundingClientRect();
      moved(event.clientX - box.left, event.clientY - box.top, begun);
    };
    node.style.touchAction = "pan-y";
    const undecided = press(node, (down) => {
      node.setPointerCapture(down.pointerId);
      at(down, true);
    });
    const follow = (event) => {
      if (node.hasPointerCapture(event.pointerId) && !undecided()) at(event, false);
    };
    node.addEventListener("pointermove", follow);
    node.addEventListener("pointerup", follow);
  };

  // Redraws when one of the model's values or the width of `node` changes; returns the clean-up function.
  const redraw = (model, names, node, draw) => {
    let width = 0;
    const listen = () => { if (width) draw(width); };
    const observer = new ResizeObserver(([entry]) => {
      const now = Math.floor(entry.contentRect.width);
      if (now && now !== width) { width = now; draw(width); }
    });
    names.forEach((name) => model.on(`change:${name}`, listen));
    observer.observe(node);
    return () => {
      observer.disconnect();
      names.forEach((name) => model.off(`change:${name}`, listen));
    };
  };

  return { html, svg, number, ticks, wrap, colour, identity, floats, still, commit, root, slider, under, choice, select,
    check, legend, readout, announcer, picture, frame, draggable, redraw };
})();
