# %% [markdown]
# # CDML, derived from ArcFace
#
# :::{admonition} After this chapter you can
# :class: tip
# - derive CDML's margin from ArcFace's in one line, and say what each of its options does and at
#   which value it is off;
# - compute the easiness of a sample in three ways, and its margin from it;
# - say who gets the larger margin, in CDML's two readings and in six other losses;
# - follow the margins of single samples through a training, and see what wrong labels do to them;
# - say why two losses with different mean margins are not compared fairly, and what to do about it.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 1 to 3. Four small networks are trained on digits, to look at margins and not at
# accuracies. The chapter runs in half a minute on one core.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of the random batch, of the wrong labels and of the trainings
margin_rad = 0.49  # the base margin, radians
alpha = 0.2  # how far the margin follows the easiness
wrong_share = 0.04  # of the training digits get a wrong label on purpose
epochs = 20  # passes over the training digits

# %% tags=["hide-input"]
import math

import torch
from scipy.stats import spearmanr

from cdmllab import backbones, heads, margins, plots
from cdmllab.analysis.target_curve import pull, target_curve
from cdmllab.book import exercises, session
from cdmllab.book.widgets import CdmlAtWork
from cdmllab.data import digits
from cdmllab.geometry import cosine

lab = session.start(profile, seed)

# %% [markdown]
# ## One margin for all?
#
# ArcFace asks the same of every sample: come closer to your own class centre than to any other, by
# $m$. A sharp frontal image can do that. A profile in the dark perhaps cannot, and an image with
# the wrong name on it should not. So let the margin depend on the sample. In which direction? There
# are two opinions, and both are reasonable:
#
# - *Ask more of hard samples.* They are where the errors are; easy ones are solved already.
# - *Ask more of easy samples.* They can take it; a hard sample pulled with force drags its class
#   centre along, and the hardest samples of all are the mislabelled ones. (Whether a smaller margin
#   pulls with less force we shall see below.)
#
# CDML, the Combined Dynamic Margin Loss, is a family in which both can be written down. It comes
# from a public project's documentation and code {cite}`datn`, which do not agree with each other.
# This chapter derives what they share, names every difference, and makes each an option. Chapter 13
# asks which reading made the published numbers; the sources do not tell.
#
# ## The formula
#
# Start from ArcFace, $\psi = \cos(\theta + m)$, and replace $m$ by
#
# ```{math}
# :label: eq-cdml-margin
# m_i = m_{\text{base}}\,(1 + \alpha\, e_i), \qquad e_i \in [-1, 1],
# ```
#
# with $e_i$ the **easiness** of sample $i$: 1 for the easiest there can be, $-1$ for the hardest.
# The document writes "{term}`difficulty`" in this place, and says in its text and its diagram that
# easy samples get $m \times 1.2$ and hard ones $m \times 0.8$. With a score that *rises* with
# difficulty, formula and text contradict each other. With a signed easiness and $\alpha = 0.2$ they
# agree, so this is how we read it. Two shapes fit the text: a **step**, which knows easy and hard
# only, and a **linear** one,
#
# ```{math}
# :label: eq-shape
# e_i \to \operatorname{sign}(e_i) \quad\text{or}\quad e_i \to e_i .
# ```
#
# The document's diagram asks "similarity high?" and has two answers: that is the step, and our
# default. The option `favour` turns the sign round: `"easy"` is the document's, `"hard"` gives hard
# samples the larger margin.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: the margin against the easiness, for both shapes. Right: the target of the step, on those of ArcFace with the larger and with the smaller margin (grey).", "name": "fig-cdml-target"}, "image": {"alt": "Two panels; on the left a step and a slanted line that rise with the easiness; on the right a curve that jumps at 60 degrees from the lower to the upper of two grey curves"}}
theta = torch.linspace(0.0, math.pi, 1441, dtype=torch.float64)
degrees = torch.rad2deg(theta)
easiness = torch.linspace(-1.0, 1.0, 801, dtype=torch.float64)
fig, axes = plots.figure(2, width=7.6, height=3.1)
shapes = {"step": easiness.sign(), "linear": easiness}
drawn = [
    plots.Line(shape, "cdml", margin_rad * (1 + alpha * e), style)
    for (shape, e), style in zip(shapes.items(), ("-", "--"), strict=True)
]
plots.lines(
    axes[0],
    easiness,
    drawn,
    xlabel="easiness e",
    ylabel="margin m (rad)",
    open_at=0.1,
)
axes[0].set_xticks([-1, -0.5, 0, 0.5, 1])
step = margins.create("cdml", margin_rad=margin_rad, alpha=alpha)
bounds = [margin_rad * (1 + sign * alpha) for sign in (1, -1)]
drawn = [
    plots.Line(
        f"ArcFace, m = {m:.3f}",
        "softmax",
        target_curve(
            margins.create("arcface", margin_rad=m), torch.cos(theta)
        ).target,
        style,
        1.2,
    )
    for m, style in zip(bounds, ("--", ":"), strict=True)
] + [plots.Line("CDML", "cdml", target_curve(step, torch.cos(theta)).target)]
plots.lines(axes[1], degrees, drawn, xlabel="", ylabel="target ψ", open_at=0.1)
plots.degrees_axis(axes[1], stop=140, step=20)

