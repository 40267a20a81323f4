# %% [markdown]
# # An atlas of margins
#
# :::{admonition} After this chapter you can
# :class: tip
# - write any margin loss in one notation, and state its margin in radians and as a cosine;
# - find out by measurement what moves a margin and which samples get the larger one;
# - read the formulas of the losses that this book has only named so far;
# - recognise two losses that look different and rank samples alike, and the reverse;
# - explain what a softmax over class centres has that triplets and pairs do not.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 2 to 4. Nothing is trained here: the chapter runs in half a minute on one core.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of the random samples and class centres
samples = 1_000  # random samples for the comparison of margins
scale = 64.0  # s of all losses but AdaCos, which sets its own
identities = 10_000  # class centres in the comparison with triplets

# %% tags=["hide-input"]
import math

import numpy as np
import torch
from myst_nb import glue

from cdmllab import margins, plots
from cdmllab.analysis import atlas, margin_axes, pair_gradients, papers
from cdmllab.analysis.margin_axes import Place
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import TwoLosses

lab = session.start(profile, seed)

# %% [markdown]
# ## One notation
#
# CDML is one of two dozen ideas for moving a margin. Each paper has its own letters, its own
# figures and its own defaults, so the ideas are hard to compare. Let us write them all in the same
# way.
#
# A sample has the angle $\theta$ to its target centre and the cosine $c_j$ to a negative centre
# $j$. Every loss of this chapter replaces the target cosine by
#
# ```{math}
# :label: eq-atlas-target
# \psi = \psi(\theta;\ \text{state}) .
# ```
#
# The **state** is everything else that the loss looks at: the sample's identity, its negatives, the
# length of its embedding, or how far the training has come. Some losses also change the negatives,
# from $c_j$ to $\tilde c_j$. Most of them are a softmax of these values times the scale. Two ask of
# each identity separately whether the sample is one of it (SphereFace2 and UniFace).
#
# How large is the margin? There are two honest answers. One is an angle: how far the target has
# moved on the sphere, in radians.
#
# ```{math}
# :label: eq-atlas-rad
# \delta = \arccos\psi - \theta
# ```
#
# The other is a cosine: how much of its lead over a negative the sample loses.
#
# ```{math}
# :label: eq-atlas-cos
# \Delta = (\cos\theta - \psi) + (\tilde c_j - c_j)
# ```
#
# The first is constant for ArcFace, the second for CosFace. Only the second can see what a loss
# does to the negatives, so we use it whenever negatives matter.
#
# ## What moves a margin?
#
# A paper tells you what its authors *want* the margin to follow. We can also ask the code. For each
# registered loss, the package varies one thing at a time and watches whether the margin moves:

# %%
for name in ("arcface", "magface", "curricularface"):
    print(name, atlas.movers(name))
print("cdml with the gap", atlas.movers("cdml", easiness="gap"))

# %% [markdown]
# Five things are varied: the sample's angle, its hardest negative, the length of its embedding, the
# number of images of its identity, and the progress of the training. A sixth cause shows when equal
# samples have different margins: chance.
#
# Two rules keep the answer sharp. The *angle* counts only if the target is not
# $\cos(\theta + a) - b$ with constants $a$ and $b$, so ArcFace and CosFace are moved by nothing.
# The *gap* counts only if a nearer negative matters more at some target angles than at others; a
# loss that rescales all its negatives alike does not compare them with the target.
#
# Next comes the direction. Each cause has an easy end: a small angle, a distant negative, a long
# embedding (a sharp image, if training goes as its authors intend), an identity with many images. We
# compare the mean margin of the easier half of the places with that of the harder half. The last two
# columns are in degrees for the losses that the angle moves, and in units of the cosine for all
# others.

# %% tags=["hide-input"]
rows = atlas.atlas()
families = {row.name: row.family for row in rows}
words = plots.FAMILY_WORDS


def size(row, value):
    """A margin in its unit, or a dash."""
    if math.isnan(value):
        return "–"
    return f"{value:.0f}°" if row.family == "angle" else f"{value:.2f}"


session.Table(
    ["loss", "moved by", "larger for", "easy half", "hard half"],
    [
        [
            row.label,
            " and ".join(words[mover] for mover in row.moved_by),
            {"easy": "easy", "hard": "hard"}.get(row.larger_for, "neither"),
            size(row, row.easy),
            size(row, row.hard),
        ]
        for row in rows
    ],
)

