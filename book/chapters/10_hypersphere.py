# ---
# cdmllab:
#   data: [results/models/lab_small.safetensors]
# ---
# %% [markdown]
# # Seeing the hypersphere
#
# :::{admonition} After this chapter you can
# :class: tip
# - explain what a plot of an embedding shows, and what a flattened one invents;
# - compare the angles of genuine and impostor pairs with chance, for people the network knows and
#   for strangers;
# - find the samples to which a dynamic margin gave most and least, and look at them;
# - judge how evenly class centres lie on the sphere, from two references: chance and the best known
#   arrangement;
# - measure how many of its dimensions an embedding uses.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 4 and 6. The chapter trains six small networks on rendered faces, which takes about two
# minutes on one CPU core. They demonstrate how to look at an embedding; they are too small and too
# few to rank the losses.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu", or "gpu" to train on CUDA where there is a device
seed = 0  # of data order, first weights, and everything random
people = 100  # of the world that the 64-d networks are trained on
strength = 0.4  # of the nuisances in all their images, 0 to 1
epochs = 8  # of those three trainings
real_faces = False  # also measure LFW-a, if its archive is in a data folder

# %% tags=["hide-input"]
import numpy as np
import torch
from myst_nb import glue

from cdmllab import evaluate, faces, plots, results, training
from cdmllab.analysis import projection, sphere
from cdmllab.backbones import weights
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import Hypersphere
from cdmllab.data import lfw, pairs
from cdmllab.faces.difficulty import rank_correlation
from cdmllab.geometry import angle_between, cosine
from cdmllab.metrics import verification
from cdmllab.preprocessing import apply, standard
from cdmllab.training import Snapshots, datasets, presets
from cdmllab.training.difficulty_probe import Truth

lab = session.start(profile, seed)

# %% [markdown]
# ## Three dimensions: nothing is hidden
#
# Chapter 9 followed a training through its numbers. Now we want to see where it has put the people.
# How do you look at 512 dimensions?
#
# Start with three, where we can see everything. Chapter 1 did this with digits. Here the network
# learns ten people of the face lab with each of three losses, and we keep its embeddings of *new*
# images of the same ten people at several epochs.

# %% tags=["hide-input"]
ten = presets.load(
    "lab/cpu/arcface",
    [
        {
            "data.num_identities": 10,
            "data.images_per_identity": 40,
            "data.strength": 0.3,
            "data.label_noise": 0.0,
            "backbone.embedding_dim": 3,
            "backbone.width": 8,
            "loss.scale": 8.0,
            "optimiser.lr": 0.05,
            "epochs": 16,
            "batch_size": 16,
            "seed": lab.seed,
            "device": lab.device,
        }
    ],
)
graded = {
    "name": "cdml",
    "margin_rad": 0.35,
    "shape": "linear",
    "match_mean": True,
}
losses = {
    "softmax": {"name": "softmax"},
    "arcface": ten.loss,
    "cdml": {**graded, "scale": ten.loss.scale},
}

# %%
new = 100  # image numbers from here on are new: training never sees them
shown, shown_who, _ = faces.album(10, 20, start=new, strength=0.3)
seen = {
    name: Snapshots(
        apply(shown, standard(3, 32)), shown_who, (0, 1, 2, 3, 5, 8, 12, 16)
    )
    for name in losses
}
for name, loss in losses.items():
    training.train(ten.changed(loss=loss), within=lab.runs, at_epoch=seen[name])

# %% [markdown]
# Each dot on the globes is an image, and each ring is a class centre. Look for two things: how
# tight the clusters are, and how evenly the rings are spread.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "New images of ten people on the unit sphere, after training with each loss. Rings are the class centres; points behind the globe are pale.", "name": "fig-three-spheres"}, "image": {"alt": "Three globes, each with ten clusters of coloured points around ringed class centres; the centres are spread more or less evenly"}}
fig, axes = plots.figure(3, width=7.6, height=2.7)
for ax, (name, found) in zip(axes, seen.items(), strict=True):
    plots.sphere(
        ax,
        found.points[-1],
        shown_who,
        centres=found.centres[-1],
        names="0123456789",
        title=plots.label(name),
    )

# %% [markdown]
# Both are angles, so we can measure them: from an image to its class centre, and from a class
# centre to the nearest other one. For the second angle there are two references. One is chance, ten
# random points. The other is the best there is: ten points on a sphere cannot all be far from each
# other, and we find the most even arrangement by letting them repel each other.

