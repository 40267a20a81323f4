"""The build: `book/chapters` -> `notebooks` -> `book/executed` -> `book/_build/html`."""

from cdmllab.errors import require

require("book", "building the book", "nbformat", "jupytext", "papermill")
