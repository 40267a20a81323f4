# ---
# cdmllab:
#   data: [results/sweeps/lfw.json, results/sweeps/lfw_gpu.json, results/lfw/*]
# ---
# %% [markdown]
# # Verification
#
# :::{admonition} After this chapter you can
# :class: tip
# - turn embeddings and a list of pairs into an accuracy, a ROC and a TAR at a FAR, and state which
#   FARs a list can resolve;
# - put an interval on each number by resampling people rather than pairs, and check that the
#   interval is honest;
# - choose a threshold on some people and report what it does to others;
# - pool images to templates, search a gallery, and find the conditions under which a network errs.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1. The images are rendered here, of people who do not exist, and the ruler is two linear
# maps. All of it takes about a minute on a CPU. The numbers on real faces come from runs kept in
# `results/`.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of the world of people, of the pairs and of the bootstrap
people = 300  # to learn from, and as many strangers to judge on
strength = 0.5  # how far pose, light, age, blur and the others reach, 0 to 1

# %% tags=["hide-input"]
import numpy as np
from myst_nb import glue
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from cdmllab import evaluate, faces, plots, results
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import Threshold
from cdmllab.data import pairs
from cdmllab.evaluate import Protocol
from cdmllab.metrics import (
    bootstrap,
    calibration,
    error_rates,
    identification,
    ranked,
    scoring,
    templates,
    verification,
)
from cdmllab.results.paired import paired
from cdmllab.results.sweeps import Recorded

lab = session.start(profile, seed)

# %% [markdown]
# ## A ruler and some strangers
#
# Chapter 10 left us with two histograms of angles. How good is a ruler that produces them, and how
# sure can we be of the answer?
#
# This chapter is about judging a ruler, not about building one. We therefore take a humble one that
# needs no training loop, **Fisherfaces** {cite}`belhumeur1997fisherfaces`. Principal components
# reduce the pixels to 100 dimensions, and a linear discriminant turns these so that images of one
# person fall together. Like any face recogniser, it learns from some people and is judged on
# others.

# %%
given = {"strength": strength, "seed": seed}
images, who, _ = faces.album(people, 5, **given)
strangers, stranger, nuisances = faces.album(people, 5, first=10_000, **given)
stranger = stranger.numpy()
pixels, other_pixels = (x.flatten(1).numpy() / 255.0 for x in (images, strangers))
ruler = make_pipeline(
    PCA(100, whiten=True, random_state=seed),
    LinearDiscriminantAnalysis(n_components=24),
).fit(pixels, who.numpy())
embeddings = ruler.transform(other_pixels)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Strangers, five images of each. Pose, light, age, glasses, blur and noise change; the person does not.", "name": "fig-strangers"}, "image": {"alt": "Rendered faces, each person five times under different conditions"}}
fig, axes = plots.figure(1, width=7.2, height=2.5)
plots.images(axes[0], strangers[:30] / 127.5 - 1.0, columns=10)

# %% [markdown]
# ## Pairs and folds
#
# A **{term}`protocol`** is a list of pairs together with the truth about each: genuine or impostor.
# The field still uses the form that LFW introduced: ten folds of 300 genuine and 300 impostor
# pairs. The reported number is the mean of ten accuracies, and each fold is judged with the
# threshold that is best on the other nine {cite}`huang2008lfw`.

# %%
yaw = nuisances.values["yaw"].double().numpy()
protocol = Protocol(
    "strangers",
    strangers,
    pairs.sample(stranger, per_fold=300, seed=seed),
    identity=stranger,
    nuisances={"yaw (degrees)": yaw},
)
judged = evaluate.evaluate(embeddings, protocol, seed=seed)
scores, same = judged.scores, judged.same

# %% [markdown]
# The two histograms overlap, so every threshold makes mistakes. Look at where the strong colours
# are: these are the pairs that the dashed threshold gets wrong.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cosines of 3,000 genuine and 3,000 impostor pairs of strangers. The dashed threshold is the best for accuracy; the pairs it judges wrongly are drawn in full colour.", "name": "fig-scores"}, "image": {"alt": "Two overlapping histograms, genuine pairs to the right of impostor pairs, with a vertical line between them"}}
fig, axes = plots.figure(1, width=6.0, height=2.8)
best = verification.best_threshold(scores, same)
plots.score_histogram(axes[0], scores, same, threshold=best)

