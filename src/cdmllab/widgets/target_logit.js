// The margin, as in cdmllab.margins.angular.combined; angles in radians.
const margin = {
  // cos(m1 theta + m2) - m3, and what stands there once m1 theta + m2 has passed pi.
  combined(theta, m1, m2, m3, beyondPi) {
    const total = m1 * theta + m2;
    if (beyondPi === "none" || total <= Math.PI) return Math.cos(total) - m3;
    if (beyondPi === "clip") return -1 - m3;
    const push = Math.PI - margin.turn(m1, m2);
    return Math.cos(theta) - push * Math.sin(push) - m3;
  },
  // The angle where m1 theta + m2 reaches pi.
  turn: (m1, m2) => (Math.PI - m2) / m1,
  // How much further the plain cosine would have to turn to be as low; it cannot be below -1.
  effective: (theta, value) => (value < -1 ? null : Math.acos(Math.min(value, 1)) - theta),
};

const PRESETS = [
  ["NormFace", 1, 0, 0, "normface", "#4a97cf"],
  ["SphereFace", 1.35, 0, 0, "sphereface", "#b86bb0"],
  ["CosFace", 1, 0, 0.35, "cosface", "#2a9d7f"],
  ["ArcFace", 1, 0.5, 0, "arcface", "#2f6fb7"],
  ["CM1", 1, 0.3, 0.2, "combined", "#c08a1e"],
  ["CM2", 0.9, 0.4, 0.15, "combined", "#c08a1e"],
].map(([name, m1, m2, m3, key, colour]) => ({ name, values: { m1, m2, m3 }, colour: `var(--cdml-${key}, ${colour})` }));
const NORMFACE = PRESETS[0].colour;
const CUSTOM = { name: "your own margin", colour: PRESETS[4].colour };
const NAMES = ["m1", "m2", "m3", "s", "theta_deg", "beyond_pi"];
const DEGREE = Math.PI / 180;

const STYLE = `
.cdw .tl-body { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 28px; margin-top: 12px; }
.cdw .tl-controls { display: grid; gap: 8px 28px; align-content: start;
  grid-template-columns: repeat(auto-fit, minmax(min(210px, 100%), 1fr)); }
.cdw .tl-legend { display: flex; flex-wrap: wrap; gap: 2px 20px; margin-bottom: 10px; min-height: 46px; align-content: start; }
.cdw .tl-legend span { display: flex; align-items: center; gap: 8px; }
.cdw .tl-legend i { flex: none; width: 24px; border-top: 3px solid var(--curve); }
.cdw .tl-legend .tl-plain i { border-top: 2px dashed ${NORMFACE}; }
.cdw .tl-plot svg { cursor: ew-resize; }
.cdw .tl-theta { margin-top: 4px; }
.cdw .tl-theta .cdw-slider label, .cdw .tl-theta .cdw-slider output { padding: 0 8px; }
@container (min-width: 660px) {
  .cdw .tl-body { grid-template-columns: minmax(0, 1fr) 218px; }
  .cdw .tl-controls { grid-template-columns: 1fr; gap: 14px; }
  .cdw .tl-readout { grid-column: 1 / -1; }
}
@container (min-width: 860px) { .cdw .tl-legend { min-height: 0; } }`;

// The vertical axis goes from the smallest of a few round tops above s, so that a small scale looks small.
const valueRange = (s, lowest) => {
  const top = [4, 16, 64].find((round) => s <= round) ?? s;
  return { y0: (top / 4) * Math.floor((4 * Math.min(lowest * s, -top)) / top - 0.2), y1: top * 1.04, step: top / 2 };
};

