"""The commands on the page for GPU machines are valid commands of the package."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from cdmllab.cli import app
from cdmllab.training import presets

ROOT = Path(__file__).parents[2]


def commands() -> list[list[str]]:
    """Every shell command of the page, split into words."""
    page = (ROOT / "book/gpu.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", page, re.S)
        for line in block.splitlines()
    ]
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


def of_package() -> list[list[str]]:
    result = []
    for words in commands():
        for k, word in enumerate(words):
            if word == "cdmllab" and (k == 0 or words[k - 1] == "-m"):
                result.append(words[k + 1 :])
    return result


def test_page_has_commands_of_each_kind():
    commands = {words[0] for words in of_package()}
    assert commands == {
        "book",
        "bench",
        "evaluate",
        "export",
        "inspect",
        "presets",
        "reproduce",
        "train",
    }
    assert len(of_package()) >= 15


@pytest.mark.parametrize("words", of_package(), ids=" ".join)
def test_command_has_the_options_it_is_given(words):
    command = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize(
    "words", [w for w in of_package() if w[0] == "train" and w[1] != "--resume"], ids=" ".join
)
def test_training_command_names_a_preset_and_settings_it_has(words):
    settings = [words[k + 1] for k, word in enumerate(words) if word == "--set"]
    config = presets.load(words[1], settings)
    assert config.device == "cuda"


def test_presets_table_has_cost_and_expected_result(build_miniature):
    folder, warnings = build_miniature(
        page="# A page\n\n```{cdml-presets} casia/datn_page/r18*\n```"
    )
    assert warnings == ""
    rows = re.findall(r"<tr.*?</tr>", (folder / "page.html").read_text(encoding="utf-8"), re.S)
    cells = [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]
    names = [name for name in presets.names() if name.startswith("casia/datn_page/r18")]
    headers = [(name, presets.header(name)) for name in names]
    assert len(headers) >= 2
    assert cells == [
        ["preset", "cost", "expected result"],
        *([name, h["cost"], h["expect"]] for name, h in headers),
    ]


def test_scripts_of_the_page_exist():
    named = {word for words in commands() for word in words if word.startswith("data_scripts/")}
    text = (ROOT / "book/gpu.md").read_text(encoding="utf-8")
    names = re.search(r"for set in ([\w ]+); do", text)[1].split()
    scripts = {word for word in named if "$" not in word} | {
        f"data_scripts/{name}.py" for name in names
    }
    assert len(scripts) >= 4
    assert all((ROOT / script).is_file() for script in scripts)
