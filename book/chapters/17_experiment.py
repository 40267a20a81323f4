# ---
# cdmllab:
#   data: [results/sweeps/lab_main.json, results/sweeps/gate_omniglot.json, results/sweeps/omniglot_confirm.json, results/sweeps/omniglot_compare.json]
# ---
# %% [markdown]
# # An experiment that could say yes
#
# :::{admonition} After this chapter you can
# :class: tip
# - show that an experiment is sensitive before you believe what it says;
# - read the four possible verdicts on a difference, and tell "equal" from "not known";
# - check that a treatment was in fact given, and how strong it was;
# - state in a sentence what our comparison of CDML with ArcFace found and what it could not see.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 4, 5 and 12. Nothing is trained here; the numbers come from records in `results/sweeps`.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # not used, because nothing is drawn here

# %% tags=["hide-input"]
import numpy as np
from IPython.display import HTML
from myst_nb import glue

from cdmllab import plots
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import Power
from cdmllab.results.paired import family, pairs_for_equivalence
from cdmllab.results.published import ROWS
from cdmllab.results.sweeps import Recorded

lab = session.start(profile, seed)
gate, confirm, compare = (
    Recorded(name)
    for name in ("gate_omniglot", "omniglot_confirm", "omniglot_compare")
)
SAMPLED, ALL = "omniglot/strangers", "omniglot-all/strangers"
INTEREST = 0.002  # the plan's smallest effect of interest, as a share

# %% [markdown]
# {doc}`Chapter 12 </executed/12_reproduction>` compared CDML with ArcFace in the face lab and found no
# difference. It also found that the setting could not have shown one: without any margin the networks were
# just as accurate. A scale that reads zero for every weight does not prove that two apples weigh the
# same.
#
# This chapter starts over, in the order that an experiment should have. A plan was written first,
# `results/plans/cdml_vs_arcface.md`, with the question, the endpoint, the smallest effect that would matter
# and the test. A gate comes second: we look for a setting in which a *fixed* margin helps by a full point.
# Only there do we ask whether a moving margin helps more.
#
# ## The gate
#
# Nothing about the question is peculiar to faces. The characters of
# [Omniglot](https://github.com/brendenlake/omniglot) are small enough to train a network on one core in a
# minute: 136 characters of five alphabets to learn from, and 106 characters of other alphabets to be judged
# on. The network is the small one of the earlier chapters, at 32 pixels, trained for 20 epochs.
#
# We tried three scales. At each of them ArcFace, with a margin of 0.49 rad, is compared with NormFace,
# which is the same loss without the margin. Look at how far the ticks lie from zero.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy of ArcFace on strangers minus that of NormFace at the same scale, in points. Each tick is one of two seeds.", "name": "fig-gate"}, "image": {"alt": "Six pairs of ticks, all to the right of zero: with the exact gradient between two and four points, with the straight-through gradient between a fifth of a point and two"}}
scales = (16, 24, 32)
gains = {
    f"scale {scale}, {rule}": gate.values(
        "screen", f"arcface_{scale}{suffix}", SAMPLED
    )
    - gate.values("screen", f"normface_{scale}", SAMPLED)
    for scale in scales
    for rule, suffix in (("exact", ""), ("straight-through", "_through"))
}
_, (ax,) = plots.figure(width=6.4, height=2.4)
plots.differences(ax, {}, clear=[], references=gains)

# %% tags=["remove-input"]
screened = {
    arm: float(gate.values("screen", arm, SAMPLED).mean())
    for arm in gate.arms("screen")
}
chosen = max(
    (arm for arm in screened if arm.startswith("arcface")), key=screened.get
)
passed = {
    other: confirm.difference("confirm", "arcface", other, SAMPLED)
    for other in ("softmax", "normface")
}
is_passed = all(d.low > 0 and d.mean >= 0.01 for d in passed.values())
session.report(
    chosen=plots.label(chosen.split("_")[0])
    + f" at scale {chosen.split('_')[1]}",
    chosen_at=100 * screened[chosen],
    softmax_at=100 * screened["softmax"],
    confirm_seeds=passed["softmax"].n,
    over_softmax=passed["softmax"].format("points"),
    over_normface=passed["normface"].format("points"),
    gate="The gate is passed" if is_passed else "The gate is not passed",
)

