"""Untrusted YAML: configs are read, everything else is refused quickly in one sentence."""

import time
from itertools import pairwise

import pytest
import yaml

from cdmllab._util import safe_yaml
from cdmllab.errors import DataError

LETTERS = "abcdefghij"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{above}: &{above} [{','.join(['*' + below] * 9)}]\n" for below, above in pairwise(LETTERS)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [1.5, true, null, text]\n",
        "a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: *x\n",
        "a: |\n  two\n  lines\n",
        "{}",
        "3",
        "",
    ],
)
def test_plain_values_are_those_of_the_safe_loader(text):
    assert safe_yaml.parse(text, "here") == yaml.safe_load(text)


def test_numbers_and_dates_are_read_as_written():
    assert safe_yaml.parse("a: 1e-3\nb: 2001-01-01\n", "here") == {"a": 0.001, "b": "2001-01-01"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "its aliases stand for more than 100,000 values"),
        (BOMB.replace("[x", "[{y: 1}, x"), "its aliases stand for more than 100,000 values"),
        (
            "a: &a {x: 1}\n"
            + "".join(f"{c}: &{c} {{<<: [{', '.join(['*a'] * 9)}]}}\n" for c in "bcd"),
            None,
        ),
        ("a: &a [*a]\n", "an alias refers to a node that contains it"),
        ("a: &a {<<: *a}\n", "an alias refers to a node that contains it"),
        ("[" * 900, "nested more than 40 deep .line 1."),
        ("\n".join(" " * n + "a:" for n in range(300)), "nested more than 40 deep .line 40."),
        ("a: {" + "a," * 60_000 + "}", "over 20,000 values"),
        ("a: 1" + ":1" * 60_000, "a number of 120,001 characters"),
        ("a: " + "9" * 100, "a number of 100 characters"),
        ("a: 0x" + "f" * 1000, "a number of 1,002 characters"),
        ("a: !!python/object/apply:os.system [id]\n", "the tag .*os.system is not allowed"),
        ("a: !!binary xxxx\n", "the tag .*binary is not allowed"),
        ("a: !!set {b}\n", "the tag .*set is not allowed"),
        ("a: b\n1: c\n", "the key 1 is not text: quote it .line 2."),
        ("[a]: b\n", "the key a list or mapping is not text"),
        ("a: 1\nb: 2\na: 3\n", "the key a occurs twice .line 3."),
        ("a: 1\n--- b\n", "another document"),
        ("a: *b\n", "undefined alias"),
        ("a: \x00", "special characters are not allowed"),
        ("a: [", "is not readable YAML"),
        (b"a: \xff", "it is not UTF-8"),
        ("a: " + "x" * safe_yaml.LARGEST, "131,072 are allowed"),
    ],
)
def test_excessive_yaml_is_refused_quickly(text, message):
    began = time.process_time()
    if message is None:
        assert safe_yaml.parse(text, "here.yaml")["d"] == {"x": 1}
    else:
        with pytest.raises(DataError, match=rf"^here\.yaml .*{message}") as caught:
            safe_yaml.parse(text, "here.yaml")
        assert len(str(caught.value)) <= 300
    assert time.process_time() - began < 10
