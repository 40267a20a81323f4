# ---
# cdmllab:
#   data: [results/sweeps/lab_variants.json, results/sweeps/lab_variants.yaml]
# ---
# %% [markdown]
# # What the sources say, and where they disagree
#
# :::{admonition} After this chapter you can
# :class: tip
# - sort the statements about CDML into those that agree and those that cannot all be true;
# - switch between the readings by an option, and state what can and cannot be concluded from our
#   trainings of each;
# - check a table of published results for rows that repeat and columns that may be swapped;
# - convert a threshold from one paper's scale into another's.
# :::
#
# :::{admonition} What you need
# :class: note
# Chapters 3, 4 and 11. Nothing is trained here, so the chapter runs in seconds. The measured
# effects come from a {term}`sweep`, a file of trainings to compare:
# `results/sweeps/lab_variants.yaml`.
# :::
#
# Chapter 12 compared what we measured with what was published. But what exactly was published? A
# method lives in more than one place: in a text that describes it, in code that implements it, and
# in tables of what it reached.
#
# For CDML the text is the results page of the repository DATN, which we call
# **{term}`DATN's page`**. The implementation is the code in the same repository,
# **{term}`DATN's code`**. The two differ, as descriptions of one method usually do. This chapter
# compares them without passing judgement. Each section states what the sources say, what we did
# about it, and which option gives the other reading.

# %% tags=["parameters", "hide-input"]
profile = "cpu"  # "cpu" or "gpu"; nothing here needs a GPU
seed = 0  # of the samples that stand for a batch

# %% tags=["hide-input"]
import numpy as np
import torch

from cdmllab import heads, margins, plots
from cdmllab.book import exercises, questions, session
from cdmllab.margins import Batch
from cdmllab.metrics import scoring
from cdmllab.results import published
from cdmllab.results.paired import family
from cdmllab.results.sweeps import Recorded
from cdmllab.training import presets

lab = session.start(profile, seed)
recorded = Recorded("lab_variants")
protocols = ["lab/lfw", "lab/cfp_fp", "lab/agedb_30", "lab/calfw", "lab/cplfw"]

# %% [markdown]
# ## Who gets the larger margin?
#
# **The sources.** The formula on DATN's page is
#
# ```{math}
# :label: eq-sources-formula
# m_i = m_{\text{base}}\,(1 + \alpha \cdot \text{difficulty}(x_i)).
# ```
#
# The page's text and diagram say that *easy* samples get the larger margin (times 1.2) and hard
# ones the smaller (times 0.8). But a number called difficulty ought to rise with difficulty, and
# then the formula does the opposite of the text. DATN's code adds $\alpha$ times a score that does
# rise with difficulty, so there *hard* samples get the larger margin.
#
# Other losses do not settle the question. Among those whose margin follows the sample, we know of
# none that gives *easy* samples the larger margin by their hardness. MagFace, whose margin follows
# the length of the embedding, comes nearest.
#
# **What we did.** We read the score as a signed *easiness*, from −1 for hard to +1 for easy.
# Formula, text and diagram of the page then agree, with $\alpha = 0.2$.
#
# **The option.** `favour="easy"` is the page's sign, `favour="hard"` that of the code.

# %% tags=["hide-input"]
cosines = torch.tensor([0.8, 0.5, 0.2])  # an easy, a middling, a hard sample
batch = Batch(torch.zeros(3, dtype=torch.long), cosines, torch.ones(3))
session.Table(
    ["cosine to the positive centre", *(f"{c:.1f}" for c in cosines.tolist())],
    [
        [f"`favour={favour!r}`", *(f"{m:.3f}" for m in margins.CDML(favour=favour, shape="linear").margin_rad(batch).tolist())]
        for favour in ("easy", "hard")
    ],
)  # fmt: skip

