"""Questions that a reader answers in the page, without a kernel.

Each chapter has a file ``chapter_XX.yaml`` here: a list of questions, each with a few answers of
which one is right, and an explanation for every answer, right or wrong. A chapter shows its
questions with one call::

    from cdmllab.book import questions
    questions.ask(2)

The result is a plain HTML form. The explanation of an answer appears when it is chosen, by a
rule of CSS alone, so it works in JupyterLab, in the site, and in a copy of the site without a
network.
"""

from functools import cache
from html import escape
from importlib import resources
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

__all__ = ["Answer", "Question", "Questions", "ask", "chapters", "of_chapter"]

_STYLE = """<style>
.cdml-question { border: 0; margin: 0 0 1.4rem; padding: 0; min-width: 0; }
.cdml-question legend { font-weight: 600; font-size: inherit; margin-bottom: .4rem; padding: 0; float: none; }
.cdml-answer { margin: .25rem 0; padding-left: 1.6rem; position: relative; }
.cdml-answer input { position: absolute; left: 0; top: .15rem; width: 1rem; height: 1rem; margin: 0; }
.cdml-answer label { cursor: pointer; margin: 0; }
.cdml-because { display: none; margin: .3rem 0 .6rem; padding-left: .8rem;
  border-left: 3px solid var(--cdml-muted, #808080); }
.cdml-because.is-right { border-left-color: var(--cdml-accent, #2f6fb7); }
.cdml-answer input:checked ~ div > .cdml-because { display: block; }
</style>"""  # noqa: E501


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(_Part):
    """One answer to choose.

    Attributes
    ----------
    text : the answer, plain text
    because : why it is right, or what is wrong with it
    right : whether it is the right one
    """

    text: str = Field(min_length=1)
    because: str = Field(min_length=1)
    right: bool = False


class Question(_Part):
    """A question with two to five answers, exactly one of them right."""

    question: str = Field(min_length=1)
    answers: tuple[Answer, ...] = Field(min_length=2, max_length=5)

    @model_validator(mode="after")
    def _one_is_right(self) -> Self:
        right = sum(answer.right for answer in self.answers)
        if right != 1:
            raise ValueError(f"{self.question!r} has {right} right answers; it needs exactly one")
        texts = [answer.text for answer in self.answers]
        if len(set(texts)) < len(texts):
            raise ValueError(f"{self.question!r} has the same answer twice")
        return self


class Questions:
    """The questions of a chapter as an HTML form, which notebooks and the site show."""

    def __init__(self, chapter: int, questions: tuple[Question, ...]) -> None:
        self.chapter, self.questions = chapter, questions

    def _repr_html_(self) -> str:
        fields = "\n".join(
            _field(f"q{self.chapter}-{number}", number, question)
            for number, question in enumerate(self.questions, 1)
        )
        return f'{_STYLE}<form class="cdml-questions" autocomplete="off">\n{fields}\n</form>'

    def __repr__(self) -> str:
        return f"{len(self.questions)} questions of chapter {self.chapter}"


def ask(chapter: int) -> Questions:
    """The questions of a chapter, to be shown as the last value of a cell.

    Raises
    ------
    ValueError : the chapter has no questions
    """
    return Questions(chapter, of_chapter(chapter))


@cache
def of_chapter(chapter: int) -> tuple[Question, ...]:
    """The questions of a chapter, read and checked.

    Raises
    ------
    ValueError : the chapter has no questions, or they are not as `Question` says
    """
    if chapter not in chapters():
        raise ValueError(f"chapter {chapter} has no questions; those of {chapters()} have")
    text = (resources.files(__name__) / f"chapter_{chapter:02d}.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Question, ...]).validate_python(yaml.safe_load(text))


@cache
def chapters() -> tuple[int, ...]:
    """The chapters that have questions."""
    names = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(int(name[8:10]) for name in names if name.endswith(".yaml")))


def _field(key: str, number: int, question: Question) -> str:
    """A question as a group of radio buttons. Explanations lie in live regions, so that a screen
    reader speaks them when they appear.
    """
    answers = []
    for place, answer in enumerate(question.answers):
        verdict, kind = ("Right.", "is-right") if answer.right else ("Not quite.", "is-wrong")
        answers.append(
            f'<div class="cdml-answer"><input type="radio" name="{key}" id="{key}-{place}">'
            f'<label for="{key}-{place}">{escape(answer.text)}</label>'
            f'<div aria-live="polite"><p class="cdml-because {kind}"><strong>{verdict}</strong> '
            f"{escape(answer.because)}</p></div></div>"
        )
    legend = f"<legend>{number}. {escape(question.question)}</legend>"
    return f'<fieldset class="cdml-question">{legend}{"".join(answers)}</fieldset>'
