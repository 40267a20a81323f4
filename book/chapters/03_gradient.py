# %% [markdown]
# # The gradient of a margin
#
# :::{admonition} After this chapter you can
# :class: tip
# - write the gradient of any margin loss as a product of four factors, and say what each of them
#   does;
# - say at which angle a sample falls silent, and how scale and margin set it;
# - tell an exact gradient from a straight-through one, and say what the second does to easy and
#   hard samples;
# - name the answers to an angle beyond 180 degrees, and what each does to target and gradient;
# - make ArcFace return NaN in three ways, and write it so that it does not;
# - say what is added to the gradient when the margin itself depends on the sample.
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
identities = 10_575  # how many class centres there are, as in CASIA-WebFace

# %% tags=["hide-input"]
import math

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss

from cdmllab import geometry, heads, margins, plots
from cdmllab.analysis.numerics import survey
from cdmllab.analysis.target_curve import mixed_derivatives, pull, target_curve
from cdmllab.book import exercises, session
from cdmllab.margins.angular import add_angle

lab = session.start(profile, seed)

# %% [markdown]
# ## Four factors
#
# What does a margin *do*? It does nothing to an image at test time, when it is gone. All it ever
# does is to change a gradient during training, so that is where to look.
#
# Take one sample with embedding $\mathbf x$ and identity $y$, write $c_j = \cos\theta_j$ for its
# cosine to class centre $\hat{\mathbf w}_j$, and let the loss replace $c_y$ by $\psi(c_y)$. This is
# chapter 2's $\psi(\theta)$: since an angle and its cosine say the same, we read $\psi$ as a
# function of either.
#
# ```{math}
# :label: eq-gradient-loss
# L = -\log p_y, \qquad p_j = \frac{e^{z_j}}{\sum_k e^{z_k}}, \qquad
# z_y = s\,\psi(c_y), \quad z_j = s\,c_j \ (j \ne y) .
# ```
#
# The chain rule gives the gradient in three short steps. A softmax with cross entropy has
# $\partial L / \partial z_y = -(1 - p_y)$ and $\partial L / \partial z_j = p_j$. The logits bring
# $s$, and for the own class $\psi'(c_y)$. And a cosine moves with its embedding as
#
# ```{math}
# :label: eq-tangent
# \frac{\partial c_j}{\partial \mathbf x} = \frac{1}{\lVert\mathbf x\rVert}\,\mathbf t_j, \qquad
# \mathbf t_j = \hat{\mathbf w}_j - c_j\,\hat{\mathbf x},
# ```
#
# where $\mathbf t_j$ is what is left of the class centre when the part along $\hat{\mathbf x}$ is
# taken away: a **tangent** of the sphere at $\hat{\mathbf x}$ that points to the class centre,
# $\sin\theta_j$ long. Together:
#
# ```{math}
# :label: eq-gradient
# \frac{\partial L}{\partial \mathbf x} = \frac{s}{\lVert\mathbf x\rVert}
# \Bigl[ -(1 - p_y)\,\psi'(c_y)\,\mathbf t_y + \sum_{j \ne y} p_j\,\mathbf t_j \Bigr] .
# ```
#
# Four factors pull a sample to its class centre: the **scale** over the **length**, the **weight**
# $1 - p_y$ that the softmax gives it, the **slope** $\psi'$ of the margin, and the **tangent**. We
# write them out for eight samples and ask autograd whether it agrees.
#
# A {term}`head` is the package's word for class centres, scale and {term}`margin policy` together:
# embeddings and labels in, a loss out. {py:func}`heads.create <cdmllab.heads.create>` builds one.

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

# %%
x_hat, w_hat = geometry.unit(x.detach()), geometry.unit(head.centres.detach())
cosines = x_hat @ w_hat.T
own = target_curve(head.policy, cosines[y, y])
p = F.softmax(16.0 * cosines.index_put((y, y), own.target), dim=1)
t = w_hat - cosines.unsqueeze(2) * x_hat.unsqueeze(1)  # [8, 50, 16]
weights = p.index_put((y, y), -(1 - p[y, y]) * own.slope)
by_hand = 16.0 / x.detach().norm(dim=1, keepdim=True)
by_hand = by_hand * torch.einsum("bc,bcd->bd", weights, t) / len(y)
session.tell(agreement=(by_hand - by_autograd).abs().max().item())

