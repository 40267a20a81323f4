"""A policy observes each training batch once, with the same statistics in every backend."""

import pytest
import torch
from tests.heads.probes import COMBINATIONS, SCALE, STATISTICS, probe_head, steps
from tests.heads.variants import data

from cdmllab.geometry import cosine

C = 9


def batch():
    x, y = data(7, C)
    y[2] = -1
    return x, y


def expected(head, x, y, scale):
    """The statistics of a batch, from the matrix of cosines."""
    rows = cosine(x, head.centres.detach())
    rows = rows.unflatten(1, (C, head.policy.centres_per_identity)).amax(dim=2)
    result = {name: [] for name in STATISTICS}
    for row, label in zip(rows.tolist(), y.tolist(), strict=True):
        others = torch.tensor([c for j, c in enumerate(row) if j != label], dtype=torch.float64)
        hard = [c for c in others.tolist() if c > row[label] - 0.6]
        result["hardest_negative"].append(float(others.max()))
        result["hard_negative_mean"].append(sum(hard) / len(hard) if hard else 0.0)
        result["negative_partition"].append(float((scale * others).exp().sum().log()))
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in result.items()}


@pytest.mark.parametrize("backend", ["dense", "blocked", "sharded"])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_observe_is_called_once_per_batch_with_the_requested_statistics(combination, backend):
    statistics, changes, *_ = combination
    x, y = batch()
    kept = y != -1
    head = probe_head(backend, combination, C)
    want = expected(head, x[kept], y[kept], SCALE)
    head(x, y)
    (seen,) = head.policy.observed
    for name in STATISTICS:
        if name in statistics and not changes:
            torch.testing.assert_close(seen[name], want[name])
        else:
            assert seen[name] is None
    head.eval()(x, y)
    assert len(head.policy.observed) == 1


@pytest.mark.parametrize("backend", ["blocked", "sharded"])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_every_combination_of_flags_is_the_same_in_every_backend(combination, backend):
    x, y = batch()
    want, got = (steps(probe_head(kind, combination, C), x, y) for kind in ("dense", backend))
    assert len(got["observed"]) == len(want["observed"]) == 2
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("backend", ["blocked", "sharded"])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_filtered_negatives_are_the_same_in_every_backend(combination, backend):
    x, y = batch()
    heads = [
        probe_head(kind, combination, C, interclass_filtering_threshold=0.4)
        for kind in ("dense", backend)
    ]
    free = probe_head("dense", combination, C)
    want, got = (steps(head, x, y) for head in heads)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10, equal_nan=True)
    assert abs(float(steps(free, x, y)["loss"] - want["loss"])) > 1e-3
