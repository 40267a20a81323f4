const STYLE = `
.cdw .fl-body { display: grid; gap: 14px 28px; margin-top: 4px; grid-template-columns: minmax(0, 1fr); }
.cdw .fl-faces { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.cdw .fl-faces figure { margin: 0; min-width: 0; text-align: center; }
.cdw .fl-faces figcaption { color: var(--w-muted); font-size: 14px; margin-top: 4px; }
.cdw .fl-faces canvas { display: block; width: 100%; max-width: 224px; margin: 0 auto; border-radius: 8px;
  background: var(--w-surface); aspect-ratio: 1; }
.cdw .fl-live canvas { cursor: ew-resize; }
.cdw .fl-plot { margin-top: 12px; }
@container (min-width: 660px) { .cdw .fl-body { grid-template-columns: minmax(0, 1fr) 218px; } }`;
const AXES = [
  { name: "yaw", key: "yaw_deg", symbol: "yaw", hint: "rotation of the head", title: "yaw (degrees)",
    say: (v) => `${kit.number(v, 0)}\u00b0` },
  { name: "age", key: "age", symbol: "age", hint: "wrinkles, grey hair", title: "age (0 to 1)",
    say: (v) => kit.number(v, 1) },
  { name: "light", key: "light_deg", symbol: "light", hint: "from the side", title: "light (degrees)",
    say: (v) => (v ? `${kit.number(v, 0)}\u00b0` : "even") },
  { name: "occlusion", key: "occlusion", symbol: "occlusion", hint: "something in front", title: "occlusion (0 to 1)",
    say: (v) => kit.number(v, 1) },
];
const NAMES = [...AXES.map(({ name }) => name), "follows"];

