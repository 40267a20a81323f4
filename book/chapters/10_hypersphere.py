# ---
# cdmllab:
#   data: [results/models/lab_small.safetensors]
# ---
# %% [markdown]
# # Seeing the hypersphere
#
# :::{admonition} After this chapter you can
# :class: tip
# - say what of an embedding an image can show, and what a flattened one invents;
# - read the angles between images of one person and of two, of people the network knows and of
#   strangers, beside chance;
# - find the samples to which a dynamic margin gave most and least, and look at them;
# - say how evenly class centres lie on the sphere, beside chance and beside the best there can be;
# - measure how many of its dimensions an embedding uses.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 4 and 6. Six small networks are trained here on rendered faces; the chapter takes about
# two minutes on one CPU core. They are demonstrations of how to look, too small and too few to rank
# the losses.
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
from cdmllab.book import exercises, session
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
# ## Three dimensions: all there is
#
# An embedding with three numbers can be seen whole. Chapter 1 did that with digits; here are ten
# people of the face lab, and three losses. The images on the globes are new ones of the same ten
# people.

# %%
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

new = 100  # numbers of images from here on; none of them is trained on
shown, shown_who, _ = faces.album(10, 20, start=new, strength=0.3)
seen = {
    name: Snapshots(
        apply(shown, standard(3, 32)), shown_who, (0, 1, 2, 3, 5, 8, 12, 16)
    )
    for name in losses
}
for name, loss in losses.items():
    training.train(ten.changed(loss=loss), within=lab.runs, at_epoch=seen[name])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "New images of ten people on the unit sphere, after training with each loss; rings are the class centres, what lies behind the globe is pale.", "name": "fig-three-spheres"}, "image": {"alt": "Three globes with ten clusters of coloured points each around ringed class centres, more or less evenly spread"}}
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
# Two things can be read off a globe, and both are angles. How far is an image from its class
# centre? How far is a class centre from the nearest other one? The second question has a best
# answer. Ten points on a sphere cannot all be far from each other, and the most even way to put
# them, found by letting them repel each other, is the last row.

# %% tags=["hide-input"]
even = sphere.nearest_deg(sphere.most_even(10, 3, seed=seed))
chance = [sphere.nearest_deg(sphere.at_random(10, 3, seed=k)) for k in range(200)]
rows = []
for name, found in seen.items():
    own = angle_between(found.points[-1], found.centres[-1][shown_who])
    nearest = sphere.nearest_deg(found.centres[-1])
    told = (torch.rad2deg(own).mean(), nearest.mean(), nearest.min())
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
        "the nearest two",
    ],
    rows,
)

# %% tags=["remove-input"]
session.tell(even_ten=float(even.min()))

# %% [markdown]
# Ten points in three dimensions can be {glue:text}`even_ten:.1f` degrees apart, no more. Three
# dimensions are crowded; what that costs strangers stood in chapter 1.
#
# The third globe is yours. Go through the epochs, and colour the points by margin. CDML's is linear
# here, so every image has a margin of its own: large where the embedding lies near its class
# centre.

# %% tags=["hide-input"]
found = seen["cdml"]
elevation, azimuth = plots.facing(found.centres[-1])
globe = Hypersphere.of(
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
# ## More dimensions are another place
#
# A face network has 512 dimensions, and what one has learnt to see on a globe is wrong there. Draw
# two directions at random. Their angle $\theta$ has the density
#
# ```{math}
# :label: eq-chance-angle
# f(\theta) = \frac{\Gamma(d/2)}{\sqrt\pi\,\Gamma\bigl((d-1)/2\bigr)}\,\sin^{d-2}\theta ,
# ```
#
# since the points at angle $\theta$ from the first direction form a sphere of one dimension less,
# with radius $\sin\theta$. On the globe that is broad. With many dimensions it is a spike at 90
# degrees, about $1/\sqrt d$ radians wide: **in high dimensions nearly everything is at right angles
# to nearly everything else.**

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How the angle between two random directions is spread, in three numbers of dimensions.", "name": "fig-chance"}, "image": {"alt": "Three curves over the angle from 0 to 180 degrees; a low broad one for 3 dimensions, a narrow one for 64, a spike at 90 degrees for 512"}}
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
    session.tell(**{f"chance_sd_{d}": float(spread)})

# %% [markdown]
# The standard deviations are {glue:text}`chance_sd_3:.1f`, {glue:text}`chance_sd_64:.1f` and
# {glue:text}`chance_sd_512:.1f` degrees. So an impostor pair at 70 degrees is nothing on the globe;
# in 512 dimensions it is eight standard deviations out, and means that the network has something in
# common to say about the two. Keep the curve for 64 dimensions in mind: it is the dashed one below.
#
# ## Angles: the people it knows, and strangers
#
# Now three networks with 64 dimensions, trained on {glue:text}`people` people. CDML's margin is
# linear again and its mean is held, so that it differs from ArcFace's only in who gets how much.

# %%
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
session.tell(people=people)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "People the network was trained on, in new images: angles of genuine and impostor pairs. Dashed: random directions in 64 dimensions.", "name": "fig-angles-known"}, "image": {"alt": "One panel a loss with two histograms; impostor angles lie around 90 degrees and are spread wider than the dashed curve, genuine ones are broad and further left"}}
fig, axes = plots.figure(3, width=7.6, height=2.1)
for ax, name in zip(axes, trained, strict=True):
    key = name, "people it knows"
    same = compared[key[1]].same
    ends = {"title": plots.label(name), "legend": ax is axes[0]}
    plots.angle_histogram(ax, scores[key], same, chance_dim=64, **ends)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for strangers.", "name": "fig-angles-strangers"}, "image": {"alt": "One panel a loss with two histograms, much like those before; impostor angles are spread wider than the dashed curve"}}