# %% [markdown]
# ## How far the margin moves
#
# **The sources.** The page moves the margin by a fifth to either side of 0.49. DATN's code has two
# forms:
#
# - The *gap form* uses the gap to the best negative centre,
#   $h = 1 - (\cos\theta_y - \max_j \cos\theta_j)$. Its margin is $m_i = 0.5 + 0.1\,h$, from 0.4 to
#   0.8.
# - The *angle form* uses $h = \pi/2 - (\theta_{\text{neg}} - \theta_y)$, clipped to between 0 and
#   $\pi/3$, where $\theta_{\text{neg}}$ is the angle to the nearest negative centre. Its margin
#   runs from 0.5 to 0.605.
#
# In both, a guard keeps the target from exceeding the plain cosine. The angle form only ever adds
# to the base margin, and the gap form subtracts only where a sample leads by more than 1. The
# *mean* margin is therefore mostly above the base. A comparison with ArcFace at the base margin
# then compares two things at once: a margin that moves, and a margin that is larger.
#
# **What we did.** All three are forms of `CDML`, as {doc}`chapter 4 </executed/04_cdml>` shows. For
# comparisons, `match_mean=True` holds the mean margin of each batch at the base.
#
# **The option.** `CDML.datn_code_gap()` and `CDML.datn_code_angle_gap()`, both with the guard,
# `never_above=True`; and `match_mean=False`.
#
# How large is the difference in the mean? The table simulates a batch at three stages of a
# training:

# %% tags=["hide-input"]
torch.manual_seed(seed)
stages = {
    "first steps": (0.0, 0.15),
    "half-way": (0.35, 0.25),
    "trained": (0.7, 0.3),
}
rows = []
for name, (own, foreign) in stages.items():
    c = (own + 0.15 * torch.randn(1000)).clamp(-1, 1)
    h = (foreign + 0.05 * torch.randn(1000)).clamp(-1, 1)
    at = Batch(
        torch.zeros(1000, dtype=torch.long),
        c,
        torch.ones(1000),
        hardest_negative=h,
    )
    forms = (
        margins.CDML.datn_page(),
        margins.CDML.datn_code_gap(),
        margins.CDML.datn_code_angle_gap(),
    )
    rows.append(
        [name, *(f"{float(form.margin_rad(at).mean()):.3f}" for form in forms)]
    )
session.Table(
    [
        "mean margin, rad",
        "DATN's page",
        "DATN's code, gap form",
        "DATN's code, angle form",
    ],
    rows,
)

# %% [markdown]
# These samples are drawn at random rather than trained: target cosines around 0, 0.35 and 0.7, best
# negative cosines around 0.15, 0.25 and 0.3. The page's form and the gap form each contain a hidden
# schedule. As training goes on, the page's mean margin rises and the gap form's falls.
#
# ## The term that was switched off
#
# **The sources.** The training script in DATN's code passes its arguments by position, and $\alpha$
# receives a value meant for a different argument, a filter threshold. That value is 0 in every
# committed configuration, and with $\alpha = 0$ no margin moves. One notebook orders the arguments
# differently, and there $\alpha$ stays at 0.1. It is not known which of the two trained the
# published CDML rows.
#
# **What we did.** Our arguments are named. With $\alpha = 0$ we must recover ArcFace bit for bit:

# %%
embeddings, labels = torch.randn(64, 32), torch.randint(20, (64,))
losses = []
for name, options in (("cdml", {"alpha": 0.0}), ("arcface", {})):
    torch.manual_seed(seed)
    head = heads.create(
        name, embedding_dim=32, num_identities=20, margin_rad=0.49, **options
    )
    losses.append(head(embeddings, labels).loss.item())
print(losses, losses[0] == losses[1])

# %% [markdown]
# ## One dimension too many
#
# **The sources.** The Partial FC module of DATN's code passes labels of shape $(B, 1)$, and its
# dynamic loss looks up cells by row and label. With labels in a column, indexing pairs every row
# with every label:

# %%
b = 4
rows_, column = torch.arange(b), torch.randint(20, (b, 1))
table = torch.zeros(b, 20)
print("cells with labels (b,):  ", table[rows_, column.squeeze(1)].numel())
print("cells with labels (b, 1):", table[rows_, column].numel())

# %% [markdown]
# **What we did.** A head accepts both shapes and treats them alike. There is no option for the
# other reading, which puts a margin on $B \times B$ cells instead of $B$.

# %%
torch.manual_seed(seed)
head = heads.create("cdml", embedding_dim=32, num_identities=20)
print(
    head(embeddings, labels).loss.item()
    == head(embeddings, labels[:, None]).loss.item()
)

