# %% [markdown]
# # The gradient of a margin
#
# :::{admonition} After this chapter you can
# :class: tip
# - write the gradient of any margin loss as a product of four factors, and explain each;
# - compute the angle at which a sample stops learning, from scale, margin and number of identities;
# - distinguish an exact gradient from a straight-through one, and predict what each does to easy
#   and to hard samples;
# - compare the remedies beyond 180 degrees by their gradients;
# - make ArcFace return NaN in three ways, and write it so that it does not;
# - name the term that appears in the gradient when the margin depends on the sample.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 2. Nothing is trained here: the chapter runs in a quarter of a minute on one core.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of the random embeddings and class centres
margin_rad = 0.5  # ArcFace's margin, radians
identities = 10_575  # number of class centres, as in CASIA-WebFace

# %% tags=["hide-input"]
import math

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss

from cdmllab import geometry, heads, margins, plots
from cdmllab.analysis.numerics import survey
from cdmllab.analysis.target_curve import mixed_derivatives, pull, target_curve
from cdmllab.book import exercises, questions, session
from cdmllab.margins.angular import add_angle

lab = session.start(profile, seed)

# %% [markdown]
# ## Four factors
#
# At test time the margin is gone. Whatever it did, it did during training, and it did it through
# the gradient. So the gradient is where we have to look.
#
# Take one sample with embedding $\mathbf x$ and identity $y$. We write $c_j = \cos\theta_j$ for its
# cosine to class centre $\hat{\mathbf w}_j$. The centre of its own identity, $\hat{\mathbf w}_y$,
# is its **target centre**; all others are **negative centres**. The loss replaces $c_y$ by
# $\psi(c_y)$. This is chapter 2's $\psi(\theta)$: an angle and its cosine carry the same
# information, so we write $\psi$ as a function of whichever is handier.
#
# ```{math}
# :label: eq-gradient-loss
# L = -\log p_y, \qquad p_j = \frac{e^{z_j}}{\sum_k e^{z_k}}, \qquad
# z_y = s\,\psi(c_y), \quad z_j = s\,c_j \ (j \ne y) .
# ```
#
# How does this loss change when the embedding moves? The chain rule answers in three short steps.
#
# 1. *From loss to logits.* For softmax with cross-entropy, $\partial L / \partial z_y = -(1 - p_y)$
#    and $\partial L / \partial z_j = p_j$.
# 2. *From logits to cosines.* Every logit contributes a factor $s$, and the target's also
#    $\psi'(c_y)$.
# 3. *From cosines to the embedding.* A cosine changes with its embedding as
#
# ```{math}
# :label: eq-tangent
# \frac{\partial c_j}{\partial \mathbf x} = \frac{1}{\lVert\mathbf x\rVert}\,\mathbf t_j, \qquad
# \mathbf t_j = \hat{\mathbf w}_j - c_j\,\hat{\mathbf x} .
# ```
#
# Here $\mathbf t_j$ is the class centre with its component along $\hat{\mathbf x}$ removed. It is a
# **tangent** of the sphere at $\hat{\mathbf x}$; it points towards the class centre and has length
# $\sin\theta_j$. Together:
#
# ```{math}
# :label: eq-gradient
# \frac{\partial L}{\partial \mathbf x} = \frac{s}{\lVert\mathbf x\rVert}
# \Bigl[ -(1 - p_y)\,\psi'(c_y)\,\mathbf t_y + \sum_{j \ne y} p_j\,\mathbf t_j \Bigr] .
# ```
#
# So four factors move a sample towards its target centre: the **scale** divided by the length of
# the embedding, the **weight** $1 - p_y$ that the softmax gives the sample, the **slope** $\psi'$
# of the margin, and the **tangent**. The rest of the chapter takes them one at a time. First let us
# write them out for eight samples and ask autograd whether it agrees.
#
# In this package, a {term}`head` is class centres, scale and {term}`margin policy` together:
# embeddings and labels go in, a loss comes out. {py:func}`heads.create <cdmllab.heads.create>`
# builds one.

# %%
torch.manual_seed(seed)
head = heads.create(
    "arcface",
    embedding_dim=16,
    num_identities=50,
    scale=16.0,
    margin_rad=margin_rad,
    keep_logits=True,
).double()
x = torch.randn(8, 16, dtype=torch.float64, requires_grad=True)
y = torch.arange(8)
by_autograd, for_centres = torch.autograd.grad(head(x, y).loss, [x, head.centres])

# %% [markdown]
# Now the same by hand. Read `weights` as the bracket of {eq}`eq-gradient`: one number for each
# sample and class centre, which the tangents are then multiplied by.

