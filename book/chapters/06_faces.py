# ---
# cdmllab:
#   data: [results/lab/protocols.json, results/models/lab_small.safetensors]
# ---
# %% [markdown]
# # A laboratory of faces
#
# :::{admonition} After this chapter you can
# :class: tip
# - explain what rendered faces can show that photographs cannot, and where they stop;
# - render any person under any nuisance, and state the strength of each;
# - describe what each of the lab's ten protocols tests, and compare how hard they are;
# - explain how the difficulty of an image is measured, and name what makes images hard here.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 2. The chapter renders about 1,400 images, which takes half a minute on one core. Nothing
# is trained; the accuracies come from runs that are kept in `results/`.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu": where to render
seed = 0  # of the world: another seed, other people
size = 112  # pixels of the images shown, 32 to 224
people = 40  # on the first contact sheet
strength = 0.65  # of the nuisances in the training mix, 0 to 1

# %% tags=["hide-input"]
import numpy as np
import torch
from myst_nb import glue

from cdmllab import evaluate, faces, plots, results
from cdmllab.backbones import weights
from cdmllab.book import exercises, questions, session
from cdmllab.book.widgets import FaceLab
from cdmllab.faces import difficulty, protocols
from cdmllab.preprocessing import apply
from cdmllab.results.published import ROWS

lab = session.start(profile, seed)

# %% [markdown]
# ## Why faces that nobody has
#
# CDML lets the margin follow the difficulty of each sample. Does its score really measure
# difficulty? Photographs cannot answer that. No data set knows how hard each of its images is, or
# which of its labels are wrong. Photographs of faces bring a second problem: the large data sets
# were collected without asking the people in them, and several have since been withdrawn.
#
# This book therefore has a laboratory, the *face lab*, which renders its faces. **Nobody's face is
# in it**: its people are computed from a hash, and its camera is a page of arithmetic. In return,
# everything about an image is known: who it shows, how far the head is turned, how old the face
# is, how it is lit, what is hidden, and whether the label is wrong.
#
# :::{admonition} What "hard" means in this lab
# :class: important
# One result comes first, because it decides how to read the others. In the lab's training images,
# {glue:text}`varies_restyling:.0%` of the variance of difficulty comes from **restyling**: other
# hair and another beard on the same face. A turned head contributes only
# {glue:text}`varies_yaw:.0%`. On photographs the shares are probably different. How they are
# measured is the subject of the second half of this chapter.
# :::
#
# The lab lets us *ask* a question about difficulty and get a definite answer. Whether the answer
# holds for real people has to be checked on photographs. Chapter 12 reports such measurements, and
# chapter 10 can look at photographs too (its parameter `real_faces`).
#
# Here are some of the lab's people, seen from the front and evenly lit. How would you describe one
# of them to somebody who has to pick them out?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "People of the face lab, without any nuisance. Each of them is a vector of 64 numbers.", "name": "fig-people"}, "image": {"alt": "A sheet of rendered faces that differ in skin, hair, age of features, sex, beard and shape of the head"}}
cast = (
    faces.render(torch.arange(people), seed=seed, size=size)
    .permute(0, 2, 3, 1)
    .numpy()
)
plots.contact_sheet(cast, columns=10, image_px=68)

# %% [markdown]
# ## Who somebody is
#
# An identity is a vector $\mathbf z \in \mathbb R^{64}$ of standard normal numbers, the person's
# *latent*. The numbers set the width of the jaw, the tilt of the eyes, the length of the nose, the
# skin, the hair, the freckles. With an ordinary random generator, each person would depend on all
# those drawn before. The lab computes every number from a hash of counters instead,
#
# ```{math}
# :label: eq-hash
# z_k = \Phi^{-1}\big(h(\text{seed}, \text{identity}, k)\big),
# ```
#
# where $h$ is uniform in $(0, 1)$ and $\Phi^{-1}$ is the quantile function of the normal
# distribution. Person 7,341 is therefore the same in every process and on every machine, alone or
# in a batch of thousands. A million people take no memory until we look at one of them. The lab
# clips the numbers at ±2.2, so that every face can be drawn.
#
# The table shows six of the 64 numbers. The hidden cell also checks that person 7,341 is the same
# alone and in a batch of a hundred.

