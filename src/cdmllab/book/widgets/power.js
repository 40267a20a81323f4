const STYLE = `
.cdw .pw-question { font-size: 17px; font-weight: 600; line-height: 1.35; margin-bottom: 8px; }
.cdw .pw-answer { margin: 8px 0 0; min-height: 1.45em; }
.cdw .pw-plot svg { cursor: ew-resize; }
.cdw .pw-drawn { min-height: 2.9em; font-size: 14px; }
.cdw dl.pw-verdicts { grid-template-columns: repeat(4, 1fr); }
.cdw .pw-verdicts i { display: block; height: 6px; margin: 2px 0 5px; border-radius: 2px; }
.cdw .pw-controls { align-content: start; }
.cdw .pw-controls .cdw-note { margin: 0; }
.cdw text.pw-name { fill: var(--w-ink); }
@container (max-width: 480px) { .cdw dl.pw-verdicts { grid-template-columns: 1fr 1fr; } }
@container (min-width: 660px) { .cdw .pw-body > .cdw-controls { grid-area: 1 / 2 / span 2 / auto; } }`;
const SLIDERS = [
  { name: "seeds", symbol: "seeds", hint: "pairs of trainings", min: 2, max: 100, step: 1, digits: 0 },
  { name: "effect", symbol: "true difference", hint: "points", min: 0, max: 2, step: 0.01, digits: 2 },
  { name: "sd", symbol: "spread", hint: "over seeds", min: 0.01, max: 1.5, step: 0.005, digits: 3 },
  { name: "bound", symbol: "matters from", hint: "points", min: 0.02, max: 1, step: 0.01, digits: 2 },
];
const SETTINGS = SLIDERS.map(({ name }) => name);
const NAMES = [...SETTINGS, "draw"];
const [SEEN, WITHIN, OPEN] = [0, 2, 8].map(kit.identity);
const BOTH = `repeating-linear-gradient(135deg, ${SEEN} 0 3px, ${WITHIN} 3px 6px)`;
// The verdicts in the order in which they are stacked: in the first two the 95 % interval excludes zero.
const VERDICTS = [["different", "different", SEEN], ["small", "too small to matter", BOTH],
  ["equivalent", "equivalent", WITHIN], ["inconclusive", "inconclusive", OPEN]];
const WORDS = Object.fromEntries(VERDICTS);
const REACHES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 4, 5, 6, 8];
const CURVE = 80; // steps of the power curve, on either side of zero