# %% tags=["remove-input"]
agree = sum(row.moved_by == margins.moved_by(row.name) for row in rows)
session.report(
    losses=len(rows),
    agree=agree,
    unmoved=sum(row.moved_by == ("nothing",) for row in rows),
    hard=sum(row.larger_for == "hard" for row in rows),
    easy=sum(row.larger_for == "easy" for row in rows),
    easy_names=", ".join(row.label for row in rows if row.larger_for == "easy"),
)

# %% [markdown]
# The registry holds {glue:text}`losses` losses, and {glue:text}`unmoved` of them have a margin that
# nothing moves. **Most of those that move theirs give hard samples the larger margin**
# ({glue:text}`hard` losses). The opposite direction has {glue:text}`easy`:
# {glue:text}`easy_names`.
#
# Can the measurement be trusted? Every loss of the package also *declares* what moves it, and
# {glue:text}`agree` of {glue:text}`losses` declarations agree with the measurement. Two caveats
# remain. All losses have their default options, and CDML in particular can be set to follow
# something else. And whether rare identities are hard, or long embeddings easy, is an assumption of
# the papers that no probe of a loss can test. The next chapter asks the images.
#
# ### Who thought of it when?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The losses by the year of their paper (rows) and by what moves the margin (columns).", "name": "fig-atlas-timeline"}, "image": {"alt": "A table of names; until 2018 only the columns nothing and the sample's angle have entries, the class and the gap follow in 2019 and 2020, the norm and chance in 2021"}}
fig, (ax,) = plots.figure(1, width=6.2, height=5.6)
plots.timeline(ax, rows)

# %% [markdown]
# **Since 2019, the question has no longer been which margin but whose** ({numref}`fig-atlas-timeline`).
# Each paper in one sentence, in our words:

# %% tags=["hide-input"]
session.Table(
    ["year", "loss", "the idea"],
    [
        [
            str(row.year),
            f"[{row.label}]({papers.link(row.name)})"
            if papers.link(row.name)
            else row.label,
            papers.sentence(row.name),
        ]
        for row in sorted(rows, key=lambda row: (row.year, row.label))
    ],
)

# %% [markdown]
# ## All targets on one page
#
# In the next figure, compare each coloured curve with the grey one, which is the cosine without a
# margin. Where they are far apart, the loss asks for a lot.

# %% tags=["hide-input"]
degrees = np.linspace(0.5, 179.5, 120)
drawn = {
    name: family
    for name, family in families.items()
    if name in margin_axes.names()
}
over_angle = {
    name: margin_axes.curve(
        name, "angle", np.radians(degrees), Place(scale=scale)
    )
    for name in drawn
}


def panels(part, reference, limits):
    """A panel for each loss."""
    count = plots.family_rows(drawn)
    _, axes = plots.figure(4, rows=count, width=6.4, height=1.36 * count)
    values = {name: getattr(seen, part) for name, seen in over_angle.items()}
    plots.small_multiples(
        axes,
        degrees,
        values,
        drawn,
        reference=reference,
        limits=limits,
        ticks=(0, 90, 180),
    )


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Target ψ against the angle θ to the target centre, in degrees, with default options at the end of a training. Rows and colours: what moves the margin. Grey: the cosine. All negatives are at 74 degrees.", "name": "fig-atlas-target"}, "image": {"alt": "A grid of small panels with one falling curve each; most lie a constant distance below the grey cosine, SphereFace waves, X2-Softmax leaves the frame, CDML jumps up at 60 degrees and ElasticFace is jagged"}}
panels("target", np.cos(np.radians(degrees)), (-2.2, 1.1))

# %% [markdown]
# Most curves are the cosine, moved down or to the left. Four are not: SphereFace and SphereFace2
# bend it, X2-Softmax replaces it by a parabola, and CDML jumps from one shifted cosine to another.
# ElasticFace is jagged because every point is a separate draw. (The small kinks near 150 degrees are
# the linear rule beyond $\pi - m$ of chapter 2.)
#
# The target says what is asked. The slope $\psi'$ says how hard it is asked for, since it is a
# factor of the gradient (chapter 3). Look for the panels that rise at the left.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Slope ψ′ of the target with respect to the cosine, against the angle θ in degrees. Grey: 1, the slope without a margin.", "name": "fig-atlas-slope"}, "image": {"alt": "A grid of small panels; CosFace-like losses are flat at one, ArcFace-like ones fall from above three at zero degrees through one near 76 degrees, X2-Softmax rises, SphereFace oscillates"}}
panels("slope", np.ones(len(degrees)), (-0.5, 3.0))