# %% tags=["hide-input"]
z = faces.latents(seed, torch.tensor([7_341]))[0]
again = faces.latents(seed, torch.arange(7_300, 7_400))[41]
assert torch.equal(z, again)
rows = [
    [name, f"{value:+.2f}"]
    for name, value in list(zip(faces.LATENTS, z.tolist(), strict=True))[:6]
]
session.Table(["latent", "person 7,341"], rows)

# %% [markdown]
# ## How a head becomes an image
#
# A head is **star-shaped**: seen from its middle, there is exactly one surface point in every
# direction. Its shape is therefore a function $R(a, v)$ of the direction, given by the azimuth $a$
# and the sine $v$ of the elevation. We take the mean head $R_0$ and add some forty bumps, which
# depend on the identity, the expression and the age:
#
# ```{math}
# :label: eq-bumps
# R(a, v) = R_0(a, v) + \sum_k h_k\,
#   e^{-\frac12 \left(\frac{a - a_k}{\alpha_k}\right)^2} e^{-\frac12 \left(\frac{v - v_k}{\nu_k}\right)^2} .
# ```
#
# Each bump is a function of $a$ times a function of $v$. On a grid of directions, the whole sum is
# therefore one matrix product for each head.
#
# Unrolled into a map, a head looks like this. Look for the nose in the middle, and for the edge of
# the hair above it:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A head as a map: the distance of its surface from the centre, in half head heights; the brighter, the farther. The nose is the bright wedge in the middle, the chin the brightest spot below it; the hair makes the step above.", "name": "fig-relief"}, "image": {"alt": "A map of directions whose middle shows the relief of a nose, a chin and a hairline"}}
fig, (ax,) = plots.figure(1, width=5.6, height=2.6)
plots.relief(ax, faces.relief(3, seed=seed))

# %% [markdown]
# To draw an image, we send a ray through every pixel, all of them parallel, and follow each to the
# surface by **sphere tracing**. At a point $\mathbf p$ the gap
# $|\mathbf p| - R(\mathbf p / |\mathbf p|)$ says roughly how far the ray can go without passing
# through the surface. Nine such steps are enough. The derivatives of $R$ give the surface normal,
# and the normal gives light, shadow and shine. Eyes, lips, brows and wrinkles are painted where
# the ray arrives.
#
# The head is a real solid, so it turns like one. Watch the nose begin to cover a cheek:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One person, turned from one profile to the other. Parallax and occlusion follow from the solid.", "name": "fig-turn"}, "image": {"alt": "Nine views of one rendered head, from the left profile over the front to the right profile"}}
turned = (
    faces.render([3] * 9, seed=seed, size=size, yaw=torch.linspace(-88, 88, 9))
    .permute(0, 2, 3, 1)
    .numpy()
)
plots.contact_sheet(turned, columns=9, image_px=76)

# %% [markdown]
# ## What an image adds
#
# An image shows an identity *and* what happened to it that day: a pose, a light, an expression,
# glasses, a blur. These are **{term}`nuisances <nuisance>`**, and the lab has sixteen of them.
# Each has a value in its own unit, which is degrees for angles and a number of size at most 1 for
# the rest. Its *strength* is the size of the value as a share of its limit, from 0 to 1. A head
# that is turned by 45 of at most 90 degrees has a yaw of strength 0.5.
#
# By default the nuisances of an image come from a second hash, of (seed, identity, index). They
# can also be set by hand, as in the next figure. Which row do you expect to trouble a network the
# most?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each row turns one nuisance up, from nothing to its limit, on one person.", "name": "fig-factors"}, "image": {"alt": "Sixteen rows of six images: yaw, pitch, roll, light from the side, contrast, expression, age, glasses, mask, occlusion, blur, noise, exposure, low resolution, other hair, colour of the light"}}
steps = torch.linspace(0.0, 1.0, 6)
beside = {"light_azimuth": {"contrast": 0.6}}
shown = [
    faces.render(
        [who] * 6,
        seed=seed,
        size=size,
        **beside.get(name, {}),
        **{name: steps * factor.high},
    )
    for who, (name, factor) in zip(
        range(3, 3 + 3 * len(faces.FACTORS), 3),
        faces.FACTORS.items(),
        strict=True,
    )
]
plots.contact_sheet(
    torch.cat(shown).permute(0, 2, 3, 1).numpy(),
    columns=6,
    rows=[name.replace("_", " ") for name in faces.FACTORS],
    heads=[f"{s:.1f}" for s in steps.tolist()],
    image_px=78,
    quality=80,
)

