# ---
# cdmllab:
#   data: [results/sweeps/lab_main.json, results/sweeps/lab_main.yaml, results/sweeps/lab_noise.json, results/sweeps/lab_noise.yaml]
# ---
# %% [markdown]
# # Does it know what is hard?
#
# :::{admonition} After this chapter you can
# :class: tip
# - say how well an easiness score follows what is truly hard, early and late in a training;
# - tell a hard image from a wrong label, and say when in a training a score can;
# - say what a perfect reading of difficulty would have gained here, from an oracle;
# - predict what a margin that favours hard samples does when labels are wrong.
# :::
#
# :::{admonition} What you need
# :class: note
# {doc}`Chapter 4 </executed/04_cdml>`, and a first look at {doc}`chapter 6 </executed/06_faces>`,
# whose faces are used here. One small network is trained on the spot, in less than a minute on one
# core; the long curves come from the sweeps `lab_main` and `lab_noise` in `results/sweeps`.
# :::
#
# CDML decides by a number, the easiness $e_i$, who gets which margin. That number is a guess. It
# looks at the embedding of a network that is itself being trained, and says *easy* when the
# embedding lies near its class centre. On photographs nobody can check the guess, for no one knows
# how hard a photograph is. Our faces are rendered: yaw, light, blur, age and the rest are known,
# and how much each of them turns an embedding has been measured
# ({doc}`chapter 6 </executed/06_faces>`). So here the guess has a truth beside it.

# %% tags=["parameters"]
profile = "cpu"  # "cpu" or "gpu"
seed = 0  # of data order, first weights and augmentation
identities = 150  # people of the world that is trained on
epochs = 5  # of the training on the spot

# %%
import numpy as np
from sklearn.metrics import roc_auc_score

from cdmllab import plots, training
from cdmllab.book import exercises, session
from cdmllab.faces import difficulty
from cdmllab.results.paired import family
from cdmllab.results.sweeps import Recorded
from cdmllab.training import datasets, presets
from cdmllab.training.difficulty_probe import Truth

lab = session.start(profile, seed)
recorded, noisy = Recorded("lab_main"), Recorded("lab_noise")
scores = {
    "similarity": "cosine to the own centre",
    "gap": "gap to the best other centre",
}
shades = {
    "cosine to the own centre": "#2f6fb7",
    "gap to the best other centre": "#d9542b",
}

# %% [markdown]
# ## A guess and its truth
#
# A small network learns {glue:text}`people` people with ArcFace. Then we look at 2,000 of its own
# training images, at the easiness that each score gives them, and at their known difficulty: how
# far the image's nuisances turn an embedding away, in cosine.

# %%
settings = {
    "data.num_identities": identities,
    "backbone.width": 16,
    "epochs": epochs,
    "batch_size": 64,
    "seed": seed,
    "device": lab.device,
}
config = presets.load("lab/cpu/arcface", [settings])
trained = training.train(config, within=lab.runs)
source = datasets.load(config.data.name, config.data.options)
truth = Truth(source, training.prepare(trained.backbone))
found = {
    k: v.numpy() for k, v in truth.scores(trained.backbone, trained.head).items()
}

# %% tags=["remove-input"]
shares = difficulty.variance_shares(source.world, truth.rows)
session.tell(people=identities)
session.tell(
    **{f"varies_{name}": shares[name] for name in ("restyling", "yaw", "roll")}
)

# %% [markdown]
# What does *hard* mean here? Of the variance of the known difficulty
# {glue:text}`varies_restyling:.0%` comes with **restyling**, other hair and another beard on the
# same face, {glue:text}`varies_yaw:.0%` with yaw, and {glue:text}`varies_roll:.0%` with roll, which
# an alignment by landmarks would remove. So a hard image of this lab is first of all one of
# somebody back from the hairdresser, and only then one of a turned head. On photographs the shares
# would be others, and what this chapter finds about difficulty is about this one.