# %% [markdown]
# What does a threshold cost? Further left, more impostors are accepted and the **false accept
# rate** (FAR) rises. Further right, more genuine pairs are rejected and the
# **{term}`false reject rate <FRR>`** (FRR) rises. **Try this:** move the threshold until one
# impostor pair in a hundred is accepted, and read off how many genuine pairs are then rejected. The
# second plot is the ROC, the subject of the next section.

# %% tags=["hide-input"]
slider = Threshold.from_scores(scores, same)
glue("widget-threshold", slider)

# %% tags=["remove-input"]
accuracy = judged.measures.accuracy
rule = accuracy.arcface_torch_rule
session.report(
    accuracy=accuracy.value,
    fold_sd=100 * accuracy.std_over_folds,
    grid_accuracy=rule.value,
    grid_difference=100 * rule.difference,
)
plain = verification.accuracy(scores, same, best)
session.report(own_accuracy=plain)

# %% [markdown]
# The accuracy over folds is {glue:text}`accuracy:.2%`, with a standard deviation over folds of
# {glue:text}`fold_sd:.2f` points. If a single threshold were chosen on all pairs and judged on the
# same pairs, we would report {glue:text}`own_accuracy:.2%`. Choosing on the pairs one is judged on
# can only help, which is why the protocol forbids it.
#
# **Whose rule?** Most published accuracies come from code that does not try every threshold. It
# tries 400, in steps of 0.01 of the squared distance
# $\lVert\hat{\mathbf x}_1 - \hat{\mathbf x}_2\rVert^2 = 2 - 2\cos\theta$. The rule stems from David
# Sandberg's FaceNet code of 2016 {cite}`sandberg2016facenet`; arcface_torch copied it together with
# his copyright notice, and the field copied arcface_torch. By that rule our strangers give
# {glue:text}`grid_accuracy:.2%`, a difference of {glue:text}`grid_difference:+.2f` points. Some
# tables rank losses by less.
# {py:func}`fixed_grid.fold_accuracy <cdmllab.metrics.fixed_grid.fold_accuracy>` implements the
# rule, and {py:func}`evaluate.evaluate <cdmllab.evaluate.evaluate>` reports both accuracies.
#
# {term}`Scores <score>` come on four scales, and thresholds are often quoted without naming theirs:

# %% tags=["hide-input"]
rows = [
    [f"{c:g}", *(f"{scoring.convert(c, 'cosine', to):.3f}" for to in scales)]
    for scales in [("cosine_distance", "squared_l2", "angle_rad")]
    for c in (1.0, 0.5, 0.3, 0.0)
]
session.Table(
    ["cosine", "cosine distance", "squared distance", "angle (rad)"], rows
)

# %% [markdown]
# ## ROC, and what a list of pairs can resolve
#
# Accuracy weighs both errors alike. A door should not: letting a stranger in is worse than asking a
# friend to try again. So we fix the **{term}`false accept rate <FAR>`**, the share of impostor
# pairs accepted, and ask for the **{term}`true accept rate <TAR>`**, the share of genuine pairs
# accepted:
#
# ```{math}
# :label: eq-tar-at-far
# \mathrm{TAR}@f = \max_t \bigl\{\, \mathrm{TAR}(t) : \mathrm{FAR}(t) \le f \,\bigr\} .
# ```
#
# How small can $f$ be? With $n$ impostor pairs the FAR moves in steps of $1/n$. A {term}`TAR@FAR`
# below one step cannot be measured, and the package refuses to print it. All pairs of our strangers
# resolve much smaller FARs than the 6,000 pairs of the protocol.
#
# Many papers report a different number by the same name. arcface_torch's `eval_ijbc.py` takes the
# point of the curve whose FAR is *nearest* to $f$, which may lie above $f$; with few impostor pairs
# this flatters. An evaluation record of this package holds both numbers, the second one as
# `arcface_torch_rule`.

# %% tags=["hide-input"]
all_pairs = pairs.every(stranger)
all_scores = evaluate.scores(embeddings, all_pairs)
sets = {
    "6,000 drawn": ranked.rank(scores, same),
    "all": ranked.rank(all_scores, all_pairs.same),
}
fars = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
rows = [
    [
        name,
        f"{len(s.impostor):,}",
        *(
            f"{ranked.tar_at_far(s, f):.1%}"
            if ranked.resolved([f], len(s.impostor))
            else "-"
            for f in fars
        ),
    ]
    for name, s in sets.items()
]
session.Table(["pairs", "impostor", *(f"TAR@{f:g}" for f in fars)], rows)

