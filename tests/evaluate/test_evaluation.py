import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tests.evaluate.small_protocols import Flat, protocol, templates

from cdmllab import evaluate
from cdmllab.evaluate import Evaluation, cached, figures, measures
from cdmllab.evaluate.evaluation import file_name
from cdmllab.metrics import bootstrap, calibration, error_rates, fixed_grid, scoring, verification
from cdmllab.metrics import templates as pooling


def embedded(p):
    return evaluate.embed(Flat(), p.images).numpy()


def test_evaluation_agrees_with_the_metrics():
    p = protocol()
    e = embedded(p)
    got = evaluate.evaluate(e, p, replicates=50)
    scores = evaluate.scores(e, p.pairs)
    np.testing.assert_array_equal(got.scores, scores)
    m = got.measures
    exact = verification.fold_accuracy(scores, p.pairs.same, p.pairs.fold)
    grid = fixed_grid.fold_accuracy(
        scoring.convert(scores, "cosine", "squared_l2"), p.pairs.same, p.pairs.fold
    )
    assert m.accuracy.value == exact.mean
    assert m.accuracy.per_fold == tuple(exact.per_fold.tolist())
    assert m.accuracy.arcface_torch_rule.value == grid.mean
    assert m.accuracy.arcface_torch_rule.difference == grid.mean - exact.mean
    assert (m.genuine_pairs, m.impostor_pairs, m.images) == (100, 100, 120)
    assert m.auc.value == verification.auc(scores, p.pairs.same)
    assert m.eer.value == verification.eer(scores, p.pairs.same)
    own = p.identity[p.pairs.first], p.identity[p.pairs.second]
    spread = bootstrap.intervals(
        scores, p.pairs.same, p.pairs.fold, identities=own, fars=(0.01, 0.1), replicates=50
    )
    assert m.auc.interval == spread["auc"][:2]
    assert m.accuracy.interval == spread["accuracy"][:2]
    at = {row.far: row for row in m.tar_at_far}
    assert at[0.1].value == verification.tar_at_far(scores, p.pairs.same, 0.1)
    assert at[0.1].interval == spread["tar@0.1"][:2]
    assert at[1e-3] == measures.TarAtFar(
        far=1e-3, value=None, reason="100 impostor pairs cannot resolve it"
    )
    assert m.intervals.over == "identities"
    assert m.intervals.note == ""


def test_threshold_of_a_tar_gives_that_tar():
    p = protocol()
    got = evaluate.evaluate(embedded(p), p, fars=[k / 100 for k in range(1, 40)], replicates=50)
    for at in got.measures.tar_at_far:
        threshold = at.threshold_cos
        assert (got.scores[got.same] >= threshold.value).mean() == at.value
        assert (got.scores[~got.same] >= threshold.value).mean() <= at.far
        assert threshold.interval[0] <= threshold.value <= threshold.interval[1]


def test_templates_are_pooled_before_they_are_compared():
    p = templates()
    got = evaluate.evaluate(embedded(p), p, replicates=20)
    pooled = pooling.pool(embedded(p), *p.templates)
    np.testing.assert_allclose(
        got.scores, scoring.cosines(pooled.embeddings, p.pairs.first, p.pairs.second)
    )
    assert got.measures.accuracy is None  # one fold
    assert got.measures.intervals.over == "identities"
    alone = evaluate.evaluate(embedded(p), protocol(), replicates=0)
    assert got.measures.auc.value > alone.measures.auc.value


def test_pair_of_a_template_without_an_image_is_named():
    p = templates()
    p = templates(pairs=p.pairs._replace(second=np.where(p.pairs.second == 39, 77, p.pairs.second)))
    with pytest.raises(ValueError, match="template 77 has no image"):
        evaluate.evaluate(embedded(p), p)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"identity": None}, "the identities are unknown"),
        ({"identity": np.zeros(120, int)}, "only 1 identities"),
    ],
)
def test_record_notes_intervals_over_pairs(changes, note):
    p = protocol(**changes)
    got = evaluate.evaluate(embedded(p), p, replicates=10).measures.intervals
    assert got.over == "pairs"
    assert note in got.note


def test_evaluation_without_replicates_has_no_intervals():
    m = evaluate.evaluate(embedded(protocol()), protocol(), replicates=0).measures
    assert m.intervals is None
    assert m.auc.interval is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e[:50], r"embeddings must have shape \(120, d\), got \(50, 16\)"),
        (
            lambda e: np.where(np.arange(120)[:, None] == 8, np.nan, e),
            "image 8 is zero or not finite",
        ),
    ],
)
def test_unsuitable_embeddings_are_named(spoil, message):
    p = protocol()
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate(spoil(embedded(p)), p)


def test_evaluation_is_read_back_from_its_files(tmp_path):
    p = protocol()
    got = evaluate.evaluate(embedded(p), p, replicates=10, flip=True)
    path = got.write(tmp_path)
    assert path == tmp_path / "people__flip.json"
    again = Evaluation.read(path)
    for array in ("scores", "same", "fold"):
        np.testing.assert_array_equal(getattr(again, array), getattr(got, array))
    assert again.measures == got.measures
    assert None not in (again.measures.git_commit, again.measures.versions, again.measures.machine)
    (tmp_path / "people__flip.npz").unlink()
    with pytest.raises(ValueError, match=r"people__flip\.json is not an evaluation"):
        Evaluation.read(path)