# %% [markdown]
# Every angular margin rises steeply at small angles: **adding an angle keeps pulling at samples that
# are nearly there, and subtracting a cosine does not.** X2-Softmax is the exception that rises to
# the right, so it pulls hardest at the samples farthest out.
#
# ## The losses whose margin nothing moves
#
# Chapter 2 derived NormFace, CosFace, ArcFace and their combination:
#
# ```{math}
# :label: eq-atlas-combined
# \psi = \cos(m_1\theta + m_2) - m_3
# ```
#
# Four more belong here, because their novelty lies elsewhere.
#
# **Sub-center ArcFace** gives each identity $K$ centres and uses the nearest one, so
# $\theta = \min_k \theta_{y,k}$. Mislabelled samples can gather around a centre of their own.
#
# **Li-ArcFace** makes logits linear in the angle, for positive and negative centres alike:
#
# ```{math}
# :label: eq-atlas-li
# \psi = 1 - \tfrac{2}{\pi}(\theta + m), \quad
# \tilde c_j = 1 - \tfrac{2}{\pi}\theta_j
# ```
#
# **AdaCos** has no margin. It sets the scale from each batch, from the mean $B$ of the sums of
# $e^{s c_j}$ over the negatives and the median target angle:
#
# ```{math}
# :label: eq-atlas-adacos
# s = \frac{\log B}{\cos\min(\pi/4,\ \theta_{\text{med}})}
# ```
#
# **UniFace** replaces the softmax by separate logistic losses with one learnt threshold $b$. Below,
# $\sigma^+(z) = \log(1 + e^z)$:
#
# ```{math}
# :label: eq-atlas-uniface
# \begin{aligned}
# L = {}& \sigma^+\bigl(b - s(\cos\theta - m)\bigr) \\
# & + \textstyle\sum_j \sigma^+(s c_j - b)
# \end{aligned}
# ```
#
# ## Moved by the class
#
# Face data sets have a long tail: a few identities with hundreds of images and many with a handful.
# Let $n_y$ be the number of training images of identity $y$.
#
# **LDAM** subtracts a cosine that falls with the fourth root of $n_y$, and **ArcFace with dynamic
# margins** adds an angle that does. In both, constants set the largest and the smallest margin.
#
# ```{math}
# :label: eq-atlas-ldam
# \begin{aligned}
# \psi &= \cos\theta - m\,(n_{\min} / n_y)^{1/4} \\
# \psi &= \cos(\theta + a + b\,n_y^{-1/4})
# \end{aligned}
# ```
#
# **Logit adjustment** adds $\tau \log(n_j / n)$ to the logit of *every* identity. A sample of $y$
# must then beat a negative $j$ by $\tau \log(n_j / n_y)$ in the logit, a margin for each pair.
#
# **KappaFace** combines two weights. One falls with $n_y$; the other falls with the concentration
# $\kappa_y$ of the identity's embeddings, standardised over all identities to $\hat\kappa_y$. With
# the logistic function $\sigma$:
#
# ```{math}
# :label: eq-atlas-kappa
# \begin{aligned}
# \psi &= \cos(\theta + m_0 w_y) \\
# w_y &= \gamma\, w_n + (1 - \gamma)\, w_\kappa \\
# w_n &= \tfrac12\bigl(1 + \cos(\pi n_y / n_{\max})\bigr) \\
# w_\kappa &= 1 - \sigma(T \hat\kappa_y)
# \end{aligned}
# ```
#
# In the next figure, look at how fast each margin falls. All the scattering is equal here, so
# KappaFace's $w_\kappa$ is one half throughout.


# %% tags=["hide-input"]
def moved(mover):
    """The losses that something moves."""
    return [row.name for row in rows if mover in row.moved_by]


def along(
    axis, at, x, names, xlabel, place, parts=("target", "slope", "margin_cos")
):
    """Stacked panels of some losses over an axis."""
    seen = {name: margin_axes.curve(name, axis, at, place) for name in names}
    _, axes = plots.figure(
        1, rows=len(parts), width=5.6, height=1.9 * len(parts) + 0.3
    )
    log = axis == "class_size"
    plots.stacked(axes, x, seen, parts=parts, xlabel=xlabel, log=log)


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Losses moved by the class: target, slope and margin of a sample at 57 degrees, against the number of training images of its identity. The negative belongs to an identity of medium size.", "name": "fig-atlas-class"}, "image": {"alt": "Three stacked panels over 4 to 512 images; the margins of LDAM and of dynamic ArcFace fall evenly, that of logit adjustment falls a little and crosses zero, and that of KappaFace stays high until about 100 images and then drops"}}
images = np.unique(np.round(2.0 ** np.linspace(2.0, 9.0, 29)))
along(
    "class_size",
    images,
    images,
    moved("class"),
    "training images of the identity",
    Place(),
)