# %% [markdown]
# The largest difference is {glue:text}`agreement:.0e`, which is rounding. (The loss is the mean
# over the batch, hence the last division.)
#
# ## Along the sphere, and by the length
#
# Every $\mathbf t_j$ is perpendicular to $\mathbf x$, so the whole gradient is: no loss on cosines
# can make an embedding longer or shorter on purpose. The gradient is also divided by the length.
# That counts twice: for a vector twice as long the gradient is half as large, and a step of half
# the size turns a vector of twice the length by a *quarter* of the angle. All of this holds for
# class centres too, for the same reason.

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
        "turn by a step of 0.01, degrees",
        "part along x",
    ],
    rows,
)

# %% tags=["remove-input"]
radial = (for_centres * w_hat).sum(1).abs().max().item()
session.tell(radial=radial)

# %% [markdown]
# Four times the length: a quarter of the gradient, a sixteenth of the turn. For the class centres
# the part along the centre is {glue:text}`radial:.0e`.
#
# This has a consequence that surprises people who watch their class centres. Let $\mathbf g$ be the
# gradient on a class centre and $\eta$ the learning rate. A step perpendicular to a vector makes it
# longer, by Pythagoras:
# $\lVert\mathbf w - \eta\,\mathbf g\rVert^2 = \lVert\mathbf w\rVert^2 + \eta^2\lVert\mathbf g\rVert^2$.
# So without weight decay class centres grow with every step, and the longer they are the slower
# they turn. Weight decay takes the length back, and thereby *raises* the speed at which they turn.
#
# ## Who still pulls
#
# The factor $1 - p_y$ is the softmax's opinion of whether a sample still needs help. Let there be
# $C$ class centres (the $c$ of other chapters, which is a cosine here), and let all but the own one
# stand at 90 degrees. Then
#
# ```{math}
# :label: eq-weight
# 1 - p_y = \frac{C - 1}{C - 1 + e^{s\,\psi(c_y)}},
# ```
#
# a switch: one half where $s\,\psi = \log(C - 1)$, almost one for worse samples, almost zero for
# better ones. For ArcFace that is at $\theta = \arccos\bigl(\log(C - 1)/s\bigr) - m$. How hard a
# sample is turned towards its centre is $\partial L / \partial\theta_y$, and with {eq}`eq-gradient`
# it is $s\,(1 - p_y)\,\psi'\sin\theta_y$.

# %% tags=["remove-input"]
for s in (16, 32, 64):
    half = math.degrees(math.acos(math.log(identities - 1) / s) - margin_rad)
    session.tell(**{f"half_{s}": half})
session.tell(identities=f"{identities:,}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How hard ArcFace turns a sample towards its class centre, for three scales, divided by the scale. Left of its cliff a sample is silent. All other class centres stand at 90 degrees. The jump at 151 degrees is the subject of a later section.", "name": "fig-scale"}, "image": {"alt": "Three curves over the angle that rise from zero like a step, at about 26 degrees for scale 16, 45 degrees for scale 32 and 53 degrees for scale 64, and fall together after it"}}
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
    ax, degrees, drawn, xlabel="", ylabel="∂L/∂θ over the scale", open_at=0.1
)
plots.degrees_axis(ax)

# %% [markdown]
# With {glue:text}`identities` identities, half of the weight is gone at {glue:text}`half_16:.0f`
# degrees for $s = 16$, at {glue:text}`half_32:.0f` for $s = 32$ and at {glue:text}`half_64:.0f` for
# $s = 64$ ({numref}`fig-scale`). **The scale decides at which angle a sample falls silent, and the
# margin moves that angle by exactly $m$.** A large scale makes a sharp switch and lets samples rest
# early; a small one keeps even good samples moving, and a very small one (chapter 2's $s = 1$ or 8)
# cannot get the loss small at all. This is why the same margin is not the same thing at two scales,
# and why a scale has to be told with every margin.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same as arrows: samples at 15 to 105 degrees from their class centre, each with the pull of its loss along the sphere, divided by the scale.", "name": "fig-arrows"}, "image": {"alt": "Two arcs with dots; on the left all dots beyond 20 degrees have an arrow towards the class centre, on the right only those beyond 50 degrees"}}
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
# The third factor is the margin's own. For $\psi = \cos(\theta + m)$,
#
# ```{math}
# :label: eq-slope
# \psi'(c) = \frac{d\cos(\theta + m)}{d\cos\theta} = \frac{\sin(\theta + m)}{\sin\theta} .
# ```
#
# For CosFace, $\psi = c - m$, it is 1: a constant goes away in a derivative. So far the
# mathematics. Now look at the code, at InsightFace's own arcface_torch {cite}`guo2021insightface`
# as it is today. There the arc cosine, the margin and the cosine are computed *without* gradient,
# and the result is written into the matrix of logits. What comes back through that matrix is the
# slope of the identity: 1. The value is ArcFace's, the gradient is CosFace's. We call it **{term}`straight-through <straight-through gradient>`**,
# after the same trick for step functions {cite}`bengio2013estimating`; the package has it as
# `gradient="straight_through"`.
#
# It was not always so, and a published model has the gradient of its day. The history of
# InsightFace's repository has four forms of ArcFace:
#
# | from | code | gradient | past 180 degrees |
# |---|---|---|---|
# | January 2018 | the authors' MXNet code | exact | `"linear"`; later, with the combined margin, `"none"` |
# | 8 March 2021 | arcface_torch | exact | `"none"` |
# | 21 January 2022 | arcface_torch (commit 2e2e8c9) | exact | `"linear"` |
# | 15 December 2022 | arcface_torch (commit 657ae30) | straight-through | `"none"` |

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
    ["cosine", "angle (degrees)", "exact over straight-through", "formula"], rows
)

