# %% [markdown]
# # From softmax to margins
#
# :::{admonition} After this chapter you can
# :class: tip
# - explain why a margin between known people helps with strangers, and when it does not;
# - derive NormFace, CosFace, ArcFace and SphereFace from softmax in three steps;
# - read a target-logit curve, and say what a margin costs at each angle;
# - write down the decision boundary of each loss and find the margin in it;
# - describe what goes wrong with an angular margin beyond 180 degrees.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1. Nothing is trained here, so the chapter runs in seconds on any machine.
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
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import DecisionBoundary, TargetLogit
from cdmllab.margins.angular import combined

lab = session.start(profile, seed)

# %% [markdown]
# ## Why a margin helps with strangers
#
# Chapter 1 ended with a puzzle. A margin is defined between people the network *knows*. Why should
# it help to compare two people it has never seen?
#
# Compare what the two tasks demand. A classifier only has to place each image nearer to its own
# centre than to any other. Say the centres of two people lie at an angle $A$ from each other.
# Then an image may lie up to $A/2$ from its centre, on the line between the two. Two images of one
# person may be $A$ apart, and images of two people may almost touch, one on each side of the
# boundary. All are classified correctly, yet no threshold on angles separates genuine from impostor
# pairs. A classifier that makes no errors can be useless as a ruler.
#
# A margin $m$ closes that hole. A training sample is now satisfied only within $(A - m)/2$ of its
# centre. Genuine pairs are therefore at most $A - m$ apart, and impostor pairs at least $m$:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What correct classification guarantees about pairs, along the line between two centres 70 degrees apart. Once the margin exceeds half the angle between the centres, every genuine pair is closer than every impostor pair, and one threshold fits all.", "name": "fig-why"}, "image": {"alt": "The largest genuine angle falls with the margin, the smallest impostor angle rises; they cross at 35 degrees"}}
between = 70.0
m_deg = torch.linspace(0.0, 60.0, 61)
fig, (ax,) = plots.figure(1, width=5.2, height=2.7)
ax.plot(m_deg, between - m_deg, lw=2, color=plots.colour("arcface"))
ax.plot(m_deg, m_deg, lw=2, color=plots.colour("softmax"))
ax.axvline(between / 2, color="0.5", lw=0.9, ls=(0, (4, 3)))
ax.text(13, 61, "largest genuine angle", color=plots.colour("arcface"))
ax.text(38, 30, "smallest impostor angle", color=plots.colour("softmax"))
ax.text(between / 2 + 1.5, 2, "one threshold fits all", fontsize=9)
_ = ax.set(xlabel="margin (degrees)", ylabel="angle (degrees)", ylim=(0, between))

# %% [markdown]
# So a margin turns the question "which of these people is it?" into the question "are these two the
# same?", which is the one we ask of strangers. The guarantee itself covers training images only. It
# carries over to strangers as far as the network has learned something that all people share: that
# a turned head, a smile or a shadow does not change who it is. To pull the images of thousands of
# people tightly together, a network has to learn just that. With seven digits it did not, and
# chapter 1 showed the result.
#
# There are two more limits. A network that cannot bring its training images within $(A - m)/2$ gets
# no guarantee at all, so a margin can be too large. And all of this says nothing yet about the
# *gradient*, through which the margin acts; that is chapter 3.
#
# ## Three steps
#
# How do we put a margin into a loss? Take the softmax loss of chapter 1,
#
# ```{math}
# :label: eq-softmax-2
# L = -\log \frac{e^{z_y}}{\sum_j e^{z_j}}, \qquad z_j = \mathbf w_j \cdot \mathbf x + b_j
#   = \lVert\mathbf w_j\rVert\,\lVert\mathbf x\rVert \cos\theta_j + b_j .
# ```
#
# **Step one: only angles.** At test time we compare directions, so in training only directions
# should count. Drop the bias, scale every class centre to length 1 and every embedding to length
# $s$:
#
# ```{math}
# :label: eq-normface
# z_j = s \cos\theta_j .
# ```
#
# This is **{term}`NormFace`** {cite}`wang2017normface`. It needs the scale $s$ because a cosine
# cannot exceed 1. With $s = 1$ and 10,575 identities, even a perfect sample, with
# $\cos\theta_y = 1$ and all other cosines at 0, has a probability of only $e / (e + 10574)$, and
# the loss can never become small:

# %% tags=["hide-input"]
identities = 10_575
scales = torch.tensor([1.0, 8.0, 16.0, 32.0, 64.0], dtype=torch.float64)
misses = (identities - 1) / (torch.exp(scales) + identities - 1)
rows = [[f"{s:g}", f"{p:.2g}"] for s, p in zip(scales, misses, strict=True)]
session.Table(["s", "1 - probability of a perfect sample"], rows)

# %% [markdown]
# **Step two: a handicap.** A sample is classified correctly as soon as
# $\cos\theta_y > \cos\theta_j$ for all other $j$, however small its lead. We want it to lead by a
# distance. So we make the correct class, and only that one, look worse than it is: we replace
# $\cos\theta_y$ by some $\psi(\theta_y) \le \cos\theta_y$.
#
# ```{math}
# :label: eq-margin
# L = -\log \frac{e^{s\,\psi(\theta_y)}}{e^{s\,\psi(\theta_y)} + \sum_{j \ne y} e^{s\cos\theta_j}} .
# ```
#
# **Step three: choose $\psi$.** Here the losses differ.
#
# | loss | $\psi(\theta)$ | the {term}`margin` is |
# |---|---|---|
# | NormFace {cite}`wang2017normface` | $\cos\theta$ | none |
# | {term}`SphereFace` {cite}`liu2017sphereface` | $\cos(m_1\theta)$, continued so that it keeps falling | a factor on the angle |
# | {term}`CosFace` {cite}`wang2018cosface` | $\cos\theta - m_3$ | subtracted from the cosine |
# | ArcFace {cite}`deng2019arcface` | $\cos(\theta + m_2)$ | added to the angle |
#
# ArcFace's authors wrote them as one formula, the **{term}`combined margin`**:
#
# ```{math}
# :label: eq-combined
# \psi(\theta) = \cos(m_1 \theta + m_2) - m_3 .
# ```
#
# The package has it as one function, `margins.angular.combined`. With two of the three margins at
# their neutral values ($m_1 = 1$, $m_2 = 0$, $m_3 = 0$), one of the losses above remains.
# {py:func}`margins.create <cdmllab.margins.create>` builds each loss by name.
#
# ## What a margin costs at each angle
#
# How much does each margin subtract, and where? Read the figure from the middle to the left. In
# many dimensions a fresh embedding lies at about 90 degrees to every centre, and it moves left as
# it learns.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: the cosine of the correct class after the margin. Right: how much each margin subtracts from the cosine. ArcFace is cut where angle and margin together pass 180 degrees; SphereFace is continued smoothly.", "name": "fig-target-logits"}, "image": {"alt": "Two panels of curves over the angle from 0 to 180 degrees for NormFace, SphereFace, CosFace and ArcFace"}}
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
# - **CosFace** subtracts the same from the cosine at every angle.
# - **ArcFace** subtracts most at $90° - m/2$ and less near 0, where $1 - \cos m$ remains.
# - **SphereFace** subtracts nothing at 0. Its margin is a share of the angle, so in degrees it grows
#   with the angle. From {glue:text}`sphereface_end:.0f` degrees on, its target is continued so that
#   it keeps falling where the plain cosine levels out, which is why its cost rises a second time.

