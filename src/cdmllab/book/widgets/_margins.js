// The margins of the package, angle by angle: cdmllab.margins and cdmllab.easiness in radians and plain numbers.
// A target is { psi, slope, branch }: its value, its derivative with respect to the angle, and the piece of its
// definition that applies, so that a curve can be split where it jumps.
const margins = (() => {
  const { PI, acos, ceil, cos, exp, floor, log, log1p, max, min, sign, sin } = Math;
  const clip = (x, low, high) => min(high, max(low, x));

  // cos(theta + m), and its replacement where theta + m is outside [0, pi]: cdmllab.margins.angular.add_angle.
  const addAngle = (theta, m, beyondPi) => {
    const total = theta + m;
    if (beyondPi === "none") return { psi: cos(total), slope: -sin(total), branch: "in" };
    if (m < 0 && total < 0) return { psi: 1, slope: 0, branch: "before" };
    if (m <= 0 || total <= PI) return { psi: cos(total), slope: -sin(total), branch: "in" };
    if (beyondPi === "clip") return { psi: -1, slope: 0, branch: "past" };
    return { psi: cos(theta) - m * sin(m), slope: -sin(theta), branch: "past" };
  };

  // cos(m1 theta + m2) - m3: cdmllab.margins.angular.combined.
  const combined = (theta, m1, m2, m3, beyondPi) => {
    if (m1 === 1) return lowered(addAngle(theta, m2, beyondPi), m3);
    const total = m1 * theta + m2;
    if (beyondPi === "none" || total <= PI) return { psi: cos(total) - m3, slope: -m1 * sin(total), branch: "in" };
    if (beyondPi === "clip") return { psi: -1 - m3, slope: 0, branch: "past" };
    const push = PI - (PI - m2) / m1;
    return { psi: cos(theta) - push * sin(push) - m3, slope: -sin(theta), branch: "past" };
  };
  const lowered = (target, by) => ({ ...target, psi: target.psi - by });

  // (lambda cos theta + (-1)^k cos(m theta) - 2 k) / (1 + lambda): cdmllab.margins.sphereface.
  const sphereface = (theta, m, softening) => {
    const k = min(floor((m * theta) / PI), ceil(m) - 1);
    const turn = k % 2 ? -1 : 1;
    return {
      psi: (softening * cos(theta) + turn * cos(m * theta) - 2 * k) / (1 + softening),
      slope: -(softening * sin(theta) + turn * m * sin(m * theta)) / (1 + softening),
      branch: `k${k}`,
    };
  };

  // The signed easiness of a sample: cdmllab.easiness, recentred as CDML does by default.
  const easiness = (kind, theta, negative) => {
    if (kind === "gap") return clip((cos(theta) - cos(negative)) / 2, -1, 1);
    if (kind === "angle_gap") return clip((negative - theta - PI / 3) / (PI / 6), -1, 1);
    const above = cos(theta) - 0.5;
    return above >= 0 ? above / 0.5 : above / 1.5;
  };
  // CDML's change of the margin, relative to its base: cdmllab.margins.cdml.
  const change = ({ alpha, shape, favour }, e) => (
    alpha * (shape === "step" ? sign(e) : e) * (favour === "hard" ? -1 : 1));
  const scheduled = (schedule, progress) => (
    schedule === "linear" ? progress : schedule === "cosine" ? 0.5 * (1 - cos(PI * progress)) : 1);

  // Cross-entropy of a target logit against negatives whose exponentials sum to e^rest; and the probability that the
  // target misses, which is minus the derivative of the loss with respect to the target logit.
  const loss = (logit, rest) => max(0, rest - logit) + log1p(exp(-Math.abs(rest - logit)));
  const missed = (logit, rest) => 1 / (1 + exp(logit - rest));
  const logSum = (...values) => {
    const top = max(...values);
    return top + log(values.reduce((sum, value) => sum + exp(value - top), 0));
  };

  // The effective margin: the additional angle at which the plain cosine would be as low. A cosine is never below -1.
  const effective = (theta, psi) => (psi < -1 ? null : acos(min(psi, 1)) - theta);

  // The intervals in which a function of the angle changes its tag, narrowed by bisection.
  const edges = (tag, from, to, steps) => {
    const intervals = [];
    for (let i = 0; i < steps; i += 1) {
      let [a, b] = [from + ((to - from) * i) / steps, from + ((to - from) * (i + 1)) / steps];
      const first = tag(a);
      if (tag(b) === first) continue;
      for (let turn = 0; turn < 40; turn += 1) {
        const middle = (a + b) / 2;
        if (tag(middle) === first) a = middle; else b = middle;
      }
      intervals.push([a, b]);
    }
    return intervals;
  };

  // The numbers of identities to choose from, as in cdmllab.book.widgets.target_logit.IDENTITIES, with their texts.
  const IDENTITIES = [2, 10, 100, 1000, 10000, 100000].map((n) => [n, n.toLocaleString("en")]);

  return { IDENTITIES, clip, addAngle, lowered, combined, sphereface, easiness, change, scheduled, loss,
    missed, logSum, effective, edges };
})();
