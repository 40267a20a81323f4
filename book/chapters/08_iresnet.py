# ---
# cdmllab:
#   data: [results/benchmarks/backbones-cpu.json]
# ---
# %% [markdown]
# # IResNet, and how to halve it
#
# :::{admonition} After this chapter you can
# :class: tip
# - draw the block from which nearly all published face recognisers are stacked;
# - count parameters and multiply-accumulates by hand, and say which of them depth, width and image
#   size change;
# - compare six ways of making a network smaller, and say what each saves and what it does not;
# - explain how far a network sees, and why this says less than it seems to;
# - choose a backbone for a machine from measured times.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1, and convolutions. Nothing is trained. The chapter counts, which takes less than a
# minute.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of everything random; nothing here is
model = "r18_lite"  # an IResNet, which is made smaller half-way through

# %% tags=["hide-input"]
import torch

from cdmllab import backbones, plots, results
from cdmllab.backbones import complexity, latency
from cdmllab.book import exercises, questions, session
from cdmllab.results.published import ROWS
from cdmllab.results.published_backbones import TABLE

lab = session.start(profile, seed)
nets = {name: backbones.create(name) for name in TABLE}
costs = {name: complexity.cost(net) for name, net in nets.items()}

# %% [markdown]
# ## The block
#
# A margin loss works on embeddings. The network that produces the embedding is the
# {term}`backbone`. So far in this book it was small enough to train in a minute. Published systems
# use **{term}`IResNet`**, the residual network of ArcFace's authors {cite}`deng2019arcface`. It is
# one block, stacked many times. Follow the two paths from left to right:

# %% tags=["remove-input"] mystnb={"figure": {"caption": "The first block of stages 2 to 4; /2 halves the map. c channels of h × w values enter, and twice as many channels of half the height and half the width leave. BN is batch normalisation.", "name": "fig-iresnet-block"}, "image": {"alt": "A row of six boxes, BN, 3x3, BN, PReLU, 3x3 with stride two, BN, and a shortcut below it with a 1x1 convolution and BN; both meet in a sum"}}
fig, (ax,) = plots.figure(width=7.4, height=1.9)
plots.residual_block(ax)

# %% [markdown]
# The block differs from the ResNet block {cite}`he2016resnet` in three ways. It *begins* with a
# normalisation. It halves the map in its *second* convolution, so the first one still works on the
# large map. And nothing follows the sum. Since only the first block of a stage has a convolution
# in its shortcut, values can pass through the rest of the stage unchanged.
#
# Around the blocks there is little. The stem is one 3x3 convolution at full size. Four stages
# follow; each begins with a halving block, and all but the first double the width. The last map,
# of $7 \times 7$ places, is flattened and projected to 512 dimensions by a linear layer. A last
# normalisation, whose gain is fixed at 1, gives every dimension of the embedding the same spread.
# {py:func}`backbones.create <cdmllab.backbones.create>` builds the whole network:

# %%
net = nets["r18_lite"].eval()
images = torch.zeros(2, 3, 112, 112)
print("last map", tuple(net.trunk(images).shape))
print("embedding", tuple(net(images).shape))

# %% [markdown]
# ## The published table, counted again
#
# What does such a network cost? Two counts answer that. A convolution from $c$ to $c'$ channels
# has a kernel of $k \times k$ and an output map of $h \times w$ places. It needs
#
# ```{math}
# :label: eq-conv-cost
# k^2\,c\,c' \ \text{parameters} \qquad\text{and}\qquad h\,w\,k^2\,c\,c'\ \text{MACs.}
# ```
#
# A **multiply-accumulate** (MAC) is one multiplication together with its addition. Every parameter
# is used once at every place of the map, so the second count is the first times $h\,w$.
# `complexity.cost` adds both up over a network, without computing anything.
#
# The repository DATN, where CDML comes from, published a table with the costs of nine networks.
# Its Lite networks are half as wide as the others, and `lightweight` is smaller still. Do our
# counts agree?

