"""Valid and invalid labels, and class centres that are very long, very short or not finite."""

import numpy as np
import pytest
import torch
from tests.heads.variants import data, gradients, make

from cdmllab import heads
from cdmllab.margins import MarginPolicy

BACKENDS = ["dense", "blocked", "sharded"]


@pytest.mark.parametrize("backend", [*BACKENDS, "triplet"])
@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        lambda y: np.array(y, dtype=np.uint16),
        lambda y: np.array(y[::-1])[::-1],
        lambda y: np.array(y)[:, None],
        lambda y: [[label] for label in y],
        lambda y: [torch.tensor(label) for label in y],
    ],
)
def test_labels_may_be_an_array_or_a_list(form, backend):
    pair = {"embedding_dim": 5, "num_identities": 9}
    head = heads.create("triplet", **pair) if backend == "triplet" else make("arcface", backend)
    x, y = data()
    assert torch.equal(head(x, form(y.tolist())).loss, head(x, y).loss)


@pytest.mark.parametrize("backend", [*BACKENDS, "triplet"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda x, y: (x, "012345"),
            "labels must be a Tensor, an array or a list of numbers, got str",
        ),
        (
            lambda x, y: (x, None),
            "labels must be a Tensor, an array or a list of numbers, got NoneType",
        ),
        (lambda x, y: (x, 3), "labels must be a Tensor, an array or a list of numbers, got int"),
        (
            lambda x, y: (x, list("012345")),
            "labels must be a Tensor, an array or a list of numbers, but cannot be converted",
        ),
        (
            lambda x, y: (x, [[0], [1, 2]]),
            "labels must be a Tensor, an array or a list of numbers, but cannot be converted",
        ),
        (lambda x, y: (x, y.double().numpy()), "labels must be integers, got torch.float64"),
        (lambda x, y: (x, [True] * 6), "labels must be integers, got torch.bool"),
        (lambda x, y: (x, [0, 1, 2, 3, 9, 5]), "label 9 of sample 4 is out of range"),
        (lambda x, y: (x, [0, 1]), r"labels must have shape \(6,\) or \(6, 1\), got \(2,\)"),
        (lambda x, y: (x, y.to("meta")), "labels are on meta, but the embeddings on cpu"),
        (lambda x, y: (x.numpy(), y), "embeddings must be a Tensor, got ndarray"),
    ],
)
def test_invalid_label_is_named(change, sentence, backend):
    pair = {"embedding_dim": 5, "num_identities": 9}
    head = heads.create("triplet", **pair) if backend == "triplet" else make("arcface", backend)
    with pytest.raises(ValueError, match=sentence):
        head(*change(*data()))


