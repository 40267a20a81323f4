import numpy as np
import pytest
import torch
from tests.evaluate.small_protocols import Flat

from cdmllab import evaluate


class Stored:
    """uint8 images that record how many are read at a time."""

    def __init__(self, n=10):
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, 4, 5, 3), dtype=np.uint8)
        self.asked = []

    def __len__(self):
        return len(self.pixels)

    def read(self, rows):
        self.asked.append(len(rows))
        return self.pixels[rows]


def test_stored_images_are_read_in_batches_and_prepared():
    stored = Stored()
    got = evaluate.embed(Flat(), stored, batch_size=4)
    assert stored.asked == [4, 4, 2]
    want = (stored.pixels.transpose(0, 3, 1, 2) / 255.0 - 0.5) / 0.5
    np.testing.assert_allclose(got, want.reshape(10, -1), atol=1e-6)


def test_uint8_tensor_and_stored_images_give_equal_embeddings():
    stored = Stored()
    tensor = torch.from_numpy(stored.pixels.transpose(0, 3, 1, 2).copy())
    assert torch.equal(evaluate.embed(Flat(), stored), evaluate.embed(Flat(), tensor))


def test_prepare_replaces_the_default_scaling():
    got = evaluate.embed(Flat(), Stored(), prepare=lambda x: x.float() / 255.0)
    assert got.min() >= 0.0


def test_flip_adds_the_embedding_of_the_mirrored_image():
    x = torch.randn(6, 1, 4, 4)
    got = evaluate.embed(Flat(), x, flip=True)
    assert torch.equal(got, evaluate.embed(Flat(), x) + evaluate.embed(Flat(), x.flip(-1)))
    assert torch.equal(got, evaluate.embed(Flat(), x.flip(-1), flip=True))


def test_embed_refuses_an_empty_set():
    with pytest.raises(ValueError, match="no images to embed"):
        evaluate.embed(Flat(), torch.zeros(0, 1, 4, 4))