# %% [markdown]
# Logit adjustment moves the lead by far the least, because the scale divides it: with $s = 64$ a
# hundredfold imbalance is worth $\log(100)/64 = 0.07$ of a cosine. On scaled cosines the same
# formula is a much smaller intervention than on the unscaled logits it was made for.
#
# ## Moved by the sample's angle
#
# The margin can follow how far the sample itself has come. **SphereFace** multiplies the angle, by
# $m = 4$, and blends the result with the plain cosine by a weight $\lambda$ that falls during the
# training. So it is moved by time, too.
#
# ```{math}
# :label: eq-atlas-sphere
# \begin{aligned}
# \psi &= \frac{\lambda\cos\theta + (-1)^k\cos m\theta - 2k}{1 + \lambda} \\
# k &= \lfloor m\theta/\pi \rfloor
# \end{aligned}
# ```
#
# **SphereFace2** and **X2-Softmax** replace the cosine by another function. In SphereFace2 the
# function $g$ applies to the negatives as well, with the margin added instead of subtracted.
#
# ```{math}
# :label: eq-atlas-angle
# \begin{aligned}
# \psi &= g(\cos\theta) - m \\
# g(c) &= 2\bigl((c + 1)/2\bigr)^t - 1 \\
# \psi &= a\,\theta^2 + k, \quad a = -0.9
# \end{aligned}
# ```
#
# The first two lines are SphereFace2 and the last is X2-Softmax. **CDML** compares an easiness
# $e$ in $[-1, 1]$ with zero, by default one that is positive within 60 degrees (chapter 4):
#
# ```{math}
# :label: eq-atlas-cdml
# \psi = \cos\bigl(\theta + m(1 + \alpha\,\operatorname{sign} e)\bigr)
# ```
#
# The two lower panels of the next figure are the two units of a margin. Watch ArcFace and CosFace
# change places: each is constant in one of them.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Losses moved by the sample's angle, with ArcFace and CosFace for comparison. The margin in cosine includes what SphereFace2 does to its negatives. The margin in radians ends where the target is below -1, which is not the cosine of any angle.", "name": "fig-atlas-angle"}, "image": {"alt": "Four stacked panels over 10 to 90 degrees; in radians ArcFace is flat at 0.5, CosFace falls, CDML steps down from 0.59 to 0.39 at 60 degrees, and X2-Softmax and SphereFace2 rise steeply"}}
near = np.linspace(10.0, 90.0, 81)
along(
    "angle",
    np.radians(near),
    near,
    ["arcface", "cosface", *moved("angle")],
    "angle to the target centre (degrees)",
    Place(),
    parts=("target", "slope", "margin_cos", "margin_rad"),
)

# %% [markdown]
# **Whether easy or hard samples get "the larger margin" can depend on the unit.** CosFace's
# margin is one cosine for all, but in radians it is larger for easy samples. ArcFace's is one
# angle, but as a cosine it is larger for hard ones. When a paper claims a direction, ask in which
# unit; the table above uses radians for this family.
#
# ## Moved by the gap to the negatives
#
# Four losses compare the sample with its negatives. A negative is **hard** if its cosine exceeds the
# margined target, $c_j > \psi$ (with a margin of its own in NPCFace). Three of them raise the hard
# negatives, to
#
# ```{math}
# :label: eq-atlas-gap
# \begin{aligned}
# \tilde c_j &= (1 + t)\,c_j + t && \text{(MV-Softmax)} \\
# \tilde c_j &= (t + c_j)\,c_j && \text{(CurricularFace)} \\
# \tilde c_j &= t\,c_j + a && \text{(NPCFace)}
# \end{aligned}
# ```
#
# MV-Softmax has a constant $t = 0.2$. CurricularFace's $t$ is the running mean of the target
# cosines, so it grows during the training: at first hard negatives are *weakened*, and later
# strengthened. NPCFace also lets the margin of the target grow with the mean cosine of the hard
# negatives:
#
# ```{math}
# :label: eq-atlas-npc
# \psi = \cos(\theta + m_0 + m_1\,\bar c_{\text{hard}})
# ```
#
# **ArcNegFace** weighs every negative by how near it is to the margined target. The weight falls off
# on both sides, because a negative far above the target may be a wrong label:
#
# ```{math}
# :label: eq-atlas-arcneg
# \begin{aligned}
# \tilde c_j &= t_j (c_j + 1) - 1 \\
# t_j &= \alpha\, e^{-(c_j - \psi)^2 / \sigma}
# \end{aligned}
# ```

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Losses moved by the gap: a sample at 57 degrees, against the angle to its hardest negative.", "name": "fig-atlas-gap"}, "image": {"alt": "Three stacked panels over 30 to 110 degrees; the margins of MV-Softmax, NPCFace and CurricularFace are largest for near negatives, with steps at 79 and 86 degrees, and that of ArcNegFace peaks near 75 degrees"}}
negative = np.linspace(30.0, 110.0, 161)
along(
    "negative",
    np.radians(negative),
    negative,
    moved("gap"),
    "angle to the hardest negative (degrees)",
    Place(),
)

