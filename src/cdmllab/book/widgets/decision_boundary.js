const DEGREE = Math.PI / 180;
const STYLE = `
.cdw .db-plot svg { cursor: grab; margin: 0 auto; }
.cdw .db-plot text.db-name { fill: var(--w-ink); font-weight: 600; }`;

const FIRST = "arcface";
const SECOND = "combined";
const OPTIONS = [["softmax", "Softmax"], ["normface", "NormFace"], ["sphereface", "SphereFace"], ["cosface", "CosFace"],
  ["arcface", "ArcFace"], ["cdml", "CDML"]];
const SLIDERS = [
  { name: "m1", symbol: "m\u2081", hint: "times the angle", min: 1, max: 4, step: 0.05, digits: 2, of: ["sphereface"] },
  { name: "m2", symbol: "m\u2082", hint: "added, radians", min: 0, max: 1, step: 0.01, digits: 2,
    of: ["arcface", "cdml"] },
  { name: "m3", symbol: "m\u2083", hint: "subtracted from the cosine", min: 0, max: 1, step: 0.01, digits: 2,
    of: ["cosface"] },
  { name: "alpha", symbol: "\u03b1", hint: "strength of the easiness", min: 0, max: 1, step: 0.01, digits: 2,
    of: ["cdml"] },
  { name: "ratio", symbol: "|w\u2081| / |w\u2082|", hint: "ratio of lengths", min: 0.5, max: 2, step: 0.05, digits: 2,
    of: ["softmax"] },
  { name: "separation_deg", symbol: "separation", hint: "of the centres", min: 20, max: 180, step: 1, digits: 0,
    unit: "\u00b0" },
  { name: "position_deg", symbol: "\u03c6", hint: "position of the sample", min: -180, max: 180, step: 0.5, digits: 1,
    unit: "\u00b0" },
];
const CHOICES = [
  ["shape", "shape of the margin", [["step", "step"], ["linear", "linear"]], ["cdml"]],
  ["favour", "larger margin for", [["easy", "easy"], ["hard", "hard"]], ["cdml"]],
  ["label", "Class of the sample", [["1", "class 1"], ["2", "class 2"]]],
];
const NAMES = ["loss", ...SLIDERS.map(({ name }) => name), ...CHOICES.map(([name]) => name)];

// Angles of a position to both centres, and each class's lead there, as computed by DecisionBoundary in Python.
const circle = (v) => {
  const half = v.separation_deg / 2;
  const angles = (deg) => [Math.abs(kit.wrap(deg + half)), Math.abs(kit.wrap(deg - half))];
  const target = (theta, other) => {
    if (v.loss === "sphereface") return margins.sphereface(theta, v.m1, 0).psi;
    if (v.loss === "cosface") return Math.cos(theta) - v.m3;
    if (v.loss === "arcface") return margins.addAngle(theta, v.m2, "linear").psi;
    if (v.loss !== "cdml") return Math.cos(theta);
    const e = margins.easiness("similarity", theta, other);
    return margins.addAngle(theta, v.m2 * (1 + margins.change(v, e)), "linear").psi;
  };
  const leads = (deg) => {
    const [a, b] = angles(deg).map((angle) => angle * DEGREE);
    if (v.loss === "softmax") {
      const lead = v.ratio * Math.cos(a) - Math.cos(b);
      return [lead, -lead];
    }
    return [target(a, b) - Math.cos(b), target(b, a) - Math.cos(a)];
  };
  const psi = (deg, k) => {
    const both = angles(deg).map((angle) => angle * DEGREE);
    return target(both[k], both[1 - k]);
  };
  // How far from its centre, towards the other, a sample of class k is satisfied.
  const boundary = (k) => {
    const lead = (off) => leads(k ? half - off : off - half)[k] > 0;
    if (!lead(0)) return null;
    const edges = margins.edges(lead, 0, v.separation_deg, 720);
    return edges.length ? edges[0][0] : v.separation_deg;
  };
  // The arcs of the circle on which class k is satisfied: [from, to] pairs, degrees.
  const parts = (k) => {
    const lead = (deg) => leads(deg)[k] > 0;
    const cuts = [-180, ...margins.edges(lead, -180, 180, 1440).map(([a]) => a), 180];
    return cuts.slice(1).map((to, i) => [cuts[i], to]).filter(([from,
      to]) => to - from > 1e-9 && lead((from + to) / 2));
  };
  return { half, angles, leads, psi, boundary, parts };
};

