# ---
# cdmllab:
#   data: [results/sweeps/lab_main.json, results/sweeps/lab_main.yaml, results/sweeps/strategy_lab.json, results/sweeps/strategy_lab.yaml, results/faults/kills.json]
# ---
# %% [markdown]
# # Training every variant
#
# :::{admonition} After this chapter you can
# :class: tip
# - train any loss on any backbone from a preset, and explain what each line of its recipe does;
# - read the log of a run, and say what each column is for;
# - compare the margins and angles of easy, hard and mislabelled images while a network learns;
# - stop a run, resume it, and get the same numbers to the bit;
# - spread a training over processes, and many trainings over machines.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 4 and 6. One small network is trained while you wait, in less than a minute on one core.
# The longer curves come from the sweep `results/sweeps/lab_main.yaml`; the text says on which
# machine they were made. Training is one call, {py:func}`training.train <cdmllab.training.train>`.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"
seed = 0  # of data order, first weights and augmentation
loss = "cdml"  # any of `cdmllab.margins`, or triplet, contrastive, circle
backbone = "small"  # or an IResNet, which wants 112 pixels: set size, and a GPU
size = 32  # of the images, in pixels
identities = 100  # people of the world that is trained on

# %% tags=["hide-input"]
import statistics

from cdmllab import plots, results, training
from cdmllab.book import exercises, questions, session
from cdmllab.results.sweeps import Recorded
from cdmllab.training import presets

lab = session.start(profile, seed)
recorded = Recorded("lab_main")
main = ["arcface", "cdml_easy", "cdml_hard", "oracle"]
words = {
    "arcface": "ArcFace",
    "cdml_easy": "CDML, easy larger",
    "cdml_hard": "CDML, hard larger",
    "oracle": "oracle",
}
shades = {
    "arcface": plots.colour("arcface"),
    "CDML, easy larger": plots.colour("cdml"),
    "CDML, hard larger": "#8c7a00",
    "oracle": "#7a4fb5",
}


def same_scale(axes):
    """The same vertical limits for panels that are compared."""
    low, high = zip(*(ax.get_ylim() for ax in axes), strict=True)
    for ax in axes:
        ax.set_ylim(min(low), max(high))


def error_band(ax, key, scale=1.0):
    """One standard error of ArcFace's own mean, around zero."""
    steps, _, sd = recorded.curve("compare", "arcface", key)
    error = scale * sd / len(recorded.seeds("compare", "arcface")) ** 0.5
    ax.fill_between(steps, -error, error, color="0.5", alpha=0.2, linewidth=0)


# %% [markdown]
# ## A recipe is a file
#
# How do you write a training down so that somebody else gets the same result? In this package it
# is a **preset**, a file with a promise. It begins with what the experiment is, how to run it,
# what it costs and what to expect. The rest is a handful of choices. Among the presets are those
# of DATN, the repository that CDML comes from, ready for the day their data are there. Here are
# the promises of two:

# %%
for name in ("casia/datn_page/r50_lite_cdml", "lab/cpu/arcface"):
    print(
        f"{name}\n  {presets.header(name)['about']}\n  {presets.header(name)['expect']}"
    )

# %%
recipe = presets.load("casia/datn_page/r50_lite_cdml")
print(recipe.optimiser)
print(recipe.epochs, "epochs in batches of", recipe.batch_size)
print(recipe.data.augmentation, "|", recipe.loss)

# %% [markdown]
# This is the recipe that DATN's results page, *DATN's page* for short, gives for CASIA-WebFace.
# Line by line:
#
# - **Stochastic gradient descent** with momentum follows the gradient of the mean loss of 128
#   images at a time.
# - The **learning rate** is the size of its steps. It begins at 0.1 and drops to a tenth at three
#   *milestones*: large steps to get close, small ones to settle.
# - **Weight decay** pulls every weight gently towards zero, class centres included. In a margin
#   loss only directions count, and a shorter vector turns faster, so weight decay really sets how
#   fast directions can still turn.
# - **Augmentation** shows each image a little differently every time, so that the network cannot
#   learn pixels by heart.
# - Two options are switched off here. A *warm-up* would raise the learning rate slowly at first,
#   and *clip_norm* would shorten a gradient that is too long.
#
# What if you misspell an option? The whole config is checked before anything runs, and an unknown
# key is rejected by name:

# %%
try:
    presets.load("lab/cpu/arcface", ["loss.margn_rad=0.4"])
except Exception as error:
    print(error)

# %% [markdown]
# ## A run
#
# Now we train {glue:text}`loss` while you wait, for six epochs on a world of
# {glue:text}`identities` people. Since it is a world of the face lab, the run can also look at the
# truth, once per epoch:

# %%
options = {"shape": "linear", "match_mean": True} if loss == "cdml" else {}
scaled = (
    {}
    if loss in ("softmax", "triplet", "contrastive", "circle")
    else {"scale": 12.0}
)
settings = {
    "data.num_identities": identities,
    "data.strength": 0.4,
    "data.size": size,
    "loss": {"name": loss, **scaled, **options},
    "epochs": 6,
    "batch_size": 32,
    "seed": seed,
    "device": lab.device,
    "watch": {"log_every": 5, "truth_every": identities // 2},
}
settings["backbone"] = {"name": backbone, "embedding_dim": 64, "size": size}
if backbone == "small":
    settings["backbone"]["width"] = 16  # half of the preset's, for a quick look
preset = "lab/cpu/arcface"
trained = training.train(presets.load(preset, [settings]), within=lab.runs)
log = trained.run.metrics()
print(sorted(log))

# %% tags=["remove-input"]
session.report(
    loss=loss,
    identities=identities,
)

# %% [markdown]
# All of this is logged in the run's folder: the config, where it came from, and one line of
# numbers every five steps. What is each column for?
#
# | column | what it is | what it is for |
# |---|---|---|
# | `step`, `epoch` | the number of updates so far, and of passes over the data | where in the training you are |
# | `loss` | the loss of the batch, margin included | does it fall, or is it NaN? The values of different losses cannot be compared |
# | `accuracy` | the share of the batch whose nearest class centre is the correct one, without a margin | are the training people learned? It says nothing about strangers |
# | `target_cos` | the mean cosine between an image and the centre of its class | how close the images have come |
# | `target_angle_deg_p10`, `_p50`, `_p90` | the same as angles: a tenth, half and nine tenths of the batch are closer than this | do the stragglers follow, or only the mean? |
# | `margin_rad`, with `_p10`, `_p50`, `_p90` | the margins that the samples were given: mean and spread | does the margin really differ between samples? Two losses are compared fairly only at the same mean |
# | `easiness`, with `_p10`, `_p50`, `_p90` | the scores from which the margins were computed | why a sample has the margin it has |
# | `easy_share` | the share of the batch that counts as easy | at 0 or 1 all samples are on one side of the pivot, and a step margin does nothing |
# | `embedding_norm` | the mean length of the embeddings before they are normalised | a longer embedding turns more slowly for the same gradient |
# | `lr` | the learning rate of the step | explains sudden bends in the other curves |
# | `gradient_norm` | the length of the gradient; only logged where it is clipped | is the limit too tight? |
# | `images_per_s`, `data_wait` | images per second, and the share of the time spent waiting for them | is the loader the bottleneck? |
# | `peak_mib` | the most memory in use so far | does a larger batch still fit? |
# | `truth/…` | only in the face lab: how well each easiness score orders the images by their true difficulty and finds wrong labels; mean margin and angle of the easy, middling, hard and mislabelled images | is the score right ({doc}`chapter 5 </executed/05_difficulty>`), and what does the margin do to whom? |
#
# If you watch only one of them, watch the **target angle** between an embedding and the centre of
# its class. In a space of many dimensions every angle begins near 90 degrees, and learning is the
# walk from there towards zero. The figure shows this walk on the left and the margins on the
# right. Do all samples of a batch walk together?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: target angles of the samples of a batch; the line is the median, the band reaches from the tenth to the ninetieth percentile. Right: their margins, drawn in the same way.", "name": "fig-run"}, "image": {"alt": "Two panels over the steps of a training; a band of angles that falls from ninety degrees and widens, and a band of margins"}}
fig, axes = plots.figure(2, width=7.4, height=2.7)
for ax, key, ylabel in (
    (axes[0], "target_angle_deg", "target angle (degrees)"),
    (axes[1], "margin_rad", "margin (rad)"),
):
    if f"{key}_p50" in log:
        bands = (log[f"{key}_p{q}"] for q in (10, 50, 90))
        plots.sample_margins(ax, log["step"], *bands, name=loss)
    ax.set_ylabel(ylabel)

# %% [markdown]
# The band on the right is what this book is about. A fixed margin would be a line. A dynamic
# margin is a band, because each sample has its own: with CDML, the easier a sample is judged, the
# larger its margin.
#
# ## The long curves
#
# One short training shows how the log is read, not what a margin does. For that the sweep
# `lab_main` trained longer and more often:
#
# | | while you wait | `lab_main` |
# |---|---|---|
# | people | {glue:text}`identities` | {glue:text}`main_people` |
# | nuisance strength | 0.4 | {glue:text}`main_strength` |
# | length | 6 epochs, batches of 32 | {glue:text}`steps` steps, batches of {glue:text}`batch` |
# | seeds | 1 | {glue:text}`seeds` for each margin |
#
# The sweep compares four margins that have the same mean in every batch. *ArcFace* gives it to all
# samples. *CDML, easy larger* gives more to samples that it judges easy, and *CDML, hard larger*
# gives more to samples that it judges hard, both in a step. The *oracle* is CDML with easy larger,
# but it knows which images are truly easy (chapter 5).
#
# Scale {glue:text}`main_scale` and mean margin {glue:text}`main_margin` rad were chosen by short
# trainings on a grid of three scales and three margins. There is a caveat: the choice is the
# grid's corner of smallest scale and smallest margin, so a better point may lie outside the grid.
# Its lead is small, too, {glue:text}`lead:.2f` points over the largest margin tried at that scale.
# The {glue:text}`runs` trainings of the sweep, short ones included, took {glue:text}`hours:.1f`
# hours on {glue:text}`where`.
#
# How different are the four? In the right panel, look for lines that leave the grey band and stay
# outside it:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: ArcFace's accuracy on the training batches, mean over seeds with a band of one standard deviation. Right: differences of the other margins' means from ArcFace's mean. Grey: one standard error of ArcFace's own mean. The seeds are paired, so the differences are known better than that, but their own spread was not kept.", "name": "fig-main-curves"}, "image": {"alt": "Left, a rising curve; right, three jagged lines around zero, and a grey band around it"}}
others = main[1:]
fig, axes = plots.figure(2, width=7.4, height=2.7)
steps, *spread = recorded.curve("compare", "arcface", "accuracy")
plots.training_curves(
    axes[0],
    {"arcface": (steps, *spread)},
    ylabel="training accuracy (%)",
    scale=100.0,
)
plots.training_curves(
    axes[1],
    {
        words[arm]: recorded.curve_difference(
            "compare", arm, "arcface", "accuracy"
        )
        for arm in others
    },
    ylabel="minus ArcFace (points)",
    colours=shades,
    scale=100.0,
)
error_band(axes[1], "accuracy", 100.0)
_ = fig.legend(
    *axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3
)

# %% tags=["remove-input"]
about = recorded.trained()
config = recorded.config("compare", "cdml_easy")
kills = results.load("faults/kills")["jobs"]["training"]
tried = {}  # accuracies on the people of the tuning, by margin, at the chosen scale
for group in recorded.record["stages"][0]["groups"]:
    if group["point"]["loss.scale"] == config["loss"]["scale"]:
        tried.setdefault(group["point"]["loss.margin_rad"], []).extend(
            of["accuracy"]
            for run in group["runs"]
            for of in run["measures"].values()
        )
mean = {margin: statistics.fmean(tried[margin]) for margin in tried}
session.report(
    lead=100 * (mean[config["loss"]["margin_rad"]] - mean[max(mean)]),
    kills=kills["kills"],
    ends=kills["ends"],
    equal=kills["equal ends"],
    batch=config["batch_size"],
    main_people=config["data"]["num_identities"],
    main_strength=config["data"]["strength"],
    main_margin=config["loss"]["margin_rad"],
    main_scale=f"{config['loss']['scale']:g}",
    seeds=len(recorded.seeds("compare", "arcface")),
    steps=f"{int(steps[-1]):,}",
    runs=about["runs"],
    hours=about["hours"],
    where=", ".join(about["processors"]),
)

# %% [markdown]
# None of them does. The training accuracy does not distinguish the four margins.
#
# Why do CDML's lines start at zero? At first no sample is closer to its centre than the pivot of
# 60 degrees, so all count as hard, and with the mean held equal CDML is then the same as ArcFace.
#
# The mean over all samples hides what we want to see. What happens to easy, hard and mislabelled
# images separately? The face lab knows which is which ({doc}`chapter 6 </executed/06_faces>`);
# *easy* and *hard* are the thirds with the smallest and the largest known difficulty. The first
# figure shows the margins that these groups are given. On the left, easy images should rise above
# hard ones, and on the right the other way round. What do you expect of the mislabelled ones? The
# second figure shows what becomes of the angles:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean margin of the easy third, the hard third and the mislabelled images while CDML trains. Left: easy samples get the larger margin. Right: hard samples do.", "name": "fig-margins-by-truth"}, "image": {"alt": "Two panels of three curves; on the left easy images rise above hard and mislabelled ones as training goes on, on the right the order is reversed"}}
fig, axes = plots.figure(2, width=7.4, height=2.7)
for ax, arm in zip(axes, ("cdml_easy", "cdml_hard"), strict=True):
    groups = {
        group: recorded.curve("compare", arm, f"truth/margin_rad_{group}")
        for group in ("easy", "hard", "mislabelled")
    }
    plots.training_curves(ax, groups, ylabel="mean margin (rad)")
    ax.set_title(words[arm])
same_scale(axes)
_ = axes[0].legend()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean target angle of the easy third, the hard third and the mislabelled images, as differences from ArcFace's; below zero, they are closer to the centre of their class than with ArcFace. Grey: one standard error of ArcFace's own mean.", "name": "fig-angles-by-truth"}, "image": {"alt": "Three panels of three curves each, a few tenths of a degree around zero, with a grey band around zero"}}
fig, axes = plots.figure(3, width=7.6, height=2.6)
for ax, group in zip(axes, ("easy", "hard", "mislabelled"), strict=True):
    key = f"truth/angle_deg_{group}"
    plots.training_curves(
        ax,
        {
            words[arm]: recorded.curve_difference("compare", arm, "arcface", key)
            for arm in others
        },
        ylabel="minus ArcFace (degrees)" if group == "easy" else "",
        colours=shades,
    )
    error_band(ax, key)
    ax.set_title(group)
same_scale(axes)
_ = fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
)

