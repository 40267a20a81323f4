# %% [markdown]
# # Difficulty, quality and truth
#
# :::{admonition} After this chapter you can
# :class: tip
# - say what the scores of AdaFace, MagFace, CurricularFace, CDML and CR-FIQA read from an image;
# - separate what a score knows about one factor from what it knows about the others;
# - draw curves of error against discard under both rules for the threshold, and say why they
#   disagree;
# - recognise a quality score that knows the person rather than the image;
# - score pairs with their quality, as QMagFace does.
# :::
#
# :::{admonition} What you need
# :class: note
# {doc}`Chapter 5 </executed/05_difficulty>` for difficulty and {doc}`chapter 11
# </executed/11_verification>` for thresholds. Four small networks are trained on the spot, in about
# two minutes on one core.
# :::
#
# Many methods claim to know how good an image is. AdaFace and MagFace read it off the length of the
# embedding. CurricularFace and CDML compare cosines to class centres and call the image hard or
# easy. CR-FIQA divides one cosine by another. All of these numbers are called quality, or
# difficulty with a minus sign. **Do they know the same thing, and is any of it true?**
#
# On photographs one can only ask whether errors fall when bad images are discarded. In the face lab
# we know the yaw, the light, the age and the blur of every image, so we can ask what a score knows.

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"
seed = 0  # of data order, first weights and augmentation
identities = 150  # people of the world that is trained on
epochs = 5  # of each of the four trainings
fmr = 0.05  # the false match rate of every threshold

# %% tags=["hide-input"]
import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from cdmllab import evaluate, plots, training
from cdmllab.analysis import quality
from cdmllab.book import exercises, questions, session
from cdmllab.easiness import easiness_from_similarity
from cdmllab.faces import difficulty, protocols
from cdmllab.metrics import discard, qmagface, ranked, verification
from cdmllab.metrics.discard_areas import area, resampled_areas
from cdmllab.training import datasets, presets
from cdmllab.training.difficulty_probe import Truth

lab = session.start(profile, seed)

# %% [markdown]
# ## Five scores
#
# {term}`Image quality <image quality>` is utility: how useful an image is for recognising who is in
# it. Write $a$ for the length of the embedding, $\theta_y$ for the angle to the positive centre and
# $\cos\theta_{\text{neg}}$ for the largest cosine to a negative centre.
#
# | score | formula | used by the method for |
# |---|---|---|
# | AdaFace | $a$ | the kind of margin {cite}`kim2022adaface` |
# | MagFace | $a$ | the size of the margin, and quality {cite}`meng2021magface` |
# | CurricularFace | $\cos(\theta_y + m) - \cos\theta_{\text{neg}}$ | the weight of negatives, where it is below 0 {cite}`huang2020curricularface` |
# | CDML | $\cos\theta_y$ | the size of the margin {cite}`datn` |
# | CR-FIQA | $\cos\theta_y / (1 + \cos\theta_{\text{neg}})$ | a target for a regression of quality {cite}`boutros2023crfiqa` |
#
# The first two need nothing but the image. The others need its label and the class centres, so they
# exist for training images only. CR-FIQA therefore learns to predict its ratio from the embedding,
# and only the prediction is used later.
#
# Each loss trains a network of its own, on {glue:text}`people` people with
# {glue:text}`label_noise:.0%` of the labels wrong. Scale and margins are those that `lab_losses`
# chose for short trainings.

# %%
losses = {
    "adaface": {"margin": 0.2},
    "magface": {
        "low": 4.0,
        "high": 14.0,
        "low_margin_rad": 0.2,
        "high_margin_rad": 0.35,
    },
    "curricularface": {"margin_rad": 0.35},
    "cdml": {"margin_rad": 0.35, "match_mean": True},
}
settings = {
    "data.num_identities": identities,
    "backbone.width": 16,
    "epochs": epochs,
    "batch_size": 64,
    "seed": seed,
    "device": lab.device,
}
trained = {}
for name, options in losses.items():
    loss = {"name": name, "scale": 12.0, **options}
    config = presets.load("lab/cpu/arcface", [settings | {"loss": loss}])
    trained[name] = training.train(config, within=lab.runs)

# %% [markdown]
# Now the five scores of 2,000 training images, each read from the network that its loss trained;
# CR-FIQA's ratio, which has no loss of its own here, from CDML's.