# %%
x_hat, w_hat = geometry.unit(x.detach()), geometry.unit(head.centres.detach())
cosines = x_hat @ w_hat.T
own = target_curve(head.policy, cosines[y, y])
p = F.softmax(16.0 * cosines.index_put((y, y), own.target), dim=1)
t = w_hat - cosines.unsqueeze(2) * x_hat.unsqueeze(1)  # tangents, [8, 50, 16]
weights = p.index_put((y, y), -(1 - p[y, y]) * own.slope)
by_hand = 16.0 / x.detach().norm(dim=1, keepdim=True)
by_hand = by_hand * torch.einsum("bc,bcd->bd", weights, t) / len(y)
session.report(agreement=(by_hand - by_autograd).abs().max().item())

# %% [markdown]
# The largest difference is {glue:text}`agreement:.0e`, which is rounding. (The last line divides by
# the number of samples because the loss is a mean over the batch.)
#
# ## A longer embedding turns more slowly
#
# Every $\mathbf t_j$ is perpendicular to $\mathbf x$, and therefore the whole gradient is. A loss
# on cosines never tries to make an embedding longer or shorter.
#
# The length still counts, and it counts twice. For a vector twice as long the gradient is half as
# large. And a step of a given size turns a vector twice as long by half the angle. Together, the
# vector turns by a *quarter* of the angle. All of this holds for class centres too, for the same
# reason.
#
# To check it, we stretch the eight embeddings to lengths 1, 4 and 16, and take the same step of
# gradient descent with each.

# %% tags=["hide-input"]
lengths, sizes = [1.0, 4.0, 16.0], []
for length in lengths:
    stretched = (length * x_hat).requires_grad_()
    (g,) = torch.autograd.grad(head(stretched, y).loss, stretched)
    turn = geometry.angle_between(stretched.detach() - 0.01 * g, x_hat)
    sizes.append(
        (g.norm(dim=1).mean(), turn.mean(), (g * x_hat).sum(1).abs().max())
    )
rows = [
    [f"{length:g}", f"{g:.4f}", f"{torch.rad2deg(turn):.5f}", f"{along:.0e}"]
    for length, (g, turn, along) in zip(lengths, sizes, strict=True)
]
session.Table(
    [
        "length of the embeddings",
        "mean length of the gradient",
        "turn by a step of 0.01 (degrees)",
        "gradient along the embedding",
    ],
    rows,
)

# %% tags=["remove-input"]
radial = (for_centres * w_hat).sum(1).abs().max().item()
session.report(radial=radial)

# %% [markdown]
# At four times the length, the gradient is a quarter as large and the vector turns by a sixteenth
# of the angle. The gradient has no component along the embedding. Nor has it one along a class
# centre: there the largest is {glue:text}`radial:.0e`.
#
# This has a consequence that surprises people who watch their class centres. Let $\mathbf g$ be the
# gradient on a class centre and $\eta$ the learning rate. By Pythagoras, a step perpendicular to a
# vector makes it longer:
# $\lVert\mathbf w - \eta\,\mathbf g\rVert^2 = \lVert\mathbf w\rVert^2 + \eta^2\lVert\mathbf g\rVert^2$.
# Without weight decay, class centres therefore grow with every step, and the longer they get, the
# more slowly they turn. Weight decay shortens them again. It thereby *raises* the speed at which
# they turn, which is not what one expects of a regulariser.
#
# ## Which samples still get a gradient
#
# The next factor, $1 - p_y$, is the softmax's opinion of whether a sample still needs help. Let
# there be $C$ class centres. (Other chapters call their number $c$, which is a cosine here.)
# Suppose all of them but the target centre lie at 90 degrees to the sample. Then
#
# ```{math}
# :label: eq-weight
# 1 - p_y = \frac{C - 1}{C - 1 + e^{s\,\psi(c_y)}} .
# ```
#
# This is a switch. It is one half where $s\,\psi = \log(C - 1)$, almost one for worse samples, and
# almost zero for better ones. For ArcFace the switch is at the angle
# $\theta = \arccos\bigl(\log(C - 1)/s\bigr) - m$.
#
# How strongly is a sample turned towards its target centre? The answer is the derivative
# $\partial L / \partial\theta_y$, which we call the **pull** of the loss. By {eq}`eq-gradient` it
# is $s\,(1 - p_y)\,\psi'\sin\theta_y$. A sample whose weight is near zero has no pull left; we call
# it *silent*.
#
# In the next figure, look for the angle at which each curve drops to zero.

# %% tags=["remove-input"]
for s in (16, 32, 64):
    half = math.degrees(math.acos(math.log(identities - 1) / s) - margin_rad)
    session.report(**{f"half_{s}": half})
session.report(identities=f"{identities:,}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pull of ArcFace on a sample, divided by the scale, for three scales. All negative centres lie at 90 degrees. To the left of its cliff a sample is silent. The jump at 151 degrees is the subject of a later section.", "name": "fig-scale"}, "image": {"alt": "Three curves over the angle that rise from zero like a step, at about 26 degrees for scale 16, 45 degrees for scale 32 and 53 degrees for scale 64, and fall together after it"}}
theta = torch.linspace(0.0, math.pi, 1441, dtype=torch.float64)
degrees = torch.rad2deg(theta)
arcface = margins.create("arcface", margin_rad=margin_rad)
fig, (ax,) = plots.figure(1, width=6.6, height=3.0)
drawn = [
    plots.Line(
        f"s = {s}",
        "arcface",
        pull(arcface, theta, scale=s, num_identities=identities) / s,
        style,
    )
    for s, style in ((16, ":"), (32, "--"), (64, "-"))
]
plots.lines(
    ax, degrees, drawn, xlabel="", ylabel="pull ∂L/∂θ, divided by s", open_at=0.1
)
plots.degrees_axis(ax)

