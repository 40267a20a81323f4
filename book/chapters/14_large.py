# ---
# cdmllab:
#   data: [results/benchmarks/*.json, results/models/lab_small.safetensors]
# ---
# %% [markdown]
# # Large
#
# :::{admonition} After this chapter you can
# :class: tip
# - say what a head costs in memory, products and traffic, for any number of identities and devices,
#   on the back of an envelope;
# - name what a blocked head leaves out, and what each way of writing a head takes on a real
#   machine;
# - share class centres out over devices, and say why that needs next to no traffic;
# - say what sampling centres does to loss and gradient;
# - ship a network with what belongs to it, its input, its threshold, and choose one for a machine.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 3 and 8. Nothing is trained. Some heads run for a moment, and a network is exported:
# about a minute on one core. The larger measurements are read from `results/benchmarks/`;
# {doc}`/benchmarks` has all of them.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of embeddings, class centres and draws
batch = 128  # samples of each device, in the counts
embedding_dim = 512  # numbers of an embedding, in the counts

# %% tags=["hide-input"]
import numpy as np
import torch

from cdmllab import backbones, evaluate, faces, geometry, heads, plots, results
from cdmllab._util.memory import TensorPeak
from cdmllab.backbones import complexity, latency, weights
from cdmllab.book import benchmark_tables, exercises, session
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
# A backbone is as large for ten people as for ten million. The head is not: every identity has a
# class centre, and every sample is compared with every class centre. For $c$ identities, $d$
# dimensions and a batch of $b$, a training step holds
#
# ```{math}
# :label: eq-head-memory
# \underbrace{3\,c\,d}_{\text{centres, gradient, momentum}} + \underbrace{b\,c}_{\text{logits}}
# \quad\text{numbers, and does}\quad \underbrace{3\,b\,c\,d}_{\text{logits, two gradients}} \quad\text{products.}
# ```
#
# The package counts this, and more exactly: `heads.cost.cost`.

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
        "products / those of R50",
    ],
    rows,
)

# %% tags=["remove-input"]
even = trunk.macs / embedding_dim
session.tell(
    batch=batch,
    even=f"{even / 1e6:.1f}",
)
large = cost(10**7, batch=batch, embedding_dim=embedding_dim, keep="matrix")
session.tell(kept_10m=large.kept / gib)

# %% [markdown]
# With a batch of {glue:text}`batch`. For a long while products are no worry: it takes
# {glue:text}`even` million identities until the head multiplies as much as R50. Memory is. At ten
# million the centres, their gradient and their momentum alone are {glue:text}`kept_10m:.0f` GiB,
# and a head that is written carelessly holds the *logits* several times over.
#
# ## One device: leave the matrix out
#
# Written plainly, ArcFace is a row of tensor operations: normalise, multiply, arc cosine, add,
# cosine, scale, softmax. Each of them makes another matrix of $b \times c$, and autograd keeps most
# of them for the way back. But who needs the matrix? The loss of a sample is
#
# ```{math}
# :label: eq-partition
# L_i = \log\bigl(e^{s\,\psi(\theta_y)} + Z_i\bigr) - s\,\psi(\theta_y), \qquad Z_i = \sum_{j \ne y} e^{s \cos\theta_j},
# ```
#
# and only $Z_i$ looks at all class centres. It is a sum, so it can be added up a block of centres
# at a time, with a running maximum where the exponentials could overflow {cite}`milakov2018online`;
# on the way back each block is computed once more, which makes the products $4\,b\,c\,d$. The
# margin touches one number a sample, and stays outside. This is the head `backend="blocked"`.
#
# Do the counts match reality? `TensorPeak` adds up the tensors that are alive during a step,
# forward and backward. Two lines are counted, without the centres and the momentum that were there
# before: with one matrix kept, this is {eq}`eq-head-memory`; with blocks, one block stands in the
# place of the matrix. The dots are heads at work.

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
reach = np.geomspace(sizes[0], sizes[-1], 40).astype(int)
lines = {}
for name, keep in (
    ("one block at a time", "block"),
    ("one matrix, kept", "matrix"),
):
    found = [cost(c, keep=keep, block_cells=2**18, **small) for c in reach]
    lines[name] = [(f.memory - f.centres - f.momentum) / 2**20 for f in found]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Memory of a step beyond centres and momentum, 64 samples of 64 numbers: counted on paper (lines) and counted while it runs (dots), for three ways of writing the same loss.", "name": "fig-head-memory"}, "image": {"alt": "Two rising lines with dots, which lie clearly above them at the left end and on them at the right end, and markers of plain tensor operations several times above both"}}
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
    session.tell(**{f"{key}_matrices": (dots[name][1][-1] - gradient) / matrix})
