const DEGREE = Math.PI / 180;
const STYLE = `
.cdw .ca-plot svg { cursor: ew-resize; }`;
const SLIDERS = [
  { name: "margin_rad", symbol: "m", hint: "base margin, radians", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "alpha", symbol: "\u03b1", hint: "strength of the easiness", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "progress", symbol: "progress", hint: "of the training", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "negative_deg", symbol: "\u03b8\u2c7c", hint: "between the centres", min: 60, max: 180, step: 1, digits: 0,
    unit: "\u00b0" },
  { name: "s", symbol: "s", hint: "scale", min: 1, max: 64, step: 1, digits: 0 },
];
const CHOICES = [
  ["favour", "larger margin for", [["easy", "easy"], ["hard", "hard"]]],
  ["shape", "shape of the margin", [["step", "step"], ["linear", "linear"]]],
  ["easiness", "easiness", [["similarity", "similarity"], ["gap", "gap"], ["angle_gap", "angle gap"]]],
  ["schedule", "schedule of \u03b1", [["constant", "constant"], ["linear", "linear"], ["cosine", "cosine"]]],
];
const NAMES = [...SLIDERS.map(({ name }) => name), ...CHOICES.map(([name]) => name), "match_mean", "identities",
  "angles_deg", "sample"];

// Easiness, margin, loss and gradient of each sample, as computed by CdmlAtWork in Python.
function batch(v) {
  const thetas = v.angles_deg.map((deg) => deg * DEGREE);
  const negative = thetas.map((theta) => Math.abs(v.negative_deg * DEGREE - theta));
  const hardest = negative.map((angle) => (v.identities > 2 ? Math.min(angle, Math.PI / 2) : angle));
  const e = thetas.map((theta, i) => margins.easiness(v.easiness, theta, hardest[i]));
  const alpha = v.alpha * margins.scheduled(v.schedule, v.progress);
  const change = e.map((value) => margins.change({ ...v, alpha }, value));
  const mean = v.match_mean ? change.reduce((sum, value) => sum + value, 0) / change.length : 0;
  return thetas.map((theta, i) => {
    const others = v.identities > 2 ? [Math.log(v.identities - 2)] : [];
    const rest = margins.logSum(v.s * Math.cos(negative[i]), ...others);
    const pulled = (m) => {
      const { psi, slope } = margins.addAngle(theta, m, "linear");
      return { loss: margins.loss(v.s * psi, rest), pull: -v.s * margins.missed(v.s * psi, rest) * slope };
    };
    const m = v.margin_rad * (1 + change[i] - mean);
    return { deg: v.angles_deg[i], e: e[i], m, ...pulled(m), arcface: pulled(v.margin_rad).pull };
  });
}

