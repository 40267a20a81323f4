# ---
# cdmllab:
#   data: [results/benchmarks/*.json, results/models/lab_small.safetensors]
# ---
# %% [markdown]
# # Millions of identities
#
# :::{admonition} After this chapter you can
# :class: tip
# - estimate on the back of an envelope what a head costs in memory, arithmetic and traffic, for any
#   number of identities and devices, and judge when the estimate can be trusted;
# - explain what a blocked head leaves out, and compare ways of writing a head on a real machine;
# - share class centres out over devices, and explain why that needs almost no traffic;
# - predict what sampling centres does to loss and gradient;
# - ship a network together with its input format and its threshold, and choose one for a machine.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 3 and 8. Nothing is trained. Some heads run for a moment and a network is exported, which
# takes about a minute on one core. The larger measurements are read from `results/benchmarks/`;
# {doc}`/benchmarks` has all of them.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of embeddings, class centres and draws
batch = 128  # samples of each device, in the counts
embedding_dim = 512  # dimensions of an embedding, in the counts

# %% tags=["hide-input"]
import numpy as np
import torch

from cdmllab import backbones, evaluate, faces, geometry, heads, plots, results
from cdmllab._util.memory import TensorPeak
from cdmllab.backbones import complexity, latency, weights
from cdmllab.book import benchmark_tables, exercises, questions, session
from cdmllab.data import pairs
from cdmllab.export import convert, onnx_file
from cdmllab.heads.cost import all_reduced, cost
from cdmllab.metrics import calibration
from cdmllab.preprocessing import INSIGHTFACE, apply
from cdmllab.results.published import FARS, ROWS, TEMPLATES
from cdmllab.results.published_backbones import TABLE

lab = session.start(profile, seed)
gib = 2**30

# %% [markdown]
# ## What grows
#
# Our trainings had at most about ten thousand identities; the largest training sets have millions.
# What breaks first?
#
# Not the backbone, which is as large for ten people as for ten million. The head grows: every
# identity has a class centre, and every sample is compared with every class centre. For $c$
# identities, $d$ dimensions and a batch of $b$, a training step holds
#
# ```{math}
# :label: eq-head-memory
# \underbrace{3\,c\,d}_{\text{centres, gradient, momentum}} + \underbrace{b\,c}_{\text{logits}}
# \quad\text{numbers, and does}\quad \underbrace{3\,b\,c\,d}_{\text{logits, two gradients}}
# \quad\text{multiply-accumulates.}
# ```
#
# A multiply-accumulate, or MAC, is one multiplication and one addition (chapter 8).
# `heads.cost.cost` does the same count in more detail. Which column becomes a problem first?

# %% tags=["hide-input"]
worlds = {
    "CASIA-WebFace": 10_575,
    "MS1MV3": 93_431,
    "a million": 10**6,
    "ten million": 10**7,
    "a hundred million": 10**8,
}
trunk = complexity.cost(backbones.create("r50"))
rows = []
for name, c in worlds.items():
    counted = cost(c, batch=batch, embedding_dim=embedding_dim, keep="matrix")
    held = [counted.centres, counted.kept, counted.logits]
    share = counted.products / (3 * batch * trunk.macs)
    sizes = (f"{value / gib:.3g}" for value in held)
    rows.append([name, f"{c:,}", *sizes, f"{share:.3g}"])
session.Table(
    [
        "identities",
        "c",
        "centres, GiB",
        "with gradient and momentum",
        "logits, GiB",
        "MACs / those of R50",
    ],
    rows,
)

# %% tags=["remove-input"]
even = trunk.macs / embedding_dim
session.report(
    batch=batch,
    even=f"{even / 1e6:.1f}",
)
large = cost(10**7, batch=batch, embedding_dim=embedding_dim, keep="matrix")
session.report(kept_10m=large.kept / gib)

# %% [markdown]
# The counts are for a batch of {glue:text}`batch`. For a long time arithmetic is no worry: only at
# {glue:text}`even` million identities does the head need as many MACs as an R50. Memory is a worry
# much earlier. At ten million identities the centres, their gradient and their momentum alone take
# {glue:text}`kept_10m:.0f` GiB, and a carelessly written head holds the *logits* several times
# over.
#
# ## One device: never build the matrix
#
# Written plainly, ArcFace is a chain of tensor operations: normalise, multiply, arc cosine, add,
# cosine, scale, softmax. Each one makes another $b \times c$ matrix, and autograd keeps most of
# them for the backward pass. But who needs the matrix? The loss of a sample is
#
# ```{math}
# :label: eq-partition
# L_i = \log\bigl(e^{s\,\psi(\theta_y)} + Z_i\bigr) - s\,\psi(\theta_y), \qquad
# Z_i = \sum_{j \ne y} e^{s \cos\theta_j},
# ```
#
# and only $Z_i$ looks at all class centres. It is a sum, so we can add it up one block of centres
# at a time, with a running maximum to keep the exponentials from overflowing
# {cite}`milakov2018online`. In the backward pass each block is computed once more, which makes
# $4\,b\,c\,d$ MACs instead of $3\,b\,c\,d$. The margin touches a single number per sample and stays
# outside the blocks. This is the head `backend="blocked"`.
#
# Do the counts match reality? We run three heads and let `TensorPeak` add up the tensors that are
# alive during a step, forward and backward. Centres and momentum, which exist before the step, are
# not included. For the head that keeps one matrix, the prediction is then {eq}`eq-head-memory`
# without its centres and momentum; for the blocked head, one block replaces the matrix.