# %% [markdown]
# Two of the nuisances need an explanation. *Restyling* changes hair and beard and leaves the face
# alone. Without it, a network would learn to recognise hair, and the lab would be too easy.
# *Colour cast* tints the light, which removes another cheap cue, the exact tone of the skin.
#
# ## A world
#
# A **{term}`world`** is a training set of the lab: so many people, with so many images each. It
# works like any other training set, except that it knows which of its labels are wrong. Its images
# are rendered as they are read, or once into a memory-mapped file, and an interrupted rendering
# continues where it stopped. In the package it is a
# {py:class}`faces.FaceWorld <cdmllab.faces.FaceWorld>`.

# %%
world = faces.FaceWorld(
    1_000, 16, size=size, strength=strength, label_noise=0.03, seed=seed
)
wrong = int(world.mislabelled.sum())
expected, spread = 16_000 * 0.03, (16_000 * 0.03 * 0.97) ** 0.5
session.report(wrong=wrong, expected=expected, sigmas=(wrong - expected) / spread)
world

# %% [markdown]
# We asked for 3 % wrong labels, so we expect {glue:text}`expected:.0f` among the 16,000 images.
# This world has {glue:text}`wrong`, which is {glue:text}`sigmas:+.1f` standard deviations off. Is
# the generator broken? No, this is chance. The default seed, 0, happens to draw unusually many
# wrong labels, and we kept it all the same; the seeds 1 to 11 give between 463 and 509.
#
# {numref}`fig-mix` shows what a network is trained on. Few of these images would pass as passport
# photographs.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The training mix: eight images of each of five people, with the nuisances as they are drawn.", "name": "fig-mix"}, "image": {"alt": "Five rows of eight images; in each row one person appears turned, lit, blurred, hidden and restyled in many ways"}}
some = np.concatenate(
    [np.arange(who * 16, who * 16 + 8) for who in (0, 5, 11, 23, 42)]
)
plots.contact_sheet(
    world.read(some),
    columns=8,
    rows=[f"person {who}" for who in (0, 5, 11, 23, 42)],
    image_px=78,
)

# %% [markdown]
# ## Ten protocols
#
# A network is judged on people it was not trained on. The lab keeps people back for this, who are
# in none of its worlds, and has ten protocols:
#
# - Six have the names and the shape of published ones: 6,000 pairs (7,000 for the two of CFP),
#   half of them genuine and half impostor, in ten folds that share nobody.
# - Three, called `dose_*`, have the same shape and vary the strength of a single nuisance from
#   nothing to its limit.
# - One, `ijb`, compares *templates*, which are small sets of images of one person. It has a
#   measure of its own, explained below.
#
# A protocol is defined by two settings: the nuisances of the first and of the second image of a
# pair, and how alike the two people of an impostor pair are. The second setting needs a formula. A
# **{term}`lookalike`** of a person with latent $\mathbf z$ is
#
# ```{math}
# :label: eq-lookalike
# \mathbf z' = \rho\,\mathbf z + \sqrt{1 - \rho^2}\;\mathbf z_{\text{other}},
# ```
#
# where $\mathbf z_{\text{other}}$ is the latent of an unrelated person. The lookalike is again an
# ordinary face of the population, but its latent has correlation $\rho$ with that of the first
# person.
#
# The table lists the protocols, and the figure below it shows pairs from six of them. Could you
# tell the genuine pairs from the others without the caption?