# %% [markdown]
# A margin helps in all six settings, and more with the exact gradient. ArcFace is most accurate with
# {glue:text}`chosen` and the exact gradient, at {glue:text}`chosen_at:.1f` %. Softmax, with its free
# lengths and no margin, reaches {glue:text}`softmax_at:.1f` %.
#
# The best of several is partly lucky, so we do not trust this number. Six fresh seeds decide. Over
# {glue:text}`confirm_seeds` of them, ArcFace beats softmax by {glue:text}`over_softmax` and NormFace by
# {glue:text}`over_normface` (mean and 95 % interval). {glue:text}`gate`.
#
# ## The dose
#
# A treatment must be given before its effect can be measured. CDML as its document writes it multiplies the
# margin of 0.49 by 1.2 for easy samples, within 60 degrees of their centre, and by 0.8 for the others. Does
# it, in these trainings?


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Margins in a batch during training, mean of the seeds: the dotted line is ArcFace's margin, the solid one the mean of CDML's, and the band reaches from the tenth to the ninetieth percentile.", "name": "fig-dose-margin"}, "image": {"alt": "The mean margin of CDML starts at 0.39 radians, below ArcFace's 0.49, and rises to nearly 0.59 within 100 of 420 steps; the band vanishes, as all samples have the same margin then"}}
def margin_curve(key):
    """A statistic of CDML's margins at each recorded step, the mean over seeds."""
    return compare.curve("compare", "cdml_document", key)[:2]


steps, mean_margin = margin_curve("margin_rad")
base = compare.config("compare", "arcface")["loss"]["margin_rad"]
_, (ax,) = plots.figure(width=6.4, height=2.4)
ax.set_ylabel("margin (rad)")
ax.axhline(base, color=plots.colour("arcface"), linestyle=":")
ax.text(steps[-1], base, "ArcFace", ha="right", va="bottom", fontsize=8.5)
plots.sample_margins(
    ax,
    steps,
    margin_curve("margin_rad_p10")[1],
    mean_margin,
    margin_curve("margin_rad_p90")[1],
    "cdml",
)

# %% tags=["remove-input"]
easy_share = (
    mean_margin / base - 0.8
) / 0.4  # of the batch, since margins are 0.8 or 1.2 times base
half = int(np.argmax(easy_share >= 0.5))
session.report(
    first_share=100 * easy_share[0],
    last_share=100 * easy_share[-1],
    half_step=int(steps[half]),
    all_steps=int(steps[-1]),
    late_margin=mean_margin[-1],
    base=base,
)

# %% [markdown]
# The dose is large, and it is not what one expects. In the first step {glue:text}`first_share:.0f` % of a
# batch is easy, at the end {glue:text}`last_share:.0f` %, and already at step {glue:text}`half_step` of
# {glue:text}`all_steps` more than half is. For most of the training nearly every sample is easy. CDML as written is then
# ArcFace with a margin that is a fifth larger: its mean ends at {glue:text}`late_margin:.2f` rad instead of
# {glue:text}`base`. A network that learns its training images well leaves nothing for the smaller margin.
#
# That is why the plan has two more arms. In both the mean margin of every batch is held at 0.49, so that only
# its *distribution* is left: `cdml_easy` gives easy samples more, `cdml_hard` gives hard samples more.
#
# ## The comparison
#
# Every seed sets the initial weights and the order of the images, and every arm is trained with every seed.
# A thin line in the next figure joins the networks of one seed. Compare the slopes of the lines, not
# the clouds of dots: what a lucky seed gives to one arm it gives to the others too.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy on 6,000 pairs of unknown characters. Dots are seeds, thin lines join the networks of one seed, thick bars are means.", "name": "fig-paired"}, "image": {"alt": "Columns of dots for NormFace, ArcFace and three forms of CDML, joined by thin lines; the step up from NormFace to ArcFace is by far the largest"}}
arms = {
    "normface": ("normface", "NormFace"),
    "arcface": ("arcface", "ArcFace"),
    "cdml_document": ("cdml", "CDML\nas written"),
    "cdml_easy": ("cdml", "CDML,\neasy larger"),
    "cdml_hard": ("cdml", "CDML,\nhard larger"),
}
_, (ax,) = plots.figure(width=7.0, height=3.4)
plots.paired_seeds(
    ax,
    [name for name, _ in arms.values()],
    [compare.values("compare", arm, SAMPLED) for arm in arms],
    labels=[label for _, label in arms.values()],
)