# %% [markdown]
# ## What the gradient passes through
#
# **The sources.** DATN's dynamic loss is differentiated in full, including the score $h$. The
# ArcFace in the same code uses the *straight-through* gradient (chapter 3): its margin is applied
# without the gradient seeing it. Comparing these two losses means comparing margin and gradient
# together.
#
# **What we did.** `detach_margin=True` everywhere, `gradient="exact"` in all comparisons on the
# CPU, and both forms of the gradient measured separately. The presets at scale 64 are
# straight-through, for ArcFace and CDML alike, because there the exact gradient turned away from
# all centres ({doc}`chapter 12 </executed/12_reproduction>`). The presets of DATN's recipe keep
# what its code does: ArcFace straight-through, CDML in full.
#
# **The option.** `gradient="straight_through"` for any angular loss; `detach_margin=False` for
# CDML.
#
# The table gives the slope of the target, which multiplies the gradient of each sample:


# %% tags=["hide-input"]
def slope(policy, cosine, foreign=0.2):
    """Derivative of the target cosine after the margin by the one before it."""
    c = torch.tensor([cosine], dtype=torch.float64, requires_grad=True)
    other = torch.tensor([foreign], dtype=torch.float64)
    at = Batch(
        torch.zeros(1, dtype=torch.long), c, torch.ones(1), hardest_negative=other
    )
    (by,) = torch.autograd.grad(policy.margined(c, at).sum(), c)
    return f"{by.item():.3f}"


forms = {
    "ArcFace, straight-through": margins.ArcFace(gradient="straight_through"),
    "ArcFace, exact": margins.ArcFace(),
    "DATN's gap form, in full": margins.CDML.datn_code_gap(),
    "DATN's gap form, margin detached": margins.CDML.datn_code_gap(
        detach_margin=True
    ),
}
session.Table(
    ["slope at a cosine of", "0.8", "0.5", "0.1"],
    [
        [name, *(slope(policy, c) for c in (0.8, 0.5, 0.1))]
        for name, policy in forms.items()
    ],
)

# %% [markdown]
# Straight-through, the slope is 1 for every sample whatever its angle. The exact forms pull more
# strongly on samples that are nearly correct. Differentiated in full, the gap form pulls harder
# still, because a larger cosine also means a smaller margin.
#
# ## Progress and classes
#
# **The sources.** The page says that margins adjust *during training* and by *class
# characteristics*. No commit of DATN's code does either.
#
# **What we did.** Both are options, off by default. `schedule="linear"` or `"cosine"` lets $\alpha$
# grow with progress, and `class_weight` mixes in a running easiness of the identity.
#
# ## Recipes
#
# **The sources.** Page and code also differ in how to train. Both recipes are presets. These are
# the keys in which they differ:

# %% tags=["hide-input"]
page, code = (
    presets.load(f"casia/{recipe}/r50_lite_cdml")
    for recipe in ("datn_page", "datn_code")
)
session.Table(
    ["key", "DATN's page", "DATN's code"], presets.differing(page, code)
)

# %% [markdown]
# A dash means that the recipe leaves a key at the package's default. The gradient is our choice,
# since the page names none. A margin of 0.6 with $\alpha = 1/3$ is the form $0.5 + 0.1\,h$ of
# DATN's code, expressed in this package's terms ({doc}`chapter 4 </executed/04_cdml>`); the code's
# own base margin is 0.5.
#
# The page's augmentation, `datn_page` in the table, is flip, crop, colour jitter and rotation by up
# to 10 degrees; the code only flips. On MS1MV3 the page trains for 25 epochs, while one of the
# notebooks has 30.

# %% [markdown]
# ## What the readings did in our trainings
#
# Does it matter which reading one takes? We trained each of them in the face lab with
# {glue:text}`seeds` seeds, at a base margin of {glue:text}`margin` rad and scale
# {glue:text}`scale`.
#
# The row *mean matched* is the page's CDML with its mean margin held at the base, and most rows
# below it change one thing about that. The exceptions are the page's own form, whose mean margin
# grows, and the gap form of DATN's code, which brings its own mean margin and gradient and is moved
# to our base of {glue:text}`margin`.
#
# The second column names the ArcFace that each row is compared with. Differences are in points of
# accuracy, averaged over five protocols and paired by seed. Twelve comparisons produce false alarms
# more easily than one, so the verdict follows the $p$ with {term}`Holm's correction` and nothing
# else ({doc}`chapter 5 </executed/05_difficulty>` has the rule).

