"""The examples in docstrings are true, and the main names have one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cdmllab

SOURCE = Path(cdmllab.__file__).parent
FIRST = (
    "backbones.create",
    "data.bins.read",
    "data.loaders.Loader",
    "data.pairs.sample",
    "evaluate.evaluate",
    "evaluate.verify",
    "faces.FaceWorld",
    "heads.create",
    "margins.create",
    "margins.register",
    "metrics.verification.auc",
    "metrics.calibration.threshold_at_far",
    "training.train",
)


def test_examples_are_true(tmp_path):
    """In a separate process: one example registers a loss, and others write files."""
    files = sorted(
        str(path) for path in SOURCE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8")
    )
    options = ["--doctest-modules", "--doctest-continue-on-failure", "--import-mode=importlib"]
    options += ["-o", "doctest_optionflags=ELLIPSIS", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir",
            str(tmp_path),
            *options,
            *files,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= len(FIRST)


@pytest.mark.parametrize("name", FIRST)
def test_main_names_have_an_example(name):
    target = cdmllab
    for part in name.split("."):
        target = (
            getattr(target, part)
            if hasattr(target, part)
            else __import__(f"{target.__name__}.{part}", fromlist=["x"])
        )
    assert ">>>" in target.__doc__
