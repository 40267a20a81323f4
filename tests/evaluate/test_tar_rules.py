"""TAR at a FAR by the exact rule and by arcface_torch's, in the record and in what the command
prints.
"""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_curve
from tests.evaluate.small_protocols import Flat, protocol, templates

from cdmllab import evaluate
from cdmllab.cli.evaluate import report
from cdmllab.metrics import bootstrap


def measured(p, **options):
    return evaluate.evaluate(evaluate.embed(Flat(), p.images).numpy(), p, **options)


@pytest.mark.parametrize("p", [protocol(), templates()], ids=["images", "templates"])
def test_record_has_the_tar_of_scikit_learns_nearest_point(p):
    got = measured(p, fars=(0.016, 0.05, 0.3), replicates=0)
    rates, tars, _ = roc_curve(got.same, got.scores)
    for at in got.measures["tar_at_far"]:
        far, said = at["far"], at["arcface_torch_rule"]
        nearest = np.abs(rates - far).min()
        assert abs(said["far"] - far) == nearest
        assert said["value"] == tars[rates == said["far"]].max()
        assert said["difference"] == said["value"] - at["value"]
        assert said["interval"] is None
        assert (got.scores[~got.same] >= at["threshold_cos"]["value"]).mean() <= far


def test_record_has_intervals_by_both_rules():
    p = protocol()
    got = measured(p, fars=(0.016, 0.1), replicates=50)
    own = p.identity[p.pairs.first], p.identity[p.pairs.second]
    spread = bootstrap.intervals(
        got.scores, got.same, identities=own, fars=(0.016, 0.1), replicates=50
    )
    for at in got.measures["tar_at_far"]:
        assert at["interval"] == list(spread[f"tar@{at['far']:g}"][:2])
        assert at["arcface_torch_rule"]["interval"] == list(
            spread[f"nearest_tar@{at['far']:g}"][:2]
        )
    json.dumps(got.measures, allow_nan=False)


def test_command_prints_both_rules_and_the_far_that_was_taken():
    measures = json.loads(json.dumps(measured(protocol(), fars=(0.1,), replicates=0).measures))
    (at,) = measures["tar_at_far"]
    at |= {"far": 1e-3, "value": 0.9375}
    at["arcface_torch_rule"] = {
        "value": 0.95,
        "interval": None,
        "far": 0.00125,
        "difference": 0.0125,
    }
    lines = report(measures)
    row = lines.index("TAR@0.001  93.75 %")
    assert lines[row + 1] == "           95.00 by arcface_torch's rule (+1.25), at a FAR of 0.00125"
    del at["arcface_torch_rule"]  # as in records of older versions
    assert [line for line in report(measures) if "FAR of" in line] == []
