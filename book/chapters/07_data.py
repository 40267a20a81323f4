# ---
# cdmllab:
#   data: ["results/benchmarks/data-*.json", "results/lfw/baselines.json", "data/lfw/pairs.txt", "data/att_faces/s1/1.pgm", "data/omniglot-py/*.zip"]
# ---

# %% [markdown]
# # Data, from record to tensor
#
# :::{admonition} After this chapter you can
# :class: tip
# - read a RecordIO file byte by byte, and find out what is damaged in one;
# - make a pack from folders of faces, inspect it, and read it without MXNet;
# - explain why a verification bin must never be unpickled freely;
# - align a face by five landmarks;
# - follow an image from its bytes to the tensor that a network sees, and repeat every random step;
# - keep the people of a test out of the training set.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapter 1. Nothing is trained. The faces are rendered by the package, which takes most of the
# chapter's minute, so no data set is needed. If you have LFW, the AT&T faces or Omniglot, the last
# section measures them.
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
from cdmllab.book import exercises, questions, session
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
# Face data sets usually arrive as folders, one for each person, with the images inside. MS1MV3 has
# five million of them. Opening five million small files in random order, epoch after epoch, takes
# longer than decoding them. The field therefore packs all images into one large file, one after
# the other, and keeps a list of where each of them begins. The format that stuck is MXNet's
# **RecordIO**, in the arrangement that InsightFace gave it {cite}`guo2021insightface`. It has
# outlived MXNet itself, which is retired.
#
# We begin where a data set begins: we render a few people and save them as folders.

# %%
who = torch.arange(people).repeat_interleave(images)
index = torch.arange(images).repeat(people)
drawn = faces.render(who, index=index, seed=seed, size=112, strength=0.5)
drawn = drawn.permute(0, 2, 3, 1).numpy()
folders.save(lab.runs / "faces", drawn, who)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images from the folders, one person in each row.", "name": "fig-packed-faces"}, "image": {"alt": "Rows of drawn faces, six images a person, with different light, pose and expression"}}
fig, (ax,) = plots.figure(width=5.2, height=3.6)
shown = drawn[: 4 * images].transpose(0, 3, 1, 2) / 127.5 - 1.0
plots.images(ax, shown, columns=images)

# %% [markdown]
# One call makes a {term}`pack` of the folders; on the command line it is
# `cdmllab pack faces pack`. It works in parallel, continues where it was stopped, and reports
# every file that it leaves out, with the reason. To see such a report, we add a file that is not
# an image:

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
# What are these files? `train.rec` holds everything, `train.idx` lists the byte at which each
# record starts, and `property` gives the number of people and the size of the images. Other
# readers need these three. The others are our own additions: the names of the people, the report,
# and a checksum of every record.
#
# ## What is in a record?
#
# A {term}`record` consists of two words of four bytes each, the payload, and zeros up to the next
# multiple of four. The first word is always the same, the **magic word** `ced7230a`. Since the
# least significant byte comes first, the file shows `0a 23 d7 ce`. The second word holds the
# length and, in its upper three bits, which part of a record this is.
#
# The payload of an image begins with 24 bytes of its own: a flag, the label as a floating-point
# number, and two numbers that may identify the image. In the figure, look for the two magic words,
# and then for the place where the JPEG starts:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first bytes of the pack. Record 0 is InsightFace's header. Its flag says that two labels follow: the number of the first record after the images, and that number plus the number of people. Record 1 is an image, with label 0 and a JPEG, which begins with ff d8.", "name": "fig-bytes"}, "image": {"alt": "A table of bytes in hexadecimal, sixteen a row, coloured by meaning: magic word, length, flag, label, ids, more labels, image"}}
start = (lab.runs / "pack/train.rec").read_bytes()[:96]
fig, (ax,) = plots.figure(width=7.2, height=2.9)
plots.byte_layout(ax, start, layout.fields(start))