# %% tags=["hide-input"]
even = sphere.nearest_deg(sphere.most_even(10, 3, seed=seed))
chance = [sphere.nearest_deg(sphere.at_random(10, 3, seed=k)) for k in range(200)]
rows, on_globe = [], {}
for name, found in seen.items():
    own = angle_between(found.points[-1], found.centres[-1][shown_who])
    nearest = sphere.nearest_deg(found.centres[-1])
    told = (torch.rad2deg(own).mean(), nearest.mean(), nearest.min())
    on_globe[plots.label(name)] = told
    rows.append([plots.label(name), *(f"{value:.1f}" for value in told)])
rows += [
    ["ten random points", "", f"{np.mean(chance):.1f}",
     f"{np.mean([a.min() for a in chance]):.1f}"],
    ["the most even ten", "", f"{even.mean():.1f}", f"{even.min():.1f}"],
]  # fmt: skip
session.Table(
    [
        "degrees",
        "image to its centre, mean",
        "centre to the nearest other, mean",
        "closest two centres",
    ],
    rows,
)

# %% tags=["remove-input"]
tightest = min(on_globe, key=lambda name: on_globe[name][0])
session.report(
    even_ten=float(even.min()),
    tightest=tightest,
    tightest_gap=float(on_globe[tightest][1]),
    random_gap=float(np.mean(chance)),
)

# %% [markdown]
# The first column says how *tight* the clusters are, the second how *even* the centres. A loss can
# do well in one and badly in the other. Take the network with the tightest clusters,
# {glue:text}`tightest`. Its centres are {glue:text}`tightest_gap:.1f` degrees from their nearest
# neighbour on average; ten random points reach {glue:text}`random_gap:.1f` without any training.
# Shrinking the clusters and spreading the centres are two different ways to satisfy a margin, and
# the table shows how far a network has gone in each.
#
# Do not read a ranking into these rows. Each is a single training on ten people; the same trainings
# on a GPU, where the order of additions differs, move the gaps by several degrees. What is certain
# is the last row: ten points in three dimensions can be {glue:text}`even_ten:.1f` degrees apart and
# no more. Three dimensions are crowded, and chapter 1 showed what that costs on strangers.
#
# The third globe is yours. CDML's margin is linear here, so every image has a margin of its own:
# large where the embedding lies near its class centre. **Try this:** colour the points by margin
# and go through the epochs. Which person's images are the last to get a large margin?

# %% tags=["hide-input"]
found = seen["cdml"]
elevation, azimuth = plots.facing(found.centres[-1])
globe = Hypersphere.from_embeddings(
    found.points,
    found.labels,
    found.centres,
    found.margin_rad,
    epochs=found.epochs,
    names="0123456789",
    colour="margin",
    elevation_deg=elevation,
    azimuth_deg=(azimuth + 180.0) % 360.0 - 180.0,
)
glue("widget-hypersphere-faces", globe)

# %% [markdown]
# ## Many dimensions are a different place
#
# A face network has 512 dimensions, and there the intuition from the globe is wrong. Draw two
# directions at random. What angle do they make? Fix the first one. The directions at angle $\theta$
# from it form a sphere of one dimension less, with radius $\sin\theta$, so the angle has the
# density
#
# ```{math}
# :label: eq-chance-angle
# f(\theta) = \frac{\Gamma(d/2)}{\sqrt\pi\,\Gamma\bigl((d-1)/2\bigr)}\,\sin^{d-2}\theta .
# ```
#
# In three dimensions this is a broad hump. With more dimensions it narrows to a spike at 90
# degrees, about $1/\sqrt d$ radians wide: **in high dimensions nearly everything is at right angles
# to nearly everything else.** Watch how fast it narrows:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Density of the angle between two random directions, in 3, 64 and 512 dimensions.", "name": "fig-chance"}, "image": {"alt": "Three curves over the angle from 0 to 180 degrees: low and broad for 3 dimensions, narrow for 64, a spike at 90 degrees for 512"}}
degrees = np.linspace(0.0, 180.0, 721)
fig, (ax,) = plots.figure(width=6.2, height=2.6)
drawn = [
    plots.Line(f"{d} dimensions", "chance", sphere.chance_density(degrees, d), s)
    for d, s in ((3, ":"), (64, "--"), (512, "-"))
]
plots.lines(ax, degrees, drawn, xlabel="angle (degrees)", ylabel="density")
_ = ax.set_xticks(range(0, 181, 30))

# %% tags=["remove-input"]
for d in (3, 64, 512):
    p = sphere.chance_density(degrees, d)
    spread = np.sqrt(np.sum(p * (degrees - 90.0) ** 2) / np.sum(p))
    session.report(**{f"chance_sd_{d}": float(spread)})

# %% [markdown]
# The standard deviations are {glue:text}`chance_sd_3:.1f`, {glue:text}`chance_sd_64:.1f` and
# {glue:text}`chance_sd_512:.1f` degrees. On the globe, an impostor pair at 70 degrees means
# nothing. In 512 dimensions it is eight standard deviations away from chance, so the network must
# have found something that the two people share. Keep the curve for 64 dimensions in mind: it
# returns below as a dashed line.
#
# ## Known people and strangers
#
# Next come three networks with 64 dimensions, one for each loss, trained on {glue:text}`people`
# people. CDML's margin is again linear with its mean held fixed, so that it differs from ArcFace
# only in how the margin is *distributed* over the images.