function plot(picture, { m1, m2, m3, s, theta_deg: thetaDeg, beyond_pi: beyondPi }, width, colour) {
  const { svg } = kit;
  const psi = (deg) => margin.combined(deg * DEGREE, m1, m2, m3, beyondPi);
  const turnDeg = margin.turn(m1, m2) / DEGREE;
  // Half-degree steps, parted at the turn, where "linear" may jump.
  const steps = Array.from({ length: 361 }, (_, i) => i / 2);
  const [end, begin] = [turnDeg - 1e-4, turnDeg + 1e-4];
  const after = begin < 180 ? [begin, ...steps.filter((deg) => deg > begin)] : [];
  const before = after.length ? [...steps.filter((deg) => deg < end), end] : steps;
  const pieces = after.length ? [before, after] : [before];

  const { y0, y1, step } = valueRange(s, Math.min(...pieces.flat().map(psi)));
  const height = Math.round(Math.min(440, Math.max(300, width * 0.72)));
  const box = kit.frame({ x0: 0, x1: 180, y0, y1 }, { left: 44, right: width - 18, top: 28, bottom: height - 48 });
  const { toX, toY } = box;
  const xTicks = width < 420 ? [0, 60, 120, 180] : [0, 30, 60, 90, 120, 150, 180];
  const yTicks = [];
  for (let y = step * Math.ceil(y0 / step); y <= y1; y += step) yTicks.push(y);

  const value = psi(thetaDeg);
  const gap = margin.effective(thetaDeg * DEGREE, value);
  const [x, yPlain, yMargin] = [toX(thetaDeg), toY(s * Math.cos(thetaDeg * DEGREE)), toY(s * value)];
  const scaled = (points, f) => points.map((deg) => [deg, s * f(deg)]);

  const parts = [box.axes(xTicks, yTicks, "angle \u03b8 to the class centre", "target logit",
    (deg) => `${deg}\u00b0`, (y) => kit.number(y, 0))];
  if (after.length) {
    parts.unshift(svg("rect", { x: toX(turnDeg), y: box.top, width: box.right - toX(turnDeg),
      height: box.bottom - box.top, fill: "var(--w-surface)" }));
    parts.push(svg("text", { x: box.right - 6, y: box.top + 16, "text-anchor": "end", class: "cdw-halo" }, "past \u03c0"));
  }
  parts.push(
    box.curve([scaled(steps, (deg) => Math.cos(deg * DEGREE))],
      { class: "tl-reference", stroke: NORMFACE, "stroke-width": 2, "stroke-dasharray": "7 5" }),
    box.curve(pieces.map((piece) => scaled(piece, psi)),
      { class: "tl-curve", stroke: colour, "stroke-width": 3, "stroke-linejoin": "round", "stroke-linecap": "round" }),
    svg("line", { x1: x, x2: x, y1: box.top, y2: box.bottom, stroke: "var(--w-muted)", "stroke-dasharray": "2 4" }),
    svg("line", { x1: x, x2: x, y1: yPlain, y2: yMargin, stroke: "var(--w-ink)", "stroke-width": 2 }));
  if (gap !== null && Math.abs(gap) > 0.5 * DEGREE) {
    const xEnd = toX(thetaDeg + gap / DEGREE);
    const tip = xEnd > x ? -7 : 7;
    const beside = (at, anchor) => svg("text", { x: at, y: yMargin - 7, "text-anchor": anchor, class: "cdw-halo" },
      `${kit.number(gap / DEGREE, 1)}\u00b0`);
    parts.push(
      svg("path", { d: `M${x},${yMargin}H${xEnd}m${tip},-4l${-tip},4l${tip},4`, fill: "none", stroke: "var(--w-ink)",
        "stroke-width": 2, "stroke-linejoin": "round" }),
      // Beside the tip, outside both curves; near the frame's edge there is room on the other side only.
      xEnd > x && xEnd < box.right - 56 ? beside(xEnd + 8, "start") : beside(Math.min(x, xEnd) - 14, "end"));
  }
  parts.push(
    svg("circle", { cx: x, cy: yPlain, r: 5, fill: "var(--w-paper)", stroke: NORMFACE, "stroke-width": 2 }),
    svg("circle", { class: "tl-marker", cx: x, cy: yMargin, r: 8, fill: colour, stroke: "var(--w-paper)", "stroke-width": 2 }));
  picture.node.setAttribute("width", width);
  picture.node.setAttribute("height", height);
  picture.layer.replaceChildren(...parts);
  return { box, value, gap };
}

