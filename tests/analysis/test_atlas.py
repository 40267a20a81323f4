"""The atlas of margins: measured causes and directions of every registered loss."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from cdmllab import margins
from cdmllab.analysis import atlas, margin_axes, papers
from cdmllab.margins import MarginPolicy, registry


@pytest.fixture
def scratch(monkeypatch):
    """Losses registered in a test are forgotten after it."""
    monkeypatch.setattr(registry, "_LOSSES", dict(registry._LOSSES))


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in atlas.atlas()}


def test_atlas_has_every_registered_loss(rows):
    assert set(rows) == set(margins.names())


@pytest.mark.parametrize("name", margins.names())
def test_measured_causes_are_the_declared_ones(rows, name):
    assert rows[name].moved_by == margins.moved_by(name)


def test_directions_are_those_of_the_papers(rows):
    larger = {row.name: row.larger_for for row in rows.values() if row.larger_for != "neither"}
    easy = {"cdml", "magface", "adaface"}
    gap = {"mv_softmax", "curricularface", "npcface"}
    rare = {"ldam", "dynamic_arcface", "logit_adjustment", "kappaface"}
    angle = {"sphereface", "sphereface2", "x2_softmax"}
    assert larger == dict.fromkeys(easy, "easy") | dict.fromkeys(gap | rare | angle, "hard")


def test_atlas_is_sorted_by_family_direction_and_year(rows):
    order = list(rows.values())
    assert [row.family for row in order] == sorted(
        (row.family for row in order),
        key=["nothing", "class", "angle", "gap", "norm", "time", "chance"].index,
    )
    norm = [row.year for row in order if row.family == "norm"]
    assert norm == sorted(norm)


def test_halves_of_cdml_and_ldam_equal_worked_values(rows):
    """Below 60 degrees CDML has 1.2 times 0.49 rad, beyond it 0.8 times. Of the easier places 20,
    25, ..., 45 all are below; of the harder ones 55, 60, ..., 80 at most two.
    """
    large, small = np.degrees(1.2 * 0.49), np.degrees(0.8 * 0.49)
    assert rows["cdml"].easy == pytest.approx(large)
    assert rows["cdml"].hard == pytest.approx((2 * large + 4 * small) / 6, abs=2.0)
    want = [0.5 * (n / 4) ** -0.25 for n in (512, 256, 128, 64, 32, 16, 8, 4)]
    assert rows["ldam"].easy == pytest.approx(np.mean(want[:4]))
    assert rows["ldam"].hard == pytest.approx(np.mean(want[4:]))


def test_new_loss_appears_without_an_edit(scratch):
    @margins.register("shortface", year=2026, label="ShortFace")
    class ShortFace(MarginPolicy):
        def target(self, target_cos, batch):
            return target_cos - 20.0 / batch.embedding_norm.clamp_min(20.0)

    row = next(row for row in atlas.atlas() if row.name == "shortface")
    assert (row.label, row.year, row.moved_by, row.larger_for) == (
        "ShortFace",
        2026,
        ("norm",),
        "hard",
    )
    seen = atlas.likeness(atlas.samples(50, seed=0), ["magface", "shortface"])
    assert seen.names == ("magface", "shortface")


def test_options_change_what_moves_cdml():
    assert atlas.movers("cdml", easiness="gap") == ("gap",)
    assert atlas.movers("cdml", schedule="linear") == ("angle", "time")
    assert atlas.movers("cdml", alpha=0.0) == ("nothing",)


def test_combined_margin_and_linear_angle_are_moved_by_nothing():
    assert atlas.movers("combined", m1=1.0, margin_rad=0.3, margin_cos=0.2) == ("nothing",)
    assert atlas.movers("combined", m1=1.35) == ("angle",)
    assert atlas.movers("liarcface") == ("nothing",)


def test_loss_without_cosines_has_no_margin(rows):
    assert rows["softmax"].moved_by == ("nothing",)
    assert math.isnan(rows["softmax"].easy)


def test_likeness_is_the_rank_correlation_of_margins():
    over = atlas.samples(80, seed=3)
    alike = atlas.likeness(over, ["softmax", "arcface", "cosface", "magface", "adaface"])
    assert alike.names == ("arcface", "magface", "adaface")
    assert alike.constant == ("cosface",)
    place = margin_axes.Place(batches=200, angle_rad=np.radians(50.0), negative_rad=np.radians(72))
    magface, adaface = (
        margin_axes.over_samples(name, over, place).margin_cos for name in ("magface", "adaface")
    )
    want = spearmanr(magface.round(9), adaface.round(9)).statistic
    assert alike.correlation[1, 2] == pytest.approx(want)
    np.testing.assert_allclose(np.diag(alike.correlation), 1.0)


def test_samples_at_one_angle_leave_no_rank_to_arcface():
    over = atlas.samples(40, seed=0, angle_deg=60.0)
    assert atlas.likeness(over, ["arcface", "magface"]).constant == ("arcface",)
    np.testing.assert_array_equal(over.angle_rad, np.full(40, np.radians(60.0)))


def test_margin_over_samples_equals_worked_values():
    over = margin_axes.Samples(
        angle_rad=np.array([0.5, 1.0]),
        negative_rad=np.array([1.2, 1.2]),
        norm=np.array([10.0, 110.0]),
        labels=np.array([0, 1]),
        class_sizes=np.array([16, 256]),
    )
    seen = margin_axes.over_samples("magface", over)
    np.testing.assert_allclose(seen.margin_rad, [0.45, 0.8])
    np.testing.assert_allclose(seen.margin_cos, np.cos([0.5, 1.0]) - np.cos([0.95, 1.8]))
    np.testing.assert_allclose(margin_axes.over_samples("ldam", over).margin_cos, [0.5, 0.25])
    with pytest.raises(ValueError, match="'softmax' has no curve; there are: normface"):
        margin_axes.over_samples("softmax", over)


@pytest.mark.parametrize("name", margins.names())
def test_every_loss_has_a_sentence_and_a_link(name):
    said = papers.sentence(name)
    assert said.endswith(".")
    assert said[0].isupper() or said[0].isdigit()
    assert papers.link(name).startswith("https://")


def test_sentence_of_a_loss_without_a_docstring_comes_from_its_class(scratch, monkeypatch):
    @margins.register("quiet", year=2026)
    class Quiet(MarginPolicy):
        """Leaves every sample alone (Nobody, 2026, see page_).

        .. _page: https://example.org/quiet
        """

    Quiet.__module__ = "no.such.module"
    assert papers.sentence("quiet") == "Leaves every sample alone (Nobody, 2026, see page_)."
    assert papers.link("quiet") == "https://example.org/quiet"


def test_year_is_that_of_the_registry():
    assert margins.year("magface") == 2021
    with pytest.raises(ValueError, match=r"unknown loss 'magfase' \(did you mean 'magface'\?\)"):
        margins.year("magfase")