# %% tags=["hide-input"]
sixty_four = presets.load(
    "lab/cpu/arcface",
    [
        {
            "data.num_identities": people,
            "data.strength": strength,
            "backbone.width": 8,
            "loss.scale": 12.0,
            "epochs": epochs,
            "batch_size": 32,
            "seed": lab.seed,
            "device": lab.device,
        }
    ],
)
losses = {
    "softmax": {"name": "softmax"},
    "arcface": sixty_four.loss,
    "cdml": {**graded, "scale": sixty_four.loss.scale},
}

# %%
trained = {
    name: training.train(sixty_four.changed(loss=loss), within=lab.runs)
    for name, loss in losses.items()
}

# %%
parts = {
    part: faces.album(people, 4, first=first, start=new, strength=strength)
    for part, first in (("people it knows", 0), ("strangers", 10_000))
}
embedded = {
    (name, part): evaluate.embed(t.backbone, images)
    for name, t in trained.items()
    for part, (images, *_) in parts.items()
}
compared = {
    part: pairs.every(album.identity.numpy()) for part, album in parts.items()
}
scores = {
    key: evaluate.scores(e, compared[key[1]]) for key, e in embedded.items()
}

# %% tags=["remove-input"]
session.report(people=people)

# %% [markdown]
# We embed new images of those people, and images of as many strangers, and compare all pairs. Two
# questions for the next two figures: how far do the impostor angles (right) spread compared with
# the dashed curve of chance? And do the histograms change from known people to strangers?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "People the network was trained on, in new images: angles of genuine and impostor pairs, for each loss. Dashed: random directions in 64 dimensions.", "name": "fig-angles-known"}, "image": {"alt": "One panel per loss with two histograms; impostor angles lie around 90 degrees and spread wider than the dashed curve, genuine angles are broad and lie further left"}}
fig, axes = plots.figure(3, width=7.6, height=2.1)
for ax, name in zip(axes, trained, strict=True):
    key = name, "people it knows"
    same = compared[key[1]].same
    ends = {"title": plots.label(name), "legend": ax is axes[0]}
    plots.angle_histogram(ax, scores[key], same, chance_dim=64, **ends)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for strangers.", "name": "fig-angles-strangers"}, "image": {"alt": "One panel per loss with two histograms, much like those of the previous figure; impostor angles spread wider than the dashed curve"}}
fig, axes = plots.figure(3, width=7.6, height=2.1)
for ax, name in zip(axes, trained, strict=True):
    key = name, "strangers"
    same = compared[key[1]].same
    ends = {"title": plots.label(name), "legend": ax is axes[0]}
    plots.angle_histogram(ax, scores[key], same, chance_dim=64, **ends)

# %% [markdown]
# The table puts numbers to both figures. Its last column is the **{term}`equal error rate`**: the
# error at the threshold where both kinds of mistakes are equally frequent, so that the share of
# genuine pairs rejected equals the share of impostor pairs accepted.

# %% tags=["hide-input"]
rows, spread, errors = [], {}, {}
for (name, part), cosines in scores.items():
    same = compared[part].same
    deg = np.degrees(np.arccos(cosines.clip(-1.0, 1.0)))
    spread[name, part] = float(deg[~same].std())
    kinds = [f"{deg[k].mean():.1f} ± {deg[k].std():.1f}" for k in (same, ~same)]
    error = errors[name, part] = verification.eer(cosines, same)
    rows.append([f"{plots.label(name)}, {part}", *kinds, f"{error:.1%}"])
session.Table(
    ["degrees, mean ± sd", "genuine", "impostor", "equal error rate"], rows
)

# %% tags=["remove-input"]
session.report(
    impostor_sd=spread["arcface", "strangers"],
    eer_known=errors["arcface", "people it knows"],
    eer_strangers=errors["arcface", "strangers"],
)