def test_embeddings_of_another_device_are_named():
    x, y = data()
    with pytest.raises(ValueError, match="embeddings are on meta and the head is on cpu"):
        make("arcface")(x.to("meta"), y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_list_is_an_empty_batch(backend):
    out = make("arcface", backend)(torch.zeros(0, 5, dtype=torch.float64), [])
    assert out.loss == 0.0
    assert out.sample_loss.shape == (0,)


def test_known_easiness_may_be_a_list():
    head = heads.create("cdml", embedding_dim=5, num_identities=9, easiness="known")
    x, y = data(dtype=torch.float32)
    known = [0.0, 1.0, -1.0, 0.5, -0.5, 0.25]
    torch.testing.assert_close(head(x, y, known).easiness, torch.tensor(known))
    with pytest.raises(
        ValueError, match="known_easiness must be a Tensor, an array or a list of numbers"
    ):
        head(x, y, "hard")


LENGTHS = [1e-30, 1e-18, 1e-12, 1.0, 1e15, 1e18, 1e21, 1e37]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("arcface", {}),
        ("cdml", {"easiness": "gap"}),
        ("npcface", {}),
        ("subcenter_arcface", {}),
        ("normface", {"learn_scale": True}),
    ],
)
@pytest.mark.parametrize("length", LENGTHS)
def test_length_of_class_centres_makes_no_difference(length, name, options, backend):
    """Scaling a centre keeps cosines and embedding gradients, and divides its own gradient.

    The squares of 2e19 and of 1e-23 are outside the range of float32; a centre of 1e-30 counts
    as zero, as in `unit`.
    """
    x, y = data(dtype=torch.float32)
    head = make(name, backend, dtype=torch.float32, **options)
    scales = torch.ones(len(head.centres), 1)
    scales[::2] = length
    exact = make(name, "dense", **options)  # in float64, where nothing overflows
    with torch.no_grad():
        if length < 1e-20:
            exact.centres[::2] = 0.0
        head.centres.mul_(scales)
    out, (d_x, d_centres, *_) = gradients(head, x, y)
    want, (want_x, want_centres, *_) = gradients(exact, x.double(), y)
    torch.testing.assert_close(out.loss.double(), want.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        d_x.double(), want_x, rtol=1e-3, atol=1e-4 * float(want_x.abs().max())
    )
    got = d_centres.double() * scales
    if length < 1e-20:
        assert (got[::2] == 0.0).all()
    torch.testing.assert_close(
        got, want_centres, rtol=1e-3, atol=1e-4 * float(want_centres.abs().max())
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["softmax", "arcface", "subcenter_arcface"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_nan_centres_raise_in_training_and_in_evaluation(bad, name, backend):
    head, (x, y) = make(name, backend, dtype=torch.float32), data(dtype=torch.float32)
    with torch.no_grad():
        head.centres[5, 2] = bad
    identity = 1 if name == "subcenter_arcface" else 5  # three centres per identity
    for mode in (True, False):
        with pytest.raises(
            ValueError,
            match=rf"class centre of identity {identity} contains NaN or infinity \(1 centre",
        ):
            head.train(mode)(x, y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_bias_raises(backend):
    head, (x, y) = make("softmax", backend), data()
    with torch.no_grad():
        head.bias[7] = torch.nan
    with pytest.raises(ValueError, match="class centre of identity 7 contains NaN or infinity"):
        head(x, y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_centres_of_plain_softmax_keep_their_length(backend):
    head, (x, y) = make("softmax", backend, dtype=torch.float32), data(dtype=torch.float32)
    x, centres = x * 1e-24, head.centres.detach() * 1e25
    with torch.no_grad():
        head.centres.copy_(centres)
    want = torch.nn.functional.cross_entropy(x.double() @ centres.double().T, y)
    torch.testing.assert_close(head(x, y).loss.double(), want, rtol=1e-4, atol=0)


@pytest.mark.parametrize("backend", ["blocked", "sharded"])
@pytest.mark.parametrize("scale", [69.0, 71.0, 85.0, 100.0, 300.0])
def test_large_scale_does_not_overflow(scale, backend):
    """exp(89) and 10^8 exp(71) overflow float32, so above a scale of 70 a maximum is subtracted."""
    size = {"embedding_dim": 4, "num_identities": 50, "scale": scale}
    torch.manual_seed(0)
    head, exact = (
        heads.create("normface", **size, backend=backend),
        heads.create("normface", **size).double(),
    )
    centres = torch.ones(50, 4)  # every negative on the embedding: exp(scale) each
    centres[0] = -1.0
    with torch.no_grad():
        head.centres.copy_(centres)
        exact.centres.copy_(centres)
    x, y = torch.ones(3, 4), torch.tensor([0, 0, 1])
    out, grads = gradients(head, x, y)
    want, _ = gradients(exact, x.double(), y)
    torch.testing.assert_close(out.sample_loss.double(), want.sample_loss, rtol=1e-5, atol=1e-5)
    assert all(torch.isfinite(g).all() for g in grads)


class Wants(MarginPolicy):
    """A loss that requests something that no head can provide."""

    def __init__(self, uses_cosine=True, statistics=()):
        super().__init__()
        self.uses_cosine, self.statistics = uses_cosine, statistics


class Changes(Wants):
    def negatives(self, cosines, batch):
        return cosines / 2


class Offsets(Wants):
    def class_offset(self):
        return torch.zeros(3)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Offsets(False), "the logits of wanting are not cosines"),
        (
            Wants(statistics=("softest_negative",)),
            "requests the statistic 'softest_negative'; a head provides hardest",
        ),
        (Changes(False), "the logits of wanting are not cosines"),
        (Wants(False, ("hardest_negative",)), "the logits of wanting are not cosines"),
    ],
)
def test_policy_with_impossible_requests_is_rejected(policy, sentence):
    with pytest.raises(ValueError, match=sentence):
        heads.DenseHead(policy, name="wanting", embedding_dim=4, num_identities=3)