over = {
    c: [
        dots[name][1][at] / np.interp(c, reach, line) - 1
        for name, line in lines.items()
    ]
    for at, c in enumerate(sizes)
}
session.tell(
    **{
        f"over_{c}": f"{min(values):.0%} to {max(values):.0%}"
        for c, values in over.items()
    }
)

# %% [markdown]
# They do where identities are many. At 2,000 the dots lie {glue:text}`over_2000` above their lines,
# at 8,000 {glue:text}`over_8000`, at 32,000 {glue:text}`over_32000` and at 128,000
# {glue:text}`over_128000`: the count leaves out what does not grow with the identities, some copies
# of a block among it, and that is soon little beside the rest. Beyond the gradient of the centres,
# which nobody can do without, the plain form holds {glue:text}`dense_matrices:.1f` matrices of
# logits at the same time, the blocked one {glue:text}`blocked_matrices:.2f`.
#
# What does it gain on a machine? Time as a multiple of the three bare matrix products in float32,
# memory as a multiple of the gradient of the centres. No head that multiplies in float32 can be
# better than 1 in either. Ours are filled.

# %%
benchmark_tables.report("heads")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same table as an image: heads by time and peak memory, for a batch against the identities of CASIA-WebFace and of MS1MV3. Filled: ours.", "name": "fig-heads"}, "image": {"alt": "Two panels of markers; all filled dots but one near the lower left corner, the open squares further right and above, and our dense head, filled too, at the upper right"}}
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
# Two lines of that table deserve a word. *bf16 products* multiplies in half the digits where the
# processor can, and so is the only one whose time may go below 1; sums stay wide. *CDML* costs what
# ArcFace costs: its margin is a number a sample.
#
# ### On a GPU
#
# There a million identities fit as well:

# %%
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
session.tell(
    gpu_few_ms=on_gpu["casia"]["limit_ms"],
    gpu_ours=ours[-1]["peak_mib"] / 1024,
    gpu_peer=peer[-1]["peak_mib"] / 1024,
    gpu_sizes=len(time),
    gpu_slower=sum(a > b for a, b in zip(time, peer_time, strict=True)),
    gpu_times=", ".join(f"{a:.1f}" for a in time),
    gpu_peer_times=", ".join(f"{a:.1f}" for a in peer_time),
)

