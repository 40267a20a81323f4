# ---
# cdmllab:
#   data: [results/sweeps/lab_main.json, results/sweeps/lab_main.yaml, results/sweeps/lab_noise.json, results/sweeps/lab_noise.yaml]
# ---

# %% [markdown]
# # Does it know what is hard?
#
# :::{admonition} After this chapter you can
# :class: tip
# - measure how well an easiness score follows the true difficulty, early and late in a training;
# - decide whether a score can distinguish a hard image from a wrong label, and when;
# - work out how far the margins in an experiment really moved, before you interpret its result;
# - explain what wrong labels should do to each sign of CDML, and read a table of comparisons to see
#   whether they did;
# - state what an oracle's result rules out, and what it does not.
# :::
#
# :::{admonition} What you need
# :class: note
# {doc}`Chapter 4 </executed/04_cdml>`. The faces used here are rendered;
# {doc}`chapter 6 </executed/06_faces>` shows how, and a glance at it helps. One small network is
# trained on the spot, in less than a minute on one core. The long curves come from the sweeps
# `lab_main` and `lab_noise` in `results/sweeps`, series of recorded trainings that differ in one
# setting at a time.
# :::
#
# CDML decides who gets which margin by one number, the easiness $e_i$. That number is a guess. It
# looks at the embedding of a network that is itself being trained, and says *easy* when the
# embedding lies near the centre of its class. When it says *hard*, **is it a hard image or a wrong
# label?** And does it know the difference?
#
# On photographs nobody can check, because no one knows how hard a photograph is. Our faces are
# rendered. We know the yaw, the light, the blur and the age of every image, and we have measured
# how far each of them turns an embedding. So for once we can compare the guess with the truth.

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"
seed = 0  # of data order, first weights and augmentation
identities = 150  # people of the world that is trained on
epochs = 5  # of the training on the spot

# %% tags=["hide-input"]
import numpy as np
from sklearn.metrics import roc_auc_score

from cdmllab import margins, plots, training
from cdmllab.book import exercises, questions, session
from cdmllab.faces import difficulty
from cdmllab.results.paired import family
from cdmllab.results.sweeps import Recorded
from cdmllab.training import datasets, presets
from cdmllab.training.difficulty_probe import Truth

lab = session.start(profile, seed)
recorded, noisy = Recorded("lab_main"), Recorded("lab_noise")
scores = {
    "similarity": "similarity",
    "gap": "gap",
}
shades = {
    "similarity": "#2f6fb7",
    "gap": "#d9542b",
}

# %% [markdown]
# ## A guess and its truth
#
# A small network learns {glue:text}`people` people with ArcFace. Then we take 2,000 of its own
# training images and compare two numbers for each: the easiness that a score assigns to it, and its
# known **difficulty**. In images of the same person, everything that is not the person (pose,
# light, hair, age) is a {term}`nuisance`. The difficulty of an image is how much cosine its
# nuisances cost a network, added up. A few labels are wrong on purpose, and we know which.

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
session.report(people=identities)
session.report(
    **{f"varies_{name}": shares[name] for name in ("restyling", "yaw", "roll")}
)

# %% [markdown]
# What makes an image hard here? **About half of the variance of the known difficulty is
# restyling**: other hair and another beard on the same face, {glue:text}`varies_restyling:.0%`. Yaw
# follows with {glue:text}`varies_yaw:.0%`. Roll, which an alignment by landmarks would remove, has
# {glue:text}`varies_roll:.0%`.
#
# So a hard image in this lab is first of all one of somebody back from the hairdresser, and only
# then one of a turned head. On photographs the shares would be different. What this chapter finds
# about difficulty is about *this* difficulty.
#
# Now the guess against the truth. Do hard images get a low easiness? And where are the wrong
# labels, in red?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: easiness by similarity against known difficulty, one dot per image; wrong labels in red. Right: distribution of the easiness over correctly and over wrongly labelled images.", "name": "fig-guess"}, "image": {"alt": "A cloud of dots over difficulty, those of wrong labels in red; next to it two histograms"}}
fig, axes = plots.figure(2, width=7.4, height=2.9)
plots.guess_against_truth(
    axes[0], found["similarity"], truth.difficulty, truth.wrong
)
plots.by_label(axes[1], found["similarity"], truth.wrong)

