import re
from html.parser import HTMLParser

import pytest
from pydantic import ValidationError

from cdmllab.book import questions
from cdmllab.book.questions import Question

CHAPTERS = questions.chapters()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_asks_its_questions_once_before_its_exercises(chapter, pytestconfig):
    (source,) = (pytestconfig.rootpath / "book/chapters").glob(f"{chapter:02d}_*.py")
    text = source.read_text(encoding="utf-8")
    assert text.count(f"questions.ask({chapter})") == 1
    assert text.index("questions.ask(") < text.index("# ## Exercises")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_three_questions_or_more_with_a_reason_for_every_answer(chapter):
    chapter_questions = questions.of_chapter(chapter)
    assert len(chapter_questions) >= 3
    for question in chapter_questions:
        reasons = [answer.because for answer in question.answers]
        assert len(set(reasons)) == len(reasons)
        assert all(reason.endswith(".") for reason in reasons)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_right_answers_are_not_always_at_the_same_place(chapter):
    places = {
        [answer.right for answer in question.answers].index(True)
        for question in questions.of_chapter(chapter)
    }
    assert len(places) > 1


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.labels, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "input":
            self.inputs.append((given["name"], given["id"]))
            return
        if tag == "label":
            self.labels.append(given["for"])
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_form_is_well_formed_and_every_button_has_its_label():
    form = _Form()
    form.feed(questions.ask(2)._repr_html_())
    assert not form.open
    assert [identity for _, identity in form.inputs] == form.labels
    assert len({name for name, _ in form.inputs}) == len(questions.of_chapter(2))


def test_text_is_escaped():
    question = Question.model_validate(
        {
            "question": "Is 1 < 2 & 3?",
            "answers": [
                {"text": "<b>yes</b>", "because": "It is.", "right": True},
                {"text": "no", "because": "It is not."},
            ],
        }
    )
    html = questions.Questions(1, (question,))._repr_html_()
    assert "Is 1 &lt; 2 &amp; 3?" in html
    assert "<b>" not in html


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([("a", True), ("b", True)], "has 2 right answers"),
        ([("a", False), ("b", False)], "has 0 right answers"),
        ([("a", True), ("a", False)], "has the same answer twice"),
        ([("a", True)], "at least 2 items"),
    ],
)
def test_question_that_cannot_be_answered_is_refused(answers, message):
    parts = [{"text": text, "because": "So.", "right": right} for text, right in answers]
    with pytest.raises(ValidationError, match=message):
        Question.model_validate({"question": "Which?", "answers": parts})


def test_chapter_without_questions_is_named():
    with pytest.raises(ValueError, match=r"chapter 99 has no questions; those of \(1, 2"):
        questions.ask(99)


def test_no_formula_is_left_as_tex():
    for chapter in CHAPTERS:
        assert not re.search(r"\$|\\\w", questions.ask(chapter)._repr_html_())
