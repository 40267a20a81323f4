"""A run's fingerprint detects changed data, and training and resuming act on it."""

import hashlib
import json
import shutil
import struct

import numpy as np
import pytest
import torch
import yaml
from tests.data.making import folder, jpeg, write_pack

from cdmllab.data import folders, sets
from cdmllab.data.packs import Pack
from cdmllab.data.sets import ArraySet
from cdmllab.errors import CdmlLabError
from cdmllab.faces import FaceWorld, cache
from cdmllab.runs import Run
from cdmllab.training import Config, entry, inputs, resume, train
from cdmllab.training.inputs import difference, fingerprint

PLAIN = {
    "name": "people",
    "data": {"name": "folder", "folder": "people"},
    "backbone": {"name": "small", "embedding_dim": 4, "size": 16, "width": 8},
    "loss": {"name": "arcface", "scale": 16.0},
    "epochs": 2,
    "batch_size": 4,
    "watch": {"log_every": 1, "checkpoint_every": 2},
}


def config(**changes):
    return Config.parse({**PLAIN, **changes})


@pytest.fixture
def people(data):
    """Four people with three images each, all files of one size: only the contents differ."""
    return folder(data / "people", (3, 3, 3, 3), suffix=".bmp")


def swap(root):
    (root / "p0").rename(root / "aside")
    (root / "p1").rename(root / "p0")
    (root / "aside").rename(root / "p1")


# What a fingerprint sees.


def test_swapped_people_are_detected_in_a_folder(people):
    before = fingerprint(folders.load(people))
    assert difference(before, fingerprint(folders.load(people))) == ""
    swap(people)
    assert difference(before, fingerprint(folders.load(people))) == "images"


def test_replaced_image_of_the_same_size_is_detected(people):
    before = fingerprint(folders.load(people))
    size = (people / "p2/1.bmp").stat().st_size
    shutil.copy(people / "p3/1.bmp", people / "p2/1.bmp")
    assert (people / "p2/1.bmp").stat().st_size == size
    assert difference(before, fingerprint(folders.load(people))) == "images"


def test_more_images_and_fewer_people_are_counted(people):
    before = fingerprint(folders.load(people))
    shutil.copy(people / "p3/1.bmp", people / "p3/9.bmp")
    assert difference(before, fingerprint(folders.load(people))) == "13 images instead of 12"
    shutil.rmtree(people / "p0")
    assert difference(before, fingerprint(folders.load(people))) == (
        "10 images instead of 12, 3 identities instead of 4"
    )


def test_edited_label_is_detected_in_a_pack(tmp_path):
    rec = write_pack(tmp_path, (0, 0, 1, 1), index=True) / "train.rec"
    before = fingerprint(Pack(tmp_path))
    content = bytearray(rec.read_bytes())
    second = int((tmp_path / "train.idx").read_text().splitlines()[2].split()[1])
    assert struct.unpack_from("<f", content, second + 8 + 4) == (0.0,)
    struct.pack_into("<f", content, second + 8 + 4, 1.0)
    rec.write_bytes(content)
    assert Pack(tmp_path).labels.tolist() == [0, 1, 1, 1]
    assert difference(before, fingerprint(Pack(tmp_path))) == "labels"


def test_changed_byte_of_an_image_is_detected_in_a_pack(tmp_path):
    rec = write_pack(tmp_path, (0, 0, 1, 1)) / "train.rec"
    before = fingerprint(Pack(tmp_path))
    content = bytearray(rec.read_bytes())
    at = content.index(b"JFIF") + 9  # the density: decoders do not look at it
    content[at] ^= 1
    rec.write_bytes(content)
    assert difference(before, fingerprint(Pack(tmp_path))) == "images"


def test_copied_pack_has_the_same_fingerprint(tmp_path):
    one, other = (write_pack(tmp_path / name, (0, 0, 1, 1)) for name in "ab")
    assert difference(fingerprint(Pack(one)), fingerprint(Pack(other))) == ""


def test_a_part_of_a_set_does_not_depend_on_the_rest():
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
    labels = [0, 0, 1, 1, 2, 2]
    part = fingerprint(sets.without(ArraySet(images, labels), [2]))
    other = images.copy()
    other[5, 0, 0] += 1
    assert difference(part, fingerprint(sets.without(ArraySet(other, labels), [2]))) == ""
    other[3, 0, 0] += 1
    assert difference(part, fingerprint(sets.without(ArraySet(other, labels), [2]))) == "images"