fig, axes = plots.figure(3, width=7.6, height=2.1)
for ax, name in zip(axes, trained, strict=True):
    key = name, "strangers"
    same = compared[key[1]].same
    ends = {"title": plots.label(name), "legend": ax is axes[0]}
    plots.angle_histogram(ax, scores[key], same, chance_dim=64, **ends)

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
session.tell(
    impostor_sd=spread["arcface", "strangers"],
    eer_known=errors["arcface", "people it knows"],
    eer_strangers=errors["arcface", "strangers"],
    strangers_judged=session.beside(
        errors["arcface", "strangers"],
        errors["arcface", "people it knows"],
        more="worse",
        less="no worse",
    ),
)

# %% [markdown]
# The **{term}`equal error rate`** is the error at the threshold where both kinds of pairs err
# equally often: as many genuine pairs in a hundred are refused as impostor pairs are accepted.
# Three readings, each against the naive one:
#
# - **Impostor pairs are already at 90 degrees.** No loss pushes people much further apart than that
#   on the mean: the cosines of $n$ directions average at least $-1/(n - 1)$, in any number of
#   dimensions. What a loss can change is the *spread*, and it is the left tail of the impostors,
#   not their mean, that makes false accepts.
# - **The spread is far from chance.** With ArcFace the impostor angles of strangers have a standard
#   deviation of {glue:text}`impostor_sd:.1f` degrees, random directions
#   {glue:text}`chance_sd_64:.1f`. The network does not put people anywhere on the sphere: it uses
#   fewer directions than it has. How many, we count below.
# - **Genuine pairs are far from 0.** Two images that stand 40 degrees from their class centre, in
#   directions of their own, are $\arccos(\cos^2 40°) \approx 54$ degrees from each other. That is
#   enough, if impostors are further away.
#
# Chapter 1 judged known digits and strangers apart, and the table above does the same with people:
# with ArcFace the equal error rate is {glue:text}`eer_known:.1%` for people it knows and
# {glue:text}`eer_strangers:.1%` for strangers. Strangers are judged {glue:text}`strangers_judged`.
# The two are different people, {glue:text}`people` each, and a difference of this size is within
# what another {glue:text}`people` would give (chapter 11).
#
# ## Flattening it
#
# Sixty-four dimensions have to lose something on paper. **Principal components** keep the two
# directions with most of the variance and drop the rest: a shadow. **{term}`UMAP`**
# {cite}`mcinnes2018umap` asks only that each point stay with its nearest neighbours, and moves the
# points in the plane until most do. Here are twenty strangers, twelve images each, embedded by
# the lab's released network.

# %%
network, said = weights.load_release(
    results.folder() / "models/lab_small.safetensors"
)
images, twenty, _ = faces.album(20, 12, first=20_000, start=new)
cloud = evaluate.embed(network, images).numpy()
flat = {"PCA": projection.pca(cloud), "UMAP": projection.umap(cloud, seed=seed)}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Twenty strangers, twelve images each, a colour and a marker for each person: the shadow of 64 dimensions on two, and UMAP's map.", "name": "fig-maps"}, "image": {"alt": "On the left one cloud in which people overlap; on the right separate islands, most of them of one person"}}
fig, axes = plots.figure(2, width=7.4, height=3.4)
for ax, (name, points) in zip(axes, flat.items(), strict=True):
    plots.flat_map(ax, points, twenty, title=name)

