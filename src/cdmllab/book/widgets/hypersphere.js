const DEGREE = Math.PI / 180;
const STYLE = `
.cdw .hs-plot svg { cursor: grab; margin: 0 auto; }
.cdw .hs-plot text { font-weight: 600; }
.cdw .hs-point { stroke: var(--w-ink); stroke-width: 0.8; }
.cdw .hs-bar { height: 10px; border-radius: 5px; background: linear-gradient(in oklab to right, var(--low), var(--high)); }
.cdw .hs-scale { display: flex; justify-content: space-between; }`;
const NAMES = ["frame", "azimuth_deg", "elevation_deg", "colour"];
const [LOW, HIGH] = [kit.colour("arcface"), kit.colour("cdml")];
const STEP_MS = 900;
const GLIDE_MS = 350;

// The rows point right, up and towards the reader, as in cdmllab.plots.sphere.view.
function view(elevation, azimuth) {
  const [e, a] = [elevation * DEGREE, azimuth * DEGREE];
  const towards = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
  const right = [-Math.sin(a), Math.cos(a), 0];
  const up = [
    towards[1] * right[2] - towards[2] * right[1],
    towards[2] * right[0] - towards[0] * right[2],
    towards[0] * right[1] - towards[1] * right[0]];
  return [right, up, towards];
}
const turned = (rows, [x, y, z]) => rows.map(([a, b, c]) => a * x + b * y + c * z);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

// Meridians and parallels, each a list of points.
const GRID = (() => {
  const round = Array.from({ length: 73 }, (_, i) => i * 5 * DEGREE);
  const parallels = [-60, -30, 0, 30, 60].map((lat) => round.map((t) => [
    Math.cos(t) * Math.cos(lat * DEGREE), Math.sin(t) * Math.cos(lat * DEGREE), Math.sin(lat * DEGREE)]));
  const meridians = [0, 30, 60, 90, 120, 150].map((lon) => round.map((t) => [
    Math.cos(t) * Math.cos(lon * DEGREE), Math.cos(t) * Math.sin(lon * DEGREE), Math.sin(t)]));
  return [...parallels, ...meridians];
})();

// The data, by frame: vectors[frame][i] is [x, y, z].
function unpack(model) {
  const labels = model.get("labels");
  const counts = [model.get("epochs").length, labels.length, model.get("names").length];
  const vectors = (text, count) => {
    const flat = kit.floats(text);
    return Array.from({ length: counts[0] }, (_, k) => Array.from({ length: count }, (__, i) => {
      const at = 3 * (k * count + i);
      return [flat[at], flat[at + 1], flat[at + 2]];
    }));
  };
  const flat = kit.floats(model.get("margin_rad"));
  const margin = Array.from({ length: counts[0] }, (_, k) => Array.from(flat.subarray(k * counts[1],
    (k + 1) * counts[1])));
  return { labels, points: vectors(model.get("points"), counts[1]), centres: vectors(model.get("centres"), counts[2]),
    margin,
    low: flat.reduce((a, b) => Math.min(a, b), Infinity), high: flat.reduce((a, b) => Math.max(a, b), -Infinity) };
}

// The numbers of one epoch, as computed by Hypersphere.look in Python.
function look({ labels, points, centres, margin }, frame) {
  const [p, w] = [points[frame], centres[frame]];
  const angle = (cosine) => Math.acos(Math.min(1, Math.max(-1, cosine))) / DEGREE;
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const nearest = (point) => { const all = w.map((c) => dot(point, c)); return all.indexOf(Math.max(...all)); };
  return {
    own: mean(p.map((point, i) => angle(dot(point, w[labels[i]])))),
    apart: mean(w.map((c, j) => angle(Math.max(...w.filter((_, k) => k !== j).map((other) => dot(c, other)))))),
    margin: mean(margin[frame]),
    right: mean(p.map((point, i) => (nearest(point) === labels[i] ? 1 : 0))),
  };
}

// Interpolates along the sphere from one set of points to another; `share` runs from 0 to 1.
const between = (from, to, share) => from.map((a, i) => {
  const mixed = a.map((x, k) => x + (to[i][k] - x) * share);
  const length = Math.hypot(...mixed) || 1;
  return mixed.map((x) => x / length);
});