function render({ model, el }) {
  const { html, number } = kit;
  const read = () => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
  const root = kit.root(el, "Target-logit explorer", STYLE);
  const picture = kit.picture("Target logit against the angle to the class centre");
  const voice = kit.announcer();

  const theta = kit.slider(model, { name: "theta_deg", symbol: "\u03b8", hint: "angle",
    min: 0, max: 180, step: 0.5, digits: 1, unit: "\u00b0" });
  const controls = [
    { name: "m1", symbol: "m\u2081", hint: "times the angle", min: 0.5, max: 2, step: 0.05, digits: 2 },
    { name: "m2", symbol: "m\u2082", hint: "added, in radians", min: 0, max: 1, step: 0.01, digits: 2 },
    { name: "m3", symbol: "m\u2083", hint: "taken from the cosine", min: 0, max: 1, step: 0.01, digits: 2 },
    { name: "s", symbol: "s", hint: "scale", min: 1, max: 64, step: 1, digits: 0 },
  ].map((spec) => kit.slider(model, spec));
  const beyond = kit.choice(model, "beyond_pi", "past \u03c0",
    [["linear", "linear"], ["clip", "clip"], ["none", "none"]]);
  const table = kit.readout([["theta", "\u03b8"], ["cosine", "cos \u03b8"], ["psi", "\u03c8(\u03b8)"],
    ["logit", "logit s\u00b7\u03c8(\u03b8)"], ["effective", "effective margin"]]);
  const presets = PRESETS.map((preset) => ({ ...preset, button: html("button", { type: "button", class: "cdw-chip",
    style: `--chip: ${preset.colour}`, onclick: () => kit.commit(model, preset.values) },
    html("span", { class: "cdw-dot" }), preset.name) }));

  const formula = html("span", { class: "tl-formula" });
  const thetaRow = html("div", { class: "tl-theta" }, theta.node);
  const plotArea = html("div", { class: "tl-plot" }, picture.node);
  table.node.classList.add("tl-readout");
  root.append(
    html("div", { class: "cdw-row", role: "group", "aria-label": "Losses with a fixed margin" }, ...presets.map((p) => p.button)),
    html("div", { class: "tl-body" },
      html("div", {},
        html("div", { class: "tl-legend" }, html("span", {}, html("i"), formula),
          html("span", { class: "tl-plain" }, html("i"), "s\u00b7cos \u03b8, no margin (NormFace)")),
        plotArea, thetaRow),
      html("div", { class: "tl-controls" }, ...controls.map((control) => control.node), beyond.node),
      table.node),
    voice.node);

  let box = null;
  kit.draggable(picture.node, (px) => {
    const deg = Math.round(2 * box.fromX(px)) / 2;
    kit.commit(model, { theta_deg: Math.min(180, Math.max(0, deg)) });
  });

  const draw = (width) => {
    const state = read();
    const same = ({ values }) => Object.entries(values).every(([name, value]) => Math.abs(state[name] - value) < 1e-9);
    const current = presets.find(same) ?? CUSTOM;
    presets.forEach((preset) => preset.button.setAttribute("aria-pressed", String(preset === current)));
    root.style.setProperty("--curve", current.colour);
    [theta, ...controls, beyond].forEach((control) => control.update());

    const drawn = plot(picture, state, width, current.colour);
    box = drawn.box;
    // The slider's thumb, 16 px wide, stands under the marker.
    thetaRow.style.padding = `0 ${width - box.right - 8}px 0 ${box.left - 8}px`;

    const text = {
      theta: `${number(state.theta_deg, 1)}\u00b0`,
      cosine: number(Math.cos(state.theta_deg * DEGREE), 4),
      psi: number(drawn.value, 4),
      logit: number(state.s * drawn.value, 3),
      effective: drawn.gap === null ? "below \u22121" : `${number(drawn.gap / DEGREE, 2)}\u00b0`,
    };
    table.show(text);
    formula.textContent = `s\u00b7\u03c8(\u03b8), \u03c8 = cos(${number(state.m1, 2)} \u03b8 + ${number(state.m2, 2)}) \u2212 ${number(state.m3, 2)}`;
    const sentence = `${current.name}: at ${text.theta} the cosine is ${text.cosine}, with the margin ${text.psi}, ` +
      `the logit ${text.logit}; effective margin ${text.effective}.`;
    picture.describe(sentence);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, plotArea, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
