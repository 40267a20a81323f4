import pytest
import torch

from cdmllab import heads
from cdmllab._util.memory import TensorPeak
from cdmllab.heads.cost import BYTES, all_reduced, cost

DIM, BATCH, IDENTITIES = 32, 64, 20_000
SMALL = {"batch": BATCH, "embedding_dim": DIM, "block_cells": 2**18}


def peak_bytes(**options):
    """Peak bytes of tensors during a step, without the class centres."""
    torch.manual_seed(0)
    head = heads.create("arcface", embedding_dim=DIM, num_identities=IDENTITIES, **options)
    x, y = torch.randn(BATCH, DIM, requires_grad=True), torch.arange(BATCH)
    with TensorPeak() as peak:
        head(x, y).loss.backward()
    return peak.mib * 2**20


@pytest.mark.parametrize("keep", ["block", "matrix"])
def test_blocked_head_allocates_the_counted_memory_and_little_more(keep):
    counted = cost(IDENTITIES, keep=keep, **SMALL)
    expected = counted.memory - counted.centres - counted.momentum
    measured = peak_bytes(backend="blocked", keep_logits=keep == "matrix")
    assert expected <= measured <= expected + 3 * BYTES * 2**18 + BYTES * IDENTITIES * 2


def test_drawn_centres_are_counted():
    counted = cost(IDENTITIES, sample_rate=0.25, **SMALL)
    assert counted.drawn == 2 * 5_000 * DIM * BYTES
    measured = peak_bytes(backend="sharded", sample_rate=0.25)
    assert counted.gradient + counted.drawn <= measured


def test_dense_head_allocates_several_matrices():
    one = BATCH * IDENTITIES * BYTES
    assert peak_bytes(backend="dense") > 4 * one


def test_centres_gradient_and_momentum_are_split_over_ranks_and_logits_are_not():
    alone, four = cost(1_000_000, batch=128), cost(1_000_000, batch=128, ranks=4)
    assert alone.kept == 3 * 1_000_000 * 512 * 4
    assert four.kept == alone.kept // 4
    # Four times the samples against a quarter of the centres.
    matrix = [cost(1_000_000, batch=128, ranks=r, keep="matrix").logits for r in (1, 4)]
    assert matrix[0] == matrix[1]
    assert four.products == alone.products


def test_fullest_rank_is_counted():
    assert cost(10, batch=1, ranks=4).centres == 3 * 512 * 4


def test_traffic_follows_the_batch_not_the_identities():
    few, many = (cost(c, batch=128, ranks=8).traffic for c in (10_000, 100_000_000))
    assert few == many
    assert cost(10_000, batch=128).traffic == 0
    rows = 128 * 512 * 4
    assert few == pytest.approx(7 * rows + 2 * 7 / 8 * 8 * rows, rel=0.05)


def test_all_reduce_of_a_ring():
    assert all_reduced(800, 1) == 0
    assert all_reduced(800, 2) == 800
    assert all_reduced(800, 8) == 1400


def test_sampling_divides_products_and_keeps_the_batch():
    full, tenth = (
        cost(1_000_000, batch=128, ranks=8),
        cost(1_000_000, batch=128, ranks=8, sample_rate=0.1),
    )
    assert tenth.products == pytest.approx(full.products / 10, rel=1e-3)
    assert tenth.kept == full.kept
    tiny = cost(1_000, batch=500, sample_rate=0.1)
    assert tiny.products == 4 * 500 * 500 * 512


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"num_identities": 0}, "num_identities must be 1 or more, got 0"),
        ({"ranks": 0}, "ranks must be 1 or more"),
        ({"sample_rate": 0.0}, r"sample_rate must lie in \(0, 1\], got 0.0"),
        ({"keep": "all"}, "keep must be 'block' or 'matrix', got 'all'"),
    ],
)
def test_numbers_out_of_range_are_rejected(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        cost(**{"num_identities": 10, "batch": 1, **wrong})
