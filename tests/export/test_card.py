"""A model card goes to the hub with its network, and nothing else does."""

import json

import pytest
from tests.data.fetching.mirror_server import serving

from cdmllab.errors import CdmlLabError
from cdmllab.export import card


def test_folder_without_a_card_is_not_uploaded(tmp_path):
    with pytest.raises(CdmlLabError, match=r"needs README\.md and model\.safetensors"):
        card.push(tmp_path, "me/faces")


def test_refusal_of_the_hub_is_reported_in_one_sentence(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    (tmp_path / card.CARD).write_text("---\nlicense: other\n---\n# A network\n")
    (tmp_path / card.MODEL).write_bytes(b"weights")
    with serving() as mirror:
        real = hub.HfApi
        monkeypatch.setattr(hub, "HfApi", lambda **_: real(endpoint=mirror.url, token="hf_test"))
        mirror.answers["/api/repos/create"] = json.dumps({"url": f"{mirror.url}/me/faces"}).encode()
        with pytest.raises(CdmlLabError, match=r"the hub refused .* as me/faces: "):
            card.push(tmp_path, "me/faces")
        (path, content), *_ = mirror.posted
    assert path == "/api/repos/create"
    assert b"private" in content  # unless --public is given