# %% tags=["remove-input"]
last = {
    (arm, group): float(
        recorded.curve("compare", arm, f"truth/angle_deg_{group}")[1][-1]
    )
    for arm in main
    for group in ("easy", "hard", "mislabelled")
}
sds = [
    float(recorded.curve("compare", arm, f"truth/angle_deg_{group}")[2][-1])
    for arm, group in last
    if arm != "oracle"
]
session.report(error=max(sds) / len(recorded.seeds("compare", "arcface")) ** 0.5)
for group in ("easy", "hard", "mislabelled"):
    session.report(
        **{f"arc_{group}": last["arcface", group]},
        **{f"easy_{group}": last["cdml_easy", group] - last["arcface", group]},
        **{f"hard_{group}": last["cdml_hard", group] - last["arcface", group]},
    )

# %% [markdown]
# Both figures show CDML at work. In the first, the mislabelled images move the most: with *easy
# larger* they get the smallest margin of all, and with *hard larger* by far the largest. The
# second shows where the images end up. Here are the last points of the curves, in degrees:
#
# | mean target angle at the end | easy third | hard third | mislabelled |
# |---|---|---|---|
# | ArcFace | {glue:text}`arc_easy:.1f` | {glue:text}`arc_hard:.1f` | {glue:text}`arc_mislabelled:.1f` |
# | CDML, easy larger: difference from ArcFace | {glue:text}`easy_easy:+.2f` | {glue:text}`easy_hard:+.2f` | {glue:text}`easy_mislabelled:+.2f` |
# | CDML, hard larger: difference from ArcFace | {glue:text}`hard_easy:+.2f` | {glue:text}`hard_hard:+.2f` | {glue:text}`hard_mislabelled:+.2f` |
#
# The three groups are far apart. Images with a wrong label have hardly left the 90 degrees at
# which they began. Which margin was used, in contrast, makes little difference to any group.
#
# How sure are these differences? Each mean is known to about {glue:text}`error:.1f` degrees (the
# least certain of them), which is about as much as the largest difference in the table. The seeds
# are paired, so the differences are known better than that. Their spread was not kept, however, so
# we cannot say by how much. Whether such angles make a better recogniser is another question,
# which {doc}`chapter 12 </executed/12_reproduction>` answers.
#
# ## Killed and resumed
#
# What if a training is killed after two days? A run writes a checkpoint every so many steps, under
# a temporary name, and renames it when it is complete. The checkpoint holds everything that the
# next step depends on: weights, class centres, momentum, the schedule, the random state, the place
# in the order of the data, and the running statistics of the margin. On a CPU, the numbers after a
# resume are the same to the bit.
#
# We tested this by force (`python -m tests.faults.kills`). A chain of small trainings was killed
# {glue:text}`kills` times at random moments and resumed each time. {glue:text}`ends` of the
# trainings reached their end, and {glue:text}`equal` of them were equal to an undisturbed one, to
# the bit.
#
# A run can also continue on a different number of processes. Its batches are then different, and
# so are its numbers.
#
# ```bash
# cdmllab train lab/cpu/cdml            # killed, for whatever reason
# cdmllab train --resume runs/lab-cpu-cdml__s0__20260101T120000.000000Z
# ```
#
# A finished training is not repeated, because the same config finds its run:

# %%
again = training.train(presets.load(preset, [settings]), within=lab.runs)
print(again.run.folder == trained.run.folder)

# %% tags=["remove-input"]
strategy = Recorded("strategy_lab")
tuned = sorted(
    strategy.chosen("tune").items(), key=lambda arm: arm[1]["value"], reverse=True
)
(best, chosen), (_, second) = tuned[:2]
session.report(
    strategy_chosen=" with ".join(
        [
            best,
            *(f"{k.split('.')[-1]} {v:g}" for k, v in chosen["point"].items()),
        ]
    ),
    strategy_lead=100 * (chosen["value"] - second["value"]),
    strategy_people=f"{strategy.config('large', best)['data']['num_identities']:,}",
    strategy_lfw=100 * strategy.values("large", best, "lab/lfw").mean(),
    strategy_fp=100 * strategy.values("large", best, "lab/cfp_fp").mean(),
)

# %% [markdown]
# ## Many processes, many machines
#
# What grows when the number of people does? Not the network, but the table of class centres. At
# 512 dimensions each, ten million identities take 20 GB, and momentum and gradient take as much
# again each. The two are therefore spread over processes in different ways:
#
# - Every process has the whole network and images of its own, and the gradients of the network are
#   averaged (`DistributedDataParallel`).
# - The class centres are **sharded**: every process keeps a part of them and sees the embeddings
#   of all. The sums in the softmax are added up over the processes.
#
# ```bash
# torchrun --nproc-per-node 4 -m cdmllab train casia/datn_page/r50_lite_cdml \
#     --set loss.backend=sharded --set speed.precision=bfloat16
# ```
#
# For every margin, the loss agrees with that of a single process to five digits, because whatever
# a margin needs to know, such as the hardest negative or the easiness, is found across all shards.
# With `--set loss.sample_rate=0.1` a step looks at only a tenth of the negatives (Partial FC,
# {cite}`an2021partialfc`). Four processes see four times as many images per step, and
# `optimiser.reference_batch` scales the learning rate in proportion {cite}`goyal2017accurate`.
#
# DATN's page also names `DataParallel`. There, one process drives several GPUs, copies the network
# to each of them at every step, and collects all logits on the first. PyTorch itself advises
# against it, and we did not build it.
#
# Many *trainings* are a **sweep**: arms, seeds and stages in one file. Finished trainings are
# skipped, interrupted ones continue from their last checkpoint, and with `--ray` the work goes to
# a cluster:
#
# ```bash
# cdmllab sweep results/sweeps/lab_main.yaml --workers 2 --record
# cdmllab sweep results/sweeps/strategy_casia_ms1mv3.yaml --ray auto
# ```
#
# The second file is the strategy of DATN's page as one sweep: tune the losses on a small set,
# choose between them on people kept aside for this, train the chosen one on a large set, and
# export it. We ran it in the lab (`strategy_lab.yaml`), with one training per setting. It chose
# {glue:text}`strategy_chosen`, ahead of the next loss by {glue:text}`strategy_lead:.2f` points.
# Trained on {glue:text}`strategy_people` people, this reached {glue:text}`strategy_lfw:.1f` % on
# `lab/lfw` and {glue:text}`strategy_fp:.1f` % on `lab/cfp_fp`. This shows that the strategy runs.
# It is not a comparison of losses; chapter 12 makes that.
#
# ## Where we deviate
#
# The lab's presets compute in bfloat16 where the processor or GPU multiplies it in hardware, and
# in float32 elsewhere (`speed.precision: auto`; the run's record says which it was). bfloat16 has
# the range of float32, so nothing has to be scaled. The presets of DATN's page keep its float16,
# with a scaler, in one process; several processes need bfloat16.
#
# The lab's recipe lowers the learning rate along a cosine instead of in steps, because its
# trainings are short.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(9)

