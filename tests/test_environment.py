"""The three files that pin the installed packages agree."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from trove_classifiers import classifiers

import cdmllab

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


def test_lock_contains_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--index|--find-links|@", text)


def test_lock_satisfies_the_project(project, locked):
    requirements = [
        *project["dependencies"],
        *chain.from_iterable(project["optional-dependencies"].values()),
    ]
    assert len(requirements) > 20
    for requirement in map(Requirement, requirements):
        if requirement.name == project["name"]:  # an extra that includes others
            assert requirement.extras <= set(project["optional-dependencies"]), requirement
            continue
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


def test_version_is_in_one_place_and_in_the_changelog(project):
    assert "version" in project["dynamic"]
    assert f"## [{cdmllab.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == cdmllab.__version__


def test_changelog_has_its_format():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line) for line in versions[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


def test_classifiers_are_valid_and_name_the_versions_of_python(project):
    assert set(project["classifiers"]) <= classifiers
    assert not any(line.startswith("License ::") for line in project["classifiers"])  # `license` is
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line}
    supported = SpecifierSet(project["requires-python"])
    assert named == {f"3.{minor}" for minor in range(9, 20) if supported.contains(f"3.{minor}.0")}


def test_readme_names_only_commands_that_exist():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", readme))
    assert {"book", "test", "setup", "check", "clean"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