# %%
source = datasets.load(config.data.name, config.data.options)
truth = Truth(source, training.prepare(trained["cdml"].backbone))
embedded, cosines = {}, {}
for name, (_, backbone, head) in trained.items():
    embedded[name] = evaluate.embed(
        backbone, truth.images, prepare=training.prepare(backbone)
    )
    cosines[name] = quality.centre_cosines(
        embedded[name], head.directions().cpu(), truth.labels
    )
of_images = {
    "AdaFace": embedded["adaface"].norm(dim=1),
    "MagFace": embedded["magface"].norm(dim=1),
    "CurricularFace": quality.curricular_easiness(
        cosines["curricularface"], 0.35
    ),
    "CDML": easiness_from_similarity(cosines["cdml"].own),
    "CR-FIQA": quality.certainty_ratio(cosines["cdml"]),
}
of_images = {name: s.double().numpy() for name, s in of_images.items()}

# %% tags=["remove-input"]
right = ~truth.wrong
people = source.world.true_labels[truth.rows]


def two_answers(rows, _):
    """Correlation with ease, over correct labels, and AUC for wrong labels, of each score."""
    clean, easy, bad = rows[right[rows]], -truth.difficulty, truth.wrong[rows]
    rho = [difficulty.rank_correlation(s[clean], easy[clean]) for s in of_images.values()]  # fmt: skip
    return rho + [roc_auc_score(bad, -s[rows]) for s in of_images.values()]


answers = quality.over_people(two_answers, people, seed=seed)
told = [
    f"{v:.2f} [{low:.2f}, {high:.2f}]"
    for v, low, high in zip(*answers, strict=True)
]
knows = dict(zip(of_images, told[:5], strict=True))
finds = dict(zip(of_images, told[5:], strict=True))
session.report(
    people=identities,
    label_noise=config.data.options["label_noise"],
    **{f"rho_{name}": text for name, text in knows.items()},
    **{f"auc_{name}": text for name, text in finds.items()},
)

# %% [markdown]
# ## Do they know what is hard?
#
# We ask twice. How well does each score order the correctly labelled images by their known
# difficulty? And how often does it place an image with a wrong label below one with a correct
# label? A score that knows nothing has 0 in the first column and 0.5 in the second. Intervals are
# over people.

# %% tags=["hide-input"]
session.Table(
    ["score", "rank correlation with ease", "AUC for wrong labels"],
    [[name, knows[name], finds[name]] for name in of_images],
)

# %% [markdown]
# The two lengths know little of either: AdaFace's has a rank correlation of
# {glue:text}`rho_AdaFace` with the ease of an image, and MagFace's of {glue:text}`rho_MagFace`. The
# scores that look at class centres know more, CDML's {glue:text}`rho_CDML`, and they are above all
# detectors of wrong labels.
#
# That second ability is a mixed blessing. The length of an embedding does not depend on a label, so
# it cannot find a wrong one (AUC {glue:text}`auc_AdaFace`). A ratio does (AUC
# {glue:text}`auc_CR-FIQA`), but **a wrong label is not a bad image**. Somebody who weeds a training
# set wants the ratio. Somebody who wants to know whether a photo is sharp must not have learnt from
# it that a sharp photo with a wrong label is a bad one.
#
# ## What do they know?
#
# Difficulty is a sum over factors. Turned heads may also be darker ones, so plain correlations mix
# the factors. A **partial** rank correlation asks about one factor with all others held fixed:
# regress the ranks of the score and of the factor on the ranks of all other factors, and correlate
# what remains. Look at which rows have a full dot, and whether the columns agree.

# %% tags=["remove-input"]
strengths = {
    name: values.abs().numpy()
    for name, values in source.world.nuisances(truth.rows).values.items()
}


def partials(rows, _):
    """Partial correlations of each score with each factor, over correct labels, in one list."""
    some = rows[right[rows]]
    known = {name: values[some] for name, values in strengths.items()}
    found = [quality.partial_rank_correlations(s[some], known) for s in of_images.values()]  # fmt: skip
    return [r for score in found for r in score.values()]


estimate = quality.over_people(partials, people, replicates=100, seed=seed)
table = np.stack(estimate, axis=1).reshape(5, len(strengths), 3)
order = np.abs(table[:, :, 0]).max(axis=0).argsort()[::-1][:9]
shown = [list(strengths)[k] for k in order]
by_score = {
    name: {factor: tuple(table[n, k]) for k, factor in enumerate(strengths)}
    for n, name in enumerate(of_images)
}


