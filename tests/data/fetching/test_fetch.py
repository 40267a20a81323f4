"""Downloads from a mirror that does everything wrong: either the right file or a clear error."""

import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
from collections import namedtuple

import numpy as np
import pytest
from filelock import FileLock
from tests import waiting

from cdmllab.data.fetching import Mirror as Home
from cdmllab.data.fetching import Patience, RemoteFile, fetch, files
from cdmllab.errors import CdmlLabError, DataError

CONTENT = np.random.default_rng(7).integers(0, 256, 50_000, dtype=np.uint8).tobytes()
SHA = hashlib.sha256(CONTENT).hexdigest()
SHORT = Patience(stall_s=0.5, least_bytes=100, attempts=3, pause_s=0.0)
PAGE = "https://example.org/page"


def remote(*urls, sha=SHA, size=50_000):
    return RemoteFile(
        path="sets/faces.zip", bytes=size, sha256=sha, mirrors=tuple(Home(url=url) for url in urls)
    )


def get(file, folder, **options):
    return fetch(file, folder, page=PAGE, patience=SHORT, **options)


def left(folder):
    return sorted(
        path.name for path in (folder / "sets").iterdir() if not path.name.startswith(".")
    )


@pytest.fixture
def url(mirror):
    mirror.files["/faces.zip"] = CONTENT
    return f"{mirror.url}/faces.zip"


def test_fetch_returns_the_file_and_makes_no_second_request(mirror, url, tmp_path):
    done = get(remote(url), tmp_path)
    assert (done.path.read_bytes(), done.sha256, done.mirror, done.was_there) == (
        CONTENT,
        SHA,
        url,
        False,
    )
    assert left(tmp_path) == ["faces.zip"]
    again = get(remote(url), tmp_path)
    assert (again.sha256, again.was_there, len(mirror.asked)) == (SHA, True, 1)


@pytest.mark.parametrize(
    "faults",
    [
        [("cut", 20_000), ("cut", 100), None],
        ["stall", None],
        ["redirect"],
        [("status", 503), ("status", 429), None],
        [("longer", 10), None],
        [("cut", 20_000), "no range", None],
        [("cut", 20_000), ("cut", 0), ("cut", 0), None],
    ],
    ids=str,
)
def test_fetch_survives_faults_of_the_mirror(mirror, url, tmp_path, faults):
    mirror.faults["/faces.zip"] = faults
    # Without an expected size, so that the size that the mirror sends is trusted.
    assert get(remote(url, size=None), tmp_path).path.read_bytes() == CONTENT
    assert left(tmp_path) == ["faces.zip"]


def test_fetch_resumes_where_it_was_cut(mirror, url, tmp_path):
    mirror.faults["/faces.zip"] = [("cut", 20_000), None]
    get(remote(url), tmp_path)
    assert mirror.ranges() == ["", "bytes=20000-"]
    assert mirror.asked[1][2]["If-Range"].startswith('"')


def test_fetch_resumes_where_the_answer_does_not_repeat_the_size(mirror, url, tmp_path):
    mirror.faults["/faces.zip"] = [("cut", 20_000), "unknown total"]
    assert get(remote(url, size=None), tmp_path).path.read_bytes() == CONTENT
    assert mirror.ranges() == ["", "bytes=20000-"]


def test_fetch_restarts_if_the_file_changed_during_the_download(mirror, url, tmp_path):
    mirror.files["/faces.zip"] = bytes(reversed(CONTENT))
    mirror.faults["/faces.zip"] = [("cut", 20_000), "changes", None]
    done = get(remote(url, sha=None), tmp_path)
    assert done.path.read_bytes() == CONTENT  # all of the new file, and nothing of the old one


