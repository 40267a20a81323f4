"""Checks across chapters: glossary terms, solutions, numbers, and links between chapters."""

import re
from pathlib import Path

import nbformat
import pytest
from cdml_chapters import number
from cdml_solutions import solved

from cdmllab.book import exercises
from cdmllab.book.build.notebooks import read_chapter
from cdmllab.training import presets

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = sorted((BOOK / "chapters").glob("*.py"))
TERM = re.compile(r"\{term\}`(?:[^`<]*<([^`>]+)>|([^`<]+))`")
# The words in the names of the package.
VOCABULARY = """\
embedding, identity, class centre, cosine, target, scale, logit, margin, margin policy, easiness,
difficulty, hardest negative, genuine pair, impostor pair, fold, score, threshold, TAR@FAR,
template, media, gallery, probe, preset, run, profile"""


def terms() -> set[str]:
    body = (
        (BOOK / "glossary.md")
        .read_text(encoding="utf-8")
        .split("```{glossary}", 1)[1]
        .split("```", 1)[0]
    )
    return {line for line in body.splitlines() if line and not line.startswith((" ", ":"))}


def used() -> list[tuple[str, str]]:
    pages = [*CHAPTERS, *(path for path in BOOK.glob("*.md") if path.stem != "glossary")]
    result = []
    for path in pages:
        text = re.sub(r"\n# ", "\n", path.read_text(encoding="utf-8"))
        result += [(path.stem, " ".join((m[1] or m[2]).split())) for m in TERM.finditer(text)]
    return result


def test_glossary_has_the_vocabulary_and_every_term_that_is_used():
    expected = {" ".join(word.split()) for word in VOCABULARY.split(",")}
    assert expected <= terms()
    assert {term for _, term in used()} <= terms()


def test_every_glossary_term_is_used_in_the_book():
    assert terms() - {term for _, term in used()} == set()


def test_solutions_are_found_for_every_exercise_with_a_checker():
    result = []
    for path in CHAPTERS:
        title, solutions = solved(read_chapter(path))
        assert title
        assert all(s.question and s.solution and "<details>" not in s.question for s in solutions)
        result += [s.name for s in solutions]
    assert len(result) == len(set(result))
    assert set(result) == set(exercises.names())


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_asks_each_exercise_it_checks_and_has_three(path):
    notebook = read_chapter(path)
    checked = re.findall(r'exercises\.check\("([\d.]+)"', path.read_text(encoding="utf-8"))
    assert len(checked) >= 3
    assert {s.name for s in solved(notebook)[1]} == set(checked)
    assert {int(name.split(".")[0]) for name in checked} == {number(path.stem)}


def test_solved_takes_the_question_before_the_solution_and_skips_those_without():
    cells = ["# A chapter", "## Exercises\n\nPut it here.\n\n**3.1** How\nmany?"]
    cells += [
        "<details><summary>Solution 3.1</summary>\n\nTwo.\n\n</details>\n\n**3.2** No "
        "checker.\n\n## Recap"
    ]
    v4 = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(cell) for cell in cells])
    assert solved(notebook) == ("A chapter", [("3.1", "How\nmany?", "Two.")])


@pytest.mark.parametrize(
    ("page", "own"),
    [
        ("executed/03_gradient", 3),
        ("11_verification", 11),
        ("glossary", None),
        ("executed/x3_y", None),
    ],
)
def test_number_of_a_page(page, own):
    assert number(page) == own


LINK = re.compile(r'<a class="reference internal" href="([^"#]+)"><span class="doc">([^<]+)</span>')


def test_titles_carry_numbers_and_prose_links_to_chapters_that_exist(build_miniature):
    pages = {
        "index": "# Top\n\n```{toctree}\n03_third\n04_fourth\nother\n```\n",
        "03_third": "# The third\n\n## Within\n\n"
        "See chapter\n4 and `chapter 4`, chapter 9, and this "
        "chapter 3.\n",
        "04_fourth": "# The fourth\n\n*As chapter 3 says*.",
        "other": "# Other\n\nChapter 4, [chapter 3](03_third).",
    }
    folder, _ = build_miniature(**pages)
    text = {name: (folder / f"{name}.html").read_text(encoding="utf-8") for name in pages}
    article = {
        name: page[page.index("<article") : page.index("</article>")] for name, page in text.items()
    }
    links = {
        name: [(to, " ".join(text.split())) for to, text in LINK.findall(page)]
        for name, page in article.items()
    }
    assert "<h1>3. The third<" in article["03_third"]
    assert "<h2>Within<" in article["03_third"]
    assert "<h1>Other<" in article["other"]
    assert ">4. The fourth</a>" in article["index"]
    assert links["03_third"] == [("04_fourth.html", "chapter 4")]
    assert links["04_fourth"] == [("03_third.html", "chapter 3")]
    assert ("04_fourth.html", "Chapter 4") in links["other"]


@pytest.mark.book
def test_solutions_page_has_every_exercise_with_a_checker(site):
    text = (site / "solutions.html").read_text(encoding="utf-8")
    result = re.findall(r"<p class=\"admonition-title\">Solution ([\d.]+)</p>", text)
    assert sorted(result) == sorted(exercises.names())


@pytest.mark.book
def test_gpu_page_quotes_each_presets_cost(site):
    text = (site / "gpu.html").read_text(encoding="utf-8")
    first = re.findall(r"<tr[^>]*><td><p><code[^>]*>(.+?)</code></p></td>", text)
    commands = [re.sub(r"<[^>]+>", "", code) for code in first]
    expected = [
        name
        for name in presets.names()
        if name.startswith(("lab/gpu", "lfw/gpu", "casia/datn_page", "ms1mv3/datn_page"))
    ]
    assert sorted(commands) == sorted(expected)
    assert all(presets.header(name)["cost"] in text for name in expected)