# %% [markdown]
# With ten thousand identities no head comes near the limit: the three products take
# {glue:text}`gpu_few_ms` ms, and what is measured is how fast Python starts small operations. Ours
# starts the most of them. In a training step that matters little, because a GPU is busy with the
# backbone while the head's operations are lined up, as long as nobody asks it for a number
# meanwhile. At the {glue:text}`gpu_sizes` sizes of the table the blocked head that computes its
# logits twice takes {glue:text}`gpu_times` times the limit, the model of arcface_torch's
# {glue:text}`gpu_peer_times`: ours is the slower one at {glue:text}`gpu_slower` of
# {glue:text}`gpu_sizes`. What it buys is memory. At the largest size it holds
# {glue:text}`gpu_ours:.1f` GiB, the other {glue:text}`gpu_peer:.1f`.
#
# ## Many devices: share the centres out
#
# Data-parallel training copies the whole model to every device and averages gradients. For a head
# that is absurd twice: every device would hold all centres, and the gradient of all centres would
# travel every step. Instead there are $R$ ranks, a **{term}`rank`** being one process, usually with
# one device, and each of them holds $c/R$ centres. The embeddings of all ranks go to all; each rank
# adds up $Z_i$ over *its* centres; and what has to be put together are two numbers a sample. With
# $h_r$ the largest logit of rank $r$ and $t_r = \sum_j e^{z_j - h_r}$ over its centres,
#
# ```{math}
# :label: eq-combine
# \log Z = h + \log \sum_r t_r\, e^{h_r - h}, \qquad h = \max_r h_r .
# ```
#
# Four ranks, played here by four slices of one matrix:

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
# On the way back every rank has the gradient of *its* centres complete, without telling anybody.
# What travels is the batch: its embeddings out, their gradients back. In a ring
# {cite}`patarasuk2009bandwidth`, with $b$ samples on each rank, each rank sends
#
# ```{math}
# :label: eq-traffic
# \underbrace{(R - 1)\,b\,d}_{\text{embeddings, to all}} +
# \underbrace{(R - 1)\,b\,d}_{\text{their gradients, added up}}
# \quad\text{numbers,}
# ```
#
# and a few a sample. The second term is that of a *reduce-scatter*: a rank needs the sum of the
# gradients only for its own $b$ samples, and arcface_torch reduces the sum to the rank that wants
# it. Our head is simpler and pays for it: it adds the gradients of all samples up on all ranks, an *all-reduce*,
# which sends $2\,(R - 1)\,b\,d$. Copies of all centres would send $2\,\tfrac{R - 1}{R}\,c\,d$. The
# few are two by {eq}`eq-combine`; our head adds up seven numbers a sample and gathers its label,
# since a loss may want the own cosine, or the hardest negatives. What our head sends is counted
# here,

# %% tags=["hide-input"]
rows = []
for ranks in (2, 8, 64):
    found = cost(10**6, batch=batch, ranks=ranks, embedding_dim=embedding_dim)
    copied = all_reduced(4 * embedding_dim * 10**6, ranks)
    told = (found.traffic / 2**20, copied / 2**20, copied / found.traffic)
    rows.append([ranks, *(f"{value:,.1f}" for value in told)])
session.Table(
    ["ranks", "shared out, MiB a step", "copied, MiB a step", "ratio"], rows
)

# %% [markdown]
# for a million identities. The second column does not depend on their number: it grows with the
# batch of all ranks.
#
# How far this holds is measured on two ranks of one machine. Two cores that share a memory are not
# two GPUs, but the arithmetic is the same.

# %%
benchmark_tables.report("heads_sharded")

# %% [markdown]
# In code it is one word: `heads.create(..., backend="sharded")` under `torchrun`. The loss and the
# gradients are those of one process with the whole batch, and checkpoints load on another number of
# ranks ({doc}`/gpu`).
#
# ## Fewer centres a step: Partial FC
#
# Is every class centre needed in every step? Most are at right angles to a sample and push with
# next to nothing. {term}`Partial FC` {cite}`an2021partialfc,an2022killing` keeps the class centres
# of the batch and draws others by chance, a share $q$ of all. Products and logits shrink to that
# share; centres, gradient and momentum stay. What does it do to loss and gradient? We compare with
# the whole sum, early in a training, where embeddings stand anywhere, and late. How late? Chapter 3
# found that a sample falls silent at an angle that scale and margin set; with
# {glue:text}`pfc_identities` random centres in {glue:text}`embedding_dim` dimensions that is near
# 50 degrees, so this is our *late*. Nearer there is nothing left to compare: at 40 degrees the mean
# of $1 - p_y$ is {glue:text}`silent:.0e`. (In 128 dimensions it would still be
# {glue:text}`crowded:.2f`, only because random centres are nearer to each other there.)

# %%
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


