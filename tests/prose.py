"""Reject the phrases of the first edition that the style guide replaces: run by `make check`.

Reads every page, chapter and README, and all docstrings, comments and messages of the code. A line
that needs one of the phrases is listed in `EXCEPTIONS` with the reason.

    python tests/prose.py
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What not to write, and what to write instead.
PHRASES = {
    r"foreign (?:class )?centres?": "negative centre",
    r"the own (?:class )?centres?": "target centre, or the centre of its class",
    r"(?<!its )own class centres?": "target centre, or the centre of its class",
    r"(?:tak(?:e|es|en|ing)|took) away": "subtract, remove",
    r"told apart": "distinguished",
    r"lea(?:ve|ves|ving|ft) zero out": "the interval excludes zero",
    r"goes? apart": "plotted separately",
    r"without a word": "silently",
    r"beside (?!the point)": "next to, compared with",
    r"stands? (?:in|beside|above|below|under) ": "is in, appears in",
    r"(?:is|are|was|were|be) told (?!to)": "is reported, is named",
    r"nuisance dosed|doses? (?:one|a) nuisance": "nuisance strength",
    r"(?:a|each|every|one) pictures?\b": "image",
    r"how to get it is told": "the message says how to get it",
    r"by however little": "however small",
    r"what is left is": "only ... remains",
    r"hangs? on (?:a|the|what|which|how)": "depends on",
    r"errs? (?:a little )?on the": "is conservative",
    r"laid out in one row": "flattened",
    r"images? a second\b": "images per second",
}

# (file, words of the line, reason)
EXCEPTIONS: list[tuple[str, str, str]] = []

_PATTERN = re.compile(
    "|".join(f"(?P<p{k}>\\b{phrase})" for k, phrase in enumerate(PHRASES)), re.IGNORECASE
)
_SKIPPED = ("tests/prose.py", "tests/book/axe")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a file, with line numbers: complete pages; comments and strings of code."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(content.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def faults(path: Path, name: str) -> Iterator[str]:
    """One line for each phrase found: file, line, the phrase, and what to write."""
    lines = list(texts(path))
    for (number, line), (_, following) in zip(lines, [*lines[1:], (0, "")], strict=True):
        # A phrase may be split between two lines; it is reported where it begins.
        joined = f"{line} {following.lstrip(' #')}"
        for match in _PATTERN.finditer(joined):
            if match.start() >= len(line) or excepted(name, joined):
                continue
            instead = list(PHRASES.values())[int(str(match.lastgroup)[1:])]
            yield f"{name}:{number}: {match.group().strip()!r}: write {instead}"


def excepted(name: str, line: str) -> bool:
    """Whether a line is on the list of exceptions."""
    return any(name == file and words in line for file, words, _ in EXCEPTIONS)


def files() -> Iterator[Path]:
    """Every file with prose."""
    patterns = [
        "*.md",
        "book/*.md",
        "book/api/*.md",
        "results/*.md",
        "results/plans/*.md",
        *(f"{folder}/**/*.py" for folder in ("src", "tests", "book", "benchmarks", "data_scripts")),
    ]
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if "_build" not in path.parts and not name.startswith(_SKIPPED):
                yield path


def main() -> int:
    phrases = [
        fault for path in files() for fault in faults(path, path.relative_to(ROOT).as_posix())
    ]
    print("\n".join(phrases))
    print(f"{len(phrases)} phrases to replace" if phrases else "prose in order")
    return bool(phrases)


if __name__ == "__main__":
    sys.exit(main())