# %% [markdown]
# Three observations, each of which may surprise you:
#
# - **Impostor pairs are already at 90 degrees.** No loss can push people much further apart on
#   average: in any number of dimensions, the cosines between $n$ directions average at least
#   $-1/(n - 1)$. What a loss can change is the *spread*. False accepts come from the left tail of
#   the impostor angles, not from their mean.
# - **The spread is far from chance.** With ArcFace the impostor angles of strangers have a standard
#   deviation of {glue:text}`impostor_sd:.1f` degrees, compared with {glue:text}`chance_sd_64:.1f`
#   for random directions. The network does not use the whole sphere: it spreads people over fewer
#   directions than it has. We count them below.
# - **Genuine pairs are far from 0.** Take two images that are each 40 degrees from their class
#   centre, in unrelated directions. The angle between them is $\arccos(\cos^2 40°) \approx 54$
#   degrees. That is good enough as long as impostor pairs are further apart.
#
# Are strangers harder? In chapter 1 they were, by far. Here ArcFace's equal error rate is
# {glue:text}`eer_known:.1%` for people it knows and {glue:text}`eer_strangers:.1%` for strangers.
# Each number comes from {glue:text}`people` people, and another {glue:text}`people` could easily
# move it by a point or two (chapter 11 shows how to compute by how much). With a hundred people to
# learn from instead of seven digits, the network has learned something that carries over.
#
# ## Flattening it
#
# Sixty-four dimensions do not fit on paper, so something has to be lost. **Principal components**
# keep the two directions with the most variance and drop the rest, as a shadow does.
# **{term}`UMAP`** {cite}`mcinnes2018umap` only asks that each point stay close to its nearest
# neighbours, and moves the points around in the plane until most of them do. We try both on twenty
# strangers, twelve images each, embedded by the face lab's released network. Which map would you
# rather put in a paper?

# %%
network, said = weights.load_release(
    results.folder() / "models/lab_small.safetensors"
)
images, twenty, _ = faces.album(20, 12, first=20_000, start=new)
cloud = evaluate.embed(network, images).numpy()
flat = {"PCA": projection.pca(cloud), "UMAP": projection.umap(cloud, seed=seed)}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Twenty strangers, twelve images each, with a colour and a marker for each person. Left: the first two principal components of the 64 dimensions. Right: UMAP's map.", "name": "fig-maps"}, "image": {"alt": "On the left one cloud in which people overlap; on the right separate islands, most of them of one person"}}
fig, axes = plots.figure(2, width=7.4, height=3.4)
for ax, (name, points) in zip(axes, flat.items(), strict=True):
    plots.flat_map(ax, points, twenty, title=name)

# %% [markdown]
# The map on the right is the kind that papers print. It suggests that people are islands with wide
# water between them. How much of that is really in the embedding? As a control, we give UMAP points
# that contain nothing to find: the same number of random directions, without people and without
# clusters.

# %%
nothing = sphere.at_random(len(cloud), 64, seed=seed).numpy()
invented = {
    f"{k} neighbours": projection.umap(nothing, neighbours=k, seed=seed)
    for k in (15, 3)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "UMAP's maps of random directions in 64 dimensions, for two values of its main parameter, the number of neighbours. The points have no structure.", "name": "fig-invented"}, "image": {"alt": "Two maps of dark dots; the left one a loose cloud, the right one torn into clumps and strings"}}
fig, axes = plots.figure(2, width=7.4, height=2.8)
for ax, (name, points) in zip(axes, invented.items(), strict=True):
    plots.flat_map(ax, points, title=name)

# %% [markdown]
# UMAP found islands in pure noise. The next table measures what each map keeps and what it adds.
# *Neighbours kept* is the share of each point's ten nearest neighbours that are still among its ten
# nearest on the map. Clusters are counted by HDBSCAN {cite}`campello2013hdbscan`, which may also
# answer "none".

# %% tags=["hide-input"]
everything = {
    "strangers, PCA": (cloud, flat["PCA"], twenty),
    "strangers, UMAP": (cloud, flat["UMAP"], twenty),
    **{f"random, UMAP, {k}": (nothing, m, None) for k, m in invented.items()},
}
rows = []
for name, (before, after, who) in everything.items():
    order = (
        "" if who is None else f"{projection.order_kept(before, after, who):.2f}"
    )
    counted = (
        projection.clusters(projection.directions(before)),
        projection.clusters(after),
    )
    kept = f"{projection.neighbours_kept(before, after):.0%}"
    rows.append([name, kept, order, *counted])
session.Table(
    [
        "map",
        "neighbours kept, of 10",
        "distances between people, rank correlation",
        "clusters in 64-d",
        "clusters on the map",
    ],
    rows,
)

# %% tags=["remove-input"]
random_kinds = [projection.clusters(m) for m in invented.values()]
session.report(
    none_there=projection.clusters(nothing),
    invented_few=random_kinds[1],
)
kept = {k: projection.neighbours_kept(cloud, m) for k, m in flat.items()}
session.report(
    kept_pca=kept["PCA"],
    kept_umap=kept["UMAP"],
    order_pca=projection.order_kept(cloud, flat["PCA"], twenty),
    order_umap=projection.order_kept(cloud, flat["UMAP"], twenty),
)

