import json
import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
from tests.waiting import LIMIT_S, until

from cdmllab import faces
from cdmllab.errors import CdmlLabError
from cdmllab.faces import cache, cache_render
from cdmllab.faces.world import RESERVED


def small(**changes):
    return faces.FaceWorld(
        **({"num_identities": 40, "images_per_identity": 20, "size": 32} | changes)
    )


def test_world_reads_what_render_draws():
    world = small(seed=3, first=100, strength=0.5)
    drawn = faces.render([100, 102], index=[7, 0], seed=3, size=32, strength=0.5)
    read = world.read([7, 40])
    assert read.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(read, drawn.permute(0, 2, 3, 1).numpy())


def test_world_labels_every_image_of_a_person_alike():
    world = small()
    assert len(world) == 800
    np.testing.assert_array_equal(np.bincount(world.labels), np.full(40, 20))
    assert not world.mislabelled.any()


def test_label_noise_is_known_and_has_the_given_rate():
    world = small(num_identities=500, label_noise=0.1)
    wrong = world.mislabelled
    assert abs(wrong.mean() - 0.1) < 3 * (0.1 * 0.9 / len(world)) ** 0.5
    assert (world.labels[wrong] != world.true_labels[wrong]).all()
    assert world.labels.min() >= 0
    assert world.labels.max() < 500
    counts = np.bincount(world.labels[wrong], minlength=500)
    assert counts.max() < 12  # mean 2: spread over all identities
    np.testing.assert_array_equal(world.labels, small(num_identities=500, label_noise=0.1).labels)


def test_more_label_noise_keeps_the_labels_that_were_wrong():
    some, more = small(label_noise=0.1), small(label_noise=0.3)
    assert (more.labels[some.mislabelled] == some.labels[some.mislabelled]).all()


def test_worlds_with_other_seeds_show_other_people():
    assert np.abs(small().read(0).astype(int) - small(seed=1).read(0)).mean() > 5


def test_cache_contains_the_images_of_the_world(tmp_path):
    world = small(label_noise=0.2)
    steps = []
    cached = world.cached(
        tmp_path / "w", workers=1, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(512, 800), (800, 800)]
    rows = [799, 3, 512]
    np.testing.assert_array_equal(cached.read(rows), world.read(rows))
    np.testing.assert_array_equal(cached.labels, world.labels)
    assert (len(cached), cached.num_identities) == (800, 40)
    cached.verify()


def test_processes_render_the_same_cache(tmp_path):
    one = small().cached(tmp_path / "one", workers=1)
    two = small().cached(tmp_path / "two", workers=2)
    np.testing.assert_array_equal(one.read(np.arange(800)), two.read(np.arange(800)))


def test_finished_cache_is_not_rendered_again(tmp_path, monkeypatch):
    small().cached(tmp_path / "w", workers=1)
    monkeypatch.setattr(cache_render, "render_chunks", lambda *_: pytest.fail("rendered again"))
    small().cached(tmp_path / "w", workers=1)


def test_truncated_cache_is_completed(tmp_path):
    complete = small().cached(tmp_path / "w", workers=1).read(np.arange(800))
    path = tmp_path / "w" / cache.IMAGES
    os.truncate(path, path.stat().st_size - 1000)
    steps = []
    again = small().cached(tmp_path / "w", workers=1, progress=lambda done, _: steps.append(done))
    assert steps == [800]  # only the last chunk
    np.testing.assert_array_equal(again.read(np.arange(800)), complete)
    again.verify()


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_render_resumes(tmp_path, workers):
    code = (
        "import torch; torch.set_num_threads(1); from cdmllab import faces;"
        f"faces.FaceWorld(100, 40, size=32).cached({str(tmp_path / 'w')!r}, workers={workers})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    done = tmp_path / "w" / cache.DONE
    until(lambda: done.exists() and done.read_text(), process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) >= workers - 1
    assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]  # no worker continues to write
    finished = len(done.read_text().splitlines())
    assert 1 <= finished < 8
    steps = []
    faces.FaceWorld(100, 40, size=32).cached(
        tmp_path / "w", workers=1, progress=lambda n, _: steps.append(n)
    )
    assert len(steps) == 8 - finished
    faces.FaceWorld(100, 40, size=32).cached(tmp_path / "w", workers=1).verify()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"strength": 0.5}, "its strength is 0.65, not 0.5"), ({"seed": 2}, "its seed is 0, not 2")],
)
def test_cache_of_another_world_is_refused(tmp_path, changes, sentence):
    small().cached(tmp_path / "w", workers=1)
    with pytest.raises(CdmlLabError, match=sentence):
        small(**changes).cached(tmp_path / "w", workers=1)