# %% [markdown]
# **The scale decides at which angle a sample goes silent, and the margin moves that angle inwards
# by exactly $m$.** With {glue:text}`identities` identities, half of the weight is gone at
# {glue:text}`half_16:.0f` degrees for $s = 16$, at {glue:text}`half_32:.0f` for $s = 32$ and at
# {glue:text}`half_64:.0f` for $s = 64$ ({numref}`fig-scale`).
#
# A large scale makes a sharp switch and lets samples rest early. A small one keeps even good
# samples moving. A very small one, such as $s = 1$ in chapter 2, can never make the loss small. The
# same margin therefore does different things at two scales, and it means little unless its scale is
# reported.
#
# The next figure shows the same as arrows. Compare the samples at 30 and 45 degrees on the two
# sides.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The pull as arrows: samples at 15 to 105 degrees from their class centre. Each arrow lies along the sphere, and its length is the pull divided by the scale.", "name": "fig-arrows"}, "image": {"alt": "Two arcs with dots; on the left all dots beyond 20 degrees have an arrow towards the class centre, on the right only those beyond 50 degrees"}}
fig, axes = plots.figure(2, width=7.0, height=3.4)
stand = torch.deg2rad(torch.arange(15.0, 106.0, 15.0, dtype=torch.float64))
for ax, s in zip(axes, (16.0, 64.0), strict=True):
    force = pull(arcface, stand, scale=s, num_identities=identities) / s
    plots.pull_arrows(
        ax, stand, force, loss="arcface", longest=1.0, title=f"s = {s:g}"
    )

# %% [markdown]
# ## The slope of the margin
#
# The third factor belongs to the margin itself. For CosFace, $\psi = c - m$, and a constant
# vanishes in a derivative: the slope is 1. For ArcFace, $\psi = \cos(\theta + m)$, and
#
# ```{math}
# :label: eq-slope
# \psi'(c) = \frac{d\cos(\theta + m)}{d\cos\theta} = \frac{\sin(\theta + m)}{\sin\theta} .
# ```
#
# So much for the mathematics. What does the code do? Look at arcface_torch, InsightFace's own
# implementation {cite}`guo2021insightface`, as it is today. It computes the arc cosine, the margin
# and the cosine *without* gradient and writes the result into the matrix of logits. On the way
# back, autograd sees only the copy, whose slope is 1. The value is ArcFace's, and the gradient is
# CosFace's. We call such a gradient **{term}`straight-through <straight-through gradient>`**, after
# the same trick for step functions {cite}`bengio2013estimating`. In the package it is the option
# `gradient="straight_through"`.
#
# It was not always so, and a published model was trained with the gradient of its day. The history
# of InsightFace's repository has four forms of ArcFace:
#
# | from | code | gradient | past 180 degrees |
# |---|---|---|---|
# | January 2018 | the authors' MXNet code | exact | `"linear"`; later, with the combined margin, `"none"` |
# | 8 March 2021 | arcface_torch | exact | `"none"` |
# | 21 January 2022 | arcface_torch (commit 2e2e8c9) | exact | `"linear"` |
# | 15 December 2022 | arcface_torch (commit 657ae30) | straight-through | `"none"` |
#
# How much do the two gradients differ? Here is their ratio at four cosines, once by autograd and
# once by {eq}`eq-slope`.

# %% tags=["hide-input"]
exact = margins.create("arcface", margin_rad=margin_rad)
through = margins.create(
    "arcface", margin_rad=margin_rad, gradient="straight_through"
)
at = torch.tensor([0.8, 0.5, 0.1, -0.5], dtype=torch.float64)
ratio = target_curve(exact, at).slope / target_curve(through, at).slope
angle = torch.acos(at)
formula = torch.sin(angle + margin_rad) / torch.sin(angle)
rows = [
    [f"{c:g}", f"{a:.1f}", f"{r:.3f}", f"{f:.3f}"]
    for c, a, r, f in zip(at, torch.rad2deg(angle), ratio, formula, strict=True)
]
session.Table(
    ["cosine", "angle (degrees)", "exact / straight-through", "formula"], rows
)

# %% tags=["remove-input"]
session.report(
    ratio_one=math.degrees((math.pi - margin_rad) / 2),
    sin_m=math.sin(margin_rad),
)

