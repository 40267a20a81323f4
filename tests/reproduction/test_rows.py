"""The table of rows follows from the published tables; comparisons against worked values."""

import math

import pytest

from cdmllab.data import registry
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate.measures import Accuracy, GridAccuracy
from cdmllab.reproduction import compare, find, names, table
from cdmllab.results import published
from cdmllab.training import presets

GRID = GridAccuracy(
    value=0.99, std_over_folds=0.004, thresholds_squared_l2=(1.4,) * 10, difference=0.0
)
LFW = Accuracy(
    value=0.99,
    std_over_folds=0.004,
    per_fold=(0.99,) * 10,
    thresholds_cos=(0.3,) * 10,
    arcface_torch_rule=GRID,
)


def test_every_published_row_with_a_preset_is_listed_for_each_recipe():
    expected = [p for row in published.ROWS for p in (row.preset, row.datn_code_preset) if p]
    assert len(expected) == 28
    assert [row.preset for row in table() if row.name != "demo"] == expected
    for row in table():
        assert presets.load(row.preset).name == row.preset
        assert set(row.pairs) >= set(row.protocols)
        assert all(registry.get(name) for name in row.sets)


def test_row_is_found_by_its_name_recipe_or_preset():
    assert find("casia/r50_lite_cdml").preset == "casia/datn_page/r50_lite_cdml"
    assert find("casia/r50_lite_cdml", "datn_code").preset == "casia/datn_code/r50_lite_cdml"
    assert find("casia/datn_code/r50_lite_cdml").recipe == "datn_code"
    assert names()[0] == "demo"


@pytest.mark.parametrize(
    ("name", "recipe", "sentence"),
    [
        (
            "casia/r50_lite_cmdl",
            None,
            r"no row 'casia/r50_lite_cmdl' \(did you mean 'casia/r50_lite_cdml'\?\)",
        ),
        (
            "casia/r50_softmax",
            "datn_code",
            r"casia/r50_softmax has no recipe 'datn_code' .*; it has: datn_page",
        ),
        ("casia/r50_lite_cdml", "datn_cod", r"no recipe 'datn_cod' \(did you mean 'datn_code'\?\)"),
    ],
)
def test_unknown_row_names_the_nearest(name, recipe, sentence):
    with pytest.raises(CdmlLabError, match=sentence):
        find(name, recipe)


def row(**values):
    return find("demo").model_copy(
        update={
            "published": {"lfw": 99.5},
            "spread": {},
            "spread_is": "folds",
            "pairs": {"lfw": 6000},
            **values,
        }
    )


def test_standard_error_without_a_spread_is_that_of_its_pairs():
    (one,) = compare.compare(row(), {"lfw": LFW})
    assert one.published_se == pytest.approx(100 * math.sqrt(0.995 * 0.005 / 6000))
    assert one.ours_se == pytest.approx(0.4 / math.sqrt(10))
    assert one.errors == pytest.approx(-0.5 / math.hypot(one.published_se, one.ours_se))


def test_standard_error_of_a_spread_is_a_third_over_folds_and_all_of_it_over_seeds():
    assert compare.published_se(row(spread={"lfw": 0.46}), "lfw") == pytest.approx(
        0.46 / math.sqrt(10)
    )
    over_seeds = row(spread={"lfw": 0.46}, spread_is="seeds", seeds=4)
    assert compare.published_se(over_seeds, "lfw") == pytest.approx(0.46 * math.sqrt(1.25))


@pytest.mark.parametrize(
    ("ours", "words"),
    [(0.9948, "Reproduced within the "
              "errors"), (0.9850, "Not reproduced: ours is lower on lfw (-1.00 "
                                                        "points)"),
     (0.9990, "Above the published numbers: ours is higher on lfw (+0.40 points)")],
)  # fmt: skip
def test_verdict_describes_the_numbers(ours, words):
    compared = compare.compare(row(), {"lfw": LFW.model_copy(update={"value": ours})})
    assert compare.verdict(compared).startswith(words)


def test_verdict_corrects_for_the_number_of_protocols():
    """One protocol 2.2 standard errors apart is p = .028; among three, none is found by Holm's
    method.
    """
    three = row(published=dict.fromkeys("abc", 99.5), pairs=dict.fromkeys("abc", 6000))
    same = LFW.model_copy(update={"value": 0.995})
    se = math.hypot(0.4 / math.sqrt(10), 100 * math.sqrt(0.995 * 0.005 / 6000))
    apart = LFW.model_copy(update={"value": 0.995 - 0.022 * se})
    compared = compare.compare(three, {"a": apart, "b": same, "c": same})
    assert compared[0].errors == pytest.approx(-2.2)
    assert compared[0].adjusted_p == pytest.approx(3 * 0.0278, abs=1e-3)
    assert compare.verdict(compared).startswith("Reproduced within the errors")


def test_network_without_a_mistake_has_an_error_of_half_a_pair():
    perfect = LFW.model_copy(update={"value": 1.0, "std_over_folds": 0.0, "per_fold": (1.0,) * 10})
    (one,) = compare.compare(row(published={"lfw": 100.0}), {"lfw": perfect})
    assert one.ours_se == one.published_se == pytest.approx(100 * 0.5 / 6000)
    assert one.errors == 0.0
