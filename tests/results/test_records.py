"""The record of a sweep is checked before any of its values is used."""

import copy
import json

import pytest

from cdmllab.errors import DataError
from cdmllab.results import records

RUN = {"run": "a__s0", "seed": 0, "measures": {"lfw": {"accuracy": 1}}, "git_commit": None}
SOUND = {
    "date": "2026-01-01",
    "stages": [
        {
            "stage": "compare",
            "chosen": {"cdml": {"point": {"loss.scale": 16}, "value": 0.5}},
            "groups": [{"arm": "cdml", "point": {}, "config": {"epochs": 1}, "runs": [RUN]}],
        }
    ],
}


def changed(keys, value):
    record = copy.deepcopy(SOUND)
    at = record
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return record


def write(tmp_path, record):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/toy.json").write_text(json.dumps(record))
    return tmp_path


def test_sound_record_is_returned_unchanged(tmp_path):
    assert records.load("toy", write(tmp_path, SOUND)) == SOUND


GROUP = ("stages", 0, "groups", 0)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("stages",), "many"),
        (("stages", 0), [1]),
        (("stages", 0, "stage"), "x" * 100_000),
        (("stages", 0, "chosen", "cdml", "value"), float("nan")),
        ((*GROUP, "arm"), 3),
        ((*GROUP, "config"), [1]),
        ((*GROUP, "curves"), {"loss": {"step": "many", "mean": [], "sd": []}}),
        ((*GROUP, "runs", 0, "seed"), 10**30),
        ((*GROUP, "runs", 0, "measures"), {"lfw": {"accuracy": "many"}}),
        ((*GROUP, "runs", 0, "measures"), {"lfw": {"accuracy": float("inf")}}),
        ((*GROUP, "runs", 0, "git_commit"), ["a"]),
        ((*GROUP, "runs", 0, "git_dirty"), "no"),
        ((*GROUP, "runs", 0, "train_seconds"), -1),
    ],
)
def test_value_of_another_type_or_size_is_refused_by_file_and_key(tmp_path, keys, value):
    folder = write(tmp_path, changed(keys, value))
    with pytest.raises(DataError) as caught:
        records.load("toy", folder)
    message = str(caught.value)
    assert message.startswith(f"results/sweeps/toy.json: {'.'.join(map(str, keys))}")
    assert len(message) <= 500