states = {
    "early, 90 degrees": at_degrees(90.0),
    "late, 50 degrees": at_degrees(50.0),
}
off, turned, along, weight = {}, {}, {}, {}
cos = torch.nn.functional.cosine_similarity
for name, x in states.items():
    whole, weight[name], dx, dw = step(seeded(), x)
    for rate in rates:
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A sampled step against the whole one, mean of three draws, early (solid) and late (dashed) in a training. Left: how much lower the loss is; dotted, the logarithm of the share. Right: the cosine between the sampled and the whole gradient on the embeddings.", "name": "fig-partial"}, "image": {"alt": "Left: two rising curves; the early one lies just below the dotted logarithm of the share, the late one well above it. Right: two rising curves that end near one at a share of one half, the early one above the late one"}}
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
    ylabel="loss, sampled - whole",
)
plots.lines(
    axes[1],
    rates,
    [
        plots.Line(n, "chance", [turned[n, r][0] for r in rates], looks[n])
        for n in states
    ],
    xlabel="share of the centres",
    ylabel="cosine to the whole gradient",
)

# %% tags=["remove-input"]
for key, name in zip(("early", "late"), states, strict=True):
    session.tell(
        **{
            f"off_{key}": float(off[name, 0.1]),
            f"turned_{key}": float(turned[name, 0.1][0]),
            f"centres_{key}": float(turned[name, 0.1][1]),
            f"along_{key}": float(along[name, 0.1]),
            f"weight_{key}": float(weight[name]),
            f"sampled_{key}": float(weight[name, 0.1]),
        },
    )
session.tell(
    log_tenth=float(np.log(0.1)),
    silent=step(seeded(), at_degrees(40.0))[1],
    crowded=step(seeded(128), at_degrees(40.0, 128))[1],
    pfc_identities=f"{c:,}",
    embedding_dim=embedding_dim,
)

# %% [markdown]
# With a tenth of the centres the loss is off by {glue:text}`off_early:.2f` early and by
# {glue:text}`off_late:.2f` late; the logarithm of a tenth is {glue:text}`log_tenth:.2f`. It would
# be just that if all negative centres had the same share of $Z_i$ and the own one counted for
# nothing. Early that is nearly so: a few centres that happen to be near have more than their share,
# and a draw misses most of them. Late the own one counts, and the loss, which is small by then,
# cannot fall by much. So **losses at different shares do not compare**.
#
# The gradient on the embeddings has a cosine of {glue:text}`turned_early:.2f` to the whole one
# early and of {glue:text}`turned_late:.2f` late. The pull to the own centre keeps its direction,
# the push comes from other centres than it would have. On the class centres the cosines are
# {glue:text}`centres_early:.2f` and {glue:text}`centres_late:.2f`, for the same reason: centres
# that were not drawn do not move, and have their turn in another step.
#
# Do the steps add up to the whole? The gradients of batches do, these do not. With fewer negative
# centres the softmax thinks a sample better than it is: late the mean of $1 - p_y$ is
# {glue:text}`sampled_late:.2f` instead of {glue:text}`weight_late:.2f` (early
# {glue:text}`sampled_early:.2f` instead of {glue:text}`weight_early:.2f`). The pull shrinks with
# it. The push has that same weight to share, and gives it to whichever centres were drawn, so that
# it is shorter on the mean of many draws. Along the whole gradient on the embeddings, the sampled
# one has on the mean of ours {glue:text}`along_early:.0%` of its length early and
# {glue:text}`along_late:.0%` late. Partial FC's authors report that accuracy hardly suffers at a
# tenth. We have not measured that; it takes a training with very many identities.
#
# ## From ten thousand to a hundred million
#
# Put together, on paper: memory of one device for the head alone, {glue:text}`batch` samples each,
# the backbone not counted.

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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Memory of one device for the head, counted. Dotted: what two common kinds of GPU hold.", "name": "fig-to-100m"}, "image": {"alt": "Five lines that rise with the number of identities; from a hundred thousand on those of one device, which nearly coincide, lie highest, then that of 8 devices, then those of 64, which coincide from a few million on; at a hundred million those of 64 stay below 16 GiB, that of 8 just below 80"}}
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
        "GiB of a device",
        "100k",
        "1M",
        "10M",
        "100M",
        "products / R50's, at 100M",
        "MiB sent a step",
    ],
    rows,
)

# %% tags=["remove-input"]
for key, name in (
    ("whole", "64 devices, blocks"),
    ("sampled", "64, a tenth a step"),
):
    session.tell(
        **{
            f"{key}_1m": totals[name][1],
            f"{key}_100m": totals[name][3],
        },
    )