# %% [markdown]
# A dash in the table marks a FAR that the list cannot resolve. The same limit shows in the figure:
# each curve ends at the left where a single impostor pair is accepted.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "ROC of the same strangers, from all pairs (solid) and from the 6,000 drawn pairs (dashed). Each curve ends at the left at a FAR of one impostor pair.", "name": "fig-roc"}, "image": {"alt": "Two rising curves over a logarithmic FAR axis; the dashed one of 6,000 pairs begins at a FAR of three in ten thousand and runs a little above the solid one, which begins at one in a million"}}
fig, axes = plots.figure(1, width=6.0, height=3.0)
plots.roc_curve(axes[0], all_scores, all_pairs.same, name="all pairs")
plots.roc_curve(axes[0], scores, same, name="6,000 pairs")
axes[0].lines[1].set_linestyle("--")
_ = axes[0].legend()

# %% [markdown]
# Near its left end a {term}`ROC` depends on a handful of pairs: the TAR at the smallest FAR is
# decided by the single most similar impostor pair. This is why IJB-C compares 15.7 million pairs.
#
# ## How sure are we?
#
# Another 6,000 pairs would give another number. How different might it be? The textbook method is
# the bootstrap: resample the *pairs* with replacement, measure again, and repeat this many times.
# The middle 95 % of the results form a 95 % {term}`interval`.
#
# But pairs are not independent. A person who is hard to recognise takes part in many of them. So we
# resample **people** instead. A person drawn $w$ times gives each of their genuine pairs the weight
# $w$, and an impostor pair gets the product of its two people's weights
# {cite}`owen2007pigeonhole,fogliato2024intervals`.

# %% tags=["hide-input"]
own = (
    stranger[protocol.pairs.first],
    stranger[protocol.pairs.second],
)
settings = {"fars": (1e-2,), "replicates": 500, "seed": seed}
by = {
    "people": bootstrap.intervals(
        scores, same, judged.fold, identities=own, **settings
    ),
    "pairs": bootstrap.intervals(
        scores, same, judged.fold, identities=None, **settings
    ),
}
rows = [
    [name, *(f"{by[k][name].low:.1%} to {by[k][name].high:.1%}" for k in by)]
    for name in ("accuracy", "eer", "auc", "tar@0.01")
]
session.Table(["95 % interval", "drawing people", "drawing pairs"], rows)

# %% [markdown]
# (`eer` is the {term}`equal error rate`, `auc` the area under the ROC, {term}`AUC`.) The intervals
# disagree, so which of them is right? Usually nobody can tell. Here we can find out, because
# rendered strangers are free. We divide them into groups, measure the equal error rate of each
# group, and look at how much it *really* varies from group to group. An honest method has to
# predict that standard deviation.