# %% tags=["remove-input"]
edge = torch.tensor([0.5 + 1e-9, 0.5 - 1e-9], dtype=torch.float64)
below, above = target_curve(step, edge).target.tolist()
session.tell(
    easy_side=below,
    hard_side=above,
    step_cost=64 * (above - below),
)
promoted = pull(step, torch.acos(edge), scale=64, num_identities=10_575) / 64
session.tell(pull_easy=promoted[0].item(), pull_hard=promoted[1].item())

# %% [markdown]
# Look at the right panel of {numref}`fig-cdml-target` from the right to the left, the way a sample
# moves as it learns. At 60 degrees it is promoted from hard to easy, and its target falls from
# {glue:text}`hard_side:.3f` to {glue:text}`easy_side:.3f`. At scale 64 this is
# {glue:text}`step_cost:.0f` units of logit: **the loss of a sample that improves jumps up**. The
# gradient does not see the jump, only the larger weight behind it: with 10,575 identities, all
# other centres at 90 degrees, the pull over the scale goes from {glue:text}`pull_hard:.2f` to
# {glue:text}`pull_easy:.2f`, so the sample is drawn on, not back. The linear shape has no jump.
#
# ## What is easy?
#
# Three scores are in the package. All are made of cosines, so they cost nothing; `cdmllab.easiness`
# is one page.
#
# | `easiness` | $e$ before the pivot | read from |
# |---|---|---|
# | `"similarity"` | $\cos\theta_y$ | the document: "similarity to class center" |
# | `"gap"` | $(\cos\theta_y - \max_{j\ne y}\cos\theta_j)\,/\,2$ | the public code's gap form |
# | `"angle_gap"` | $(\theta_{\text{neg}} - \theta_y - \pi/3)\,/\,(\pi/6)$, clipped to ±1 | the public code's angular form |
#
# with $\theta_{\text{neg}}$ the angle to the nearest foreign class centre, the
# {term}`hardest negative`. The **{term}`pivot`** says which score counts as neither easy nor hard.
# For the similarity the document gives no number; our default is 0.5, that is 60 degrees. For the
# other two it is 0. Scores on either side are stretched so that the ends stay at ±1.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The three scores over the angle to the own and to the nearest foreign class centre, pivots as they are by default (dashed). Green is easy, violet is hard.", "name": "fig-easiness"}, "image": {"alt": "Three square maps; the first changes from left to right only, the second and third along the diagonal, the third more sharply"}}
fig, axes = plots.figure(3, width=7.8, height=2.7)
for ax, kind in zip(axes, ("similarity", "gap", "angle_gap"), strict=True):
    policy = margins.create("cdml", easiness=kind)
    image = plots.easiness_map(
        ax, kind, pivot=policy.pivot, title=kind, first=ax is axes[0]
    )
plots.colour_bar(axes[2], image)

