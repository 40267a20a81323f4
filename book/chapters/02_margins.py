# %% [markdown]
# # From softmax to margins
#
# :::{admonition} After this chapter you can
# :class: tip
# - walk from softmax to NormFace, CosFace, ArcFace and SphereFace in three steps;
# - read a target-logit curve and say what a margin costs at which angle;
# - write the decision boundary of each loss, and see where the margin stands;
# - name what happens to an angular margin beyond 180 degrees.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1. Nothing is trained here: the chapter runs in seconds on any machine.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of everything random; nothing here is
margin_rad = 0.5  # ArcFace's margin in the figures, radians
margin_cos = 0.35  # CosFace's margin in the figures, in cosine

# %% tags=["hide-input"]
import math

import torch
from myst_nb import glue

from cdmllab import margins, plots
from cdmllab.book import exercises, session
from cdmllab.book.widgets import DecisionBoundary, TargetLogit
from cdmllab.margins.angular import combined

lab = session.start(profile, seed)

# %% [markdown]
# ## Three steps
#
# Take the softmax loss of chapter 1,
#
# ```{math}
# :label: eq-softmax-2
# L = -\log \frac{e^{z_y}}{\sum_j e^{z_j}}, \qquad z_j = \mathbf w_j \cdot \mathbf x + b_j
#   = \lVert\mathbf w_j\rVert\,\lVert\mathbf x\rVert \cos\theta_j + b_j .
# ```
#
# **Step one: only angles.** At test time we compare directions, so in training we let nothing but
# directions count. Drop the bias, scale every class centre to length 1 and every embedding to
# length $s$:
#
# ```{math}
# :label: eq-normface
# z_j = s \cos\theta_j .
# ```
#
# This is **{term}`NormFace`** {cite}`wang2017normface`. The scale $s$ is needed because cosines end
# at 1: with $s = 1$ and 10,575 identities even a perfect sample, $\cos\theta_y = 1$ and all others
# at 0, has a probability of only $e / (e + 10574)$, and the loss can never get small.

# %% tags=["hide-input"]
identities = 10_575
scales = torch.tensor([1.0, 8.0, 16.0, 32.0, 64.0], dtype=torch.float64)
misses = (identities - 1) / (torch.exp(scales) + identities - 1)
rows = [[f"{s:g}", f"{p:.2g}"] for s, p in zip(scales, misses, strict=True)]
session.Table(["s", "1 - probability of a perfect sample"], rows)

# %% [markdown]
# **Step two: a handicap.** A sample is on the right side as soon as $\cos\theta_y > \cos\theta_j$
# for all other $j$, by however little. To be a good ruler for strangers, we want it right by a
# distance. So the right answer, and only that, is made to look worse than it is: $\cos\theta_y$ is
# replaced by some $\psi(\theta_y) \le \cos\theta_y$.
#
# ```{math}
# :label: eq-margin
# L = -\log \frac{e^{s\,\psi(\theta_y)}}{e^{s\,\psi(\theta_y)} + \sum_{j \ne y} e^{s\cos\theta_j}} .
# ```
#
# **Step three: choose $\psi$.** Here the losses part.
#
# | loss | $\psi(\theta)$ | the {term}`margin` is |
# |---|---|---|
# | NormFace {cite}`wang2017normface` | $\cos\theta$ | none |
# | {term}`SphereFace` {cite}`liu2017sphereface` | $\cos(m_1\theta)$, continued so that it keeps falling | a factor on the angle |
# | {term}`CosFace` {cite}`wang2018cosface` | $\cos\theta - m_3$ | taken from the cosine |
# | ArcFace {cite}`deng2019arcface` | $\cos(\theta + m_2)$ | added to the angle |
#
# ArcFace's authors wrote them as one formula, the **{term}`combined margin`**:
#
# ```{math}
# :label: eq-combined
# \psi(\theta) = \cos(m_1 \theta + m_2) - m_3 .
# ```
#
# In the package this is one function, `margins.angular.combined`. Setting two of the three margins
# to their neutral values ($m_1 = 1$, $m_2 = 0$, $m_3 = 0$) leaves one of the losses;
# {py:func}`margins.create <cdmllab.margins.create>` builds each by its name.
#
# ## What a margin costs at which angle

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: the cosine of the right class after the margin. Right: what each margin takes from the cosine. The jump of ArcFace on the far right is where the angle and its margin together pass 180 degrees; SphereFace is continued without one.", "name": "fig-target-logits"}, "image": {"alt": "Two panels of curves over the angle from 0 to 180 degrees for NormFace, SphereFace, CosFace and ArcFace"}}
family = {
    "normface": margins.create("normface"),
    "sphereface": margins.create(
        "sphereface", factor=1.35, anneal_from=0.0, anneal_to=0.0
    ),
    "cosface": margins.create("cosface", margin_cos=margin_cos),
    "arcface": margins.create("arcface", margin_rad=margin_rad),
}
fig, axes = plots.figure(2, width=7.6, height=3.2)
plots.target_logits(axes[0], family)
plots.margin_costs(axes[1], family)

