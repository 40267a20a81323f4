# ---
# cdmllab:
#   data: [results/benchmarks/backbones-cpu.json]
# ---
# %% [markdown]
# # IResNet, and how to halve it
#
# :::{admonition} After this chapter you can
# :class: tip
# - draw the block that nearly all published face recognisers are stacked from;
# - count parameters and products by hand, and say which of them depth, width and image size move;
# - tell which way of making a network smaller saves what, and which only seems to;
# - choose a backbone for a machine from measured times.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1 and convolutions. Nothing is trained: the chapter counts, and takes less than a minute.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of everything random; nothing here is
model = "r18_lite"  # an IResNet, which is made smaller half-way through

# %% tags=["hide-input"]
import torch

from cdmllab import backbones, plots, results
from cdmllab.backbones import complexity, latency
from cdmllab.book import exercises, session
from cdmllab.results.published import ROWS
from cdmllab.results.published_backbones import TABLE

lab = session.start(profile, seed)
nets = {name: backbones.create(name) for name in TABLE}
costs = {name: complexity.cost(net) for name, net in nets.items()}

# %% [markdown]
# ## The block
#
# A margin loss needs an embedding, and something has to make it: the {term}`backbone`. In the
# chapters before, that was a net small enough to train in a minute. The published systems use **{term}`IResNet`**,
# the residual network of ArcFace's authors {cite}`deng2019arcface`. It is a stack of one block.

# %% tags=["remove-input"] mystnb={"figure": {"caption": "The first block of stages 2 to 4; /2 halves the map. c channels of h x w numbers come in, twice as many channels of a quarter of the size go out. BN is batch normalisation.", "name": "fig-iresnet-block"}, "image": {"alt": "A row of six boxes, BN, 3x3, BN, PReLU, 3x3 with stride two, BN, and a shortcut below it with a 1x1 convolution and BN; both meet in a sum"}}
fig, (ax,) = plots.figure(width=7.4, height=1.9)
plots.residual_block(ax)

# %% [markdown]
# Three things tell it from the block of ResNet {cite}`he2016resnet`. It *begins* with a
# normalisation. The size is halved in the *second* convolution, so the first one still works on the
# large map. And nothing follows the sum: from the first block of a stage, the only one with a
# convolution in its shortcut, numbers pass through the rest of the stage as they are.
#
# Around the blocks there is little. A stem of one 3x3 convolution at full size; four stages, each
# of which begins with such a halving block, and of which all but the first double the width; then
# the last map of $7 \times 7$ is laid out in one row, and a linear layer makes 512 numbers of it. A
# last normalisation, whose gain is fixed at 1, gives every number of the embedding the same spread.
# {py:func}`backbones.create <cdmllab.backbones.create>` builds it.

# %%
net = nets["r18_lite"].eval()
images = torch.zeros(2, 3, 112, 112)
print("last map", tuple(net.trunk(images).shape))
print("embedding", tuple(net(images).shape))

# %% [markdown]
# ## The published table, counted again
#
# A convolution from $c$ to $c'$ channels with a $k \times k$ kernel, whose output map has
# $h \times w$ places, has
#
# ```{math}
# :label: eq-conv-cost
# k^2\,c\,c' \ \text{parameters} \qquad\text{and}\qquad h\,w\,k^2\,c\,c'\ \text{products.}
# ```
#
# A *product* is one multiplication with its addition. `complexity.cost` adds this up over a network
# without computing anything.

# %% tags=["hide-input"]
pairs = {name: (costs[name], row) for name, row in TABLE.items()}
session.Table(
    ["parameters", "all", "trained", "published", "it counts"],
    [
        [name, f"{c.parameters:,}", f"{c.trained_parameters:,}",
         f"{row.parameters:,}", row.counted]
        for name, (c, row) in pairs.items()
    ],
)  # fmt: skip

# %% [markdown]
# Every number of parameters agrees to the unit, once we know what is counted. Of the four Lite
# networks the table gives only the parameters that are **trained**, without the 512 fixed gains of
# the last normalisation. Of the other five it gives **all** of them.

# %% tags=["hide-input"]
session.Table(
    ["", "10⁹ products", "as ptflops counts", "published GFLOPs", "MiB", "published"],
    [
        [name, f"{c.gmacs:.3f}", f"{c.published_gflops:.3f}", f"{row.gflops:g}",
         f"{c.size_mib(row.sized):.2f}", f"{row.size_mib:.2f}"]
        for name, (c, row) in pairs.items()
    ],
)  # fmt: skip