# %% [markdown]
# The ratio is 1 at $\theta = (\pi - m)/2$, here {glue:text}`ratio_one:.1f` degrees. Closer to the
# centre the exact gradient is the larger one, and farther away the smaller one.
#
# In the right panel of the next figure, look at two places: the left end, where samples have
# reached their centre, and the point where the exact curve crosses zero.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: slope of the target. Right: pull without the softmax weight and the scale, which is sin(θ + m) for the exact gradient and sin θ for the straight-through one. Where the exact curve is negative, the gradient turns a sample away from the centre of its class.", "name": "fig-straight-through"}, "image": {"alt": "Two panels of two curves; on the left the exact slope falls from infinity through one at 76 degrees to below zero, the straight-through slope is one; on the right two arches, the exact one shifted to the left by the margin"}}
plain = {"beyond_pi": "none", "margin_rad": margin_rad}
two = {
    "exact": margins.create("arcface", **plain),
    "straight-through": margins.create(
        "arcface", gradient="straight_through", **plain
    ),
}
cos = torch.cos(theta[4:-4])
slopes = {name: target_curve(policy, cos).slope for name, policy in two.items()}
fig, axes = plots.figure(2, width=7.6, height=3.0)
for ax, factor, ylabel, limits in (
    (axes[0], torch.ones_like(cos), "slope ψ′", (-1.5, 4.0)),
    (axes[1], torch.sin(theta[4:-4]), "slope × sin θ", (-0.6, 1.1)),
):
    drawn = [
        plots.Line(name, "arcface", slope * factor, style)
        for (name, slope), style in zip(slopes.items(), ("-", "--"), strict=True)
    ]
    plots.lines(ax, degrees[4:-4], drawn, xlabel="", ylabel=ylabel)
    plots.degrees_axis(ax)
    ax.set_ylim(*limits)

# %% [markdown]
# - **Easy samples.** The {term}`exact gradient` keeps pulling all the way to the centre; at an
#   angle of 0 there remains $\sin m =$ {glue:text}`sin_m:.2f`. The straight-through gradient lets
#   go: its pull there is $\sin\theta$, as without any margin.
# - **Hard samples.** Beyond {glue:text}`ratio_one:.0f` degrees the straight-through gradient pulls
#   harder.
# - **Beyond $\pi - m$.** The exact gradient of the plain formula turns a sample *away* from its
#   target centre. The straight-through gradient never does: its sign is right everywhere.
#
# So the straight-through gradient shifts attention from easy samples to hard ones, and it still
# works where the formula fails. There is one caveat: here we moved a single sample and held
# everything else fixed. If the angles to all centres change together, the exact slope can drive a
# whole training past $\pi - m$, to the far side of the sphere.
# {doc}`Chapter 12 </executed/12_reproduction>` shows a training that fell into this trap, and what
# avoids it.
#
# Two losses should therefore be compared with the same kind of gradient. How much does the choice
# matter for the easiest samples? The weight $1 - p_y$ is the same for both kinds. With $s = 64$ and
# {glue:text}`identities` identities, it halves either pull at {glue:text}`half_64:.0f` degrees and
# soon removes all of it closer to the centre.
#
# ### Which loss has this gradient?
#
# The straight-through gradient is not the gradient of ArcFace. Of which loss is it the gradient? Of
# none.
#
# There is a test for this. If some function $F$ of the cosines had
# $g_j = \partial F / \partial c_j$ as its gradient, its mixed second derivatives would agree:
# $\partial g_y / \partial c_j = \partial g_j / \partial c_y$. The straight-through gradient has
# $g_y = -s\,(1 - p_y)$ and $g_j = s\,p_j$, with the probabilities of {eq}`eq-gradient-loss`, which
# still contain the margin. So
#
# ```{math}
# :label: eq-curl
# \frac{\partial g_y}{\partial c_j} = -s^2\, p_y\, p_j, \qquad
# \frac{\partial g_j}{\partial c_y} = -s^2\, p_y\, p_j\,\psi'(c_y) .
# ```
#
# The two differ by the factor $\psi'$. They agree only where $\psi' = 1$, which for CosFace is
# everywhere. Let us measure both derivatives, for one sample and three centres:

# %% tags=["hide-input"]
three = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)  # target first
rows = [
    [
        name,
        *(f"{d:.4f}" for d in mixed_derivatives(policy, three, scale=4.0)),
    ]
    for name, policy in (
        ("ArcFace, exact", exact),
        ("ArcFace, straight-through", through),
        ("CosFace", margins.create("cosface")),
    )
]
session.Table(["scale 4", "∂g_y / ∂c_j", "∂g_j / ∂c_y"], rows)

