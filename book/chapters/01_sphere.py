# %% [markdown]
# # Embeddings on a sphere
#
# :::{admonition} After this chapter you can
# :class: tip
# - explain what an embedding is, and why only its direction counts;
# - write ArcFace in ten lines of PyTorch, and say what its margin asks of a sample;
# - see a margin at work: as it grows, classes shrink and move apart;
# - read a histogram of genuine and impostor angles, and turn it into a verification accuracy;
# - distinguish a closed-set result from an open-set one, and distrust the first.
# :::
#
# :::{admonition} What you need
# :class: note
# Linear algebra and a little PyTorch. The data, 1,797 real handwritten digits, come with
# scikit-learn. The chapter trains twenty-eight small networks, which takes about two minutes on one
# CPU core.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu", or "gpu" to train on CUDA where there is a device
seed = 0  # of the trainings: seed, seed + 1 and seed + 2
loss = "cdml"  # the third loss: any margin loss but arcface
epochs = 40  # passes over the training digits

# %% tags=["hide-input"]
import statistics

import torch
import torch.nn.functional as F
from myst_nb import glue

from cdmllab import evaluate, heads, plots
from cdmllab.analysis import sphere
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import Hypersphere
from cdmllab.data import digits, pairs
from cdmllab.geometry import angle_between, unit
from cdmllab.training import Config, Snapshots, embed, train

lab = session.start(profile, seed)

# %% [markdown]
# ## A ruler for strangers
#
# Here are two photographs. Do they show the same person? We cannot train a classifier to answer,
# because the people will be strangers: the system meets them for the first time on the day it is
# used. What we can train is a *ruler*. A network $f$ turns an image into a point, its
# **{term}`embedding`** $\mathbf x = f(\text{image}) \in \mathbb R^d$, and the closer two points
# are, the more alike we call the images.
#
# Faces have to wait until chapter 6. Here the "people" are handwritten digits: small, real, and
# quick to train on. The digits 0 to 6 are the {term}`identities <identity>` that the network
# learns from. The digits 7, 8 and 9 play the strangers.