# %% [markdown]
# The published GFLOPs of the eight IResNets are what the tool ptflops prints, which the method's
# [repository](https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/flops.py)
# calls: products, plus two operations for each number that a normalisation or a PReLU gives. The
# sizes are four bytes a parameter. Besides the last digit of R50's, two of them do not follow from
# the published counts, that of R18_lite by half a megabyte and that of R34 by 0.03.
#
# The ninth row is counted by rules of its own, those of the
# [file](https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/backbones/iresnet_lightweight.py)
# that defines the network: plain products, and a size that includes the running means and variances
# of the normalisations. Counted like the others, its 0.098 GFLOPs would be
# {glue:text}`light_ptflops:.3f`.
#
# ## The lightweight network
#
# `lightweight` is r18_lite with two changes. Every $3 \times 3$ convolution of a block becomes two
# convolutions, together called a {term}`depthwise separable convolution`: a $3 \times 3$ filter for
# each channel by itself, then a $1 \times 1$ convolution that mixes the channels. And the last
# stage has 192 channels instead of 256. Depth, stem, shortcuts and the order of the layers stay as
# they are.

# %% tags=["hide-input"]
steps = {
    "r18_lite": costs["r18_lite"],
    "with separable convolutions": complexity.cost(
        backbones.create("r18_lite", block="separable")
    ),
    "and 192 channels at the end": costs["lightweight"],
}
session.Table(
    ["", "parameters", "10⁹ products"],
    [[name, f"{c.parameters:,}", f"{c.gmacs:.3f}"] for name, c in steps.items()],
)

# %% tags=["remove-input"]
whole, separable, light = steps.values()
session.tell(
    light_ptflops=light.published_gflops,
    light_products=1 - separable.macs / whole.macs,
    light_parameters=1 - separable.parameters / whole.parameters,
    light_narrower=1 - light.parameters / separable.parameters,
)

# %% [markdown]
# The two changes do different work. Separable convolutions save {glue:text}`light_products:.0%` of
# the products, but only {glue:text}`light_parameters:.0%` of the parameters, because most
# parameters are in the linear layer at the end. The narrower last stage gives that layer a quarter
# fewer inputs: stage and layer together lose {glue:text}`light_narrower:.0%` of the parameters that
# were left.
#
# ## Where the cost sits

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Shares of the parameters (left) and of the products (right) of an image, by part of the network.", "name": "fig-cost-shares"}, "image": {"alt": "Stacked bars for r18, r100, r18_lite and r100_lite; the linear layer is most of the parameters of r18_lite and next to nothing of its products"}}
parts = ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
words = ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "linear layer"]
shown = {
    name: complexity.stages(nets[name], parts)
    for name in ("r18", "r100", "r18_lite", "r100_lite")
}
fig, axes = plots.figure(2, width=7.6, height=2.3)
for column, title in enumerate(("parameters", "products")):
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
session.tell(
    larger_macs=larger.macs / lite.macs,
    larger_parameters=larger.parameters / 1e6,
    lite_parameters=lite.parameters / 1e6,
    lite_linear=100 * lite_linear / lite.parameters,
    lite_saved=100 * (1 - lite.parameters / full.parameters),
    lite_macs=full.macs / lite.macs,
    body=body,
)

# %% [markdown]
# Parameters and products live in different places. A block does the same number of products in
# every stage, since twice the width on a quarter of the map makes up for it; its parameters
# quadruple from one stage to the next. The linear layer, at the very end, holds
# {glue:text}`lite_linear:.0f` % of r18_lite's parameters and does one product with each.
#
# A larger image has larger maps. With 128 pixels a side instead of 112, r18_lite does
# {glue:text}`larger_macs:.2f` times the products, as the area says. No convolution has a parameter
# more; only the linear layer reads a larger map, and the network goes from
# {glue:text}`lite_parameters:.1f` to {glue:text}`larger_parameters:.1f` million parameters.
#
# ## Halving
#
# Half the width everywhere divides the products by about four, by {glue:text}`lite_macs:.2f` to be
# exact. It also divides the parameters of the stages by {glue:text}`body:.2f`. But the linear layer
# keeps its 512 outputs, so it only halves, and the whole of R18 loses {glue:text}`lite_saved:.0f` %
# of its parameters: the published reduction. Depth and width are two different roads.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The nine networks by parameters and products. Along a line the depth grows; from the upper line to the lower one the width is halved.", "name": "fig-cost-map"}, "image": {"alt": "Two rising lines of four points each, full and lite, and a single point far below, lightweight"}}
fig, (ax,) = plots.figure(width=5.6, height=3.2)
plots.costs(
    ax, {name: (c.parameters / 1e6, c.gmacs) for name, c in costs.items()}
)

# %% [markdown]
# ## Six ways to make it smaller
#
# The method's description names four techniques behind its Lite networks: fewer channels, depthwise
# separable convolutions, efficient downsampling, bottlenecks. The counts above leave room for the
# first alone: plain half width meets all four published numbers to the unit. Separable convolutions
# are in the lightweight network only, the other two in none of the nine. All are options of the
# same class, so we can ask what each would save.