# %% tags=["hide-input"]
pairs = {name: (costs[name], row) for name, row in TABLE.items()}
session.Table(
    ["parameters", "all", "trained", "published", "what it counts"],
    [
        [name, f"{c.parameters:,}", f"{c.trained_parameters:,}",
         f"{row.parameters:,}", row.counted]
        for name, (c, row) in pairs.items()
    ],
)  # fmt: skip

# %% [markdown]
# Every number of parameters agrees exactly, once we know what is counted. For the four Lite
# networks the table counts only the **trained** parameters, without the 512 fixed gains of the
# last normalisation. For the other five it counts **all** of them.
#
# The second table compares the work of one image and the size of the network:

# %% tags=["hide-input"]
session.Table(
    ["", "10⁹ MACs", "as ptflops counts", "published GFLOPs", "MiB", "published MiB"],
    [
        [name, f"{c.gmacs:.3f}", f"{c.published_gflops:.3f}", f"{row.gflops:g}",
         f"{c.size_mib(row.sized):.2f}", f"{row.size_mib:.2f}"]
        for name, (c, row) in pairs.items()
    ],
)  # fmt: skip

# %% [markdown]
# For the eight IResNets, the published GFLOPs are what the tool ptflops prints, which DATN's
# [repository](https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/flops.py)
# calls. It counts MACs, plus two operations for each value that a normalisation or a PReLU
# produces. The sizes are four bytes per parameter. Apart from the last digit of R50's size, two
# sizes do not follow from the published counts: R18_lite's is off by half a megabyte, and R34's by
# 0.03 MiB.
#
# The ninth row follows the rules of the
# [file](https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/backbones/iresnet_lightweight.py)
# that defines the network. It counts plain MACs, and its size includes the running means and
# variances of the normalisations. Counted like the others, its 0.098 GFLOPs would be
# {glue:text}`light_ptflops:.3f`. Before you compare two published costs, find out how each was
# counted.
#
# ## The lightweight network
#
# `lightweight` is r18_lite with two changes. First, every $3 \times 3$ convolution of a block
# becomes two, which together are called a {term}`depthwise separable convolution`: a $3 \times 3$
# filter for each channel by itself, and then a $1 \times 1$ convolution that mixes the channels.
# Second, the last stage has 192 channels instead of 256. Depth, stem, shortcuts and the order of
# the layers stay the same. What does each change save?

# %% tags=["hide-input"]
steps = {
    "r18_lite": costs["r18_lite"],
    "with separable convolutions": complexity.cost(
        backbones.create("r18_lite", block="separable")
    ),
    "and 192 channels at the end": costs["lightweight"],
}
session.Table(
    ["", "parameters", "10⁹ MACs"],
    [[name, f"{c.parameters:,}", f"{c.gmacs:.3f}"] for name, c in steps.items()],
)

# %% tags=["remove-input"]
whole, separable, light = steps.values()
session.report(
    light_ptflops=light.published_gflops,
    light_products=1 - separable.macs / whole.macs,
    light_parameters=1 - separable.parameters / whole.parameters,
    light_narrower=1 - light.parameters / separable.parameters,
)

# %% [markdown]
# The two changes save different things. Separable convolutions remove
# {glue:text}`light_products:.0%` of the MACs and only {glue:text}`light_parameters:.0%` of the
# parameters, because most parameters are in the linear layer at the end. The narrower last stage
# gives that layer a quarter fewer inputs. Stage and layer together lose
# {glue:text}`light_narrower:.0%` of the remaining parameters.
#
# ## Where the cost is
#
# If parameters and MACs can be saved separately, they must be in different places. Compare the
# last colour, the linear layer, in the two panels:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Shares of the parameters (left) and of the MACs of an image (right), by part of the network.", "name": "fig-cost-shares"}, "image": {"alt": "Stacked bars for r18, r100, r18_lite and r100_lite; the linear layer is most of the parameters of r18_lite and next to nothing of its MACs"}}
parts = ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
words = ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "linear layer"]
shown = {
    name: complexity.stages(nets[name], parts)
    for name in ("r18", "r100", "r18_lite", "r100_lite")
}
fig, axes = plots.figure(2, width=7.6, height=2.3)
for column, title in enumerate(("parameters", "MACs")):
    amounts = {name: [part[column] for part in s] for name, s in shown.items()}
    plots.shares(axes[column], amounts, words, title=title)
key = fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6
)

# %% tags=["remove-input"]
full, lite = costs["r18"], costs["r18_lite"]
(full_linear, _, _), (lite_linear, _, _) = shown["r18"][-1], shown["r18_lite"][-1]
body = (full.parameters - full_linear) / (lite.parameters - lite_linear)
larger = complexity.cost(backbones.create("r18_lite", size=128))
session.report(
    larger_macs=larger.macs / lite.macs,
    larger_parameters=larger.parameters / 1e6,
    lite_parameters=lite.parameters / 1e6,
    lite_linear=100 * lite_linear / lite.parameters,
    lite_saved=100 * (1 - lite.parameters / full.parameters),
    lite_macs=full.macs / lite.macs,
    body=body,
)

# %% [markdown]
# The linear layer holds {glue:text}`lite_linear:.0f` % of the parameters of r18_lite, and does one
# MAC with each, which is next to nothing. The stages are the other way round. From one stage to
# the next, twice the width makes up for a quarter of the map, so a block does about the same
# number of MACs in every stage, while its parameters quadruple.
#
# What does a larger image cost? With 128 pixels a side instead of 112, r18_lite does
# {glue:text}`larger_macs:.2f` times the MACs, exactly as the area grows. The convolutions keep
# their parameters, and only the linear layer reads a larger map. The network grows from
# {glue:text}`lite_parameters:.1f` to {glue:text}`larger_parameters:.1f` million parameters.
#
# ## Halving
#
# Half the width everywhere divides the MACs by about four, to be exact by
# {glue:text}`lite_macs:.2f`. The parameters of the stages are divided by {glue:text}`body:.2f`.
# But the linear layer keeps its 512 outputs, so it only halves. R18 as a whole therefore loses
# {glue:text}`lite_saved:.0f` % of its parameters, which is the reduction that DATN states.
#
# Width and depth are two different ways to make a network smaller. In the figure, depth moves a
# network along its line, and width moves it from one line to the other:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The nine networks by parameters and MACs. Along a line the depth grows; from the upper line to the lower one the width is halved.", "name": "fig-cost-map"}, "image": {"alt": "Two rising lines of four points each, full and lite, and a single point far below, lightweight"}}
fig, (ax,) = plots.figure(width=5.6, height=3.2)
plots.costs(
    ax, {name: (c.parameters / 1e6, c.gmacs) for name, c in costs.items()}
)

# %% [markdown]
# ## Six ways to make it smaller
#
# DATN's results page, *DATN's page* for short, names four techniques behind its Lite networks:
# fewer channels, depthwise separable convolutions, efficient downsampling, and bottlenecks. Which
# of them are in the networks? The counts allow only the first, since plain half width gives all
# four published numbers exactly. Separable convolutions are in the lightweight network only, and
# the other two techniques are in none of the nine.
#
# All four are options of the same class (downsampling in two variants), and a fifth concerns the
# linear layer. So we can ask what each would save:

# %% tags=["hide-input"]
techniques = {
    "unchanged": {},
    "half the width once more": {"width": 16},
    "depthwise separable 3x3": {"block": "separable"},
    "bottlenecks": {"block": "bottleneck"},
    "halve in a block's first convolution": {"downsample": "early"},
    "halve in the stem": {"downsample": "stem"},
    "one value per channel before the linear layer": {"flatten": "depthwise"},
}
variants = {
    name: complexity.cost(backbones.create(model, **options))
    for name, options in techniques.items()
}
base = variants["unchanged"]
session.Table(
    [model, "parameters", "left", "10⁹ MACs", "left"],
    [
        [
            name,
            f"{c.parameters:,}",
            f"{c.parameters / base.parameters:.0%}",
            f"{c.gmacs:.3f}",
            f"{c.macs / base.macs:.0%}",
        ]
        for name, c in variants.items()
    ],
)