function render({ model, el }) {
  const { html, svg, number } = kit;
  const data = unpack(model);
  const [names, epochs] = [model.get("names"), model.get("epochs")];
  const root = kit.root(el, "Hypersphere", STYLE);
  const picture = kit.picture("Embeddings as points on a sphere");
  const voice = kit.announcer();
  const sliders = [
    { name: "frame", symbol: "epoch", hint: "", min: 0, max: epochs.length - 1, step: 1, digits: 0,
      say: (k) => String(epochs[k]) },
    { name: "azimuth_deg", symbol: "rotation", hint: "around the axis", min: -180, max: 180, step: 1, digits: 0,
      unit: "\u00b0" },
    { name: "elevation_deg", symbol: "tilt", hint: "up and down", min: -90, max: 90, step: 1, digits: 0,
      unit: "\u00b0" },
  ].map((spec) => kit.slider(model, spec));
  const colour = kit.choice(model, "colour", "Colour by", [["identity", "identity"], ["margin", "margin"]]);
  const play = html("button", { type: "button", class: "cdw-chip" }, "Play training");
  const bar = html("div", { style: `--low: ${LOW}; --high: ${HIGH}` }, html("div", { class: "hs-bar" }),
    html("p", { class: "hs-scale cdw-note" }, html("span", {}, `${number(data.low, 2)} rad`),
      html("span", {}, `${number(data.high, 2)} rad`)));
  const table = kit.readout([["epoch", "epoch"], ["own", "angle to target centre"],
    ["apart", "between nearest centres"], ["margin", "mean margin (radians)"], ["right", "correctly classified"]]);
  table.node.classList.add("cdw-whole");
  const area = html("div", { class: "hs-plot" }, picture.node);
  root.append(html("div", { class: "cdw-body" }, area,
    html("div", { class: "cdw-controls" }, play, ...[...sliders, colour].map(({ node }) => node), bar), table.node),
      voice.node);

  // The elements are created once; every redraw only moves them.
  const back = svg("path", { fill: "none", stroke: "var(--w-grid)", "stroke-width": 0.8, opacity: 0.5 });
  const front = svg("path", { fill: "none", stroke: "var(--w-grid)", "stroke-width": 0.8 });
  const outline = svg("circle", { fill: "none", stroke: "var(--w-muted)", "stroke-width": 1.2 });
  const dots = data.labels.map((label) => svg("circle", { class: "hs-point", "data-label": label }));
  const rims = names.map(() => svg("circle", { class: "hs-rim", r: 9.3, fill: "var(--w-ink)" }));
  const rings = names.map((_, k) => svg("circle", { class: "hs-centre", r: 7, fill: "var(--w-paper)",
    stroke: kit.identity(k), "stroke-width": 3 }));
  const words = names.map((name) => svg("text", { "text-anchor": "middle", class: "cdw-halo" }, name));
  picture.layer.append(back, front, outline, ...dots, ...rims, ...rings, ...words);

  let [size, shown, gliding] = [0, { frame: model.get("frame"), points: null, centres: null }, 0];
  const radius = () => size / 2 - 26;
  const settle = (frame) => { shown = { frame, points: data.points[frame], centres: data.centres[frame] }; };
  settle(model.get("frame"));

  const place = () => {
    const [rows, c, r] = [view(model.get("elevation_deg"), model.get("azimuth_deg")), size / 2, radius()];
    const byMargin = model.get("colour") === "margin";
    const lines = { true: [], false: [] };
    GRID.forEach((circle) => {
      let before = null;
      circle.map((point) => turned(rows, point)).forEach(([x, y, z]) => {
        const side = z >= 0;
        lines[side].push(`${before === side ? "L" : "M"}${(c + r * x).toFixed(1)},${(c - r * y).toFixed(1)}`);
        before = side;
      });
    });
    front.setAttribute("d", lines.true.join(""));
    back.setAttribute("d", lines.false.join(""));
    [["cx", c], ["cy", c], ["r", r]].forEach(([key, value]) => outline.setAttribute(key, value));
    const set = (node, [x, y, z], near, far) => {
      node.setAttribute("cx", (c + r * x).toFixed(3));
      node.setAttribute("cy", (c - r * y).toFixed(3));
      node.setAttribute("opacity", z >= 0 ? near : far);
    };
    const margin = data.margin[model.get("frame")];
    shown.points.forEach((point, i) => {
      const at = turned(rows, point);
      set(dots[i], at, 1, 0.18);
      dots[i].setAttribute("r", at[2] >= 0 ? 4 : 3);
      const share = data.high > data.low ? (margin[i] - data.low) / (data.high - data.low) : 0.5;
      dots[i].setAttribute("style", byMargin
        ? `fill: color-mix(in oklab, ${HIGH} ${(100 * share).toFixed(1)}%, ${LOW})`
        : `fill: ${kit.identity(data.labels[i])}`);
    });
    shown.centres.forEach((centre, k) => {
      const at = turned(rows, centre);
      [rims[k], rings[k]].forEach((node) => set(node, at, 1, 0.35));
      const far = Math.hypot(at[0], at[1]);
      const [tx, ty] = far > 0.45 ? [(at[0] / far) * (1 + 15 / r), (at[1] / far) * (1 + 15 / r)] : [at[0],
        at[1] + 16 / r];
      words[k].setAttribute("x", c + r * tx);
      words[k].setAttribute("y", c - r * ty + 5);
      words[k].setAttribute("opacity", at[2] >= 0 ? 1 : 0.4);
      words[k].setAttribute("style", "fill: var(--w-ink)");
    });
    picture.node.dataset.frame = shown.frame ?? "";
  };

  // Moves the points to their new positions along the sphere, or at once if the reader prefers reduced motion.
  const glide = (frame) => {
    cancelAnimationFrame(gliding);
    const [from, begun] = [shown, performance.now()];
    if (kit.still()) { settle(frame); place(); return; }
    const tick = (time) => {
      const share = Math.min(1, (time - begun) / GLIDE_MS);
      if (share >= 1) settle(frame);
      else shown = { frame: null, points: between(from.points, data.points[frame], share),
        centres: between(from.centres, data.centres[frame], share) };
      place();
      if (share < 1) gliding = requestAnimationFrame(tick);
    };
    shown = { ...shown, frame: null };
    gliding = requestAnimationFrame(tick);
  };

  let timer = 0;
  const stopPlaying = () => { clearTimeout(timer); timer = 0; play.textContent = "Play training"; };
  const step = () => {
    if (model.get("frame") >= epochs.length - 1) { stopPlaying(); return; }
    kit.commit(model, { frame: model.get("frame") + 1 });
    timer = setTimeout(step, STEP_MS);
  };
  play.addEventListener("click", () => {
    if (timer) { stopPlaying(); return; }
    if (model.get("frame") >= epochs.length - 1) kit.commit(model, { frame: 0 });
    play.textContent = "Stop";
    timer = setTimeout(step, STEP_MS);
  });

  let held = null;
  kit.draggable(picture.node, (px, py, begun) => {
    if (!begun) {
      kit.commit(model, {
        azimuth_deg: Math.round(kit.wrap(held.azimuth - (px - held.px) / radius() / DEGREE)),
        elevation_deg: Math.round(Math.min(90, Math.max(-90, held.elevation + (py - held.py) / radius() / DEGREE))) });
      return;
    }
    held = { px, py, azimuth: model.get("azimuth_deg"), elevation: model.get("elevation_deg") };
  });

  let drawn = model.get("frame");
  const draw = (width) => {
    size = Math.min(width, 440);
    picture.node.setAttribute("width", size);
    picture.node.setAttribute("height", size);
    [...sliders, colour].forEach((control) => control.update());
    bar.hidden = model.get("colour") !== "margin";
    const frame = model.get("frame");
    if (frame !== drawn) { drawn = frame; glide(frame); } else place();

    const now = look(data, frame);
    const text = { epoch: String(epochs[frame]), own: `${number(now.own, 1)}\u00b0`,
      apart: `${number(now.apart, 1)}\u00b0`,
      margin: number(now.margin, 3), right: `${number(100 * now.right, 1)} %` };
    table.show(text);
    const sentence = `After ${text.epoch} epochs the points are on average ${text.own} from their target centre, and ` +
      `each centre is ${text.apart} from its nearest neighbour; the mean margin is ${text.margin} radians, and ` +
      `${text.right} of the points are classified correctly. Rotated to ${number(model.get("azimuth_deg"), 0)}\u00b0, ` +
      `tilted to ${number(model.get("elevation_deg"), 0)}\u00b0.`;
    picture.describe(sentence);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, area, draw);
  return () => { stop(); stopPlaying(); cancelAnimationFrame(gliding); voice.stop(); };
}

export default { render };