# %% [markdown]
# The map on the right is the one that goes into papers. It looks as if these people were islands
# with wide water between them. To see how much of this is in the embedding, we give UMAP points in
# which there is nothing to find: as many random directions, without people, without clusters.

# %%
nothing = sphere.at_random(len(cloud), 64, seed=seed).numpy()
invented = {
    f"{k} neighbours": projection.umap(nothing, neighbours=k, seed=seed)
    for k in (15, 3)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "UMAP's maps of random directions in 64 dimensions, for two settings of its main parameter. There is no structure in these points.", "name": "fig-invented"}, "image": {"alt": "Two maps of dark dots; the left one a loose cloud, the right one torn into clumps and strings"}}
fig, axes = plots.figure(2, width=7.4, height=2.8)
for ax, (name, points) in zip(axes, invented.items(), strict=True):
    plots.flat_map(ax, points, title=name)

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
        "of 10 neighbours kept",
        "order of distances between people kept",
        "clusters in 64-d",
        "clusters on the map",
    ],
    rows,
)

# %% tags=["remove-input"]
random_kinds = [projection.clusters(m) for m in invented.values()]
session.tell(
    none_there=projection.clusters(nothing),
    invented_few=random_kinds[1],
)
kept = {k: projection.neighbours_kept(cloud, m) for k, m in flat.items()}
session.tell(
    kept_pca=kept["PCA"],
    kept_umap=kept["UMAP"],
    order_pca=projection.order_kept(cloud, flat["PCA"], twenty),
    order_umap=projection.order_kept(cloud, flat["UMAP"], twenty),
)

# %% [markdown]
# Neighbours kept: of the ten nearest of each point, how many are among its ten nearest on the map.
# Clusters are counted by HDBSCAN {cite}`campello2013hdbscan`, which may also answer "none".
#
# **What UMAP keeps** are neighbours: {glue:text}`kept_umap:.0%` of them, against
# {glue:text}`kept_pca:.0%` in the shadow. If two images lie side by side on its map, they
# probably do on the sphere. **What it invents** is empty space. In the random points HDBSCAN finds
# {glue:text}`none_there` clusters, on the map with three neighbours {glue:text}`invented_few`: it
# makes dense what is a little denser, and water between. Sizes, gaps and densities on such a map
# are UMAP's own. The order of distances *between* people is kept with a correlation of
# {glue:text}`order_umap:.2f` (in the shadow {glue:text}`order_pca:.2f`), and part of that is due to
# where the map began: ours starts from the principal components, as
# {cite:t}`kobak2021initialization` advise. So use it to find mislabelled images and strange
# neighbours. Do not measure on it, and do not compare two losses by how clean their maps look:
# chapter 11 has the numbers for that, chapter 12 the comparison.
#
# ## Margins, sample by sample
#
# CDML gave each training image a margin. The face lab knows how hard each image is, and which
# labels are wrong. One figure puts the two together, for {glue:text}`looked_at` images of the
# training set after the last epoch:

# %%
source = datasets.load(sixty_four.data.name, sixty_four.data.options)
cdml = trained["cdml"]
truth = Truth(source, training.prepare(cdml.backbone))
margin = truth.scores(cdml.backbone, cdml.head)["margin_rad"].numpy()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Margins of single training images after the training, against their known difficulty. The line joins the medians of tenths of the rightly labelled ones; dashed is the base margin.", "name": "fig-margin-difficulty"}, "image": {"alt": "A cloud of dots that falls slightly to the right, and red dots of wrong labels far below it"}}
fig, (ax,) = plots.figure(width=6.4, height=3.0)
plots.margins_against_difficulty(
    ax, truth.difficulty, margin, truth.wrong, base_rad=graded["margin_rad"]
)

# %% tags=["remove-input"]
right = ~truth.wrong
order = rank_correlation(margin[right], -truth.difficulty[right])
session.tell(
    looked_at=f"{len(margin):,}",
    margin_order=order,
    margin_right=float(margin[right].mean()),
    margin_wrong=float(margin[truth.wrong].mean()),
)