# %% [markdown]
# The similarity looks at the own class centre alone. The gap asks who leads: with the pivot at 0 a
# sample is easy as soon as it is classified rightly, by however little. The angle gap wants a lead
# of 60 degrees before it calls a sample easy.
#
# ## The public code's forms
#
# The public code has the other sign. In our letters its gap form is
#
# ```{math}
# :label: eq-public-gap
# m_i = m_2 + \alpha_{\text{pub}}\,h_i, \qquad
# h_i = 1 - \bigl(\cos\theta_y - \max_{j \ne y}\cos\theta_j\bigr) \in [-1, 3],
# ```
#
# with $m_2 = 0.5$ and $\alpha_{\text{pub}} = 0.1$: the *harder*, the larger. Since
# $h_i = 1 - 2 e_i$, it is {eq}`eq-cdml-margin` with $m_{\text{base}} = m_2 + \alpha_{\text{pub}}$,
# $\alpha = 2\alpha_{\text{pub}} / m_{\text{base}}$ and the sign turned round, `favour="hard"`. The
# angular form is
#
# ```{math}
# :label: eq-public-angle-gap
# m_i = m_2 + \alpha_{\text{pub}}\,
# \operatorname{clip}\bigl(\tfrac\pi2 - (\theta_{\text{neg}} - \theta_y),\, 0,\, \tfrac\pi3\bigr) .
# ```
#
# Both are there by name, and both keep the code's guard that the target never exceeds the plain
# cosine (`never_above=True`).

# %% tags=["hide-input"]
torch.manual_seed(seed)
own, foreign = 2 * torch.rand(2, 1000, dtype=torch.float64) - 1
batch = margins.Batch(
    torch.zeros(1000, dtype=torch.int64),
    own,
    torch.ones(1000),
    hardest_negative=foreign,
)
lead = torch.acos(foreign) - torch.acos(own)
public = {
    "public_gap": (margins.CDML.datn_code_gap(), 0.5 + 0.1 * (1 - own + foreign)),
    "public_angle_gap": (
        margins.CDML.datn_code_angle_gap(),
        0.5 + 0.1 * (math.pi / 2 - lead).clamp(0, math.pi / 3),
    ),
}
rows = [
    [
        f"`CDML.{name}()`",
        f"{policy.margin_rad(batch).min():.3f}",
        f"{policy.margin_rad(batch).max():.3f}",
        f"{(policy.margin_rad(batch) - by_hand).abs().max():.0e}",
    ]
    for name, (policy, by_hand) in public.items()
]
session.Table(
    ["1,000 random samples", "least m", "largest m", "off the formula"], rows
)

# %% [markdown]
# ## What the two signs pull

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How hard a sample is turned towards its class centre (∂L/∂θ over the scale, s = 16, 10,575 identities, the other centres at 90 degrees). Linear in the similarity; alpha is 0.6 here, three times the document's, to make the difference visible.", "name": "fig-signs"}, "image": {"alt": "Three curves; the one for easy larger lies above ArcFace at both ends, the one for hard larger below it"}}
fig, (ax,) = plots.figure(1, width=6.6, height=3.0)
linear = {"margin_rad": margin_rad, "alpha": 0.6, "shape": "linear"}
three = {
    "ArcFace": ("arcface", margins.create("arcface", margin_rad=margin_rad), "-"),
    "CDML, easy larger": ("cdml", margins.create("cdml", **linear), "-"),
    "CDML, hard larger": (
        "cdml",
        margins.create("cdml", favour="hard", **linear),
        "--",
    ),
}
drawn = [
    plots.Line(
        name,
        loss,
        pull(policy, theta[1:1041], scale=16, num_identities=10_575) / 16,
        style,
    )
    for name, (loss, policy, style) in three.items()
]
plots.lines(ax, degrees[1:1041], drawn, xlabel="", ylabel="∂L/∂θ over the scale")
plots.degrees_axis(ax, stop=130, step=10)

# %% [markdown]
# Chapter 3 says what to expect. The margin of an *easy* sample decides at which angle it falls
# silent: with easy larger, it goes on being pulled when ArcFace has let go. The margin of a *hard*
# sample, whose weight is nearly 1 here, decides only the slope, $\sin(\theta + m)$. Beyond
# $90° - m$, where that falls, a smaller margin means a *stronger* pull. So **easy larger pulls both
# ends harder, and hard larger pulls both more gently**: not what either name suggests.
#
# ## The limits
#
# Each part of CDML is off at some value, and then what is left must be the loss one started from.
# Not nearly: to the bit.

# %% tags=["hide-input"]
x = torch.randn(64, 32, dtype=torch.float64, requires_grad=True)
y = torch.arange(64) % 20


def loss_and_gradients(name: str, progress: float = 0.0, **options) -> tuple:
    torch.manual_seed(seed)
    head = heads.create(name, embedding_dim=32, num_identities=20, **options)
    head.double().set_progress(progress)
    loss = head(x, y).loss
    return loss, *torch.autograd.grad(loss, [x, head.centres])