def test_cache_of_another_renderer_is_refused(tmp_path):
    small().cached(tmp_path / "w", workers=1)
    path = tmp_path / "w" / cache.IMAGES
    pixels = np.memmap(path, np.uint8, "r+")
    pixels[:] = 255 - pixels
    pixels.flush()
    with pytest.raises(CdmlLabError, match="was rendered by another version"):
        small().cached(tmp_path / "w", workers=1)


def test_verify_finds_a_changed_image(tmp_path):
    cached = small().cached(tmp_path / "w", workers=1)
    np.memmap(tmp_path / "w" / cache.IMAGES, np.uint8, "r+", shape=(800, 32, 32, 3))[
        600, 0, 0, 0
    ] ^= 1
    with pytest.raises(CdmlLabError, match="images 512 to 799 have changed since"):
        cached.verify()


def test_full_disk_is_reported_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10_000})())
    monkeypatch.setattr(cache_render, "render_chunks", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(CdmlLabError, match=r"needs 0\.0 GB more, and only 0\.0 GB are free"):
        small().cached(tmp_path / "w", workers=1)


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CdmlLabError, match=r"not empty \(it contains thesis\.tex\)"):
        small().cached(tmp_path, workers=1)


def test_damaged_parameter_file_is_named(tmp_path):
    (tmp_path / cache.PARAMETERS).write_text("{")
    with pytest.raises(CdmlLabError, match=r"world\.json is not readable JSON"):
        small().cached(tmp_path, workers=1)


def test_truncated_line_of_the_journal_does_not_count(tmp_path):
    world = small()
    world.cached(tmp_path, workers=1)
    done = tmp_path / cache.DONE
    done.write_text(done.read_text()[:-9])
    steps = []
    world.cached(tmp_path, workers=1, progress=lambda n, _: steps.append(n))
    assert steps == [800]
    assert [json.loads(line)["chunk"] for line in done.read_text().splitlines()] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_identities": 1}, "at least 2 identities"),
        ({"num_identities": 2.5}, "num_identities must be a whole number, got 2.5"),
        ({"size": 16}, r"size must lie in \[32, 224\] pixels, got 16"),
        ({"strength": -0.1}, r"strength must lie in \[0, 1\], got -0.1"),
        ({"label_noise": 2}, r"label_noise must lie in \[0, 1\], got 2"),
        ({"first": RESERVED}, "those above are reserved for protocols"),
    ],
)
def test_impossible_world_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**changes)


def test_rows_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"rows must lie in 0 \.\. 799, got 0 \.\. 800"):
        small().read([0, 800])


def test_factors_of_a_world_can_be_switched_off(tmp_path):
    full, plain = small(), small(without=["restyling", "roll"])
    rows = np.arange(200)
    assert not plain.nuisances(rows).values["restyling"].any()
    assert full.nuisances(rows).values["restyling"].any()
    assert (plain.nuisances(rows).values["yaw"] == full.nuisances(rows).values["yaw"]).all()
    assert "without" not in full.parameters
    assert plain.parameters["without"] == ["restyling", "roll"]
    assert "without restyling and roll" in repr(plain)
    with pytest.raises(ValueError, match="unknown nuisance factor 'restylin'"):
        small(without=["restylin"])
