"""A run's record is checked before any of its values is used."""

import json

import pytest

from cdmllab._util import run_record
from cdmllab._util.files import read_json
from cdmllab.errors import DataError

SOUND = {
    "status": "finished",
    "git_commit": None,
    "git_dirty": None,
    "citable": False,
    "earlier_commits": ["unknown", None],
    "data": {"images": 948, "identities": 7, "mean_levels": [1, 2.5]},
    "precision": "float32",
    "num_identities": 7,
    "train_seconds": 3,
    "of a later version": {"any": [1, "thing"]},
}


def test_sound_record_is_returned_unchanged(tmp_path):
    assert run_record.checked(SOUND, tmp_path) == SOUND
    assert run_record.checked({"status": "running"}, tmp_path) == {"status": "running"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "many"),
        ("status", "a\nb"),
        ("num_identities", "many"),
        ("num_identities", [1, 2]),
        ("num_identities", 10**30),
        ("num_identities", 0),
        ("num_identities", True),
        ("num_identities", 7.5),
        ("data", "many"),
        ("data", {"images": [1]}),
        ("data", {"identities": -1}),
        ("data", {"labels_sha256": 3}),
        ("data", {"mean_levels": ["a"]}),
        ("data", {"mean_levels": [float("nan")]}),
        ("data", {"mean_levels": [0.0] * 2000}),
        ("precision", {}),
        ("precision", "x" * 100_000),
        ("git_commit", [1]),
        ("git_dirty", "no"),
        ("citable", 1),
        ("earlier_commits", "unknown"),
        ("earlier_commits", [{}]),
        ("config", [1]),
        ("config_sha256", 5),
        ("train_seconds", float("inf")),
        ("versions", {"torch": 2}),
    ],
)
def test_value_of_another_type_or_size_is_refused_by_file_and_key(tmp_path, key, value):
    path = tmp_path / "run.json"
    with pytest.raises(DataError) as caught:
        run_record.checked({**SOUND, key: value}, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {key}")
    assert len(message) <= 400
    assert message.isprintable()


def test_json_nested_too_deeply_is_refused_by_name(tmp_path):
    """Python reads 900 levels, and then fails where a function that calls itself meets them."""
    path = tmp_path / "run.json"
    path.write_text(
        json.dumps({"status": "finished"})[:-1] + ', "x": ' + "[" * 800 + "]" * 800 + "}"
    )
    with pytest.raises(DataError, match=r"run\.json is nested more than 100 deep"):
        read_json(path)
    path.write_text("[" * 100 + "]" * 100)
    read_json(path)