arc = ("arcface", {"margin_rad": margin_rad})
limits = {
    "alpha=0": ({"alpha": 0.0}, arc),
    "alpha=0, gap, linear": (
        {"alpha": 0.0, "easiness": "gap", "shape": "linear"},
        arc,
    ),
    'schedule="linear", at the start': ({"schedule": "linear"}, arc),
    "margin_rad=0": ({"margin_rad": 0.0}, ("normface", {})),
    "alpha=0, margin_rad=0.5": (
        {"alpha": 0.0, "margin_rad": 0.5},
        ("arcface", {}),
    ),
    "alpha=0.2, for contrast": ({}, arc),
}
rows = []
for name, (options, (other, theirs)) in limits.items():
    pairs = zip(
        loss_and_gradients("cdml", **{"margin_rad": margin_rad} | options),
        loss_and_gradients(other, **theirs),
        strict=True,
    )
    same = [torch.equal(a, b) for a, b in pairs]
    told = ["to the bit" if s else "differs" for s in same]
    rows.append([f"`{name}`", plots.label(other), *told])
session.Table(
    ["CDML with", "is", "loss", "gradient on x", "gradient on centres"], rows
)

# %% [markdown]
# ## Progress and classes
#
# The document lists two more things that the margin shall follow. Training progress: "margins
# adjust during training". And class characteristics: "different classes can have different margin
# requirements". It gives no formula for either, and no version of the public code has one. We fill
# the gap with the simplest forms that fit the words, both off by default:
#
# - `schedule="linear"` or `"cosine"` lets $\alpha$ grow from 0 with training progress. Early on,
#   when the scores still say little, this is ArcFace.
# - `class_weight` mixes in $\bar e_y$, a running mean of the easiness of the sample's identity: a
#   weight of 0.3 puts $0.7\,e_i + 0.3\,\bar e_y$ in the place of $e_i$. With a weight of 1 all
#   samples of an identity share one margin, and CDML is a loss of KappaFace's kind.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How alpha grows with training progress under the three schedules.", "name": "fig-schedule"}, "image": {"alt": "A flat line, a straight rising line and an S-shaped rising line over the progress from 0 to 1"}}
progress = torch.linspace(0.0, 1.0, 101)
fig, (ax,) = plots.figure(1, width=5.4, height=2.4)
drawn = [
    plots.Line(
        kind,
        "cdml",
        [
            margins.create("cdml", schedule=kind, alpha=alpha).current_alpha(p)
            for p in progress.tolist()
        ],
        style,
    )
    for kind, style in (("constant", "-"), ("linear", "--"), ("cosine", ":"))
]
plots.lines(
    ax, progress, drawn, xlabel="training progress", ylabel="alpha in use"
)

# %% [markdown]
# ## CDML at work
#
# A batch of samples on an arc, from easy to hard, each with its own margin and its own pull: change
# $\alpha$, who is favoured, the kind of easiness and the training progress (it counts once a
# schedule is chosen), and watch who moves. Drag a sample along the arc.

# %%
CdmlAtWork(margin_rad=margin_rad, alpha=alpha)

# %% [markdown]
# ## A training, sample by sample
#
# Now we train, and look at the margin of every sample after every epoch. The data are chapter 1's
# digits, with one change: {glue:text}`wrong_percent` of the labels are wrong, on purpose, and we
# know which.

# %%
known, _ = digits.split(digits.load(range(7)), held_out=0.25)
n = len(known.labels)
torch.manual_seed(seed)
wrong = torch.randperm(n)[: round(wrong_share * n)].sort().values
right = torch.tensor(sorted(set(range(n)) - set(wrong.tolist())))
labels = known.labels.clone()
labels[wrong] = (labels[wrong] + torch.randint(1, 7, (len(wrong),))) % 7
session.tell(wrong_percent=f"{wrong_share:.0%}")

# %% [markdown]
# Four variants start from the same network and see the same batches. The loop is the whole of it;
# this is what using a head by hand looks like.