# %% [markdown]
# The exact gradient of ArcFace passes the test, and so does CosFace's. The straight-through
# gradient fails it: there is no landscape that it descends. That does not make it bad, and both
# kinds are in use.
#
# ## Beyond 180 degrees
#
# Chapter 2 listed four remedies for $\theta + m > \pi$. What does each do to the gradient? The
# fourth, the easy margin, is quickly dealt with: from 90 degrees on the target is the cosine
# itself, whose gradient is CosFace's. The other three are drawn below. In the right panel, look at
# the sign.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three remedies beyond 180 degrees, for samples at 120 degrees or more. Left: the target. Right: pull without the softmax weight and the scale (slope × sin θ).", "name": "fig-beyond"}, "image": {"alt": "Two panels; on the left the linear remedy jumps down and goes on falling, clip stays at minus one, none rises; on the right linear jumps to a positive pull, clip is zero and none is negative"}}
far = theta[960:-2]
fig, axes = plots.figure(2, width=7.6, height=3.0)
answers = {
    name: target_curve(
        margins.create("arcface", margin_rad=margin_rad, beyond_pi=name),
        torch.cos(far),
    )
    for name in ("linear", "clip", "none")
}
for ax, ylabel, values in (
    (axes[0], "target ψ", {k: a.target for k, a in answers.items()}),
    (
        axes[1],
        "slope × sin θ",
        {k: a.slope * torch.sin(far) for k, a in answers.items()},
    ),
):
    drawn = [
        plots.Line(f'"{name}"', "arcface", v, style)
        for (name, v), style in zip(values.items(), ("-", "--", ":"), strict=True)
    ]
    plots.lines(
        ax,
        torch.rad2deg(far),
        drawn,
        xlabel="angle θ to the target centre (degrees)",
        ylabel=ylabel,
        open_at=0.05,
    )
    ax.set_xlim(120, 180)

# %% tags=["remove-input"]
end = math.pi - margin_rad
jump = -1.0 - (math.cos(end) - margin_rad * math.sin(margin_rad))
session.report(
    jump=jump,
    end_deg=math.degrees(end),
)

# %% [markdown]
# | `beyond_pi` | target past $\pi - m$ | its gradient |
# |---|---|---|
# | `"linear"` | $\cos\theta - m\sin m$; at $\pi - m$ it jumps down by {glue:text}`jump:.3f` | CosFace's: right sign, never zero |
# | `"clip"` | $-1$ | zero: the target centre gives the sample up |
# | `"none"` | $\cos(\theta + m)$, rising again | wrong sign |
# | `"none"`, straight-through | the same | right sign, as everywhere |
#
# The jump of `"linear"` is harmless to a gradient step, which only sees slopes. Does any of this
# matter in practice? A sample beyond {glue:text}`end_deg:.0f` degrees points nearly *away* from the
# centre of its class. In many dimensions, fresh embeddings lie at about 90 degrees to every centre,
# so such a sample is more likely mislabelled than hard. In three dimensions (chapter 1), or with a
# large margin, it happens to correctly labelled samples too.
#
# ## Where NaN comes from
#
# The right-hand side of {eq}`eq-slope` is infinite at $\theta = 0$ and at $\theta = \pi$. The
# tangent has length 0 there. On paper zero times infinity works out, and the pull is
# $\sin(\theta + m)$. In floating point it is NaN.
#
# This would be a curiosity if samples never arrived at their centres. They do. And rounding can
# carry a cosine *above* 1, where the arc cosine itself is NaN.
#
# So we put a thousand random 512-dimensional embeddings exactly on their class centres. We use
# three precisions: 32 bits, and the two 16-bit formats that PyTorch's autocast uses to save time.
# We compute the {term}`target` in seven ways and count how often the target or its gradient is NaN.


# %%
def clamped_once(c: torch.Tensor) -> torch.Tensor:  # derivative 1 at ±1
    return torch.where(c > 1, 1.0, torch.where(c < -1, -1.0, c))


def textbook(c: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.acos(c) + margin_rad)


cos_m, sin_m = math.cos(margin_rad), math.sin(margin_rad)
library = ArcFaceLoss(2, 2, margin=math.degrees(margin_rad))
ways = {
    "cos(acos c + m)": textbook,
    "c cos m - √(1 - c²) sin m": lambda c: c * cos_m - (1 - c * c).sqrt() * sin_m,
    "the first, c clamped as by PyTorch 0.4.1 to 2.13": lambda c: textbook(
        clamped_once(c)
    ),
    "the first, c clamped by this PyTorch": lambda c: textbook(c.clamp(-1, 1)),
    "pytorch-metric-learning": library.modify_cosine_of_target_classes,
    "straight-through, c clamped": lambda c: (
        c + (textbook(c.clamp(-1, 1)) - c).detach()
    ),
    "this package": lambda c: add_angle(c, torch.full_like(c, margin_rad)),
}
precisions = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
found = {
    (way, name): survey(ways[way], dtype, seed=seed)
    for way in ways
    for name, dtype in precisions.items()
}

# %% tags=["hide-input"]
rows = [
    [
        way,
        *(
            f"{found[way, name].nan_targets / 10:.1f} / "
            f"{found[way, name].nan_gradients / 10:.1f}"
            for name in precisions
        ),
    ]
    for way in ways
]
session.Table(["NaN in %: target / gradient", *precisions], rows)