# %% tags=["remove-input"]
session.tell(
    ratio_one=math.degrees((math.pi - margin_rad) / 2),
    sin_m=math.sin(margin_rad),
)

# %% [markdown]
# The third column is autograd's, the fourth is {eq}`eq-slope`. The ratio is 1 at
# $\theta = (\pi - m)/2$, here {glue:text}`ratio_one:.1f` degrees. Nearer to the centre the exact
# gradient is the stronger one, further away the weaker.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: the slope of the target. Right: how hard a sample is turned towards its centre, the weight of the softmax taken out: sin(θ + m) exactly, sin θ straight-through. Where the exact line is negative the gradient turns a sample away from its own centre.", "name": "fig-straight-through"}, "image": {"alt": "Two panels of two curves; on the left the exact slope falls from infinity through one at 76 degrees to below zero, the straight-through slope is one; on the right two arches, the exact one shifted to the left by the margin"}}
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
# The right panel says what this means for a sample.
#
# - **Easy samples.** The {term}`exact gradient` goes on pulling to the very centre, with $\sin m =$
#   {glue:text}`sin_m:.2f` at an angle of 0. Straight-through lets go: there its pull is
#   $\sin\theta$, as without any margin.
# - **Hard samples.** Beyond {glue:text}`ratio_one:.0f` degrees straight-through pulls harder.
# - **Beyond $\pi - m$.** The exact gradient of the plain formula turns a sample *away* from its own
#   centre. Straight-through never does: its sign is right everywhere.
#
# So straight-through shifts attention from easy samples to hard ones, and it is robust where the
# formula is not. (Here the other centres stand still. Where all angles move together the exact
# slope can drive a whole training to the far side: {doc}`chapter 12 </executed/12_reproduction>`
# shows one.) Two losses should be compared with the same kind of gradient. The weight $1 - p_y$ is
# the same for both, and with $s = 64$ and {glue:text}`identities` identities it takes half of
# either pull at {glue:text}`half_64:.0f` degrees, and nearer to the centre soon all of it.
#
# ### Which loss has this gradient?
#
# None, ArcFace's or any other. If some function $F$ of the cosines had
# $g_j = \partial F / \partial c_j$ as its gradient, its mixed second derivatives would agree:
# $\partial g_y / \partial c_j = \partial g_j / \partial c_y$. Straight-through has
# $g_y = -s\,(1 - p_y)$ and $g_j = s\,p_j$, with the probabilities of {eq}`eq-gradient-loss`, in
# which the margin still is. So
#
# ```{math}
# :label: eq-curl
# \frac{\partial g_y}{\partial c_j} = -s^2\, p_y\, p_j, \qquad
# \frac{\partial g_j}{\partial c_y} = -s^2\, p_y\, p_j\,\psi'(c_y) .
# ```
#
# They differ by the factor $\psi'$, and agree only where it is 1, which for CosFace is everywhere.
# Measured, for one sample and three centres:
#