session.tell(eight_100m=totals["8 devices, blocks"][3])
for key in ("cpu", "cuda"):
    shapes = results.benchmark("heads", key)["shapes"].values()
    most = max(shape["identities"] for shape in shapes)
    session.tell(**{f"most_{key}": f"{most:,}"})

# %% [markdown]
# Read the lines by what bends them. The matrix is the first thing to go, and blocks make it go.
# What is left is $3\,c\,d$, and only *sharing out* divides that. *Sampling* leaves it as it is. It
# makes the block of logits smaller where fewer are left than fill a block, and adds copies of the
# drawn centres: on 64 devices a million identities take {glue:text}`sampled_1m:.2f` instead of
# {glue:text}`whole_1m:.2f` GiB, a hundred million {glue:text}`sampled_100m:.2f` instead of
# {glue:text}`whole_100m:.2f`. What it divides are the **products**, which at a hundred million
# identities would otherwise be many times the backbone's on every device: each device sees the
# samples of all. (The plain head in the first row does $3\,b\,c\,d$, blocks do $4\,b\,c\,d$. A head
# that keeps its logits gains more memory by sampling; that is how Partial FC was presented.) Beyond
# that the momentum can be dropped or kept in half precision, which this package does not do.
#
# Up to what fits, this is measured: up to {glue:text}`most_cpu` identities by the peak of a process
# on a CPU, and up to {glue:text}`most_cuda` by that of a GPU, in the two tables of heads above.
#
# ## A training step
#
# The head is one part; how many images a second go through backbone, head and optimiser?

# %%
benchmark_tables.report("training")

# %% [markdown]
# And on a GPU, where images with their channels together in memory and a compiled network pay
# most:

# %%
benchmark_tables.report("training", "cuda")

# %% [markdown]
# ## Shipping a network
#
# At test time the head is gone. What is left is a function from images to embeddings, and three
# things that belong to it: how an image becomes its input, which threshold its scores want, and a
# proof that the file computes what the network did.
#
# **The input.** insightface's networks take RGB in $[-1, 1]$; AdaFace's take BGR; MagFace's take
# BGR in $[0, 1]$. A network fed wrongly does not fail. It gives worse embeddings, and nobody
# notices. So our files say what they want.

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
# **The file.** `cdmllab export RUN --to onnx --int8` writes ONNX, compares it with PyTorch on faces
# and on noise, and keeps it only if embeddings and verification accuracy agree. Int8
# {cite}`jacob2018quantization` stores weights in a byte each and multiplies in whole numbers; its
# scales come from faces it is calibrated on.

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
session.tell(
    int8_mib=file.stat().st_size / 2**20,
    full_mib=full,
)

# %% [markdown]
# The int8 file has {glue:text}`int8_mib:.2f` MiB, the float32 weights {glue:text}`full_mib:.2f`.
# Its input is that of insightface whatever the network was trained on: what differs is made up for
# inside the file.
#
# **The threshold.** A threshold belongs to a network, its input and its format. We choose one for a
# FAR of 1 % on some people, with the network as it was trained, and judge all four ways of running
# it by that number, on other people.

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
        "FAR, threshold of its own",
        "TAR, threshold of its own",
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
    session.tell(
        **{
            f"far_{key}": rates_at[name][0],
            f"tar_{key}": rates_at[name][1],
        },
    )