# %% tags=["remove-input"]
arrived = found["cos(acos c + m)", "float32"]
bound = torch.ones(1, requires_grad=True)
(at_bound,) = torch.autograd.grad(bound.clamp(-1, 1), bound)
session.report(
    at_bound=at_bound.item(),
    one=arrived.exactly_one / arrived.samples,
    above=arrived.above_one / arrived.samples,
    torch=torch.__version__.partition("+")[0],
)
both = [survey(way, torch.float32, opposite=True) for way in ways.values()]
same = [survey(way, torch.float32) for way in ways.values()]
assert both == same

# %% [markdown]
# In single precision {glue:text}`one:.0%` of the cosines are exactly 1, and {glue:text}`above:.0%`
# are larger than 1. With the centres at 180 degrees instead, the counts are the same. The seven
# rows fall into three groups.
#
# **No clamp: NaN in the loss.** The first two rows take the arc cosine, or the root, of something
# outside its range whenever rounding goes the wrong way. One such sample is enough: the loss of the
# batch is NaN, and after the step so is every weight.
#
# **A clamp to ±1: it depends on the version of PyTorch.** Clamping rescues the value. Whether it
# rescues the gradient depends on a convention: what is the derivative of `clamp` *at* its bound? It
# was 0 up to PyTorch 0.4.0, is 1 from 0.4.1 (2018) to 2.13, and 0 again from 2.14 (2026) on. Where
# it is 1, the infinite slope of the arc cosine gets through, meets a tangent of length 0, and
# becomes NaN for every cosine that is exactly 1. Where it is 0, the same line of code works. This
# page was computed with PyTorch {glue:text}`torch`, in which the derivative is
# {glue:text}`at_bound:.0f`; the third row has the convention of 0.4.1 to 2.13 written out.
# pytorch-metric-learning clamps to ±1 too, so whether its ArcFace gives NaN at a class centre
# depends on PyTorch.
#
# **No arc cosine in the gradient: no NaN.** The straight-through gradient has none by design. The
# package computes
#
# ```{math}
# :label: eq-safe
# \psi = c\cos m - \sin\theta \sin m, \qquad
# \sin\theta = \begin{cases} \sqrt{1 - c^2} & 1 - c^2 > \varepsilon \\
# (1 - c^2)/\sqrt{\varepsilon} & \text{else,} \end{cases}
# ```
#
# where $c$ is clamped to ±1 in $\sin\theta$, and $\varepsilon$ is the precision of the number
# format. The second case replaces the root by a straight line of finite slope for the last cosines
# before ±1, and changes no others. At exactly ±1 the slope is $\cos m$ or that of the line,
# depending on PyTorch's convention, and finite either way. How large does it get?

# %% tags=["hide-input"]
steps_below_one = torch.arange(5, dtype=torch.float64)
single = 1 - steps_below_one * 2.0**-24
true = target_curve(arcface, single.clamp_max(1 - 1e-12)).slope
ours = target_curve(arcface, single.float()).slope
far_off = torch.sin(torch.acos(single))
rows = [
    [
        f"1 - {1 - c:.2g}" if c < 1 else "1",
        f"{a:,.0f}" if c < 1 else "infinite",
        f"{b:,.3g}" if b < 10 else f"{b:,.0f}",
        f"{b * f:.2f}",
    ]
    for c, a, b, f in zip(single, true, ours, far_off, strict=True)
]
session.Table(
    ["cosine, float32", "exact slope", "this package", "pull (times sin θ)"], rows
)

# %% [markdown]
# The slopes near 1 are large, but the tangent is short. The pull is their product, the last column,
# and it is never much larger than 1.
#
# Two more sources of NaN have nothing to do with the margin and are just as common. The table also
# has a third, quieter problem.

# %% tags=["hide-input"]
zero = {name: torch.zeros(1, 4, dtype=d) for name, d in precisions.items()}
rows = [
    [
        name,
        f"{F.normalize(zero[name])[0, 0]:g}",
        f"{geometry.unit(zero[name])[0, 0]:g}",
        f"{torch.exp(torch.tensor(64.0, dtype=d)):.3g}",
        f"{64 * torch.finfo(d).eps / 2:g}",
    ]
    for name, d in precisions.items()
]
session.Table(
    [
        "",
        "F.normalize of zeros",
        "geometry.unit of zeros",
        "exp(64)",
        "step between logits just below 64",
    ],
    rows,
)

