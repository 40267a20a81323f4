"""What `import cdmllab` provides to other code."""

import re
import subprocess
import sys
from pathlib import Path

import cdmllab

USER = """
import cdmllab

net = cdmllab.backbones.create("small", embedding_dim=8)
loss = cdmllab.margins.ArcFace(margin_rad=0.4)
head = cdmllab.heads.create(loss, embedding_dim=8, num_identities=10)
config = cdmllab.training.Config.parse({"name": "mine"})
pack = cdmllab.data.packs.Pack("faces")
scores = cdmllab.metrics.verification.tar_at_far
print(net, head, config, cdmllab.__version__)
"""


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True)


def test_subpackages_are_available_without_their_own_import():
    done = run(
        "-c", "import cdmllab; print([getattr(cdmllab, name).__name__ for name in cdmllab.__all__])"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([f"cdmllab.{name}" for name in cdmllab.__all__])
    assert set(cdmllab.__all__) < set(dir(cdmllab))


def test_every_module_of_the_reference_is_available_after_the_one_import():
    pages = (Path(cdmllab.__file__).parents[2] / "book/api").glob("*.md")
    documented = [name for page in pages for name in _documented(page)]
    assert len(documented) > 20
    code = (
        "import cdmllab, operator; "
        f"[operator.attrgetter(name[8:])(cdmllab) for name in {documented}]"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def _documented(page):
    """The modules of a page of the reference."""
    return re.search(r"^```\{cdml-api\} (.*)$", page.read_text("utf-8"), re.M)[1].split()


def test_import_alone_loads_nothing():
    done = run(
        "-c",
        "import sys, cdmllab; print({m.partition('.')[0] for m in sys.modules} & {'torch', "
        "'numpy'})",
    )
    assert done.stdout.strip() == "set()"


def test_unknown_subpackage_is_an_attribute_error():
    done = run("-c", "import cdmllab; cdmllab.hearts")
    assert (
        "AttributeError: module 'cdmllab' has no attribute 'hearts'. Did you mean: 'heads'?"
        in done.stderr
    )


def test_strict_mypy_passes_on_a_users_file(tmp_path):
    (tmp_path / "mine.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(
        "import cdmllab\n\ncdmllab.heads.create('arcface', embedding_dim='8')\n"
    )
    options = ["--strict", "--cache-dir", str(tmp_path / "cache"), "--config-file", ""]
    done = run("-m", "mypy", *options, str(tmp_path / "mine.py"), str(tmp_path / "wrong.py"))
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2, done.stdout
    assert all(
        "wrong.py:3" in line for line in errors
    )  # an argument is missing, another is no number
