"""Pairs, suspects, groups and thresholds from tables of cosines that are known."""

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
    found = comparison.table(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    half = np.sqrt(0.5)
    assert found == pytest.approx(np.array([[1, 0, half], [0, 1, half], [half, half, 1]]), abs=1e-6)
    with pytest.raises(ValueError, match="face 1"):
        comparison.table(np.array([[3.0, 0.0], [0.0, 0.0]]))


def test_strangers_are_the_most_alike_couple_of_any_two_people():
    found = comparison.strangers(COSINES, PERSON)
    assert [(a, b) for a, b, _ in found] == [(2, 3), (2, 5), (3, 5)]
    assert [cosine for *_, cosine in found] == pytest.approx([0.8, 0.6, 0.5])
    assert len(comparison.strangers(COSINES, PERSON, most=1)) == 1


def test_least_alike_is_one_couple_for_each_person():
    found = comparison.least_alike(COSINES, PERSON)
    assert [(a, b) for a, b, _ in found] == [(1, 2), (3, 4)]


def test_one_person_has_no_strangers():
    assert comparison.strangers(COSINES[:3, :3], PERSON[:3]) == []


def test_a_wrong_label_is_suspected_and_who_it_resembles_is_named():
    """Face 2 of person 0 has 0.15 to its own and 0.75 to person 1; 5 is alone and accuses nobody,
    and the two photos of person 1 judge each other.
    """
    (found,) = comparison.suspects(COSINES, PERSON)
    assert (found.row, found.nearest) == (2, 1)
    assert (found.own, found.other) == pytest.approx((0.15, 0.75))


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


def test_means_of_groups_are_means_over_their_couples():
    found = drawing.means(COSINES, PERSON)
    assert found[0, 1] == pytest.approx(np.mean([0.1, 0.3, 0.2, 0.2, 0.8, 0.7]))
    assert found[2, 2] == 1.0


def test_colours_reach_from_end_to_end():
    shown = drawing.colours(np.array([-5.0, 0.0, 1.0, 2.0]), 0.0, 1.0)
    assert shown[0].tolist() == shown[1].tolist() == [48, 18, 90]
    assert shown[2].tolist() == shown[3].tolist() == [250, 230, 70]


# Thresholds


def some_pairs(people=14, each=4, spread=0.9, seed=0):
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    e = rng.normal(size=(people, 12))[person] + spread * rng.normal(size=(people * each, 12))
    return thresholds.pairs_of(comparison.table(e), person)


def test_pairs_are_all_pairs_with_who_is_compared():
    found = thresholds.pairs_of(COSINES, PERSON)
    assert len(found.scores) == 15
    assert found.strangers == 11
    assert (found.same == (found.people[0] == found.people[1])).all()
    assert found.scores[:5] == pytest.approx([0.9, 0.2, 0.1, 0.3, 0.0])


def test_threshold_of_photos_keeps_the_far_and_has_an_interval_around_it():
    pairs = some_pairs()
    found = thresholds.of_photos(pairs, 0.01)
    strangers = pairs.scores[~pairs.same]
    assert (strangers >= found.cosine).mean() <= 0.01
    below = pairs.scores[pairs.scores < found.cosine].max()
    assert (strangers >= below).mean() > 0.01  # the next lower score would let in too many
    assert found.low < found.cosine < found.high


def test_a_far_that_the_photos_cannot_resolve_is_refused():
    with pytest.raises(ValueError, match="cannot be measured with 11 impostor pairs"):
        thresholds.of_photos(thresholds.pairs_of(COSINES, PERSON), 1e-3)


def test_few_people_give_a_threshold_without_an_interval():
    found = thresholds.of_photos(thresholds.pairs_of(COSINES, PERSON), 0.1)
    assert (found.low, found.high) == (None, None)
    assert "3 people are too few" in found.note


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
    from cdmllab.evaluate.measures import MadeWith
    from cdmllab.evaluate.npz import InMemory

    protocol = Protocol("mine", InMemory(np.zeros((56, 4, 4, 3), np.uint8)), every(person), person)
    done = evaluate(e, protocol, fars=[0.01, 0.1], replicates=50)
    made = MadeWith(
        weights_sha256=digest(network.backbone),
        protocol_sha256="0" * 64,
        preprocessing=check(network.prepare),
        replicates=50,
        seed=0,
    )
    return network, replace(done, measures=done.measures.having(made_with=made)), pairs


def test_threshold_of_an_evaluation_is_the_recorded_one(judged):
    _, done, _ = judged
    found = thresholds.of_evaluation(done, 0.01)
    recorded = done.measures.tar_at_far[0].threshold_cos
    assert found.cosine == recorded.value
    assert (found.low, found.high) == recorded.interval
    other = thresholds.of_evaluation(done, 0.05)
    assert other.low is None
    assert found.cosine > other.cosine
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


def test_a_score_stands_among_those_of_the_evaluation(judged):
    _, done, _ = judged
    found = thresholds.standing(done, 0.5)
    strangers = done.scores[~done.same]
    assert found.strangers_above.value == (strangers >= 0.5).mean()
    assert found.genuine_below.value == (done.scores[done.same] <= 0.5).mean()
    assert found.strangers_above.low < found.strangers_above.value < found.strangers_above.high


@pytest.mark.parametrize("marks", [[], [(0.5, "here"), (-0.9, "calibration")]])
def test_histograms_show_both_kinds_and_any_number_of_thresholds(marks):
    shown = drawing.histograms(some_pairs(), marks)
    assert shown.count('class="mark') == len(marks)
    assert 'class="strangers"' in shown
    assert "nan" not in shown
    low = -0.9 if marks else np.floor(10 * some_pairs().scores.min()) / 10
    assert f">{low:.1f}<" in shown  # the axis begins at the lowest of all


def test_a_threshold_from_elsewhere_is_judged_by_these_photos(judged):
    _, done, pairs = judged
    limit = thresholds.of_evaluation(done, 0.01)
    found = thresholds.judged_by(pairs, limit)
    assert found.far.value == (pairs.scores[~pairs.same] >= limit.cosine).mean()


# Words


@pytest.mark.parametrize(
    ("cosine", "said"), [(0.5, "above"), (0.42, "too close to call at"), (0.3, "below")]
)
def test_a_verdict_is_undecided_within_the_interval(cosine, said):
    limit = Threshold(0.41, 0.38, 0.44, 1e-3, "lfw")
    assert words.verdict(cosine, limit) == said
    assert words.verdict(0.42, limit._replace(low=None, high=None)) == "above"


def test_the_line_of_two_photos_has_score_threshold_interval_and_limits():
    rate = calibration.wilson(3, 1000)
    line = words.compared(
        "a.jpg", "b.jpg", 0.5, Threshold(0.41, 0.38, 0.44, 1e-3, "lfw"),
        thresholds.Standing(rate, calibration.wilson(50, 100)),
    )  # fmt: skip
    assert line == (
        "a.jpg, b.jpg: cosine 0.500, above the threshold 0.410 [0.380, 0.440] for a FAR of 0.001 "
        "on lfw, where 0.3 % [0.102, 0.878] of pairs of strangers score as high and 50 % [40.4, "
        "59.6] of pairs of one person as low; this holds for photos like those, and proves "
        "nothing about who is shown"
    )
    assert "nothing says whether that is much" in words.uncalibrated("a", "b", 0.5)