# %%
sizes = [2_000, 8_000, 32_000, 128_000]
small = {"embedding_dim": 64, "batch": 64}
ways = {
    "one block at a time": {"backend": "blocked"},
    "one matrix, kept": {"backend": "blocked", "keep_logits": True},
    "plain tensor operations": {"backend": "dense"},
}
dots = {}
for name, way in ways.items():
    peaks = []
    for c in sizes:
        torch.manual_seed(seed)
        head = heads.create("arcface", embedding_dim=64, num_identities=c, **way)
        x, y = torch.randn(64, 64, requires_grad=True), torch.arange(64)
        with TensorPeak() as peak:
            head(x, y).loss.backward()
        peaks.append(peak.mib)
    dots[name] = sizes, peaks

# %% tags=["hide-input"]
reach = np.geomspace(sizes[0], sizes[-1], 40).astype(int)
lines = {}
for name, keep in (
    ("one block at a time", "block"),
    ("one matrix, kept", "matrix"),
):
    found = [cost(c, keep=keep, block_cells=2**18, **small) for c in reach]
    lines[name] = [(f.memory - f.centres - f.momentum) / 2**20 for f in found]

# %% [markdown]
# The dots are measured, the lines are predictions. Watch the distance between them at both ends.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Memory of a step beyond centres and momentum, for 64 samples of 64 dimensions and three ways of writing the same loss. Lines: counted on paper. Dots: measured while it runs.", "name": "fig-head-memory"}, "image": {"alt": "Two rising lines with dots that lie clearly above them at the left end and on them at the right end, and markers of plain tensor operations several times above both"}}
fig, (ax,) = plots.figure(width=6.2, height=3.0)
plots.against_identities(ax, reach, lines, ylabel="MiB", dots=dots)
_ = ax.set_xticks(sizes)

# %% tags=["remove-input"]
matrix = 64 * sizes[-1] * 4 / 2**20
gradient = matrix  # 64 samples and 64 numbers: the same size
for key, name in (
    ("dense", "plain tensor operations"),
    ("blocked", "one block at a time"),
):
    session.report(**{f"{key}_matrices": (dots[name][1][-1] - gradient) / matrix})
over = {
    c: [
        dots[name][1][at] / np.interp(c, reach, line) - 1
        for name, line in lines.items()
    ]
    for at, c in enumerate(sizes)
}
session.report(
    **{
        f"over_{c}": f"{min(values):.0%} to {max(values):.0%}"
        for c, values in over.items()
    }
)

# %% [markdown]
# For few identities the counts are too low. At 2,000 identities the dots lie {glue:text}`over_2000`
# above their lines, and at 8,000 still {glue:text}`over_8000`. The counts leave out whatever does
# not grow with the identities, such as working copies of a block, and in a small head that is a
# large share. It matters less and less: at 128,000 identities the gap is {glue:text}`over_128000`.
# So trust the envelope where memory is scarce, and not for small heads.
#
# How do the heads compare with each other? All of them need the gradient of the centres. Beyond
# it, at 128,000 identities, the plain form holds {glue:text}`dense_matrices:.1f` matrices of logits
# at once, and the blocked one {glue:text}`blocked_matrices:.2f`.
#
# Is a blocked head also faster? The benchmark below measures time as a multiple of the three matrix
# products alone, in float32, and memory as a multiple of the gradient of the centres. A head that
# computes in float32 cannot get below 1 in either. *Buffer* keeps one matrix of logits,
# *recomputing* keeps none, and the last three are other people's ways. In the figure ours are
# filled; the best corner is at the lower left.

# %% tags=["hide-input"]
benchmark_tables.report("heads")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Heads by time and peak memory, for a batch against the identities of CASIA-WebFace and of MS1MV3. Filled: ours. Same data as the table.", "name": "fig-heads"}, "image": {"alt": "Two panels of markers; all filled dots but one near the lower left corner, the open squares further right and above, and our dense head, filled too, at the upper right"}}
record = results.benchmark("heads")
if record is not None:
    fig, axes = plots.figure(len(record["shapes"]), width=7.8, height=3.2)
    for ax, shape in zip(axes, record["shapes"].values(), strict=True):
        taken = [
            plots.MeasuredHead(
                row["head"],
                row["ratio_to_limit"],
                row["peak_mib"] / shape["centre_gradient_mib"],
                row["head"].startswith("ours"),
            )
            for row in shape["heads"]
        ]
        title = f"{shape['batch']} x {shape['identities']:,}"
        plots.measured_heads(ax, taken, first=ax is axes[0], title=title)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