# %% tags=["hide-input"]
known, held_out = digits.split(digits.load(range(7)), held_out=0.25)
strangers = digits.load([7, 8, 9])
session.report(
    n_train=len(known.labels),
    n_held_out=len(held_out.labels),
    n_strangers=len(strangers.labels),
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The three parts of the data: digits to train on, new images of the same digits, and digits the network never sees in training.", "name": "fig-digits"}, "image": {"alt": "Three sheets of handwritten digits, eight by eight pixels each"}}
fig, axes = plots.figure(3, width=7.2, height=1.5)
for ax, part, title in zip(
    axes,
    (known, held_out, strangers),
    ("train", "held out", "strangers"),
    strict=True,
):
    plots.images(ax, part.images[:21], columns=7, title=title)

# %% [markdown]
# We train on {glue:text}`n_train` images, keep {glue:text}`n_held_out` images of the same seven
# digits for testing, and have {glue:text}`n_strangers` images of strangers.
#
# ## Only the direction counts
#
# A network could make an embedding longer without changing which class it points at. We therefore
# drop the length and keep the direction,
#
# ```{math}
# :label: eq-unit
# \hat{\mathbf x} = \frac{\mathbf x}{\lVert\mathbf x\rVert},
# ```
#
# a point on the unit {term}`sphere <hypersphere>`. Two directions are compared by the angle between
# them, or by its **{term}`cosine`**, which is cheaper to compute and falls as the angle grows:
#
# ```{math}
# :label: eq-cosine
# \cos\theta = \hat{\mathbf x}_1 \cdot \hat{\mathbf x}_2 .
# ```

# %%
a, b = torch.tensor([3.0, 4.0, 0.0]), torch.tensor([30.0, 40.0, 0.0])
print("lengths", a.norm().item(), b.norm().item())
print("angle (rad)", angle_between(a, b).item())

# %% [markdown]
# One vector is ten times as long as the other, and the angle between them is zero. On the sphere
# they are the same point.
#
# ## What moves the points
#
# Every training identity $j$ gets a **{term}`class centre`** $\hat{\mathbf w}_j$ on the same
# sphere, which is learned together with the network. Let $\theta_j$ be the angle between an
# embedding and centre $j$, and $y$ the correct identity. The simplest loss on angles is
# cross-entropy over the cosines, multiplied by a {term}`scale` $s$ that sets how sharply the
# centres compete. It is called NormFace {cite}`wang2017normface`:
#
# ```{math}
# :label: eq-normface-loss
# L = -\log \frac{e^{s\cos\theta_y}}{e^{s\cos\theta_y} + \sum_{j\ne y} e^{s\cos\theta_j}} .
# ```
#
# Once an image is a little closer to its own centre than to the others, this loss is nearly zero
# and the image stops learning. For a ruler that is too early: images of one identity are still
# scattered. **{term}`ArcFace`** {cite}`deng2019arcface` therefore handicaps the correct answer. In
# training, its angle counts as $\theta_y + m$, and $m$ is called the **{term}`margin`**:
#
# ```{math}
# :label: eq-arcface
# L = -\log \frac{e^{s\cos(\theta_y + m)}}{e^{s\cos(\theta_y + m)} + \sum_{j\ne y} e^{s\cos\theta_j}} .
# ```
#
# To win despite the handicap, an image has to come closer to its centre than it otherwise would.
# The whole loss fits into ten lines:


# %%
def arcface(embeddings, centres, labels, s=16.0, m=0.5):
    cosines = F.normalize(embeddings) @ F.normalize(centres).T
    rows = torch.arange(len(labels))
    theta = torch.acos(cosines[rows, labels].clamp(-1, 1))
    logits = s * cosines
    logits[rows, labels] = s * torch.cos(theta + m)
    return F.cross_entropy(logits, labels)


# %% [markdown]
# The package has the same loss as a *head*, which also holds the centres. On random embeddings the
# two agree. (The option `beyond_pi="none"` leaves the formula as it is where $\theta + m$ exceeds
# $\pi$; chapter 2 explains what the default does there.)

# %%
options = {"scale": 16.0, "margin_rad": 0.5, "beyond_pi": "none"}
head = heads.create("arcface", embedding_dim=3, num_identities=7, **options)
x, y = torch.randn(32, 3), torch.randint(7, (32,))
print(f"ten lines {arcface(x, head.centres, y):.6f}, head {head(x, y).loss:.6f}")

# %% [markdown]
# Why not use the ten lines from here on? Because the arc cosine fails where an angle is 0 or
# $\pi$, because $\theta + m$ can exceed $\pi$, and because real training sets have up to millions
# of centres. Chapters 2, 3 and 14 take these up one at a time.
#
# ## A margin at work
#
# Now we turn the handicap up slowly. The same network learns the seven digits six times, with
# margins from 0 (NormFace) to 0.5 rad, and each time with three random seeds. Its embedding has
# only three dimensions, so that we can look at all of it; a face network has 512.

# %% tags=["hide-input"]
width, steps_down = 16, [max(epochs * 6 // 10, 1), max(epochs * 85 // 100, 1)]
network = {"name": "small", "size": 8, "channels": 1, "width": width}
recipe = Config.parse(
    {
        "name": "sphere",
        "data": {"name": "digits", "classes": list(range(7)), "held_out": 0.25},
        "backbone": {**network, "embedding_dim": 3},
        "loss": {"name": "arcface", "scale": 16.0, "margin_rad": 0.5},
        "optimiser": {"lr": 0.05, "milestones": steps_down},
        "epochs": epochs,
        "device": lab.device,
    }
)
seeds = [lab.seed, lab.seed + 1, lab.seed + 2]


def trainings(chosen, recipe=recipe):
    """The same training with three seeds."""
    return [
        train(recipe.changed(loss=chosen, seed=s), within=lab.runs) for s in seeds
    ]


# %%
margins = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
by_margin = {
    m: trainings({"name": "arcface", "scale": 16.0, "margin_rad": m})
    for m in margins
}

# %% [markdown]
# We embed the *held-out* digits, images that the network has not seen. Two angles describe what
# has happened. The **spread** is the angle from an image to the centre of its class; the **gap** is
# the angle from a class centre to the nearest other one.

# %% tags=["hide-input"]
points = {
    m: [unit(embed(t.backbone, held_out.images)) for t in runs]
    for m, runs in by_margin.items()
}
centres = {
    m: [unit(t.head.centres.detach()) for t in runs]
    for m, runs in by_margin.items()
}
y = held_out.labels
spread = {
    m: [
        torch.rad2deg(angle_between(p, c[y]))
        for p, c in zip(points[m], centres[m], strict=True)
    ]
    for m in margins
}
spread_deg = [[x.median().item() for x in spread[m]] for m in margins]
gap_deg = [[sphere.nearest_deg(c).mean() for c in centres[m]] for m in margins]
widest = sphere.nearest_deg(sphere.most_even(7, 3)).min()
session.report(
    spread_without=statistics.fmean(spread_deg[0]),
    spread_with=statistics.fmean(spread_deg[-1]),
    gap_without=statistics.fmean(gap_deg[0]),
    gap_with=statistics.fmean(gap_deg[-1]),
    widest=widest,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Held-out digits on the unit sphere, trained without a margin and with two margins; each point is an image, coloured by digit. A circle holds nine in ten images of its digit. The globes are rotated so that the same digits lie at the same place.", "name": "fig-spheres"}, "image": {"alt": "Three globes with points in seven colours and a circle around each colour; without a margin the circles overlap, with the largest margin they are smaller and farther apart"}}
shown = [0.0, 0.2, 0.5]
reference = centres[0.5][0].numpy()
eye = plots.facing(reference)
fig, axes = plots.figure(len(shown), width=7.6, height=2.8)
for ax, m in zip(axes, shown, strict=True):
    turn = sphere.aligning_rotation(centres[m][0].numpy(), reference)
    at = centres[m][0].numpy() @ turn
    plots.sphere(
        ax,
        points[m][0].numpy() @ turn,
        y,
        centres=at,
        names="0123456",
        view_deg=eye,
        title=f"m = {m:g}" if m else "no margin",
    )
    reach = [spread[m][0][y == k].quantile(0.9).item() for k in range(7)]
    plots.caps(ax, at, reach, eye)
session.report(**{"fig-hero": fig})

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Spread and gap against the margin, at scale 16: each dot is one training, the line is the mean of three seeds. Left: median angle from a held-out image to the centre of its class. Right: mean angle from a class centre to the nearest other one; seven points on a sphere cannot be farther apart than the dashed line.", "name": "fig-margin-at-work"}, "image": {"alt": "Two panels over the margin from 0 to 0.5 radians; on the left the spread falls, on the right the gap rises towards a dashed line"}}
fig, axes = plots.figure(2, width=7.2, height=2.5)
plots.over_margin(axes[0], margins, spread_deg, title="spread")
plots.over_margin(axes[1], margins, gap_deg, title="gap", bound_deg=widest)

# %% [markdown]
# This is what a margin is for. Without one, the median image ends {glue:text}`spread_without:.0f`
# degrees from its centre; with $m = 0.5$ it ends {glue:text}`spread_with:.0f` degrees away. At the
# same time the gap grows from {glue:text}`gap_without:.0f` to {glue:text}`gap_with:.0f` degrees. At
# test time the margin is gone. It only ever acted through the gradient, by keeping up the pressure
# on images that had already won.
#
# The dashed line shows where this must end: no arrangement of seven points on a sphere has a
# larger gap than {glue:text}`widest:.1f` degrees. More dimensions leave more room, and real
# networks have plenty of it.
#
# ## Three losses
#
# Two more losses complete the cast of this book. **{term}`Softmax <softmax>`** is what a
# classifier uses. It compares dot products, so the lengths of embedding and centre still take part,
# and each class has a bias $b_j$:
#
# ```{math}
# :label: eq-softmax
# L = -\log \frac{e^{\mathbf w_y \cdot \mathbf x + b_y}}{\sum_j e^{\mathbf w_j \cdot \mathbf x + b_j}} .
# ```
#
# **{term}`CDML`** lets the margin follow the sample. An {term}`easiness` $e_i \in [-1, 1]$ states
# how easy sample $i$ is: 1 for the easiest, $-1$ for the hardest. Then
#
# ```{math}
# :label: eq-cdml
# m_i = m_{\text{base}}\,(1 + \alpha\, e_i) .
# ```
#
# We use the simplest version, with just two margins. A sample closer than 60 degrees to its centre
# is easy and gets $1.2\,m_{\text{base}}$, any other is hard and gets $0.8\,m_{\text{base}}$, with
# $m_{\text{base}} = 0.49$. Why one would want this, and whether it helps, is the subject of this
# book.

# %%
losses = {
    "softmax": {"name": "softmax"},
    "normface": {"name": "normface", "scale": 16.0},
    "arcface": {"name": "arcface", "scale": 16.0, "margin_rad": 0.5},
    loss: {"name": loss, "scale": 16.0},
}
trained = {
    "softmax": trainings(losses["softmax"]),
    "normface": by_margin[0.0],
    "arcface": by_margin[0.5],
    loss: trainings(losses[loss]),
}

# %% [markdown]
# We train the last one once more, look at the held-out digits after some epochs, and put the globe
# into your hands. **Try this:** at which epoch do the classes stop moving apart and only shrink?

# %% tags=["hide-input"]
moments = sorted({min(k, epochs) for k in (0, 1, 2, 3, 5, 8, 12, 18, 26, epochs)})
seen = Snapshots(held_out.images, held_out.labels, moments)
third = recipe.changed(loss=losses[loss], seed=lab.seed)
train(third, within=lab.runs, redo=True, at_epoch=seen)
elevation, azimuth = plots.facing(seen.centres[-1])
globe = Hypersphere.from_embeddings(
    seen.points,
    seen.labels,
    seen.centres,
    seen.margin_rad,
    epochs=seen.epochs,
    names="0123456",
    elevation_deg=elevation,
    azimuth_deg=(azimuth + 180.0) % 360.0 - 180.0,
)
glue("widget-hypersphere", globe)

# %% [markdown]
# Before training, the points lie wherever the random network puts them, and so do the class
# centres. Within a few epochs the points find their centres and the centres move apart. Colour the
# points by margin: with CDML a point is either easy or hard, and hard ones soon become rare.
#
# ## Genuine and impostor angles
#
# A **{term}`genuine <genuine pair>`** pair shows one identity twice, an **{term}`impostor <impostor pair>`**
# pair shows two identities. All pairs of held-out digits give two histograms. A ruler is good when
# they do not overlap.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Angles of all genuine and impostor pairs of held-out digits, as densities: known identities, new images.", "name": "fig-angles"}, "image": {"alt": "One pair of histograms for each loss; genuine angles lie mostly below 45 degrees, impostor angles mostly above"}}
all_pairs = pairs.every(held_out.labels)
fig, axes = plots.figure(len(losses), width=7.6, height=2.0)
for ax, (name, runs) in zip(axes, trained.items(), strict=True):
    scores = evaluate.scores(embed(runs[0].backbone, held_out.images), all_pairs)
    plots.angle_histogram(
        ax, scores, all_pairs.same, title=plots.label(name), legend=ax is axes[0]
    )

# %% [markdown]
# To decide, we choose a **{term}`threshold`** and accept a pair when its cosine reaches it. The
# share of pairs that are judged correctly is the **{term}`verification` accuracy**. The threshold
# must come from other pairs than those it judges. The standard protocol therefore has ten
# {term}`folds <fold>`, and each fold is judged with the threshold that is best on the other nine
# {cite}`huang2008lfw`. {py:func}`evaluate.verify <cdmllab.evaluate.verify>` does all of this.
#
# ## Strangers
#
# Now the question we started with. The digits 7, 8 and 9 took no part in the training. We draw
# 6,000 pairs of them, half of them genuine, in ten folds. (The folds of LFW, the field's best-known
# test, share no people; with three digits, ours have to.) For comparison we add the humblest ruler
# there is, the cosine of the raw pixels after subtracting the mean image. And because three
# dimensions are few, ArcFace gets a second chance with thirty-two.

# %% tags=["hide-input"]
roomy = recipe.changed(backbone={**network, "embedding_dim": 32})
wide = {"ArcFace, 32-d": trainings(losses["arcface"], roomy)}
protocols = {
    "known": (held_out, pairs.sample(held_out.labels, per_fold=300, seed=0)),
    "strangers": (
        strangers,
        pairs.sample(strangers.labels, per_fold=300, seed=0),
    ),
}
mean_image = known.images.mean(0)
accuracy = {
    (name, which): [
        evaluate.verify(embed(t.backbone, part.images), drawn).accuracy.mean
        for t in runs
    ]
    for name, runs in {**trained, **wide}.items()
    for which, (part, drawn) in protocols.items()
}
accuracy |= {
    ("raw pixels", which): [
        evaluate.verify(
            (part.images - mean_image).flatten(1), drawn
        ).accuracy.mean
    ]
    for which, (part, drawn) in protocols.items()
}

# %% tags=["hide-input"]
rows = [
    [
        plots.label(name),
        *(session.mean_sd(accuracy[name, which]) for which in protocols),
    ]
    for name in ["raw pixels", *losses, *wide]
]
session.Table(
    ["accuracy in %, 10 folds", "known digits, new images", "strangers"], rows
)

# %% tags=["remove-input"]
mean = {}
for (name, which), values in accuracy.items():
    key = "_".join(
        ["acc", *name.lower().replace(",", "").replace("-", "").split(), which]
    )
    mean[name, which] = statistics.fmean(values)
    session.report(**{key: mean[name, which]})
last = trained[loss][0].run.metrics()["margin_rad"][-20:].mean()
lengths = [
    embed(t.backbone, held_out.images).norm(dim=1).mean()
    * t.head.centres.detach().norm(dim=1).mean()
    for t in trained["softmax"]
]
soft_gap = [sphere.nearest_deg(t.head.centres).mean() for t in trained["softmax"]]
session.report(
    margin_at_the_end=float(last),
    softmax_scale=statistics.fmean(x.item() for x in lengths),
    softmax_gap=statistics.fmean(soft_gap),
    beside_strangers=session.comparison(
        mean["arcface", "strangers"], mean["raw pixels", "strangers"]
    ),
    beside_wide=session.comparison(
        mean["ArcFace, 32-d", "strangers"], mean["raw pixels", "strangers"]
    ),
)

# %% [markdown]
# The table shows means and standard deviations over three seeds.
#
# **Known digits.** At scale 16, the margin lifts the accuracy from
# {glue:text}`acc_normface_known:.1%` (NormFace) to {glue:text}`acc_arcface_known:.1%` (ArcFace). But
# softmax reaches {glue:text}`acc_softmax_known:.1%` without any margin. How? It is free to choose
# its own scale: in a dot product, length acts as scale, and here embedding and centre together have
# a length of {glue:text}`softmax_scale:.1f`, far less than 16. At a small scale the loss is never
# quite satisfied, so it keeps pushing, and the centres end {glue:text}`softmax_gap:.0f` degrees
# apart. With seven classes a small scale does the work of a margin. With ten thousand it cannot, as
# chapter 2 shows: there the scale must be large, and at a large scale it takes a margin to keep up
# the pressure. A margin means little unless its scale is reported.
#
# **Strangers.** Here ArcFace reaches {glue:text}`acc_arcface_strangers:.1%`. That is
# {glue:text}`beside_strangers` the {glue:text}`acc_raw_pixels_strangers:.1%` of raw pixels, which
# nobody trained. With thirty-two dimensions the same loss reaches
# {glue:text}`acc_arcface_32d_strangers:.1%`, {glue:text}`beside_wide` the pixels. Room is one
# problem, and the task is the other: the networks learned to separate seven digits, and nothing
# asked them to keep what distinguishes a 7 from a 9.
#
# These are the most useful numbers of the chapter. A **{term}`closed-set`** result, on known
# identities, says little about an **{term}`open-set`** one, on strangers. Face recognition is
# open-set. That is why its training sets have ten thousand identities and more, and why its test
# sets show other people. How does a margin on known people help to recognise strangers at all?
# Chapter 2 begins with that question.
#
# :::{admonition} Where we deviate
# :class: note
# Real systems use 512 dimensions, scale 64 and half a million images or more. Three seeds cannot
# rank losses that are a point apart, and these losses were not tuned alike: ArcFace has a margin of
# 0.5 for all samples, while CDML's easy ones have 0.588, and at the end of the training nearly all
# samples are easy (the mean margin of the last batches is {glue:text}`margin_at_the_end:.3f`). A
# fair comparison holds the mean margin equal. This chapter makes none.
# :::
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(1)

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `None` and run the cell.
#
# **1.1** What is the angle, in degrees, between the vectors $(4, 3)$ and $(5, 0)$? Use
# {eq}`eq-unit`, then {eq}`eq-cosine`.

# %%
exercises.check("1.1", None)

# %% [markdown]
# <details><summary>Solution 1.1</summary>
#
# Both vectors have length 5. Their dot product is 20, so the cosine is $20 / 25 = 0.8$ and the
# angle $\arccos 0.8 \approx 36.87$ degrees: `math.degrees(math.acos(0.8))`.
#
# </details>
#
# **1.2** Write a function of embeddings `x` of shape `[b, d]` and centres `w` of shape `[c, d]`
# that returns all cosines, shape `[b, c]`, in one line of PyTorch.

# %%
exercises.check("1.2", None)

# %% [markdown]
# <details><summary>Solution 1.2</summary>
#
# `lambda x, w: torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(w).T`. The
# package's `geometry.cosine` does the same, and keeps the gradient of a zero vector at zero.
#
# </details>
#
# **1.3** Six pairs have the scores 0.9, 0.8 and 0.7 (genuine) and 0.75, 0.6 and 0.1 (impostor).
# Name a threshold that errs only once.

# %%
exercises.check("1.3", None)

# %% [markdown]
# <details><summary>Solution 1.3</summary>
#
# Any threshold above 0.6 and up to 0.7 lets one impostor in (0.75); any above 0.75 and up to 0.8
# keeps one genuine pair out (0.7). Both are best. No threshold does without an error, since 0.75
# lies above 0.7.
#
# </details>
#
# **1.4** Run this chapter with another third loss, `-p loss cosface` say, and with other seeds.
# Which differences in the table keep their sign? There is no checker for this one: the answer is in
# your tables.
#
# ## Recap
#
# - An embedding is a point that stands for an image; we keep its direction, so it lies on a
#   sphere.
# - ArcFace is cross-entropy on scaled cosines, with a handicap $m$ on the angle of the correct class.
# - As the margin grows, images move closer to their class centre and the centres move apart, until
#   the sphere has no more room.
# - CDML's margin $m_i$ follows the easiness of the sample.
# - Genuine and impostor angles, a threshold, ten folds: that is verification accuracy.
# - Accuracy on known identities says little about strangers.
#
# ## References
#
# NormFace: {cite:t}`wang2017normface`. ArcFace: {cite:t}`deng2019arcface`. Ten folds of pairs: {cite:t}`huang2008lfw`. The digits:
# {cite:t}`alpaydin1998digits`, through scikit-learn {cite}`pedregosa2011sklearn`.