# %% [markdown]
# - **A dead embedding.** `F.normalize` divides by the length, but by at least $10^{-12}$. In
#   float16 that number is zero, and a zero embedding becomes NaN. In the other formats it stays
#   zero and gets a gradient of $10^{12}$. `geometry.unit` leaves it at zero, with gradient zero.
# - **An exponential.** $e^{64}$ overflows float16, whose largest number is 65,504. Cross-entropy
#   subtracts the largest logit first. A loss that sums exponentials by itself has to do the same.
# - **Coarse logits.** There is no NaN here, which makes it worse, because nobody notices. Near
#   $s = 64$, bfloat16 moves in steps of a quarter. Two samples whose margins differ by a few
#   thousandths can end up with the same logit.
#
# For these reasons the package's heads compute in float32, whatever autocast is on. The network
# before them may be as coarse as it likes. A head raises an error for an embedding that is not
# finite, and training stops with a diagnosis.
#
# ## A margin that follows the sample
#
# So far the margin was a constant. CDML's margin depends on the sample, $m = m(c)$, by
# {eq}`eq-cdml`. If we differentiate it too, the chain rule has one more term:
#
# ```{math}
# :label: eq-full-gradient
# \frac{d}{dc} \cos\bigl(\theta + m(c)\bigr) =
# \frac{\sin(\theta + m)}{\sin\theta} - \sin(\theta + m)\,\frac{dm}{dc} .
# ```
#
# The sign of the new term depends on who gets the larger margin. CDML has two sources that disagree
# about this: the results page of the repository DATN {cite}`datn`, here *DATN's page*, and the code
# in the same repository, *DATN's code*. Chapter 4 compares them.
#
# - *Hard samples get the larger margin* (DATN's code). The margin falls as a sample gets easier,
#   $dm/dc < 0$, so the pull grows. A sample is rewarded twice for coming closer: its cosine rises,
#   and its margin falls.
# - *Easy samples get the larger margin* (DATN's page). It is the other way round: coming closer
#   costs margin, so the pull shrinks.
#
# The package treats $m$ as a constant in the gradient (`detach_margin=True`); DATN's code
# differentiates through it. How much does the extra term change? The next figure draws the pull
# with and without it. The difference between the solid and the dashed curve is the extra term.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pull of CDML without the softmax weight and the scale (slope × sin θ), with the margin held constant in the gradient and with the margin differentiated too. Left: easy samples get the larger margin, linear in the similarity to the target centre. Right: hard samples get the larger margin, as in the gap form of DATN's code.", "name": "fig-detached"}, "image": {"alt": "Two panels of two curves over the angle; on the left the differentiated slope is lower, on the right it is slightly higher than the detached one"}}
fig, axes = plots.figure(2, width=7.6, height=3.0)
easy = {"shape": "linear", "alpha": 0.2}
span = theta[80:1041]
kinds = {
    "easy larger": lambda d: margins.create("cdml", detach_margin=d, **easy),
    "hard larger": lambda d: margins.CDML.datn_code_gap(detach_margin=d),
}
effect = {}
for ax, (title, make) in zip(axes, kinds.items(), strict=True):
    held, full = (
        target_curve(make(d), torch.cos(span)).slope * torch.sin(span)
        for d in (True, False)
    )
    effect[title] = float(full[480] / held[480] - 1)
    drawn = [
        plots.Line("margin held constant", "cdml", held),
        plots.Line("differentiated too", "cdml", full, "--"),
    ]
    plots.lines(
        ax,
        torch.rad2deg(span),
        drawn,
        xlabel="",
        ylabel="slope × sin θ",
        open_at=0.05,
    )
    plots.degrees_axis(ax, stop=140, step=20)
    ax.set(title=title, ylim=(0, 1.15))

# %% tags=["remove-input"]
at_deg = math.degrees(span[480])
session.report(
    effect_at=at_deg,
    effect_easy=effect["easy larger"],
    effect_hard=effect["hard larger"],
)
c = torch.tensor([0.5, 0.2], dtype=torch.float64, requires_grad=True)
both = margins.Batch(
    torch.zeros(1, dtype=torch.int64),
    c[:1],
    torch.ones(1),
    hardest_negative=c[1:],
)
gap = margins.CDML.datn_code_gap(detach_margin=False)
(g,) = torch.autograd.grad(gap.target(c[:1], both).sum(), c)
session.report(
    gap_own=g[0].item(),
    gap_foreign=g[1].item(),
)

# %% [markdown]
# At {glue:text}`effect_at:.0f` degrees the extra term changes the pull by
# {glue:text}`effect_easy:+.1%` when easy samples get more and by {glue:text}`effect_hard:+.1%` when
# hard samples do. That is more than a detail when losses are ranked by tenths of a point. (The jump
# at 60 degrees on the left is at the {term}`pivot`, where a sample counts as neither easy nor hard.
# At smaller angles easiness rises three times as fast as at larger ones, because both sides have to
# reach their ends, ±1.)
#
# The form of DATN's code has a third effect. Its easiness is the *gap* between the cosine to the
# target centre and the largest cosine to a negative centre. So the target also has a slope in that
# negative cosine. With $c_y = 0.5$ and $\max c_j = 0.2$, the slope is {glue:text}`gap_own:.3f` in
# the target cosine and {glue:text}`gap_foreign:.3f` in the negative one. The sample is pushed away
# from its nearest negative centre by more than the softmax asks for.
#
# All this is for a margin that changes smoothly. CDML's simplest version has only two margins, with
# a step between them. A step has slope zero almost everywhere, so there the two gradients are the
# same.
#
# :::{admonition} Where we deviate
# :class: note
# In this book ArcFace and CDML use the exact gradient by default, with `"linear"` beyond $\pi$ and
# the margin held constant. The option pair `gradient="straight_through", beyond_pi="none"` gives
# arcface_torch's ArcFace since December 2022. `CDML.datn_code_gap()` and
# `CDML.datn_code_angle_gap()` give the two forms of DATN's code, differentiated fully. In that code
# the ArcFace to compare with is straight-through, so comparing the two mixes the margin with the
# gradient. Where this chapter names no precision it computes in float64; training uses float32.
# :::
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(3)