# %% tags=["hide-input"]
words = {
    "arcface_straight": "ArcFace, straight-through",
    "document": "DATN's page",
    "matched": "DATN's page, mean matched",
    "straight": "gradient straight-through",
    "linear": "linear instead of step",
    "gap": "easiness from the gap",
    "angle_gap": "easiness from the gap in angles",
    "schedule": "alpha grows with progress",
    "class_term": "half of it by identity",
    "wide": "alpha three times as large",
    "hard": "hard samples larger",
    "hard_wide": "hard samples larger, alpha three times",
    "public_gap": "DATN's code, gap form",
}
partner = dict.fromkeys(words, "arcface") | {"straight": "arcface_straight"}
found = family(
    {
        arm: recorded.difference("compare", arm, other, protocols)
        for arm, other in partner.items()
    }
)
beside = {"arcface": "ArcFace", "arcface_straight": words["arcface_straight"]}
session.Table(
    ["reading", "compared with", "difference", "95 % interval", "p, corrected"],
    [
        [words[arm], beside[partner[arm]], f"{100 * d.mean:+.2f}", f"{100 * d.low:+.2f} to {100 * d.high:+.2f}", session.p_value(d.p_family)]
        if d.sd
        else [words[arm], beside[partner[arm]], "identical", "", ""]
        for arm, d in found.items()
    ],
)  # fmt: skip

# %% tags=["remove-input"]
tested = {arm: d for arm, d in found.items() if d.sd}
clear = [
    words[arm] for arm, d in tested.items() if d.verdict != "not distinguishable"
]
same = [words[arm] for arm in found if arm not in tested]
strict = [
    recorded.difference(
        "compare", arm, partner[arm], protocols, confidence=1 - 0.05 / len(tested)
    )
    for arm in tested
]
session.report(
    seeds=next(iter(found.values())).n,
    readings=len(tested),
    clear=len(clear) or "none",
    named=": " + "; ".join(clear) if clear else "",
    margin=recorded.config("compare", "arcface")["loss"]["margin_rad"],
    scale=f"{recorded.config('compare', 'arcface')['loss']['scale']:g}",
    least=min(d.p_family for d in tested.values()),
    detectable=100 * np.median([d.detectable for d in tested.values()]),
    corrected=100 * np.median([d.detectable for d in strict]),
    same="; ".join(f"“{name}”" for name in same) if same else "none",
    trained_where=", ".join(recorded.trained()["processors"]),
    trained_runs=recorded.trained()["runs"],
)

# %% [markdown]
# The 95 % intervals in the table hold for one comparison at a time. The figure widens them so that
# all of them hold together. Does any of the wide ones exclude zero?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Difference of each reading to ArcFace, mean of five protocols, paired by seed. The intervals are widened so that all of them hold together with 95 % confidence (Bonferroni); a filled dot marks a difference that remains after Holm's correction.", "name": "fig-readings"}, "image": {"alt": "Twelve rows, each with a dot and a horizontal interval; every interval crosses the dashed line at zero"}}
fig, (ax,) = plots.figure(width=7.0, height=3.6)
joint = zip(tested, strict, strict=True)
plots.differences(
    ax,
    {words[arm]: (d.mean, d.low, d.high) for arm, d in joint},
    clear=clear,
)