# %% tags=["remove-input"]
theta = torch.linspace(0, math.pi / 2, 9001, dtype=torch.float64)
cost = torch.cos(theta) - combined(torch.cos(theta), m2=margin_rad)
session.report(
    cost_0=cost[0].item(),
    cost_peak=cost.max().item(),
    peak_deg=math.degrees(theta[cost.argmax()]),
    push_0=math.sin(margin_rad),
)

# %% [markdown]
# ArcFace subtracts {glue:text}`cost_0:.3f` from the cosine at 0 degrees and at most
# {glue:text}`cost_peak:.3f`, at {glue:text}`peak_deg:.0f` degrees.
#
# How much a margin subtracts does not tell you how hard it pushes; the push is the *slope* of the
# left panel. At 0 degrees the slopes of NormFace, SphereFace and CosFace are 0, so a sample that has
# arrived is left alone. ArcFace's slope there is $-\sin m$, {glue:text}`push_0:.2f` in size. It keeps
# pushing all the way to the centre.
#
# ## How the boundary moves
#
# With two classes, the decision boundary lies where both {term}`logits <logit>` are equal. Without a
# margin this is $\theta_1 = \theta_2$, the line half-way between the centres. In training, the
# correct class has to win *after* its handicap. Each class therefore keeps its distance from that
# line, and a strip opens between them in which no training sample is satisfied:
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
# In the plane of the two angles, ArcFace's strip is straight: $\theta_2 - \theta_1 = m$ on one side
# and $-m$ on the other. Along the great circle through both centres it is $m$ wide. This is a
# distance on the sphere, and it is what the authors mean by a *geodesic* margin. Away from that
# circle the strip is wider.
#
# In the next figure you can move two classes on a circle. Drag the sample: the arc that begins at it
# is the margin, and the sample is satisfied as long as its angle plus the margin is smaller than its
# angle to the other centre. **Try this:** how close can you push the centres before a sample is not
# satisfied anywhere, not even at its own centre? That is how a margin can be too large. Softmax has
# no margin, but there a longer class centre takes ground from the other one.

# %% tags=["hide-input"]
boundary = DecisionBoundary(m2=margin_rad, m3=margin_cos)
glue("widget-decision-boundary", boundary)

# %% [markdown]
# ## Beyond 180 degrees
#
# $\cos(\theta + m)$ falls only until $\theta + m = \pi$. Past that it rises, and a sample would be
# rewarded for getting *worse*. Four remedies are in use. The first three act past
# $\theta = \pi - m$ and are values of the option `beyond_pi` in the package. The last one drops the
# margin much earlier:
#
# | remedy | the target becomes | used by |
# |---|---|---|
# | `"linear"` | $\cos\theta - m \sin m$ | InsightFace's MXNet code from January 2018 on, and CurricularFace's code after it |
# | `"clip"` | $-1$, without a gradient | AdaFace's code |
# | `"none"` | the formula, unchanged | arcface_torch today |
# | easy margin | $\cos\theta$ wherever $\cos\theta \le 0$: no margin from 90 degrees on | an option of the same MXNet code; the default of MagFace's code, and the rule of FaceX-Zoo's MV-Softmax and NPCFace |
#
# The dates are those of the repositories' histories. The MXNet code is `src/train_softmax.py` of
# {cite:t}`guo2021insightface`, commits d3008ff (linear) and f47a929 (easy margin).
#
# ## Try it
#
# Choose a loss and move the sliders; every margin softmax of the package is in the list. The solid
# curve is the target logit $s\,\psi(\theta)$, the dashed one is $s\cos\theta$. **Find these three
# things:** the constant offset of CosFace, the slope that ArcFace keeps at zero, and what the first
# three remedies do on the far right. Then switch to the loss and to the gradient. The dotted curve
# belongs to code that passes the gradient *straight through* the margin, which is the subject of
# chapter 3.

# %% tags=["hide-input"]
explorer = TargetLogit(m2=margin_rad)
glue("widget-target-logit", explorer)