def partial(score, factor):
    """A partial correlation with its interval, in words."""
    value, low, high = by_score[score][factor]
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


top = {
    name: max(values, key=lambda factor: abs(values[factor][0]))
    for name, values in by_score.items()
}
session.report(
    **{f"top_{name}": factor.replace("_", " ") for name, factor in top.items()},
    **{f"top_r_{name}": partial(name, factor) for name, factor in top.items()},
    norm_restyling=partial("AdaFace", "restyling"),
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Partial rank correlation of each score with the strength of each factor, all other factors held fixed, over correctly labelled images. Intervals are over people; a full dot marks an interval that excludes zero. The nine factors with the largest value are shown.", "name": "fig-partial-correlations"}, "image": {"alt": "Five panels of dots with intervals around zero, one row per factor"}}
fig, axes = plots.figure(5, width=7.4, height=2.9)
fig.supxlabel("partial rank correlation", fontsize=9.5)
for ax, name in zip(axes, of_images, strict=True):
    plots.factor_correlations(
        ax, shown, by_score[name], title=name, labelled=ax is axes[0]
    )

# %% [markdown]
# The largest partial correlation of AdaFace's length is with {glue:text}`top_AdaFace`
# ({glue:text}`top_r_AdaFace`), and of MagFace's with {glue:text}`top_MagFace`
# ({glue:text}`top_r_MagFace`). With restyling, the factor that carries most of the difficulty in
# this lab, AdaFace's length has {glue:text}`norm_restyling`. CurricularFace's easiness follows
# {glue:text}`top_CurricularFace` most ({glue:text}`top_r_CurricularFace`), and CR-FIQA's ratio
# {glue:text}`top_CR-FIQA` ({glue:text}`top_r_CR-FIQA`).
#
# ## Do errors fall when bad images go?
#
# This is the only question that photographs allow. Take pairs of strangers. The quality of a pair
# is the lower of its images' qualities. Discard the worst pairs, a growing share of them, and
# measure the errors of the others: the
# **{term}`error-versus-discard curve <discard curve>`** {cite}`grother2007quality`.
#
# The error is the **FNMR**, the share of genuine pairs that are rejected, at a threshold with a
# false match rate (FMR) of {glue:text}`fmr:.0%`. Which threshold? Two rules are in use.
#
# - **Fixed.** The threshold is chosen once, on all pairs. A system that refuses bad images keeps
#   its threshold, so ISO/IEC 29794-1 has this rule.
# - **Picked anew.** At every share the threshold is chosen on the pairs that are left. MagFace's
#   script does so, and CR-FIQA's after it.
#
# One network compares all pairs, the one that CDML trained. The scores that need a label are
# predicted from the embedding by ridge regression, after the training rather than during it.

# %%
pairs_of = protocols.load("lfw", size=32)
pixels = torch.from_numpy(pairs_of.read(np.arange(len(pairs_of))))
pixels = pixels.permute(0, 3, 1, 2).contiguous()
test = {
    name: evaluate.embed(t.backbone, pixels, prepare=training.prepare(t.backbone))
    for name, t in trained.items()
}
first, second, same = pairs_of.pairs[:3]
scores = evaluate.scores(test["cdml"], pairs_of.pairs)
of_strangers = {
    "AdaFace": test["adaface"].norm(dim=1).numpy(),
    "MagFace": test["magface"].norm(dim=1).numpy(),
}
for name, net in (
    ("CurricularFace", "curricularface"),
    ("CDML", "cdml"),
    ("CR-FIQA", "cdml"),
):
    learnt = Ridge(alpha=10.0).fit(embedded[net].numpy(), of_images[name])
    of_strangers[name] = learnt.predict(test[net].numpy())
of_strangers["known difficulty"] = -difficulty.known().difficulty(
    pairs_of.nuisances
)
of_strangers["random"] = np.random.default_rng(seed).random(len(pairs_of))

# %% tags=["remove-input"]
rates = [k / 20 for k in range(17)]
rules = ("fixed", "repicked")
of_pairs = {
    name: discard.pair_quality(q[first], q[second])
    for name, q in of_strangers.items()
}
curves = {
    (name, rule): discard.fnmr(
        scores, same, q, fmr=fmr, threshold=rule, rates=rates
    )
    for name, q in of_pairs.items()
    for rule in rules
}
both = (pairs_of.identity[first], pairs_of.identity[second])
drawn = {
    (name, rule): resampled_areas(
        scores,
        same,
        q,
        both,
        fmr=fmr,
        threshold=rule,
        rates=rates,
        relative=True,
        replicates=100,
        seed=seed,
    )
    for name, q in of_pairs.items()
    for rule in rules
}


def area_of(name, rule):
    """The relative area with its interval over people."""
    low, high = np.nanpercentile(drawn[name, rule], [2.5, 97.5])
    return (
        f"{area(curves[name, rule], relative=True):.2f} [{low:.2f}, {high:.2f}]"
    )


half = rates.index(0.5)
session.report(
    fmr=fmr,
    fnmr=curves["random", "fixed"].value[0],
    fmr_half_norm=curves["AdaFace", "fixed"].fmr[half],
    fmr_half_truth=curves["known difficulty", "fixed"].fmr[half],
    **{f"{rule}_{name.split()[0]}": area_of(name, rule) for name, rule in curves},
)

# %% [markdown]
# Without discarding, {glue:text}`fnmr:.0%` of the genuine pairs are rejected. Compare the curves of
# the lengths in the left panel with those in the middle one. The right panel shows what the fixed
# threshold does to impostors meanwhile.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pairs of strangers, compared by one network. Left: FNMR at the threshold fixed on all pairs. Middle: FNMR at the threshold picked anew among the pairs left. Right: share of the impostor pairs left that the fixed threshold accepts.", "name": "fig-discard"}, "image": {"alt": "Three panels of curves over the share of pairs discarded, one line per quality score"}}
shades = {
    "AdaFace": "#7a4fb5",
    "MagFace": "#b86bb0",
    "CurricularFace": plots.colour("cosface"),
    "CDML": plots.colour("cdml"),
    "CR-FIQA": plots.colour("arcface"),
    "known difficulty": "#8c7a00",
}
fig, axes = plots.figure(3, width=7.6, height=3.6)
for ax, rule, field, title in (
    (axes[0], "fixed", "value", "fixed threshold"),
    (axes[1], "repicked", "value", "threshold picked anew"),
    (axes[2], "fixed", "fmr", "fixed threshold"),
):
    lines = {q: getattr(curves[q, rule], field) for q in of_pairs}
    ylabel = "FMR" if field == "fmr" else "FNMR"
    plots.discard_curves(
        ax, rates, lines, shades, ylabel=ylabel, plain=["random"]
    )
    ax.set_title(title)
top = max(ax.get_ylim()[1] for ax in axes[:2])
for ax in axes[:2]:
    ax.set_ylim(0.0, top)
_ = fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4
)