# %% [markdown]
# Differences that remain after the correction: {glue:text}`clear` of
# {glue:text}`readings`{glue:text}`named`. The smallest corrected $p$ is {glue:text}`least:.2f`.
# What can we conclude from that?
#
# - **No reading was found to differ from ArcFace.** That includes the row with the largest
#   difference, ArcFace with the straight-through gradient. A look at its uncorrected interval is
#   tempting; but one such interval in twenty excludes zero by chance, and we looked at
#   {glue:text}`readings`.
# - **Nor were the readings found to be equal.** With {glue:text}`seeds` seeds we had 80 % power to
#   detect a difference of about {glue:text}`corrected:.1f` points among so many (about
#   {glue:text}`detectable:.1f` if only a single reading had been tested). Many differences in
#   published tables are smaller. An effect of that size could be there, and this table would not
#   show it.
# - **Nothing follows for full size.** The {glue:text}`trained_runs` trainings used small images and
#   a small network, on {glue:text}`trained_where`. At scale 64 the form of the gradient can decide
#   whether anything is learned at all ({doc}`chapter 12 </executed/12_reproduction>`).
#
# One entry needs no test. A score that is the same for every sample moves no margin when the mean
# is held, so such a reading is ArcFace bit for bit. Identical in this way: {glue:text}`same`.
#
# ## Rows that repeat, columns that may be swapped
#
# **The sources.** The published table of losses on CASIA-WebFace with ResNet-50 has
# {glue:text}`rows` rows. The baselines agree digit by digit with table 2 of the ArcFace paper; only
# the CDML row is new. So the baselines were not trained alongside it, and alignment and code may
# differ. The new row also stands out in another way. Look at the sign of the last column:

# %% tags=["hide-input"]
printed_in = {"datn_page": "DATN's page", "arcface": "ArcFace paper"}
casia_r50 = [
    row
    for row in published.ROWS
    if row.backbone == "r50" and row.source != "adaface"
]
session.Table(
    ["CASIA, R50", "printed in", "CFP-FP", "AgeDB-30", "CFP-FP − AgeDB-30"],
    [
        [row.loss, printed_in.get(row.source, row.source), f"{row.accuracy['cfp_fp']:.2f}", f"{row.accuracy['agedb_30']:.2f}",
         f"{row.accuracy['cfp_fp'] - row.accuracy['agedb_30']:+.2f}"]
        for row in casia_r50
    ],
)  # fmt: skip

# %% tags=["remove-input"]
session.report(rows=len(casia_r50))

# %% [markdown]
# In the CDML row alone, AgeDB-30 is easier than CFP-FP, and by a wide margin. If its two columns
# were exchanged, the row would follow the order of the others. Is that what happened? Before
# believing it, look at the other rows on the same page:

# %% tags=["hide-input"]
own_rows = [
    row
    for row in published.ROWS
    if row.source == "datn_page" and row not in casia_r50
]
session.Table(
    ["other rows of DATN's page", "CFP-FP", "AgeDB-30", "CFP-FP − AgeDB-30"],
    [
        [f"{row.trained_on}, {row.backbone}, {row.loss}", f"{row.accuracy['cfp_fp']:.2f}", f"{row.accuracy['agedb_30']:.2f}",
         f"{row.accuracy['cfp_fp'] - row.accuracy['agedb_30']:+.2f}"]
        for row in own_rows
    ],
)  # fmt: skip

# %% tags=["remove-input"]
reverse = [
    row for row in own_rows if row.accuracy["agedb_30"] > row.accuracy["cfp_fp"]
]
session.report(
    own_rows=len(own_rows),
    reverse=len(reverse),
    reverse_most=max(
        row.accuracy["agedb_30"] - row.accuracy["cfp_fp"] for row in reverse
    ),
    swapped=casia_r50[0].accuracy["agedb_30"] - casia_r50[0].accuracy["cfp_fp"],
)