# %% [markdown]
# Read {numref}`fig-target-logits` from the middle to the left: in many dimensions a fresh embedding
# stands at about 90 degrees to every centre, and it moves to the left as it learns.
#
# - **CosFace** takes the same from the cosine everywhere.
# - **ArcFace** takes most at $90° - m/2$, less near 0, and even at 0 it takes $1 - \cos m$.
# - **SphereFace** takes nothing at 0. Its margin is a share of the angle, so it grows with the
#   angle, while what it takes from the cosine rises, falls and rises once more: continued from
#   {glue:text}`sphereface_end:.0f` degrees on, its target still falls where the plain cosine levels
#   out.

# %% tags=["remove-input"]
theta = torch.linspace(0, math.pi / 2, 9001, dtype=torch.float64)
cost = torch.cos(theta) - combined(torch.cos(theta), m2=margin_rad)
session.tell(
    cost_0=cost[0].item(),
    cost_peak=cost.max().item(),
    peak_deg=math.degrees(theta[cost.argmax()]),
    push_0=math.sin(margin_rad),
)

# %% [markdown]
# In numbers, ArcFace takes {glue:text}`cost_0:.3f` from the cosine at 0 degrees and at most
# {glue:text}`cost_peak:.3f`, at {glue:text}`peak_deg:.0f` degrees.
#
# What a margin takes is one thing, how hard a sample is pushed another: that is the *slope* of the
# left panel. At 0 degrees the slopes of NormFace, SphereFace and CosFace are 0, and a sample that
# has arrived is left in peace. ArcFace's slope there is $-\sin m$, {glue:text}`push_0:.2f` in size:
# it goes on pushing to the very centre.
#
# ## Where the boundary moves
#
# With two classes the decision lies where both {term}`logits <logit>` are equal. Without a margin
# this is $\theta_1 = \theta_2$, the line half-way. During training the right class has to win *after*
# its handicap, so each class keeps a distance from the line, and a strip opens between them in
# which no training sample is satisfied:
#
# | loss | boundary for a sample of class 1 |
# |---|---|
# | NormFace | $\cos\theta_1 = \cos\theta_2$ |
# | SphereFace | $\cos(m_1\theta_1) = \cos\theta_2$ |
# | CosFace | $\cos\theta_1 - m_3 = \cos\theta_2$ |
# | ArcFace | $\cos(\theta_1 + m_2) = \cos\theta_2$ |

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Decision regions of two classes in the plane of their angles. In the coloured parts a training sample of class 1 (above) or class 2 (below) is satisfied; in the strip between them neither is. In this plane the strip of ArcFace has the same width everywhere.", "name": "fig-boundaries"}, "image": {"alt": "Four square panels; the empty strip along the diagonal is missing for NormFace, grows with the angle for SphereFace, bends for CosFace and is straight for ArcFace"}}
fig, axes = plots.figure(len(family), width=7.6, height=2.3)
for ax, (name, policy) in zip(axes, family.items(), strict=True):
    plots.decision_regions(ax, policy, name=name, first=ax is axes[0])

# %% [markdown]
# In angles, ArcFace's strip is straight: $\theta_2 - \theta_1 = m$ on one side and $-m$ on the
# other. Along the great circle through both centres it is $m$ wide, a distance on the sphere, which
# is what its authors mean by a *geodesic* margin. Away from that circle the strip is wider.
#
# On a circle the two classes can be moved. Drag the sample: the arc that begins at it is what the
# margin adds to its angle, and the sample is satisfied while both together are smaller than its
# angle to the other class centre. Push the centres together until a class is satisfied nowhere, not
# even at its own centre: that is how a margin can be too large. Softmax has no margin, but a longer
# class centre takes ground from the other one.

# %% tags=["hide-input"]
boundary = DecisionBoundary(m2=margin_rad, m3=margin_cos)
glue("widget-decision-boundary", boundary)