# %% mystnb={"figure": {"caption": "Left: easiness by similarity against known difficulty, a dot for each image; wrong labels in red. Right: how the easiness is spread over rightly and wrongly labelled images.", "name": "fig-guess"}, "image": {"alt": "A cloud of dots over difficulty, those of wrong labels in red; beside it two histograms"}}
fig, axes = plots.figure(2, width=7.4, height=2.9)
plots.guess_against_truth(
    axes[0], found["similarity"], truth.difficulty, truth.wrong
)
plots.by_label(axes[1], found["similarity"], truth.wrong)

# %% tags=["remove-input"]
told = truth.look(trained.backbone, trained.head)
ends = truth.groups["easy"] | truth.groups["hard"]
both = truth.groups["hard"] | truth.wrong
session.tell(
    own_rho=told["truth/similarity"],
    own_auc=told["truth/similarity_auc"],
    hard_auc=roc_auc_score(
        truth.groups["hard"][ends], -found["similarity"][ends]
    ),
    wrong_hard_auc=roc_auc_score(truth.wrong[both], -found["similarity"][both]),
)

# %% [markdown]
# Over rightly labelled images the rank correlation of difficulty and *1 − easiness* is
# {glue:text}`own_rho:.2f`; 1 would be perfect order, 0 none. The score sees something else as well.
# Take an image with a wrong label and one with a right label: the wrong one has the lower easiness
# with a chance of {glue:text}`own_auc:.0%`, where a coin would have half. (This chance is the **AUC**,
# the area under the ROC curve of {doc}`chapter 11 </executed/11_verification>`.)
#
# ## While it learns
#
# A margin acts while the network learns, so the guess must be good *then*, and not after. (CDML's
# step wakes up when the first samples come nearer than its pivot of 60 degrees; before that all are
# hard alike, and with the mean held it is ArcFace.) The sweep `lab_main` looked once an epoch, in
# {glue:text}`seeds` seeds:

# %% mystnb={"figure": {"caption": "ArcFace trainings, mean and spread over seeds. Left: rank correlation of each score with the known difficulty, over rightly labelled images. Right: how well each score finds wrong labels; 0.5 is chance.", "name": "fig-truth-curves"}, "image": {"alt": "Two panels of two rising curves each"}}
fig, axes = plots.figure(2, width=7.4, height=2.8)
for ax, ending, ylabel in (
    (axes[0], "", "rank correlation with truth"),
    (axes[1], "_auc", "finds wrong labels (AUC)"),
):
    curves = {
        about: recorded.curve("compare", "arcface", f"truth/{name}{ending}")
        for name, about in scores.items()
    }
    plots.training_curves(ax, curves, ylabel=ylabel, colours=shades)
_ = axes[0].legend(loc="lower right", fontsize=7.5)

# %% tags=["remove-input"]
for name in (*scores, "angle_gap"):
    step, rho, _ = recorded.curve("compare", "arcface", f"truth/{name}")
    _, auc, _ = recorded.curve("compare", "arcface", f"truth/{name}_auc")
    session.tell(
        **{f"{name}_first": rho[1], f"{name}_last": rho[-1]},
        **{f"{name}_auc_first": auc[1], f"{name}_auc_last": auc[-1]},
    )
degrees = {
    group: recorded.curve("compare", "arcface", f"truth/angle_deg_{group}")[1][-1]
    for group in ("easy", "hard", "mislabelled")
}
session.tell(
    first_step=int(step[1]),
    seeds=len(recorded.seeds("compare", "arcface")),
    deg_easy=degrees["easy"],
    deg_hard=degrees["hard"],
    deg_wrong=degrees["mislabelled"],
)

