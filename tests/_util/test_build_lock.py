"""Two processes at one target: one builds, the other is refused by name, and nothing is lost."""

import signal
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from tests.waiting import until

from cdmllab._util.build_lock import claimed
from cdmllab.data import packing
from cdmllab.data.inspection import inspect
from cdmllab.data.registry import DataSet
from cdmllab.data.script_job import Job
from cdmllab.errors import CdmlLabError

SLOW = """
import sys, time
from pathlib import Path
from cdmllab.data import packing

source, target, proceed = map(Path, sys.argv[1:])

def wait(done, total):
    Path(f"{proceed}.began").touch()
    while not proceed.exists():
        time.sleep(0.01)

packing.pack(source, target, packing.Settings(size=16), progress=wait)
"""


def people(root, count=3):
    for person in range(count):
        (root / f"p{person}").mkdir(parents=True)
        for number in range(2):
            rng = np.random.default_rng(10 * person + number)
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            (root / f"p{person}/{number}.jpg").write_bytes(packing.encode_jpeg(pixels))
    return root


def slowly(tmp_path):
    """A process in the middle of packing, and the file whose appearance it waits for."""
    proceed = tmp_path / "proceed"
    arguments = [str(people(tmp_path / "src")), str(tmp_path / "dst"), str(proceed)]
    first = subprocess.Popen([sys.executable, "-c", SLOW, *arguments])
    until((tmp_path / "proceed.began").exists, first)
    return first, proceed


def test_second_packing_at_one_target_is_refused_and_the_first_is_complete(tmp_path):
    packing.pack(people(tmp_path / "old", 2), tmp_path / "dst", packing.Settings(size=16))
    first, proceed = slowly(tmp_path)
    command = [
        sys.executable,
        "-m",
        "cdmllab",
        "pack",
        str(tmp_path / "src"),
        str(tmp_path / "dst"),
        "--size",
        "16",
    ]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1
    assert f"another process is building {tmp_path / 'dst'}: wait for it to end" in " ".join(
        second.stderr.split()
    )
    assert (
        inspect(tmp_path / "dst").facts["identities"] == "2"
    )  # the pack of before, as long as it is not replaced
    proceed.touch()
    assert first.wait() == 0
    report = inspect(tmp_path / "dst")
    assert (report.problems, report.facts["identities"]) == ([], "3")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dst",
        "old",
        "proceed",
        "proceed.began",
        "src",
    ]


def test_killed_packing_leaves_no_lock_and_no_files_in_the_pack(tmp_path):
    first, _ = slowly(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    (tmp_path / "dst.partial/.train.idx.0a1b2c3d.tmp").write_text("half")
    assert packing.pack(tmp_path / "src", tmp_path / "dst", packing.Settings(size=16)).resumed == 1
    assert not list(tmp_path.rglob(".*"))


def test_target_is_claimed_once_by_each_thread(tmp_path):
    message = []

    def other():
        try:
            with claimed(tmp_path / "x"):
                pass
        except CdmlLabError as error:
            message.append(str(error))

    with claimed(tmp_path / "x"), claimed(tmp_path / "x"), claimed(tmp_path / "y"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert message == [f"another process is building {tmp_path / 'x'}: wait for it to end"]
    other()
    assert len(message) == 1
    assert not list(tmp_path.iterdir())


def test_claim_removes_half_written_files_of_its_target_only(tmp_path):
    for name in (".a.bin.0a1b2c3d.tmp", ".a.bin.mine.tmp", ".b.bin.0a1b2c3d.tmp"):
        (tmp_path / name).write_text("half")
    with claimed(tmp_path / "a.bin"):
        assert not (tmp_path / ".a.bin.0a1b2c3d.tmp").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".a.bin.mine.tmp",
        ".b.bin.0a1b2c3d.tmp",
    ]


def job(tmp_path):
    texts = dict.fromkeys(("name", "title", "label", "contents", "source", "licence"), "x")
    return Job(DataSet(needs={"images": ("x/y", "x.zip")}, **texts), tmp_path)


def write(it):
    return it.make("x", lambda path: path.write_text("x"), lambda path: {})


def unpack(it):
    with zipfile.ZipFile(it.out / "x.zip", "w") as archive:
        archive.writestr("x/y/z", "z")
    return it.folder("images")


@pytest.mark.parametrize("made", [write, unpack])
def test_script_does_not_build_a_file_that_another_process_is_building(tmp_path, made):
    script = "import sys; from pathlib import Path; from cdmllab._util.build_lock import claimed\n"
    script += "with claimed(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "x")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CdmlLabError, match=f"is building {tmp_path / 'x'}"):
            made(job(tmp_path))
        other.stdin.close()
    assert made(job(tmp_path)).exists()