# %% [markdown]
# ## Exercises
#
# **9.1** InsightFace's pack of CASIA-WebFace has 490,623 images. DATN's page trains 40 epochs in
# batches of 128. How many steps are these, if the last, incomplete batch of every epoch is left
# out?

# %%
exercises.check("9.1", None)

# %% [markdown]
# <details><summary>Solution 9.1</summary>
#
# An epoch has $\lfloor 490623 / 128 \rfloor = 3832$ batches, so there are 153,280 steps.
#
# </details>
#
# **9.2** Write a function `rate(epoch)` that returns the learning rate of DATN's page on
# CASIA-WebFace. It starts at 0.1 and drops to a tenth of its value at the epochs 15, 25 and 35,
# counted from 0.

# %%
exercises.check("9.2", None)

# %% [markdown]
# <details><summary>Solution 9.2</summary>
#
# ```python
# def rate(epoch):
#     return 0.1 * 0.1 ** sum(epoch >= milestone for milestone in (15, 25, 35))
# ```
#
# </details>
#
# **9.3** The class centres of 93,431 identities have 512 float32 numbers each. The gradient takes
# as much memory again, and so does the momentum. How many MiB does each of 8 processes hold?

# %%
exercises.check("9.3", None)

# %% [markdown]
# <details><summary>Solution 9.3</summary>
#
# $3 \cdot 93431 \cdot 512 \cdot 4 / 2^{20} / 8 = 68.4$ MiB.
#
# </details>
#
# ## Recap
#
# - A preset is a recipe with a promise. `--set` changes one line of it, and an unknown key is
#   rejected by name.
# - The log has a column for each question: do the images reach their centres, does the margin
#   differ between samples, is the loader too slow? In the face lab it also has the truth.
# - Easy, hard and mislabelled images end at very different angles. Which margin was used changes
#   these angles by no more than about the error of a mean.
# - A killed run resumes from its last checkpoint, on a CPU to the same bits, and also on a
#   different number of processes, then with different batches.
# - Images are shared among processes by averaging gradients, class centres by sharding, and whole
#   trainings by a sweep.
#
# A log describes thousands of embeddings by a few angles. What do the embeddings themselves look
# like, in a space of 64 or 512 dimensions? Chapter 10 looks at the sphere.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`an2021partialfc`, {cite:t}`goyal2017accurate`.