def test_file_names_have_no_slash():
    assert file_name("lab/hard", flip=False) == "lab-hard"
    assert re.fullmatch("own-[0-9a-f]{8}__flip", file_name("some/where/own.npz", flip=True))


def test_file_names_differ_for_equal_names_in_different_folders(tmp_path, monkeypatch):
    names = [
        file_name(protocol, flip=False)
        for protocol in ("a/pairs.npz", "b/pairs.npz", "pairs.bin", "pairs")
    ]
    assert len(set(names)) == 4
    monkeypatch.chdir(tmp_path)
    assert file_name("own.npz", flip=False) == file_name(str(tmp_path / "own.npz"), flip=False)


def test_wrong_pairs_agree_with_the_accuracy_of_each_fold():
    p = protocol()
    got = evaluate.evaluate(embedded(p), p, replicates=0)
    folds = verification.fold_accuracy(got.scores, got.same, got.fold)
    for k in range(5):
        assert np.isclose((~got.wrong[got.fold == k]).mean(), folds.per_fold[k])
    pooled = Evaluation("x", got.scores, got.same, np.zeros(200, int), got.measures)
    best = verification.best_threshold(got.scores, got.same)
    assert (~pooled.wrong).mean() == verification.accuracy(got.scores, got.same, best)


def test_error_rates_by_nuisance_count_every_pair():
    p = protocol()
    got = evaluate.evaluate(embedded(p), p, replicates=0)
    table = cached.by_nuisance(got, p)["noise"]["larger"]
    assert sum(table.genuine.pairs) == sum(table.impostor.pairs) == 100
    wrong = sum(r * n for r, n in zip(table.genuine.rate, table.genuine.pairs, strict=True) if n)
    assert np.isclose(wrong, got.wrong[got.same].sum())
    assert table.genuine.rate[-1] > table.genuine.rate[1]
    json.dumps(table.model_dump(mode="json"), allow_nan=False)
    flat = protocol(nuisances={"mask": np.zeros(120)})
    assert cached.by_nuisance(got, flat) == {}
    assert cached.by_nuisance(got, templates(nuisances=p.nuisances)) == {}


def test_threshold_from_one_protocol_is_applied_to_another():
    a, b = protocol(), protocol(name="others")
    one, other = (evaluate.evaluate(embedded(p), p, replicates=0) for p in (a, b))
    got = cached.decide(other, one, 0.05).measures.decision
    threshold = calibration.threshold_at_far(one.scores, one.same, 0.05)
    assert got.threshold_cos == threshold
    assert got.threshold_from == "people"
    assert got.far.value == (other.scores[~other.same] >= threshold).mean()
    with pytest.raises(ValueError, match="chosen on people cannot be evaluated on it"):
        cached.decide(one, one, 0.05)
    known = cached.decide(other, one, 0.05, b.people()).measures.decision.far
    (plain, drawn), impostor = (got.far.interval, known.interval), ~other.same
    assert known.value == got.far.value
    assert drawn[0] <= plain[0] <= plain[1] <= drawn[1]
    accepted = (other.scores >= threshold)[impostor]
    first, second = b.people()
    expected = bootstrap.shares(accepted, (first[impostor], second[impostor]))[0]
    assert drawn[1] == pytest.approx(max(plain[1], expected.high), rel=0.2)


@pytest.mark.parametrize("make", [protocol, templates])
def test_people_of_a_protocol_agree_with_its_pairs(make):
    p = make()
    first, second = p.people()
    assert ((first == second) == p.pairs.same).all()
    assert make(identity=None).people() is None


@pytest.mark.parametrize("colour", [False, True])
def test_figures_are_written_to_svg_files(tmp_path, colour):
    p = protocol()
    if colour:
        pixels = ((p.images - p.images.min()) * 30).byte().clamp(0, 255).expand(-1, 3, -1, -1)
        p = protocol(images=pixels.contiguous())
    got = evaluate.evaluate(embedded(protocol()), p, replicates=0)
    paths = figures.write(got, p, tmp_path)
    assert [path.name for path in paths] == [
        "people__roc.svg",
        "people__worst.svg",
        "people__by_noise.svg",
    ]
    for path in paths:
        assert path.read_text().count("<path") > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert not plt.get_fignums()


def test_templates_get_the_roc_figure_only(tmp_path):
    p = templates()
    got = evaluate.evaluate(embedded(p), p, replicates=0)
    assert [path.name for path in figures.write(got, p, tmp_path)] == ["groups__roc.svg"]


def test_worst_pairs_are_on_the_wrong_side_of_the_median():
    p = protocol()
    got = evaluate.evaluate(embedded(p), p, replicates=0)
    worst = error_rates.worst(got.scores, got.same, 5)
    assert got.scores[worst.genuine].max() < np.median(got.scores[got.same])
    assert got.scores[worst.impostor].min() > np.median(got.scores[~got.same])