# %% tags=["hide-input"]
pairs = {
    name: protocols.load(name, size=64, seed=seed) for name in protocols.names()
}
session.Table(
    ["protocol", "compares", "pairs", "images"],
    [
        [
            f"`lab/{n}`",
            protocols.about(n),
            f"{len(p.pairs.same):,}",
            f"{len(p):,}",
        ]
        for n, p in pairs.items()
    ],
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pairs from six protocols: three genuine pairs on the left, three impostor pairs on the right.", "name": "fig-pairs"}, "image": {"alt": "Six rows of six pairs; the rows differ in pose, age and likeness of the impostors"}}
chosen = ["lfw", "cfp_ff", "cfp_fp", "agedb_30", "calfw", "cplfw"]
sheet = []
for name in chosen:
    p = pairs[name].pairs
    for want in (True, False):
        three = np.flatnonzero(p.same == want)[[7, 131, 260]]
        sheet += [pairs[name].read([p.first[k], p.second[k]]) for k in three]
plots.contact_sheet(np.concatenate(sheet), columns=12, rows=chosen, image_px=52)

# %% [markdown]
# ## How hard are they?
#
# Two references calibrate the lab. One is a small network, trained on such a world with ArcFace,
# which has never seen anybody it is tested on. The other is the floor that any network has to
# beat: raw grey pixels, compared by their cosine.

# %% tags=["hide-input"]
record = results.load("lab/protocols")
session.Table(
    ["protocol", "measure", "small network, %", "raw pixels, %"],
    [
        [
            f"`{row['protocol']}`",
            row["measure"],
            session.mean_sd(row["network"]),
            f"{100 * row['raw_pixels']:.1f}",
        ]
        for row in record["rows"]
    ],
)

# %% tags=["remove-input"]
words = dict(
    zip(
        chosen,
        ("LFW", "CFP-FF", "CFP-FP", "AgeDB-30", "CALFW", "CPLFW"),
        strict=True,
    )
)
ours = {row["protocol"][4:]: sum(row["network"]) for row in record["rows"]}
theirs = next(r for r in ROWS if (r.backbone, r.loss) == ("r18_lite", "ArcFace"))
for key, found in (("our_order", ours), ("their_order", theirs.accuracy)):
    told = sorted(words, key=found.__getitem__, reverse=True)
    session.report(**{key: ", ".join(words[name] for name in told)})
session.report(seeds=record["seeds"], pixels=record["size"])

# %% [markdown]
# The table shows means and standard deviations over {glue:text}`seeds` seeds, at
# {glue:text}`pixels` pixels; `cdmllab bench lab` makes it again. The row of templates is not an
# accuracy and cannot be compared with the others. It is a *true accept rate*: the share of genuine
# comparisons that are accepted at the threshold where one impostor comparison in a thousand is
# accepted too.
#
# Do the protocols rank like those they are named after? From the easiest to the hardest, the order
# of our network is {glue:text}`our_order`. A published network, R18_lite with ArcFace, was trained
# on the photographs of CASIA-WebFace, and its order on the original protocols is
# {glue:text}`their_order`. Where the two orders differ, a nuisance is stronger or weaker here than
# on photographs, or it matters differently at so few pixels.
#
# ## What is hard, and who says so
#
# It would be easy to *decree* a difficulty, say half the yaw plus a third of the blur. We measure
# it instead. A network looks at {glue:text}`looked_at` people without any nuisance, and again with
# one nuisance turned up. The cosine between the two embeddings falls, and its mean loss is the
# **response** of the network to this nuisance. The difficulty of an image is the sum of what its
# own nuisances cost:
#
# ```{math}
# :label: eq-difficulty
# d(\text{image}) = \sum_{f} \Delta_f\big(s_f(\text{image})\big), \qquad
# \Delta_f(s) = 1 - \mathbb E_{\text{people}} \cos\big(\mathbf x_{\text{neutral}},\, \mathbf x_{f = s}\big) .
# ```
#
# In the figure, a curve that stays flat belongs to a nuisance that the network has learned to
# ignore. Which ones rise?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Response of the lab's small network to each nuisance alone; the costliest are labelled.", "name": "fig-responses"}, "image": {"alt": "Curves of lost cosine that rise from zero with the strength of a nuisance, some steeply, most of them little"}}
responses = difficulty.known()
at_full = sorted(
    responses.lost, key=lambda f: responses.lost[f][-1], reverse=True
)
costs = [
    f"{name.replace('_', ' ')} ({responses.lost[name][-1]:.2f})"
    for name in at_full
]
session.report(
    looked_at=responses.people,
    costliest=f"{costs[0]}, {costs[1]} and {costs[2]}",
    cheapest=" and ".join(costs[-2:]),
)
fig, (ax,) = plots.figure(1, width=6.6, height=3.2)
plots.response_curves(ax, difficulty.STRENGTHS, responses.lost)

# %% tags=["remove-input"]
sample = np.arange(2_000)
order = np.argsort(difficulty.of(world, sample))
restyled = (world.nuisances(sample).values["restyling"] > 0).numpy()[order]
easiest, _, hardest = np.array_split(restyled, 3)
shares = difficulty.variance_shares(world, sample)
session.report(
    **{f"varies_{name}": shares[name] for name in ("restyling", "yaw", "roll")},
    restyled_easy=easiest.mean(),
    restyled_hard=hardest.mean(),
)

# %% [markdown]
# At full strength, the three costliest nuisances for this network are {glue:text}`costliest`; the
# number in brackets is the cosine lost. The two cheapest are {glue:text}`cheapest`.
#
# The cost at the limit is only half of the answer, because most nuisances of the training mix are
# mild or absent. Which of them make one image harder than another? Over 2,000 images of the world
# above, restyling accounts for {glue:text}`varies_restyling:.0%` of the variance of $d$ and yaw
# for {glue:text}`varies_yaw:.0%`. Roll, which an alignment by landmarks would remove, accounts for
# {glue:text}`varies_roll:.0%`.
#
# The same fact from another side: in the hardest third of the images
# {glue:text}`restyled_hard:.0%` are restyled, in the easiest third {glue:text}`restyled_easy:.0%`.
# A hard image of this lab is first of all one with other hair or another beard. Remember this
# wherever the book says "hard".
#
# All of these are averages over people. The widget below shows one person, and for each image the
# network's cosine to the enrolled image of that person. It also marks the cosine that one stranger
# in a hundred reaches. **Try this:** turn the head, age the face, and cover it, first one at a
# time and then two together. Do two nuisances cost as much as the sum of both alone, or more, or
# less?

# %% tags=["hide-input"]
network, said = weights.load_release(
    results.folder() / "models/lab_small.safetensors"
)


def look(images: np.ndarray) -> torch.Tensor:
    stack = torch.from_numpy(images).permute(0, 3, 1, 2)
    return evaluate.embed(network, apply(stack, said.preprocessing))


face = FaceLab.rendered(look, seed=seed, input_size=network.size, yaw=9, age=1)
glue("widget-face-lab", face)

# %% [markdown]
# The frames were rendered and scored when this chapter ran; the page only chooses among them.
#
# The difficulty leaves something out, which the widget can show. A sum is a model: two nuisances
# together may cost more or less than both alone. The sum is good enough to rank images, and
# chapter 5 uses it for that. It asks whether the easiness that CDML computes from cosines follows
# this difficulty, and whether CDML would gain if it knew it. The tools for both are in the
# package: `difficulty.rank_correlation`, and CDML with `easiness="known"`.
#
# To see the ranking, read the next figure row by row. What distinguishes the last images from the
# first?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images of the training mix in order of their difficulty, from the easiest (upper left) to the hardest (lower right) of 2,000.", "name": "fig-order"}, "image": {"alt": "Two rows of nine faces, the easiest at the upper left and the hardest at the lower right; blurred ones are among the easy ones, and the lower row has more changed hair and beards, glasses, masks and turned heads"}}
plots.contact_sheet(
    world.read(sample[order[np.linspace(0, 1_999, 18).astype(int)]]),
    columns=9,
    image_px=76,
)

# %% [markdown]
# ## Where the lab ends
#
# The lab's people differ in 64 numbers; real people differ in more. Its nuisances are independent
# of each other; those of photographs are not, since a photograph taken in the dark is often
# blurred as well. And its difficulty is mostly restyling, while we do not know how much other hair
# costs on photographs.
#
# So a margin that helps here may not help on photographs. A network trained here recognises real
# people only to some degree, which chapter 12 measures. What carries over is the question: *if*
# the difficulty of every sample is known, does it help to follow it?
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(6)

# %% [markdown]
# ## Exercises
#
# **6.1** A world has 1,000 people with 16 images each, and 5 per cent {term}`label noise`. How
# many images do you expect to carry a wrong name?

# %%
exercises.check("6.1", None)

# %% [markdown]
# <details><summary>Solution 6.1</summary>
#
# $16{,}000 \times 0.05 = 800$. The wrong label is drawn among the *other* people, so none of the
# 800 is right by accident.
#
# </details>
#
# **6.2** What is the expected squared distance $\lVert\mathbf z - \mathbf z'\rVert^2$ between the
# latents of a person and of a lookalike with $\rho = 0.3$? Take all 64 numbers as standard normal,
# before they are clipped at ±2.2.

# %%
exercises.check("6.2", None)

# %% [markdown]
# <details><summary>Solution 6.2</summary>
#
# Each of the 64 differences has mean 0 and variance $2 - 2\rho$, so the expectation is
# $64\,(2 - 2 \cdot 0.3) = 89.6$. For two unrelated people it is 128.
#
# </details>
#
# **6.3** Write a function that returns the difficulty of an image by the responses above. Its
# argument is a dictionary from the name of a nuisance to its strength (from 0 to 1, not in
# degrees). The responses were measured at the strengths `difficulty.STRENGTHS`; interpolate
# linearly between them.

# %%
exercises.check("6.3", None)

# %% [markdown]
# <details><summary>Solution 6.3</summary>
#
# `lambda s: sum(np.interp(s[f], difficulty.STRENGTHS, responses.lost[f]) for f in s)`
#
# </details>
#
# ## Recap
#
# - In a rendered image everything is known: the person, the nuisances, and whether the label is
#   wrong. Identity and nuisances come from a hash, so the face belongs to nobody. What we find
#   here still has to be checked on photographs.
# - `faces.render(who, yaw=40, age=0.8)` draws any person under any nuisance. The strength of a
#   nuisance is its share of the limit.
# - The ten protocols test everyday images, pose, age, lookalikes, single nuisances and templates,
#   on people that are in no world. A small network and raw pixels show how hard each of them is.
# - The difficulty of an image is measured: it is the cosine that its nuisances cost a network. At
#   full strength {glue:text}`costliest` cost the most. In the training mix
#   {glue:text}`varies_restyling:.0%` of the variance of difficulty is restyling.
#
# Sixteen thousand small images fit into memory. Real training sets have millions, in files that
# may be damaged, or worse. How do such images get from a disk into a network? That is chapter 7.
#
# ## References
#
# The protocols follow {cite:t}`huang2008lfw`, {cite:t}`sengupta2016cfp`,
# {cite:t}`moschoglou2017agedb`, {cite:t}`zheng2017calfw`, {cite:t}`zheng2018cplfw` and
# {cite:t}`maze2018ijbc`. Synthetic faces for recognition: {cite:t}`bae2023digiface`. Sphere
# tracing: {cite:t}`hart1996sphere`.