function render({ model, el }) {
  const { html, svg, number } = kit;
  const [grid, scores, columns] = [model.get("axes"), kit.floats(model.get("scores")), model.get("columns")];
  const steps = AXES.map(({ key }) => grid[key]);
  const frame = (at) => at.reduce((index, k, axis) => index * steps[axis].length + k, 0);
  const selected = () => AXES.map(({ name }) => model.get(name));
  const enrolled = steps.map((values) => values.indexOf(0));

  const root = kit.root(el, "Face lab", STYLE);
  const picture = kit.picture("Score against the enrolled image as a function of one nuisance");
  const voice = kit.announcer();
  const sliders = AXES.map((axis, i) => kit.slider({
    get: model.get,
    // The curve is drawn over the nuisance that was moved last.
    set: (name, value) => { model.set("follows", name); model.set(name, value); },
    save_changes: () => model.save_changes(),
  }, { ...axis, min: 0, max: steps[i].length - 1, step: 1, digits: 0, say: (k) => axis.say(steps[i][k]) }));
  const follows = kit.choice(model, "follows", "Curve over", AXES.map(({ name }) => [name, name]));
  const table = kit.readout([["score", "score (cosine)"], ["lost", "lost since enrolment"],
    ["threshold", "threshold (1 stranger in 100)"], ["verdict", "at this threshold"]]);
  table.node.classList.add("cdw-whole");
  const canvases = [0, 1].map(() => html("canvas", { role: "img" }));
  const figure = (canvas, text, css) => html("figure", { class: css }, canvas, html("figcaption", {}, text));
  const area = html("div", { class: "fl-plot" }, picture.node);
  root.append(html("div", { class: "fl-body cdw-body" },
    html("div", {}, html("div", { class: "fl-faces" }, figure(canvases[0], "enrolled", ""),
      figure(canvases[1], "current", "fl-live")), area),
    html("div", { class: "cdw-controls" }, ...sliders.map(({ node }) => node), follows.node), table.node), voice.node);
  canvases[0].setAttribute("aria-label", "The enrolled image: frontal, young, evenly lit, unoccluded");

  const sprite = new Image();
  const paint = (canvas, index) => {
    if (!sprite.complete || !sprite.naturalWidth) return;
    const size = sprite.naturalWidth / columns;
    if (canvas.width !== size) { canvas.width = size; canvas.height = size; }
    canvas.getContext("2d").drawImage(sprite, (index % columns) * size, Math.floor(index / columns) * size, size, size,
      0, 0, size, size);
    canvas.dataset.frame = index;
  };
  sprite.onload = () => { paint(canvases[0], frame(enrolled)); paint(canvases[1], frame(selected())); };
  sprite.src = `data:image/webp;base64,${model.get("sprite")}`;

  kit.draggable(canvases[1], (px) => {
    const share = Math.min(1, Math.max(0, px / canvases[1].clientWidth));
    kit.commit(model, { follows: "yaw", yaw: Math.round(share * (steps[0].length - 1)) });
  });
  let box = null;
  kit.draggable(picture.node, (px) => {
    const i = AXES.findIndex(({ name }) => name === model.get("follows"));
    const value = box.fromX(px);
    const far = steps[i].map((step) => Math.abs(step - value));
    kit.commit(model, { [AXES[i].name]: far.indexOf(Math.min(...far)) });
  });

  const draw = (width) => {
    [...sliders, follows].forEach((control) => control.update());
    const at = selected();
    const i = AXES.findIndex(({ name }) => name === model.get("follows"));
    const along = steps[i].map((value, k) => [value, scores[frame(at.map((old, axis) => (axis === i ? k : old)))]]);
    const [score, threshold] = [scores[frame(at)], model.get("threshold")];
    paint(canvases[1], frame(at));

    const low = Math.min(0, ...along.map(([, y]) => y));
    box = kit.frame({ x0: steps[i][0], x1: steps[i].at(-1), y0: low < 0 ? Math.min(-0.25, low) : 0, y1: 1 },
      { left: 44, right: width - 18, top: 22, bottom: 172 });
    const line = box.toY(threshold);
    const ticks = steps[i].length > 5 ? [-90, -45, 0, 45, 90] : steps[i];
    picture.layer.replaceChildren(
      box.axes(ticks, low < 0 ? [-0.25, 0, 0.5, 1] : [0, 0.5, 1], AXES[i].title, "score against the enrolled image",
        (v) => number(v, Number.isInteger(v) ? 0 : 1), (y) => number(y, low < 0 ? 2 : 1)),
      svg("line", { x1: box.left, x2: box.right, y1: line, y2: line, stroke: "var(--w-muted)", "stroke-width": 1.5,
        "stroke-dasharray": "6 4" }),
      box.curve([along], { class: "fl-curve", stroke: kit.colour("cdml"), "stroke-width": 2.5,
        "stroke-linejoin": "round" }),
      ...along.map(([x, y]) => svg("circle", { cx: box.toX(x), cy: box.toY(y), r: 3.5, fill: kit.colour("cdml") })),
      svg("circle", { class: "fl-marker", cx: box.toX(steps[i][at[i]]), cy: box.toY(score), r: 8,
        fill: kit.colour("cdml"),
        stroke: "var(--w-paper)", "stroke-width": 2 }),
      svg("text", { x: box.right - 4, y: line + 17, "text-anchor": "end", class: "cdw-halo" },
        "one stranger in a hundred"));
    picture.node.setAttribute("width", width);
    picture.node.setAttribute("height", 220);

    const text = { score: number(score, 3), lost: number(1 - score, 3), threshold: number(threshold, 3),
      verdict: score >= threshold ? "accepted" : "rejected" };
    table.show(text);
    const words = AXES.map((axis, k) => `${axis.symbol} ${axis.say(steps[k][at[k]])}`).join(", ");
    canvases[1].setAttribute("aria-label", `The same person: ${words}`);
    const sentence = `${words}: score ${text.score}, ${text.verdict} at the threshold ${text.threshold}.`;
    picture.describe(sentence);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, area, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