# %% [markdown]
# Two rows deserve a comment. *bf16 products* multiplies in bfloat16 where the processor can, while
# sums stay in float32. It is the only row outside the float32 limit, so its time may be below 1.
# *CDML* costs the same as ArcFace, because its margin is one number per sample.
#
# ### On a GPU
#
# A GPU with more memory has room for a million identities. Compare the times of ours and the others
# at the smallest and at the largest size:

# %% tags=["hide-input"]
benchmark_tables.report("heads", "cuda")

# %% tags=["remove-input"]
on_gpu = results.benchmark("heads", "cuda")["shapes"]
ours, peer = (
    [row for s in on_gpu.values() for row in s["heads"] if row["head"] == head]
    for head in ("ours, recomputing", "arcface_torch, model of")
)
time, peer_time = (
    [row["ratio_to_limit"] for row in rows] for rows in (ours, peer)
)
session.report(
    gpu_few_ms=on_gpu["casia"]["limit_ms"],
    gpu_ours=ours[-1]["peak_mib"] / 1024,
    gpu_peer=peer[-1]["peak_mib"] / 1024,
    gpu_sizes=len(time),
    gpu_slower=sum(a > b for a, b in zip(time, peer_time, strict=True)),
    gpu_times=", ".join(f"{a:.1f}" for a in time),
    gpu_peer_times=", ".join(f"{a:.1f}" for a in peer_time),
)

# %% [markdown]
# With ten thousand identities no head comes near the limit. The three products take
# {glue:text}`gpu_few_ms` ms, and what we measure is how fast Python can start small operations.
# Ours starts the most of them. In a training step this matters little: the GPU is busy with the
# backbone while the head's operations are queued, unless the code asks the GPU for a value in
# between.
#
# Our recomputing head takes {glue:text}`gpu_times` times the limit at the {glue:text}`gpu_sizes`
# sizes of the table, and the model of arcface_torch {glue:text}`gpu_peer_times`. So it is the
# slower one at {glue:text}`gpu_slower` of {glue:text}`gpu_sizes` sizes. What that time buys is
# memory: at the largest size it holds {glue:text}`gpu_ours:.1f` GiB, the other
# {glue:text}`gpu_peer:.1f`.
#
# ## Many devices: share the centres out
#
# Data-parallel training copies the whole model to every device and averages the gradients. For a
# head this is wasteful twice over: every device would hold all centres, and the gradient of all
# centres would travel at every step.
#
# Instead, let $R$ **{term}`ranks <rank>`** share the centres. A rank is one process, usually with
# one device, and each holds $c/R$ centres. A step then runs as follows. The embeddings of all ranks
# go to all ranks. Each rank adds up $Z_i$ over *its* centres. What remains to be combined is two
# numbers per sample: with $h_r$ the largest logit of rank $r$ and $t_r = \sum_j e^{z_j - h_r}$ over
# its centres,
#
# ```{math}
# :label: eq-combine
# \log Z = h + \log \sum_r t_r\, e^{h_r - h}, \qquad h = \max_r h_r .
# ```
#
# We can check this without a cluster, by letting four slices of one matrix play four ranks:

# %%
torch.manual_seed(seed)
z = 64 * geometry.cosine(torch.randn(256, 128), torch.randn(20_000, 128))
slices = z.double().chunk(4, dim=1)
highest = torch.stack([part.amax(dim=1) for part in slices])  # [r, b]
total = torch.stack([(p - p.amax(1, True)).exp().sum(1) for p in slices])
h = highest.amax(dim=0)
log_z = h + (total * torch.exp(highest - h)).sum(dim=0).log()
print("off by", float((log_z - z.double().logsumexp(dim=1)).abs().max()))

# %% [markdown]
# In the backward pass every rank already has the complete gradient of *its* centres, and nothing
# about them needs to be sent. What travels is the batch: its embeddings on the way out, their
# gradients on the way back. In a ring {cite}`patarasuk2009bandwidth`, with $b$ samples on each
# rank, each rank sends
#
# ```{math}
# :label: eq-traffic
# \underbrace{(R - 1)\,b\,d}_{\text{embeddings, to all}} +
# \underbrace{(R - 1)\,b\,d}_{\text{their gradients, added up}}
# \quad\text{numbers,}
# ```
#
# and a few more per sample. Data-parallel copies of all centres would send
# $2\,\tfrac{R - 1}{R}\,c\,d$.
#
# Our head is a little simpler than that and pays for it. The second term belongs to a
# *reduce-scatter*, in which a rank receives the sum of the gradients only for its own $b$ samples;
# arcface_torch does it this way. Ours adds up the gradients of all samples on all ranks, an
# *all-reduce*, which sends $2\,(R - 1)\,b\,d$. Of the few numbers per sample, {eq}`eq-combine`
# needs two. Our head adds up seven and gathers the labels, because some losses also ask for the
# positive cosine or the hardest negatives.
#
# The table counts what our head sends for a million identities:

# %% tags=["hide-input"]
rows = []
for ranks in (2, 8, 64):
    found = cost(10**6, batch=batch, ranks=ranks, embedding_dim=embedding_dim)
    copied = all_reduced(4 * embedding_dim * 10**6, ranks)
    told = (found.traffic / 2**20, copied / 2**20, copied / found.traffic)
    rows.append([ranks, *(f"{value:,.1f}" for value in told)])
session.Table(
    ["ranks", "shared out, MiB per step", "copied, MiB per step", "ratio"], rows
)

# %% [markdown]
# The second column does not depend on the number of identities at all; it grows with the batch of
# all ranks.
#
# Does it work in practice? The next benchmark runs two ranks on one machine. Two cores that share a
# memory are not two GPUs, but the arithmetic is the same.

# %% tags=["hide-input"]
benchmark_tables.report("heads_sharded")

# %% [markdown]
# In code, sharing out is one word: `heads.create(..., backend="sharded")` under `torchrun`. Loss
# and gradients equal those of one process with the whole batch, and a checkpoint can be loaded on a
# different number of ranks ({doc}`/gpu`).
#
# ## Fewer centres per step: Partial FC
#
# Is every class centre needed in every step? Most are at right angles to a sample and contribute
# almost nothing to its gradient. {term}`Partial FC` {cite}`an2021partialfc,an2022killing` keeps the
# class centres of the batch and draws others at random, so that a share $q$ of all takes part. MACs
# and logits shrink to that share. Centres, gradient and momentum stay.
#
# What does this do to loss and gradient? We compare sampled steps with the full one at two moments
# of a training: *early*, when a sample lies at 90 degrees to its positive centre, and *late*.
#
# How late can it be? Chapter 3 found that a sample falls silent at an angle that depends on scale
# and margin. With {glue:text}`pfc_identities` random centres in {glue:text}`embedding_dim`
# dimensions that happens near 50 degrees, which is therefore our *late*: at 40 degrees the
# mean of $1 - p_y$ is only {glue:text}`silent:.0e`, and nothing is left to compare. (In 128
# dimensions it would still be {glue:text}`crowded:.2f`, because random centres lie nearer to each
# other there.)