# %% tags=["remove-input"]
primary = compare.difference("compare", "cdml_document", "arcface", SAMPLED)
answer_to = primary.within(INTEREST)
others = family(
    {
        (arm, measure): compare.difference(
            "compare", arm, "arcface", protocol, measure
        )
        for protocol, measure in ((SAMPLED, "accuracy"), (ALL, "tar@1e-3"))
        for arm in (
            "cdml_document",
            "cdml_easy",
            "cdml_hard",
            "normface",
        )
        if (arm, measure) != ("cdml_document", "accuracy")
    }
)
needed = pairs_for_equivalence(primary.sd, INTEREST)
meaning = {
    "different": "CDML and ArcFace differ, and the difference may be large enough to matter",
    "too small to matter": "they differ, by less than anybody would care about",
    "equivalent": "they are equal for all practical purposes",
    "inconclusive": "the experiment cannot tell a small difference from none",
}
side = {
    "higher": "CDML as its document writes it is more accurate than ArcFace",
    "lower": "CDML as its document writes it is less accurate than ArcFace",
    "not distinguishable": "CDML as its document writes it cannot be distinguished from ArcFace",
}
pairs = [
    (row, other)
    for row in ROWS
    for other in ROWS
    if row.source == other.source == "datn_page"
    and (row.loss, other.loss) == ("CDML", "ArcFace")
    and (row.trained_on, row.backbone) == (other.trained_on, other.backbone)
]
published = [
    (row.accuracy[name] - other.accuracy[name]) / 100
    for row, other in pairs
    for name in row.accuracy
]
about = compare.trained()
session.report(
    primary=primary.format("points"),
    seeds=primary.n,
    detectable=100 * primary.detectable,
    spread=100 * primary.sd,
    interest=100 * INTEREST,
    low90=f"{100 * answer_to.low:+.2f}",
    high90=f"{100 * answer_to.high:+.2f}",
    verdict=answer_to.verdict,
    largest=100 * max(abs(primary.low), abs(primary.high)),
    share=100
    * max(abs(primary.low), abs(primary.high))
    / abs(others["normface", "accuracy"].mean),
    tar_primary=others["cdml_document", "tar@1e-3"].format("points"),
    tar_verdict=others["cdml_document", "tar@1e-3"].within(0.005).verdict,
    meaning=meaning[answer_to.verdict],
    needed=needed,
    trainings=about["runs"],
    hours=about["hours"],
    of_easy=others["cdml_easy", "accuracy"].format("points"),
    of_hard=others["cdml_hard", "accuracy"].format("points"),
    of_none=others["normface", "accuracy"].format("points"),
    apart="; ".join(
        f"{arm.replace('_', ' ')}, {'accuracy' if measure == 'accuracy' else 'TAR'} ({d.verdict})"
        for (arm, measure), d in others.items()
        if arm.startswith("cdml") and d.verdict != "not distinguishable"
    )
    or "none",
    answer_sensitive=HTML(
        f"<p><strong>Does CDML beat ArcFace? {side[primary.verdict]}.</strong> The setting is one in which "
        "a fixed margin is worth "
        f"{passed['normface'].format('points')}: handwritten characters of unknown alphabets, a small "
        f"network, scale 16. Over {primary.n} paired seeds the difference is {primary.format('points')} "
        f"(mean and 95 % interval); {100 * primary.detectable:.2f} points would have been found four times "
        "in five.</p>"
    ),
)