function render({ model, el }) {
  const { html, svg, number } = kit;
  const points = (value) => number(value, 2);
  const signed = (value) => (points(value).startsWith("\u2212") ? points(value) : `+${points(value)}`);
  const percent = (share) => `${number(100 * share, 1)} %`;
  const read = () => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));

  const root = kit.root(el, "What an experiment can see", STYLE);
  const pictures = { mean: kit.picture("Mean difference: its distribution, a typical experiment and a drawn one"),
    bar: kit.picture("Probabilities of the four verdicts, as a stacked bar"),
    power: kit.picture("Probabilities of the verdicts as a function of the true difference") };
  const voice = kit.announcer();
  const sliders = SLIDERS.map((spec) => kit.slider(model, spec));
  const offered = model.get("presets").map(({ label, ...values }) => ({ label, values }));
  const buttons = offered.map(({ label, values }) => html("button", { type: "button", class: "cdw-chip",
    onclick: () => kit.commit(model, values) }, label));
  const draws = html("button", { type: "button", class: "cdw-chip pw-draw",
    onclick: () => kit.commit(model, { draw: model.get("draw") + 1 }) }, "Draw an experiment");
  const drawn = html("p", { class: "pw-drawn" });
  const answer = html("p", { class: "pw-answer" });
  const shares = kit.readout(VERDICTS.map(([key, text, fill]) =>
    [key, html("span", {}, html("i", { style: `background: ${fill}` }), text)]));
  shares.node.classList.add("pw-verdicts");
  const table = kit.readout([["power", "probability of a difference"], ["detectable", "80 % power from"],
    ["half", "typical 95 % interval"]]);
  const note = html("p", { class: "cdw-note" }, "All in points of accuracy. The thin line is the 95 % interval, the " +
    "thick one the 90 % interval. A difference is seen if the thin line misses zero. It is smaller than the smallest " +
    "effect of interest if the thick line stays in the green band.");
  const area = html("div", { class: "pw-plot" }, pictures.mean.node);
  root.append(html("p", { class: "pw-question" }, model.get("question")),
    html("div", { class: "cdw-row", role: "group", "aria-label": "Examples" }, ...buttons), answer,
    html("div", { class: "cdw-body pw-body" },
      html("div", {}, area, pictures.bar.node, shares.node),
      html("div", { class: "cdw-controls pw-controls" }, ...sliders.map(({ node }) => node), draws, drawn, note),
      html("div", { class: "pw-plot" }, pictures.power.node, table.node)), voice.node);

  // While the true difference is dragged, the axis stays as it was at the press.
  let [box, held] = [null, null];
  [pictures.mean, pictures.power].forEach(({ node }) => {
    kit.draggable(node, (px, _, begun) => {
      if (begun) held = box.x1;
      kit.commit(model, { effect: Math.round(100 * Math.min(2, held, Math.max(0, box.fromX(px)))) / 100 });
    });
    ["pointerup", "pointercancel"].forEach((end) => node.addEventListener(end, () => {
      if (held === null) return;
      held = null;
      draw(area.clientWidth);
    }));
  });

  const frame = (v, width, y1, top, bottom) => {
    const reach = held ?? REACHES.find((x) => x >= Math.max(1.3 * v.bound, v.effect + 2.2 * v.sd));
    return kit.frame({ x0: -reach, x1: reach, y0: 0, y1 }, { left: 34, right: width - 12, top, bottom });
  };
  // Zero, the values that do not matter, and the true difference, through the height of a frame.
  const band = ({ toX, top, bottom }, { bound }) => [
    svg("rect", { class: "pw-band", x: toX(-bound), width: toX(bound) - toX(-bound), y: top, height: bottom - top,
      fill: WITHIN, opacity: 0.14 }),
    svg("line", { class: "cdw-axis", x1: toX(0), x2: toX(0), y1: top, y2: bottom })];
  const truth = ({ toX, top, bottom }, { effect }) => [
    svg("line", { x1: toX(effect), x2: toX(effect), y1: top, y2: bottom, stroke: "var(--w-ink)", "stroke-width": 2 }),
    svg("circle", { class: "pw-handle", cx: toX(effect), cy: top, r: 8, fill: "var(--w-ink)", stroke: "var(--w-paper)",
      "stroke-width": 2 })];
  // An interval at some height, thin (95 %) and thick (90 %), cut at the ends of the frame.
  const interval = ({ toX, x0, x1 }, css, y, { mean, wide, narrow }) => {
    const cut = (x) => toX(Math.min(x1, Math.max(x0, x)));
    const line = (half, thick) => svg("line", { x1: cut(mean - half), x2: cut(mean + half), y1: y, y2: y,
      stroke: "var(--w-ink)", "stroke-width": thick });
    return svg("g", { class: css, "data-low": mean - wide, "data-high": mean + wide }, line(wide, 2), line(narrow, 6),
      svg("circle", { cx: cut(mean), cy: y, r: 4.5, fill: "var(--w-paper)", stroke: "var(--w-ink)",
        "stroke-width": 2 }));
  };

  const drawMean = (v, typical, one, width) => {
    box = frame(v, width, 1.08, 26, 224);
    const above = kit.frame({ ...box, y1: 1.08 }, { left: box.left, right: box.right, top: 34, bottom: 122 });
    const error = v.sd / Math.sqrt(v.seeds);
    const bell = Array.from({ length: 121 }, (_, i) => v.effect + ((i - 60) / 15) * error)
      .filter((x) => x >= box.x0 && x <= box.x1).map((x) => [x, Math.exp(-(((x - v.effect) / error) ** 2) / 2)]);
    const { values, digits } = kit.ticks(box.x0, box.x1, width < 420 ? 4 : 6);
    const text = (y, words, right) => svg("text", { x: right ? box.right : box.left, y,
      "text-anchor": right ? "end" : "start" }, words);
    pictures.mean.layer.replaceChildren(...band(box, v),
      box.axes(values, [], "", "", (x) => number(x, digits)),
      svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 38, "text-anchor": "middle" },
        "mean difference (points)"),
      above.curve([[[bell[0][0], 0], ...bell, [bell.at(-1)[0], 0]]], { fill: SEEN, "fill-opacity": 0.16 }),
      above.curve([bell], { class: "pw-bell", stroke: SEEN, "stroke-width": 2 }),
      svg("line", { class: "cdw-gridline", x1: box.left, x2: box.right, y1: above.bottom, y2: above.bottom }),
      ...truth({ ...box, bottom: 154 }, v),
      svg("text", { x: box.toX(0), y: 14, "text-anchor": "middle" }, "too small to matter"),
      text(140, "typical experiment"), interval(box, "pw-typical", 154, typical),
      text(186, "drawn experiment"), ...(one ? [text(186, WORDS[one.verdict], true),
        interval(box, "pw-drawn-interval", 210, one),
        ...one.differences.map((d) => svg("circle", { class: "pw-seed", "data-value": d,
          cx: box.toX(Math.min(box.x1, Math.max(box.x0, d))), cy: 196, r: 4, fill: SEEN,
          stroke: "var(--w-paper)" }))] : [text(186, "none yet", true)]));
    pictures.mean.node.setAttribute("width", width);
    pictures.mean.node.setAttribute("height", 270);
  };

  // Fills of the verdicts for SVG, which has stripes as a pattern.
  const stripes = `pw-${Math.random().toString(36).slice(2, 8)}`;
  const pattern = (id) => svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)" }, svg("rect", { width: 3, height: 6, fill: SEEN }),
    svg("rect", { x: 3, width: 3, height: 6, fill: WITHIN }));
  const fill = (colour, id) => (colour === BOTH ? `url(#${id})` : colour);

  const drawBar = (now, width) => {
    let x = 34;
    pictures.bar.layer.replaceChildren(pattern(`${stripes}-bar`), ...VERDICTS.map(([key, , colour]) => {
      const wide = now[key] * (width - 46);
      x += wide;
      return svg("rect", { class: "pw-share", "data-verdict": key, "data-share": now[key], x: x - wide, y: 2,
        width: wide, height: 24, fill: fill(colour, `${stripes}-bar`), stroke: "var(--w-paper)",
        "stroke-width": wide > 3 ? 1.5 : 0 });
    }));
    pictures.bar.node.setAttribute("width", width);
    pictures.bar.node.setAttribute("height", 30);
  };

  // The name of a verdict on the left half of its layer, [x, low, high], where that is highest, if there is room.
  const name = ({ toX, toY, left }, words, layer) => {
    const wide = 3.8 * words.length; // half, pixels
    const spots = layer.filter(([x]) => toX(x) > left + wide && toX(x) < toX(0) - wide - 4);
    if (!spots.length) return [];
    const height = ([, low, high]) => toY(low) - toY(high);
    const best = spots.reduce((most, spot) => (height(spot) > height(most) ? spot : most));
    const [middle, y] = [toX(best[0]), (toY(best[1]) + toY(best[2])) / 2];
    const under = layer.filter(([x]) => Math.abs(toX(x) - middle) < wide);
    if (under.some(([, low, high]) => toY(low) < y + 8 || toY(high) > y - 8)) return [];
    return [svg("text", { class: "pw-name", x: middle, y: y + 4, "text-anchor": "middle" }, words)];
  };

  const drawPower = (v, chances, detectable, width) => {
    const place = frame(v, width, 1, 30, 200);
    const half = Array.from({ length: CURVE + 1 }, (_, i) => [(i * place.x1) / CURVE, chances((i * place.x1) / CURVE)]);
    const rows = [...half.slice(1).reverse().map(([x, p]) => [-x, p]), ...half];
    let low = rows.map(() => 0);
    const names = [];
    const layers = VERDICTS.map(([key, words, colour]) => {
      const high = low.map((y, i) => y + rows[i][1][key]);
      names.push(...name(place, words, rows.slice(0, CURVE + 1).map(([x], i) => [x, low[i], high[i]])));
      const edge = rows.map(([x], i) => [x, high[i]]);
      const area = place.curve([[...edge, ...rows.map(([x], i) => [x, low[i]]).reverse()]], {
        class: `pw-layer-${key}`, fill: fill(colour, `${stripes}-power`), "fill-opacity": 0.5 });
      low = high;
      return area;
    });
    const line = place.toY(0.8);
    const { values, digits } = kit.ticks(place.x0, place.x1, width < 420 ? 4 : 6);
    const marks = detectable <= place.x1 ? [-1, 1].map((side) => svg("circle", { class: side > 0 ? "pw-detectable" : "",
      "data-value": detectable, cx: place.toX(side * detectable), cy: line, r: 5.5, fill: "var(--w-paper)",
      stroke: "var(--w-ink)", "stroke-width": 2.5 })) : [];
    pictures.power.layer.replaceChildren(pattern(`${stripes}-power`),
      place.axes(values, [0, 0.5, 0.8, 1], "true difference (points)", "probability of each verdict (%)",
        (x) => number(x, digits), (y) => number(100 * y, 0)),
      ...layers,
      svg("line", { x1: place.left, x2: place.right, y1: line, y2: line, stroke: "var(--w-ink)",
        "stroke-dasharray": "5 4" }),
      place.curve([rows.map(([x, { different, small }]) => [x, different + small])], { class: "pw-power",
        stroke: "var(--w-ink)", "stroke-width": 2.5, "stroke-linejoin": "round" }),
      ...names, ...truth(place, v), ...marks);
    pictures.power.node.setAttribute("width", width);
    pictures.power.node.setAttribute("height", 246);
  };

  const draw = (width) => {
    const v = read();
    sliders.forEach((control) => control.update());
    buttons.forEach((button, i) => button.setAttribute("aria-pressed",
      String(Object.entries(offered[i].values).every(([name, value]) => Math.abs(v[name] - value) < 1e-9))));
    const { wide, narrow, shift } = verdicts.student(v.seeds);
    const error = v.sd / Math.sqrt(v.seeds);
    const chances = verdicts.probabilities(v);
    const now = chances(v.effect);
    const differences = v.draw ? verdicts.normals(v.draw, v.seeds).map((z) => v.effect + v.sd * z) : [];
    const one = v.draw ? { differences, ...verdicts.judged(differences, v.bound) } : null;
    drawMean(v, { mean: v.effect, wide: wide * error, narrow: narrow * error }, one, width);
    drawBar(now, width);
    drawPower(v, chances, shift * error, width);

    const seen = now.different + now.small;
    const text = Object.fromEntries(VERDICTS.map(([key]) => [key, percent(now[key])]));
    shares.show(text);
    table.show({ power: percent(seen), detectable: `${points(shift * error)} points`,
      half: `\u00b1${points(wide * error)}` });
    const what = v.effect ? `a true difference of ${points(v.effect)} points is seen` :
      "a difference is seen where there is none";
    answer.textContent = `With ${v.seeds} seeds, ${what} in ${number(100 * seen, 0)} of 100 experiments.`;
    drawn.textContent = one ? `Experiment ${v.draw}: ${signed(one.mean)} [${signed(one.mean - one.wide)}, ` +
      `${signed(one.mean + one.wide)}] points, ${WORDS[one.verdict]}.` : "";
    const likely = VERDICTS.map(([key, words]) => `${words} ${text[key]}`).join(", ");
    const sentence = `${answer.textContent} ${likely}. ${drawn.textContent}`.trim();
    pictures.mean.describe(sentence);
    pictures.bar.describe(`${likely}.`);
    pictures.power.describe(`A true difference of ${points(shift * error)} points is seen with 80 % power; at ` +
      `${points(v.effect)} points the 95 % interval excludes zero with probability ${percent(seen)}.`);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, area, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