# %%
size = 20
groups = [
    np.flatnonzero(stranger % people // size == g) for g in range(people // size)
]
real, drawn_people, drawn_pairs = [], [], []
for rows in groups:
    among, ids = pairs.every(stranger[rows]), stranger[rows]
    s = evaluate.scores(embeddings[rows], among)
    people_of = ids[among.first], ids[among.second]
    draw = {"replicates": 200, "seed": seed}
    real.append(verification.eer(s, among.same))
    for found, who_is_drawn in ((drawn_people, people_of), (drawn_pairs, None)):
        said = bootstrap.intervals(s, among.same, identities=who_is_drawn, **draw)
        found.append(said["eer"].sd)

# %% tags=["remove-input"]
really = float(np.std(real, ddof=1))
session.report(
    groups=len(groups),
    group_size=size,
    real_sd=100 * really,
    real_sd_error=100 * really / (2 * len(groups) - 2) ** 0.5,
    people_sd=100 * float(np.mean(drawn_people)),
    pairs_sd=100 * float(np.mean(drawn_pairs)),
)

# %% [markdown]
# Over {glue:text}`groups` groups of {glue:text}`group_size` people, the equal error rate has a
# standard deviation of {glue:text}`real_sd:.2f` ± {glue:text}`real_sd_error:.2f` points. That is
# the truth to be predicted. Resampling people predicts {glue:text}`people_sd:.2f`, resampling pairs
# {glue:text}`pairs_sd:.2f`.
#
# Theory agrees. Resampling people is slightly conservative {cite}`owen2012arrays`. Resampling pairs
# gives intervals that are too narrow wherever people differ, and this is the worse mistake, because
# it finds differences that are not there.
#
# What if there are only a few people? The package resamples people if there are at least ten.
# Chapter 1's strangers were three digits:

# %%
digits = evaluate.protocols.load("digits/strangers")
raw = digits.images.flatten(1) - digits.images.mean(0).flatten()
print(evaluate.evaluate(raw, digits, replicates=100).measures.intervals.note)

# %% [markdown]
# ## A threshold that keeps its promise
#
# A system needs one number $t$. We choose it for a wanted FAR on **validation** people and judge it
# on **test** people. On the people it was chosen for, a threshold meets the FAR by construction,
# which proves nothing. Compare the first and third columns of the table: does the promise hold for
# others?

# %% tags=["hide-input"]
is_validation = (stranger - stranger[0]) < people * 3 // 8
parts, who_is_in = {}, {}
for name, rows in (("validation", is_validation), ("test", ~is_validation)):
    among, ids = pairs.every(stranger[rows]), stranger[rows]
    parts[name] = evaluate.scores(embeddings[rows], among), among.same
    who_is_in[name] = ids[among.first], ids[among.second]
rows, of_pairs = [], {}
for wanted in (1e-3, 1e-2, 1e-1):
    t = calibration.threshold_at_far(*parts["validation"], wanted)
    far, tar = calibration.decide(*parts["test"], t, people=who_is_in["test"])[1:]
    of_pairs[wanted] = calibration.decide(*parts["test"], t).far
    low_high = f"{far.value:.3%} ({far.low:.3%} to {far.high:.3%})"
    rows.append([f"{wanted:g}", f"{t:.3f}", low_high, f"{tar.value:.1%}"])
session.Table(["wanted FAR", "threshold", "FAR on the test people", "TAR"], rows)

# %% tags=["remove-input"]
session.report(
    test_impostors=f"{int((~parts['test'][1]).sum()):,}",
    test_people=len(np.unique(stranger[~is_validation])),
    wilson_low=of_pairs[1e-2].low,
    wilson_high=of_pairs[1e-2].high,
)

# %% [markdown]
# The 95 % intervals in brackets come from resampling people, as in the previous section. Textbooks
# would give Wilson's interval, which treats the {glue:text}`test_impostors` impostor pairs as
# independent. For a wanted FAR of 0.01 it runs from {glue:text}`wilson_low:.3%` to
# {glue:text}`wilson_high:.3%`, far too narrow: behind all those pairs there are only
# {glue:text}`test_people` people.
#
# Even the wider interval leaves something out. The threshold itself was chosen on a sample of
# people, and the luck of that choice is not included.
#
# A score can also become a **probability**. Logistic regression on validation scores gives a log
# likelihood ratio, $a\cos\theta + b$. Combine it by Bayes' rule with the expected share $\pi$ of
# genuine pairs, and the result is the probability that a pair is genuine
# {cite}`vanleeuwen2007introduction`. Are these probabilities honest? The test people decide: of all
# pairs to which we assign 80 %, four in five should be genuine.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Predicted against observed probability, for those of the 6,000 pairs that contain only test people. Honest probabilities lie on the dashed line; bars are 95 % intervals from resampling people.", "name": "fig-reliability"}, "image": {"alt": "Points along the diagonal of a square"}}
calibrator = calibration.fit_calibrator(*parts["validation"])
kept = ~np.isin(own, stranger[is_validation]).any(axis=0)
stated = calibrator.probability(scores[kept], prior=float(same[kept].mean()))
honest = calibration.reliability(
    stated, same[kept], bins=8, people=(own[0][kept], own[1][kept])
)
fig, axes = plots.figure(1, width=3.6, height=3.2)
plots.reliability_curve(axes[0], honest, name="calibrated")
session.report(calibration_error=honest.error)

# %% [markdown]
# On average a point is {glue:text}`calibration_error:.1%` from the diagonal.
#
# ## Templates
#
# IJB does not compare single images but **{term}`templates <template>`**: one or more photographs
# and videos of one person, pooled to one embedding. Frames of one video are nearly the same image,
# so they are averaged first. Each {term}`medium <media>` then counts once, and the sum is scaled to
# length 1. The images can also be weighted, for example by the confidence of a face detector.
#
# How much does a second image help? The table pools one image and then two.

# %% tags=["hide-input"]
which = np.arange(len(stranger)) % 5
rows = []
for each in (1, 2):
    used = which < 2 * each
    number = stranger[used] * 2 + (which[used] >= each)
    pooled = templates.pool(embeddings[used], number, which[used])
    among = pairs.every(pooled.number // 2)
    s = ranked.rank(evaluate.scores(pooled.embeddings, among), among.same)
    tars = [f"{ranked.tar_at_far(s, f):.1%}" for f in fars[1:]]
    rows.append([each, *tars])
session.Table(["images a template", *(f"TAR@{f:g}" for f in fars[1:])], rows)

# %% [markdown]
# ## One among many
#
# So far we have compared two images. **{term}`Identification <identification>`** asks who of a
# {term}`gallery` a {term}`probe` shows. In the closed-set case everybody is in the gallery. A
# probe's *mate* is the gallery entry of the same person, and the rank-$k$ rate is the share of
# probes whose mate is among the $k$ best scores.
#
# In the open-set case some probes show people who are not in the gallery. An answer then needs a
# threshold, and two rates belong together: the share of mates found (**{term}`TPIR`**), and the
# share of strangers who are given an answer anyway (**{term}`FPIR`**).

# %%
enrolled = ~is_validation & (which < 2)  # two images each of the test people
gallery = templates.pool(
    embeddings[enrolled], stranger[enrolled], which[enrolled]
)
probes = which >= 2  # of test people, and of others who are in no gallery
found = identification.search(
    gallery.embeddings, gallery.number, embeddings[probes], stranger[probes]
)
rates = identification.cmc(found, 20)
at = identification.tpir_at_fpir(found, 0.1)
session.report(
    gallery=len(gallery.number),
    rank_1=float(rates[0]),
    rank_20=float(rates[-1]),
    tpir=at.tpir,
)

# %% [markdown]
# The rank-$k$ rates together form the **{term}`CMC`**. How many places down the list do we have to
# look?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cumulative match characteristic: the share of probes whose mate is among the k best of the gallery.", "name": "fig-cmc"}, "image": {"alt": "A rising curve over the ranks 1 to 20"}}
fig, axes = plots.figure(1, width=5.4, height=2.6)
plots.cmc_curve(axes[0], rates, name="two images a person")

# %% [markdown]
# In a gallery of {glue:text}`gallery` people the mate comes first for {glue:text}`rank_1:.1%` of
# the probes, and is among the first twenty for {glue:text}`rank_20:.1%`. If at most one stranger in
# ten may be given an answer, {glue:text}`tpir:.1%` of the mates are still found. A gallery gives a
# stranger many chances to resemble somebody. That is why searching (1:N) is harder than comparing
# (1:1) with the same network.
#
# ## Looking at the errors
#
# A number does not say what to improve; the worst pairs do. What do the rejected genuine pairs have
# in common?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The genuine pairs with the lowest and the impostor pairs with the highest cosine. The cosine is given below each pair.", "name": "fig-worst"}, "image": {"alt": "Two sheets of pairs of faces: the same people under very different conditions, and different people under similar ones"}}
worst = error_rates.worst(scores, same, 12)
fig, axes = plots.figure(2, width=7.6, height=3.6)
for ax, k, title in zip(axes, worst, ("genuine", "impostor"), strict=True):
    one, two = (strangers[side[k]] / 127.5 - 1.0 for side in protocol.pairs[:2])
    plots.error_sheet(ax, one, two, scores[k], columns=3, title=title)

# %% [markdown]
# Because these people are rendered, we *know* the conditions of each image and can count errors
# against them. We plot genuine and impostor pairs separately: what makes images less alike causes
# errors in genuine pairs only. Look for a curve that rises.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of wrong decisions against yaw, the angle by which a head is turned: the larger of the two images' angles (left), and the difference between them (right). Each pair is judged by the threshold of the other folds. Bands are 95 % intervals from resampling people.", "name": "fig-yaw"}, "image": {"alt": "Two panels with a curve for genuine and one for impostor pairs, both with wide bands that overlap; the curve of genuine pairs rises to the right"}}
fig, axes = plots.figure(2, width=7.6, height=2.8)
for ax, how in zip(axes, ("larger", "apart"), strict=True):
    of_pair = protocol.nuisance_of_pairs("yaw (degrees)", how)
    edges = np.histogram_bin_edges(of_pair, 6)
    for kind, rows in (("genuine", same), ("impostor", ~same)):
        rate = error_rates.by_nuisance(
            judged.wrong[rows],
            of_pair[rows],
            edges,
            people=(own[0][rows], own[1][rows]),
        )
        plots.error_rates(ax, rate, name=kind, nuisance=f"yaw (degrees), {how}")
_ = axes[0].legend()

# %% tags=["remove-input"]
of_pair = protocol.nuisance_of_pairs("yaw (degrees)")
turned = of_pair > np.quantile(of_pair, 0.75)
frontal = of_pair < np.quantile(of_pair, 0.25)
for name, quarter in (("turned", turned), ("frontal", frontal)):
    rows = quarter & same
    (share,) = calibration.rates(
        judged.wrong[rows],
        np.zeros(rows.sum(), int),
        (own[0][rows], own[1][rows]),
    )
    session.report(
        **{
            f"wrong_{name}": share.value,
            f"wrong_{name}_between": f"{share.low:.1%} to {share.high:.1%}",
        }
    )

# %% [markdown]
# Among the quarter of pairs nearest to frontal, {glue:text}`wrong_frontal:.1%` of the genuine ones
# are rejected (95 % interval over people: {glue:text}`wrong_frontal_between`). Among the quarter
# turned furthest it is {glue:text}`wrong_turned:.1%` ({glue:text}`wrong_turned_between`).
#
# ## On real faces
#
# The field's best-known list is LFW's **{term}`View 2`**: 6,000 pairs in ten folds that share no
# people. {doc}`Chapter 12 </executed/12_reproduction>` trains on LFW-a's images, always without the
# people of the folds that judge. The figure compares four rulers fold by fold: raw pixels, their
# principal components, and ArcFace twice, with a small network at 48 pixels and with r18_lite at
# 112. For the two networks, each dot is the mean of two seeds. How much do the dots of one ruler
# scatter, compared with the distance between rulers?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "View 2 of LFW, real faces: accuracy of four rulers. Each dot is one of the ten folds, the line is their mean.", "name": "fig-real-folds"}, "image": {"alt": "Four groups of ten dots with a line at their mean: near 63, 71, 87 and 88 per cent"}}
lfw, lfw_gpu = Recorded("lfw"), Recorded("lfw_gpu")
halves = {"scratch_0_4": "lfw/folds0-4", "scratch_5_9": "lfw/folds5-9"}


def by_fold(sweep):
    """ArcFace's accuracy in the ten folds of View 2, the mean over seeds."""
    means = []
    for stage, name in halves.items():
        seeds = sweep.seeds(stage, "arcface")
        means.append(
            np.mean(
                [sweep.folds(stage, "arcface", name, s) for s in seeds], axis=0
            )
        )
    return np.concatenate(means)


floor = {
    row["baseline"]: row["per_fold"]
    for row in results.load("lfw/baselines")["rows"]
}
rulers = {
    "raw pixels": np.array(floor["raw pixels"]),
    "components": np.array(floor["principal components, 100, whitened"]),
    "small network": by_fold(lfw),
    "r18_lite": by_fold(lfw_gpu),
}
fig, (ax,) = plots.figure(1, width=5.8, height=2.6)
plots.accuracy_bars(ax, list(rulers), list(rulers.values()))

# %% tags=["remove-input"]
small, large = rulers["small network"], rulers["r18_lite"]
tar = [
    lfw_gpu.values(stage, "arcface", name, "tar@1e-3")
    for stage, name in halves.items()
]
session.report(
    real_mean=100 * large.mean(),
    real_scatter=100 * large.std(ddof=1),
    real_error=100 * large.std(ddof=1) / len(large) ** 0.5,
    real_chance=100 * (large.mean() * (1 - large.mean()) / 600) ** 0.5,
    real_gain=paired(large, small).format(),
    real_tar=100 * float(np.mean(tar)),
)

# %% [markdown]
# r18_lite judges {glue:text}`real_mean:.1f` % of the pairs correctly. A fold has 600 pairs. At that
# accuracy, chance alone would scatter the folds by {glue:text}`real_chance:.1f` points; the actual
# standard deviation is {glue:text}`real_scatter:.1f`.
#
# **What does a ± mean?** In a table it may be this scatter of folds, or it may be the standard
# error of the mean of ten folds, which is only {glue:text}`real_error:.1f`. Always ask which.
#
# **Which ruler is better?** Two rulers that judge the same pairs are compared fold by fold.
# From the small network to r18_lite the accuracy changes by {glue:text}`real_gain` points (mean and
# 95 % interval). That interval covers the choice of pairs for these few trainings. It does not
# cover what other trainings would give.
#
# **And a stricter test?** One threshold for everybody is mild. At a FAR of 0.001, which the 1,500
# impostor pairs of half the folds can just resolve, r18_lite accepts {glue:text}`real_tar:.0f` % of
# the genuine pairs. With LFW-a in a data folder, `cdmllab evaluate RUN --protocol lfw/view2` judges
# a run of yours on the same pairs and draws the worst of them.
#
# :::{admonition} Where we deviate
# :class: note
# LFW's folds share no people. Those drawn here do, because `pairs.sample` draws from everybody. Our
# people are rendered and the ruler is linear, so none of the numbers before the last section
# compare with published ones. For a trained network, `cdmllab evaluate RUN --protocol ...` computes
# all of this and writes it into the run's folder.
# :::
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(11)

# %% [markdown]
# ## Exercises
#
# **11.1** A list has 2,000 genuine and 4,000 impostor pairs. What is the smallest FAR above 0 that
# it can show?

# %%
exercises.check("11.1", None)

# %% [markdown]
# <details><summary>Solution 11.1</summary>
#
# One impostor pair accepted: $1 / 4000 = 0.00025$. The genuine pairs play no part in it.
#
# </details>
#
# **11.2** Write a function of `genuine` and `impostor` scores (two arrays) and a `far` that returns
# {eq}`eq-tar-at-far`. Mind ties.

# %%
exercises.check("11.2", None)

# %% [markdown]
# <details><summary>Solution 11.2</summary>
#
# Accept $k = \lfloor f n \rfloor$ impostors, and reject every pair that scores no higher than the
# next one:
# `lambda genuine, impostor, far: (genuine > np.sort(impostor)[::-1][int(far * len(impostor))]).mean()`
# for $f < 1$. A quantile would interpolate between two scores and could accept one impostor too
# many.
#
# </details>
#
# **11.3** A system accepts a pair when the squared distance between its unit embeddings is below
# 1.24. What is the smallest cosine it accepts?

# %%
exercises.check("11.3", None)

# %% [markdown]
# <details><summary>Solution 11.3</summary>
#
# $1.24 = 2 - 2\cos\theta$, so $\cos\theta = 0.38$: `scoring.convert(1.24, "squared_l2", "cosine")`.
#
# </details>
#
# **11.4** Write a function of embeddings `e` of shape `[n, d]` and media numbers `m` of shape `[n]`
# that pools the images of *one* template, all with the same weight.

# %%
exercises.check("11.4", None)

# %% [markdown]
# <details><summary>Solution 11.4</summary>
#
# Average each medium, add the averages, and keep the direction:
# `lambda e, m: (s := sum(e[m == k].mean(0) for k in np.unique(m))) / np.linalg.norm(s)`.
#
# </details>
#
# **11.5** Run this chapter with `-p strength 0.3` and with `0.8`. Which numbers move, and does the
# order of the two standard deviations of the equal error rate change? There is no checker for this
# one: the answer is in your tables.
#
# ## Recap
#
# - *Accuracy:* pairs, ten folds, and for each fold a threshold from the others. Public codes differ
#   in the thresholds they try.
# - *TAR at a FAR:* this needs many impostor pairs. Below one in $n$ there is nothing to measure.
# - *Intervals:* resample people, not pairs; resampling pairs makes intervals too narrow. The
#   scatter of folds is not the error of their mean, and rulers judged on the same pairs are
#   compared fold by fold.
# - *Thresholds:* choose on validation people, judge on others.
# - *Templates and galleries:* average within a medium first; a gallery gives strangers many
#   chances.
# - *Errors:* look at the worst pairs, and count errors against what you know about the images.
#
# We now have a ruler for rulers. What does it say about CDML? Chapter 12 holds our trainings, and
# the published ones, against it.
#
# ## References
#
# Protocol: {cite:t}`huang2008lfw`. Fisherfaces: {cite:t}`belhumeur1997fisherfaces`. Resampling
# people: {cite:t}`owen2007pigeonhole`, {cite:t}`owen2012arrays`, {cite:t}`fogliato2024intervals`.
# Calibration: {cite:t}`vanleeuwen2007introduction`. The rule of 400 thresholds:
# {cite:t}`sandberg2016facenet`.