# %%
variants = {
    "easy larger": {"shape": "linear"},
    "easy larger, mean held": {"shape": "linear", "match_mean": True},
    "hard larger": {"shape": "linear", "favour": "hard"},
    "easy larger, step": {},
}
paths, means, snapshots = {}, {}, {}
for name, options in variants.items():
    torch.manual_seed(seed)
    net = backbones.create(
        "small", size=8, channels=1, width=16, embedding_dim=32
    )
    head = heads.create(
        "cdml",
        embedding_dim=32,
        num_identities=7,
        scale=16.0,
        margin_rad=margin_rad,
        alpha=alpha,
        **options,
    )
    optimiser = torch.optim.SGD(
        [*net.parameters(), *head.parameters()],
        lr=0.05,
        momentum=0.9,
        weight_decay=5e-4,
    )
    found, batch_means = [], []
    for epoch in range(epochs):
        net.train()
        head.set_progress(epoch / epochs)
        for rows in torch.randperm(n).split(64):
            out = head(net(known.images[rows]), labels[rows])
            optimiser.zero_grad()
            out.loss.backward()
            optimiser.step()
            batch_means.append(out.margin_rad.mean())
        with torch.no_grad():
            embeddings = net.eval()(known.images)
            found.append(head(embeddings, labels).margin_rad)
        snapshots[name, epoch + 1] = embeddings, head.centres.detach().clone()
    paths[name] = torch.stack(found)
    means[name] = torch.stack(batch_means)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Margins of single training samples after each epoch, easy larger, linear in the similarity: rightly and wrongly labelled ones. Thick: the median of all of a kind. Thin: thirty of each.", "name": "fig-margin-paths"}, "image": {"alt": "Two bundles of thin lines over the epochs with thick medians; the bundle of rightly labelled samples is high and flat, that of wrongly labelled ones starts low and rises towards the end"}}
fig, (ax,) = plots.figure(1, width=6.8, height=3.4)
groups = {"label right": right, "label wrong": wrong}
plots.sample_paths(
    ax,
    torch.arange(1, epochs + 1),
    paths["easy larger"],
    groups,
    ylabel="margin (rad)",
)

# %% tags=["remove-input"]
last, third = paths["easy larger"][-1], paths["easy larger"][2]
session.tell(
    right_third=third[right].median().item(),
    wrong_third=third[wrong].median().item(),
    right_last=last[right].median().item(),
    wrong_last=last[wrong].median().item(),
    n_wrong=len(wrong),
    n_right=len(right),
)
points, centres = snapshots["easy larger", 3]
to_wrong = cosine(points[wrong], centres)[range(len(wrong)), labels[wrong]]
session.tell(wrong_angle=torch.rad2deg(torch.acos(to_wrong.median())).item())
points, centres = snapshots["easy larger", epochs]
led_to = cosine(points, centres).argmax(dim=1)
by_heart = (led_to[wrong] == labels[wrong]).double().mean()
session.tell(by_heart=by_heart.item())

# %% [markdown]
# {numref}`fig-margin-paths` shows {glue:text}`n_right` right and {glue:text}`n_wrong` wrong labels.
# After three epochs their median margins are {glue:text}`right_third:.3f` and
# {glue:text}`wrong_third:.3f`: to a score made of cosines, an image with a wrong name *is* the
# hardest image there is, and easy-larger gives it the smaller margin. That is less to reach, not
# less force: at their median angle of {glue:text}`wrong_angle:.0f` degrees, {numref}`fig-signs`
# says, the smaller margin even pulls a little harder.
#
# By the end the network has learnt {glue:text}`by_heart:.0%` of the lies by heart: those images
# are nearest to the class centre of their wrong name. The median margin of all wrong labels is then
# {glue:text}`wrong_last:.3f`, that of the others {glue:text}`right_last:.3f`. A dynamic margin
# measures what the network finds hard *now*, not what is hard; chapter 5 takes the two apart.
#
# ## Class by class
#
# With `class_weight=1` a sample's own easiness does not count, only the running easiness of its
# identity. We give that form the embeddings from the end of the training.

# %% tags=["hide-input"]
embeddings, centres = snapshots["easy larger", epochs]
head = heads.create(
    "cdml",
    embedding_dim=32,
    num_identities=7,
    margin_rad=margin_rad,
    alpha=alpha,
    shape="linear",
    class_weight=1.0,
)
head.load_state_dict({"centres": centres}, strict=False)
for _ in range(30):  # let the running easiness settle
    for part in torch.arange(n).split(64):
        head(embeddings[part], labels[part])
out = head.eval()(embeddings, labels)
angles = torch.rad2deg(torch.acos(out.target_cos.clamp(-1, 1)))
rows, of_class = [], []
for digit in range(7):
    own = labels == digit
    (shared,) = out.margin_rad[own].unique()  # one margin for all of a class
    of_class.append(shared.item())
    rows.append(
        [digit, int(own.sum()), f"{angles[own].mean():.1f}", f"{shared:.4f}"]
    )