# %% [markdown]
# Among rightly labelled images the rank correlation of margin and ease is
# {glue:text}`margin_order:.2f`; their mean margin is {glue:text}`margin_right:.3f`, that of the
# wrongly labelled ones {glue:text}`margin_wrong:.3f`. And since these are images, we can simply
# look at the ends of the order.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Training images by the margin that CDML gave them at the end. Those in the last row carry the name of somebody else.", "name": "fig-margin-ends"}, "image": {"alt": "Three rows of ten rendered faces; faces with striking features in the first, turned ones and more common ones in the second, and in the third wrongly labelled ones that look like any other"}}
by_margin = np.argsort(margin)
hard, wrong = (by_margin[k[by_margin]][:10] for k in (right, truth.wrong))
ends = np.concatenate([by_margin[::-1][:10], hard, wrong])
plots.contact_sheet(
    truth.images[ends].permute(0, 2, 3, 1).contiguous().numpy(),
    columns=10,
    rows=["largest margin", "smallest, right label", "smallest, wrong label"],
    shown=56,
)

# %% [markdown]
# The first two rows are not quite what one would call easy and hard. A beard or a bald head is
# known through any blur, and a face in good light may be like too many others: the margin follows
# what the *network* finds hard. In the last row nothing is wrong with the images, only with their
# labels. Chapter 5 asks what that does to a loss.
#
# ## How even are the class centres?
#
# A margin needs room between class centres. How much is there? For few centres the best is known:
# up to $d + 1$ of them can stand like the corners of a simplex, each at
#
# ```{math}
# :label: eq-simplex
# \theta = \arccos\frac{-1}{c - 1}
# ```
#
# from every other, a little more than a right angle. With more than that, no arrangement keeps all
# of them further than **90 degrees** apart {cite}`rankin1955packing`, and with more than $2d$ not
# even that is reached. Networks that are trained to the very end on few classes do form the
# simplex; it is called neural collapse {cite}`papyan2020collapse`. Our {glue:text}`people` centres
# in 64 dimensions are too many for it. So we ask an optimiser for the most even arrangement it can
# find, and chance for the least effort.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How near the nearest other class centre is, for the three trained networks, for random directions and for the most even arrangement that was found.", "name": "fig-centres"}, "image": {"alt": "Five rising step curves over the angle to the nearest other centre; those of the trained networks to the left of that of random directions, the most even arrangement a vertical line near 90 degrees"}}
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
    session.tell(
        **{
            f"nearest_{key}": float(np.median(angles)),
            f"closest_{key}": float(angles.min()),
        },
    )

# %% [markdown]
# The median class centre has its nearest neighbour at {glue:text}`nearest_arcface:.1f` degrees with
# ArcFace, at {glue:text}`nearest_cdml:.1f` with CDML and at {glue:text}`nearest_softmax:.1f` with
# softmax; random directions have it at {glue:text}`nearest_random:.1f`, and the most even
# arrangement found at {glue:text}`nearest_most:.1f`. A loss whose number is below that of chance
# has centres that are *less* even than chance. No loss asks them to be even: it asks that images
# be nearer to their own centre than to any other, and people who look alike get centres that are
# alike. If strangers are to profit, they should. Who are the nearest ones?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The ten pairs of people of the training set whose ArcFace centres are nearest to each other, each pair once: above a person, below the one whose centre is nearest to theirs. Portraits without nuisances.", "name": "fig-nearest-people"}, "image": {"alt": "Two rows of ten rendered portraits; the faces above and below resemble each other more or less"}}
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
    shown=62,
)

# %% tags=["remove-input"]
session.tell(mutual=mutual)

# %% [markdown]
# (To be nearest is not mutual: only {glue:text}`mutual:.0%` of these people are nearest to the one who is nearest to them.)
#
# ## How many dimensions are in use?
#
# An embedding of 64 numbers need not use 64 directions. Take unit embeddings, their mean away, and
# look at the share $p_k$ of the variance along each principal direction. The **{term}`effective dimension`**
#
# ```{math}
# :label: eq-effective-dim
# d_{\text{eff}} = \frac{1}{\sum_k p_k^2}
# ```
#
# is $d$ if all directions have the same share and 1 if one has all of it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much of the variance of strangers' embeddings the first principal directions hold, and the same for people the ArcFace network knows and for random directions.", "name": "fig-spectra"}, "image": {"alt": "Five rising curves; those of ArcFace and CDML rise fastest, softmax's more slowly, that of random directions is almost straight"}}
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
session.tell(
    dim_strangers=dimension["arcface", "strangers"],
    dim_softmax=dimension["softmax", "strangers"],
    dim_centres=dimension["arcface", "class centres"],
    dim_released=released,
    eer_softmax=errors["softmax", "strangers"],
    dim_from_sd=float(np.degrees(1) / spread["arcface", "strangers"]) ** 2,
)