def test_fetch_gives_up_on_a_file_that_keeps_changing(mirror, url, tmp_path):
    mirror.faults["/faces.zip"] = [("changes", 20_000)]
    with pytest.raises(
        DataError, match=r"closed after 20,000 of 50,000 bytes, 3 times|changed during the download"
    ):
        get(remote(url, sha=None), tmp_path)
    assert len(mirror.asked) < 20
    assert not (tmp_path / "sets/faces.zip").exists()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("page", "it answers with an HTML page instead of the file"),
        ("hidden page", "it offers 102 bytes, expected 50,000"),
        ("gone", "it answers 404 Not Found"),
        ("loop", "it answers 302"),
        (("shorter", 10), "it offers 49,990 bytes, expected 50,000"),
        (("longer", 10), "it offers 50,010 bytes, expected 50,000"),
        (("trickle", 0.05), r"it sent \d+ bytes in 0.5 s, 3 times"),
        ("stall", "nothing arrived for 0.5 s, 3 times"),
        (
            "wrong byte",
            f"its SHA-256 is [0-9a-f]{{64}}, expected {SHA}; renamed to faces.zip.wrong-",
        ),
        (("status", 500), "it answers 500 Internal Server Error, 3 times"),
        (("cut", 0), "the connection closed after 0 of 50,000 bytes, 3 times"),
    ],
    ids=str,
)
def test_fetch_falls_back_to_the_next_mirror_and_reports_why(
    mirror, url, tmp_path, fault, sentence
):
    mirror.faults["/faces.zip"] = [fault]
    mirror.files["/second.zip"] = CONTENT
    with pytest.raises(DataError, match=sentence) as refused:
        get(remote(url), tmp_path)
    assert str(refused.value).endswith(
        f"Get it manually from {PAGE} and save it as {tmp_path}/sets/faces.zip"
    )
    assert not (tmp_path / "sets/faces.zip").exists()
    done = get(remote(url, f"{mirror.url}/second.zip"), tmp_path)
    assert (done.path.read_bytes(), done.mirror) == (CONTENT, f"{mirror.url}/second.zip")
    assert all(name == "faces.zip" or ".wrong-" in name for name in left(tmp_path))


def test_fetch_without_a_known_hash_still_refuses_an_error_page(mirror, url, tmp_path):
    unknown = remote(url, sha=None, size=None)
    for fault, sentence in [("hidden page", "an HTML page"), ("zeros", "nothing but zeros")]:
        mirror.faults["/faces.zip"] = [fault]
        with pytest.raises(DataError, match=sentence):
            get(unknown, tmp_path)
    mirror.faults["/faces.zip"] = [None]
    assert get(unknown, tmp_path).sha256 == SHA


def test_fetch_does_not_resume_a_part_from_another_mirror(mirror, url, tmp_path):
    """Two mirrors have different files of one size; a mixture of them would be neither."""
    other = bytes(255 - byte for byte in CONTENT)
    mirror.files["/other.zip"] = other
    mirror.faults["/other.zip"] = [("cut", 20_000), ("cut", 0)]
    both = (f"{mirror.url}/other.zip", url)
    assert get(remote(*both, sha=None), tmp_path / "a").path.read_bytes() == CONTENT
    mirror.faults["/other.zip"] = [("cut", 20_000), ("cut", 0)]
    assert get(remote(*both), tmp_path / "b").path.read_bytes() == CONTENT


def test_fetch_resumes_at_another_mirror_if_the_hash_is_known(mirror, url, tmp_path):
    mirror.files["/twin.zip"] = CONTENT
    mirror.faults["/twin.zip"] = [("cut", 20_000), ("cut", 0)]
    assert get(remote(f"{mirror.url}/twin.zip", url), tmp_path).path.read_bytes() == CONTENT
    assert mirror.ranges()[-1] == "bytes=20000-"


def test_fetch_refuses_a_range_that_it_did_not_ask_for(mirror, url, tmp_path):
    mirror.faults["/faces.zip"] = [("cut", 20_000), "wrong range"]
    with pytest.raises(
        DataError, match="asked for the bytes from 20,000 on, it answers bytes 0-49999/50000"
    ):
        get(remote(url), tmp_path)


def test_fetch_names_an_existing_file_that_differs(url, tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/faces.zip").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"faces\.zip has 4 bytes, expected 50,000: move it away"):
        get(remote(url), tmp_path)
    (tmp_path / "sets/faces.zip").write_bytes(bytes(len(CONTENT)))
    with pytest.raises(DataError, match=r"faces\.zip has SHA-256 .*: move it away"):
        get(remote(url), tmp_path)
    (tmp_path / "sets/faces.zip").write_bytes(CONTENT)
    assert get(remote(url), tmp_path).was_there


def test_fetch_reports_a_full_disk_before_the_first_byte(mirror, url, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 40_000, 40_000))
    with pytest.raises(
        CdmlLabError,
        match=r"needs 50,000 bytes more, but its disk has only 40,000 free: nothing was downl",
    ):
        get(remote(url), tmp_path)
    assert mirror.asked == []
    assert left(tmp_path) == []


