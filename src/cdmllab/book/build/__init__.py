"""From chapters to a site: `book/chapters` -> `notebooks` -> `book/executed` -> `book/_build/html`."""
