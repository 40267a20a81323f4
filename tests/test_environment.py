"""The three files that say what is installed agree."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip()]


def test_lock_pins_every_package_exactly(locked):
    assert len(locked) > 100
    for requirement in locked:
        (pin,) = requirement.specifier
        assert pin.operator == "==", requirement


def test_lock_holds_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--index|--find-links|@", text)


def test_lock_satisfies_the_project(project, locked):
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert len(wanted) > 20
    for requirement in map(Requirement, wanted):
        pins = [p for p in locked if p.name.lower() == requirement.name.lower()]
        assert pins, f"{requirement.name} is not in requirements.lock"
        for pin in pins:
            assert requirement.specifier.contains(next(iter(pin.specifier)).version), pin


def test_conda_environment_installs_the_same_lock(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, installs = environment["dependencies"]
    version = python.removeprefix("python=")
    assert SpecifierSet(project["requires-python"]).contains(f"{version}.0")
    assert pip == "pip"
    assert installs == {"pip": ["-r requirements.lock", "-e ."]}


def test_versions_agree(project):
    import cdmllab

    assert project["version"] == cdmllab.__version__
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_readme_names_only_commands_that_exist():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", readme))
    assert {"book", "test", "setup", "check", "clean"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