# %% [markdown]
# **UMAP keeps neighbours**, {glue:text}`kept_umap:.0%` of them compared with
# {glue:text}`kept_pca:.0%` for principal components. If two images lie side by side on its map,
# they probably do on the sphere.
#
# **UMAP invents gaps.** In the random points themselves HDBSCAN finds {glue:text}`none_there`
# clusters; on the map with three neighbours it finds {glue:text}`invented_few`. Wherever points
# happen to be a little denser, UMAP contracts them and puts empty space around them. Sizes, gaps
# and densities on such a map say more about UMAP than about the embedding.
#
# **Distances between people** are kept only in part: their order on the map correlates with the
# true one at {glue:text}`order_umap:.2f` (principal components: {glue:text}`order_pca:.2f`). Some
# of that is due to the starting positions, since ours are the principal components, as
# {cite:t}`kobak2021initialization` advise.
#
# So use a map to find mislabelled images and strange neighbours. Do not measure on it, and do not
# compare two losses by how clean their maps look. Chapter 11 has the numbers for that, and chapter
# 12 the comparison.
#
# ## Margins, sample by sample
#
# CDML gives every training image a margin. Does it give the right ones? In the face lab we can
# check, because we know how hard each image is and which labels are wrong. (The {term}`oracle` of
# chapter 5 used this knowledge; CDML has to do without.) The next figure plots margin against
# difficulty for {glue:text}`looked_at` images of the training set after the last epoch. Look at the
# slope of the line, and at where the wrong labels are.

# %%
source = datasets.load(sixty_four.data.name, sixty_four.data.options)
cdml = trained["cdml"]
truth = Truth(source, training.prepare(cdml.backbone))
margin = truth.scores(cdml.backbone, cdml.head)["margin_rad"].numpy()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Margins of individual training images after training, against their known difficulty. The line joins the medians of ten equal groups of correctly labelled images; the base margin is dashed.", "name": "fig-margin-difficulty"}, "image": {"alt": "A cloud of dots that falls slightly to the right, and red dots of wrong labels far below it"}}
fig, (ax,) = plots.figure(width=6.4, height=3.0)
plots.margins_against_difficulty(
    ax, truth.difficulty, margin, truth.wrong, base_rad=graded["margin_rad"]
)

# %% tags=["remove-input"]
right = ~truth.wrong
order = rank_correlation(margin[right], -truth.difficulty[right])
session.report(
    looked_at=f"{len(margin):,}",
    margin_order=order,
    margin_right=float(margin[right].mean()),
    margin_wrong=float(margin[truth.wrong].mean()),
)

# %% [markdown]
# Among correctly labelled images, the easier ones tend to get the larger margin: the rank
# correlation of margin and ease is {glue:text}`margin_order:.2f`. Wrong labels stand out more
# clearly, with a mean margin of {glue:text}`margin_wrong:.3f` compared with
# {glue:text}`margin_right:.3f` for correct ones. And since these are images, we can simply look at
# both ends of the order.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Training images by the margin that CDML gave them at the end of the training. The images in the last row carry somebody else's label.", "name": "fig-margin-ends"}, "image": {"alt": "Three rows of ten rendered faces: faces with striking features in the first, turned and more common ones in the second, and in the third wrongly labelled ones that look like any other"}}
by_margin = np.argsort(margin)
hard, wrong = (by_margin[k[by_margin]][:10] for k in (right, truth.wrong))
ends = np.concatenate([by_margin[::-1][:10], hard, wrong])
plots.contact_sheet(
    truth.images[ends].permute(0, 2, 3, 1).contiguous().numpy(),
    columns=10,
    rows=["largest margin", "smallest, right label", "smallest, wrong label"],
    image_px=56,
)

# %% [markdown]
# The first two rows are not quite what a person would call easy and hard. A beard or a bald head is
# recognised through any blur, while a well-lit face may resemble too many others: the margin
# follows what the *network* finds hard. In the last row nothing is wrong with the images, only with
# their labels. Chapter 5 asked what that does to a loss.
#
# ## How even are the class centres?
#
# A margin needs room between class centres. How much room is there? For few centres the best
# arrangement is known. Up to $d + 1$ of them can form the corners of a simplex, where each is at
#
# ```{math}
# :label: eq-simplex
# \theta = \arccos\frac{-1}{c - 1}
# ```
#
# from every other, a little more than a right angle. With more centres than that, no arrangement
# keeps all pairs more than **90 degrees** apart {cite}`rankin1955packing`, and with more than $2d$
# even 90 degrees cannot be reached. Networks that are trained to the very end on few classes do
# form the simplex, which is known as neural collapse {cite}`papyan2020collapse`.
#
# Our {glue:text}`people` centres in 64 dimensions are too many for a simplex. We therefore compare
# them with the most even arrangement that an optimiser can find, and with random directions. The
# further right a curve lies, the more room its centres have.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Angle from each class centre to its nearest neighbour, as a cumulative share, for the three trained networks, for random directions and for the most even arrangement found.", "name": "fig-centres"}, "image": {"alt": "Five rising step curves over the angle to the nearest other centre; those of the trained networks lie to the left of random directions, and the most even arrangement is a vertical line near 90 degrees"}}
nearest = {
    name: sphere.nearest_deg(t.head.centres) for name, t in trained.items()
}
references = {
    "random directions": sphere.nearest_deg(
        sphere.at_random(people, 64, seed=seed)
    ),
    "most even found": sphere.nearest_deg(
        sphere.most_even(people, 64, seed=seed)
    ),
}
fig, (ax,) = plots.figure(width=6.4, height=3.0)
limit = sphere.bound_deg(people, 64)
plots.neighbour_angles(ax, nearest | references, bound_deg=limit)