# %% [markdown]
# ArcFace's embeddings of strangers use about {glue:text}`dim_strangers:.0f` directions of 64, its
# class centres {glue:text}`dim_centres:.0f`. Softmax uses {glue:text}`dim_softmax:.0f` for
# strangers. The equal error rates beside these are {glue:text}`eer_strangers:.1%` and
# {glue:text}`eer_softmax:.1%`: how many are in use does not say alone who errs less, for directions
# are room, not skill. And the released network, which learnt from ten times as many people and
# harder images, has {glue:text}`dim_released:.0f` for the same strangers. A rendered face of 32
# pixels may not have more to tell.
#
# This is the spread of the impostor angles in other words. If embeddings have no common direction,
# the mean squared cosine of two of them is
#
# ```{math}
# :label: eq-cosine-spread
# \mathbb E \cos^2\theta = \sum_k p_k^2 = \frac{1}{d_{\text{eff}}} ,
# ```
#
# so angles spread around 90 degrees by about $1/\sqrt{d_{\text{eff}}}$ radians, as chance would
# have it in $d_{\text{eff}}$ dimensions. From the histogram of strangers one reads
# {glue:text}`dim_from_sd:.1f`, without looking at a single embedding. To let in one impostor of a
# million takes a narrow spread, and so a network that uses many directions.
#
# ## Real faces
#
# With `-p real_faces true`, and LFW-a in a data folder ({doc}`/datasets` says where), the same
# numbers are measured on photographs. The network has only ever seen rendered people.

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
# Everything here is small: {glue:text}`people` people, 32 pixels, and one seed was trained.
# Differences between ArcFace and CDML here are small enough for a seed to make. That softmax stands
# apart is plain; by how much, another seed would say. Chapter 12 compares losses, with many seeds.
# The most even arrangement is the best that one optimiser found, not a proven one. UMAP depends on
# its version and on the machine, also with a fixed seed; the counts of clusters on its maps may
# differ on yours.
#
# ## Exercises
#
# **10.1** Six class centres, 64 dimensions. How far apart, in degrees, can the nearest two of them
# be at best?

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
# 512 dimensions? The cosine of such a pair has mean 0 and variance $1/d$, and near 90 degrees the
# angle moves as the cosine does.

# %%
exercises.check("10.2", None)

# %% [markdown]
# <details><summary>Solution 10.2</summary>
#
# $1/\sqrt{512} = 0.0442$ radians, that is 2.53 degrees.
#
# </details>
#
# **10.3** Write a function of class centres (an array of shape `[c, d]`, of any length) that
# returns the angle of each to the nearest other one, in degrees, shape `[c]`.

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
# Taking 2 off the diagonal makes each centre the last one it would choose.
#
# </details>
#
# **10.4** Write a function of embeddings (an array of shape `[n, d]`, of any length) that returns
# their effective dimension, {eq}`eq-effective-dim`.

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
# strangers grow, and do their impostor angles get narrower? There is no checker for this one: the
# answer is in your tables.
#
# ## Recap
#
# - Three dimensions can be seen whole, and are crowded. In many, random directions are at right
#   angles, and impostor pairs start where chance is. People the network knows and strangers had
#   nearly the same angles here.
# - Impostor pairs average about 90 degrees whatever the loss. Their spread, which is the number of
#   dimensions in use in other words, makes the false accepts; how near genuine pairs stand decides
#   how many of them one has to put up with.
# - UMAP keeps neighbours and invents gaps. It is for finding images, not for measuring.
# - A dynamic margin can be looked at: sort the samples by it. At the hard end stand hard images
#   and wrong labels.
# - Class centres can be compared with chance and with the most even arrangement; dimensions in use
#   can be counted.
#
# ## References
#
# UMAP: {cite:t}`mcinnes2018umap`, {cite:t}`kobak2021initialization`. Clusters:
# {cite:t}`campello2013hdbscan`. Points on spheres: {cite:t}`rankin1955packing`. Even and aligned
# embeddings: {cite:t}`wang2020hypersphere`, {cite:t}`papyan2020collapse`.