# %% [markdown]
# In {numref}`fig-atlas-gap` most of what moves is in the lowest panel, while the target hardly
# changes. A figure of the target alone, as many papers draw it, shows nothing of MV-Softmax and
# CurricularFace. The steps are real: a negative that becomes hard raises the loss at once. For
# CurricularFace the change can go either way, as $t + c_j$ is above or below 1.
#
# ## Moved by the norm
#
# A network trained with cosines is free to choose the length $a = \lVert\mathbf x\rVert$ of its
# embeddings, and it often makes those of blurred images short. **MagFace** lets the margin grow
# linearly with the length, from 0.45 rad at $a = 10$ to 0.8 rad at $a = 110$, and adds a
# regulariser that rewards long embeddings:
#
# ```{math}
# :label: eq-atlas-mag
# \begin{aligned}
# \psi &= \cos\bigl(\theta + m(a)\bigr) \\
# L_g &= \lambda_g \bigl(1/a + a/a_{\max}^2\bigr)
# \end{aligned}
# ```
#
# **AdaFace** standardises the length to $z$ by running statistics and changes the *kind* of margin:
# ArcFace at $z = -1$, CosFace at $z = 0$, and at $z = 1$ a margin that pulls less at easy samples.
#
# ```{math}
# :label: eq-atlas-ada
# \psi = \cos(\theta - m z) - m(1 + z)
# ```

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Losses moved by the norm: a sample at 57 degrees, against the length of its embedding. AdaFace has seen lengths around 50.", "name": "fig-atlas-norm"}, "image": {"alt": "Three stacked panels over lengths from 1 to 120; MagFace's margin rises linearly from 0.42 to 0.77 and its slope stays near 1.2, AdaFace's margin rises from 0.37 to 0.51 and its slope falls from 1.2 to 0.7"}}
lengths = np.linspace(1.0, 120.0, 120)
along("norm", lengths, lengths, moved("norm"), "length of the embedding", Place())

# %% [markdown]
# Both margins grow with the length, so the table counts both as larger for easy samples. The middle
# panel separates them: **MagFace keeps its slope, and AdaFace gives it up.** MagFace asks more of a
# sharp image and pulls as before. AdaFace pulls less at sharp images, and thereby relatively more
# at blurred ones.
#
# ## Moved by time, or by chance
#
# SphereFace blends in its margin, and CurricularFace learns its $t$; the next figure shows both over
# a training. **ElasticFace** draws the margin of every sample anew, $m_i \sim N(m, \sigma^2)$ with
# $\sigma = 0.05$ rad, so that no sample can settle at a fixed distance.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Losses moved by time: a sample at 57 degrees with a negative at 50 degrees, over 2,000 batches of training.", "name": "fig-atlas-time"}, "image": {"alt": "Three stacked panels over the progress from 0 to 1; SphereFace's margin rises from 0 to 0.32 and is constant after 80 percent, CurricularFace's rises quickly and is constant after 20 percent"}}
progress = np.linspace(0.0, 1.0, 41)
hard = Place(negative_rad=math.radians(50.0))
along(
    "progress",
    progress,
    progress,
    moved("time"),
    "progress of the training",
    hard,
)

# %% [markdown]
# ## How alike are they?
#
# Two formulas can look different and do the same. So we take {glue:text}`samples` random samples
# with independent angles, negatives, lengths and identities, compute the margin of each by every
# loss, in cosine, and correlate the *ranks*: 1 means that two losses order the samples alike, 0 that
# the order of one says nothing about the other's.

# %% tags=["remove-input"]
alike = atlas.likeness(atlas.samples(samples, seed=seed), list(families))
at_sixty = atlas.likeness(
    atlas.samples(samples, seed=seed, angle_deg=60.0), list(families)
)


def between(found, a, b):
    """The correlation of two losses."""
    return found.correlation[found.names.index(a), found.names.index(b)]