# %% tags=["remove-input"]
for name, angles in (nearest | references).items():
    key = name.split()[0]
    session.report(
        **{
            f"nearest_{key}": float(np.median(angles)),
            f"closest_{key}": float(angles.min()),
        },
    )

# %% [markdown]
# For the median centre, the nearest neighbour is {glue:text}`nearest_arcface:.1f` degrees away with
# ArcFace, {glue:text}`nearest_cdml:.1f` with CDML and {glue:text}`nearest_softmax:.1f` with
# softmax. Random directions have {glue:text}`nearest_random:.1f`, so any loss below that places its
# centres *less* evenly than chance.
#
# The closest pair of all is more striking still: {glue:text}`closest_arcface:.1f` degrees with
# ArcFace and {glue:text}`closest_softmax:.1f` with softmax, compared with
# {glue:text}`closest_random:.1f` for random directions. Every loss here pushes people apart. Why
# does it leave two of them so close?
#
# One answer is that no loss asks for even centres. It asks that an image be nearer to its own
# centre than to any other, and people who look alike may then have centres that are alike. If the
# embedding is to be useful for strangers, they should. The portraits let you judge: do the people
# in each column look alike?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The ten pairs of training people whose ArcFace centres are closest. Each pair is shown once: a person above, and below the one whose centre is nearest to theirs. Portraits without nuisances.", "name": "fig-nearest-people"}, "image": {"alt": "Two rows of ten rendered portraits; the faces above and below resemble each other more or less"}}
centres = trained["arcface"].head.centres.detach()
cosines = cosine(centres, centres)
cosines.fill_diagonal_(-1.0)
value, other = cosines.max(dim=1)
once = {}  # two people who are nearest to each other are one pair
for k in value.argsort(descending=True).tolist():
    once.setdefault(frozenset((k, int(other[k]))), (k, int(other[k])))
one, two = torch.tensor(list(once.values())[:10]).T
mutual = float((other[other] == torch.arange(people)).double().mean())
portraits = faces.render(torch.cat([one, two]), seed=0, size=64)
plots.contact_sheet(
    portraits.permute(0, 2, 3, 1).contiguous().numpy(),
    columns=10,
    rows=["person", "nearest"],
    image_px=62,
)

# %% tags=["remove-input"]
session.report(mutual=mutual)
pair = torch.triu_indices(people, people, 1)
apart = -cosines[pair[0], pair[1]].double().numpy()
latent = faces.latents(0, torch.arange(people))  # shape (people, numbers)
differ = (latent[pair[0]] - latent[pair[1]]).abs().double().numpy()
goes_with = {
    name: rank_correlation(apart, differ[:, k])
    for k, name in enumerate(faces.LATENTS)
}
session.report(
    skin_order=goes_with.pop("melanin"),
    other_order=max(goes_with.values()),
)

# %% [markdown]
# (Being nearest is not always mutual: {glue:text}`mutual:.0%` of these people are also the nearest
# neighbour of their own nearest neighbour.)
#
# Look at the skin. The face lab knows every person's latent numbers, so we can ask which of them
# goes with the angle between two centres. For skin colour, over all pairs of people, the rank
# correlation with the difference in that number is {glue:text}`skin_order:.2f`. For none of the
# others does it exceed {glue:text}`other_order:.2f`. The network sorts people by skin colour first,
# a warning for real data too: among people of one skin colour, impostors are closer.
#
# That explains *which* pairs are close. Why they are *this* close depends on how much room there
# is.
#
# ## How many dimensions are in use?
#
# An embedding with 64 dimensions need not use 64 directions. Take unit embeddings, subtract their
# mean, and let $p_k$ be the share of the variance along principal direction $k$. The
# **{term}`effective dimension`**
#
# ```{math}
# :label: eq-effective-dim
# d_{\text{eff}} = \frac{1}{\sum_k p_k^2}
# ```
#
# is $d$ if all directions have the same share, and 1 if a single direction has all of it. In the
# figure, the faster a curve rises, the fewer directions carry the variance.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of the variance in the first principal directions: strangers' embeddings by each network, known people by the ArcFace network, and random directions.", "name": "fig-spectra"}, "image": {"alt": "Five rising curves; those of ArcFace and CDML rise fastest, softmax's more slowly, and that of random directions is almost straight"}}
random_cloud = sphere.at_random(len(parts["strangers"].identity), 64, seed=seed)
shares = {
    f"{plots.label(name)}, strangers": sphere.spectrum(
        embedded[name, "strangers"]
    )
    for name in trained
}
shares["ArcFace, people it knows"] = sphere.spectrum(
    embedded["arcface", "people it knows"]
)
shares["random directions"] = sphere.spectrum(random_cloud)
fig, (ax,) = plots.figure(width=6.4, height=3.0)
dashes = {"ArcFace, people it knows": "--", "random directions": ":"}
plots.spectra(ax, shares, styles=dashes)