# %% [markdown]
# ```{glue} answer_sensitive
# ```
#
# The 95 % interval answers whether there is a difference. Whether a difference is too small to matter is
# another question, and the plan fixed what matters: {glue:text}`interest:.1f` points, twelve pairs in 6,000.
# The shaded band below is that range. An effect is called *equivalent* to none if its 90 % interval lies
# inside the band.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Differences to ArcFace in points, with 95 % intervals; a full dot where a difference holds after Holm's correction. The band marks differences too small to matter. The ticks in the last row are the gains that the document publishes, each from one training.", "name": "fig-effects"}, "image": {"alt": "Intervals of the arms around zero, NormFace far to the left, and a row of ticks for the published gains"}}
rows = {
    "CDML as written": primary,
    "easy larger": others["cdml_easy", "accuracy"],
    "hard larger": others["cdml_hard", "accuracy"],
}
_, (ax,) = plots.figure(width=6.4, height=2.4)
plots.differences(
    ax,
    {label: (d.mean, d.low, d.high) for label, d in rows.items()},
    clear=[
        label for label, d in rows.items() if d.verdict != "not distinguishable"
    ],
    band=INTEREST,
    references={"published gains": published},
)

# %% [markdown]
# **The primary comparison.** CDML as written minus ArcFace is {glue:text}`primary`, and its 90 % interval
# reaches from {glue:text}`low90` to {glue:text}`high90`. The verdict by the rule of the plan is
# *{glue:text}`verdict`*: {glue:text}`meaning`. Yet the interval says something: whatever the difference is, it is
# hardly more than {glue:text}`largest:.2f` points, {glue:text}`share:.0f` % of what a fixed margin is worth here.
#
# **The distribution of the margin alone.** With the mean held, easy larger differs from ArcFace by
# {glue:text}`of_easy` and hard larger by {glue:text}`of_hard`. For comparison, removing the margin
# altogether costs {glue:text}`of_none`.
#
# **At a low false acceptance rate.** Accuracy looks at the middle of the distributions, and a recogniser
# lives at their edge. The last columns are TAR at a FAR of $10^{-3}$ on *all* pairs of ten groups of
# characters, 20,140 genuine and 204,000 impostor pairs.

# %% tags=["hide-input"]
session.Table(
    ["arm", "accuracy, %", "minus ArcFace, points", "p, corrected", "TAR, %", "minus ArcFace, points", "p, corrected"],
    [
        [
            label.replace("\n", " "),
            session.mean_sd(list(compare.values("compare", arm, SAMPLED))),
            *(
                [primary.format(), "primary"]
                if arm == "cdml_document"
                else [others[arm, "accuracy"].format(), session.p_value(others[arm, "accuracy"].p_family)]
                if arm != "arcface"
                else ["", ""]
            ),
            session.mean_sd(list(compare.values("compare", arm, ALL, "tar@1e-3"))),
            *(
                [others[arm, "tar@1e-3"].format(), session.p_value(others[arm, "tar@1e-3"].p_family)]
                if arm != "arcface"
                else ["", ""]
            ),
        ]
        for arm, (_, label) in arms.items()
    ],
)  # fmt: skip

# %% [markdown]
# The comparisons in this table, except the primary one, are a family. After Holm's correction, those of
# CDML that differ from ArcFace are: {glue:text}`apart`. The smallest effect of interest for TAR is half a point, the
# change of TAR that goes with {glue:text}`interest:.1f` points of accuracy between softmax and ArcFace. CDML as
# written differs by {glue:text}`tar_primary`, which is *{glue:text}`tar_verdict`*.
#
# ## What it could not have seen
#
# - *Small differences.* With {glue:text}`seeds` seeds and a spread of {glue:text}`spread:.2f` points between
#   seeds, a difference of {glue:text}`detectable:.2f` points would have been found four times in five. To show
#   that two losses are equal to within {glue:text}`interest:.1f` points takes about {glue:text}`needed` seeds.
# - *Faces.* Characters have no pose, no light and no age. What makes one hard differs from what makes a
#   face hard.
# - *Size.* A network of a few hundred thousand weights, 136 classes and 20 epochs say little about millions
#   of images. Nothing here contradicts a result at full size.
# - *Other worlds.* One set of characters is judged. The intervals cover the luck of a training, not the
#   choice of alphabets.
#
# How many seeds would have been enough? Press a button for the spread and the seeds of an experiment of this
# book, then raise the number of seeds until 0.2 points are found four times in five. When does "equivalent"
# become the likeliest verdict for a true difference of zero?