# %% tags=["hide-input"]
three = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)  # the own cosine first
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
# ArcFace's exact gradient passes the test, and so does CosFace's. Straight-through fails it: what
# it descends is no hill. That does not make it bad, and both kinds are in use.
#
# ## Beyond 180 degrees
#
# Chapter 2 named four answers to $\theta + m > \pi$. Here are the three that act there, with their
# gradients. (The easy margin has none of this: where the cosine is negative the target is the
# cosine itself, whose gradient is CosFace's.)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The three answers beyond 180 degrees, from 120 degrees on. Left: the target. Right: how hard a sample is turned towards its centre (slope × sin θ).", "name": "fig-beyond"}, "image": {"alt": "Two panels; on the left the linear answer jumps down and goes on falling, clip stays at minus one, none rises; on the right linear jumps to a positive pull, clip is zero and none is negative"}}
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
        xlabel="angle θ to the own class centre (degrees)",
        ylabel=ylabel,
        open_at=0.05,
    )
    ax.set_xlim(120, 180)

# %% tags=["remove-input"]
end = math.pi - margin_rad
jump = -1.0 - (math.cos(end) - margin_rad * math.sin(margin_rad))
session.tell(
    jump=jump,
    end_deg=math.degrees(end),
)

# %% [markdown]
# | `beyond_pi` | target past $\pi - m$ | gradient there |
# |---|---|---|
# | `"linear"` | $\cos\theta - m\sin m$; at $\pi - m$ it jumps down by {glue:text}`jump:.3f` | CosFace's: right sign, never zero |
# | `"clip"` | $-1$ | zero: the sample is given up, as far as its own centre goes |
# | `"none"` | $\cos(\theta + m)$, rising again | the wrong sign |
# | `"none"`, straight-through | the same | right sign, as everywhere |
#
# The jump of `"linear"` is harmless to a gradient step, which sees slopes only. Does it matter at
# all? A sample beyond {glue:text}`end_deg:.0f` degrees points nearly *against* its own centre. In
# many dimensions fresh embeddings stand at 90 degrees, so such a sample is more likely mislabelled
# than hard. In three dimensions (chapter 1), and with large margins, it happens to others too.
#
# ## Where NaN comes from
#
# The right-hand side of {eq}`eq-slope` is infinite at $\theta = 0$ and at $\theta = \pi$. There the
# tangent has length 0, and on paper zero times infinity works out: the pull is $\sin(\theta + m)$.
# In floating point it is NaN. That would be a curiosity if samples did not arrive at their centres,
# and if rounding did not carry cosines *above* 1, where the arc cosine itself is NaN.
#
# We put a thousand random 512-dimensional embeddings exactly on their class centres, in three
# precisions: 32 bits, and the two 16-bit formats that PyTorch's autocast uses to save time. We
# compute the {term}`target` in seven ways.


# %%
def clamped_once(c: torch.Tensor) -> torch.Tensor:
    return torch.where(c > 1, 1.0, torch.where(c < -1, -1.0, c))


def textbook(c: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.acos(c) + margin_rad)


