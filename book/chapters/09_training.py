# ---
# cdmllab:
#   data: [results/sweeps/lab_main.json, results/sweeps/lab_main.yaml, results/sweeps/strategy_lab.json, results/sweeps/strategy_lab.yaml, results/faults/kills.json]
# ---
# %% [markdown]
# # Training every variant
#
# :::{admonition} After this chapter you can
# :class: tip
# - train any loss on any backbone from a preset, and say what each line of its recipe does;
# - read the log of a run: target angles, margins of single samples, easiness, norms, speed;
# - stop a run, go on with it, and get the same numbers to the bit;
# - spread a training over processes, and many trainings over machines.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 4 and 6. One small network is trained while you wait, in less than a minute on one core;
# the long curves come from the sweep `results/sweeps/lab_main.yaml`, and the text says on which
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
from cdmllab.book import exercises, session
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

# %% [markdown]
# ## A recipe is a file
#
# A **preset** is an experiment with its promise. Its file begins with what it is, how to run it,
# what it costs and what to expect; the rest is a handful of choices. Those of the published system
# are there, row by row, and can be run on the day its data is there:

# %%
for name in ("casia/datn_page/r50_lite_cdml", "lab/cpu/arcface"):
    print(
        f"{name}\n  {presets.header(name)['about']}\n  {presets.header(name)['expect']}"
    )

# %%
document = presets.load("casia/datn_page/r50_lite_cdml")
print(document.optimiser)
print(document.epochs, "epochs of batches of", document.batch_size)
print(document.data.augmentation, "|", document.loss)

# %% [markdown]
# This is the document's recipe for CASIA-WebFace. **Stochastic gradient descent** with momentum
# walks downhill on the mean loss of 128 images at a time. The **learning rate** begins at 0.1 and
# drops to a tenth at three *milestones*: large steps to find the valley, small ones to settle. **Weight
# decay** pulls every weight, class centres too, gently to zero; since only directions count in a
# margin loss, what it really sets is how fast a direction can still turn. **Augmentation** shows
# each image a little differently every time, so that pixels cannot be learnt by heart. Two lines
# are idle here: a *warm-up* would let the rate rise at first, and *clip_norm* shorten a gradient
# that is too long. All inputs of a config are checked before anything runs, and a wrong one is told
# by its key:

# %%
try:
    presets.load("lab/cpu/arcface", ["loss.margn_rad=0.4"])
except Exception as error:
    print(error)

# %% [markdown]
# ## A run
#
# We train {glue:text}`loss` while you wait: a world of {glue:text}`identities` people, six epochs,
# and a look at the truth after each.

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
session.tell(
    loss=loss,
    identities=identities,
)