# %% [markdown]
# One number per curve is its area, divided by the FNMR of all pairs: 1 for a score that knows
# nothing, lower for a better one.

# %% tags=["hide-input"]
session.Table(
    ["quality", "area, fixed threshold", "area, picked anew"],
    [[name, *(area_of(name, rule) for rule in rules)] for name in of_pairs],
)

# %% [markdown]
# **The rules disagree, and most about the lengths.** At the fixed threshold AdaFace's length
# reaches an area of {glue:text}`fixed_AdaFace`, next to {glue:text}`fixed_known` for the known
# difficulty itself. With the threshold picked anew it is {glue:text}`repicked_AdaFace`.
#
# The right panel explains it. When half of the pairs have been discarded by AdaFace's length, the
# fixed threshold accepts {glue:text}`fmr_half_norm:.1%` of the impostor pairs that are left, instead
# of {glue:text}`fmr:.0%`. Among pairs with long embeddings *both* kinds of pairs score higher. The
# FNMR falls and the FMR rises, as if somebody had lowered the threshold. Discarding by known
# difficulty leaves it at {glue:text}`fmr_half_truth:.1%`.
#
# So a curve of FNMR alone cannot praise a score. Report the rule, and under the fixed rule the FMR
# too.
#
# ## The image or the person?
#
# How can a score raise the cosines of impostors? If the length belongs to the *person* rather than
# to the image, discarding by it discards people. The face lab has five images of each stranger, so
# we can split the variance of a score: which share is between people, and which between images of
# one person? Of the known difficulty, the share between people should be nearly nothing, because
# factors are drawn anew for each image.

