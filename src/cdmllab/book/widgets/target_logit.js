const DEGREE = Math.PI / 180;
const STYLE = `
.cdw .tl-plot svg { cursor: ew-resize; }
.cdw .tl-head { display: flex; flex-wrap: wrap; gap: 8px 24px; justify-content: space-between; }
.cdw .tl-chips { margin-bottom: 2px; }`;

const SLIDERS = [
  { name: "m1", symbol: "m\u2081", hint: "times the angle", min: 0.5, max: 4, step: 0.05, digits: 2 },
  { name: "m2", symbol: "m\u2082", hint: "added, radians", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "m3", symbol: "m\u2083", hint: "subtracted from the cosine", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "softening", symbol: "\u03bb", hint: "weight of the cosine", min: 0, max: 20, step: 0.5, digits: 1 },
  { name: "boost", symbol: "t", hint: "boost of hard negatives", min: 0, max: 1, step: 0.05, digits: 2 },
  { name: "quality", symbol: "z", hint: "quality, from the length", min: -1, max: 1, step: 0.05, digits: 2 },
  { name: "length", symbol: "a", hint: "length of the embedding", min: 1, max: 120, step: 1, digits: 0 },
  { name: "draw", symbol: "draw", hint: "standard deviations", min: -3, max: 3, step: 0.1, digits: 1 },
  { name: "weight", symbol: "w", hint: "weight of the identity", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "alpha", symbol: "\u03b1", hint: "strength of the easiness", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "s", symbol: "s", hint: "scale", min: 1, max: 64, step: 1, digits: 0 },
  { name: "negative_deg", symbol: "\u03b8\u2c7c", hint: "to the negatives", min: 0, max: 180, step: 1, digits: 0,
    unit: "\u00b0" },
];
const OWN = { adaface: ["quality"], magface: ["length"], elasticface: ["draw"], kappaface: ["weight"] };
const PRESETS = [["CM1", { m1: 1, m2: 0.3, m3: 0.2 }], ["CM2", { m1: 0.9, m2: 0.4, m3: 0.15 }]];
const CHOICES = [
  ["beyond_pi", "past \u03c0", [["linear", "linear"], ["clip", "clip"], ["none", "none"]]],
  ["easiness", "easiness", [["similarity", "similarity"], ["gap", "gap"], ["angle_gap", "angle gap"]]],
  ["shape", "shape of the margin", [["step", "step"], ["linear", "linear"]]],
  ["favour", "larger margin for", [["easy", "easy"], ["hard", "hard"]]],
];
const NAMES = ["loss", "theta_deg", "identities", "shows", ...SLIDERS.map((s) => s.name),
  ...CHOICES.map(([name]) => name)];
const VIEWS = {
  logit: { title: "target logit", values: ["logit"] },
  loss: { title: "loss", values: ["loss"] },
  gradient: { title: "gradient \u2202L/\u2202\u03b8 (per radian)", values: ["gradient", "straight"] },
};

