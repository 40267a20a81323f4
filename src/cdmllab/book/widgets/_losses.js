// Every margin softmax of the package that has a target curve: its name, its values, and its target at an angle.
// `v` are the values of the widget, `n` is the angle to the negative centres; angles are in radians.
const losses = (() => {
  const { cos, PI } = Math;
  const { addAngle, combined, lowered } = margins;
  const angular = (theta, v) => addAngle(theta, v.m2, v.beyond_pi);
  const LINEAR = { m2: 0.5, beyond_pi: "linear" };

  // The cosine of a negative after the loss's change; a negative is hard if it exceeds the margined target.
  const raised = (value, hard) => ({ value, branch: hard ? "hard" : "not hard" });
  const level = (theta, m) => cos(theta + m);

  const npcHard = (theta, n) => cos(n) > level(theta, 0.5);
  const cdmlMargin = (theta, v, n) => {
    const e = margins.easiness(v.easiness, theta, n);
    return { m: v.m2 * (1 + margins.change(v, e)), branch: v.shape === "step" ? Math.sign(e) : "linear" };
  };

  const TABLE = {
    normface: { label: "NormFace", values: {}, formula: "cos \u03b8",
      target: (theta) => addAngle(theta, 0, "none") },
    sphereface: { label: "SphereFace", values: { m1: 4, softening: 5 },
      formula: "(\u03bb cos \u03b8 + \u03c8(m\u2081 \u03b8)) / (1 + \u03bb), with \u03c8 the monotonic cosine",
      target: (theta, v) => margins.sphereface(theta, v.m1, v.softening) },
    cosface: { label: "CosFace", values: { m3: 0.35 }, formula: "cos \u03b8 \u2212 m\u2083",
      target: (theta, v) => lowered(TABLE.normface.target(theta), v.m3) },
    arcface: { label: "ArcFace", values: LINEAR, formula: "cos(\u03b8 + m\u2082)", target: angular },
    combined: { label: "Combined", values: { m1: 1, m2: 0.3, m3: 0.2, beyond_pi: "linear" },
      formula: "cos(m\u2081 \u03b8 + m\u2082) \u2212 m\u2083",
      target: (theta, v) => combined(theta, v.m1, v.m2, v.m3, v.beyond_pi) },
    liarcface: { label: "Li-ArcFace", values: { m2: 0.45 }, formula: "1 \u2212 2 (\u03b8 + m\u2082) / \u03c0",
      target: (theta, v) => ({ psi: 1 - (2 * (theta + v.m2)) / PI, slope: -2 / PI, branch: "" }),
      negative: (theta, v, n) => raised(1 - (2 * n) / PI, false), margin: (v) => v.m2 },
    subcenter_arcface: { label: "Sub-center ArcFace", values: LINEAR,
      formula: "cos(\u03b8 + m\u2082), \u03b8 to the nearest of several centres", target: angular },
    adacos: { label: "AdaCos", values: {}, formula: "cos \u03b8, with AdaCos's initial scale s",
      target: (theta) => TABLE.normface.target(theta),
      scale: (v) => Math.SQRT2 * Math.log(Math.max(v.identities - 1, 2)) },
    curricularface: { label: "CurricularFace", values: { ...LINEAR, boost: 0 }, formula: "cos(\u03b8 + m\u2082)",
      note: "A negative above the margined target becomes cos \u03b8\u2c7c (t + cos \u03b8\u2c7c); t grows during training.",
      target: angular,
      negative: (theta, v, n) => (cos(n) > level(theta, v.m2)
        ? raised(cos(n) * (v.boost + cos(n)), true) : raised(cos(n), false)) },
    mv_softmax: { label: "MV-Softmax", values: { m2: 0, m3: 0.35, boost: 0.2, beyond_pi: "linear" },
      formula: "cos(\u03b8 + m\u2082) \u2212 m\u2083",
      note: "A negative above the margined target becomes (t + 1) cos \u03b8\u2c7c + t.",
      target: (theta, v) => lowered(angular(theta, v), v.m3),
      negative: (theta, v, n) => (cos(n) > level(theta, v.m2) - v.m3
        ? raised((v.boost + 1) * cos(n) + v.boost, true) : raised(cos(n), false)) },
    npcface: { label: "NPCFace", values: { m2: 0.4, beyond_pi: "linear" },
      formula: "cos(\u03b8 + m), m = m\u2082 + 0.2 \u00d7 mean hard negative",
      note: "A negative above cos(\u03b8 + 0.5) is hard and becomes 1.1 cos \u03b8\u2c7c + 0.2.",
      target: (theta, v, n) => {
        const hard = npcHard(theta, n);
        const margined = addAngle(theta, v.m2 + Math.min(0.2, v.m2) * (hard ? cos(n) : 0), v.beyond_pi);
        return { ...margined, branch: `${margined.branch} ${hard}` };
      },
      negative: (theta, v, n) => (npcHard(theta, n) ? raised(1.1 * cos(n) + 0.2, true) : raised(cos(n), false)) },
    magface: { label: "MagFace", values: { beyond_pi: "linear" },
      formula: "cos(\u03b8 + m(a)), m from 0.45 at length 10 to 0.8 at 110",
      note: "The loss includes 35 (1/a + a/110\u00b2), which rewards longer embeddings.",
      target: (theta, v) => addAngle(theta, 0.45 + 0.35 * ((margins.clip(v.length, 10, 110) - 10) / 100), v.beyond_pi),
      extra: (v) => { const a = margins.clip(v.length, 10, 110); return 35 * (1 / a + a / 110 ** 2); } },
    adaface: { label: "AdaFace", values: { m2: 0.4, beyond_pi: "clip" },
      formula: "cos(\u03b8 \u2212 m\u2082 z) \u2212 m\u2082 (1 + z)",
      target: (theta, v) => lowered(addAngle(theta, -v.m2 * v.quality, v.beyond_pi), v.m2 * (1 + v.quality)) },
    elasticface: { label: "ElasticFace", values: LINEAR,
      formula: "cos(\u03b8 + m), m drawn from N(m\u2082, 0.05\u00b2)",
      target: (theta, v) => addAngle(theta, v.m2 + 0.05 * v.draw, v.beyond_pi) },
    kappaface: { label: "KappaFace", values: { m2: 0.8, beyond_pi: "linear" }, formula: "cos(\u03b8 + m\u2082 w)",
      target: (theta, v) => addAngle(theta, v.m2 * v.weight, v.beyond_pi) },
    cdml: { label: "CDML", values: { m2: 0.49, alpha: 0.2, easiness: "similarity", shape: "step", favour: "easy",
      beyond_pi: "linear" }, formula: "cos(\u03b8 + m), m = m\u2082 (1 \u00b1 \u03b1 e)",
      target: (theta, v, n) => {
        const { m, branch } = cdmlMargin(theta, v, n);
        const margined = addAngle(theta, m, v.beyond_pi);
        return { ...margined, branch: `${margined.branch} ${branch}` };
      } },
  };

  // Losses without a formula in this file: their target is sampled in Python at every half degree.
  const learn = (sampled) => sampled.forEach(({ name, label, formula, psi, slope }) => {
    const [values, slopes] = [kit.floats(psi), kit.floats(slope)];
    const read = (numbers, theta) => {
      const x = Math.min((theta * 360) / PI, 359.999999);
      const i = Math.floor(x);
      return numbers[i] + (x - i) * (numbers[i + 1] - numbers[i]);
    };
    TABLE[name] = { label, values: {}, formula, sampled: true, note: "Drawn with its default options.",
      target: (theta) => ({ psi: read(values, theta), slope: read(slopes, theta), branch: "" }) };
  });

  const groups = () => [...GROUPS, ...[["further losses", Object.keys(TABLE).filter((name) => TABLE[name].sampled)
    .map((name) => [name, TABLE[name].label])]].filter(([, names]) => names.length)];

  const GROUPS = [
    ["the same margin for all", ["normface", "sphereface", "cosface", "arcface", "combined", "liarcface"]],
    ["extensions", ["subcenter_arcface", "adacos", "curricularface", "mv_softmax", "npcface"]],
    ["a margin for each sample", ["magface", "adaface", "elasticface", "kappaface", "cdml"]],
  ].map(([title, names]) => [title, names.map((name) => [name, TABLE[name].label])]);

  // All values at one angle: the target, the scale, the loss, and its derivative with respect to the angle, both exact
  // and with d(target)/d(cosine) = 1.
  const at = (name, theta, v) => {
    const entry = TABLE[name];
    const n = (v.negative_deg * PI) / 180;
    const { psi, slope, branch } = entry.target(theta, v, n);
    const s = entry.scale ? entry.scale(v) : v.s;
    const other = entry.negative ? entry.negative(theta, v, n) : raised(cos(n), false);
    const rest = s * other.value + Math.log(v.identities - 1);
    const weight = s * margins.missed(s * psi, rest);
    return {
      psi, s, logit: s * psi, loss: margins.loss(s * psi, rest) + (entry.extra ? entry.extra(v) : 0),
      gradient: -weight * slope, straight: weight * Math.sin(theta), branch: `${branch} ${other.branch}`,
      effective: entry.margin ? entry.margin(v) : margins.effective(theta, psi),
    };
  };

  // Values at half-degree steps, split where another piece of the loss begins, because a curve may jump there: lists of
  // [degrees, values].
  const pieces = (name, v) => {
    const tag = (deg) => at(name, (deg * PI) / 180, v).branch;
    const bounds = [0, ...margins.edges(tag, 0, 180, 360).flat(), 180];
    const parts = [];
    for (let i = 0; i < bounds.length; i += 2) {
      const [a, b] = [bounds[i], bounds[i + 1]];
      const inside = Array.from({ length: 361 }, (_, k) => k / 2).filter((deg) => deg > a && deg < b);
      parts.push([a, ...inside, b].map((deg) => [deg, at(name, (deg * PI) / 180, v)]));
    }
    return parts;
  };

  const colour = (name) => kit.colour({ subcenter_arcface: "arcface", adacos: "normface",
    curricularface: "arcface" }[name] ?? name);
  return { TABLE, groups, learn, at, pieces, colour };
})();