# %% tags=["remove-input"]
keys = ("whole", "half", "separable", "bottleneck", "early", "stem", "flat")
for key, c in zip(keys, variants.values(), strict=True):
    session.report(**{f"{key}_products": 1 - c.macs / base.macs})
    session.report(**{f"{key}_parameters": 1 - c.parameters / base.parameters})
linear = complexity.stages(backbones.create(model), parts)[-1][0]
session.report(linear=linear / base.parameters, model=model)

# %% [markdown]
# - **Half the width once more** removes {glue:text}`half_products:.0%` of the MACs and
#   {glue:text}`half_parameters:.0%` of the parameters. Again the linear layer only halves.
# - **Halving in a block's first convolution** loses no parameter and removes
#   {glue:text}`early_products:.0%` of the MACs, because in every stage one convolution moves from
#   the large map to the small one. Halving in the stem removes {glue:text}`stem_products:.0%`.
# - **Separable convolutions** and **bottlenecks** remove {glue:text}`separable_products:.0%` and
#   {glue:text}`bottleneck_products:.0%` of the MACs, but only
#   {glue:text}`separable_parameters:.0%` and {glue:text}`bottleneck_parameters:.0%` of the
#   parameters. They do not touch the linear layer, which holds {glue:text}`linear:.0%` of the
#   parameters of {glue:text}`model`.
# - **One value per channel** before the linear layer, a learned weighting of the 49 places, is
#   made for that layer. It removes {glue:text}`flat_parameters:.0%` of the parameters and
#   {glue:text}`flat_products:.0%` of the MACs. MobileFaceNet {cite}`chen2018mobilefacenets` does
#   this.
#
# What does each technique cost in accuracy? No count can tell, because that takes training.
#
# ## How far it sees
#
# A value of the last map depends only on a patch of the image, its **receptive field**. Must the
# patch cover the whole face? Each convolution widens it by $(k - 1)$ times the distance, in
# pixels, between two neighbours of its input map:
#
# ```{math}
# :label: eq-receptive-field
# r = 1 + \sum_l (k_l - 1) \prod_{i<l} s_i ,
# ```
#
# where $s_i$ are the strides of the layers before. The width does not occur in the formula, so a
# Lite network has the same receptive fields as the full one. Look for the stage in which each line
# crosses the size of the image:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Receptive field after each stage. The Lite networks have the same ones.", "name": "fig-receptive-field"}, "image": {"alt": "Four rising lines over stem and stages 1 to 4; those of r34, r50 and r100 pass the dashed line at 112 pixels in stage 3 or before, that of r18 in stage 4"}}
fields = {
    name: [seen for _, _, seen in complexity.stages(nets[name], parts[:5])]
    for name in ("r18", "r34", "r50", "r100")
}
fig, (ax,) = plots.figure(width=5.6, height=3.0)
plots.receptive_fields(ax, fields, words[:5], size=112)

# %% [markdown]
# From the middle of its last map, even r18 could see the whole face. The figure is easy to
# overrate, though, for two reasons.
#
# First, the receptive field is the *largest* patch that can matter. The influence of a pixel falls
# off from the middle like a bell, and with random weights the bell widens only with about the
# square root of the number of layers {cite}`luo2016receptive`. So more depth still widens what a
# place effectively sees, long after the line has passed 112 pixels.
#
# Second, no single place has to see the whole face. The linear layer behind the last map reads all
# 49 places together.
#
# ## How long it takes
#
# MACs are not time. A depthwise convolution does few of them for every value it fetches, a deep
# network starts many small operations, and a library may fuse what PyTorch does step by step. So
# we measure, on one thread. Each network takes turns with R18 in eager PyTorch, and the time of
# that R18 is the unit. A slow spell of the machine then slows both.

# %%
record = results.benchmark("backbones") or latency.measure(list(TABLE))
ways = latency.by_way(record)
print("Measured on:", record["device"])
if missing := [name for name in TABLE if name not in ways["eager"]]:
    print("Not measured there:", ", ".join(missing))
if len(ways) == 1:
    print("`cdmllab bench backbones` measures the other ways to run them.")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Time of one image, by network and way of running it, on one thread. \"published\" are the milliseconds of the published table, divided by those of its own R18.", "name": "fig-latency"}, "image": {"alt": "For each of nine networks a row of markers on a logarithmic time axis"}}