# %% [markdown]
# ## Exercises
#
# **3.1** With $m = 0.5$, by which factor is ArcFace's exact gradient on the target cosine larger
# than the straight-through one at 60 degrees?

# %%
exercises.check("3.1", None)

# %% [markdown]
# <details><summary>Solution 3.1</summary>
#
# $\sin(60° + 28.65°) / \sin 60°$ $= 0.9997 / 0.8660$ $\approx 1.154$, by {eq}`eq-slope`.
#
# </details>
#
# **3.2** ArcFace with $m = 0.5$ and $s = 64$ is trained with a million identities, and all negative
# centres lie at 90 degrees. At which angle, in degrees, does a sample have half of its weight,
# $1 - p_y = 1/2$?

# %%
exercises.check("3.2", None)

# %% [markdown]
# <details><summary>Solution 3.2</summary>
#
# $s\cos(\theta + m)$ $= \log(10^6 - 1)$ $\approx 13.816$, so $\theta + m = \arccos 0.2159 = 77.53$
# degrees, and $\theta = 77.53 - 28.65 = 48.9$ degrees. A hundred times as many identities move the
# cliff by only four degrees.
#
# </details>
#
# **3.3** Let `g` be the gradient of a loss with respect to the *unit* embedding $\hat{\mathbf x}$.
# Write a function of `x` and `g`, both of shape `[b, d]`, that returns the gradient with respect to
# `x` itself.

# %%
exercises.check("3.3", None)

# %% [markdown]
# <details><summary>Solution 3.3</summary>
#
# Remove the component along $\hat{\mathbf x}$ and divide by the length, as in {eq}`eq-tangent`:
# `lambda x, g: (g - (g * u).sum(1, keepdim=True) * u) / n` with `n = x.norm(dim=1, keepdim=True)`
# and `u = x / n`.
#
# </details>
#
# **3.4** Write a function of the cosine $c$ and the margin $m$ that returns $\cos(\theta + m)$. Its
# gradient should be that of {eq}`eq-slope`, and it should be finite for every $c$, including
# $c = \pm 1$ and cosines that rounding has carried beyond.

# %%
exercises.check("3.4", None)

# %% [markdown]
# <details><summary>Solution 3.4</summary>
#
# The shortest solution keeps the root away from zero:
# `lambda c, m: c * math.cos(m) - (1 - c * c).clamp_min(1e-7).sqrt() * math.sin(m)`. In single
# precision it departs from the true sine at about the same place as {eq}`eq-safe`. From there on
# its sine is constant, with slope 0, while the package's continues as a straight line.
#
# Another way is to clamp $c$ to $\pm(1 - 10^{-6})$ before an arc cosine. A clamp to ±1 itself
# passes from PyTorch 2.14 on, where `clamp` has the derivative 0 at its bound, and fails from 0.4.1
# to 2.13, where that derivative is 1.
#
# </details>
#
# ## Recap
#
# - The gradient of a margin loss is scale over length, times weight, times slope, times tangent. It
#   turns an embedding and never stretches it.
# - A sample goes silent where $s\,\psi$ exceeds $\log(C - 1)$. Scale, margin and number of
#   identities set that angle together.
# - The straight-through gradient has ArcFace's value and CosFace's gradient. It lets go of easy
#   samples, pulls hard ones harder, and has the right sign everywhere.
# - Past $\pi - m$, `"linear"` goes on pulling, `"clip"` stops, and `"none"` pushes away unless it
#   is straight-through.
# - NaN comes from a cosine above 1, from an infinite slope at exactly 1, and from half-precision
#   zeros. Clamping the cosine inside the sine, giving the sine a finite slope ({eq}`eq-safe`), and
#   computing in float32 avoid all of them.
# - A margin that depends on the sample adds a term to the gradient. It strengthens the pull where
#   hard samples get the larger margin, and weakens it where easy samples do.
#
# If a margin acts through its gradient, who should get the larger one: the easy samples or the hard
# ones? Chapter 4 finds both answers in a single project, and follows each to its gradient.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`guo2021insightface`, {cite:t}`bengio2013estimating`;
# pytorch-metric-learning: {cite:t}`musgrave2020pytorch`. That class centres grow and slow down:
# {cite:t}`salimans2016weight`. The two sources of CDML: {cite:t}`datn`. The derivative of `clamp`
# at its bounds was set to 1 in PyTorch's
# [pull request 7049](https://github.com/pytorch/pytorch/pull/7049), and to 0 in version 2.14, as
# [issue 195931](https://github.com/pytorch/pytorch/issues/195931) reports.