# %% tags=["hide-input"]
dimension = {
    key: sphere.effective_dim(sphere.spectrum(e)) for key, e in embedded.items()
}
for name, t in trained.items():
    dimension[name, "class centres"] = sphere.effective_dim(
        sphere.spectrum(t.head.centres)
    )
released = sphere.effective_dim(
    sphere.spectrum(evaluate.embed(network, parts["strangers"].images))
)
columns = [*parts, "class centres"]
rows = [
    [plots.label(n), *(f"{dimension[n, part]:.1f}" for part in columns)]
    for n in trained
]
rows.append(["the released network", "", f"{released:.1f}", ""])
session.Table(["effective dimension, of 64", *columns], rows)

# %% tags=["remove-input"]
session.report(
    dim_strangers=dimension["arcface", "strangers"],
    dim_softmax=dimension["softmax", "strangers"],
    dim_centres=dimension["arcface", "class centres"],
    dim_released=released,
    eer_softmax=errors["softmax", "strangers"],
    dim_from_sd=float(np.degrees(1) / spread["arcface", "strangers"]) ** 2,
)
for name in ("arcface", "softmax"):
    used = round(dimension[name, "class centres"])
    closest = [
        sphere.nearest_deg(sphere.at_random(people, used, seed=k)).min()
        for k in range(20)
    ]
    session.report(**{f"crowd_{name}": float(np.mean(closest))})

# %% [markdown]
# ArcFace's embeddings of strangers use about {glue:text}`dim_strangers:.0f` of 64 directions,
# softmax's about {glue:text}`dim_softmax:.0f`. Does using more of them help? Their equal error
# rates are {glue:text}`eer_strangers:.1%` and {glue:text}`eer_softmax:.1%`: more dimensions mean
# capacity, not accuracy.
#
# The released network has learned from ten times as many people and harder images, and still uses
# only {glue:text}`dim_released:.0f` for the same strangers. Perhaps a rendered face of 32 pixels
# has no more to offer.
#
# **Back to the closest pair.** ArcFace's class centres use about {glue:text}`dim_centres:.0f`
# directions, so the fair reference is chance in that many dimensions, not in 64. There the closest
# two of {glue:text}`people` random directions are on average {glue:text}`crowd_arcface:.1f` degrees
# apart, while ArcFace's closest two are {glue:text}`closest_arcface:.1f` apart. For softmax's
# centres the same calculation gives {glue:text}`crowd_softmax:.1f`, compared with
# {glue:text}`closest_softmax:.1f`. In the few directions that are used, then, a close pair is no
# accident of training: a hundred people are simply many. *Why* ArcFace settles on fewer directions
# than softmax remains open. One training each cannot tell whether the cause is the margin, the
# scale or the short training.
#
# The effective dimension also explains the spread of the impostor angles. If embeddings have no
# common direction, the mean squared cosine of two of them is
#
# ```{math}
# :label: eq-cosine-spread
# \mathbb E \cos^2\theta = \sum_k p_k^2 = \frac{1}{d_{\text{eff}}} ,
# ```
#
# so angles spread around 90 degrees by about $1/\sqrt{d_{\text{eff}}}$ radians, just as random
# directions would in $d_{\text{eff}}$ dimensions. Turned around, the histogram of strangers alone
# predicts {glue:text}`dim_from_sd:.1f` dimensions, without a look at a single embedding. This is
# why directions matter after all: to accept no more than one impostor in a million, a network needs
# a narrow spread, and therefore many directions.
#
# ## Real faces
#
# With `-p real_faces true`, and with LFW-a in a data folder ({doc}`/datasets` describes where), the
# same numbers are measured on photographs. The network has only ever seen rendered people.

