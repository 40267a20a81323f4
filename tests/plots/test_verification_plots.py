import numpy as np
import pytest

from cdmllab import plots
from cdmllab.metrics import calibration, error_rates, ranked
from cdmllab.plots import style
from cdmllab.plots.images import coloured


def draw(n=400, seed=0):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    return np.clip(rng.normal(np.where(same, 0.5, 0.1), 0.15), -1, 1), same


def test_roc_curve_passes_through_its_operating_points():
    _, (ax,) = plots.figure()
    plots.roc_curve(ax, [5, 4, 3, 2, 1, 0], [True, False, True, True, False, False], name="arcface")
    far, tar = ax.lines[0].get_data()
    assert dict(zip(np.round(far, 6), np.round(tar, 6), strict=True))[0.333333] == 1.0
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == (pytest.approx(1 / 3), 1.0)
    assert ax.lines[0].get_color() == style.COLOURS["arcface"]


def test_roc_curves_share_an_axis_down_to_the_finest():
    _, (ax,) = plots.figure()
    for n in (4000, 100):
        plots.roc_curve(ax, *draw(n), name="cdml")
    assert ax.get_xlim()[0] == pytest.approx(1 / (~draw(4000)[1]).sum())


def test_roc_curves_end_where_one_impostor_pair_is_left():
    """A curve ends at the smallest FAR that its pairs resolve, however far the axes extend."""
    _, (ax,) = plots.figure()
    for n in (4000, 100):
        scores, same = draw(n, seed=1)
        plots.roc_curve(ax, scores, same, name="cdml")
        far, tar = ax.lines[-1].get_data()
        impostors = (~same).sum()
        assert far[0] == 1 / impostors
        assert far.min() == far[0]
        assert tar[0] == ranked.tar_at_far(ranked.rank(scores, same), 1 / impostors)
        assert (far[-1], tar[-1]) == (1.0, 1.0)


def test_roc_curve_of_perfect_scores_is_a_line_at_one():
    _, (ax,) = plots.figure()
    plots.roc_curve(ax, [3, 2, 1, 0], [True, True, False, False], name="cdml")
    assert ax.lines[0].get_xydata().tolist() == [[0.5, 1.0], [1.0, 1.0]]


def area(outline):
    """Of a filled shape, by the shoelace formula."""
    x, y = outline.get_paths()[0].vertices.T
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def test_score_histogram_fills_the_errors():
    scores, same = draw()
    _, (ax,) = plots.figure()
    plots.score_histogram(ax, scores, same, threshold=0.31, bins=30)
    wrong = {}
    for kind, patch in zip(("genuine", "impostor"), ax.patches, strict=True):
        values, edges, _ = patch.get_data()
        wrong[kind] = (values * np.diff(edges)).sum()
    assert np.isclose(wrong["genuine"], (scores[same] < 0.31).mean())
    assert np.isclose(wrong["impostor"], (scores[~same] >= 0.31).mean())
    assert ax.texts[0].get_text() == "0.310"


def test_score_histogram_without_a_threshold_is_two_densities():
    _, (ax,) = plots.figure()
    plots.score_histogram(ax, *draw())
    assert not ax.patches
    assert [area(outline) for outline in ax.collections] == pytest.approx([1.0, 1.0])
    assert ax.get_legend_handles_labels()[1] == ["genuine", "impostor"]


def test_cmc_curve_starts_at_rank_one_and_shows_every_curve():
    _, (ax,) = plots.figure()
    plots.cmc_curve(ax, [0.8, 0.9, 1.0], name="cdml")
    plots.cmc_curve(ax, [0.3, 0.4, 0.5], name="arcface")
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert ax.get_ylim()[0] < 0.3


def test_reliability_curve_draws_the_bins_on_a_diagonal():
    scores, same = draw(2000)
    result = calibration.reliability(
        calibration.fit_calibrator(scores, same).probability(scores), same, 5
    )
    _, (ax,) = plots.figure()
    plots.reliability_curve(ax, result, name="cdml")
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(
        ax.lines[1].get_xydata(), np.stack([result.stated, result.observed], 1)
    )


def test_error_sheet_writes_each_score_below_its_pair():
    one, other = np.zeros((3, 1, 8, 8)), np.full((3, 1, 8, 8), 0.5)
    _, (ax,) = plots.figure()
    plots.error_sheet(ax, one, other, [0.91, 0.82, 0.7], columns=2, title="worst")
    assert [t.get_text() for t in ax.texts] == ["0.91", "0.82", "0.70"]
    page = ax.images[0].get_array()
    assert page[0, 0] == 0.0
    assert page[0, 9] == 0.5
    assert page.mask[0, 8]
    assert page.mask[-1, -1]
    (x0, y0), (x1, y1), (x2, y2) = (t.get_position() for t in ax.texts)
    assert (y0, x0) == (y1, x2)
    assert x1 > x0 + 16
    assert y2 > y0 + 8


def test_error_sheet_of_colour_keeps_its_colours():
    red = np.zeros((1, 3, 4, 4)) + np.array([1.0, -1.0, -1.0])[:, None, None]
    _, (ax,) = plots.figure()
    plots.error_sheet(ax, red, red, [0.5])
    assert ax.images[0].get_array()[0, 0].tolist() == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 1, 4, 4), (3, 1, 4, 4), 2), "must have shape"),
        (((0, 1, 4, 4), (0, 1, 4, 4), 0), "no pairs to draw"),
    ],
)
def test_error_sheet_reports_invalid_input(shapes, message):
    _, (ax,) = plots.figure()
    with pytest.raises(ValueError, match=message):
        plots.error_sheet(ax, np.zeros(shapes[0]), np.zeros(shapes[1]), np.zeros(shapes[2]))


def test_error_rates_skip_empty_bins():
    result = error_rates.by_nuisance([True, False, True], [0.0, 1.0, 25.0], [0.0, 10.0, 20.0, 30.0])
    _, (ax,) = plots.figure()
    plots.error_rates(ax, result, name="cdml", nuisance="yaw (degrees)")
    assert ax.lines[0].get_xydata().tolist() == [[5.0, 0.5], [25.0, 1.0]]
    assert ax.get_xlabel() == "yaw (degrees)"
    assert ax.get_ylim()[1] >= 1.0


def test_coloured_is_transparent_outside_the_images():
    page = np.full((1, 2, 3), np.nan)
    page[0, 0] = 0.0
    assert coloured(page).tolist() == [[[0.5, 0.5, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]]]