unit = TABLE["r18"].cpu_ms
published = {
    "published": {name: row.cpu_ms / unit for name, row in TABLE.items()}
}
fig, (ax,) = plots.figure(width=7.4, height=3.4)
plots.latencies(ax, ways | published)

# %% [markdown]
# The published times and ours come from two machines. Most of their ratios agree roughly, but not
# all: a table of milliseconds describes a machine as much as a network.
#
# How much does the way of running a network gain? The table gives the speed-up over eager PyTorch
# in float32 for two of the Lite networks, for a single image and, where it was measured, for 64 at
# once:

# %% tags=["hide-input"]
batches = latency.batches(record)
gains = {batch: latency.by_way(record, "speed_up", batch) for batch in batches}
columns = [
    (name, batch) for name in ("r18_lite", "r50_lite") for batch in batches
]
session.Table(
    ["speed-up", *(f"{name}, batch of {batch}" for name, batch in columns)],
    [[way, *(f"{gains[batch][way][name]:.2f}" for name, batch in columns)]
     for way in ways if way != "eager"],
)  # fmt: skip

# %% [markdown]
# The ways in float32 compute the same function, so their gain is free. bfloat16 and int8 round,
# and the processor measured here has units for both. A batch helps bfloat16 further, because a
# weight that is fetched once serves 64 images. ONNX Runtime gains less with a batch than with a
# single image, in float32 as well as in int8.
#
# How do you get there? `cdmllab export RUN --to onnx` writes a file for ONNX Runtime (a quantised
# one with `--int8`), and `--to openvino` writes the files for OpenVINO. Before a file is kept, it
# is compared with PyTorch, embedding by embedding and in verification accuracy. Within PyTorch,
# `net.speed_up(channels_last=True, compiled=True)` computes the same function faster.
#
# ## Which one for which machine
#
# Now turn the measurement round. For the time you can spend on a face, the table names the largest
# network, by MACs, that fits; networks that were not measured there are left out. Read a row for
# the software you may use, and a column for your budget:

# %% tags=["hide-input"]
milliseconds = latency.milliseconds(record)
products = {name: c.macs for name, c in costs.items()}
limits = (5, 10, 20, 50, 100)
session.Table(
    ["one face within", *(f"{limit} ms" for limit in limits)],
    [[way, *(latency.largest_within(times, products, limit) or "–" for limit in limits)]
     for way, times in milliseconds.items()],
)  # fmt: skip

# %% tags=["remove-input"]
on_ms1mv3 = {
    (row.backbone, row.loss): row.accuracy
    for row in ROWS
    if row.trained_on == "MS1MV3"
}
spread = [
    value
    for row in ROWS
    if row.trained_on == "MS1MV3" and row.backbone in ("r50_lite", "r100_lite")
    for value in row.spread.values()
]
r50_lite, r100_lite, r100 = (
    on_ms1mv3[name, "CDML"] for name in ("r50_lite", "r100_lite", "r100")
)
given = {name: r100[name] - r100_lite[name] for name in r100}
session.report(
    ahead=sum(r100_lite[name] > r50_lite[name] for name in r50_lite),
    behind=sum(r100_lite[name] < r50_lite[name] for name in r50_lite),
    compared=len(r50_lite),
    smallest=min(abs(r100_lite[name] - r50_lite[name]) for name in r50_lite),
    largest=max(abs(r100_lite[name] - r50_lite[name]) for name in r50_lite),
    least_spread=min(spread),
    most_spread=max(spread),
    given_lfw=given["lfw"],
    given_pose=" and ".join(f"{given[name]:.1f}" for name in ("cfp_fp", "cplfw")),
)

