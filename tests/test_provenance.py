"""The commit of a result: git is trusted only where it tracks the package."""

import shutil
import subprocess

import pytest

from cdmllab import provenance as module
from cdmllab.provenance import provenance

NOBODY = ("-c", "user.name=a", "-c", "user.email=b")


def git(where, *arguments):
    subprocess.run(["git", "-C", str(where), *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def _no_injected_commit(monkeypatch):
    monkeypatch.delenv("CDMLLAB_COMMIT", raising=False)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with the package's layout; `provenance` asks about the file in it."""
    code = tmp_path / "src/cdmllab/provenance.py"
    code.parent.mkdir(parents=True)
    code.write_text("1")
    record = tmp_path / "results/benchmarks/heads-cpu.json"
    record.parent.mkdir(parents=True)
    record.write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, *NOBODY, "commit", "-qm", "first")
    monkeypatch.setattr(module, "__file__", str(code))
    return tmp_path


def recorded_provenance():
    record = provenance()
    return record["git_commit"], record["git_dirty"], record["citable"]


NOTHING = ("unknown", None, False)


def test_clean_checkout_names_its_commit_and_may_be_cited(checkout):
    head = subprocess.check_output(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True
    ).strip()
    assert recorded_provenance() == (head, False, True)


def test_measurement_does_not_make_the_next_one_dirty_and_code_does(checkout):
    (checkout / "results/benchmarks/heads-cpu.json").write_text("2")
    assert recorded_provenance()[1:] == (False, True)
    (checkout / "src/cdmllab/provenance.py").write_text("2")
    assert recorded_provenance()[1:] == (True, False)


def test_copy_without_git_is_unknown_unless_its_commit_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
    assert recorded_provenance() == NOTHING
    monkeypatch.setenv("CDMLLAB_COMMIT", "0123abc")
    assert recorded_provenance() == ("0123abc", False, True)


def test_checkout_of_another_owner_is_unknown_rather_than_clean(checkout, monkeypatch):
    """As in a container that mounts it: git refuses to read it, and says so with an error."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(checkout / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(checkout / "none"))
    assert module.git("rev-parse", "HEAD", within=checkout) is None
    assert recorded_provenance() == NOTHING


def test_package_inside_another_repository_does_not_take_its_commit(checkout, monkeypatch):
    """As in ``.venv/lib/.../site-packages`` below the user's project, ignored or untracked."""
    installed = checkout / ".venv/lib/cdmllab/provenance.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("1")
    monkeypatch.setattr(module, "__file__", str(installed))
    assert module.git("rev-parse", "HEAD", within=installed.parent) is not None
    assert recorded_provenance() == NOTHING


def test_repository_without_a_commit_is_unknown(tmp_path, monkeypatch):
    code = tmp_path / "provenance.py"
    code.write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    monkeypatch.setattr(module, "__file__", str(code))
    assert recorded_provenance() == NOTHING


def test_machine_without_git_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    assert shutil.which("git") is None
    assert recorded_provenance() == NOTHING


def test_hook_of_another_repository_does_not_change_the_commit(
    checkout, tmp_path_factory, monkeypatch
):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    git(other, *NOBODY, "commit", "-q", "--allow-empty", "-m", "theirs")
    before = recorded_provenance()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert recorded_provenance() == before