session.report(
    samples=f"{samples:,}",
    constant=", ".join(map(margins.label, alike.constant)),
    arc_mag=between(alike, "arcface", "magface"),
    arc_x2=between(alike, "arcface", "x2_softmax"),
    arc_cdml=between(alike, "arcface", "cdml"),
    mag_ada=between(alike, "magface", "adaface"),
    mag_ada_sixty=between(at_sixty, "magface", "adaface"),
    mv_npc_sixty=between(at_sixty, "mv_softmax", "npcface"),
    gone=len(alike.names) - len(at_sixty.names),
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Rank correlation of the margins of two losses over the same samples, in tenths (10 is 1, -10 is -1). Losses with the same margin for all samples are left out.", "name": "fig-atlas-alike"}, "image": {"alt": "A heat map; ArcFace, Combined, Sub-center ArcFace, SphereFace, SphereFace2 and X2-Softmax are nearly equal, the four class-based losses form a block of their own, and CDML and AdaFace correlate with hardly any other"}}
fig, (ax,) = plots.figure(1, width=6.2, height=6.0)
plots.likeness_map(ax, alike)

# %% [markdown]
# The large dark area is a surprise: ArcFace and X2-Softmax rank samples alike
# ({glue:text}`arc_x2:.2f`), and even MagFace correlates with ArcFace at {glue:text}`arc_mag:.2f`.
# **In units of the cosine, ArcFace's constant angle is a margin that follows the sample's angle**,
# and this common part hides what a loss adds. CDML's correlation with ArcFace is only
# {glue:text}`arc_cdml:.2f`: its step at 60 degrees works against ArcFace's rise. (Without a rank are
# {glue:text}`constant`, whose margin in cosine is the same for all samples.)
#
# To see what is added, hold the angle at 60 degrees for all samples:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same with all samples at 60 degrees to their target centre, in tenths.", "name": "fig-atlas-alike-sixty"}, "image": {"alt": "A heat map with separate blocks on its diagonal: the class-based losses, the losses that look at negatives, the two that look at the norm, and ElasticFace alone; between blocks it is zero"}}
fig, (ax,) = plots.figure(1, width=5.6, height=5.4)
plots.likeness_map(ax, at_sixty)

# %% [markdown]
# Now {glue:text}`gone` more losses have the same margin for all samples, and the rest fall into the
# blocks of the table. Within a block the losses are near copies of each other: MagFace and AdaFace
# correlate at {glue:text}`mag_ada_sixty:.2f`, MV-Softmax and NPCFace at
# {glue:text}`mv_npc_sixty:.2f`. Between blocks there is nothing. The signs in the second block need
# a word: Li-ArcFace and SphereFace2 do not compare negatives with the target, but they do rescale
# them, and this changes the lead.
#
# The caveat: equal ranks are not equal losses. AdaFace and MagFace agree on the order of samples at
# 60 degrees, and yet differ in slope.
#
# ## Try it: two losses, one sample
#
# Choose two losses and move one sample. The upper plot is what is asked, the lower one how hard the
# sample is turned. **Try to answer first:** does a longer embedding, as of a sharper image, make
# each loss turn the sample at 40 degrees more strongly or less? And at 75 degrees?

# %% tags=["hide-input"]
both = TwoLosses()
glue("widget-two-losses", both)

# %% tags=["remove-input"]
pulls = {
    (theta, length): [c.pull[0] for c in TwoLosses(length=length).curves([theta])]
    for theta in (40.0, 75.0)
    for length in (20.0, 100.0)
}
session.report(
    **{
        f"{name}_{theta:.0f}_{length:.0f}": value
        for (theta, length), values in pulls.items()
        for name, value in zip(("ada", "mag"), values, strict=True)
    }
)

# %% [markdown]
# At 40 degrees, going from length 20 to 100 raises AdaFace's gradient from
# {glue:text}`ada_40_20:.1f` to {glue:text}`ada_40_100:.1f`: the sample was silent, and the larger
# margin wakes it up. At 75 degrees every sample is awake, and the same change lowers it from
# {glue:text}`ada_75_20:.1f` to {glue:text}`ada_75_100:.1f`, because there only the slope counts.
# MagFace goes from {glue:text}`mag_75_20:.1f` to {glue:text}`mag_75_100:.1f`. **A larger margin
# decides which samples are pulled; the slope decides how hard.**
#
# ## Why not triplet or contrastive?
#
# Before margins, networks for faces learned from pairs and triplets. With the distance
# $d = 2\sin(\theta/2)$ between unit embeddings, the **triplet loss** takes a sample, a partner of
# the same identity at $d_p$ and one of another at $d_n$; the **contrastive loss** takes pairs.
#
# ```{math}
# :label: eq-atlas-pairs
# \begin{aligned}
# L_{\text{trip}} &= \max(0,\ d_p - d_n + m) \\
# L_{\text{contr}} &= d_p + \max(0,\ m - d_n)
# \end{aligned}
# ```
#
# They too have a margin $m$. Their gradients are those of switches:
#
# ```{math}
# :label: eq-atlas-pair-gradient
# \frac{\partial L_{\text{trip}}}{\partial\theta_p} =
# \begin{cases} \cos(\theta_p/2) & d_p - d_n + m > 0 \\ 0 & \text{else} \end{cases}
# ```
#
# Compare this with the four factors of {eq}`eq-gradient`: in place of the softmax weight $1 - p_y$
# there is a 0 or a 1, decided by *one* negative. In the next figure, look at the shape of the
# switch above, and at which negatives still push below.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gradients of ArcFace (scale 64, 10,000 identities), a triplet and a contrastive pair, each divided by its maximum. Top: towards the positive, with the negative at 70 degrees. Bottom: away from the negative, with the positive at 45 degrees.", "name": "fig-atlas-pairs"}, "image": {"alt": "Two panels; above, ArcFace rises smoothly around 42 degrees, the triplet jumps from zero to one at 47 degrees and the contrastive loss never vanishes; below, the triplet and the contrastive loss drop to zero at 68 and 60 degrees and ArcFace fades out around 75 degrees"}}
arcface = margins.create("arcface")
varied = np.linspace(2.0, 110.0, 217)


def forces(positive_deg, negative_deg):
    """Gradients of the three losses."""
    p, n = (
        torch.deg2rad(torch.as_tensor(a)) for a in (positive_deg, negative_deg)
    )
    return {
        "ArcFace": pair_gradients.of_softmax(
            arcface, p, n, scale=scale, num_identities=identities
        ),
        "triplet": pair_gradients.of_pairs("triplet", p, n),
        "contrastive": pair_gradients.of_pairs("contrastive", p, n),
    }


fig, axes = plots.figure(1, rows=2, width=5.6, height=4.8)
same = np.full(len(varied), 1.0)
for ax, part, seen, xlabel in (
    (
        axes[0],
        "pull",
        forces(varied, 70.0 * same),
        "angle to the positive (degrees)",
    ),
    (
        axes[1],
        "push",
        forces(45.0 * same, varied),
        "angle to the negative (degrees)",
    ),
):
    values = {
        name: getattr(f, part) / getattr(f, part).max()
        for name, f in seen.items()
    }
    plots.labelled_lines(
        ax, varied, values, xlabel=xlabel, ylabel=f"{part} (largest = 1)"
    )

# %% [markdown]
# The contrastive loss pulls at every positive pair without end, and the triplet loss switches off
# abruptly. The softmax fades, and it fades *later*, because {glue:text}`identities` centres compete.
#
# That competition is the real difference. A triplet sees the identities of its batch, and a softmax
# sees all of them. The next table puts random samples at one angle to random centres in 128
# dimensions, 64 identities with 4 samples each in the batch, and asks how much gradient remains:

# %% tags=["hide-input"]
left, few = {}, 64
for angle in (60, 50, 45, 40, 35, 30):
    x, y, centres = pair_gradients.around_centres(
        angle, identities=identities, of=few, each=4, dim=128, seed=seed
    )
    left[angle] = (
        pair_gradients.active_triplets(x, y),
        pair_gradients.mean_weight(arcface, x, y, centres[:few], scale=scale),
        pair_gradients.mean_weight(arcface, x, y, centres, scale=scale),
    )
session.Table(
    [
        "angle to the centre",
        "active triplets",
        f"ArcFace's weight, {few} centres",
        f"ArcFace's weight, {identities:,} centres",
    ],
    [
        [f"{angle}°", *(f"{100 * v:.1f} %" for v in values)]
        for angle, values in left.items()
    ],
)

# %% tags=["remove-input"]
session.report(
    identities=f"{identities:,}",
    triplets_forty=100 * left[40][0],
    few_forty=100 * left[40][1],
    many_forty=100 * left[40][2],
)

# %% [markdown]
# At 40 degrees {glue:text}`triplets_forty:.1f` % of the triplets are still active, and ArcFace over
# the same 64 identities has a mean weight of {glue:text}`few_forty:.1f` %, so among the same people
# the softmax has no advantage. With all {glue:text}`identities` centres the weight is
# {glue:text}`many_forty:.0f` %. **The softmax over centres keeps learning because its hardest
# negative is the hardest of all identities, not of the batch.** Mining hard triplets from large
# batches is an attempt to get this back. The price of the softmax is one centre for each identity,
# which is the subject of chapter 14.
#
# Two caveats. Real centres are not random, and similar people are nearer than chance. And pair
# losses need no centres, so they suit data with few images for each of very many identities.
#
# ## Where we deviate
#
# All curves use the defaults of the package, which are not always those of a paper's best run; the
# page of each loss in the reference says where code and paper differ. KappaFace counts images while
# it trains and keeps a running mean where the paper stores an epoch. Losses that we could not trace
# to equations and code are not in the registry, and so not in this chapter. A loss that you register
# appears in its tables and figures without an edit.
#
# ## What is missing
#
# Two recent papers are not in the registry, because we could read their abstracts and not all of their
# equations. **AdaSin** ([2503.03528](https://arxiv.org/abs/2503.03528)) measures how hard a sample is by
# the sine of half its angle and changes both the target and the negatives by it, the more the later in
# training: CDML's nearest rival, with the opposite direction. **LH2Face**
# ([2506.23555](https://arxiv.org/abs/2506.23555)) replaces the cosine by the logarithm of a von
# Mises-Fisher density and lets the margin follow the mean length of the embeddings. A loss that is
# guessed in part would be a loss of ours under their name.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(15)

# %% [markdown]
# ## Exercises
#
# **15.1** MagFace's margin is 0.45 rad at length 10 and 0.8 rad at length 110. What is it at length
# 60, in degrees?

# %%
exercises.check("15.1", None)

# %% [markdown]
# <details><summary>Solution 15.1</summary>
#
# Length 60 is half way, so the margin is $(0.45 + 0.8)/2 = 0.625$ rad, or 35.8 degrees.
#
# </details>
#
# **15.2** Write a function of the cosine $c$, the standardised length $z$ and the margin $m$ that
# returns AdaFace's target {eq}`eq-atlas-ada`, for angles at which $\theta - mz$ lies between 0 and
# $\pi$.

# %%
exercises.check("15.2", None)

# %% [markdown]
# <details><summary>Solution 15.2</summary>
#
# `lambda c, z, m: torch.cos(torch.acos(c) - m * z) - m * (1 + z)`. The sign of the angle is easy to
# miss: a short embedding, $z = -1$, has the angle *added*, as in ArcFace.
#
# </details>
#
# **15.3** *(Experiment.)* Invent a loss whose margin is larger for *short* embeddings. Register it
# with `margins.register` under a name of your choice, give that name here, and the atlas measures
# it.

# %%
exercises.check("15.3", None)

# %% [markdown]
# <details><summary>Solution 15.3</summary>
#
# ```python
# @margins.register("shortface", year=2026, moved_by=("norm",))
# class ShortFace(margins.MarginPolicy):
#     def target(self, target_cos, batch):
#         return target_cos - 20.0 / batch.embedding_norm.clamp_min(20.0)
# ```
#
# The answer is `"shortface"`. Run the table and the figures again and it is in all of them.
#
# </details>
#
# **15.4** *(Experiment.)* With `margin_axes.curve` and a `Place` at 30 degrees, find the length of
# the embedding at which MagFace and AdaFace have the same margin in cosine.

# %%
exercises.check("15.4", None)

# %% [markdown]
# <details><summary>Solution 15.4</summary>
#
# ```python
# at, place = np.linspace(10, 110, 1001), Place(angle_rad=math.radians(30))
# mag, ada = (
#     margin_axes.curve(name, "norm", at, place).margin_cos
#     for name in ("magface", "adaface")
# )
# at[abs(mag - ada).argmin()]
# ```
#
# It is about 65. At 57 degrees, as in {numref}`fig-atlas-norm`, there is no such length.
#
# </details>
#
# ## Recap
#
# - Every margin loss is a target $\psi$, what happens to the negatives, and a state that moves them.
#   Its margin has two units, radians and cosine, which can disagree about who gets more.
# - Measured at their defaults, the losses of the registry are moved by nothing, the class, the angle,
#   the gap, the norm, time or chance. Most moving margins are larger for hard samples.
# - Losses of one family rank samples almost alike once the angle is held fixed. Losses of different
#   families do not correlate at all.
# - The margin decides which samples are pulled, and the slope how hard.
# - A softmax over all centres keeps its gradient longer than triplets do, because it competes with
#   every identity and not with those of a batch.
#
# ## References
#
# {cite:t}`wang2017normface`, {cite:t}`liu2017sphereface`, {cite:t}`deng2019arcface`,
# {cite:t}`wang2018cosface`, {cite:t}`wang2020mvsoftmax`, {cite:t}`huang2020curricularface`,
# {cite:t}`zeng2020npcface`, {cite:t}`meng2021magface`, {cite:t}`kim2022adaface`,
# {cite:t}`boutros2022elasticface`, {cite:t}`oinar2023kappaface`. The other papers are linked in the
# table of the timeline.