# %% [markdown]
# At step {glue:text}`first_step` the similarity's correlation with the truth is
# {glue:text}`similarity_first:.2f`, the gap's {glue:text}`gap_first:.2f`; in the end they reach
# {glue:text}`similarity_last:.2f` and {glue:text}`gap_last:.2f`. Wrong labels are found with an AUC
# of {glue:text}`gap_auc_first:.2f` at first and {glue:text}`gap_auc_last:.2f` in the end. A third
# score, the gap in angles, is cut off where an image leads by less than 30 degrees; in this sweep
# that was every image at every look, so it ordered nothing (its correlation in the end:
# {glue:text}`angle_gap_last:.2f`).
#
# How sure is a score of what is wrong, beside what is hard? On one scale: in the training on the
# spot, an image of the hard third has the lower easiness than one of the easy third with a chance
# of {glue:text}`hard_auc:.0%`, a wrong label than a right one with {glue:text}`own_auc:.0%`, and a
# wrong label than a right one of the hard third with {glue:text}`wrong_hard_auc:.0%`.
#
# That is no accident. A restyled face is still the face of its person, and the network pulls it in:
# in `lab_main` ArcFace ends with the easy third at {glue:text}`deg_easy:.0f` degrees from their
# centres, the hard third at {glue:text}`deg_hard:.0f`, wrong labels at {glue:text}`deg_wrong:.0f`.
# An image with a wrong label is pulled by most of the others of its true person to one place, and
# by its label to another. **Label noise is the strongest difficulty there is**, and late in a
# training it stands apart even from what is hard. Early it does so less, and a margin that only
# asks on which side of its pivot a score lies treats both alike.
#
# ## What a margin makes of wrong labels
#
# Now the two signs of CDML differ in more than taste. `favour="hard"` gives the larger margin to
# what looks hard, and so first of all to wrong labels: it asks more of them. `favour="easy"` asks
# less. One would predict that the more labels are wrong, the more easy larger gains on ArcFace, and
# the more hard larger loses. The sweep `lab_noise` trained with 0, 5, 10 and 20 % of the labels
# wrong ({glue:text}`own_noise:.0%` in `lab_main`), at a margin of {glue:text}`noise_margin` rad and
# scale {glue:text}`noise_scale`, {glue:text}`noise_seeds` seeds each. The **oracle** knows in place
# of the guess which half of the images is the harder one, all wrong labels among it.

# %% mystnb={"figure": {"caption": "Accuracy, mean of three protocols, against the share of wrong labels: difference to ArcFace in points, with a band of one standard error over seeds.", "name": "fig-noise"}, "image": {"alt": "Three curves around zero over label noise from 0 to 20 percent"}}
levels = {0: "noise_0", 5: "noise_5", 10: "noise_10", 20: "noise_20"}
protocols = ["lab/lfw", "lab/cfp_fp", "lab/calfw"]
arms = {
    "cdml_easy": "CDML, easy larger",
    "cdml_hard": "CDML, hard larger",
    "oracle": "oracle",
}
shade = {
    "CDML, easy larger": plots.colour("cdml"),
    "CDML, hard larger": "#8c7a00",
    "oracle": "#7a4fb5",
}
curves = {}
for arm, about in arms.items():
    ds = [noisy.difference(s, arm, "arcface", protocols) for s in levels.values()]
    errors = [d.sd / np.sqrt(d.n) for d in ds]
    curves[about] = (list(levels), [d.mean for d in ds], errors)
fig, (ax,) = plots.figure(width=5.8, height=2.9)
plots.training_curves(
    ax,
    curves,
    ylabel="difference to ArcFace (points)",
    colours=shade,
    scale=100.0,
)
ax.axhline(0.0, color=plots.colour("arcface"), linewidth=1.2)
ax.set_xlabel("wrong labels (%)")
ax.set_xticks(list(levels))
_ = ax.legend()

