from dataclasses import replace

import numpy as np
import pytest
from tests.evaluate import small_protocols

from cdmllab import evaluate
from cdmllab.data import pairs
from cdmllab.evaluate.full import quick_measures


def protocol():
    return pairs.sample(np.repeat(np.arange(8), 6), per_fold=6, folds=5)


def test_scores_are_cosines_of_any_length():
    rng = np.random.default_rng(0)
    e, p = rng.normal(size=(48, 5)), protocol()
    want = [
        e[i] @ e[j] / np.linalg.norm(e[i]) / np.linalg.norm(e[j])
        for i, j in zip(p.first, p.second, strict=True)
    ]
    np.testing.assert_allclose(evaluate.scores(e * rng.uniform(1, 9, (48, 1)), p), want)


def test_verify_of_perfect_embeddings_is_perfect():
    result = evaluate.verify(np.repeat(np.eye(8), 6, axis=0), protocol())
    assert result.accuracy.mean == 1.0
    assert result.auc == 1.0


def test_glance_has_accuracy_if_there_are_folds():
    embeddings = small_protocols.Flat()(small_protocols.people()[0]).detach().numpy()
    small = small_protocols.protocol()
    judged = evaluate.verify(embeddings, small.pairs)
    assert quick_measures(embeddings, small) == {
        "accuracy": judged.accuracy.mean,
        "auc": judged.auc,
    }
    one_fold = replace(small, pairs=small.pairs._replace(fold=np.zeros_like(small.pairs.fold)))
    assert quick_measures(embeddings, one_fold) == {"auc": judged.auc}


def test_glance_pools_templates_like_evaluate():
    embeddings = small_protocols.Flat()(small_protocols.people()[0]).detach().numpy()
    groups = small_protocols.templates()
    evaluation = evaluate.evaluate(embeddings, groups, replicates=0)
    assert quick_measures(embeddings, groups)["auc"] == pytest.approx(evaluation.measures.auc.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e[:40], "name image 4[0-9], but there are only 40"),
        (lambda e: np.where(np.arange(48)[:, None] == 7, 0.0, e), "embedding of image 7 is zero"),
        (
            lambda e: np.where(np.arange(48)[:, None] == 9, np.nan, e),
            "image 9 is zero or not finite",
        ),
        (lambda e: e[:, 0], r"shape \(n, d\)"),
    ],
)
def test_bad_embeddings_are_named(spoil, message):
    with pytest.raises(ValueError, match=message):
        evaluate.scores(spoil(np.ones((48, 3))), protocol())