def test_large_set_is_fingerprinted_by_some_images_and_all_sizes(tmp_path, monkeypatch):
    jpegs = [jpeg(k) for k in range(40)]
    one = fingerprint(Pack(write_pack(tmp_path / "all", [0] * 40, images=jpegs)))
    assert one["images_hashed"] == 40
    monkeypatch.setattr(inputs, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(inputs, "SPREAD_BYTES", sum(map(len, jpegs)) // 4)
    before = fingerprint(Pack(tmp_path / "all"))
    assert 5 <= before["images_hashed"] <= 10
    longer = [*jpegs]
    longer[1] = jpegs[1][:-2] + bytes(4) + jpegs[1][-2:]  # not among those that are read
    after = fingerprint(Pack(write_pack(tmp_path / "longer", [0] * 40, images=longer)))
    assert difference(before, after) == "images"
    last = [*jpegs[:-1], jpegs[-1][:-3] + bytes([jpegs[-1][-3] ^ 1]) + jpegs[-1][-2:]]
    after = fingerprint(Pack(write_pack(tmp_path / "last", [0] * 40, images=last)))
    assert difference(before, after) == "images"


def test_world_has_the_same_fingerprint_rendered_or_cached(tmp_path):
    world = FaceWorld(3, 4, size=32)
    kept = fingerprint(world.cached(tmp_path / "w", workers=1))
    assert difference(kept, fingerprint(world)) == ""
    assert difference(kept, fingerprint(FaceWorld(3, 4, size=32, label_noise=0.5))) == "labels"
    other = {**kept, "mean_levels": [level + 1.0 for level in kept["mean_levels"]]}
    assert difference(other, fingerprint(world)) == "the rendering of the faces"


def test_records_of_earlier_versions_are_compared_as_far_as_possible():
    """They hold counts, and a digest of all labels and of 64 decoded images."""
    images = np.arange(100 * 4, dtype=np.uint8).reshape(100, 2, 2, 1)
    labels = np.arange(100) % 5
    rows = np.unique(np.linspace(0, 99, 64).astype(np.int64))
    digest = hashlib.sha256(labels.astype("<i8").tobytes() + images[rows].tobytes()).hexdigest()
    old = {"images": 100, "identities": 5, "sha256": digest}
    assert difference(old, fingerprint(ArraySet(images, labels))) == ""
    assert difference(old, fingerprint(ArraySet(images, labels[::-1].copy()))) == "labels or images"
    assert difference({}, fingerprint(ArraySet(images, labels))) is None
    assert (
        difference(
            {"images": 12, "identities": 3, "sha256": "0"}, fingerprint(FaceWorld(3, 4, size=32))
        )
        is None
    )


# What `train` does with a finished run.


def test_another_number_of_mean_levels_is_a_change():
    """A record may have any number of them, which cannot be compared one by one."""
    one = {"images": 8, "mean_levels": [1.0, 2.0]}
    for levels in ([], [1.0], [1.0, 2.0, 3.0], [1.0, 4.0]):
        assert difference(one, {**one, "mean_levels": levels}) == "the rendering of the faces"
    assert difference(one, {**one, "mean_levels": [1.1, 2.1]}) == ""


def test_finished_run_is_returned_while_its_data_is_unchanged(people, tmp_path):
    first = train(config(), within=tmp_path / "runs")
    messages = []
    assert (
        train(config(), within=tmp_path / "runs", report=messages.append).run.folder
        == first.run.folder
    )
    assert messages == [f"{first.run.folder} has this config and is finished"]


def test_changed_data_starts_a_new_run_and_the_change_is_named(people, tmp_path):
    first = train(config(), within=tmp_path / "runs")
    swap(people)
    messages = []
    second = train(config(), within=tmp_path / "runs", report=messages.append)
    assert second.run.folder != first.run.folder
    assert messages[0] == (
        f"{first.run.folder} has this config and is finished, but its data has changed since "
        "(images): starting a new run"
    )
    assert not torch.equal(first.head.centres, second.head.centres)
    swap(people)  # restored: the first run's data, which is not the newest
    assert train(config(), within=tmp_path / "runs").run.folder == first.run.folder


def test_finished_run_is_returned_without_its_data(people, tmp_path):
    first = train(config(), within=tmp_path / "runs")
    shutil.rmtree(people)
    messages = []
    assert (
        train(config(), within=tmp_path / "runs", report=messages.append).run.folder
        == first.run.folder
    )
    assert "its data cannot be compared: people is neither in a data folder" in messages[0]


def test_finished_run_of_an_earlier_version_is_returned_with_a_message(people, tmp_path):
    first = train(config(), within=tmp_path / "runs")
    record = {
        key: value for key, value in first.run.record.items() if key not in ("data", "config")
    }
    (first.run.folder / "run.json").write_text(json.dumps(record))
    messages = []
    assert (
        train(config(), within=tmp_path / "runs", report=messages.append).run.folder
        == first.run.folder
    )
    assert messages == [
        f"{first.run.folder} has this config and is finished; it is unknown whether its data has "
        f"changed since"
    ]


def test_other_initial_weights_are_other_data(people, tmp_path):
    start = train(config(seed=1), within=tmp_path / "start")
    tuning = config(start_from=str(start.run.folder), optimiser={"lr": 0.001})
    first = train(tuning, within=tmp_path / "runs")
    assert train(tuning, within=tmp_path / "runs").run.folder == first.run.folder
    other = train(config(seed=2), within=tmp_path / "start")
    shutil.copy(other.run.folder / "backbone.safetensors", start.run.folder)
    messages = []
    assert (
        train(tuning, within=tmp_path / "runs", report=messages.append).run.folder
        != first.run.folder
    )
    assert "(the weights in start_from)" in messages[0]


def test_a_world_is_not_rendered_again_to_find_a_finished_run(data, tmp_path, monkeypatch):
    lab = {"name": "lab", "num_identities": 3, "images_per_identity": 4, "size": 32}
    settings = config(data=lab, backbone={**PLAIN["backbone"], "size": 32})
    first = train(settings, within=tmp_path / "runs")
    shutil.rmtree(data / "lab")
    monkeypatch.setattr(cache, "fill", lambda *_: pytest.fail("rendered"))
    messages = []
    assert (
        train(settings, within=tmp_path / "runs", report=messages.append).run.folder
        == first.run.folder
    )
    assert messages == [f"{first.run.folder} has this config and is finished"]


# What `resume` does.


class StoppedError(Exception):
    """Stop like a kill."""


@pytest.fixture
def interrupted(people, tmp_path, monkeypatch):
    """A run that was interrupted after its first checkpoint."""
    original = entry.Run.log

    def log(run, **values):
        original(run, **values)
        if values["step"] == 3:
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(entry.Run, "log", log)
        with pytest.raises(StoppedError):
            train(config(), within=tmp_path / "runs")
    (run,) = Run.list(tmp_path / "runs")
    return run


def test_run_is_not_resumed_after_two_people_were_swapped(interrupted, people):
    before = interrupted.record
    swap(people)
    with pytest.raises(CdmlLabError, match=r"was started on other data \(images\)\. Restore it"):
        resume(interrupted.folder)
    assert interrupted.record == before
    swap(people)
    assert resume(interrupted.folder).run.status == "finished"


def test_advice_in_the_message_works(interrupted, people, tmp_path):
    swap(people)
    with pytest.raises(CdmlLabError, match=r"start a new run: `cdmllab train .*config\.yaml`"):
        resume(interrupted.folder)
    from cdmllab.training import presets

    done = train(
        presets.load(str(interrupted.folder / "config.yaml")), within=tmp_path / "runs"
    ).run
    assert done.status == "finished"
    assert done.config == interrupted.config


def test_run_of_an_earlier_version_resumes_with_a_message(interrupted):
    record = {
        key: value for key, value in interrupted.record.items() if key not in ("data", "config")
    }
    (interrupted.folder / "run.json").write_text(json.dumps(record))
    messages = []
    assert resume(interrupted.folder, report=messages.append).run.status == "finished"
    assert (
        f"{interrupted.folder} has no fingerprint of its data: it is unknown whether it has changed"
        in messages
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": {"lr": 0.05}}, r"optimiser\.lr is 0\.05 and was 0\.1"),
        ({"epochs": 3}, r"epochs is 3 and was 2"),
        ({"seed": 1}, r"seed is 1 and was 0"),
        ({"loss": {"name": "arcface", "scale": 32.0}}, r"loss\.scale is 32\.0 and was 16\.0"),
        ({"backbone": {**PLAIN["backbone"], "width": 16}}, r"backbone\.width is 16 and was 8"),
        ({"batch_size": 2}, r"batch_size is 2 and was 4"),
    ],
)
def test_an_edited_config_is_refused_by_key(interrupted, change, message):
    (interrupted.folder / "config.yaml").write_text(yaml.safe_dump({**PLAIN, **change}))
    before = interrupted.record
    with pytest.raises(
        CdmlLabError, match=rf"config\.yaml was edited after the run started: {message}\. "
    ):
        resume(interrupted.folder)
    assert interrupted.record == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: [", r"config\.yaml is not readable YAML"),
        ("- 1", r"config\.yaml must contain keys and values"),
        (yaml.safe_dump({**PLAIN, "epoch": 3}), r"config\.yaml.*epoch"),
        (yaml.safe_dump({**PLAIN, "epochs": "many"}), r"config\.yaml.*epochs"),
        (yaml.safe_dump({**PLAIN}) + "\nseed: 2026-01-01\n", r"config\.yaml.*seed"),
        (yaml.safe_dump({**PLAIN, "loss": 3}), r"config\.yaml.*loss"),
        ("", r"config\.yaml must contain keys and values"),
    ],
)
def test_damaged_config_is_named(interrupted, text, message):
    (interrupted.folder / "config.yaml").write_text(text)
    with pytest.raises(CdmlLabError, match=message):
        resume(interrupted.folder)


def test_settings_that_change_no_result_may_be_edited(interrupted, people):
    moved = people.rename(people.with_name("moved"))
    edited = {**PLAIN, "data": {"name": "folder", "folder": moved.name, "workers": 1}, "threads": 2}
    edited["watch"] = {"log_every": 2, "checkpoint_every": 4}
    (interrupted.folder / "config.yaml").write_text(yaml.safe_dump(edited))
    assert resume(interrupted.folder).run.status == "finished"
