"""The recipes of the page on other libraries run, and change as few lines as it says."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "book/libraries.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|diff)\n(.*?)```", PAGE, flags=re.DOTALL)
SETUP = BLOCKS[0][1]
RECIPES = [text for kind, text in BLOCKS if kind == "diff"]
EXAMPLES = [text for kind, text in BLOCKS[1:] if kind == "python"]


def version(recipe: str, omitted: str) -> str:
    """A recipe without the lines that are marked `omitted`, and without marks."""
    return "\n".join(line[1:] for line in recipe.splitlines() if not line.startswith(omitted))


def test_page_has_the_three_recipes():
    assert SETUP.startswith("import torch")
    titles = ("cross_entropy", "lightning", "pytorch_metric_learning")
    assert [title in recipe for title, recipe in zip(titles, RECIPES, strict=True)] == [True] * 3
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("recipe", RECIPES, ids=["pytorch", "lightning", "pml"])
def test_recipe_changes_at_most_five_lines(recipe):
    assert 1 <= sum(line.startswith("+") for line in recipe.splitlines()) <= 5
    assert all(re.match(r"[ +-]|$", line) for line in recipe.splitlines())
    assert max(map(len, recipe.splitlines())) <= 81


@pytest.mark.filterwarnings("ignore")  # those of other people's libraries
@pytest.mark.parametrize("omitted", ["+", "-"], ids=["before", "after"])
@pytest.mark.parametrize("recipe", RECIPES, ids=["pytorch", "lightning", "pml"])
def test_recipe_trains_before_and_after_the_change(recipe, omitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "recipe"}
    exec(SETUP, names)
    built: list[object] = []
    network = names["network"]

    def remembered():
        built.append(network())
        return built[-1]

    names["network"] = remembered
    exec(version(recipe, omitted), names)
    assert ("cdmllab" in version(recipe, omitted)) == (omitted == "-")
    (net,) = built
    # The training has changed the weights, which were uniform within 1 / sqrt(3072).
    grown = net[1].weight.abs().max()
    assert grown.isfinite()
    assert grown > 1.0 / 3072**0.5


def test_examples_of_dynamic_margins_run(capsys):
    names: dict[str, object] = {"__name__": "examples"}
    exec(SETUP, names)
    heads = []
    for example in EXAMPLES:
        exec(example, names)
        loss = names["loss_func"](names["network"]()(names["images"]), names["data"].tensors[1])
        assert loss.isfinite()
        heads.append(names["head"])
    assert [head.name for head in heads] == ["dynamic_arcface", "adaface", "Growing"]
    assert float(heads[-1].progress) == 0.5
    assert re.fullmatch(r"-?\d+\.\d degrees at \d+\.\d\n", capsys.readouterr().out)
