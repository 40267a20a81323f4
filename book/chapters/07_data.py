# ---
# cdmllab:
#   data: ["results/benchmarks/data-*.json", "data/lfw/pairs.txt", "data/att_faces/s1/1.pgm", "data/omniglot-py/*.zip"]
# ---

# %% [markdown]
# # Data, from record to tensor
#
# :::{admonition} After this chapter you can
# :class: tip
# - read a RecordIO file byte by byte, and find what is damaged in one;
# - make a pack from folders of faces, look it over, and read it without mxnet;
# - say why a verification bin must never be unpickled freely;
# - align a face by five landmarks;
# - follow an image from its bytes to the tensor that a network sees, and repeat every random step.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1. Nothing is trained; the faces are drawn by the package itself, which takes most of the
# chapter's minute. No data set is needed. Where LFW, the AT&T faces or Omniglot are there, a few
# numbers of them are shown.
# :::

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of the faces, the order and the augmentation
people = 6  # identities in the pack
images = 6  # images of each

# %% tags=["hide-input"]
import shutil

import numpy as np
import torch

from cdmllab import faces, plots, results
from cdmllab.book import exercises, session
from cdmllab.data import (
    align,
    att_faces,
    bins,
    folders,
    layout,
    lfw,
    omniglot,
    packing,
    transforms,
)
from cdmllab.data.identity_protocols import disjoint_pairs
from cdmllab.data.inspection import inspect
from cdmllab.data.loaders import Loader
from cdmllab.data.packs import Pack
from cdmllab.data.recordio import WORD, RecordFile, frame
from cdmllab.errors import DataError
from cdmllab.evaluate import verify
from cdmllab.preprocessing import ADAFACE, INSIGHTFACE, MAGFACE, apply, require

lab = session.start(profile, seed)

# %% [markdown]
# ## Why not simply folders?
#
# Face data sets come as folders: one for each person, images inside. MS1MV3 has five million of
# them. Opening five million small files in random order, epoch after epoch, is slower than decoding
# them. So the field packs all images into one file, one after the other, and keeps a list of
# where each begins. The format that stuck is MXNet's **RecordIO**, in the arrangement that
# InsightFace gave it {cite}`guo2021insightface`; MXNet itself is retired.
#
# We draw some people and save them as folders, as a data set would arrive.

# %%
who = torch.arange(people).repeat_interleave(images)
index = torch.arange(images).repeat(people)
drawn = faces.render(who, index=index, seed=seed, size=112, strength=0.5)
drawn = drawn.permute(0, 2, 3, 1).numpy()
folders.save(lab.runs / "faces", drawn, who)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The images in the folders: each row a person.", "name": "fig-packed-faces"}, "image": {"alt": "Rows of drawn faces, six images a person, with different light, pose and expression"}}
fig, (ax,) = plots.figure(width=5.2, height=3.6)
shown = drawn[: 4 * images].transpose(0, 3, 1, 2) / 127.5 - 1.0
plots.images(ax, shown, columns=images)

# %% [markdown]
# One call makes a {term}`pack` of them; on the command line it is `cdmllab pack faces pack`. It
# goes on where it was stopped, works in parallel, and reports every file that it left out, and why.
# One file here is no image:

# %%
(lab.runs / "faces/person_000/broken.jpg").write_bytes(
    b"\xff\xd8\xff, not really"
)
report = packing.pack(lab.runs / "faces", lab.runs / "pack")
print(report.images, "images of", report.identities, "identities")
for name, why in report.skipped.items():
    print(f"skipped {name}: {why[:60]}")

# %% tags=["hide-input"]
files = sorted((lab.runs / "pack").iterdir())
session.Table(
    ["file", "bytes"], [[f.name, f"{f.stat().st_size:,}"] for f in files]
)