function drawing(picture, v, shape, width) {
  const { svg } = kit;
  const size = Math.min(width, 420);
  const [c, r] = [size / 2, size / 2 - 44];
  const at = (deg, radius) => [c + radius * Math.sin(deg * DEGREE), c - radius * Math.cos(deg * DEGREE)];
  const arc = (from, to, radius) => {
    const [[x0, y0], [x1, y1]] = [at(from, radius), at(to, radius)];
    const large = Math.abs(to - from) > 180 ? 1 : 0;
    return `${x0},${y0}A${radius},${radius} 0 ${large} ${to > from ? 1 : 0} ${x1},${y1}`;
  };
  const colours = [kit.colour(FIRST), kit.colour(SECOND)];
  const parts = [svg("circle", { cx: c, cy: c, r, fill: "none", stroke: "var(--w-grid)", "stroke-width": 1.5 })];
  [0, 1].forEach((k) => shape.parts(k).forEach(([from, to]) => {
    // Drawn in two halves: SVG cannot draw a full circle as one arc, which would begin where it ends.
    const middle = (from + to) / 2;
    [[from, middle], [middle, to]].forEach(([a, b]) => parts.push(
      svg("path", { d: `M${c},${c}L${arc(a, b, r)}Z`, fill: colours[k], opacity: 0.14 }),
      svg("path", { d: `M${arc(a, b, r + 10)}`, fill: "none", stroke: colours[k], "stroke-width": 9 })));
    parts.push(svg("path", { class: "db-part", "data-class": k + 1, "data-from": from, "data-to": to,
      d: `M${arc(from, to, r)}`, fill: "none" }));
  }));

  const longest = v.loss === "softmax" ? Math.max(v.ratio, 1) : 1;
  [0, 1].forEach((k) => {
    const deg = k ? shape.half : -shape.half;
    const length = v.loss === "softmax" ? (k ? 1 : v.ratio) / longest : 1;
    const [x, y] = at(deg, r * length);
    const [tx, ty] = at(deg + (k ? 0.1 : -0.1), r + 30);
    parts.push(
      svg("line", { x1: c, y1: c, x2: x, y2: y, stroke: colours[k], "stroke-width": 2.5 }),
      svg("circle", { cx: x, cy: y, r: 7, fill: "var(--w-paper)", stroke: colours[k], "stroke-width": 3 }),
      svg("text", { x: tx, y: ty + 5, "text-anchor": "middle", class: "db-name" }, k ? "w\u2082" : "w\u2081"));
  });

  // The sample, its angle to its target centre, and the position at which the margin makes it count.
  const own = Number(v.label) - 1;
  const home = own ? shape.half : -shape.half;
  const away = kit.wrap(v.position_deg - home) < 0 ? -1 : 1;
  const theta = shape.angles(v.position_deg)[own];
  const gap = v.loss === "softmax" ? 0 : margins.effective(theta * DEGREE, shape.psi(v.position_deg, own));
  const [x, y] = at(v.position_deg, r);
  if (theta > 0.5) parts.push(svg("path", { d: `M${arc(home, home + away * theta, r * 0.32)}`, fill: "none",
    stroke: colours[own], "stroke-width": 2 }));
  parts.push(svg("line", { x1: c, y1: c, x2: x, y2: y, stroke: "var(--w-ink)", "stroke-width": 1.5,
    "stroke-dasharray": "3 4" }));
  if (gap !== null && gap > 0.2 * DEGREE) {
    const to = v.position_deg + (away * gap) / DEGREE;
    const [gx, gy] = at(to, r);
    parts.push(
      svg("path", { d: `M${arc(v.position_deg, to, r)}`, fill: "none", stroke: "var(--w-ink)", "stroke-width": 3 }),
      svg("circle", { cx: gx, cy: gy, r: 6, fill: "var(--w-paper)", stroke: "var(--w-ink)", "stroke-width": 2 }));
  }
  parts.push(svg("circle", { class: "db-sample", cx: x, cy: y, r: 9, fill: colours[own], stroke: "var(--w-paper)",
    "stroke-width": 2 }));
  picture.node.setAttribute("width", size);
  picture.node.setAttribute("height", size);
  picture.layer.replaceChildren(...parts);
  return { c };
}