# %% [markdown]
# Everything that happened stands in the run's folder: the config, where it came from, and one line
# of numbers every five steps.
#
# | in the log | what it is |
# |---|---|
# | `loss`, `accuracy` | of one batch, while it trains |
# | `target_cos`, `target_angle_deg_p10` to `p90` | cosine and angle to the own class centre: the mean; a tenth, half and nine tenths of the batch lie below |
# | `margin_rad`, `easiness`, with their `p10` to `p90` | the margin each sample was given, and the score it was given by |
# | `embedding_norm` | mean length of the embeddings before they are normalised; it says how fast they can still turn |
# | `lr`, `gradient_norm` | the learning rate of the step; the length of the gradient, where it is clipped |
# | `images_per_s`, `data_wait`, `peak_mib` | images a second, the share of the time spent waiting for them, the most memory so far |
# | `truth/…` | what only the face lab knows, see {doc}`chapter 5 </executed/05_difficulty>` |
#
# The most telling one is the **target angle**, between an embedding and its class centre. In a
# space of many dimensions everything begins at 90 degrees, and learning is the walk from there to
# zero:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: target angles of the samples of a batch, the middle one and the range from the tenth to the ninetieth. Right: their margins.", "name": "fig-run"}, "image": {"alt": "Two panels over the steps of a training; a band of angles that falls from ninety degrees and widens, and a band of margins"}}
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
# The band on the right is what this book is about. A fixed margin would be a line. Here each sample
# has its own, and the easier it counts, the higher it lies.
#
# ## The long curves
#
# The sweep `lab_main` trained at greater length: {glue:text}`steps` steps of batches of
# {glue:text}`batch`, {glue:text}`main_people` people instead of {glue:text}`identities`, stronger
# nuisances ({glue:text}`main_strength` instead of 0.4), and the step in place of the line. Scale
# and margin, {glue:text}`main_scale` and {glue:text}`main_margin` rad, are the point that short
# trainings chose of a grid of three scales and three margins. It is the corner of smallest scale
# and margin, so a better point may lie outside the grid; and its lead is small,
# {glue:text}`lead:.2f` points over the largest margin tried at that scale. There are
# {glue:text}`seeds` seeds for each of four margins that have the same mean in every batch. The
# {glue:text}`runs` trainings of the sweep, the short ones included, took {glue:text}`hours:.1f`
# hours on {glue:text}`where`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: ArcFace's accuracy on the training batches, mean over seeds with a band of one standard deviation. Right: what the other margins' means have more or less; the spread of these differences was not kept.", "name": "fig-main-curves"}, "image": {"alt": "Left, a rising curve; right, three jagged lines around zero"}}
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
        words[arm]: recorded.beside("compare", arm, "arcface", "accuracy")
        for arm in others
    },
    ylabel="beside ArcFace (points)",
    colours=shades,
    scale=100.0,
)
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
session.tell(
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
# CDML's lines start on zero: no sample is nearer to its centre than the pivot of 60 degrees yet,
# all count as hard, and with the mean held that is ArcFace. What the four do differently shows when
# the samples are parted by what we know about them. The face lab knows which images are hard and
# which carry a wrong label ({doc}`chapter 6 </executed/06_faces>`):

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean margin of the easy and the hard third of the images, and of the mislabelled ones, as CDML sees them while it trains. Left: easy samples get the larger margin; right: hard ones.", "name": "fig-margins-by-truth"}, "image": {"alt": "Two panels of three curves; on the left easy images rise above hard and mislabelled ones as training goes on, on the right the order is reversed"}}
fig, axes = plots.figure(2, width=7.4, height=2.7)
for ax, arm in zip(axes, ("cdml_easy", "cdml_hard"), strict=True):
    groups = {
        group: recorded.curve("compare", arm, f"truth/margin_rad_{group}")
        for group in ("easy", "hard", "mislabelled")
    }
    plots.training_curves(ax, groups, ylabel="mean margin (rad)")
    ax.set_title(words[arm])
_ = axes[0].legend()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean target angle of the easy third, the hard third and the mislabelled images while they train, beside ArcFace's: below zero they are nearer to their class centre than under ArcFace.", "name": "fig-angles-by-truth"}, "image": {"alt": "Three panels of three curves each, a few degrees around zero"}}
fig, axes = plots.figure(3, width=7.6, height=2.6)
for ax, group in zip(axes, ("easy", "hard", "mislabelled"), strict=True):
    key = f"truth/angle_deg_{group}"
    plots.training_curves(
        ax,
        {
            words[arm]: recorded.beside("compare", arm, "arcface", key)
            for arm in others
        },
        ylabel="beside ArcFace (degrees)" if group == "easy" else "",
        colours=shades,
    )
    ax.set_title(group)
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
session.tell(error=max(sds) / len(recorded.seeds("compare", "arcface")) ** 0.5)
for group in ("easy", "hard", "mislabelled"):
    session.tell(
        **{f"arc_{group}": last["arcface", group]},
        **{f"easy_{group}": last["cdml_easy", group] - last["arcface", group]},
        **{f"hard_{group}": last["cdml_hard", group] - last["arcface", group]},
    )

# %% [markdown]
# At the end ArcFace holds easy images at {glue:text}`arc_easy:.1f` degrees from their centre,
# hard ones at {glue:text}`arc_hard:.1f`, and images with a wrong label at
# {glue:text}`arc_mislabelled:.1f`. With the larger margin for easy samples these three end at
# {glue:text}`easy_easy:+.2f`, {glue:text}`easy_hard:+.2f` and {glue:text}`easy_mislabelled:+.2f`
# degrees beside that; with the larger margin for hard ones at {glue:text}`hard_easy:+.2f`,
# {glue:text}`hard_hard:+.2f` and {glue:text}`hard_mislabelled:+.2f`.
#
# Each of these means is known only to about {glue:text}`error:.1f` degrees (the worst known of
# them), as much as the largest of the differences. The seeds are paired, so the differences are
# surer than that, but their spread was not kept and we cannot say by how much. Whether such angles
# make a better recogniser is another question, and the answer stands in
# {doc}`chapter 12 </executed/12_reproduction>`.
#
# ## Killed and resumed
#
# Long trainings get killed. A run writes a checkpoint every so many steps, aside, and renames it
# when it is whole; it holds all that the next step depends on: weights, class centres, momentum,
# the schedule, the random state, the place in the data's order, and the running statistics of the
# margin. On a CPU the numbers after a resume are the same to the bit. {glue:text}`kills` kills at
# random moments fell on a chain of small trainings. {glue:text}`ends` of these came to their end,
# and {glue:text}`equal` of the {glue:text}`ends` were equal to an undisturbed one
# (`python -m tests.faults.kills`). On another number of processes a run can go on as well; then
# batches are others, and so are the numbers.
#
# ```bash
# cdmllab train lab/cpu/cdml            # killed by whatever it was
# cdmllab train --resume runs/lab-cpu-cdml__s0__20260101T120000.000000Z
# ```
#
# A training that was finished is not repeated: the same config finds its run.

# %%
again = training.train(presets.load(preset, [settings]), within=lab.runs)
print(again.run.folder == trained.run.folder)

# %% tags=["remove-input"]
strategy = Recorded("strategy_lab")
tuned = sorted(
    strategy.chosen("tune").items(), key=lambda arm: arm[1]["value"], reverse=True
)
(best, chosen), (_, second) = tuned[:2]
session.tell(
    strategy_chosen=f"{best}, "
    + ", ".join(f"{k.split('.')[-1]} {v:g}" for k, v in chosen["point"].items()),
    strategy_lead=100 * (chosen["value"] - second["value"]),
    strategy_people=f"{strategy.config('large', best)['data']['num_identities']:,}",
    strategy_lfw=100 * strategy.values("large", best, "lab/lfw").mean(),
    strategy_fp=100 * strategy.values("large", best, "lab/cfp_fp").mean(),
)

# %% [markdown]
# ## Many processes, many machines
#
# The network is small, the table of class centres is not: at 512 numbers each, ten million
# identities take 20 GB, and momentum and gradient as much again each. So the two are spread in
# different ways. Every process has the whole network and its own images, and the gradients of the
# network are averaged (`DistributedDataParallel`). The class centres are **sharded**: every process
# keeps a part of them, sees the embeddings of all, and the sums under the softmax are added up.
#
# ```bash
# torchrun --nproc-per-node 4 -m cdmllab train casia/datn_page/r50_lite_cdml \
#     --set loss.backend=sharded --set speed.precision=bfloat16
# ```
#
# The loss is the one of a single process to five digits, for every margin, because what a margin
# needs to know, the hardest negative or the easiness, is found across all shards. With
# `--set loss.sample_rate=0.1` a step looks at a tenth of the negatives only (Partial FC,
# {cite}`an2021partialfc`). Four processes see four times as many images a step;
# `optimiser.reference_batch` scales the learning rate in proportion {cite}`goyal2017accurate`. The
# document also names `DataParallel`. That is one process that drives several GPUs, copies the
# network to each of them at every step, and collects all logits on the first; PyTorch itself
# advises against it, and we did not build it.
#
# Many *trainings*, that is a **sweep**: arms, seeds and stages in one file. Finished trainings are
# skipped, stopped ones go on from their last checkpoint, and with `--ray` the work goes to a
# cluster.
#
# ```bash
# cdmllab sweep results/sweeps/lab_main.yaml --workers 2 --record
# cdmllab sweep results/sweeps/strategy_casia_ms1mv3.yaml --ray auto
# ```
#
# The second file is the document's strategy as one sweep: tune the losses on a small set, choose on
# people of their own, train the chosen one on a large set, export it. In the lab,
# `strategy_lab.yaml`, one training a setting chose {glue:text}`strategy_chosen`, ahead of the next
# loss by {glue:text}`strategy_lead:.2f` points; on {glue:text}`strategy_people` people it then
# reached {glue:text}`strategy_lfw:.1f` % on `lab/lfw`, {glue:text}`strategy_fp:.1f` % on
# `lab/cfp_fp`. That is how a strategy runs, and no comparison of losses: chapter 12 has that.
#
# ## Where we deviate
#
# The lab's presets compute in bfloat16 where the processor or GPU multiplies it in hardware, and in
# float32 elsewhere
# (`speed.precision: auto`; the run's record says which it was). bfloat16 has the range of float32, so nothing has to be
# scaled. The document's presets keep its float16, with a scaler, in one process; several processes
# need bfloat16. The lab's recipe lowers the learning rate along a cosine instead of in steps,
# because its trainings are short.
#
# ## Exercises
#
# **9.1** InsightFace's pack of CASIA-WebFace has 490,623 images. How many steps is the document's
# recipe, 40 epochs of batches of 128, when a last incomplete batch is left out of every epoch?

# %%
exercises.check("9.1", None)

# %% [markdown]
# <details><summary>Solution 9.1</summary>
#
# $\lfloor 490623 / 128 \rfloor = 3832$ batches an epoch, 153,280 steps.
#
# </details>
#
# **9.2** Write a function `rate(epoch)` for the document's learning rate on CASIA: 0.1, and a tenth
# of what it was from epochs 15, 25 and 35 on, counted from 0.

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
# **9.3** Class centres of 93,431 identities at 512 float32 numbers, with as much again for the
# gradient and as much for the momentum: how many MiB does each of 8 processes hold?

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
# - A preset is a recipe with its promise; `--set` changes one line of it, and a wrong key is
#   refused by name.
# - The log has target angles, margins and easiness of single samples; in the face lab it also has
#   the truth.
# - A killed run goes on from its last checkpoint, on the CPU to the same bits, and on another
#   number of processes.
# - Images are shared out by averaging gradients, class centres by sharding; sweeps share out
#   whole trainings.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`an2021partialfc`, {cite:t}`goyal2017accurate`.