function plot(picture, state, width) {
  const { svg } = kit;
  const view = VIEWS[state.shows];
  const colour = losses.colour(state.loss);
  const drawn = losses.pieces(state.loss, state);
  const plain = losses.pieces("normface", state);
  const read = (parts, key) => parts.map((part) => part.map(([deg, all]) => [deg, all[key]]));
  const lines = [[read(plain, view.values[0]), { class: "tl-reference", stroke: kit.colour("normface"),
    "stroke-width": 2,
    "stroke-dasharray": "7 5" }],
    ...view.values.slice(1).map((key) => [read(drawn, key), { class: "tl-straight", stroke: colour, "stroke-width": 2.5,
      "stroke-dasharray": "2 4", "stroke-linecap": "round" }]),
    [read(drawn, view.values[0]), { class: "tl-curve", stroke: colour, "stroke-width": 3, "stroke-linejoin": "round",
      "stroke-linecap": "round" }]];

  const all = lines.flatMap(([parts]) => parts.flat().map(([, y]) => y));
  const [low, high] = [Math.min(0, ...all), Math.max(...all, 1e-9)];
  const space = 0.05 * (high - low);
  const height = Math.round(Math.min(440, Math.max(300, width * 0.72)));
  const box = kit.frame({ x0: 0, x1: 180, y0: low < 0 ? low - space : 0, y1: high + space },
    { left: 44, right: width - 18, top: 28, bottom: height - 48 });
  const now = losses.at(state.loss, state.theta_deg * DEGREE, state);
  const reference = losses.at("normface", state.theta_deg * DEGREE, state);
  const [x, y, yPlain] = [box.toX(state.theta_deg), box.toY(now[view.values[0]]), box.toY(reference[view.values[0]])];

  const { values: yTicks, digits } = kit.ticks(box.y0, box.y1, 4);
  const parts = [box.axes(width < 420 ? [0, 60, 120, 180] : [0, 30, 60, 90, 120, 150, 180], yTicks,
    "angle \u03b8 to the target centre", view.title, (deg) => `${deg}\u00b0`, (v) => kit.number(v, digits)),
    ...lines.map(([points, attributes]) => box.curve(points, attributes)),
    svg("line", { x1: x, x2: x, y1: box.top, y2: box.bottom, stroke: "var(--w-muted)", "stroke-dasharray": "2 4" }),
    svg("line", { x1: x, x2: x, y1: yPlain, y2: y, stroke: "var(--w-ink)", "stroke-width": 2 })];
  const past = drawn.flat().find(([, { branch }]) => branch.startsWith("past"));
  if (past) {
    const left = box.toX(past[0]);
    parts.unshift(svg("rect", { x: left, y: box.top, width: box.right - left, height: box.bottom - box.top,
      fill: "var(--w-surface)" }));
    parts.push(svg("text", { x: box.right - 6, y: box.top + 16, "text-anchor": "end", class: "cdw-halo" },
      "past \u03c0"));
  }
  if (state.shows === "logit" && state.loss !== "liarcface") parts.push(...arrow(box, state, now, x, y));
  parts.push(
    svg("circle", { cx: x, cy: yPlain, r: 5, fill: "var(--w-paper)", stroke: kit.colour("normface"),
      "stroke-width": 2 }),
    svg("circle", { class: "tl-marker", cx: x, cy: y, r: 8, fill: colour, stroke: "var(--w-paper)",
      "stroke-width": 2 }));
  picture.node.setAttribute("width", width);
  picture.node.setAttribute("height", height);
  picture.layer.replaceChildren(...parts);
  return { box, now };
}

// The effective margin: the additional angle at which the plain cosine has the same value.
function arrow(box, state, { effective: gap }, x, y) {
  if (gap === null || Math.abs(gap) <= 0.5 * DEGREE) return [];
  const { svg, number } = kit;
  const xEnd = box.toX(state.theta_deg + gap / DEGREE);
  const tip = xEnd > x ? -7 : 7;
  const degrees = (at, anchor) => svg("text", { x: at, y: y - 7, "text-anchor": anchor, class: "cdw-halo" },
    `${number(gap / DEGREE, 1)}\u00b0`);
  return [
    svg("path", { d: `M${x},${y}H${xEnd}m${tip},-4l${-tip},4l${tip},4`, fill: "none", stroke: "var(--w-ink)",
      "stroke-width": 2, "stroke-linejoin": "round" }),
    // Next to the tip, outside both curves; near the edge of the frame there is room only on the other side.
    xEnd > x && xEnd < box.right - 56 ? degrees(xEnd + 8, "start") : degrees(Math.min(x, xEnd) - 14, "end")];
}