cos_m, sin_m = math.cos(margin_rad), math.sin(margin_rad)
library = ArcFaceLoss(2, 2, margin=math.degrees(margin_rad))
ways = {
    "cos(acos c + m)": textbook,
    "c cos m - √(1 - c²) sin m": lambda c: c * cos_m - (1 - c * c).sqrt() * sin_m,
    "the first, c clamped to ±1, PyTorch 0.4.1 to 2.13": lambda c: textbook(
        clamped_once(c)
    ),
    "the first, c clamped to ±1": lambda c: textbook(c.clamp(-1, 1)),
    "pytorch-metric-learning": library.modify_cosine_of_target_classes,
    "straight-through, c clamped to ±1": lambda c: (
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
session.Table(["% with NaN: target / gradient", *precisions], rows)

# %% tags=["remove-input"]
arrived = found["cos(acos c + m)", "float32"]
bound = torch.ones(1, requires_grad=True)
(at_bound,) = torch.autograd.grad(bound.clamp(-1, 1), bound)
session.tell(
    at_bound=at_bound.item(),
    one=arrived.exactly_one / arrived.samples,
    above=arrived.above_one / arrived.samples,
    torch=torch.__version__.partition("+")[0],
)
both = [survey(way, torch.float32, opposite=True) for way in ways.values()]
same = [survey(way, torch.float32) for way in ways.values()]
assert both == same

# %% [markdown]
# In single precision {glue:text}`one:.0%` of the cosines are exactly 1 and {glue:text}`above:.0%`
# are larger than 1. At 180 degrees the counts are the same. The rows tell three stories.
#
# **No clamp: NaN in the loss.** Both textbook forms take the arc cosine, or the root, of something
# outside its range as soon as rounding goes the wrong way. One such sample is enough: the loss of
# the batch is NaN, and after the step so is every weight.
#
# **A clamp to ±1, and PyTorch's version.** Clamping rescues the value; whether it rescues the
# gradient depends on a convention: what is the derivative of `clamp` *at* its bound? It was 0 up to
# PyTorch 0.4.0, is 1 from 0.4.1 (2018) to 2.13, and 0 again from 2.14 (2026) on. Where it is 1, the
# infinite slope of the arc cosine comes through, meets a tangent of length 0, and is NaN for every
# cosine that is exactly 1; where it is 0, the same line of code is quiet. PyTorch
# {glue:text}`torch`, which ran this page, has {glue:text}`at_bound:.0f`, and the third row has the
# other convention written out. So whether pytorch-metric-learning's ArcFace, whose code clamps to
# ±1, gives NaN at a class centre depends on the version of PyTorch.
#
# **No arc cosine in the gradient.** Straight-through has none by design. The package computes
#
# ```{math}
# :label: eq-safe
# \psi = c\cos m - \sin\theta \sin m, \qquad
# \sin\theta = \begin{cases} \sqrt{1 - c^2} & 1 - c^2 > \varepsilon \\
# (1 - c^2)/\sqrt{\varepsilon} & \text{else,} \end{cases}
# ```
#
# with $c$ clamped to ±1 in $\sin\theta$ and $\varepsilon$ the precision of the number format. The
# second line replaces the last cosines before ±1 by a straight line with a finite slope, and leaves
# all others alone. At exactly ±1 the slope is $\cos m$ or that of the line, by PyTorch's
# convention, and finite either way.

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
    ["cosine, float32", "exact slope", "this package", "times sin θ"], rows
)

# %% [markdown]
# The slopes are large, the way is short: what a sample feels is the last column, and never more
# than a pull of order one.
#
# Two more ways to NaN have nothing to do with the margin, and are as common.

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
        "step between logits below 64",
    ],
    rows,
)