# %% tags=["hide-input"]
techniques = {
    "as it is": {},
    "half the width once more": {"width": 16},
    "depthwise separable 3x3": {"block": "separable"},
    "bottlenecks": {"block": "bottleneck"},
    "halve in a block's first convolution": {"downsample": "early"},
    "halve in the stem": {"downsample": "stem"},
    "one number a channel before the linear layer": {"flatten": "depthwise"},
}
variants = {
    name: complexity.cost(backbones.create(model, **options))
    for name, options in techniques.items()
}
base = variants["as it is"]
session.Table(
    [model, "parameters", "of them left", "10⁹ products", "of them left"],
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
    session.tell(**{f"{key}_products": 1 - c.macs / base.macs})
    session.tell(**{f"{key}_parameters": 1 - c.parameters / base.parameters})
linear = complexity.stages(backbones.create(model), parts)[-1][0]
session.tell(linear=linear / base.parameters, model=model)

# %% [markdown]
# - **Halving in a block's first convolution** is the cheapest change there is: no parameter less,
#   and {glue:text}`early_products:.0%` of the products gone, because in every stage one convolution
#   moves from the large map to the small one.
# - **Separable convolutions** and **bottlenecks** save {glue:text}`separable_products:.0%` and
#   {glue:text}`bottleneck_products:.0%` of the products, but {glue:text}`separable_parameters:.0%`
#   and {glue:text}`bottleneck_parameters:.0%` of the parameters. They do not touch the linear
#   layer, which holds {glue:text}`linear:.0%` of them in {glue:text}`model`.
# - **One number a channel**, a learnt weighting of the 49 places, is for that layer:
#   {glue:text}`flat_parameters:.0%` of the parameters go, and {glue:text}`flat_products:.0%` of the
#   products. It is what MobileFaceNet {cite}`chen2018mobilefacenets` does.
#
# What a technique costs in accuracy no count can tell, and neither does this table: that takes
# training.
#
# ## How far it sees
#
# One number of the last map depends on a patch of the image, its **receptive field**. Each
# convolution widens it by $(k - 1)$ times the distance in pixels between two neighbours of its
# input map:
#
# ```{math}
# :label: eq-receptive-field
# r = 1 + \sum_l (k_l - 1) \prod_{i<l} s_i ,
# ```
#
# with the strides $s_i$ of the layers before. Width is not in it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Receptive field after each stage. The Lite networks have the same ones.", "name": "fig-receptive-field"}, "image": {"alt": "Four rising lines over stem and stages 1 to 4; those of r34, r50 and r100 pass the dashed line at 112 pixels in stage 3 or before, that of r18 in stage 4"}}
fields = {
    name: [seen for _, _, seen in complexity.stages(nets[name], parts[:5])]
    for name in ("r18", "r34", "r50", "r100")
}
fig, (ax,) = plots.figure(width=5.6, height=3.0)
plots.receptive_fields(ax, fields, words[:5], size=112)

# %% [markdown]
# From the middle of its last map even r18 could see the whole face. Two things this figure leaves
# out. First, it is the *largest* patch that can matter. The influence of a pixel falls off from the
# middle like a bell, and with random weights the width of that bell grows only with about the
# square root of the number of layers {cite}`luo2016receptive`. So depth still widens what a place
# in effect sees, long after the line has passed 112. Second, no place has to see all of the face:
# the linear layer behind the last map reads its 49 places together.
#
# ## How long it takes
#
# Products are not time. A depthwise convolution does few of them for every number it fetches; a
# deep network starts many small ones; a library may fuse what PyTorch does step by step. So we
# measure on one thread, network after network, all ways to run one in turns with R18 in eager
# PyTorch: the R18 beside it is the unit, so that a slow spell of the machine counts on both sides.

# %%
record = results.benchmark("backbones") or latency.measure(list(TABLE))
ways = latency.by_way(record)
print("Measured on:", record["device"])
if missing := [name for name in TABLE if name not in ways["eager"]]:
    print("Not measured there:", ", ".join(missing))
if len(ways) == 1:
    print("`cdmllab bench backbones` measures the other ways to run them.")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Time of one image, by network and way of running it, on one thread. \"published\" are the milliseconds of the published table as ratios to its own R18.", "name": "fig-latency"}, "image": {"alt": "For each of nine networks a row of markers on a logarithmic time axis"}}
unit = TABLE["r18"].cpu_ms
published = {
    "published": {name: row.cpu_ms / unit for name, row in TABLE.items()}
}
fig, (ax,) = plots.figure(width=7.4, height=3.4)
plots.latencies(ax, ways | published)