# %% tags=["remove-input"]
shares = {
    name: quality.over_people(
        lambda rows, drawn, q=q: [quality.person_share(q[rows], drawn)],
        pairs_of.identity,
        seed=seed,
    )
    for name, q in of_strangers.items()
    if name != "random"
}
in_words = {
    name: f"{s.value[0]:.2f} [{s.low[0]:.2f}, {s.high[0]:.2f}]"
    for name, s in shares.items()
}
ease = {
    name: difficulty.rank_correlation(q, of_strangers["known difficulty"])
    for name, q in of_strangers.items()
}
session.report(
    person_AdaFace=in_words["AdaFace"],
    person_MagFace=in_words["MagFace"],
    person_CDML=in_words["CDML"],
    person_truth=in_words["known difficulty"],
    ease_CDML=ease["CDML"],
)

# %% tags=["hide-input"]
session.Table(
    ["score of strangers", "share between people", "rank correlation with ease"],
    [[name, in_words[name], f"{ease[name]:.2f}"] for name in shares],
)

# %% [markdown]
# The share between people is {glue:text}`person_AdaFace` for AdaFace's length and
# {glue:text}`person_MagFace` for MagFace's, compared with {glue:text}`person_truth` for the known
# difficulty. Scores that are predicted from the embedding are no exception: CDML's easiness has
# {glue:text}`person_CDML`. What such a score calls a bad image is in part a person. A system that
# refuses images of low quality then refuses some people more often than others, whatever photo they
# bring ({doc}`people and bias </people>`).
#
# The last column repeats the first question for strangers. Predicted from an embedding, CDML's
# easiness has a rank correlation of {glue:text}`ease_CDML:.2f` with ease, next to
# {glue:text}`rho_CDML` on training images, where the centre of the person is known.
#
# ## Score with the quality instead
#
# QMagFace discards nothing. It lowers the score of a pair by its quality, and most where the score
# is low already {cite}`terhoerst2023qmagface`:
#
# $$\hat s = s + \omega q$$
#
# $$\omega = \min(0,\ \beta s - \alpha)$$
#
# Here $q$ is the lower of the two lengths. The numbers $\alpha$ and $\beta$ are fitted on pairs of
# other people: at each of many FMRs, take the weight $\omega$ with the lowest FNMR, then fit a line
# through these weights over their thresholds.

# %%
others = protocols.load("lfw", size=32, part="validation")
portraits = torch.from_numpy(others.read(np.arange(len(others))))
portraits = portraits.permute(0, 3, 1, 2).contiguous()
backbone = trained["magface"].backbone
ready = training.prepare(backbone)
fitted_on = evaluate.embed(backbone, portraits, prepare=ready)
length = fitted_on.norm(dim=1).numpy()
weight = qmagface.fit(
    evaluate.scores(fitted_on, others.pairs),
    others.pairs.same,
    discard.pair_quality(length[others.pairs[0]], length[others.pairs[1]]),
    fmrs=np.logspace(-2, -0.5, 30),
)
cosine = evaluate.scores(test["magface"], pairs_of.pairs)
aware = qmagface.weighted_scores(cosine, of_pairs["MagFace"], weight)

# %% tags=["remove-input"]
points = (0.01, 0.05, 0.2)


def gains(rows, _):
    """TAR with quality minus TAR without it, at each FMR, over the pairs of some first people."""
    with_it, without = (
        [verification.tar_at_far(s[rows], same[rows], p) for p in points]
        for s in (aware, cosine)
    )
    return 100.0 * (np.array(with_it) - np.array(without))


gain = quality.over_people(gains, both[0], seed=seed)
session.report(
    alpha=weight.alpha,
    beta=weight.beta,
    crossing=weight.alpha / weight.beta if weight.beta else float("nan"),
    gain_last=f"{gain.value[2]:+.1f} [{gain.low[2]:+.1f}, {gain.high[2]:+.1f}]",
    last_point=points[2],
)

# %% tags=["hide-input"]
session.Table(
    ["FMR", "threshold", "TAR of the cosine (%)", "gain of QMagFace (points)"],
    [
        [
            f"{p:.0%}",
            f"{ranked.lowest_accepted(ranked.rank(cosine, same), p):.2f}",
            f"{100 * verification.tar_at_far(cosine, same, p):.1f}",
            f"{v:+.1f} [{low:+.1f}, {high:+.1f}]",
        ]
        for p, v, low, high in zip(points, *gain, strict=True)
    ],
)