# %% [markdown]
# - **A dead embedding.** `F.normalize` divides by at least $10^{-12}$. In float16 that number is
#   zero, and a zero embedding becomes NaN; in the other formats it is kept at zero and gets a
#   gradient of $10^{12}$. `geometry.unit` leaves it at zero with gradient zero.
# - **An exponential.** $e^{64}$ overflows float16, whose largest number is 65,504. Cross entropy
#   takes the largest logit away first; a loss that sums exponentials by itself has to do the same.
# - **Coarse logits.** No NaN, but worse, since nobody notices: near $s = 64$, bfloat16 moves in
#   steps of a quarter. A margin that is a few thousandths different for two samples can vanish in
#   such a step.
#
# That is why the package's heads work in float32, whatever autocast is on; the network before them
# may be as coarse as it likes. `heads` raise an error for an embedding that is not finite, and
# training stops with a diagnosis.
#
# ## A margin that follows the sample
#
# CDML's margin depends on the sample's own cosine, $m = m(c)$, by {eq}`eq-cdml`. Differentiate that
# too, and the chain rule has one more term:
#
# ```{math}
# :label: eq-full-gradient
# \frac{d}{dc} \cos\bigl(\theta + m(c)\bigr) =
# \frac{\sin(\theta + m)}{\sin\theta} - \sin(\theta + m)\,\frac{dm}{dc} .
# ```
#
# Its sign is that of the policy. Where *hard* samples get the larger margin, as in the public code,
# $m$ falls as the sample gets easier: $dm/dc < 0$, and the pull grows. A sample is rewarded twice
# for coming closer, by its cosine and by the discount on its margin. Where *easy* samples get the
# larger margin, as in the document, it is the other way round: coming closer costs margin, and the
# sample is paid a little for staying hard. The package holds $m$ constant in the gradient
# (`detach_margin=True`); the public code differentiates through it. With the step, whose slope is
# zero almost everywhere, there is no difference.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How hard CDML turns a sample towards its centre (slope × sin θ, the weight taken out), with the margin held constant and differentiated too. Left: easy samples get the larger margin, linear in the similarity. Right: the public code's gap form, hard samples get the larger one.", "name": "fig-detached"}, "image": {"alt": "Two panels of two curves over the angle; on the left the differentiated slope is lower, on the right it is slightly higher than the detached one"}}
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
session.tell(
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
session.tell(
    gap_own=g[0].item(),
    gap_foreign=g[1].item(),
)

# %% [markdown]
# (The step at 60 degrees on the left is the pivot: on its easy side, at smaller angles, easiness rises three times as
# fast as on the other, since both sides have to reach the ends, ±1.) At {glue:text}`effect_at:.0f`
# degrees the extra term changes the pull by {glue:text}`effect_easy:+.1%` (easy larger) and by
# {glue:text}`effect_hard:+.1%` (hard larger): more than a detail where losses are ranked by tenths
# of a point.
#
# The gap form has a third effect. Its margin looks at the best *foreign* centre too, so the target
# itself has a slope there: with $c_y = 0.5$ and $\max c_j = 0.2$ it is {glue:text}`gap_own:.3f` to
# the own and {glue:text}`gap_foreign:.3f` to the foreign cosine. The sample is pushed away from its
# best foreign centre by more than the softmax asks for.
#
# :::{admonition} Where we deviate
# :class: note
# The default of ArcFace and CDML in this book is the exact gradient with `"linear"` beyond $\pi$
# and a margin held constant. `gradient="straight_through", beyond_pi="none"` is arcface_torch's
# ArcFace since December 2022; `CDML.datn_code_gap()` and `CDML.datn_code_angle_gap()` are the public CDML
# code's forms, differentiated fully. In that code the ArcFace beside them is straight-through, so a
# comparison of the two mixes the margin with the gradient. What this page computes without a word
# about precision is in float64; training works in float32.
# :::
#
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
# **3.2** ArcFace with $m = 0.5$ and $s = 64$ is trained with a million identities, all other
# centres at 90 degrees. At which angle, in degrees, has a sample half of its weight,
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
# Take the part along $\hat{\mathbf x}$ away and divide by the length, as in {eq}`eq-tangent`:
# `lambda x, g: (g - (g * u).sum(1, keepdim=True) * u) / n` with `n = x.norm(dim=1, keepdim=True)`
# and `u = x / n`.
#
# </details>
#
# **3.4** Write a function of the cosine $c$ and the margin $m$ that returns $\cos(\theta + m)$. Its
# gradient shall be that of {eq}`eq-slope`, and finite for every $c$, also for $c = \pm 1$ and for
# cosines that rounding has carried beyond.

# %%
exercises.check("3.4", None)

# %% [markdown]
# <details><summary>Solution 3.4</summary>
#
# The shortest keeps the root away from zero:
# `lambda c, m: c * math.cos(m) - (1 - c * c).clamp_min(1e-7).sqrt() * math.sin(m)`. In single
# precision it leaves the true sine at about the same place as {eq}`eq-safe`. From there on its sine
# is constant, with slope 0; the package's goes on as a straight line. Clamping $c$ to
# $\pm(1 - 10^{-6})$ before an arc cosine does too. A clamp to ±1 itself passes from PyTorch 2.14
# on, where `clamp` has the derivative 0 at its bound, and fails from 0.4.1 to 2.13, where that is 1.
#
# </details>
#
# ## Recap
#
# - The gradient of a margin loss is scale over length, times weight, times slope, times tangent; it
#   turns an embedding and never stretches it.
# - A sample falls silent where $s\,\psi$ passes $\log(C - 1)$: scale and margin set that angle
#   together.
# - Straight-through has ArcFace's value and CosFace's gradient: it lets go of easy samples, pulls
#   hard ones harder, and its sign is right everywhere.
# - Past $\pi - m$, `"linear"` goes on pulling, `"clip"` stops, and `"none"` pushes away unless it
#   is straight-through.
# - NaN comes from a cosine above 1, from an infinite slope at exactly 1, and from half-precision
#   zeros. A cosine clamped in the sine, a sine with a finite slope ({eq}`eq-safe`), and float32
#   avoid all of them.
# - A margin that depends on the sample adds a term: it strengthens the pull where hard samples get
#   more, weakens it where easy ones do.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`guo2021insightface`, {cite:t}`bengio2013estimating`;
# pytorch-metric-learning: {cite:t}`musgrave2020pytorch`. That class centres grow and slow down:
# {cite:t}`salimans2016weight`. The derivative of `clamp` at its bounds was set to 1 in PyTorch's
# [pull request 7049](https://github.com/pytorch/pytorch/pull/7049), and to 0 in version 2.14, as
# [issue 195931](https://github.com/pytorch/pytorch/issues/195931) reports.