# %% [markdown]
# The int8 file may keep the threshold of its parent: its FAR is {glue:text}`far_int8:.1%` instead
# of {glue:text}`far_right:.1%`. Pixels in $[0, 1]$ turn that number into
# {glue:text}`far_range:.1%`, exchanged colours into {glue:text}`far_bgr:.1%`. The right-hand
# columns show what is lost for good, and what a new threshold would put right. Published thresholds
# without a network, an input and a scale beside them are worth nothing; the public code's 0.705 is
# a cosine *distance*, of a network fed in $[0, 1]$ ({doc}`/executed/11_verification` has the
# scales).
#
# ## Which network?
#
# The document ends with a guide: r50_lite or r18_lite for real time on a CPU, r100_lite or R100 for
# accuracy, R100 with CDML for research. It rests on its own accuracies and milliseconds. Here are
# the former as published, and beside them what we measured: the fastest way to run each network on
# one core, of {glue:text}`ways` that were tried. The accuracies are not of the way that won,
# {glue:text}`fastest`; and bf16 is this fast only on a processor that has units for it. The
# published accuracy of `lightweight` is that of a distilled network, which learnt from a larger
# one.

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
session.tell(ways=len(milliseconds), fastest=" and ".join(sorted(fastest)))
print("Times measured on:", record["device"])
session.Table(
    [
        "network",
        "MiB, float32 / int8",
        "ms a face",
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
# The published columns come from different training sets and losses, and cannot rank the networks;
# the times are ours and can. How to use both:
#
# 1. **Fix the time.** Measure on *your* machine (`cdmllab bench backbones`), in the runtime you
#    will ship. How the network is run moves the time as much as which network it is; chapter 8 has
#    the table for a given budget.
# 2. **Take the largest network that fits**, then try its int8 file, and keep it if your own pairs
#    say so.
# 3. **Look at your hard images.** Frontal pairs are nearly solved by all of these and tell
#    little; poses and templates are harder. Judge on images like your users'.
# 4. **Choose the threshold on your own people**, for the FAR you can live with, with enough
#    impostor pairs to see it
#    (chapter 11).
# 5. **Keep together** the weights, the input, the threshold and the file's agreement report.
#    `cdmllab export` writes that report beside the file.
#
# ## Where we deviate
#
# The counts leave out what an allocator wastes and what a library keeps for itself. One process
# playing four ranks is not a network of machines: latency, stragglers and topology are not in the
# formulas. The network shipped here is the lab's small one at 32 pixels; its losses from int8 and
# from a wrong input are its own. Numbers of a GPU are of a single one; no two GPUs have shared
# centres out for this chapter.
#
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
# `lambda highest, total: torch.logsumexp(highest + total.log(), dim=0)`: PyTorch's function takes
# the maximum off by itself.
#
# </details>
#
# **14.3** Suppose the logits of all other classes are equal, and the sum of their exponentials much
# larger than the own one's. A tenth of the centres counts. By how much is the loss lower than the
# whole one?

# %%
exercises.check("14.3", None)

# %% [markdown]
# <details><summary>Solution 14.3</summary>
#
# $L \approx \log Z - z_y$, and $Z$ is a tenth: the loss is lower by $\log 10 \approx 2.303$.
#
# </details>
#
# **14.4** Write a function of uint8 images, RGB, shape `[b, 3, h, w]`, and of what a file says of
# its input, a dictionary with `channels`, `mean` and `std` (for pixels in $[0, 1]$), that returns
# the input as the network wants it.

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
# - A head holds three numbers for each of $c\,d$, and the logits; it does $3\,b\,c\,d$ products.
#   The matrix of logits need not exist: blocks do without it, for $4\,b\,c\,d$ products.
# - How long a head takes is the machine's to say. On a CPU it is products and passes over the
#   matrix, on a GPU with few identities the starting of small operations. What blocks save
#   everywhere is memory.
# - Shared out over ranks, centres and their gradients never travel; $2\,(R - 1)\,b\,d$ numbers of
#   the embeddings and their gradients do (our head sends half as many again), and a few for each
#   sample.
# - Partial FC divides products, and leaves centres, gradient and momentum. It lowers the loss, so
#   that losses at two shares do not compare, and it turns and shortens the gradient; the steps do
#   not add up to the whole.
# - A hundred million identities take {glue:text}`eight_100m:.0f` GiB on each of 8 devices and
#   {glue:text}`whole_100m:.0f` on each of 64, on paper; what is measured and what is counted is
#   said for each number.
# - To choose a network for a machine, fix the time, measure there, and take the largest that fits.
# - A network ships with its input, its threshold and its proof; a wrong input does not fail, it
#   only errs.
#
# ## References
#
# {cite:t}`an2021partialfc`, {cite:t}`an2022killing`, {cite:t}`milakov2018online`,
# {cite:t}`patarasuk2009bandwidth`, {cite:t}`jacob2018quantization`.