# %%
session.Table(
    ["wrong labels", "ArcFace, %", *(f"{about}" for about in arms.values())],
    [
        [f"{level} %", session.mean_sd(list(noisy.values(stage, "arcface", protocols))),
         *(noisy.difference(stage, arm, "arcface", protocols).told() for arm in arms)]
        for level, stage in levels.items()
    ],
)  # fmt: skip

# %% [markdown]
# Differences to ArcFace in points, paired by seed, each with its own 95 % interval. One such
# interval in twenty excludes zero by chance, so a table of {glue:text}`noise_cells` cannot be read
# cell by cell. Here and in every table of differences to come the rule is **{term}`Holm's correction`**:
# sort the $p$-values of the table, multiply the smallest by their number $m$, the next by $m - 1$,
# and so on, and speak of a difference only where the product is at most 0.05. Then the chance of a
# single false finding in the whole table is 5 % at most. (The interval that is printed stays that
# of one difference.) Taken alone, {glue:text}`noise_alone` of the intervals exclude
# zero{glue:text}`noise_named`; after the correction {glue:text}`noise_clear` remain. In the median
# cell a true difference of {glue:text}`noise_detectable:.1f` points would be found alone four times
# in five; in the least certain one it takes {glue:text}`noise_worst:.1f`. So the prediction is not
# borne out, not even with one label in five wrong: there easy larger has {glue:text}`noise_easy_20`
# points beside ArcFace, hard larger {glue:text}`noise_hard_20`.
#
# ## The oracle
#
# Would a better guess help? The oracle gives the easier half the larger margin, a fifth up and
# down, and it does so from the first step on, while CDML's own score is silent until samples pass
# its pivot. So it tests a true *step* that acts all the way. It does not use *how* hard an image
# is, nor set wrong labels apart from hard ones. In `lab_main` (margin {glue:text}`main_margin` rad,
# scale {glue:text}`main_scale`), mean of the six named protocols:

# %% tags=["remove-input"]
named = [
    f"lab/{p}" for p in ("lfw", "cfp_ff", "cfp_fp", "agedb_30", "calfw", "cplfw")
]
rows = family(
    {
        about: recorded.difference("compare", arm, "arcface", named)
        for arm, about in arms.items()
    }
)
cells = family(
    {
        f"{about} at {level} %": noisy.difference(
            stage, arm, "arcface", protocols
        )
        for level, stage in levels.items()
        for arm, about in arms.items()
    }
)
alone = [
    f"{name} ({d.told()})" for name, d in cells.items() if d.low * d.high > 0
]
at_noise = noisy.config("noise_0", "arcface")
session.tell(
    own_noise=recorded.config("compare", "arcface")["data"]["label_noise"],
    noise_margin=at_noise["loss"]["margin_rad"],
    noise_scale=f"{at_noise['loss']['scale']:g}",
    main_margin=recorded.config("compare", "arcface")["loss"]["margin_rad"],
    main_scale=f"{recorded.config('compare', 'arcface')['loss']['scale']:g}",
    noise_seeds=len(noisy.seeds("noise_0", "arcface")),
    noise_cells=len(cells),
    noise_alone=len(alone) or "none",
    noise_named=": " + "; ".join(alone) if alone else "",
    noise_clear=sum(d.verdict != "not told apart" for d in cells.values())
    or "none",
    noise_detectable=100 * np.median([d.detectable for d in cells.values()]),
    noise_worst=100 * max(d.detectable for d in cells.values()),
    noise_easy_20=cells["CDML, easy larger at 20 %"].told(),
    noise_hard_20=cells["CDML, hard larger at 20 %"].told(),
    oracle_mean=100 * rows["oracle"].mean,
    oracle_low=100 * rows["oracle"].low,
    oracle_high=100 * rows["oracle"].high,
)