# %% [markdown]
# The fit gives $\alpha$ = {glue:text}`alpha:.3f` and $\beta$ = {glue:text}`beta:.3f`. Cosines above
# {glue:text}`crossing:.2f` stay as they are, and lower ones can only fall. At a threshold above that
# value no decision changes, and the gain is exactly zero. At an FMR of {glue:text}`last_point:.0%`
# it is {glue:text}`gain_last` points. A score cannot gain more from a length than the length knows.
#
# ## On photographs
#
# On LFW-a and AT&T only discard curves can be had, for nobody knows the factors of a photograph.
# `cdmllab bench photo_quality` trains small networks on LFW-a with AdaFace and MagFace, and
# measures pairs of other people of LFW-a and of AT&T, under both rules and with the FMR of the
# pairs left. It shows whether the rules part on photographs as they do here. It needs the images,
# which are not part of this book ({doc}`data sets </datasets>`).
#
# ## Where we deviate
#
# CR-FIQA trains its regression together with the network, and its training script divides by the
# cosine to the nearest negative without adding 1. Ours is a ridge regression afterwards. MagFace's
# range of lengths is that of our small network. The networks are small, each was trained once, and
# the intervals are over people, not over trainings: which of two losses gives the better score is
# not decided here.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(16)

# %% [markdown]
# ## Exercises
#
# **16.1** At a fixed threshold 20 % of the genuine pairs are rejected. A perfect quality score
# discards the worst 10 % of the genuine pairs. What is the FNMR of the others?

# %%
exercises.check("16.1", None)

# %% [markdown]
# <details><summary>Solution 16.1</summary>
#
# Of 100 pairs 20 fail, and the 10 that go are among them. Of the 90 left 10 fail: 1/9, or 0.111. In
# general it is $(f - r) / (1 - r)$, and 0 from $r = f$ on.
#
# </details>
#
# **16.2** Write a function `kept(quality, rate)` that returns the mask of the pairs that are left
# when at most the share `rate` is discarded, the worst first. Pairs of equal quality stay or go
# together.

# %%
exercises.check("16.2", None)

# %% [markdown]
# <details><summary>Solution 16.2</summary>
#
# ```python
# def kept(quality, rate):
#     falls = [(quality <= q).sum() <= rate * len(quality) for q in quality]
#     return ~np.array(falls)
# ```
#
# A pair goes if all pairs that are no better may go.
#
# </details>
#
# **16.3** An experiment without a network. Draw a million impostor scores as noise + quality, both
# standard normal: a "quality" that only shifts scores. Choose the threshold that accepts 5 % of
# them, discard the half with the lower quality, and measure the FMR of the others at that
# threshold. What do you get?

# %%
exercises.check("16.3", None)

# %% [markdown]
# <details><summary>Solution 16.3</summary>
#
# ```python
# rng = np.random.default_rng(0)
# noise, q = rng.normal(size=(2, 1_000_000))
# score = noise + q
# threshold = np.quantile(score, 0.95)
# (score[q > 0] > threshold).mean()
# ```
#
# Nearly all accepted impostors are in the better half, so the FMR nearly doubles, to about 0.098.
# The same shift lowers the FNMR of genuine pairs, and a curve of FNMR alone would call this quality
# a good one.
#
# </details>
#
# ## Recap
#
# - *Do the scores know what is hard?* The lengths know little ({glue:text}`rho_AdaFace` for
#   AdaFace's); scores from class centres know more ({glue:text}`rho_CDML` for CDML's), on training
#   images.
# - *A bad image or a wrong label?* Scores from class centres find wrong labels (AUC
#   {glue:text}`auc_CR-FIQA` for CR-FIQA's ratio). Lengths do not, which is right for a quality.
# - *Do errors fall when bad images go?* It depends on the rule. AdaFace's length has an area of
#   {glue:text}`fixed_AdaFace` at the fixed threshold and of {glue:text}`repicked_AdaFace` with the
#   threshold picked anew.
# - *Whose quality is it?* In part the person's: {glue:text}`person_AdaFace` of the variance of
#   AdaFace's length is between people.
#
# ## References
#
# {cite:t}`kim2022adaface`, {cite:t}`meng2021magface`, {cite:t}`huang2020curricularface`,
# {cite:t}`boutros2023crfiqa`, {cite:t}`terhoerst2023qmagface`, {cite:t}`grother2007quality`.
