from collections.abc import Iterator

import pytest
from tests.data.fetching.mirror_server import Mirror, serving


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A mirror on the loopback interface."""
    with serving() as server:
        yield server