function render({ model, el }) {
  const { html, number } = kit;
  losses.learn(model.get("sampled"));
  const read = () => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
  const root = kit.root(el, "Target-logit explorer", STYLE);
  const picture = kit.picture("Target logit, loss or gradient against the angle to the target centre");
  const voice = kit.announcer();

  const chooser = kit.select(model, "loss", "Loss", losses.groups(), (name) => losses.TABLE[name].values);
  const shows = kit.choice(model, "shows", "Show", [["logit", "logit"], ["loss", "loss"], ["gradient", "gradient"]]);
  const theta = kit.slider(model, { name: "theta_deg", symbol: "\u03b8", hint: "angle",
    min: 0, max: 180, step: 0.5, digits: 1, unit: "\u00b0" });
  const sliders = SLIDERS.map((spec) => ({ name: spec.name, ...kit.slider(model, spec) }));
  const choices = CHOICES.map(([name, title, options]) => ({ name, ...kit.choice(model, name, title, options) }));
  const count = kit.select(model, "identities", "identities", margins.IDENTITIES);
  const presets = PRESETS.map(([name, values]) => html("button", { type: "button", class: "cdw-chip",
    style: `--chip: ${kit.colour("combined")}`, onclick: () => kit.commit(model, values) },
    html("span", { class: "cdw-dot" }), name));
  const chips = html("div", { class: "cdw-row tl-chips", role: "group",
    "aria-label": "The two settings of the ArcFace paper" },
    ...presets);
  const table = kit.readout([["theta", "\u03b8"], ["cosine", "cos \u03b8"], ["psi", "\u03c8(\u03b8)"],
    ["logit", "logit s\u00b7\u03c8(\u03b8)"], ["effective", "effective margin"], ["loss", "loss L"],
    ["gradient", "\u2202L/\u2202\u03b8, exact"], ["straight", "straight-through"]]);

  const key = html("div");
  const note = html("p", { class: "cdw-note" });
  const thetaRow = kit.under(theta);
  const plotArea = html("div", { class: "tl-plot" }, picture.node);
  root.append(
    html("div", { class: "tl-head" }, chooser.node, shows.node),
    html("div", { class: "cdw-body" },
      html("div", {}, key, plotArea, thetaRow.node, note, table.node),
      html("div", { class: "cdw-controls" }, chips, ...[...sliders, ...choices].map((control) => control.node),
        count.node)),
    voice.node);

  let box = null;
  kit.draggable(picture.node, (px) => {
    const deg = Math.round(2 * box.fromX(px)) / 2;
    kit.commit(model, { theta_deg: Math.min(180, Math.max(0, deg)) });
  });

  const draw = (width) => {
    const state = read();
    const loss = losses.TABLE[state.loss];
    const used = [...Object.keys(loss.values), ...(OWN[state.loss] ?? []), "negative_deg",
      ...(loss.scale ? [] : ["s"])];
    [...sliders, ...choices].forEach(({ name, node }) => { node.hidden = !used.includes(name); });
    sliders[0].input.min = state.loss === "sphereface" ? 1 : 0.5;
    chips.hidden = state.loss !== "combined";
    presets.forEach((button, i) => button.setAttribute("aria-pressed",
      String(Object.entries(PRESETS[i][1]).every(([name, value]) => Math.abs(state[name] - value) < 1e-9))));
    [chooser, shows, theta, ...sliders, ...choices, count].forEach((control) => control.update());

    const drawn = plot(picture, state, width);
    const { now } = drawn;
    box = drawn.box;
    thetaRow.fit(box, width);
    key.replaceChildren(kit.legend([
      [losses.colour(state.loss), `${loss.label}: \u03c8 = ${loss.formula}`],
      ...(state.shows === "gradient" ? [[losses.colour(state.loss), "straight-through", "dotted"]] : []),
      [kit.colour("normface"), "no margin (NormFace)", "dashed"]]));
    const others = state.identities > 2
      ? `The ${(state.identities - 1).toLocaleString("en")} negative centres are` : "The negative centre is";
    note.textContent = `${loss.note ?? ""} ${others} at ${number(state.negative_deg, 0)}\u00b0.`.trim();

    const text = {
      theta: `${number(state.theta_deg, 1)}\u00b0`, cosine: number(Math.cos(state.theta_deg * DEGREE), 4),
      psi: number(now.psi, 4), logit: number(now.logit, 3),
      effective: now.effective === null ? "below \u22121" : `${number(now.effective / DEGREE, 2)}\u00b0`,
      loss: number(now.loss, 3), gradient: number(now.gradient, 3), straight: number(now.straight, 3),
    };
    table.show(text);
    const sentence = `${loss.label}: at ${text.theta} the cosine is ${text.cosine}, with the margin ${text.psi}, ` +
      `the logit ${text.logit}, the loss ${text.loss}, its gradient ${text.gradient}; effective margin ${text.effective}.`;
    picture.describe(sentence);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, plotArea, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
