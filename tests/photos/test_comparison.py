"""Pairs, suspects, groups and thresholds from known tables of cosines."""

from dataclasses import replace

import numpy as np
import pytest

from cdmllab import backbones
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate import Protocol
from cdmllab.evaluate.full import evaluate
from cdmllab.metrics import calibration
from cdmllab.photos import clusters, comparison, drawing, thresholds, words
from cdmllab.photos.album import Network
from cdmllab.photos.thresholds import Threshold
from cdmllab.preprocessing import check, standard

PERSON = np.array([0, 0, 0, 1, 1, 2])
COSINES = np.array(
    [
        [1.0, 0.9, 0.2, 0.1, 0.3, 0.0],
        [0.9, 1.0, 0.1, 0.2, 0.2, 0.1],
        [0.2, 0.1, 1.0, 0.8, 0.7, 0.6],
        [0.1, 0.2, 0.8, 1.0, 0.6, 0.5],
        [0.3, 0.2, 0.7, 0.6, 1.0, 0.4],
        [0.0, 0.1, 0.6, 0.5, 0.4, 1.0],
    ],
    dtype=np.float32,
)


def test_table_of_cosines_is_that_of_unit_vectors():
    cosines = comparison.table(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    half = np.sqrt(0.5)
    assert cosines == pytest.approx(
        np.array([[1, 0, half], [0, 1, half], [half, half, 1]]), abs=1e-6
    )
    with pytest.raises(ValueError, match="face 1"):
        comparison.table(np.array([[3.0, 0.0], [0.0, 0.0]]))


def test_strangers_are_the_most_similar_pair_of_each_two_people():
    pairs = comparison.strangers(COSINES, PERSON)
    assert [(a, b) for a, b, _ in pairs] == [(2, 3), (2, 5), (3, 5)]
    assert [cosine for *_, cosine in pairs] == pytest.approx([0.8, 0.6, 0.5])
    assert len(comparison.strangers(COSINES, PERSON, most=1)) == 1


def test_least_alike_is_one_pair_per_person():
    pairs = comparison.least_alike(COSINES, PERSON)
    assert [(a, b) for a, b, _ in pairs] == [(1, 2), (3, 4)]


def test_one_person_has_no_strangers():
    assert comparison.strangers(COSINES[:3, :3], PERSON[:3]) == []


def test_wrong_label_is_suspected_and_the_resembled_person_named():
    """Face 2 of person 0 has 0.15 to its own and 0.75 to person 1; 5 is alone and accuses nobody,
    and the two photos of person 1 judge each other.
    """
    (suspect,) = comparison.suspects(COSINES, PERSON)
    assert (suspect.row, suspect.nearest) == (2, 1)
    assert (suspect.own, suspect.other) == pytest.approx((0.15, 0.75))


def test_duplicates_are_found_across_jpeg_noise():
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (4, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    faces[3] = np.clip(faces[1].astype(int) + rng.integers(-1, 2, faces[1].shape), 0, 255)
    assert comparison.duplicates(faces) == [(1, 3)]


def test_groups_join_while_their_mean_cosine_is_above_the_threshold():
    assert clusters.grouped(COSINES, 0.95).tolist() == [0, 1, 2, 3, 4, 5]
    assert clusters.grouped(COSINES, 0.85).tolist() == [0, 0, 1, 2, 3, 4]
    # 2-3 at 0.8, then 4 at (0.7 + 0.6) / 2 = 0.65, then 5 at (0.6 + 0.5 + 0.4) / 3 = 0.5.
    assert clusters.grouped(COSINES, 0.66).tolist() == [0, 0, 1, 1, 2, 3]
    assert clusters.grouped(COSINES, 0.64).tolist() == [1, 1, 0, 0, 0, 2]
    assert clusters.grouped(COSINES, 0.51).tolist() == [1, 1, 0, 0, 0, 2]
    assert clusters.grouped(COSINES, 0.49).tolist() == [1, 1, 0, 0, 0, 0]
    assert clusters.grouped(COSINES[:1, :1], 0.5).tolist() == [0]


def test_means_of_groups_are_means_over_their_pairs():
    means = drawing.means(COSINES, PERSON)
    assert means[0, 1] == pytest.approx(np.mean([0.1, 0.3, 0.2, 0.2, 0.8, 0.7]))
    assert means[2, 2] == 1.0


def test_colours_are_clipped_to_the_scale():
    colours = drawing.colours(np.array([-5.0, 0.0, 1.0, 2.0]), 0.0, 1.0)
    assert colours[0].tolist() == colours[1].tolist() == [48, 18, 90]
    assert colours[2].tolist() == colours[3].tolist() == [250, 230, 70]


# Thresholds


def some_pairs(people=14, each=4, spread=0.9, seed=0):
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    e = rng.normal(size=(people, 12))[person] + spread * rng.normal(size=(people * each, 12))
    return thresholds.pairs_of(comparison.table(e), person)


def test_pairs_are_all_pairs_with_their_people():
    pairs = thresholds.pairs_of(COSINES, PERSON)
    assert len(pairs.scores) == 15
    assert pairs.strangers == 11
    assert (pairs.same == (pairs.people[0] == pairs.people[1])).all()
    assert pairs.scores[:5] == pytest.approx([0.9, 0.2, 0.1, 0.3, 0.0])


def test_threshold_of_photos_keeps_the_far_and_has_an_interval_around_it():
    pairs = some_pairs()
    threshold = thresholds.of_photos(pairs, 0.01)
    strangers = pairs.scores[~pairs.same]
    assert (strangers >= threshold.cosine).mean() <= 0.01
    below = pairs.scores[pairs.scores < threshold.cosine].max()
    assert (strangers >= below).mean() > 0.01  # the next lower score would let in too many
    assert threshold.low < threshold.cosine < threshold.high


def test_a_far_that_the_photos_cannot_resolve_is_refused():
    with pytest.raises(ValueError, match="cannot be measured with 11 impostor pairs"):
        thresholds.of_photos(thresholds.pairs_of(COSINES, PERSON), 1e-3)


def test_few_people_give_a_threshold_without_an_interval():
    threshold = thresholds.of_photos(thresholds.pairs_of(COSINES, PERSON), 0.1)
    assert (threshold.low, threshold.high) == (None, None)
    assert "3 people are too few" in threshold.note


def test_each_half_is_judged_by_the_others_threshold():
    pairs = some_pairs()
    one, other = thresholds.on_other_half(pairs, 0.05, seed=3)
    assert one.far.pairs == other.far.pairs == 21 * 16  # 7 people of 4 photos
    assert one.threshold != other.threshold
    assert thresholds.on_other_half(thresholds.pairs_of(COSINES, PERSON), 1e-3) == []


@pytest.fixture(scope="module")
def judged():
    """A network and its evaluation."""
    network = Network(
        backbones.create("small", size=16, width=4, embedding_dim=8), standard(3, 16), "net"
    )
    pairs = some_pairs()
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(14), 4)
    e = rng.normal(size=(14, 12))[person] + 0.9 * rng.normal(size=(56, 12))
    from cdmllab.data.pairs import every
    from cdmllab.evaluate.cached import digest
    from cdmllab.evaluate.measures import EvaluationKey
    from cdmllab.evaluate.npz import InMemory

    protocol = Protocol("mine", InMemory(np.zeros((56, 4, 4, 3), np.uint8)), every(person), person)
    done = evaluate(e, protocol, fars=[0.01, 0.1], replicates=50)
    made = EvaluationKey(
        weights_sha256=digest(network.backbone),
        protocol_sha256="0" * 64,
        preprocessing=check(network.prepare),
        replicates=50,
        seed=0,
    )
    return network, replace(done, measures=done.measures.having(made_with=made)), pairs


def test_threshold_of_an_evaluation_is_the_recorded_one(judged):
    _, done, _ = judged
    threshold = thresholds.of_evaluation(done, 0.01)
    recorded = done.measures.tar_at_far[0].threshold_cos
    assert threshold.cosine == recorded.value
    assert (threshold.low, threshold.high) == recorded.interval
    other = thresholds.of_evaluation(done, 0.05)
    assert other.low is None
    assert threshold.cosine > other.cosine
    with pytest.raises(ValueError, match="cannot be measured"):
        thresholds.of_evaluation(done, 1e-6)


def test_an_evaluation_must_be_of_the_same_network_fed_the_same_way(judged, tmp_path):
    network, done, _ = judged
    path = done.write(tmp_path)
    assert thresholds.evaluation_of(path, network).name == "mine"
    assert thresholds.evaluations(tmp_path) == [path]
    other = backbones.create("small", size=16, width=4, embedding_dim=8)
    with pytest.raises(CdmlLabError, match="is an evaluation of another network than net"):
        thresholds.evaluation_of(path, network._replace(backbone=other))
    with pytest.raises(CdmlLabError, match="with other preprocessing"):
        thresholds.evaluation_of(path, network._replace(prepare=standard(3, 32)))
    with pytest.raises(CdmlLabError, match="without the mirrored images: leave out --flip"):
        thresholds.evaluation_of(path, network._replace(flip=True))


def test_score_is_ranked_among_those_of_the_evaluation(judged):
    _, done, _ = judged
    shares = thresholds.tail_shares(done, 0.5)
    strangers = done.scores[~done.same]
    assert shares.strangers_above.value == (strangers >= 0.5).mean()
    assert shares.genuine_below.value == (done.scores[done.same] <= 0.5).mean()
    assert shares.strangers_above.low < shares.strangers_above.value < shares.strangers_above.high


@pytest.mark.parametrize("marks", [[], [(0.5, "here"), (-0.9, "calibration")]])
def test_histograms_show_both_kinds_and_any_number_of_thresholds(marks):
    svg = drawing.histograms(some_pairs(), marks)
    assert svg.count('class="mark') == len(marks)
    assert 'class="strangers"' in svg
    assert "nan" not in svg
    low = -0.9 if marks else np.floor(10 * some_pairs().scores.min()) / 10
    assert f">{low:.1f}<" in svg  # the axis begins at the lowest of all


def test_threshold_from_elsewhere_is_measured_on_these_photos(judged):
    _, done, pairs = judged
    limit = thresholds.of_evaluation(done, 0.01)
    decision = thresholds.measured_on(pairs, limit)
    assert decision.far.value == (pairs.scores[~pairs.same] >= limit.cosine).mean()


# Words


@pytest.mark.parametrize(
    ("cosine", "verdict"), [(0.5, "above"), (0.42, "too close to call at"), (0.3, "below")]
)
def test_a_verdict_is_undecided_within_the_interval(cosine, verdict):
    limit = Threshold(0.41, 0.38, 0.44, 1e-3, "lfw")
    assert words.verdict(cosine, limit) == verdict
    assert words.verdict(0.42, limit._replace(low=None, high=None)) == "above"


def test_the_line_of_two_photos_has_score_threshold_interval_and_limits():
    rate = calibration.wilson(3, 1000)
    line = words.compared(
        "a.jpg", "b.jpg", 0.5, Threshold(0.41, 0.38, 0.44, 1e-3, "lfw"),
        thresholds.TailShares(rate, calibration.wilson(50, 100)),
    )  # fmt: skip
    assert line == (
        "a.jpg, b.jpg: cosine 0.500, above the threshold 0.410 [0.380, 0.440] for a FAR of 0.001 "
        "on lfw, where 0.3 % [0.102, 0.878] of pairs of strangers score as high and 50 % [40.4, "
        "59.6] of pairs of one person as low; this holds for photos like those, and does not "
        "prove who is shown"
    )
    assert "it is unknown whether that is high" in words.uncalibrated("a", "b", 0.5)