function arc(v, rows, now, width, height) {
  const { svg } = kit;
  const r = Math.min(width / 2 - 56, height - 60);
  const [cx, cy] = [width / 2, r + 46];
  const at = (deg, radius = r) => [cx - radius * Math.cos(deg * DEGREE), cy - radius * Math.sin(deg * DEGREE)];
  const along = (from, to, radius) => {
    const [[x0, y0], [x1, y1]] = [at(from, radius), at(to, radius)];
    return `M${x0},${y0}A${radius},${radius} 0 0 ${to > from ? 1 : 0} ${x1},${y1}`;
  };
  const centre = (deg, name, anchor, below = 0) => {
    const [[x, y], [tx, ty]] = [at(deg), at(deg, r + (below ? 0 : 20))];
    return [svg("circle", { cx: x, cy: y, r: 7, fill: "var(--w-paper)", stroke: "var(--w-ink)", "stroke-width": 2.5 }),
      svg("text", { x: tx, y: ty + 4 + below, "text-anchor": anchor, class: "cdw-halo" }, name)];
  };
  const [x, y] = at(now.deg);
  const end = Math.min(180, now.deg + now.m / DEGREE);
  const most = Math.max(v.s, 1);
  const parts = [
    svg("path", { d: along(0, 180, r), fill: "none", stroke: "var(--w-grid)", "stroke-width": 2 }),
    ...centre(0, "target centre", "middle", 20),
    ...(v.negative_deg > 150 ? centre(v.negative_deg, "negative centre", "middle", 20)
      : centre(v.negative_deg, "negative centre", v.negative_deg > 90 ? "start" : "middle")),
    svg("line", { x1: cx, y1: cy, x2: x, y2: y, stroke: "var(--w-muted)", "stroke-dasharray": "3 4" }),
    svg("path", { d: along(now.deg, end, r), fill: "none", stroke: kit.colour("cdml"), "stroke-width": 6,
      opacity: 0.85 })];
  // The gradient: an arrow inside the arc, with a length in proportion to it.
  rows.forEach((row) => {
    const reach = Math.min(row.deg, 7 * Math.abs(row.pull) / most);
    if (reach > 0.8) {
      const [hx, hy] = at(row.deg - reach, r - 14);
      const turn = 90 - (row.deg - reach);
      parts.push(svg("path", { d: along(row.deg, row.deg - reach, r - 14), fill: "none", stroke: kit.colour("cdml"),
        "stroke-width": 2 }),
        svg("path", { d: "M5,-4L-1,0L5,4", transform: `translate(${hx},${hy}) rotate(${-turn})`, fill: "none",
          stroke: kit.colour("cdml"), "stroke-width": 2 }));
    }
  });
  rows.forEach((row, i) => {
    const [px, py] = at(row.deg);
    const mark = row === now;
    parts.push(svg("circle", { class: "ca-sample", "data-sample": i + 1, cx: px, cy: py, r: mark ? 9 : 6,
      fill: mark ? kit.colour("cdml") : "var(--w-muted)", stroke: "var(--w-paper)", "stroke-width": 2 }));
  });
  return { parts, toDegrees: (px, py) => Math.atan2(Math.max(cy - py, 0), cx - px) / DEGREE, bottom: cy + 28 };
}

// One lollipop per sample over its angle, with ArcFace's value for comparison.
function panel(rows, now, box, title, value, reference, kind) {
  const { svg } = kit;
  const zero = box.toY(0);
  return [
    box.axes(box.right - box.left < 400 ? [0, 60, 120, 180] : [0, 30, 60, 90, 120, 150, 180],
      [box.y0, (box.y0 + box.y1) / 2, box.y1],
      kind === "pull" ? "angle \u03b8 to the target centre" : "", title,
      (deg) => (kind === "pull" ? `${deg}\u00b0` : ""),
      (y) => kit.number(y, kind === "pull" ? 0 : 2)),
    ...rows.flatMap((row) => {
      const x = box.toX(row.deg);
      return [
        svg("line", { x1: x, x2: x, y1: zero, y2: box.toY(value(row)), stroke: kit.colour("cdml"),
          "stroke-width": row === now ? 4 : 2 }),
        svg("circle", { cx: x, cy: box.toY(reference(row)), r: 4, fill: "none", stroke: kit.colour("arcface"),
          "stroke-width": 2 }),
        svg("circle", { class: `ca-${kind}`, "data-value": value(row), cx: x, cy: box.toY(value(row)),
          r: row === now ? 7 : 5, fill: kit.colour("cdml"),
          stroke: "var(--w-paper)", "stroke-width": 1.5 })];
    })];
}

