// Power and verdicts of an experiment over seeds, as computed by cdmllab.book.widgets.power in Python.
const verdicts = (() => {
  const NODES = 64; // for each part of the integral over the observed spread
  const NONE = { different: 0, small: 0, equivalent: 0, inconclusive: 0 };

  // The upper tail of the normal distribution: a continued fraction far out, and the series of Marsaglia (2004,
  // doi 10.18637/jss.v011.i04) elsewhere.
  const tail = (x) => {
    if (x < 0) return 1 - tail(-x);
    const height = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
    if (x > 5) return height / (x + 1 / (x + 2 / (x + 3 / (x + 4 / x))));
    let [sum, term, before] = [x, x, 0];
    for (let i = 3; sum !== before; i += 2) {
      before = sum;
      term *= (x * x) / i;
      sum += term;
    }
    return 0.5 - sum * height;
  };

  // P(|T| < t) of Student's t with whole degrees of freedom, Abramowitz and Stegun 26.7.3 and 26.7.4.
  const inside = (t, degrees) => {
    const angle = Math.atan(t / Math.sqrt(degrees));
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    const odd = degrees % 2;
    let [sum, term] = [0, odd ? cos : 1];
    for (let k = odd + 2; k <= degrees; k += 2) {
      sum += term;
      term *= (cos * cos * (k - 1)) / k;
    }
    return odd ? (2 / Math.PI) * (angle + sin * sum) : sin * sum;
  };

  // Where a rising function reaches a value.
  const solve = (rising, value, low, high) => {
    let [a, b] = [low, high];
    for (let step = 0; step < 70; step += 1) {
      const middle = (a + b) / 2;
      if (rising(middle) < value) a = middle; else b = middle;
    }
    return (a + b) / 2;
  };

  // The logarithm of Gamma(degrees / 2).
  const logGamma = (degrees) => {
    let sum = degrees % 2 ? Math.log(Math.PI) / 2 : 0;
    for (let k = degrees % 2 ? 1 : 2; k < degrees; k += 2) sum += Math.log(k / 2);
    return sum;
  };

  // The density of observed spread / true spread.
  const density = (degrees) => {
    const front = Math.LN2 + (degrees / 2) * Math.log(degrees / 2) - logGamma(degrees);
    return (u) => Math.exp(front + (degrees - 1) * Math.log(u) - (degrees * u * u) / 2); // u > 0
  };

  // Nodes in (-1, 1) and weights of the Gauss-Legendre rule.
  const RULE = Array.from({ length: NODES }, (_, i) => {
    let [x, slope] = [Math.cos((Math.PI * (i + 0.75)) / (NODES + 0.5)), 0];
    for (let newton = 0; newton < 6; newton += 1) {
      let [before, value] = [1, x];
      for (let k = 2; k <= NODES; k += 1) [before, value] = [value, ((2 * k - 1) * x * value - (k - 1) * before) / k];
      slope = (NODES * (x * value - before)) / (x * x - 1);
      x -= value / slope;
    }
    return [x, 2 / ((1 - x * x) * slope * slope)];
  });

  // The same between each two neighbouring ends, the weights times the density.
  const nodes = (ends, weigh) => ends.slice(1).flatMap((high, part) => {
    const half = (high - ends[part]) / 2;
    return half > 0 ? RULE.map(([x, weight]) => {
      const u = ends[part] + half * (1 + x);
      return [u, weight * half * weigh(u)];
    }) : [];
  });

  // All that depends on the number of seeds alone: the quantiles of Student's t, the range of the observed spread, and
  // the true difference with 80 % power, in standard errors.
  const known = {};
  const student = (seeds) => {
    if (known[seeds]) return known[seeds];
    const degrees = seeds - 1;
    const quantile = (p) => solve((t) => inside(t, degrees), 2 * p - 1, 0, 20);
    const [wide, narrow] = [quantile(0.975), quantile(0.95)];
    const reach = 7 / Math.sqrt(2 * degrees);
    const [low, high] = [Math.max(0, 1 - reach), 1 + reach];
    const weigh = density(degrees);
    const grid = nodes([low, (low + high) / 2, high], weigh);
    const seen = (shift) => grid.reduce((sum, [u, weight]) => sum + weight * tail(wide * u - shift), 0);
    known[seeds] = { degrees, wide, narrow, low, high, weigh, shift: solve(seen, 0.8, 0, 100 * wide) };
    return known[seeds];
  };

  // A function that returns the probabilities of the verdicts for a true difference.
  const probabilities = ({ sd, seeds, bound }) => {
    const { wide, narrow, low, high, weigh } = student(seeds);
    const e = sd / Math.sqrt(seeds);
    const clip = (u) => Math.min(high, Math.max(low, u));
    const grid = nodes([low, clip(bound / ((wide + narrow) * e)), clip(bound / (narrow * e)), high], weigh)
      .map(([u, weight]) => ({ weight, seen: wide * u, matters: Math.max(bound / e - narrow * u, 0) }));
    return (effect) => {
      const mu = effect / e;
      const beyond = (limit) => tail(limit - mu) + tail(limit + mu);
      const sum = { ...NONE };
      grid.forEach(({ weight, seen, matters }) => {
        const [a, b] = [beyond(seen), beyond(matters)];
        sum.different += weight * Math.min(a, b);
        sum.small += weight * Math.max(a - b, 0);
        sum.equivalent += weight * (1 - Math.max(a, b));
        sum.inconclusive += weight * Math.max(b - a, 0);
      });
      return sum;
    };
  };

  // Normal random numbers that depend on a seed only: mulberry32 and the Box-Muller transform.
  const normals = (seed, n) => {
    let state = Math.imul(seed, 0x9e3779b9);
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
    };
    return Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
  };

  // Mean, half widths of both intervals, and the verdict of an experiment.
  const judged = (differences, bound) => {
    const n = differences.length;
    const { wide, narrow } = student(n);
    const mean = differences.reduce((sum, d) => sum + d, 0) / n;
    const error = Math.sqrt(differences.reduce((sum, d) => sum + (d - mean) ** 2, 0) / (n - 1) / n);
    const seen = Math.abs(mean) > wide * error;
    const within = Math.abs(mean) + narrow * error < bound;
    const verdict = seen ? (within ? "small" : "different") : (within ? "equivalent" : "inconclusive");
    return { mean, wide: wide * error, narrow: narrow * error, verdict };
  };

  return { student, probabilities, normals, judged };
})();