# %% mystnb={"figure": {"caption": "Difference to ArcFace, paired by seed, mean of six protocols, each with its 95 % interval; a full dot where the difference holds after Holm's correction.", "name": "fig-oracle"}, "image": {"alt": "Three rows with a dot and an interval each, around a dashed line at zero"}}
fig, (ax,) = plots.figure(width=5.8, height=1.9)
plots.differences(
    ax,
    {about: (d.mean, d.low, d.high) for about, d in rows.items()},
    clear=[about for about, d in rows.items() if d.verdict != "not told apart"],
)

# %% [markdown]
# The oracle differs from ArcFace by {glue:text}`oracle_mean:+.2f` points, with an interval from
# {glue:text}`oracle_low:+.2f` to {glue:text}`oracle_high:+.2f`. It is no bound for everything: not
# for the other sign, a margin that follows difficulty in more than one step, a wider swing, or
# another notion of what is hard.
#
# ## Where we deviate
#
# The document speaks of difficulty and never measures it. Our truth is one network's response to
# each nuisance, added up; another network would put the nuisances in another order. It is the truth
# of a face lab, not of photographs.
#
# ## Exercises
#
# **5.1** Four images have the easiness 0.9, 0.7, 0.4, 0.1 and the known difficulty 0.1, 0.3, 0.2,
# 0.6. What is Spearman's rank correlation of 1 − easiness and difficulty?

# %%
exercises.check("5.1", None)

# %% [markdown]
# <details><summary>Solution 5.1</summary>
#
# The ranks of 1 − easiness are 1, 2, 3, 4, those of the difficulty 1, 3, 2, 4. With $n = 4$ and
# squared rank differences that sum to 2, it is $1 - 6 \cdot 2 / (4 \cdot 15) = 0.8$.
#
# </details>
#
# **5.2** Write a function `suspects(easiness, share)` that returns the rows, in rising order, of
# the given share of images that look most like wrong labels.

# %%
exercises.check("5.2", None)

# %% [markdown]
# <details><summary>Solution 5.2</summary>
#
# ```python
# def suspects(easiness, share):
#     count = round(share * len(easiness))
#     return np.sort(np.argsort(easiness)[:count])
# ```
#
# </details>
#
# **5.3** In a set with 10 % wrong labels somebody removes the 20 % of images with the lowest
# easiness, and calls the rest clean. Of all wrong labels 90 % are among what was removed. What is
# the precision of the removal, the share of it that was truly wrong?

# %%
exercises.check("5.3", None)

# %% [markdown]
# <details><summary>Solution 5.3</summary>
#
# 0.9 · 10 % of all images, of the 20 % that were removed: 0.45. More than one half was out of
# reach, since twice as many went as were wrong. A score can be nearly always right about a pair of
# images and still throw away more good ones than bad.
#
# </details>
#
# ## Recap
#
# - *How well does a score follow the truth?* In part, and later than one would like: similarity
#   reaches a rank correlation of {glue:text}`similarity_last:.2f`, from
#   {glue:text}`similarity_first:.2f` at step {glue:text}`first_step`. The gap in angles, cut off at
#   30 degrees, ordered nothing in trainings as short as these.
# - *Hard or wrong?* Late in a training a wrong label stands behind even the hard images, and the
#   score finds it; early less so. The margin's step asks only for the side of a pivot, and treats
#   both alike.
# - *The oracle:* a true step, acting from the start, differs from ArcFace by
#   {glue:text}`oracle_mean:+.2f` points [{glue:text}`oracle_low:+.2f`,
#   {glue:text}`oracle_high:+.2f`].
# - *Wrong labels:* a margin that favours what looks hard gives them the largest margin. Of
#   {glue:text}`noise_cells` comparisons of accuracy {glue:text}`noise_clear` show an effect after
#   Holm's correction for their number.
# - *Hard* means restyled here before it means turned: {glue:text}`varies_restyling:.0%` of the
#   variance of difficulty is hair and beard, {glue:text}`varies_yaw:.0%` is yaw.
#
# ## References
#
# {cite:t}`deng2019arcface`. Several comparisons: {cite:t}`holm1979simple`.