def test_fetch_is_done_by_one_process_at_a_time(url, tmp_path):
    (tmp_path / "sets").mkdir()
    with (
        FileLock(tmp_path / "sets/.faces.zip.lock"),
        pytest.raises(
            CdmlLabError, match=r"another process is building .*faces\.zip: wait for it to end"
        ),
    ):
        get(remote(url), tmp_path)


@pytest.mark.parametrize("package", ["huggingface_hub", "gdown"])
def test_mirror_without_its_client_is_skipped_with_a_message(url, tmp_path, monkeypatch, package):
    home = (
        {"huggingface": "who/faces", "path": "a.bin"}
        if package == "huggingface_hub"
        else {"google_drive": "abc"}
    )
    monkeypatch.setitem(sys.modules, package, None)
    messages = []
    file = RemoteFile(path="sets/faces.zip", sha256=SHA, mirrors=(Home(**home), Home(url=url)))
    assert get(file, tmp_path, report=messages.append).sha256 == SHA
    assert (
        f"it needs the package {package}, and pip install 'cdmllab[fetch]' brings it" in messages[1]
    )


def test_hub_client_fetches_from_the_hub(mirror, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_ENDPOINT", mirror.url)
    mirror.files["/datasets/who/faces/resolve/main/in/lfw.bin"] = CONTENT
    file = RemoteFile(
        path="sets/faces.zip",
        sha256=SHA,
        mirrors=(Home(huggingface="who/faces", path="in/lfw.bin"),),
    )
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    assert left(tmp_path) == ["faces.zip"]
    gone = RemoteFile(
        path="sets/gone.zip", mirrors=(Home(huggingface="who/faces", path="gone.bin"),)
    )
    with pytest.raises(DataError, match=r"gone\.zip could not be fetched"):
        get(gone, tmp_path)


def test_drive_client_passes_the_confirmation_page(mirror, tmp_path, monkeypatch):
    pytest.importorskip("gdown")
    monkeypatch.setenv("CDMLLAB_GOOGLE_DRIVE", mirror.url)
    mirror.files["/uc/abc"] = CONTENT
    file = RemoteFile(path="sets/faces.zip", sha256=SHA, mirrors=(Home(google_drive="abc"),))
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    gone = RemoteFile(path="sets/gone.zip", mirrors=(Home(google_drive="gone"),))
    with pytest.raises(DataError, match=r"gone\.zip could not be fetched \(Google Drive gone: "):
        get(gone, tmp_path)


def work(url, folder):
    fetch(
        remote(url), folder, patience=Patience(stall_s=60, least_bytes=1, attempts=3, pause_s=0.0)
    )


def test_fetch_killed_during_a_download_resumes(mirror, url, tmp_path):
    mirror.faults["/faces.zip"] = [("trickle", 0.0005), None]
    process = multiprocessing.get_context("fork").Process(target=work, args=(url, tmp_path))
    process.start()
    part = tmp_path / "sets/faces.zip.part"
    waiting.until(lambda: part.exists() and part.stat().st_size > 1000)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    have = part.stat().st_size
    assert 1000 < have < len(CONTENT)
    assert left(tmp_path) == ["faces.zip.part", "faces.zip.part.json"]
    work(url, tmp_path)
    assert (tmp_path / "sets/faces.zip").read_bytes() == CONTENT
    assert left(tmp_path) == ["faces.zip"]
    assert mirror.ranges()[-1] == f"bytes={have}-"


def test_missing_bytes_do_not_count_those_already_there(tmp_path):
    file = remote("http://127.0.0.1/x")
    assert files.missing_bytes(file, tmp_path) == 50_000
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/faces.zip.part").write_bytes(bytes(20_000))
    assert files.missing_bytes(file, tmp_path) == 30_000
    (tmp_path / "sets/faces.zip").write_bytes(CONTENT)
    assert files.missing_bytes(file, tmp_path) == 0
