const STYLE = `
.cdw .th-plots { display: grid; gap: 10px 24px; grid-template-columns: minmax(0, 1fr); }
.cdw .th-plots svg { cursor: ew-resize; }
@container (min-width: 620px) { .cdw .th-plots { grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); } }`;
const NAMES = ["threshold", "axis"];
const BINS = 50;
const [GENUINE, IMPOSTOR] = ["var(--cdml-cosface, #2a9d7f)", "#b5485d"];

// How many of the ascending scores are below a threshold, by binary search.
function below(rising, threshold) {
  let [from, to] = [0, rising.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (rising[middle] < threshold) from = middle + 1; else to = middle;
  }
  return from;
}

// The error rates at a threshold, as computed by Threshold.rates in Python.
function rates({ genuine, impostor }, threshold) {
  const refused = below(genuine, threshold);
  const stays = below(impostor, threshold);
  const [g, i] = [genuine.length, impostor.length];
  return { far: (i - stays) / i, frr: refused / g, tar: (g - refused) / g, accuracy: (g - refused + stays) / (g + i),
    accepted: i - stays, refused };
}

// The corners of the ROC's staircase, as in cdmllab.metrics.ranked.corners.
function corners({ genuine, impostor }) {
  const points = [[0, 0]];
  for (let k = genuine.length - 1; k >= 0; k -= 1) {
    if (k && genuine[k - 1] === genuine[k]) continue;
    points.push([(impostor.length - below(impostor, genuine[k])) / impostor.length,
      (genuine.length - k) / genuine.length]);
  }
  points.push([1, 1]);
  return points;
}

function histogram(scores, low, high) {
  const counts = new Array(BINS).fill(0);
  scores.forEach((score) => { counts[Math.min(BINS - 1, Math.max(0,
    Math.floor(((score - low) / (high - low)) * BINS)))] += 1; });
  return counts.map((count) => count / scores.length);
}