# %% tags=["remove-input"]
told = truth.look(trained.backbone, trained.head)
ends = truth.groups["easy"] | truth.groups["hard"]
both = truth.groups["hard"] | truth.wrong
session.report(
    own_rho=told["truth/similarity"],
    own_auc=told["truth/similarity_auc"],
    hard_auc=roc_auc_score(
        truth.groups["hard"][ends], -found["similarity"][ends]
    ),
    wrong_hard_auc=roc_auc_score(truth.wrong[both], -found["similarity"][both]),
)

# %% [markdown]
# We first ask how well the score orders the correctly labelled images. The rank correlation between
# the difficulty and *1 − easiness* is {glue:text}`own_rho:.2f`, where 1 would be perfect order and
# 0 none.
#
# The score also sees something else. Draw one image with a wrong label and one with a correct label
# at random. The wrong one has the lower easiness in {glue:text}`own_auc:.0%` of the draws, where a
# coin would give one half. This probability is the **AUC**, the area under the ROC curve of
# {doc}`chapter 11 </executed/11_verification>`.
#
# ## While it learns
#
# A margin acts while the network learns, so the guess has to be good *then*, not afterwards. The
# sweep `lab_main` scored the images once per epoch, in {glue:text}`seeds` seeds. Look at how late
# the left-hand curves rise, and how early the right-hand ones do.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Two scores during ArcFace trainings, mean and spread over seeds. Left: rank correlation with the known difficulty, over correctly labelled images. Right: AUC for finding wrong labels; 0.5 is chance.", "name": "fig-truth-curves"}, "image": {"alt": "Two panels of two rising curves each"}}
fig, axes = plots.figure(2, width=7.4, height=2.8)
for ax, ending, ylabel in (
    (axes[0], "", "rank correlation with difficulty"),
    (axes[1], "_auc", "AUC for wrong labels"),
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
    session.report(
        **{f"{name}_first": rho[1], f"{name}_last": rho[-1]},
        **{f"{name}_auc_first": auc[1], f"{name}_auc_last": auc[-1]},
    )
degrees = {
    group: recorded.curve("compare", "arcface", f"truth/angle_deg_{group}")[1][-1]
    for group in ("easy", "hard", "mislabelled")
}
session.report(
    first_step=int(step[1]),
    seeds=len(recorded.seeds("compare", "arcface")),
    deg_easy=degrees["easy"],
    deg_hard=degrees["hard"],
    deg_wrong=degrees["mislabelled"],
)

# %% [markdown]
# **Difficulty is learned slowly.** At step {glue:text}`first_step` the similarity has a rank
# correlation of {glue:text}`similarity_first:.2f` with the truth, and by the end
# {glue:text}`similarity_last:.2f`. The gap starts at {glue:text}`gap_first:.2f` and ends at
# {glue:text}`gap_last:.2f`.
#
# **Wrong labels are found early.** Here the gap has an AUC of {glue:text}`gap_auc_first:.2f` at the
# same step and of {glue:text}`gap_auc_last:.2f` at the end.
#
# The third score, the angle gap, orders nothing (its correlation at the end is
# {glue:text}`angle_gap_last:.2f`). It is cut off where an image leads by less than 30 degrees, and
# in this sweep that was every image at every look.
#
# ## Is it a hard image or a wrong label?
#
# Which does the score separate better, wrong labels or hard images? To compare them we need one
# scale, so we use the AUC for both. In the training above, an image of the hard third has a lower
# easiness than one of the easy third with a probability of {glue:text}`hard_auc:.0%`. For a wrong
# label against a correct one the probability was {glue:text}`own_auc:.0%`. The strictest test is a
# wrong label against a correctly labelled image of the hard third: {glue:text}`wrong_hard_auc:.0%`.
#
# **Wrong labels are harder than hard images**, and this is no accident. A restyled face is still
# the face of its person, and the network learns to pull it in. An image with a wrong label is torn
# between two places: most other images of its true person pull it to one, and its label pulls it to
# another. In `lab_main`, ArcFace ends with the easy third at {glue:text}`deg_easy:.0f` degrees from
# their centres, the hard third at {glue:text}`deg_hard:.0f`, and the wrong labels at
# {glue:text}`deg_wrong:.0f`.
#
# So late in a training a score can answer our question. Early it can do so less well. And a margin
# with a step does not even ask: it only looks at which side of the pivot a score lies on, and
# treats hard images and wrong labels alike.
#
# ## What should wrong labels do to a margin?
#
# Now the two signs of CDML differ in more than taste. With `favour="hard"` the larger margin goes
# to whatever looks hard, and so to wrong labels first of all: the loss asks more of them. With
# `favour="easy"` it asks less. One would expect that, as more labels are wrong, easy larger gains
# on ArcFace and hard larger loses.
#
# The sweep `lab_noise` tests this. It trains with 0, 5, 10 and 20 % of the labels wrong
# ({glue:text}`own_noise:.0%` in `lab_main`), at a margin of {glue:text}`noise_margin` rad and scale
# {glue:text}`noise_scale`, with {glue:text}`noise_seeds` seeds each. A further arm, the **oracle**,
# replaces the guess by the truth: it knows which half of the images is the harder one, and counts
# all wrong labels in that half. The mean margin is held in all arms.
#
# ### How far do the margins move?
#
# Before we look at results: how large is the treatment? CDML's step moves the margin by a fifth,
# which is {glue:text}`swing_noise:.3f` rad or {glue:text}`swing_noise_deg:.1f` degrees either way.
# In `lab_main`, at a base margin of {glue:text}`main_margin` rad, it is {glue:text}`swing_main:.3f`
# rad or {glue:text}`swing_main_deg:.1f` degrees.
#
# That is what the step *may* do. What did the images really get? In `lab_main` it was recorded:

# %% tags=["hide-input"]
arms = {
    "cdml_easy": "CDML, easy larger",
    "cdml_hard": "CDML, hard larger",
    "oracle": "oracle",
}
groups = {
    "easy": "easy third",
    "hard": "hard third",
    "mislabelled": "wrong labels",
}
at_the_end = {}
for arm in arms:
    for group in groups:
        _, rad, _ = recorded.curve("compare", arm, f"truth/margin_rad_{group}")
        at_the_end[arm, group] = rad[-1]
session.Table(
    ["mean margin at the end (rad)", *groups.values()],
    [
        [about, *(f"{at_the_end[arm, group]:.3f}" for group in groups)]
        for arm, about in arms.items()
    ],
)


# %% tags=["remove-input"]
def swing_rad(sweep, stage):
    """How far the step moves the margin either way."""
    loss = sweep.config(stage, "cdml_easy")["loss"]
    options = {k: v for k, v in loss.items() if k != "scale"}
    policy = margins.create(**options)
    return policy.alpha * policy.base_margin_rad


def apart_deg(one, other):
    """Difference between the margins of two groups under CDML, easy larger."""
    first, second = (at_the_end["cdml_easy", group] for group in (one, other))
    return np.degrees(abs(first - second))


swings = {
    "noise": swing_rad(noisy, "noise_0"),
    "main": swing_rad(recorded, "compare"),
}
session.report(
    swing_noise=swings["noise"],
    swing_noise_deg=np.degrees(swings["noise"]),
    swing_main=swings["main"],
    swing_main_deg=np.degrees(swings["main"]),
    apart_hard=apart_deg("easy", "hard"),
    apart_wrong=apart_deg("easy", "mislabelled"),
)

# %% [markdown]
# With easy larger, the easy and the hard third end only {glue:text}`apart_hard:.1f` degrees apart,
# while easy images and wrong labels end {glue:text}`apart_wrong:.1f` degrees apart. By the end of
# the training most correctly labelled images lie inside the pivot of 60 degrees, hard or not, and
# with the mean held their margins stay near the base. **In effect, CDML's step is a device for
# wrong labels.** It is also a small treatment, and it starts late: before the first images come
# closer than 60 degrees all are hard alike, and with the mean held the loss is ArcFace. The oracle
# moves the two thirds apart by the full swing, from the first step on.
#
# ### What happened
#
# Here is the accuracy compared with ArcFace. If the expectation holds, the curve of easy larger
# rises to the right and that of hard larger falls.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy against the share of wrong labels, as difference to ArcFace in points (mean of three protocols), with a band of one standard error over seeds.", "name": "fig-noise"}, "image": {"alt": "Three curves around zero over label noise from 0 to 20 percent"}}
levels = {0: "noise_0", 5: "noise_5", 10: "noise_10", 20: "noise_20"}
protocols = ["lab/lfw", "lab/cfp_fp", "lab/calfw"]
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

# %% tags=["hide-input"]
session.Table(
    ["wrong labels", "ArcFace (%)", *arms.values()],
    [
        [f"{level} %", session.mean_sd(list(noisy.values(stage, "arcface", protocols))),
         *(noisy.difference(stage, arm, "arcface", protocols).format() for arm in arms)]
        for level, stage in levels.items()
    ],
)  # fmt: skip

# %% [markdown]
# The table lists differences to ArcFace in points, paired by seed, each with its own 95 % interval.
# One such interval in twenty excludes zero by chance, so a table of {glue:text}`noise_cells` cannot
# be read cell by cell.
#
# The rule in this book, here and in every later table of differences, is
# **{term}`Holm's correction`**. Sort the $p$-values of the table. Multiply the smallest by their
# number $m$, the next by $m - 1$, and so on. Speak of a difference only where the product is at
# most 0.05, for this one and for all before it. Then the probability of even one false finding in
# the whole table is at most 5 %. (The printed intervals remain those of single differences.)
#
# Taken one at a time, {glue:text}`noise_alone`{glue:text}`noise_named`. With Holm's correction,
# {glue:text}`noise_clear`. So the expectation is not confirmed, not even with one label in five
# wrong. There easy larger differs from ArcFace by {glue:text}`noise_easy_20` points and hard larger
# by {glue:text}`noise_hard_20`.
#
# Could we have missed an effect? In the median cell a single comparison had 80 % power to detect a
# true difference of {glue:text}`noise_detectable:.1f` points; in the least certain cell, one of
# {glue:text}`noise_worst:.1f`. Two reasons for a small effect are already on the table. The
# treatment was small. And chapter 4 showed that for a hard sample a smaller margin is an easier
# goal, not a weaker force.
#
# ## Would a perfect guess help?
#
# Perhaps the guess is to blame. The oracle makes no mistakes: it gives the easier half of the
# images the larger margin, a fifth up and a fifth down, from the first step on. In `lab_main`
# (margin {glue:text}`main_margin` rad, scale {glue:text}`main_scale`), we compare it with ArcFace
# over the mean of the six named protocols. An interval that contains zero means that no difference
# was found.

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
    f"{name} ({d.format()})" for name, d in cells.items() if d.low * d.high > 0
]
clear = sum(d.p_family <= 0.05 for d in cells.values())
at_noise = noisy.config("noise_0", "arcface")
session.report(
    own_noise=recorded.config("compare", "arcface")["data"]["label_noise"],
    noise_margin=at_noise["loss"]["margin_rad"],
    noise_scale=f"{at_noise['loss']['scale']:g}",
    main_margin=recorded.config("compare", "arcface")["loss"]["margin_rad"],
    main_scale=f"{recorded.config('compare', 'arcface')['loss']['scale']:g}",
    noise_seeds=len(noisy.seeds("noise_0", "arcface")),
    noise_cells=len(cells),
    noise_alone=f"{len(alone)} of the intervals exclude zero"
    if len(alone) > 1
    else f"{'one' if alone else 'none'} of the intervals excludes zero",
    noise_named=": " + "; ".join(alone) if alone else "",
    noise_clear={0: "no difference is found", 1: "one difference is found"}.get(
        clear, f"{clear} differences are found"
    ),
    noise_detectable=100 * np.median([d.detectable for d in cells.values()]),
    noise_worst=100 * max(d.detectable for d in cells.values()),
    noise_easy_20=cells["CDML, easy larger at 20 %"].format(),
    noise_hard_20=cells["CDML, hard larger at 20 %"].format(),
    oracle_mean=100 * rows["oracle"].mean,
    oracle_low=100 * rows["oracle"].low,
    oracle_high=100 * rows["oracle"].high,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Difference to ArcFace, paired by seed, mean of six protocols, each with its 95 % interval. A full dot marks a difference that holds after Holm's correction.", "name": "fig-oracle"}, "image": {"alt": "Three rows with a dot and an interval each, around a dashed line at zero"}}
fig, (ax,) = plots.figure(width=5.8, height=1.9)
plots.differences(
    ax,
    {about: (d.mean, d.low, d.high) for about, d in rows.items()},
    clear=[about for about, d in rows.items() if d.p_family <= 0.05],
)

# %% [markdown]
# The oracle differs from ArcFace by {glue:text}`oracle_mean:+.2f` points, with an interval from
# {glue:text}`oracle_low:+.2f` to {glue:text}`oracle_high:+.2f`.
#
# What does this rule out? A gain beyond the upper end of that interval, for a *step* of this size
# that knows which half of the images is the harder one. It does not rule out anything about the
# other sign, a margin that follows difficulty in more than one step, a wider swing, or another
# notion of what is hard. Nor does this oracle treat wrong labels differently from hard images,
# although it knows both.
#
# ## Where we deviate
#
# DATN's page speaks of difficulty and never measures it. Our truth is the response of one network
# to each nuisance, added up; another network would rank the nuisances differently. It is the truth
# of a face lab, not of photographs.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(5)

# %% [markdown]
# ## Exercises
#
# **5.1** Four images have the easiness 0.9, 0.7, 0.4, 0.1 and the known difficulty 0.1, 0.3, 0.2,
# 0.6. What is Spearman's rank correlation of 1 − easiness and difficulty?

# %%
exercises.check("5.1", None)

# %% [markdown]
# <details><summary>Solution 5.1</summary>
#
# The ranks of 1 − easiness are 1, 2, 3, 4, and those of the difficulty are 1, 3, 2, 4. With $n = 4$
# and squared rank differences that sum to 2, the correlation is
# $1 - 6 \cdot 2 / (4 \cdot 15) = 0.8$.
#
# </details>
#
# **5.2** Write a function `suspects(easiness, share)` that returns the rows, in ascending order, of
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
# **5.3** In a data set with 10 % wrong labels, somebody removes the 20 % of images with the lowest
# easiness and calls the rest clean. Of all wrong labels, 90 % are among what was removed. What is
# the precision of the removal, that is, the share of the removed images that really had a wrong
# label?

# %%
exercises.check("5.3", None)

# %% [markdown]
# <details><summary>Solution 5.3</summary>
#
# The removed wrong labels are 0.9 · 10 % of all images, and 20 % of all images were removed: 0.45.
# More than one half was out of reach, because twice as many images were removed as had wrong
# labels. A score can be nearly always right about a pair of images and still discard more good
# images than bad ones.
#
# </details>
#
# ## Recap
#
# - *Does a score follow the truth?* In part, and later than one would like. The similarity reaches
#   a rank correlation of {glue:text}`similarity_last:.2f`, from {glue:text}`similarity_first:.2f`
#   at step {glue:text}`first_step`. The angle gap, cut off at 30 degrees, ordered nothing in
#   trainings as short as these.
# - *What does hard mean?* Here it means restyled before it means turned: restyling carries
#   {glue:text}`varies_restyling:.0%` of the variance of difficulty, and yaw
#   {glue:text}`varies_yaw:.0%`.
# - *A hard image or a wrong label?* Late in a training wrong labels lie farther from their centres
#   than even the hard images, and the score finds them; early it does so less well. A step does not
#   ask, and treats both alike.
# - *How far did the margins move?* Little: in `lab_main` easy and hard images ended
#   {glue:text}`apart_hard:.1f` degrees apart under CDML, and easy images and wrong labels
#   {glue:text}`apart_wrong:.1f`.
# - *Do wrong labels separate the two signs of CDML?* One would expect it. In
#   {glue:text}`noise_cells` comparisons of accuracy, after Holm's correction,
#   {glue:text}`noise_clear`.
# - *Would a perfect guess help?* A true step that acts from the start differs from ArcFace by
#   {glue:text}`oracle_mean:+.2f` points [{glue:text}`oracle_low:+.2f`,
#   {glue:text}`oracle_high:+.2f`]. Other signs, shapes and swings remain untested.
#
# All of this was possible because we know the truth about our faces. Where do such faces come from,
# and how far can they replace photographs? That is chapter 6.
#
# ## References
#
# {cite:t}`deng2019arcface`. DATN's page: {cite:t}`datn`. Several comparisons:
# {cite:t}`holm1979simple`.
