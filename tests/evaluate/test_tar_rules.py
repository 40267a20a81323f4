"""TAR at a FAR by the exact rule and by arcface_torch's, in the record and in the report."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_curve
from tests.evaluate.small_protocols import Flat, protocol, templates

from cdmllab import evaluate
from cdmllab.cli.evaluate import report
from cdmllab.evaluate import Measures
from cdmllab.metrics import bootstrap


def measured(p, **options):
    return evaluate.evaluate(evaluate.embed(Flat(), p.images).numpy(), p, **options)


@pytest.mark.parametrize("p", [protocol(), templates()], ids=["images", "templates"])
def test_record_has_the_tar_of_scikit_learns_nearest_point(p):
    got = measured(p, fars=(0.016, 0.05, 0.3), replicates=0)
    rates, tars, _ = roc_curve(got.same, got.scores)
    for at in got.measures.tar_at_far:
        nearest = at.arcface_torch_rule
        assert abs(nearest.far - at.far) == np.abs(rates - at.far).min()
        assert nearest.value == tars[rates == nearest.far].max()
        assert nearest.difference == nearest.value - at.value
        assert nearest.interval is None
        assert (got.scores[~got.same] >= at.threshold_cos.value).mean() <= at.far


def test_record_has_intervals_by_both_rules():
    p = protocol()
    got = measured(p, fars=(0.016, 0.1), replicates=50)
    own = p.identity[p.pairs.first], p.identity[p.pairs.second]
    spread = bootstrap.intervals(
        got.scores, got.same, identities=own, fars=(0.016, 0.1), replicates=50
    )
    for at in got.measures.tar_at_far:
        assert at.interval == spread[f"tar@{at.far:g}"][:2]
        assert at.arcface_torch_rule.interval == spread[f"nearest_tar@{at.far:g}"][:2]
    json.dumps(got.measures.to_json(), allow_nan=False)


def test_report_has_both_rules_and_the_far_of_the_nearest_point():
    record = measured(protocol(), fars=(0.1,), replicates=0).measures.to_json()
    (at,) = record["tar_at_far"]
    at |= {"far": 1e-3, "value": 0.9375}
    at["arcface_torch_rule"] = {
        "value": 0.95,
        "interval": None,
        "far": 0.00125,
        "difference": 0.0125,
    }
    lines = report(Measures.from_json(record))
    row = lines.index("TAR@0.001  93.75 %")
    assert lines[row + 1] == "           95.00 by arcface_torch's rule (+1.25), at a FAR of 0.00125"
    del at["arcface_torch_rule"]  # as in records of earlier versions
    earlier = report(Measures.from_json(record))
    assert [line for line in earlier if "FAR of" in line] == []