function render({ model, el }) {
  const { html, svg, number } = kit;
  const scores = { genuine: kit.floats(model.get("genuine")), impostor: kit.floats(model.get("impostor")) };
  const [low, high] = [model.get("low"), model.get("high")];
  const roc = corners(scores);
  const shares = { genuine: histogram(scores.genuine, low, high), impostor: histogram(scores.impostor, low, high) };
  const smallest = 1 / scores.impostor.length;

  const root = kit.root(el, "Threshold", STYLE);
  const pictures = [kit.picture("Histograms of genuine and impostor scores with a threshold"),
    kit.picture("ROC curve with the point of the threshold")];
  const voice = kit.announcer();
  const step = 10 ** Math.floor(Math.log10((high - low) / 400));
  const digits = Math.max(0, -Math.round(Math.log10(step)));
  const threshold = kit.slider(model, { name: "threshold", symbol: "threshold", hint: "lowest accepted score",
    min: low, max: high, step, digits });
  const axis = kit.choice(model, "axis", "FAR axis of the ROC", [["linear", "linear"], ["log", "logarithmic"]]);
  const table = kit.readout([["threshold", "threshold"], ["far", "FAR (impostors accepted)"],
    ["frr", "FRR (genuine rejected)"],
    ["tar", "TAR (genuine accepted)"], ["accuracy", "accuracy"]]);
  const row = kit.under(threshold);
  const areas = pictures.map(({ node }) => html("div", {}, node));
  areas[0].append(row.node);
  const plots = html("div", { class: "th-plots" }, ...areas);
  root.append(
    kit.legend([[GENUINE, `genuine pairs (${scores.genuine.length.toLocaleString("en")})`],
      [IMPOSTOR, `impostor pairs (${scores.impostor.length.toLocaleString("en")})`],
      [`linear-gradient(to right, ${GENUINE} 50%, ${IMPOSTOR} 50%)`, "errors at this threshold", "area"]]),
    plots, axis.node, table.node, voice.node);

  let box = null;
  kit.draggable(pictures[0].node, (px) => {
    const value = Math.round(box.fromX(px) / step) * step;
    kit.commit(model, { threshold: Number(Math.min(high, Math.max(low, value)).toFixed(digits)) });
  });

  // The corners of a histogram's steps from one score to another, split where it has no pairs.
  const steps = (kind, from = low, to = high) => {
    const pieces = [];
    let before = 0;
    shares[kind].forEach((share, k) => {
      const [a, b] = [k, k + 1].map((i) => Math.min(to, Math.max(from, low + (i * (high - low)) / BINS)));
      if (share && a < b) {
        if (!before) pieces.push([[a, 0]]);
        else pieces.at(-1).pop();
        pieces.at(-1).push([a, share], [b, share], [b, 0]);
      }
      before = a < b ? share : 0;
    });
    return pieces;
  };
  // Pairs on the wrong side of the threshold are filled exactly up to its line; curves above them have a paper-coloured
  // rim.
  const histograms = (t) => [
    ["genuine", GENUINE, [low, t], [t, high]], ["impostor", IMPOSTOR, [t, high], [low, t]],
  ].map(([kind, colour, wrong, right]) => [
    box.curve(steps(kind, ...wrong), { class: `th-wrong-${kind}`, fill: colour }),
    box.curve(steps(kind, ...right), { fill: colour, "fill-opacity": 0.12, stroke: "var(--w-paper)",
      "stroke-width": 5 }),
    box.curve(steps(kind), { class: `th-${kind}`, stroke: colour, "stroke-width": 2 })]);

  const drawHistograms = (t, width) => {
    const top = Math.max(...shares.genuine, ...shares.impostor);
    box = kit.frame({ x0: low, x1: high, y0: 0, y1: top * 1.08 }, { left: 12, right: width - 12, top: 20,
      bottom: 210 });
    const x = box.toX(t);
    const { values, digits: decimals } = kit.ticks(low, high, 5);
    const drawn = histograms(t);
    pictures[0].layer.replaceChildren(
      box.axes(values, [], "score", "share of pairs", (v) => number(v, decimals)),
      ...[0, 1, 2].flatMap((layer) => drawn.map((layers) => layers[layer])),
      svg("line", { x1: x, x2: x, y1: box.top, y2: box.bottom, stroke: "var(--w-ink)", "stroke-width": 2 }),
      svg("circle", { class: "th-handle", cx: x, cy: box.top, r: 8, fill: "var(--w-ink)", stroke: "var(--w-paper)",
        "stroke-width": 2 }));
    pictures[0].node.setAttribute("width", width);
    pictures[0].node.setAttribute("height", 258);
    row.fit(box, width);
  };

  const drawRoc = (now, width) => {
    const log = model.get("axis") === "log";
    const x = (far) => (log ? Math.log10(Math.max(far, smallest / 2)) : far);
    const x0 = log ? Math.log10(smallest / 2) : 0;
    const frame = kit.frame({ x0, x1: log ? 0 : 1, y0: 0, y1: 1 }, { left: 40, right: width - 14, top: 20,
      bottom: 210 });
    const xTicks = log ? Array.from({ length: Math.floor(-x0) + 1 }, (_, k) => -k).reverse() : [0, 0.25, 0.5, 0.75, 1];
    // A logarithmic curve ends at one impostor pair: smaller FARs cannot be resolved.
    const from = log ? roc.findLastIndex(([far]) => far <= smallest) : 0;
    const visible = log ? [[smallest, roc[from][1]], ...roc.slice(from + 1)] : roc;
    const stairs = visible.flatMap(([far, tar], k) => (k ? [[x(far), visible[k - 1][1]], [x(far), tar]] : [[x(far), tar]]));
    pictures[1].layer.replaceChildren(
      frame.axes(xTicks, [0, 0.5, 1], "FAR", "TAR", (v) => (log ? String(10 ** v) : String(v)), (v) => number(v, 1)),
      frame.curve([stairs], { class: "th-roc", stroke: kit.colour("cdml"), "stroke-width": 2.5,
        "stroke-linejoin": "round" }),
      svg("circle", { class: "th-point", "data-far": now.far, "data-tar": now.tar, cx: frame.toX(x(now.far)),
        cy: frame.toY(now.tar), r: 8,
        fill: kit.colour("cdml"), stroke: "var(--w-paper)", "stroke-width": 2 }));
    pictures[1].node.setAttribute("width", width);
    pictures[1].node.setAttribute("height", 258);
  };

  const draw = () => {
    const t = model.get("threshold");
    [threshold, axis].forEach((control) => control.update());
    const now = rates(scores, t);
    drawHistograms(t, areas[0].clientWidth);
    drawRoc(now, areas[1].clientWidth);
    const percent = (share) => `${number(100 * share, 2)} %`;
    const text = { threshold: number(t, digits), far: percent(now.far), frr: percent(now.frr), tar: percent(now.tar),
      accuracy: percent(now.accuracy) };
    table.show(text);
    const sentence = `At the threshold ${text.threshold}, ${now.accepted} impostor pairs are accepted (FAR ` +
      `${text.far}) and ${now.refused} genuine pairs are rejected (FRR ${text.frr}); the accuracy is ${text.accuracy}.`;
    pictures[0].describe(sentence);
    pictures[1].describe(`FAR ${text.far}, TAR ${text.tar}.`);
    voice.say(sentence);
  };
  const stop = kit.redraw(model, NAMES, plots, draw);
  return () => { stop(); voice.stop(); };
}

export default { render };