session.Table(["digit", "images", "mean angle (degrees)", "margin (rad)"], rows)

# %% tags=["remove-input"]
session.tell(
    class_spread=max(of_class) - min(of_class),
    class_room=2 * alpha * margin_rad,
)

# %% [markdown]
# The largest and the smallest of these margins are {glue:text}`class_spread:.3f` radians apart, of
# the {glue:text}`class_room:.3f` that $\alpha$ allows: a mean over a class is much the same for all
# classes when each has its share of easy and hard images. The class term is made for data whose
# classes differ, as people with ten passport photographs and people with ten snapshots do.
#
# ## The mean margin

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The mean margin of each training batch. The base margin is the same for all; only one of them keeps it.", "name": "fig-mean-margin"}, "image": {"alt": "Four lines over the training steps; easy larger and its step rise above the base margin, hard larger falls below it, the one whose mean is held is flat at the base margin"}}
fig, (ax,) = plots.figure(1, width=6.8, height=3.0)
ax.set_xticks(range(0, epochs + 1, max(epochs // 5, 1)))
steps = torch.arange(len(means["easy larger"])) / (
    len(means["easy larger"]) / epochs
)
drawn = [
    plots.Line(name, "cdml", values, style, 1.4)
    for (name, values), style in zip(
        means.items(), ("-", "-.", "--", ":"), strict=True
    )
]
plots.lines(
    ax,
    steps,
    drawn,
    xlabel="epoch",
    ylabel="mean margin (rad)",
    legend="above",
)

# %% tags=["remove-input"]
for key, name in (
    ("easy", "easy larger"),
    ("hard", "hard larger"),
    ("step", "easy larger, step"),
):
    session.tell(**{f"mean_{key}": means[name][-60:].mean().item()})
held = means["easy larger, mean held"]
are_easy = paths["easy larger, step"][-1] > margin_rad
session.tell(
    mean_held_off=(held - margin_rad).abs().max().item(),
    base=margin_rad,
    easy_share=are_easy.double().mean().item(),
)

# %% [markdown]
# All four were given the base margin {glue:text}`base`. At the end of the training the step calls
# {glue:text}`easy_share:.0%` of the samples easy, and trains with a {term}`mean margin` of
# {glue:text}`mean_step:.3f`; easy-larger has {glue:text}`mean_easy:.3f` and hard-larger
# {glue:text}`mean_hard:.3f`. The published CASIA table lists ArcFace at four margins from 0.40 to
# 0.55, because the size of the margin is a setting of its own. A dynamic loss that beats ArcFace at
# the same base margin may have won by its larger mean, which a constant could have had for free.
#
# `match_mean=True` takes that away: all margins of a batch are shifted so that their mean is
# $m_{\text{base}}$,
#
# ```{math}
# :label: eq-match-mean
# m_i = m_{\text{base}}\Bigl(1 + \alpha\,\bigl(e_i - \tfrac1b\textstyle\sum_k e_k\bigr)\Bigr),
# ```
#
# and what is left is who gets how much. In the run above its mean is off by
# {glue:text}`mean_held_off:.0e` at most. This is the comparison with ArcFace that this book calls
# fair; the other way is to give ArcFace the mean margin that the dynamic loss turned out to have.
#
# ## Who gets the larger margin?
#
# CDML is not alone. Five other losses set a margin for each sample, and they look at different
# things.
#
# - {term}`MagFace` {cite}`meng2021magface` and {term}`AdaFace` {cite}`kim2022adaface` look at the
#   length of the embedding, which they take for the quality of the image.
# - {term}`KappaFace` {cite}`oinar2023kappaface` looks at the identity: how scattered, and how
#   frequent.
# - {term}`NPCFace` {cite}`zeng2020npcface` looks at the hard negatives.
# - {term}`ElasticFace` {cite}`boutros2022elasticface` throws dice, and in its "+" form hands the
#   largest draws to the hardest samples.
#
# A sixth, {term}`CurricularFace` {cite}`huang2020curricularface`, keeps ArcFace's margin and turns
# up the hard *negatives* as training goes on.
#
# Here all of them get the same embeddings, labels and class centres: those of the training above
# after its third epoch. We sort the samples by their angle to their own class centre and read the
# mean margin of each third.

# %% tags=["hide-input"]
embeddings, centres = snapshots["easy larger", min(3, epochs)]
lengths = embeddings.norm(dim=1).quantile(torch.tensor([0.05, 0.95])).tolist()
lost = {
    "ArcFace": ("arcface", {}),
    "CosFace": ("cosface", {}),
    "CDML, easy larger": ("cdml", {"shape": "linear"}),
    "CDML, public gap": (
        "cdml",
        {
            "margin_rad": 0.6,
            "alpha": 1 / 3,
            "easiness": "gap",
            "shape": "linear",
            "favour": "hard",
        },
    ),
    "MagFace": ("magface", {"low": lengths[0], "high": lengths[1]}),
    "AdaFace": ("adaface", {}),
    "AdaFace, h = 0": ("adaface", {"h": 0.0}),
    "KappaFace": ("kappaface", {}),
    "NPCFace": ("npcface", {}),
    "ElasticFace": ("elasticface", {}),
    "ElasticFace+": ("elasticface", {"plus": True}),
    "CurricularFace": ("curricularface", {}),
}
rows, rank = [], {}
for name, (loss, options) in lost.items():
    head = heads.create(
        loss, embedding_dim=32, num_identities=7, scale=16.0, **options
    )
    head.load_state_dict({"centres": centres}, strict=False)
    for _ in range(30):  # let running statistics settle
        for part in torch.arange(n).split(64):
            head(embeddings[part], labels[part])
    out = head(embeddings, labels)
    thirds = torch.rad2deg(out.margin_rad)[out.target_cos.argsort()].chunk(3)
    if out.margin_rad.std() > 1e-6:
        rank[name] = spearmanr(out.margin_rad, out.target_cos).statistic
    told = f"{rank[name]:+.2f}" if name in rank else "constant"
    rows.append([name, *(f"{part.mean():.1f}" for part in thirds), told])
session.Table(
    [
        "margin in degrees",
        "hardest third",
        "middle",
        "easiest third",
        "rank correlation with the cosine",
    ],
    rows,
)

# %% tags=["remove-input"]
for key, name in (
    ("cos", "CosFace"),
    ("easy", "CDML, easy larger"),
    ("gap", "CDML, public gap"),
    ("npc", "NPCFace"),
    ("plus", "ElasticFace+"),
    ("elastic", "ElasticFace"),
    ("mag", "MagFace"),
    ("ada", "AdaFace"),
    ("ada_plain", "AdaFace, h = 0"),
    ("kappa", "KappaFace"),
):
    session.tell(**{f"rank_{key}": float(rank[name])})

# %% [markdown]
# A positive correlation means that *easy* samples get the larger margin. Measured here, not
# promised in general:
#
# - **CDML, easy larger** is at {glue:text}`rank_easy:+.2f`, as it must be: its margin *is* a
#   function of the cosine. The public gap form is at {glue:text}`rank_gap:+.2f`.
# - **NPCFace** ({glue:text}`rank_npc:+.2f`) and **ElasticFace+** ({glue:text}`rank_plus:+.2f`) give
#   hard samples more; **ElasticFace** ({glue:text}`rank_elastic:+.2f`) does not look.
# - **MagFace** ({glue:text}`rank_mag:+.2f`) and **KappaFace** ({glue:text}`rank_kappa:+.2f`) look
#   at something else than the cosine. Their numbers say how length and identity happen to go with
#   it for this network on these digits. (MagFace's limits are set to the lengths found here; its
#   own are for longer embeddings. KappaFace's margins are small because the seven identities are
#   about equally frequent, and its size term gives the frequent ones next to nothing.)
# - **AdaFace** ({glue:text}`rank_ada:+.2f`) and **CosFace** ({glue:text}`rank_cos:+.2f`) show a
#   trap. CosFace takes the same from every *cosine*, and near the centre, where the cosine is flat,
#   that is a larger *angle*. AdaFace that looks at no length ($h = 0$) is CosFace with a margin of
#   0.4, and is at {glue:text}`rank_ada_plain:+.2f` by this alone. A margin is the same for all only
#   in its own unit.
# - **CurricularFace**'s margin is constant. What follows the training is its negatives.
#
# So among these losses CDML's easy-larger form is the odd one out: the others that set an angle by
# the cosine give *hard* samples more. MagFace comes nearest in spirit: where long embeddings are
# good images, the easy ones get the larger margin.
#
# :::{admonition} Where we deviate
# :class: note
# The document fixes $m_{\text{base}} = 0.49$, $\times 1.2$ and $\times 0.8$, and "similarity" as
# the score. The pivot of 60 degrees, the schedules and the class term are ours. The defaults are
# the document's reading; each row below gives the options of another.
#
# | reading | in this package |
# |---|---|
# | the document, text and diagram | `CDML.datn_page()`, the defaults |
# | the document's formula with a difficulty that rises | `favour="hard"` |
# | the public code's gap form | `CDML.datn_code_gap()` |
# | the public code's angular form | `CDML.datn_code_angle_gap()` |
# | the committed configurations, whose $\alpha$ is 0 | `alpha=0`: ArcFace |
# | a fair comparison with ArcFace | `match_mean=True` |
#
# The digits here are a demonstration of the mechanism. Nothing in this chapter says that one
# reading is more accurate.
# :::
#
# ## Exercises
#
# **4.1** Two samples stand at 40 and at 70 degrees from their class centres. With the document's
# defaults, what are their margins in radians? Answer with a pair.

# %%
exercises.check("4.1", None)

# %% [markdown]
# <details><summary>Solution 4.1</summary>
#
# 40 degrees is inside the pivot of 60, so $0.49 \times 1.2 = 0.588$; 70 is outside,
# $0.49 \times 0.8 = 0.392$. The answer is `(0.588, 0.392)`.
#
# </details>
#
# **4.2** A sample has $\cos\theta_y = 0.6$, and its best foreign centre is at 0.3. Which margin
# does the public gap form give it, with $m_2 = 0.5$ and $\alpha_{\text{pub}} = 0.1$?

# %%
exercises.check("4.2", None)

# %% [markdown]
# <details><summary>Solution 4.2</summary>
#
# $h = 1 - (0.6 - 0.3) = 0.7$ and $m = 0.5 + 0.1 \times 0.7 = 0.57$.
#
# </details>
#
# **4.3** Write a function of easiness values `e` (shape `[b]`), a base margin and an alpha that
# returns the margins of {eq}`eq-match-mean`, whose mean is the base margin.

# %%
exercises.check("4.3", None)

# %% [markdown]
# <details><summary>Solution 4.3</summary>
#
# `lambda e, m, alpha: m * (1 + alpha * (e - e.mean()))`
#
# </details>
#
# **4.4** In a batch, nine samples of ten are easy. Which constant margin should ArcFace have to be
# compared fairly with the document's CDML on it?

# %%
exercises.check("4.4", None)

# %% [markdown]
# <details><summary>Solution 4.4</summary>
#
# The mean margin: $0.9 \times 0.588 + 0.1 \times 0.392$ $= 0.5684$.
#
# </details>
#
# **4.5** Name options of `cdml`, as a dictionary, with which it gives *hard* samples the larger
# margin, moves it without a step, and keeps the mean margin of every batch at 0.5.

# %%
exercises.check("4.5", None)

# %% [markdown]
# <details><summary>Solution 4.5</summary>
#
# `{"favour": "hard", "shape": "linear", "match_mean": True, "margin_rad": 0.5}`. Any of the three
# scores of this chapter will do.
#
# </details>
#
# ## Recap
#
# - CDML is ArcFace with $m_i = m_{\text{base}}(1 + \alpha e_i)$. Step or linear, easy or hard
#   larger, schedule, class term, mean held: each is an option. Off are: `alpha=0` (then it is
#   ArcFace to the bit), `schedule="constant"`, `class_weight=0`, `match_mean=False`,
#   `never_above=False`. Score, shape and favour have no such value: one has to choose.
# - Easiness is read from cosines: the similarity to the own centre, or the lead over the best
#   foreign one, in cosines or in angles; the pivot says what is neither.
# - The document gives easy samples the larger margin, the public code hard ones. Of the other
#   losses, those that look at the cosine side with the code.
# - Margins follow what the network finds hard at the moment. A wrong label looks hard until it has
#   been learnt by heart.
# - A dynamic margin changes the mean margin too. `match_mean` holds it, and only then do two losses
#   differ in what one wants to compare.
#
# ## References
#
# The document and the public code: {cite:t}`datn`. {cite:t}`deng2019arcface`,
# {cite:t}`meng2021magface`, {cite:t}`kim2022adaface`, {cite:t}`huang2020curricularface`,
# {cite:t}`boutros2022elasticface`, {cite:t}`oinar2023kappaface`, {cite:t}`zeng2020npcface`.