# %% [markdown]
# The page computes these numbers itself, and a test of this book compares them with the package.
#
# ## Where we deviate
#
# We draw SphereFace with ArcFace's factor of 1.35 and without its schedule. The original uses a
# factor of 4, softened by a weight $\lambda$ that falls during training, and takes the length of the
# embedding as the scale. Its $\psi$ is $(-1)^k\cos(m_1\theta) - 2k$ with
# $k = \lfloor m_1\theta/\pi\rfloor$: $\cos(m_1\theta)$ up to $\theta = \pi/m_1$,
# {glue:text}`sphereface_end:.0f` degrees for $m_1 = 1.35$, and falling on from there.

# %% tags=["remove-input"]
session.report(sphereface_end=math.degrees(math.pi / 1.35))

# %% [markdown]
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(2)

# %% [markdown]
# ## Exercises
#
# **2.1** At which angle, in degrees, do ArcFace with $m_2 = 0.5$ and CosFace with $m_3 = 0.35$
# subtract the same from the cosine? There are two such angles; either one is accepted. The widget
# helps.

# %%
exercises.check("2.1", None)

# %% [markdown]
# <details><summary>Solution 2.1</summary>
#
# We look for $\cos\theta - \cos(\theta + 0.5)$ $= 0.35$. The left side is
# $2\sin(0.25)\sin(\theta + 0.25)$, so $\sin(\theta + 0.25)$ $= 0.35 / (2 \sin 0.25)$
# $\approx 0.7073$, which gives $\theta \approx 30.7$ and $120.7$ degrees. Between these angles
# ArcFace is the stricter of the two.
#
# </details>
#
# **2.2** Write a function of the cosine $c$ and the margin $m$ that returns $\cos(\theta + m)$ *without*
# an arc cosine. This is faster. (Both forms have an infinite slope at $c = 1$, which the package
# replaces by a finite one.) The checker compares values and notices a call of `acos`.

# %%
exercises.check("2.2", None)

# %% [markdown]
# <details><summary>Solution 2.2</summary>
#
# The addition theorem:
# `lambda c, m: c * math.cos(m) - (1 - c * c).clamp_min(0).sqrt() * math.sin(m)`. Its value is correct
# everywhere. Its slope at a cosine of exactly 1 or −1 is infinite; chapter 3 deals with that.
#
# </details>
#
# **2.3** At which angle, in degrees, does $\cos(\theta + 0.5)$ begin to rise again?

# %%
exercises.check("2.3", None)

# %% [markdown]
# <details><summary>Solution 2.3</summary>
#
# At $\theta = \pi - 0.5$, which is 151.35 degrees.
#
# </details>
#
# ## Recap
#
# - Correct classification does not make a ruler: genuine pairs can be farther apart than impostor
#   pairs. A margin larger than half the angle between centres rules that out, on the training set.
# - Softmax without lengths and bias is NormFace; it needs a scale.
# - A margin replaces the cosine of the correct class by something smaller: it multiplies the angle,
#   adds to it, or subtracts from the cosine.
# - CosFace subtracts the same everywhere, ArcFace less near the centre, and SphereFace nothing
#   there. Only ArcFace still pushes at the centre itself.
# - A margin opens a strip between classes. Along the line between the centres, ArcFace's strip is as
#   wide as its margin.
# - Beyond $\pi - m$ an angular margin needs a remedy, and public codes use different ones.
#
# Next: what does the margin do to the gradient? The answer explains both why margins work and why
# they sometimes fail to train at all.
#
# ## References
#
# {cite:t}`wang2017normface`, {cite:t}`liu2017sphereface`, {cite:t}`wang2018cosface`,
# {cite:t}`deng2019arcface`. The codes: {cite:t}`guo2021insightface`,
# {cite:t}`huang2020curricularface`, {cite:t}`kim2022adaface`, {cite:t}`meng2021magface`,
# {cite:t}`wang2021facexzoo`.