function render({ model, el }) {
  const { html, number } = kit;
  const root = kit.root(el, "CDML at work", STYLE);
  const picture = kit.picture("Samples on the arc from their target centre, each with its margin and its gradient");
  const voice = kit.announcer();
  const sliders = SLIDERS.map((spec) => kit.slider(model, spec));
  const choices = CHOICES.map(([name, title, options]) => kit.choice(model, name, title, options));
  const held = kit.check(model, "match_mean", "keep the mean margin of the batch at the base");
  const count = kit.select(model, "identities", "identities", margins.IDENTITIES);
  // The angle of the selected sample, with the interface of a model's value.
  const move = (deg, sample = model.get("sample")) => kit.commit(model, {
    angles_deg: model.get("angles_deg").map((old, i) => (i === sample - 1 ? deg : old)), sample });
  const one = { get: () => model.get("angles_deg")[model.get("sample") - 1], set: (_, deg) => move(deg),
    save_changes() {} };
  const sample = kit.slider(model, { name: "sample", symbol: "sample", hint: "selected", min: 1,
    max: model.get("angles_deg").length, step: 1, digits: 0 });
  const theta = kit.slider(one, { name: "theta_deg", symbol: "\u03b8", hint: "its angle", min: 0.5, max: 179.5,
    step: 0.5, digits: 1, unit: "\u00b0" });
  const table = kit.readout([["theta", "\u03b8 of the sample"], ["easiness", "easiness e"],
    ["margin", "margin (radians)"], ["loss", "loss L"], ["pull", "gradient \u2202L/\u2202\u03b8"],
    ["arcface", "gradient of ArcFace"], ["mean", "mean margin"], ["reach", "current \u03b1"]]);
  const area = html("div", { class: "ca-plot" }, picture.node);
  root.append(html("div", { class: "cdw-body" },
    html("div", {}, kit.legend([[kit.colour("cdml"), "CDML"], [kit.colour("arcface"), "ArcFace with the base margin"]]),
      area, table.node),
    html("div", { class: "cdw-controls" },
      ...[sample, theta, ...sliders, ...choices, held, count].map(({ node }) => node))), voice.node);

  let place = null;
  kit.draggable(picture.node, (px, py, begun) => {
    const raw = py < place.arc.bottom ? place.arc.toDegrees(px, py) : place.box.fromX(px);
    const deg = Math.min(179.5, Math.max(0.5, Math.round(2 * raw) / 2));
    if (!begun) { move(deg); return; }
    const far = model.get("angles_deg").map((angle) => Math.abs(angle - deg));
    kit.commit(model, { sample: far.indexOf(Math.min(...far)) + 1 });
  });

  const draw = (width) => {
    const v = Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
    [sample, theta, ...sliders, ...choices, held, count].forEach((control) => control.update());
    const rows = batch(v);
    const now = rows[v.sample - 1];
    const height = Math.min(240, width / 2 + 20);
    const drawn = arc(v, rows, now, width, height);
    const [left, right] = [44, width - 18];
    const top = drawn.bottom + 34;
    const most = Math.max(...rows.map(({ m }) => m), v.margin_rad, 0.1);
    const steep = Math.max(...rows.flatMap(({ pull, arcface }) => [pull, arcface]), 1);
    const first = kit.frame({ x0: 0, x1: 180, y0: 0, y1: Math.ceil(most * 5) / 5 },
      { left, right, top, bottom: top + 100 });
    const second = kit.frame({ x0: 0, x1: 180, y0: 0, y1: Math.ceil(steep / 10) * 10 },
      { left, right, top: top + 146, bottom: top + 246 });
    place = { arc: drawn, box: first };
    picture.node.setAttribute("width", width);
    picture.node.setAttribute("height", top + 292);
    picture.layer.replaceChildren(...drawn.parts,
      ...panel(rows, now, first, "margin m\u1d62 (radians)", ({ m }) => m, () => v.margin_rad, "margin"),
      ...panel(rows, now, second, "gradient \u2202L/\u2202\u03b8 (per radian)", ({ pull }) => pull,
        ({ arcface }) => arcface, "pull"));

    const mean = rows.reduce((sum, { m }) => sum + m, 0) / rows.length;
    const text = {
      theta: `${number(now.deg, 1)}\u00b0`, easiness: number(now.e, 3), margin: number(now.m, 4),
      loss: number(now.loss, 3), pull: number(now.pull, 3), arcface: number(now.arcface, 3), mean: number(mean, 4),
      reach: number(v.alpha * margins.scheduled(v.schedule, v.progress), 3),
    };
    table.show(text);
    const sentence = `Sample ${v.sample} of ${rows.length} at ${text.theta}: easiness ${text.easiness}, ` +
      `margin ${text.margin} radians, gradient ${text.pull}, with ArcFace ${text.arcface}. Mean margin ${text.mean}.`;
    picture.describe(sentence);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, area, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
