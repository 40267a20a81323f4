const DEGREE = Math.PI / 180;
const STYLE = `
.cdw .tw-head { display: flex; flex-wrap: wrap; gap: 8px 24px; }
.cdw .tw-plots { display: grid; gap: 14px 24px; grid-template-columns: minmax(0, 1fr); }
.cdw .tw-plots svg { cursor: ew-resize; }
.cdw .tw-question { margin: 0 0 10px; padding: 8px 12px; border-left: 3px solid var(--w-accent);
  background: var(--w-surface); }`;
const NAMES = ["first", "second", "theta_deg", "negative_deg", "length", "s", "identities"];
const SLIDERS = [
  { name: "length", symbol: "\u2016x\u2016", hint: "length of the embedding", min: 1, max: 120, step: 1, digits: 0 },
  { name: "negative_deg", symbol: "\u03b8\u2c7c", hint: "to the negatives", min: 0, max: 180, step: 1, digits: 0,
    unit: "\u00b0" },
  { name: "s", symbol: "s", hint: "scale", min: 1, max: 64, step: 1, digits: 0 },
];
const USUAL_LENGTH = 50;
const WHICH = ["first", "second"];
const LOOK = { first: { colour: kit.colour("arcface"), style: "solid", dash: null },
  second: { colour: kit.colour("cdml"), style: "dashed", dash: "8 5" } };
const VIEWS = [["logit", "target logit s\u00b7\u03c8(\u03b8)"], ["gradient", "gradient \u2202L/\u2202\u03b8 (per radian)"]];

// The values of the sample and the defaults of a loss, as TwoLosses.explorer sets them in Python.
function sample(loss, state) {
  return { draw: 0, weight: 0.5, beyond_pi: "linear", ...losses.TABLE[loss].values,
    ...(loss === "curricularface" ? { boost: 0.5 } : {}),
    s: state.s, negative_deg: state.negative_deg, identities: state.identities, length: state.length,
    quality: margins.clip((state.length - USUAL_LENGTH) / USUAL_LENGTH, -1, 1) };
}

function plot(picture, [key, title], drawn, now, state, width, last) {
  const { svg } = kit;
  const lines = WHICH.map((which) => drawn[which].map((part) => part.map(([deg, all]) => [deg, all[key]])));
  const all = lines.flat(2).map(([, y]) => y);
  const [low, high] = [Math.min(0, ...all), Math.max(...all, 1e-9)];
  const space = 0.05 * (high - low);
  const height = last ? 246 : 210;
  const box = kit.frame({ x0: 0, x1: 180, y0: low < 0 ? low - space : 0, y1: high + space },
    { left: 44, right: width - 18, top: 28, bottom: height - (last ? 48 : 12) });
  const { values, digits } = kit.ticks(box.y0, box.y1, 4);
  const x = box.toX(state.theta_deg);
  const degrees = width < 420 ? [0, 60, 120, 180] : [0, 30, 60, 90, 120, 150, 180];
  picture.layer.replaceChildren(
    box.axes(last ? degrees : [], values, last ? "angle \u03b8 to the target centre" : "", title,
      (deg) => `${deg}\u00b0`, (v) => kit.number(v, digits)),
    svg("line", { x1: x, x2: x, y1: box.top, y2: box.bottom, stroke: "var(--w-muted)", "stroke-dasharray": "2 4" }),
    ...WHICH.map((which, k) => box.curve(lines[k], { class: `tw-${which}-${key}`, stroke: LOOK[which].colour,
      "stroke-width": 2.5, "stroke-dasharray": LOOK[which].dash, "stroke-linejoin": "round" })),
    ...WHICH.toReversed().map((which) => svg("circle", { class: key === "logit" && which === "first" ? "tw-marker" : "tw-dot",
      cx: x, cy: box.toY(now[which][key]), r: 7, fill: LOOK[which].colour, stroke: "var(--w-paper)", "stroke-width": 2 })));
  picture.node.setAttribute("width", width);
  picture.node.setAttribute("height", height);
  return box;
}

function render({ model, el }) {
  const { html, number } = kit;
  losses.learn(model.get("sampled"));
  const root = kit.root(el, "Two losses, one sample", STYLE);
  const pictures = VIEWS.map(([, title]) => kit.picture(`Of two losses against the angle: ${title}`));
  const voice = kit.announcer();
  const choosers = WHICH.map((which) => kit.select(model, which, `${which} loss`, losses.groups()));
  const theta = kit.slider(model, { name: "theta_deg", symbol: "\u03b8", hint: "angle",
    min: 0, max: 180, step: 0.5, digits: 1, unit: "\u00b0" });
  const sliders = SLIDERS.map((spec) => kit.slider(model, spec));
  const count = kit.select(model, "identities", "identities", margins.IDENTITIES);
  const table = kit.readout(WHICH.flatMap((which) => [[`${which}_logit`, `${which}: target logit`],
    [`${which}_gradient`, `${which}: \u2202L/\u2202\u03b8`]]));
  const key = html("div");
  const note = html("p", { class: "cdw-note" });
  const row = kit.under(theta);
  const areas = pictures.map(({ node }) => html("div", {}, node));
  const plots = html("div", { class: "tw-plots" }, ...areas);
  root.append(
    html("p", { class: "tw-question" }, html("strong", {}, "Try to answer: "),
      "make the embedding longer, as for a sharper image. Does each loss now turn this sample more or less strongly? Then ",
      "move the sample to 75\u00b0 and do it again."),
    html("div", { class: "tw-head" }, ...choosers.map(({ node }) => node)),
    html("div", { class: "cdw-body" },
      html("div", {}, key, plots, row.node, note),
      html("div", { class: "cdw-controls" }, ...sliders.map(({ node }) => node), count.node),
      html("div", { class: "cdw-whole" }, table.node)),
    voice.node);

  let box = null;
  pictures.forEach(({ node }) => kit.draggable(node, (px) => {
    const deg = Math.round(2 * box.fromX(px)) / 2;
    kit.commit(model, { theta_deg: Math.min(180, Math.max(0, deg)) });
  }));

  const draw = (width) => {
    const state = Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
    [...choosers, theta, ...sliders, count].forEach((control) => control.update());
    const [drawn, now, names] = [{}, {}, {}];
    for (const which of WHICH) {
      const values = sample(state[which], state);
      drawn[which] = losses.pieces(state[which], values);
      now[which] = losses.at(state[which], state.theta_deg * DEGREE, values);
      names[which] = losses.TABLE[state[which]].label;
    }
    VIEWS.forEach((view, k) => { box = plot(pictures[k], view, drawn, now, state, width, k === VIEWS.length - 1); });
    row.fit(box, width);
    key.replaceChildren(kit.legend(WHICH.map((which) => [LOOK[which].colour,
      `${names[which]}: \u03c8 = ${losses.TABLE[state[which]].formula}`, LOOK[which].style])));
    note.textContent = `All losses have their default options. Usual lengths are near ${USUAL_LENGTH}.`;
    const text = Object.fromEntries(WHICH.flatMap((which) => [[`${which}_logit`, number(now[which].logit, 3)],
      [`${which}_gradient`, number(now[which].gradient, 3)]]));
    table.show(text);
    const sentences = WHICH.map((which) => `${names[which]}: target logit ${text[`${which}_logit`]}, gradient ` +
      `${text[`${which}_gradient`]}.`);
    const sentence = `At ${number(state.theta_deg, 1)}\u00b0, length ${number(state.length, 0)}. ${sentences.join(" ")}`;
    pictures.forEach((picture) => picture.describe(sentence));
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, plots, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