# %% [markdown]
# The published ratios and ours come from two machines, and most agree roughly; take the differences
# as a warning that a table of milliseconds is about a machine as much as about a network.
#
# Two of the Lite networks in numbers: how many times as fast as eager PyTorch in float32 each way
# is, for one image and, where that was measured, for 64 at once.

# %% tags=["hide-input"]
batches = latency.batches(record)
gains = {batch: latency.by_way(record, "speed_up", batch) for batch in batches}
columns = [
    (name, batch) for name in ("r18_lite", "r50_lite") for batch in batches
]
session.Table(
    ["times as fast as eager", *(f"{name}, {batch}" for name, batch in columns)],
    [[way, *(f"{gains[batch][way][name]:.2f}" for name, batch in columns)]
     for way in ways if way != "eager"],
)  # fmt: skip

# %% [markdown]
# The ways in float32 compute the same function, so what they gain is free. bfloat16 and int8 round,
# and the processor has units for either. A batch helps bfloat16 further, because a weight fetched
# once serves 64 images. What ONNX Runtime gains over eager PyTorch in float32 shrinks with a
# batch, and int8, which runs there too, shrinks with it.
#
# How to get there: `cdmllab export RUN --to onnx` writes a file for ONNX Runtime, with `--int8` a
# quantised one, and `--to openvino` the files for OpenVINO. Each is compared with PyTorch before it
# is kept, embedding by embedding and in verification accuracy. Within PyTorch,
# `net.speed_up(channels_last=True, compiled=True)` computes the same sooner.
#
# ## Which one for which machine
#
# Turn the measurement round: for a time you can spend on a face, the network with most products
# that fits in.

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
session.tell(
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
# Read a row for the software you may use, and a column for your budget. The times are those of one
# core of the machine named above, each network's ratio times the same R18; on another, run
# `cdmllab bench backbones` and this chapter again. For memory, take a parameter as four bytes, two
# in half precision, one in int8.
#
# Do more products bring more accuracy? In the published results on MS1MV3, r100_lite has twice the
# products of r50_lite; it is ahead on {glue:text}`ahead` of {glue:text}`compared` protocols and
# behind on {glue:text}`behind`, by {glue:text}`smallest:.2f` to {glue:text}`largest:.2f` points,
# with a ± of {glue:text}`least_spread:.1f` to {glue:text}`most_spread:.1f` printed with these
# accuracies and one training of each: nothing can be read from that. Against the full R100 with the
# same loss r100_lite gives away {glue:text}`given_lfw:.1f` points on LFW, which is little, and
# {glue:text}`given_pose` on the two across poses, which is several times the ±.
#
# ## Where we deviate
#
# Gradient checkpointing computes every block a second time, which would move the running means of
# its normalisations twice a step; with `net.speed_up(checkpointing=True)` they move once.
#
# ## Exercises
#
# **8.1** How many parameters does the linear layer of r18_lite have for images of 128 x 128
# pixels, bias and all?

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
# `groups` that gives the products of a convolution. With groups, an output channel sees only the
# input channels of its group.

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
# **8.3** Write a function that takes a list of `(kernel, stride)` and returns the receptive field,
# {eq}`eq-receptive-field`.

# %%
exercises.check("8.3", None)

# %% [markdown]
# <details><summary>Solution 8.3</summary>
#
# Carry two numbers along, the field so far and the distance of neighbours:
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
# **8.4** Find options for r18_lite with fewer than 3 million parameters (all, not only those that
# are trained) and fewer than 0.45 · 10⁹ products, changing only `downsample` and `flatten`. Answer
# with a dictionary.

# %%
exercises.check("8.4", None)

# %% [markdown]
# <details><summary>Solution 8.4</summary>
#
# `{"flatten": "depthwise", "downsample": "early"}`: the first saves parameters, the second
# products, and neither touches what the other saves.
#
# </details>
#
# ## Recap
#
# - IResNet is one block, stacked: normalise, convolve, normalise, activate, convolve and halve,
#   normalise, add.
# - A block does about as many products in any stage, so they sit where the blocks are; parameters
#   sit in the last stages and in the linear layer.
# - Half the width is a quarter of the products, and less of a saving in parameters, because the
#   linear layer only halves.
# - The published Lite networks are plain half width; the other named techniques are not in their
#   counts. The lightweight network is r18_lite with separable convolutions and a narrower last
#   stage. Separable blocks and bottlenecks save products and leave the linear layer, where most of
#   r18_lite's parameters are; one number a channel does the reverse.
# - Products go with the area of the image. Of the parameters only the linear layer's do.
# - Milliseconds belong to a network, a library and a machine together: measure them together.
#
# ## References
#
# {cite:t}`deng2019arcface`, {cite:t}`he2016resnet`, {cite:t}`chen2018mobilefacenets`,
# {cite:t}`luo2016receptive`.