# %% tags=["hide-input"]
names = ("lfw", "cfp_ff", "cfp_fp", "agedb_30", "calfw", "cplfw")
in_the_lab = Recorded("lab_main").difference(
    "compare", "oracle", "arcface", [f"lab/{name}" for name in names]
)
explorer = Power.from_differences(
    {"CDML, this chapter": primary, "the oracle, chapter 12": in_the_lab},
    effect=0.2,
    bound=100 * INTEREST,
)
glue("widget-power", explorer)

# %% [markdown]
# The plan names what comes next: an ArcFace with the mean margin that CDML reaches, a placebo of random
# margins, doses from 0 to 60 %, and the same arms in the face lab and on photographs. In all,
# {glue:text}`trainings` trainings took {glue:text}`hours:.1f` hours of one core, so you can repeat them:
# `cdmllab sweep results/sweeps/omniglot_compare.yaml`.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(17)

# %% [markdown]
# ## Exercises
#
# **17.1** A difference has a mean of 0.05 points, a spread of 0.30 points over 16 seeds, and the smallest
# effect of interest is 0.2 points. Write a function `verdict(mean, spread, seeds, bound)` that returns one
# of "different", "too small to matter", "equivalent" and "inconclusive", by Student's intervals of 95 and
# 90 %.

# %%
exercises.check("17.1", None)

# %% [markdown]
# <details><summary>Solution 17.1</summary>
#
# ```python
# from scipy import stats
#
# def verdict(mean, spread, seeds, bound):
#     error, degrees = spread / seeds**0.5, seeds - 1
#     differs = abs(mean) > stats.t.ppf(0.975, degrees) * error
#     small = abs(mean) + stats.t.ppf(0.95, degrees) * error < bound
#     if differs:
#         return "too small to matter" if small else "different"
#     return "equivalent" if small else "inconclusive"
# ```
#
# </details>
#
# **17.2** An experiment of your own. Train ArcFace and NormFace with
# `cdmllab train lab/cpu/arcface --set data.name=digits ...` or a short sweep, with two seeds, at scales 4 and 64.
# Where does the margin help? Give the scale, 4 or 64, at which the *loss of NormFace* can fall lower for ten
# classes whose centres are as far apart as possible and whose samples lie on their centres.

# %%
exercises.check("17.2", None)

# %% [markdown]
# <details><summary>Solution 17.2</summary>
#
# 64. With ten centres at a cosine of $-1/9$ to each other, the loss is
# $\ln(1 + 9\, e^{-10 s / 9})$. At $s = 4$ that is 0.10, at $s = 64$ it is zero to double precision. A small scale keeps every sample
# pulling, with or without a margin; a large one lets the easy samples go, unless a margin holds them.
#
# </details>
#
# **17.3** Ten thousand seeds would show any difference, however small. How many seeds does it take to show with a
# power of 80 % that two losses are *equivalent* within 0.2 points, if they are equal and the spread of a paired
# difference is 0.5 points? Use `pairs_for_equivalence`, whose values are shares.

# %%
exercises.check("17.3", None)

# %% [markdown]
# <details><summary>Solution 17.3</summary>
#
# `pairs_for_equivalence(0.005, 0.002)` is 56: the 90 % interval must fit into the band from -0.2 to 0.2, and
# usually be centred well enough to stay there.
#
# </details>
#
# ## Recap
#
# - Ask first whether a setting rewards the thing you want to vary. Here a fixed margin pays
#   {glue:text}`over_normface` over none, so a moved margin has something to gain or lose.
# - Check the dose. As written, CDML mostly raises the mean margin, because nearly all samples become easy.
# - "Different", "too small to matter", "equivalent" and "inconclusive" are four answers. Two of them are often
#   confused: not distinguishable is not the same as equal.
# - The primary comparison says {glue:text}`primary`: {glue:text}`verdict`.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`holm1979simple`.