# %% [markdown]
# ## Beyond 180 degrees
#
# $\cos(\theta + m)$ falls only until $\theta + m = \pi$. Past that it rises, and a sample that gets *worse*
# would be rewarded. Four answers are in use. The first three act past $\theta = \pi - m$, and are
# values of the option `beyond_pi` here; the last gives the margin up much earlier:
#
# | answer | the target becomes | found in |
# |---|---|---|
# | `"linear"` | $\cos\theta - m \sin m$ | InsightFace's MXNet code from January 2018 on, and CurricularFace's code after it |
# | `"clip"` | $-1$, without a gradient | AdaFace's code |
# | `"none"` | the formula as it is | arcface_torch as it is today |
# | easy margin | $\cos\theta$ wherever $\cos\theta \le 0$: no margin from 90 degrees on | an option of the same MXNet code; the default of MagFace's code, and the rule of FaceX-Zoo's MV-Softmax and NPCFace |
#
# (The dates are those of the repositories' histories; the first two rows of MXNet code are `src/train_softmax.py` of
# {cite:t}`guo2021insightface`, commits d3008ff and f47a929.)
#
# ## Try it
#
# Choose a loss and move the sliders: every margin softmax of the package is there. The curve is its
# target logit $s\,\psi(\theta)$, for the combined margin {eq}`eq-combined` times $s$; the dashed
# one is $s\cos\theta$. Find CosFace's constant offset, the slope that ArcFace keeps at zero, and
# what the first three answers do on the far right. Then show the loss, and the gradient: the dotted
# curve is what a code computes that passes the gradient *straight through* the margin, the subject
# of chapter 3.

# %% tags=["hide-input"]
explorer = TargetLogit(m2=margin_rad)
glue("widget-target-logit", explorer)

# %% [markdown]
# The numbers are computed by the page itself; a test of this book compares them with the package's.
#
# ## Where we deviate
#
# SphereFace is drawn here with ArcFace's factor of 1.35 and without its schedule. The original has
# a factor of 4, softened by a weight $\lambda$ that falls during training, and keeps the length of
# the embedding as the scale. Its $\psi$ is $(-1)^k\cos(m_1\theta) - 2k$ with
# $k = \lfloor m_1\theta/\pi\rfloor$: $\cos(m_1\theta)$ up to $\theta = \pi/m_1$,
# {glue:text}`sphereface_end:.0f` degrees for $m_1 = 1.35$, and falling on from there.

# %% tags=["remove-input"]
session.tell(sphereface_end=math.degrees(math.pi / 1.35))

# %% [markdown]
# ## Exercises
#
# **2.1** At which angle, in degrees, do ArcFace with $m_2 = 0.5$ and CosFace with $m_3 = 0.35$ take
# the same from the cosine? There are two; either will do. The widget helps.

# %%
exercises.check("2.1", None)

# %% [markdown]
# <details><summary>Solution 2.1</summary>
#
# We look for $\cos\theta - \cos(\theta + 0.5)$ $= 0.35$. The left side is
# $2\sin(0.25)\sin(\theta + 0.25)$, so $\sin(\theta + 0.25)$ $= 0.35 / (2 \sin 0.25)$
# $\approx 0.7073$, which gives $\theta \approx 30.7$ and $120.7$ degrees. Between the two ArcFace
# is the stricter one.
#
# </details>
#
# **2.2** Write a function of the cosine $c$ and the margin $m$ that returns $\cos(\theta + m)$ *without*
# an arc cosine. (It is quicker. The infinite slope at $c = 1$ is in both forms; the package bends
# it to a finite one.) The checker looks at the values, and listens for a call of `acos`.

# %%
exercises.check("2.2", None)

# %% [markdown]
# <details><summary>Solution 2.2</summary>
#
# The addition theorem:
# `lambda c, m: c * math.cos(m) - (1 - c * c).clamp_min(0).sqrt() * math.sin(m)`. Its value is right
# everywhere; its slope at a cosine of exactly 1 or −1 is not finite, and
# {doc}`chapter 3 </executed/03_gradient>` sees to that.
#
# </details>
#
# **2.3** From which angle on, in degrees, does $\cos(\theta + 0.5)$ rise again?

# %%
exercises.check("2.3", None)

# %% [markdown]
# <details><summary>Solution 2.3</summary>
#
# From $\theta = \pi - 0.5$, that is 151.35 degrees.
#
# </details>
#
# ## Recap
#
# - Softmax without lengths and bias is NormFace; it needs a scale.
# - A margin replaces the cosine of the right class by something smaller: times, plus, minus, or all
#   three.
# - CosFace's margin takes the same everywhere, ArcFace's less near the centre, SphereFace's nothing
#   there; but ArcFace's goes on pushing at the centre, where the others stop.
# - A margin opens a strip between classes; between the centres, ArcFace's is as wide as its margin.
# - Beyond $\pi - m$ the angular margin needs a rule, and codes differ in it.
#
# ## References
#
# {cite:t}`wang2017normface`, {cite:t}`liu2017sphereface`, {cite:t}`wang2018cosface`,
# {cite:t}`deng2019arcface`. The codes: {cite:t}`guo2021insightface`,
# {cite:t}`huang2020curricularface`, {cite:t}`kim2022adaface`, {cite:t}`meng2021magface`,
# {cite:t}`wang2021facexzoo`.
