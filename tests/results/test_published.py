"""The published rows are complete, have presets, and agree with the presets' headers."""

import pytest

from cdmllab import backbones
from cdmllab.results import published
from cdmllab.training import presets


def test_every_row_has_its_numbers():
    assert len(published.ROWS) == 22
    by_source = [row.source for row in published.ROWS]
    assert {source: by_source.count(source) for source in set(by_source)} == {
        "datn_page": 10,
        "arcface": 11,
        "adaface": 1,
    }
    for row in published.ROWS:
        assert set(row.spread) <= set(row.accuracy) <= set(published.PROTOCOLS)
        assert all(80.0 < value < 100.0 for value in row.accuracy.values())
        assert row.backbone in backbones.names()


def test_every_published_training_has_a_preset_and_every_preset_a_row():
    named = {name for row in published.ROWS for name in (row.preset, row.datn_code_preset) if name}
    known = {name for name in presets.names() if name.startswith(("casia/", "ms1mv3/"))}
    assert named == known


@pytest.mark.parametrize(
    "row", [row for row in published.ROWS if row.preset], ids=lambda row: row.preset
)
def test_headers_quote_the_published_accuracies(row):
    expected = " / ".join(f"{row.accuracy[name]:.2f}" for name in ("lfw", "cfp_fp", "agedb_30"))
    for name in filter(None, (row.preset, row.datn_code_preset)):
        assert expected in presets.header(name)["expect"]
        assert presets.load(name).backbone.name == row.backbone


def test_tar_of_templates_rises_with_the_far():
    for row in published.TEMPLATES:
        assert len(row.tar) == len(published.FARS)
        assert list(row.tar) == sorted(row.tar)
        assert row.preset in presets.names()


def test_results_on_lfw_alone_have_the_standard_error_of_ten_folds():
    assert len(published.LFW_ALONE) == 16
    best = {row.setting: row for row in sorted(published.LFW_ALONE, key=lambda row: row.accuracy)}
    assert (best["restricted"].method, best["restricted"].accuracy) == ("MRF-Fusion-CSKDA", 95.89)
    assert (best["unrestricted"].method, best["unrestricted"].accuracy) == ("MDML-DCPs", 95.58)
    for row in published.LFW_ALONE:
        assert 50.0 < row.accuracy < 100.0
        assert 0.0 < row.standard_error < 2.0