# %% [markdown]
# In {glue:text}`reverse` of these {glue:text}`own_rows` rows AgeDB-30 is the easier one too, by up
# to {glue:text}`reverse_most:.2f` points. That is more than the {glue:text}`swapped:.2f` of the row
# in question, and both Lite networks trained on MS1MV3 are among them. So the order is unusual next
# to the baselines, but not on this page.
#
# A swap is possible, and the case for it is weak: a different alignment of CFP's profile images
# could have the same effect. Nobody can tell from outside, so we show the row as printed.
#
# ## Counts
#
# Some counts differ between sources, too:
#
# | | one source | another |
# |---|---|---|
# | AgeDB-30 | 12,000 pairs (DATN's page) | 6,000 pairs, made of 12,000 images (the set itself) |
# | VN-Celeb | 1,131 identities, more than 18,000 images (DATN's page) | 1,020 people, 23,105 images (the public set of that name) |
# | parameters of R18 to R100 | all parameters | |
# | parameters of the Lite networks | | only trained parameters: 512 fewer (chapter 8) |
#
# Even a single well-known number varies. For R100 with ArcFace on MS1MV2, four sources report a TAR
# at a FAR of $10^{-4}$ on IJB-C of {glue:text}`ijbc`. Training and protocol move it by more than
# most losses do.
#
# ## A threshold of 0.705
#
# **The sources.** DATN's code recommends a threshold of 0.705. It is a cosine *distance*, half-way
# between two means: 0.452 for genuine and 0.958 for impostor pairs. Those were measured with
# another network's weights, on inputs scaled to $[0, 1]$, and with gallery images among the probes.
#
# **What we did.** A threshold belongs to a network. It is chosen on validation pairs for a wanted
# FAR (chapter 11). What can be converted is the scale:

# %%
middle = (0.452 + 0.958) / 2
for scale in ("cosine_distance", "cosine", "squared_l2", "angle_rad"):
    print(f"{scale:16} {scoring.convert(middle, 'cosine_distance', scale):.3f}")

# %% tags=["remove-input"]
session.report(ijbc=", ".join(str(v) for v in published.IJBC_R100_ARCFACE_MS1MV2))

# %% [markdown]
# ## Where we deviate
#
# We take the sign of DATN's page as CDML's own, because text and diagram state it twice and the
# formula can be read that way. We use the exact gradient and hold the mean margin wherever we
# compare in the lab. Options switch all of this.
#
# ## Check yourself

# %% tags=["remove-input"]
questions.ask(13)

# %% [markdown]
# ## Exercises
#
# **13.1** Which margin, in radians, does the gap form of DATN's code give to a sample with a target
# cosine of 0.9 and a best negative cosine of −0.3?

# %%
exercises.check("13.1", None)

# %% [markdown]
# <details><summary>Solution 13.1</summary>
#
# $h = 1 - (0.9 + 0.3) = -0.2$, and $0.5 - 0.1 \cdot 0.2 = 0.48$: one of the few samples that get
# less than the base.
#
# </details>
#
# **13.2** The threshold of DATN's code is a cosine distance of 0.705. Up to which *angle*, in
# degrees, does it accept a pair?

# %%
exercises.check("13.2", None)

# %% [markdown]
# <details><summary>Solution 13.2</summary>
#
# The cosine is $1 - 0.705 = 0.295$, and $\arccos 0.295$ is 72.8 degrees.
#
# </details>
#
# **13.3** Write a function `fair(policy, batch)` that returns the margin that ArcFace needs for a
# fair comparison: the mean margin of `policy` on `batch`.

# %%
exercises.check("13.3", None)

# %% [markdown]
# <details><summary>Solution 13.3</summary>
#
# ```python
# def fair(policy, batch):
#     return float(policy.margin_rad(batch).mean())
# ```
#
# `match_mean` works in the opposite direction: it moves CDML instead of ArcFace.
#
# </details>
#
# ## Recap
#
# - *Which statements agree:* the text and the diagram of DATN's page. Its formula agrees with them
#   only if the score means easiness. DATN's code has the other sign, adds more margin than it
#   subtracts, and its training script may not have moved the margin at all.
# - *Switches:* `favour`, `easiness`, `shape`, `match_mean`, `schedule`, `class_weight`, `gradient`,
#   `detach_margin`. In our trainings no reading differed from ArcFace after correction, and only
#   large effects could have been seen. `detach_margin` was not tried separately, and the angle form
#   of DATN's code not at all.
# - *Tables:* look for rows that repeat another paper's digits and for columns out of order, and
#   read the same source's other rows before explaining them.
# - *Thresholds:* cosine distance, cosine, squared distance and angle are one number on four scales.
#   None of them carries over from one network to another.
#
# Our trainings had at most about ten thousand identities. What changes when there are a hundred
# million? Chapter 14 does the arithmetic.
#
# ## References
#
# DATN's page and code: {cite:t}`datn`. {cite:t}`deng2019arcface`, {cite:t}`an2021partialfc`.