# %% [markdown]
# `train.rec` holds everything; `train.idx` says at which byte each record starts; `property` counts
# people and pixels. Other readers need these three. The rest is ours: names, the report, and a
# checksum of every record.
#
# ## The bytes
#
# A {term}`record` is two words of four bytes, then the payload, then zeros up to a multiple of
# four. The first word is always the same, the **magic word** `ced7230a`; in the file, least byte
# first, `0a 23 d7 ce`. The second holds the length and, in its upper three bits, which part of a
# record this is. The payload of an image begins with 24 bytes: a flag, the label as a float, and
# two numbers that may identify it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first bytes of the pack. Record 0 is InsightFace's header: its flag says that two labels follow. They are the number of the first record behind the images, and that number plus the people. Record 1 is an image: label 0, and a JPEG, which begins with ff d8.", "name": "fig-bytes"}, "image": {"alt": "A table of bytes in hexadecimal, sixteen a row, coloured by meaning: magic word, length, flag, label, ids, more labels, image"}}
start = (lab.runs / "pack/train.rec").read_bytes()[:96]
fig, (ax,) = plots.figure(width=7.2, height=2.9)
plots.byte_layout(ax, start, layout.fields(start))

# %% [markdown]
# What if an image itself contains the magic word? Then a reader that lost its place could take it
# for a start. The writer forbids it: wherever the word stands in the payload at a multiple of four,
# it ends the part there, *leaves the word out*, and starts another part. The reader puts the word
# back in between. So at a multiple of four in the file, the magic word is always the beginning of a
# part, and one can start to read anywhere.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A payload of eighteen bytes with the magic word in its middle, as it is written: a first part (upper bits 001, so the last byte of its second word is 20) and a last part (011, so 60), and two zeros.", "name": "fig-parts"}, "image": {"alt": "Two parts of a record in coloured bytes, each with its own magic word and length"}}
payload = b"eight by" + WORD + b"and 6."
written = frame(payload)
fig, (ax,) = plots.figure(width=7.2, height=1.6)
plots.byte_layout(ax, written, layout.fields(written))

# %% tags=["remove-input"]
session.tell(
    payload_bytes=len(payload),
    written_bytes=len(written),
)

# %% [markdown]
# {glue:text}`payload_bytes` bytes went in, {glue:text}`written_bytes` are in the file.
#
# ## Reading without mxnet
#
# The file is mapped into memory, and a record is a *view* of it: nothing is copied, nothing is
# parsed but the two words. With the index, the labels of all records are read at once, since each
# stands at a known place. All of this is in {py:class}`Pack <cdmllab.data.packs.Pack>`.

# %%
pack = Pack(lab.runs / "pack")
print(pack.num_identities, "identities, labels", pack.labels[: 2 * images])
view = pack.image(0)
print(
    type(view).__name__,
    len(view),
    "bytes, starting with",
    bytes(view[:4]).hex(" "),
)

# %% [markdown]
# Without an index the file still tells where its records are, each one by its length. Five million
# headers are five million small jumps: seconds.

# %%
scanned = RecordFile(pack.path)
bool((scanned.offsets == pack.file.offsets).all())

# %% [markdown]
# Lengths and labels are also where damage shows. `cdmllab inspect` looks a pack over from end to
# end. We turn one byte in the middle of one image, on a copy:

# %%
shutil.copytree(lab.runs / "pack", lab.runs / "damaged")
record_file = lab.runs / "damaged/train.rec"
turned = bytearray(record_file.read_bytes())
turned[len(turned) // 2] ^= 0xFF
record_file.write_bytes(turned)
for problem in inspect(lab.runs / "damaged").problems:
    print(problem.replace(f"{lab.runs}/", ""))

# %% [markdown]
# Magic word and length are all right. A decoder may notice such a byte, or return another image
# without complaint; only the checksum always finds it. RecordIO has none; packs of other makers can
# be checked for everything but this.
#
# ## A bin is a program
#
# Verification sets travel as `lfw.bin`: a Python pickle of a list of JPEGs and a list of true and
# false. A pickle is not data but a small program, and loading one runs it. Somebody who hands you a
# bin can have your machine do anything. Here is one that would delete a folder; we build it by hand
# and let our reader have it:

# %%
evil = b"cshutil\nrmtree\n(S'/home/reader'\ntR."
(lab.runs / "lfw.bin").write_bytes(evil)
try:
    bins.read(lab.runs / "lfw.bin")
except DataError as error:
    print(str(error).replace(f"{lab.runs}/", ""))

# %% [markdown]
# The reader knows the five things that a pickled array asks for (by seven names, since numpy moved
# two of them), and has harmless stand-ins for them. Any other name ends the reading. For keeping,
# `cdmllab unpickle lfw.bin lfw.npz` makes a file that is read without any of this.
#
# ## Alignment
#
# {term}`Alignment <alignment>`: a network for faces expects eyes, nose and mouth in the same
# places. A detector gives five points; the **similarity transform** (turn, scale, shift) that
# brings them nearest to five fixed places is found in closed form {cite}`umeyama1991similarity`:
#
# ```{math}
# :label: eq-similarity
# \min_{a,\,b \in \mathbb C} \sum_{k=1}^{5} \lvert a z_k + b - t_k\rvert^2
# \quad\Longrightarrow\quad
# a = \frac{\sum_k (t_k - \bar t)\,\overline{(z_k - \bar z)}}{\sum_k \lvert z_k - \bar z\rvert^2},
# \qquad b = \bar t - a \bar z ,
# ```
#
# with the landmarks $z_k$ and their places $t_k$ as complex numbers: to multiply by $a$ is to turn
# and to scale.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: a face as a camera might see it, with its landmarks. Right: aligned to 112 x 112, with the five places of the template. A similarity cannot move the landmarks one by one, so they come near these places, not upon them.", "name": "fig-alignment"}, "image": {"alt": "A tilted small face with five numbered dots, and the same face upright and larger"}}
upright = faces.render(2, seed=0, size=160)[0].permute(1, 2, 0).numpy()
seen = np.array([[62, 76], [98, 76], [80, 100], [63.5, 116.5], [97, 116.5]])

turn = 0.85 * np.array([[0.91, -0.415], [0.415, 0.91]])
tilt = np.column_stack([turn, [60.0, 8.0]])
photo = align.warp(upright, tilt, 190)
points = seen @ turn.T + tilt[:, 2]

fig, axes = plots.figure(2, width=5.6, height=2.8)
plots.landmarks(axes[0], photo, points, title="with its landmarks")
plots.landmarks(
    axes[1], align.align(photo, points), align.template(112), title="aligned"
)

# %% [markdown]
# Whoever trains on faces aligned one way and tests on faces aligned another way loses points
# without any message. The same holds for the next step.
#
# ## From bytes to a tensor
#
# A decoded image is a table of whole numbers from 0 to 255, rows of pixels of red, green and
# blue. Networks want float numbers around zero, and authors differ in how they make them. A
# {py:class}`Loader <cdmllab.data.loaders.Loader>` keeps the whole numbers and leaves that step for
# later.

# %% tags=["hide-input"]
batch = next(iter(Loader(pack, 8, seed=seed)))
rows = []
for name, how in {
    "InsightFace, and here": INSIGHTFACE,
    "AdaFace": ADAFACE,
    "MagFace": MAGFACE,
}.items():
    x = apply(batch.images, how)
    first = " ".join(f"{v:.2f}" for v in x[0, :, 56, 56].tolist())
    rows.append(
        [name, how["channels"], f"{how['mean'][0]:g}, {how['std'][0]:g}", first]
    )
session.Table(["code", "order", "mean, std", "one pixel of one image"], rows)

# %% [markdown]
# It is a frequent cause of "I cannot reproduce the accuracy": red and blue swapped, or twice the
# scale. So the preprocessing is a value of its own; it is stored with every network, and images
# are prepared by what the network brings along. Where two meet, they are compared:

# %%
try:
    require(INSIGHTFACE, MAGFACE, "the checkpoint")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Augmentation
#
# A mirrored face is still the same person; so is one a little darker, or a few pixels to the left.
# CDML's {term}`document` lists flip, crop, colour jitter and a rotation of up to ten degrees; the
# public code only flips.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One face eight times. Above: the public code's augmentation, a flip or nothing. Below: the document's, with sizes of crop and jitter that are our choice.", "name": "fig-augmentation"}, "image": {"alt": "Two rows of the same face: in the upper row mirrored or not, in the lower also shifted, tilted, brighter or darker"}}
one = torch.from_numpy(drawn[:1].transpose(0, 3, 1, 2)).expand(8, -1, -1, -1)
strips = []
for name in ("flip", "datn_page"):
    chosen = transforms.draw(transforms.named(name), 8, seed, len(strips))
    strips.append(transforms.apply_each(one, chosen))
fig, (ax,) = plots.figure(width=7.2, height=2.0)
plots.images(ax, torch.cat(strips) / 127.5 - 1.0, columns=8)

# %% [markdown]
# What is *drawn* is parted from how it is *applied*: the draw depends on the seed, the epoch and
# the place in the epoch, and on nothing else. So it is the same with one worker or eight, and the
# same when a run goes on after a crash.
#
# ## The loader
#
# That promise is worth a test. We read an epoch with no worker and with three; and once more,
# stopped half-way, its state handed to another loader.

# %%
options = {"batch_size": 4, "seed": seed, "augmentation": "datn_page"}
alone = list(Loader(pack, **options))
three = list(Loader(pack, **options, workers=3))

half = len(alone) // 2
stopped = Loader(pack, **options)
for _step, _batch in zip(range(half), stopped, strict=False):
    pass
going_on = Loader(pack, **options, workers=3)
going_on.load_state_dict(stopped.state_dict())
rest = list(going_on)

same = all(
    torch.equal(a.images, b.images) for a, b in zip(alone, three, strict=True)
)
again = all(
    torch.equal(a.images, b.images)
    for a, b in zip(alone[half:], rest, strict=True)
)
print(f"workers change nothing: {same}; going on changes nothing: {again}")
print(stopped.state_dict())

# %% [markdown]
# ## How fast

# %% tags=["remove-input"]
measured = results.benchmark("data")
if measured is None:
    print("Not measured yet: `cdmllab bench data` does it.")
    speeds, decoding = None, "an unknown part"
else:
    per_second = measured["per_second"].items()
    pipeline, decode = (
        measured["per_second"][f"{k}: ours"] for k in ("pipeline", "decode")
    )
    decoding = f"{pipeline / decode:.0%}"
    speeds = session.Table(
        ["on one core", "a second"], [[k, f"{v:,.0f}"] for k, v in per_second]
    )
    print(measured["device"], "-", measured["shown"], "-", measured["date"])
session.tell(decoding=decoding)
speeds

# %% [markdown]
# `cdmllab bench data` measures this beside its peers, in one run, in interleaved rounds. Reading
# records costs next to nothing. Decoding takes {glue:text}`decoding` of the way from a record to a
# batch of float numbers; flipping, collating and scaling take the rest. The pixels are equal to
# those of PIL to the bit, unless one asks for `fast`.
#
# ## Real data
#
# Labeled Faces in the Wild is the data set that most of the others copy: 13,233 images of 5,749
# people, most with one image and one with 530. Its **View 2** has ten folds of 300 genuine and
# 300 impostor pairs. To train on LFW itself and test on a fold, everybody in that fold's pairs has
# to be left out: *everybody*, with all images, not only the images in the pairs.

# %%
sets = {}
if lfw.available():
    real = lfw.images(size=(28, 28))
    sets["LFW, View 2"] = real, lfw.pairs(real)
    part = lfw.training_part(*sets["LFW, View 2"], 0)
    single = int((np.bincount(real.labels) == 1).sum())
    print(f"LFW: {len(real):,} images, {single:,} people with one")
    print(
        f"to test fold 0, train on {len(part):,} of {part.num_identities:,} people"
    )
else:
    print(lfw.HOW)

# %% [markdown]
# Two smaller sets make the same open-set question cheap to ask: the 40 people of the **AT&T** faces
# in ten folds of four, nobody in two; and **Omniglot**, handwriting of many alphabets, where each
# character plays the part of a person. Train on some alphabets, verify on another. Where they are
# there, this is the floor: what comparing raw pixels achieves. The **{term}`AUC`** is the chance
# that a genuine pair scores higher than an impostor pair.

# %% tags=["hide-input"]
if att_faces.available():
    grey = att_faces.load(size=(28, 23))
    sets["AT&T faces"] = grey, att_faces.pairs(grey, seed=seed)
else:
    print(att_faces.HOW)
if omniglot.available():
    greek = omniglot.load(only=["Greek"])
    sets["Omniglot, Greek"] = greek, disjoint_pairs(greek.labels, 150, 4, seed)
else:
    print(omniglot.HOW)

rows = []
for name, (shown, pairs) in sets.items():
    flat = shown.images.reshape(len(shown), -1).astype(float)
    floor = verify(flat - flat.mean(axis=1, keepdims=True), pairs)
    mean, sd = 100 * floor.accuracy.mean, 100 * floor.accuracy.std
    rows.append(
        [name, len(pairs.same), f"{mean:.1f} ± {sd:.1f}", f"{floor.auc:.3f}"]
    )
session.Table(
    ["raw pixels on", "pairs", "accuracy, %", "AUC"], rows
) if rows else None

# %% [markdown]
# {doc}`../datasets` lists every data set of the field, with its licence, its file layout, and the
# script that prepares it.
#
# ## Where we deviate
#
# - AgeDB-30 has 6,000 pairs of 12,000 images; the document gives 12,000 as the number of pairs.
# - The document says "random cropping" and "color jittering" without sizes. We pad by 8 pixels and
#   crop, and draw the factors of brightness, contrast and saturation from 0.8 to 1.2.
#   `augmentation="flip"` is what the public code does.
# - VN-Celeb has no published protocol, and in the public code gallery images are among the
#   probes. We draw a seeded one in which no image is both.
#
# ## Exercises
#
# **7.1** A payload has 1,001 bytes and no magic word. How many bytes does its record take in the
# file?

# %%
exercises.check("7.1", None)

# %% [markdown]
# <details><summary>Solution 7.1</summary>
#
# Two words, 8 bytes; the payload, 1,001; together 1,009, and 3 zeros to the next multiple of four:
# 1,012.
#
# </details>
#
# **7.2** Write a function that tells in how many parts a payload (`bytes`) is written.

# %%
exercises.check("7.2", None)

# %% [markdown]
# <details><summary>Solution 7.2</summary>
#
# Each magic word at a multiple of four is a cut, and n cuts make n + 1 parts:
# `lambda p: 1 + sum(p[k : k + 4] == WORD for k in range(0, len(p) - 3, 4))`.
#
# </details>
#
# **7.3** Write a function of the labels of all images and of the two columns of row numbers of a
# fold's pairs. It returns the rows that may be trained on when this fold is tested.

# %%
exercises.check("7.3", None)

# %% [markdown]
# <details><summary>Solution 7.3</summary>
#
# People are left out, not images:
# `lambda labels, a, b: np.flatnonzero(~np.isin(labels, labels[np.concatenate([a, b])]))`.
#
# </details>
#
# ## Recap
#
# - A pack is one file of records; each is a magic word, a length, a payload, and zeros. An index
#   only saves the scan.
# - The magic word never stands in a payload at a multiple of four: there the record is cut, and put
#   together again.
# - A pickle is a program. Read bins with a list of what is allowed, or not at all.
# - Alignment, channel order and scale belong to a network like its weights.
# - What is random is drawn from a seed, an epoch and a place; workers and crashes change nothing.
# - To test on people, train on others.
#
# ## References
#
# {cite:t}`guo2021insightface`, {cite:t}`umeyama1991similarity`, {cite:t}`huang2008lfw`,
# {cite:t}`samaria1994att`, {cite:t}`lake2015omniglot`.