function render({ model, el }) {
  const { html, number } = kit;
  const root = kit.root(el, "Decision boundary", STYLE);
  const picture = kit.picture("Two class centres on a circle, and where a sample of each class is satisfied");
  const voice = kit.announcer();
  const chooser = kit.choice(model, "loss", "Loss", OPTIONS);
  const sliders = SLIDERS.map((spec) => ({ ...spec, ...kit.slider(model, spec) }));
  const choices = CHOICES.map(([name, title, options, of]) => ({ of, ...kit.choice(model, name, title, options) }));
  const table = kit.readout([["theta1", "\u03b8\u2081, to w\u2081"], ["theta2", "\u03b8\u2082, to w\u2082"],
    ["lead", "lead of its class"],
    ["verdict", "the sample is"], ["boundary1", "class 1 extends"], ["boundary2", "class 2 extends"],
      ["strip", "gap between them"]]);
  table.node.classList.add("cdw-whole");
  const area = html("div", { class: "db-plot" }, picture.node);
  root.append(chooser.node, html("div", { class: "cdw-body" },
    html("div", {}, kit.legend([[kit.colour(FIRST), "class 1 satisfied"], [kit.colour(SECOND), "class 2 satisfied"],
      ["var(--w-ink)", "effect of the margin"]]), area),
    html("div", { class: "cdw-controls" }, ...[...sliders, ...choices].map(({ node }) => node)), table.node),
      voice.node);

  let box = null;
  kit.draggable(picture.node, (px, py) => {
    const deg = Math.atan2(px - box.c, box.c - py) / DEGREE;
    kit.commit(model, { position_deg: Math.round(2 * deg) / 2 });
  });

  const draw = (width) => {
    const v = Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
    [...sliders, ...choices].forEach(({ of, node }) => { node.hidden = Boolean(of) && !of.includes(v.loss); });
    [chooser, ...sliders, ...choices].forEach((control) => control.update());
    const shape = circle(v);
    box = drawing(picture, v, shape, width);

    const [theta1, theta2] = shape.angles(v.position_deg);
    const lead = shape.leads(v.position_deg)[Number(v.label) - 1];
    const [first, second] = [0, 1].map(shape.boundary);
    const degrees = (value) => (value === null ? "nowhere" : `${number(value, 2)}\u00b0`);
    const text = {
      theta1: `${number(theta1, 1)}\u00b0`, theta2: `${number(theta2, 1)}\u00b0`, lead: number(lead, 4),
      verdict: lead > 0 ? "satisfied" : "not satisfied", boundary1: degrees(first), boundary2: degrees(second),
      strip: first === null || second === null ? "\u2013" : degrees(v.separation_deg - first - second),
    };
    table.show(text);
    const [, loss] = OPTIONS.find(([name]) => name === v.loss);
    const sentence = `${loss}: a sample of class ${v.label} at ${text.theta1} from centre 1 and ${text.theta2} from ` +
      `centre 2 is ${text.verdict}. Class 1 extends ${text.boundary1}, class 2 ${text.boundary2}; the gap between them ` +
      `is ${text.strip}.`;
    picture.describe(sentence);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, area, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