# %%
if real_faces and lfw.available():
    album = lfw.images(size=(32, 32))
    judged = lfw.pairs(album)
    real = evaluate.embed(
        network, album, prepare=lambda x: apply(x, said.preprocessing)
    )
    cosines = evaluate.scores(real, judged)
    deg = np.degrees(np.arccos(cosines))
    for kind, k in (("genuine", judged.same), ("impostor", ~judged.same)):
        print(f"{kind}: {deg[k].mean():.1f} ± {deg[k].std():.1f} degrees")
    used = sphere.effective_dim(sphere.spectrum(real))
    print(f"effective dimension {used:.1f} of 64")
else:
    print("No photographs were looked at.")

# %% [markdown]
# ## Where we deviate
#
# Everything here is small: {glue:text}`people` people, images of 32 pixels, and a single seed.
# Differences between ArcFace and CDML are small enough to come from the seed. Softmax clearly
# differs from both, but its distance would change with another seed. Chapter 12 compares losses
# over many seeds. The most even arrangement is the best that one optimiser found, not a proven
# optimum. UMAP's result depends on its version and on the machine, even with a fixed {term}`seed`,
# so the number of clusters on its maps may differ on yours.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(10)

# %% [markdown]
# ## Exercises
#
# **10.1** Six class centres lie in 64 dimensions. How far apart, in degrees, can the closest two of
# them be at best?

# %%
exercises.check("10.1", None)

# %% [markdown]
# <details><summary>Solution 10.1</summary>
#
# Six is less than $d + 1$, so they can form a simplex: {eq}`eq-simplex` gives
# $\arccos(-1/5) \approx 101.5$ degrees. In code: `sphere.bound_deg(6, 64)`.
#
# </details>
#
# **10.2** What is the standard deviation, in degrees, of the angle between two random directions in
# 512 dimensions? Hint: their cosine has mean 0 and variance $1/d$, and near 90 degrees a small
# change of the cosine is an equally small change of the angle in radians.

# %%
exercises.check("10.2", None)

# %% [markdown]
# <details><summary>Solution 10.2</summary>
#
# $1/\sqrt{512} = 0.0442$ radians, which is 2.53 degrees.
#
# </details>
#
# **10.3** Write a function of class centres (an array of shape `[c, d]`, not necessarily unit
# vectors) that returns the angle from each to the nearest other one, in degrees, shape `[c]`.

# %%
exercises.check("10.3", None)

# %% [markdown]
# <details><summary>Solution 10.3</summary>
#
# ```python
# def nearest(w):
#     unit = w / np.linalg.norm(w, axis=1, keepdims=True)
#     cosines = unit @ unit.T - 2 * np.eye(len(w))
#     return np.degrees(np.arccos(cosines.max(axis=1).clip(-1, 1)))
# ```
#
# Subtracting 2 on the diagonal keeps each centre from choosing itself.
#
# </details>
#
# **10.4** Write a function of embeddings (an array of shape `[n, d]`, not necessarily unit vectors)
# that returns their effective dimension, {eq}`eq-effective-dim`.

# %%
exercises.check("10.4", None)

# %% [markdown]
# <details><summary>Solution 10.4</summary>
#
# ```python
# def dimensions(x):
#     unit = x / np.linalg.norm(x, axis=1, keepdims=True)
#     variance = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
#     return variance.sum() ** 2 / (variance**2).sum()
# ```
#
# </details>
#
# **10.5** Run the chapter with `-p people 300 -p epochs 12`. Does the effective dimension of
# strangers grow, and does the spread of their impostor angles become narrower? There is no checker
# for this one: the answer is in your tables.
#
# ## Recap
#
# - *What a plot shows:* everything, in three dimensions. UMAP's map of more dimensions keeps
#   neighbours and invents gaps; use it to find images, not to measure.
# - *Angles and chance:* in many dimensions random directions are at right angles, and impostor
#   pairs average about 90 degrees whatever the loss. False accepts come from their spread. Known
#   people and strangers had nearly the same angles here.
# - *Dynamic margins:* sort the samples by margin and look at both ends. Hard images and wrong
#   labels get the smallest.
# - *Class centres:* compare them with chance and with the most even arrangement. Ours are less even
#   than chance in 64 dimensions, because they use far fewer.
# - *Dimensions in use:* the effective dimension counts them, and its inverse square root is the
#   spread of the impostor angles in radians.
#
# We have seen where genuine and impostor pairs lie. How good a verification system do they make,
# and how sure can we be of the number? That is chapter 11.
#
# ## References
#
# UMAP: {cite:t}`mcinnes2018umap`, {cite:t}`kobak2021initialization`. Clusters:
# {cite:t}`campello2013hdbscan`. Points on spheres: {cite:t}`rankin1955packing`. Even and aligned
# embeddings: {cite:t}`wang2020hypersphere`, {cite:t}`papyan2020collapse`.