# %% [markdown]
# What if the bytes of an image happen to contain the magic word? A reader that has lost its place
# could mistake it for the start of a record. The writer prevents this. Wherever the magic word
# occurs in the payload at a multiple of four, the writer ends the part there, *leaves the word
# out*, and begins another part. The reader puts the word back in between. So wherever the magic
# word occurs in the file at a multiple of four, a part begins there, and a reader can start
# anywhere.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A payload with the magic word in its middle, as it is written: a first part (upper bits 001, so the last byte of its second word is 20), a last part (011, so 60), and two zeros.", "name": "fig-parts"}, "image": {"alt": "Two parts of a record in coloured bytes, each with its own magic word and length"}}
payload = b"eight by" + WORD + b"and 6."
written = frame(payload)
fig, (ax,) = plots.figure(width=7.2, height=1.6)
plots.byte_layout(ax, written, layout.fields(written))

# %% tags=["remove-input"]
session.report(
    payload_bytes=len(payload),
    written_bytes=len(written),
)

# %% [markdown]
# The payload has {glue:text}`payload_bytes` bytes, its record {glue:text}`written_bytes`.
#
# ## How is it read without MXNet?
#
# The file is mapped into memory, and a record is a *view* of it: nothing is copied, and nothing is
# parsed except the two words. With the index, the labels of all records are read at once, since
# each of them is at a known place. {py:class}`Pack <cdmllab.data.packs.Pack>` does all this:

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
# And if the index is lost? The file alone shows where its records are, because each record gives
# its own length. A scan of five million records is five million small jumps, which take seconds.
# It finds the same places:

# %%
scanned = RecordFile(pack.path)
bool((scanned.offsets == pack.file.offsets).all())

# %% [markdown]
# What if the file is damaged? `cdmllab inspect` checks a pack from end to end: magic words,
# lengths, labels, images, checksums. To see what it finds, we copy the pack and flip the bits of
# one byte in the middle of an image:

# %%
shutil.copytree(lab.runs / "pack", lab.runs / "damaged")
record_file = lab.runs / "damaged/train.rec"
turned = bytearray(record_file.read_bytes())
turned[len(turned) // 2] ^= 0xFF
record_file.write_bytes(turned)
for problem in inspect(lab.runs / "damaged").problems:
    print(problem.replace(f"{lab.runs}/", ""))

# %% [markdown]
# The magic word and the length are still correct. A decoder may notice the wrong byte, or it may
# silently decode to a different image; only the checksum always finds it. RecordIO itself has no
# checksums, so packs from other makers can be checked for everything but this.
#
# ## Can a data file attack you?
#
# Verification sets travel as files like `lfw.bin`, a Python pickle of a list of JPEGs and a list
# of true and false. A pickle looks like data, but it is a small program, and loading it runs it.
# Whoever gives you a bin can make your machine do anything. The bin below would delete a folder.
# We build it by hand and let our reader open it:

# %%
evil = b"cshutil\nrmtree\n(S'/home/reader'\ntR."
(lab.runs / "lfw.bin").write_bytes(evil)
try:
    bins.read(lab.runs / "lfw.bin")
except DataError as error:
    print(str(error).replace(f"{lab.runs}/", ""))

# %% [markdown]
# A pickled array asks for five things (under seven names, since NumPy has moved two of them). Our
# reader knows these names and has a harmless stand-in for each. Any other name ends the reading
# before anything is run. To get rid of the pickle for good, `cdmllab unpickle lfw.bin lfw.npz`
# writes the same content as plain arrays.
#
# ## Where are the eyes?
#
# A network for faces expects eyes, nose and mouth in the same places in every image, and
# {term}`alignment` moves them there. A detector finds five points, the landmarks. We look for the
# **similarity transform**, a rotation with a change of scale and a shift, that brings them closest
# to five fixed places. It has a closed form {cite}`umeyama1991similarity`:
#
# ```{math}
# :label: eq-similarity
# \min_{a,\,b \in \mathbb C} \sum_{k=1}^{5} \lvert a z_k + b - t_k\rvert^2
# \quad\Longrightarrow\quad
# a = \frac{\sum_k (t_k - \bar t)\,\overline{(z_k - \bar z)}}{\sum_k \lvert z_k - \bar z\rvert^2},
# \qquad b = \bar t - a \bar z .
# ```
#
# Here the landmarks $z_k$ and their target places $t_k$ are complex numbers, because multiplying
# by $a$ rotates and scales in one step. On the right, compare the dots, which are the fixed
# places, with the eyes, the nose and the mouth of the face:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: a face as a camera might see it, with its landmarks. Right: the face aligned to 112 x 112 pixels, with the five places of the template. A similarity transform cannot move the landmarks one by one, so they come close to these places without reaching them.", "name": "fig-alignment"}, "image": {"alt": "A tilted small face with five numbered dots, and the same face upright and larger"}}
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
# If you train on faces aligned in one way and test on faces aligned in another, you lose accuracy
# and get no error message. The same is true of the next step.
#
# ## What does the network see?
#
# A decoded image is an array of integers from 0 to 255: rows of pixels, each with red, green and
# blue. Networks want floating-point numbers around zero, and authors differ in how they make them.
# How much does it matter? The table shows what three public codes make of the same pixel. (The
# {py:class}`Loader <cdmllab.data.loaders.Loader>` delivers the integers and leaves this step for
# later.)

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
# Red and blue swapped, or a scale twice as large, is a frequent reason for "I cannot reproduce the
# accuracy". For this reason the preprocessing is a value of its own. It is stored with every
# network, images are prepared as the network asks, and where two preprocessings meet, they are
# compared:

# %%
try:
    require(INSIGHTFACE, MAGFACE, "the checkpoint")
except ValueError as error:
    print(error)

# %% [markdown]
# ## What may change in an image?
#
# A mirrored face still shows the same person. So does one that is a little darker, or a few pixels
# to the left. **Augmentation** changes training images at random in such ways. Which ways do the
# two sources of CDML use? They are the results page of the repository DATN,
# {term}`DATN's page <document>` for short, and the repository's code, *DATN's code*. The page
# lists flip, crop, colour jitter and a rotation of up to ten degrees. The code only flips.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One face, augmented eight times. Above: as in DATN's code, flipped or not. Below: as on DATN's page, which leaves the sizes of crop and jitter to us.", "name": "fig-augmentation"}, "image": {"alt": "Two rows of the same face: in the upper row mirrored or not, in the lower also shifted, tilted, brighter or darker"}}
one = torch.from_numpy(drawn[:1].transpose(0, 3, 1, 2)).expand(8, -1, -1, -1)
strips = []
for name in ("flip", "datn_page"):
    chosen = transforms.draw(transforms.named(name), 8, seed, len(strips))
    strips.append(transforms.apply_each(one, chosen))
fig, (ax,) = plots.figure(width=7.2, height=2.0)
plots.images(ax, torch.cat(strips) / 127.5 - 1.0, columns=8)

# %% [markdown]
# The package first *draws* what will happen to an image, and then *applies* it. The draw depends
# on the seed, the epoch and the place in the epoch, and on nothing else. So it should not matter
# whether one worker prepares the images or eight, or whether the training was interrupted.
#
# ## Is every epoch repeatable?
#
# This promise deserves a test. We read an epoch without extra workers and with three. Then we read
# it once more, stop half-way, and give the state to another loader:

# %%
options = {"batch_size": 4, "seed": seed, "augmentation": "datn_page"}
alone = list(Loader(pack, **options))
three = list(Loader(pack, **options, workers=3))

# Read half an epoch, and let another loader go on from there.
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
print(f"the same with three workers: {same}; after an interruption: {again}")
print(stopped.state_dict())

# %% [markdown]
# The state is all that a checkpoint has to store.
#
# ## How fast is it?
#
# Which step decides the speed? The table gives the rates of the three stages on one core.
# *Records* finds the bytes of an image. *Decode* turns a JPEG into pixels. *Pipeline* is the whole
# way from records to batches of floating-point numbers. PIL, torchvision and MXNet are there for
# comparison.

# %% tags=["remove-input"]
measured = results.benchmark("data")
if measured is None:
    print("There is no measurement yet; `cdmllab bench data` makes one.")
    speeds, decoding = None, "an unknown share"
else:
    per_second = measured["per_second"].items()
    pipeline, decode = (
        measured["per_second"][f"{k}: ours"] for k in ("pipeline", "decode")
    )
    decoding = f"{pipeline / decode:.0%}"
    like_datn = "ours, augmented as on DATN's page"
    speeds = session.Table(
        ["on one core", "images per second"],
        [
            [k.replace("ours, document", like_datn), f"{v:,.0f}"]
            for k, v in per_second
        ],
    )
    print(f"{measured['device']}, {measured['shown']}, {measured['date']}")
session.report(decoding=decoding)
speeds

# %% [markdown]
# The measurement, `cdmllab bench data`, runs all rows in one process and in interleaved rounds, so
# that a slow spell of the machine hits them all. Reading records costs next to nothing. Decoding
# takes {glue:text}`decoding` of the time from a record to a batch; flipping, collating and scaling
# take the rest. The decoded pixels equal those of PIL bit for bit, except with the option `fast`.
#
# ## Real data
#
# How far does the humblest ruler get on real images? The ruler is the cosine of raw pixels, which
# chapter 1 used on digits. Any trained network has to beat it. We try three data sets:
#
# - **Labeled Faces in the Wild** (LFW), whose protocol most of the others copy. It has 13,233
#   images of 5,749 people, most of them with one image and one with 530. Its **View 2** has ten
#   folds of 300 genuine and 300 impostor pairs.
# - **AT&T**, ten photographs each of 40 people. We put four people into each of ten folds, so that
#   nobody is in two.
# - **Omniglot**, handwriting in many alphabets. Each character plays the part of a person. Train
#   on some alphabets and verify on another, and you have an open-set test that costs next to
#   nothing.
#
# The table shows the accuracy, and the **{term}`AUC`**, which is the chance that a genuine pair
# scores higher than an impostor pair; for a coin it is 0.5.

# %% tags=["hide-input"]
known = {  # images, identities and pairs, for the rows that cannot be measured
    "LFW, View 2": (13_233, 5_749, 6_000),
    "AT&T faces": (400, 40, 3_000),
    "Omniglot, Greek": (480, 24, 1_200),
}
sets, left = {}, (12_052, 5_314)  # of LFW, to train on while fold 0 is tested
if lfw.available():
    real = lfw.images(size=(28, 28))
    sets["LFW, View 2"] = real, lfw.pairs(real)
    part = lfw.training_part(*sets["LFW, View 2"], 0)
    left = len(part), part.num_identities
if att_faces.available():
    grey = att_faces.load(size=(28, 23))
    sets["AT&T faces"] = grey, att_faces.pairs(grey, seed=seed)
if omniglot.available():
    greek = omniglot.load(only=["Greek"])
    sets["Omniglot, Greek"] = greek, disjoint_pairs(greek.labels, 150, 4, seed)

rows = []
for name, counts in known.items():
    measured_here = ["–", "–"]
    if name in sets:
        shown, pairs = sets[name]
        flat = shown.images.reshape(len(shown), -1).astype(float)
        floor = verify(flat - flat.mean(axis=1, keepdims=True), pairs)
        mean, sd = 100 * floor.accuracy.mean, 100 * floor.accuracy.std
        counts = len(shown), len(np.unique(shown.labels)), len(pairs.same)
        measured_here = [f"{mean:.1f} ± {sd:.1f}", f"{floor.auc:.3f}"]
    rows.append([name, *(f"{count:,}" for count in counts), *measured_here])
note = "All three were measured when this page was made."
if missing := [name.split(",")[0] for name in known if name not in sets]:
    note = (
        "A dash marks what was not measured, because the data were not there "
        f"when this page was made: {', '.join(missing)}."
    )
baseline = results.load("lfw/baselines")["rows"][0]
assert baseline["baseline"] == "raw pixels"
session.report(
    real_data=note,
    lfw_floor=100 * baseline["accuracy"],
    images_left=f"{left[0]:,}",
    people_left=f"{left[1]:,}",
)
session.Table(
    ["raw pixels on", "images", "identities", "pairs", "accuracy, %", "AUC"], rows
)

# %% [markdown]
# {glue:text}`real_data` A measurement that comes with the book (`results/lfw/baselines.json`, on
# larger images) gives {glue:text}`lfw_floor:.1f` % on View 2 of LFW, where a coin gives 50.
#
# For each set there is a script (`lfw.py`, `att_faces.py` and `omniglot.py` in `data_scripts/`),
# which with `--dry-run` says what is missing and where to get it.
#
# Can we also *train* on LFW? Yes, if everybody who appears in the pairs of the tested fold is left
# out: *everybody*, with all their images, and not only the images in the pairs. Otherwise the test
# is no longer about strangers. While fold 0 is tested, {glue:text}`images_left` images of
# {glue:text}`people_left` people remain to train on. `lfw.training_part` does this, and exercise
# 7.3 asks you to do it.
#
# {doc}`../datasets` lists every data set of the field with its licence, its file layout, and the
# script that prepares it.
#
# ## Where we deviate
#
# - AgeDB-30 has 6,000 pairs of 12,000 images. DATN's page gives 12,000 as the number of pairs.
# - DATN's page says "random cropping" and "color jittering" without sizes. We pad by 8 pixels and
#   crop, and draw the factors of brightness, contrast and saturation from 0.8 to 1.2. With
#   `augmentation="flip"` you get what DATN's code does.
# - VN-Celeb has no published protocol, and in DATN's code gallery images are among the probes. We
#   draw a seeded protocol in which no image is both.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(7)

# %% [markdown]
# ## Exercises
#
# **7.1** A payload has 1,001 bytes and does not contain the magic word. How many bytes does its
# record take in the file?

# %%
exercises.check("7.1", None)

# %% [markdown]
# <details><summary>Solution 7.1</summary>
#
# The two words take 8 bytes and the payload 1,001, together 1,009. Three zeros fill them up to the
# next multiple of four: 1,012.
#
# </details>
#
# **7.2** Write a function that returns in how many parts a payload (`bytes`) is written.

# %%
exercises.check("7.2", None)

# %% [markdown]
# <details><summary>Solution 7.2</summary>
#
# Each magic word at a multiple of four is a cut, and $n$ cuts make $n + 1$ parts:
# `lambda p: 1 + sum(p[k : k + 4] == WORD for k in range(0, len(p) - 3, 4))`.
#
# </details>
#
# **7.3** Write a function that returns the rows that may be trained on when a fold is tested. Its
# arguments are the labels of all images, and two arrays with the row numbers of the first and
# second images of the fold's pairs.

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
# - A pack is one file of records, and a record is a magic word, a length, a payload and zeros. At
#   a multiple of four, the magic word never occurs inside a part. Only a checksum finds a damaged
#   byte within an image.
# - `cdmllab pack` makes a pack from folders, `cdmllab inspect` checks it, and `Pack` reads it as
#   views of a mapped file. The index only saves a scan.
# - A pickle is a program. Read bins with a list of allowed names, or not at all.
# - Five landmarks and a similarity transform align a face. Alignment, channel order and scale
#   belong to a network as much as its weights do.
# - Everything random is drawn from the seed, the epoch and the place in it, so workers and
#   interruptions change nothing.
# - To test on strangers, leave all images of the people in the test out of the training set.
#
# The tensor is ready. Which network turns it into 512 numbers, and what does that cost? Chapter 8
# counts.
#
# ## References
#
# {cite:t}`guo2021insightface`, {cite:t}`umeyama1991similarity`, {cite:t}`huang2008lfw`,
# {cite:t}`samaria1994att`, {cite:t}`lake2015omniglot`.