# %% [markdown]
# The times are those of one core of the machine named above. For another machine, run
# `cdmllab bench backbones` and this chapter again. The memory of a network is four bytes per
# parameter, two in half precision, one in int8.
#
# Do more MACs bring more accuracy? The results that DATN's page gives for MS1MV3 do not settle it.
# r100_lite does about twice the MACs of r50_lite. It is ahead on {glue:text}`ahead` of
# {glue:text}`compared` protocols and behind on {glue:text}`behind`. The differences are
# {glue:text}`smallest:.2f` to {glue:text}`largest:.2f` points.
#
# The page prints a ± of {glue:text}`least_spread:.1f` to {glue:text}`most_spread:.1f` with these
# accuracies, and there is one training of each network. From such differences we draw no
# conclusion.
#
# One comparison does stand out, that with the full R100. With the same loss, r100_lite is
# {glue:text}`given_pose` points below it on the two protocols across poses, which is several times
# the ±. On LFW it is {glue:text}`given_lfw:.1f` points below, which is not.
#
# ## Where we deviate
#
# Gradient checkpointing computes every block a second time, which would update the running means
# of its normalisations twice per step. With `net.speed_up(checkpointing=True)` they are updated
# once.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(8)

# %% [markdown]
# ## Exercises
#
# **8.1** How many parameters does the linear layer of r18_lite have for images of 128 x 128
# pixels, including the bias?

# %%
exercises.check("8.1", None)

# %% [markdown]
# <details><summary>Solution 8.1</summary>
#
# Four halvings leave a map of $8 \times 8$ with 256 channels:
# $256 \cdot 64 \cdot 512 + 512 = 8{,}389{,}120$. In code:
# `backbones.create("r18_lite", size=128).fc`.
#
# </details>
#
# **8.2** Write a function of `width_in`, `width_out`, `kernel`, `side` (of the output map) and
# `groups` that returns the MACs of a convolution. With groups, an output channel sees only the
# input channels of its own group.

# %%
exercises.check("8.2", None)

# %% [markdown]
# <details><summary>Solution 8.2</summary>
#
# {eq}`eq-conv-cost`, with the input channels divided by the groups:
# `lambda i, o, k, side, groups: o * side**2 * k**2 * (i // groups)`.
#
# </details>
#
# **8.3** Write a function that takes a list of `(kernel, stride)` and returns the receptive field
# by {eq}`eq-receptive-field`.

# %%
exercises.check("8.3", None)

# %% [markdown]
# <details><summary>Solution 8.3</summary>
#
# Carry two numbers along: the field so far, and the distance between neighbours.
#
# ```python
# def field(layers):
#     seen, step = 1, 1
#     for kernel, stride in layers:
#         seen, step = seen + (kernel - 1) * step, step * stride
#     return seen
# ```
#
# </details>
#
# **8.4** Find options that bring r18_lite below 3 million parameters (all of them, trained or not)
# and below 0.45 · 10⁹ MACs. Change only `downsample` and `flatten`, and answer with a dictionary.

# %%
exercises.check("8.4", None)

# %% [markdown]
# <details><summary>Solution 8.4</summary>
#
# `{"flatten": "depthwise", "downsample": "early"}`. The first saves parameters and the second
# MACs, and neither touches what the other saves.
#
# </details>
#
# ## Recap
#
# - IResNet is one block, stacked: normalise, convolve, normalise, activate, convolve and halve,
#   normalise, add.
# - A block does about the same number of MACs in every stage. The parameters are in the last
#   stages and in the linear layer. MACs grow with the area of the image; of the parameters, only
#   those of the linear layer do.
# - Half the width means a quarter of the MACs, but more than a quarter of the parameters, because
#   the linear layer only halves. Separable convolutions and bottlenecks save MACs and leave the
#   linear layer alone; one value per channel does the reverse. The published Lite networks use
#   plain half width and nothing else, and the lightweight network is r18_lite with separable
#   convolutions and a narrower last stage.
# - Even r18 can see the whole face. The receptive field is only the largest patch that can matter,
#   and the linear layer reads all places together.
# - Milliseconds belong to a network, a library and a machine together. Measure all three at once.
#
# The network is chosen and the data are ready. How is it trained, and how can we watch what the
# margin does to each sample meanwhile? Chapter 9 opens the training log.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`he2016resnet`, {cite:t}`chen2018mobilefacenets`,
# {cite:t}`luo2016receptive`.