# %% tags=["hide-input"]
c, rates = 10_575, [0.02, 0.05, 0.1, 0.2, 0.5]
y = torch.arange(batch) * (c // batch)


def seeded(d: int = embedding_dim, **options) -> heads.MarginHead:
    torch.manual_seed(seed)
    kind = {"embedding_dim": d, "num_identities": c, "backend": "sharded"}
    return heads.create("arcface", **kind, **options).double()


def at_degrees(degrees: float, d: int = embedding_dim) -> torch.Tensor:
    own = geometry.unit(seeded(d).centres.detach()[y])
    away = torch.randn(batch, d, dtype=torch.float64)
    return geometry.point_at(own, away, np.radians(degrees))


def step(head: heads.MarginHead, x: torch.Tensor) -> tuple:
    x = x.detach().requires_grad_()
    out = head(x, y)
    weight = float((1 - torch.exp(-out.sample_loss.detach())).mean())
    gradients = torch.autograd.grad(out.loss, [x, head.centres])
    return out.loss.item(), weight, *(g.flatten() for g in gradients)


# %%
states = {
    "early, 90 degrees": at_degrees(90.0),
    "late, 50 degrees": at_degrees(50.0),
}
off, turned, along, weight = {}, {}, {}, {}
cos = torch.nn.functional.cosine_similarity
for name, x in states.items():
    whole, weight[name], dx, dw = step(seeded(), x)
    for rate in rates:  # three draws for each share, against the full step
        drawn = [
            step(seeded(sample_rate=rate, sample_seed=k), x) for k in (1, 2, 3)
        ]
        off[name, rate] = np.mean([s[0] for s in drawn]) - whole
        turned[name, rate] = (
            np.mean([float(cos(s[2], dx, dim=0)) for s in drawn]),
            np.mean([float(cos(s[3], dw, dim=0)) for s in drawn]),
        )
        weight[name, rate] = np.mean([s[1] for s in drawn])
        along[name, rate] = np.mean([float(s[2] @ dx / (dx @ dx)) for s in drawn])

# %% [markdown]
# In the left panel, see how far the loss of a sampled step lies below the full one; in the right
# panel, how far its gradient turns away.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A sampled step compared with the full one, mean of three draws, early (solid) and late (dashed) in a training. Left: how much lower the loss is; the logarithm of the share is dotted. Right: the cosine between the sampled and the full gradient on the embeddings.", "name": "fig-partial"}, "image": {"alt": "Left: two rising curves; the early one lies just below the dotted logarithm of the share, the late one well above it. Right: two rising curves that end near one at a share of one half, the early one above the late one"}}
fig, axes = plots.figure(2, width=7.6, height=2.9)
looks = dict(zip(states, ("-", "--"), strict=True))
plots.lines(
    axes[0],
    rates,
    [
        *(
            plots.Line(n, "chance", [off[n, r] for r in rates], looks[n])
            for n in states
        ),
        plots.Line("log of the share", "chance", np.log(rates), ":"),
    ],
    xlabel="share of the centres",
    ylabel="loss, sampled - full",
)
plots.lines(
    axes[1],
    rates,
    [
        plots.Line(n, "chance", [turned[n, r][0] for r in rates], looks[n])
        for n in states
    ],
    xlabel="share of the centres",
    ylabel="cosine to the full gradient",
)

# %% tags=["remove-input"]
for key, name in zip(("early", "late"), states, strict=True):
    session.report(
        **{
            f"off_{key}": float(off[name, 0.1]),
            f"turned_{key}": float(turned[name, 0.1][0]),
            f"centres_{key}": float(turned[name, 0.1][1]),
            f"along_{key}": float(along[name, 0.1]),
            f"weight_{key}": float(weight[name]),
            f"sampled_{key}": float(weight[name, 0.1]),
        },
    )
session.report(
    log_tenth=float(np.log(0.1)),
    silent=step(seeded(), at_degrees(40.0))[1],
    crowded=step(seeded(128), at_degrees(40.0, 128))[1],
    pfc_identities=f"{c:,}",
    embedding_dim=embedding_dim,
)

# %% [markdown]
# **The loss.** With a tenth of the centres, the loss changes by {glue:text}`off_early:.2f` early
# and by {glue:text}`off_late:.2f` late. The logarithm of a tenth is {glue:text}`log_tenth:.2f`. The
# change would be exactly that if all negative centres had an equal share of $Z_i$ and the positive
# one did not count. Early in training this is nearly true, except that a few centres happen to be
# close and most draws miss them. Late, the positive centre does count, and a loss that is already
# small cannot fall by much. In short, **losses at different shares cannot be compared**.
#
# **The direction of the gradient.** On the embeddings, the sampled gradient has a cosine of
# {glue:text}`turned_early:.2f` to the full one early and of {glue:text}`turned_late:.2f` late. The
# part towards the positive centre keeps its direction, while the part away from negative centres
# comes from other centres than it would have. On the class centres the cosines are
# {glue:text}`centres_early:.2f` and {glue:text}`centres_late:.2f`: centres that were not drawn do
# not move, and get their turn in another step.
#
# **The length of the gradient.** Do many sampled steps add up to full ones, as small batches add up
# to large ones? They do not. With fewer negative centres the softmax believes a sample to be better
# than it is. Late, the mean of $1 - p_y$, which is the weight of a sample in the gradient, falls
# from {glue:text}`weight_late:.2f` to {glue:text}`sampled_late:.2f`. (Early it stays at
# {glue:text}`sampled_early:.2f`, compared with {glue:text}`weight_early:.2f`.) The attraction to
# the positive centre shrinks with this weight. The repulsion has the same weight to distribute, and
# hands it to whichever centres were drawn, so that on average over many draws it shrinks too.
# Measured along the full gradient on the embeddings, the sampled one keeps
# {glue:text}`along_early:.0%` of the length early and {glue:text}`along_late:.0%` late.
#
# Does it hurt? Partial FC's authors report that accuracy hardly suffers at a tenth. We have not
# measured this; it takes a training with very many identities.
#
# ## From ten thousand to a hundred million
#
# Now we put everything together on paper: the memory of one device for the head alone, with
# {glue:text}`batch` samples per device and without the backbone.

# %%
identities = np.geomspace(1e4, 1e8, 33).astype(int)
arrangements = {
    "1 device, matrix kept": {"keep": "matrix"},
    "1 device, blocks": {},
    "8 devices, blocks": {"ranks": 8},
    "64 devices, blocks": {"ranks": 64},
    "64, a tenth a step": {"ranks": 64, "sample_rate": 0.1},
}
counted = {
    name: [
        cost(c, batch=batch, embedding_dim=embedding_dim, **how)
        for c in identities.tolist()
    ]
    for name, how in arrangements.items()
}

# %% [markdown]
# Where does each line start to rise in proportion to the identities, and which of them stay below a
# GPU's memory at the right end?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Memory of one device for the head, counted. Dotted: the memory of two common kinds of GPU.", "name": "fig-to-100m"}, "image": {"alt": "Five lines that rise with the number of identities; from a hundred thousand on those of one device, which nearly coincide, lie highest, then that of 8 devices, then those of 64, which coincide from a few million on; at a hundred million those of 64 stay below 16 GiB, that of 8 just below 80"}}
fig, (ax,) = plots.figure(width=6.6, height=3.4)
held = {n: [f.memory / gib for f in found] for n, found in counted.items()}
limits = {"80 GiB": 80.0, "16 GiB": 16.0}
plots.against_identities(ax, identities, held, ylabel="GiB", limits=limits)
_ = ax.set_xticks([10**k for k in range(4, 9)])

# %% tags=["hide-input"]
rows, totals = [], {}
for name, how in arrangements.items():
    at = [
        cost(10**k, batch=batch, embedding_dim=embedding_dim, **how)
        for k in (5, 6, 7, 8)
    ]
    load = at[-1].products / (3 * batch * trunk.macs)
    memory = (f"{one.memory / gib:,.2f}" for one in at)
    totals[name] = [one.memory / gib for one in at]
    rows.append([name, *memory, f"{load:,.1f}", f"{at[-1].traffic / 2**20:,.0f}"])
session.Table(
    [
        "GiB per device",
        "100k",
        "1M",
        "10M",
        "100M",
        "MACs / R50's, at 100M",
        "MiB sent per step",
    ],
    rows,
)

# %% tags=["remove-input"]
for key, name in (
    ("whole", "64 devices, blocks"),
    ("sampled", "64, a tenth a step"),
):
    session.report(
        **{
            f"{key}_1m": totals[name][1],
            f"{key}_100m": totals[name][3],
        },
    )
session.report(eight_100m=totals["8 devices, blocks"][3])
for key in ("cpu", "cuda"):
    shapes = results.benchmark("heads", key)["shapes"].values()
    most = max(shape["identities"] for shape in shapes)
    session.report(**{f"most_{key}": f"{most:,}"})

# %% [markdown]
# The *matrix* of logits is the easiest part to avoid, and blocks avoid it. What remains is
# $3\,c\,d$, and only *sharing out* divides that.
#
# *Sampling* does not. It makes the block of logits smaller where fewer centres are left than fill a
# block, but adds copies of the drawn centres. On 64 devices, a million identities then take
# {glue:text}`sampled_1m:.2f` instead of {glue:text}`whole_1m:.2f` GiB, and a hundred million
# {glue:text}`sampled_100m:.2f` instead of {glue:text}`whole_100m:.2f`. What sampling divides are
# the **MACs**. At a hundred million identities the head would otherwise need many times the
# backbone's on every device, because each device sees the samples of all.
#
# Two details. The head in the first row of the table needs $3\,b\,c\,d$ MACs, heads with blocks
# $4\,b\,c\,d$. And a head that keeps its logits saves more memory by sampling, which is how Partial
# FC was presented. Beyond all this, the momentum could be dropped or stored in half precision,
# which this package does not do.
#
# How much of this has been measured? The two tables of heads above go up to {glue:text}`most_cpu`
# identities on a CPU, by the peak memory of a process, and up to {glue:text}`most_cuda` on a GPU.
# Everything beyond is counted.
#
# ## A training step
#
# The head is only one part of a step. How many images per second pass through backbone, head and
# optimiser together?

# %% tags=["hide-input"]
benchmark_tables.report("training")

# %% [markdown]
# On a GPU, two changes pay most: *channels last*, which stores the channels of each pixel next to
# each other, and compiling the network.

# %% tags=["hide-input"]
benchmark_tables.report("training", "cuda")

# %% [markdown]
# ## Shipping a network
#
# At test time the head is gone. What remains is a function from images to embeddings, and three
# things that belong to it: how an image becomes its input, which threshold fits its scores, and
# evidence that the exported file computes what the network did.
#
# **The input.** insightface's networks take RGB in $[-1, 1]$, AdaFace's take BGR, and MagFace's
# take BGR in $[0, 1]$. A network that is fed wrongly does not fail. It returns worse embeddings,
# and nobody notices. Our files therefore state what they expect:

# %%
path = results.folder() / "models/lab_small.safetensors"
network, said = weights.load_release(path)
print(said.name, said.options, said.preprocessing)

# %%
strangers, stranger, _ = faces.album(160, 5, first=30_000)
stranger = stranger.numpy()
given = said.preprocessing
inputs = {
    "as the file says": given,
    "red and blue exchanged": {**given, "channels": "BGR"},
    "pixels in [0, 1]": {**given, "mean": [0.0] * 3, "std": [1.0] * 3},
}
embedded = {
    name: evaluate.embed(network, apply(strangers, how))
    for name, how in inputs.items()
}

# %% [markdown]
# **The file.** `cdmllab export RUN --to onnx --int8` writes an ONNX file and compares it with
# PyTorch on faces and on noise. The file is kept only if embeddings and verification accuracy
# agree. Int8 {cite}`jacob2018quantization` stores each weight in one byte and computes in integers;
# its scales are calibrated on faces. How much accuracy does that cost?

# %% tags=["hide-input"]
file = lab.runs / "small-int8.onnx"
exported = convert.export(path, "onnx", output=file, int8=True, identities=60)
rows = [
    [
        name,
        f"{one.faces_cosine_mean:.5f}",
        f"{one.faces_cosine_min:.4f}",
        f"{one.accuracy_before:.2%}",
        f"{one.accuracy_after:.2%}",
    ]
    for name, one in exported.agreement.items()
]
session.Table(
    ["ONNX", "cosine to PyTorch, mean", "smallest", "accuracy before", "after"],
    rows,
)

# %% tags=["remove-input"]
full = sum(p.numel() for p in network.parameters()) * 4 / 2**20
session.report(
    int8_mib=file.stat().st_size / 2**20,
    full_mib=full,
)

# %% [markdown]
# The int8 file takes {glue:text}`int8_mib:.2f` MiB, the float32 weights {glue:text}`full_mib:.2f`.
# Its input is insightface's whatever the network was trained on, because the file itself converts
# what differs.
#
# **The threshold.** A threshold belongs to a network, its input and its format. To see this, we
# choose one for a FAR of 1 % on some people, with the network as it was trained. Then we apply that
# number to other people, with the network run in four ways. The middle columns show what happens if
# the threshold is kept, and the right-hand ones what a threshold chosen anew could still save.

# %% tags=["hide-input"]
run = onnx_file.runtime(file)
embedded["int8 file"] = run(apply(strangers, {**INSIGHTFACE, "size": 32}).numpy())
chosen_on = stranger < 60  # of 160 people
parts = {}
for name, e in embedded.items():
    for part, rows in (("chosen", chosen_on), ("judged", ~chosen_on)):
        among = pairs.every(stranger[rows])
        parts[name, part] = (
            evaluate.scores(np.asarray(e)[rows], among),
            among.same,
        )
threshold = calibration.threshold_at_far(
    *parts["as the file says", "chosen"], 0.01
)
rows, rates_at = [], {}
for name in embedded:
    as_chosen = calibration.decide(*parts[name, "judged"], threshold)
    own_threshold = calibration.threshold_at_far(*parts[name, "chosen"], 0.01)
    refitted = calibration.decide(*parts[name, "judged"], own_threshold)
    told = [r.value for d in (as_chosen, refitted) for r in (d.far, d.tar)]
    rates_at[name] = told[:2]
    rows.append([name, *(f"{value:.1%}" for value in told)])
session.Table(
    [
        f"threshold {threshold:.3f}",
        "FAR",
        "TAR",
        "FAR, new threshold",
        "TAR, new threshold",
    ],
    rows,
)

# %% tags=["remove-input"]
for key, name in (
    ("right", "as the file says"),
    ("int8", "int8 file"),
    ("range", "pixels in [0, 1]"),
    ("bgr", "red and blue exchanged"),
):
    session.report(
        **{
            f"far_{key}": rates_at[name][0],
            f"tar_{key}": rates_at[name][1],
        },
    )

# %% [markdown]
# The int8 file may keep the threshold of the network it was made from: its FAR is
# {glue:text}`far_int8:.1%` instead of {glue:text}`far_right:.1%`. A wrong input is another matter.
# With pixels in $[0, 1]$ the FAR becomes {glue:text}`far_range:.1%`, with exchanged colours
# {glue:text}`far_bgr:.1%`. A new threshold repairs the FAR, but the TAR in the last column shows
# what is lost for good.
#
# So a published threshold is worth nothing without its network, its input and its scale. The 0.705
# recommended in DATN's code is an example: it is a cosine *distance*, of a network fed in $[0, 1]$
# ({doc}`/executed/11_verification` has the scales).
#
# ## Which network?
#
# DATN's page, the results page of CDML's repository (chapter 13), ends with a guide: r50_lite or
# r18_lite for real time on a CPU, r100_lite or R100 for accuracy, R100 with CDML for research. The
# guide rests on the page's own accuracies and milliseconds.
#
# The table lists the published accuracies next to what we measured: for each network, the fastest of
# {glue:text}`ways` ways to run it on one core. Read it with care. The fastest way was
# {glue:text}`fastest`, and the accuracies were not measured that way. bf16 is this fast only on a
# processor that has units for it. And `lightweight` is a distilled network, which learned from a
# larger one.

# %% tags=["hide-input"]
record = results.benchmark("backbones") or latency.measure(list(TABLE))
milliseconds = latency.by_way(record, "ms")
best = {row.backbone: row for row in ROWS if row.source == "datn_page"}
best |= {
    r.backbone: r for r in ROWS if r.trained_on == "MS1MV3" and "CDML" in r.loss
}
rows, fastest = [], set()
for name in ("lightweight", "r18_lite", "r50_lite", "r100_lite", "r50", "r100"):
    counted = complexity.cost(backbones.create(name))
    published = best[name]
    times = {way: of[name] for way, of in milliseconds.items() if name in of}
    way = min(times, key=times.__getitem__, default="not measured")
    fastest |= {way} & set(times)
    tars = {r.backbone: r.tar for r in TEMPLATES if r.protocol == "ijbc"}
    ijbc = f"{tars[name][FARS.index(1e-4)]:.2f}" if name in tars else "–"
    rows.append(
        [
            name,
            f"{counted.size_mib():.0f} / {counted.size_mib(bytes_each=1):.0f}",
            f"{times[way]:.1f}" if times else "–",
            way,
            published.trained_on,
            published.loss,
            *(f"{published.accuracy[p]:.2f}" for p in ("lfw", "cfp_fp")),
            ijbc,
        ]
    )
session.report(ways=len(milliseconds), fastest=" and ".join(sorted(fastest)))
print("Times measured on:", record["device"])
session.Table(
    [
        "network",
        "MiB, float32 / int8",
        "ms per face",
        "way",
        "published: trained on",
        "loss",
        "LFW",
        "CFP-FP",
        "IJB-C, TAR@1e-4",
    ],
    rows,
)

# %% [markdown]
# The published columns come from different training sets and losses, so they cannot rank the
# networks. The times are all ours and can. To choose a network:
#
# 1. **Fix the time.** Measure on *your* machine (`cdmllab bench backbones`), in the runtime you
#    will ship. How a network is run changes the time as much as which network it is. Chapter 8 has
#    the table for a given budget.
# 2. **Take the largest network that fits.** Then try its int8 file, and keep it if your own pairs
#    agree.
# 3. **Look at your hard images.** All of these networks nearly solve frontal pairs. Poses and
#    templates are harder and tell you more, so judge on images like those of your users.
# 4. **Choose the threshold on your own people**, for the FAR you can live with, and with enough
#    impostor pairs to resolve it (chapter 11).
# 5. **Keep together** the weights, the input, the threshold and the file's agreement report.
#    `cdmllab export` writes the report next to the file.
#
# ## Where we deviate
#
# The counts leave out what an allocator wastes and what a library keeps for itself. One process
# that plays four ranks is not a network of machines: latency, stragglers and topology are not in
# the formulas. The network shipped here is the face lab's small one at 32 pixels, and what it loses
# to int8 or to a wrong input is its own. GPU measurements come from a single GPU; no two GPUs have
# shared centres for this chapter.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(14)

# %% [markdown]
# ## Exercises
#
# **14.1** Ten million identities, 512 dimensions, float32: how many GiB do class centres, gradient
# and momentum take together?

# %%
exercises.check("14.1", None)

# %% [markdown]
# <details><summary>Solution 14.1</summary>
#
# $3 \cdot 10^7 \cdot 512 \cdot 4$ bytes, divided by $2^{30}$: 57.2 GiB. In code:
# `cost(10_000_000, batch=1).kept / 2**30`.
#
# </details>
#
# **14.2** Write a function of `highest` and `total`, both of shape `[r, b]`, that returns $\log Z$
# of each sample by {eq}`eq-combine`, shape `[b]`, in PyTorch.

# %%
exercises.check("14.2", None)

# %% [markdown]
# <details><summary>Solution 14.2</summary>
#
# `lambda highest, total: torch.logsumexp(highest + total.log(), dim=0)`: PyTorch's function
# subtracts the maximum by itself.
#
# </details>
#
# **14.3** Suppose that all negative logits are equal, and that the sum of their exponentials is
# much larger than the positive one's. Now only a tenth of the centres is drawn. By how much does
# the loss fall?

# %%
exercises.check("14.3", None)

# %% [markdown]
# <details><summary>Solution 14.3</summary>
#
# $L \approx \log Z - z_y$, and $Z$ is a tenth of what it was: the loss falls by
# $\log 10 \approx 2.303$.
#
# </details>
#
# **14.4** Write a function that prepares a network's input. Its arguments are uint8 RGB images of
# shape `[b, 3, h, w]` and the description of the input in a file: a dictionary with `channels`,
# `mean` and `std` (for pixels in $[0, 1]$).

# %%
exercises.check("14.4", None)

# %% [markdown]
# <details><summary>Solution 14.4</summary>
#
# ```python
# def prepare(x, said):
#     x = x.flip(1) if said["channels"] == "BGR" else x
#     mean, std = (torch.tensor(said[k]).view(-1, 1, 1) for k in ("mean", "std"))
#     return (x / 255 - mean) / std
# ```
#
# </details>
#
# ## Recap
#
# - *The envelope:* a head holds $3\,c\,d$ numbers (centres, gradient, momentum) and the logits, and
#   needs $3\,b\,c\,d$ MACs. For a few thousand identities the real memory is well above this count;
#   from about a hundred thousand on they agree closely.
# - *Blocks:* the matrix of logits need not exist. Blocks do without it, for $4\,b\,c\,d$ MACs. What
#   they save everywhere is memory. Time depends on the machine: arithmetic and passes over the
#   matrix on a CPU, the start of small operations on a GPU with few identities.
# - *Sharing out:* centres and their gradients never travel. The embeddings and their gradients do,
#   $2\,(R - 1)\,b\,d$ numbers (our head sends half as many again). On paper a hundred million
#   identities take {glue:text}`eight_100m:.0f` GiB on each of 8 devices, and
#   {glue:text}`whole_100m:.0f` on each of 64.
# - *Sampling:* Partial FC divides the MACs but leaves centres, gradient and momentum. It lowers the
#   loss, so losses at two shares cannot be compared. It also turns and shortens the gradient, and
#   sampled steps do not add up to full ones.
# - *Shipping:* a network ships with its input, its threshold and its agreement report. A wrong
#   input does not fail, it only makes errors. To choose a network, fix the time, measure on your
#   machine, and take the largest that fits.
#
# This is the end of the book, and its first question is still open at full size: does a margin that
# follows the sample help on real faces, with a large network and very many people? Our trainings
# could not decide it. If you have a GPU and the data, {doc}`/gpu` shows how yours can.
#
# ## References
#
# {cite:t}`an2021partialfc`, {cite:t}`an2022killing`, {cite:t}`milakov2018online`,
# {cite:t}`patarasuk2009bandwidth`, {cite:t}`jacob2018quantization`.
