import threading
from itertools import chain

import numpy as np
import pytest
import torch
from tests.data.making import pixels, write_pack

from cdmllab.data import loaders
from cdmllab.data.decode import encode_jpeg
from cdmllab.data.loaders import Loader
from cdmllab.data.packs import Pack
from cdmllab.data.sets import ArraySet
from cdmllab.errors import DataError

LABELS = np.repeat(np.arange(10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
SET = ArraySet(np.stack([pixels(k, 12) for k in range(len(LABELS))]), LABELS)


def rows(batches):
    return [batch.rows.tolist() for batch in batches]


def flat(lists):
    return list(chain.from_iterable(lists))


def test_batches_contain_the_images_of_their_rows():
    for batch in Loader(SET, 8):
        assert batch.images.shape == (8, 3, 12, 12)
        assert batch.images.dtype == torch.uint8
        assert batch.labels.tolist() == LABELS[batch.rows].tolist()
        assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), SET.images[batch.rows])


def test_epoch_has_each_image_once_and_the_next_has_another_order():
    loader = Loader(SET, 5, seed=3)
    assert len(loader) == 11
    first, second = flat(rows(loader)), flat(rows(loader))
    assert sorted(first) == sorted(second) == list(range(55))
    assert first != second
    assert flat(rows(Loader(SET, 5, seed=4))) != first


@pytest.mark.parametrize("augmentation", ["none", "datn_page"])
def test_workers_change_nothing(augmentation):
    loaders = [Loader(SET, 6, seed=1, workers=w, augmentation=augmentation) for w in (0, 1, 4)]
    for epoch in range(2):
        alone, one, four = (list(loader) for loader in loaders)
        assert len(alone) == 9, epoch
        for a, b, c in zip(alone, one, four, strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.images, c.images)
            assert torch.equal(a.rows, c.rows)


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("stop", [0, 1, 5, 9, 11, 14])
def test_loader_resumes_in_the_middle_of_an_epoch(workers, stop):
    def stream(loader):
        while True:
            yield from loader

    whole = stream(Loader(SET, 6, seed=2, augmentation="flip"))
    expected = [next(whole) for _ in range(20)]
    before = Loader(SET, 6, seed=2, augmentation="flip", workers=workers)
    stopped = stream(before)
    for _ in range(stop):
        next(stopped)
    after = Loader(SET, 6, seed=2, augmentation="flip")
    after.load_state_dict(before.state_dict())
    going_on = stream(after)
    for batch in expected[stop:]:
        again = next(going_on)
        assert torch.equal(again.rows, batch.rows)
        assert torch.equal(again.images, batch.images)
    stopped.close()


def test_state_is_plain_values_and_loads_with_other_numbers_of_processes():
    loader = Loader(SET, 6, seed=2)
    iterator = iter(loader)
    seen = rows([next(iterator), next(iterator)])
    state = loader.state_dict()
    assert all(isinstance(value, int | type(None)) for value in state.values())
    two = [Loader(SET, 5, seed=2, rank=r, world_size=2) for r in range(2)]
    for part in two:
        part.load_state_dict(state)
    rest = [r for pair in zip(*map(rows, two), strict=True) for part in pair for r in part]
    assert rest == loader.order(0)[12 : 12 + len(rest)].tolist()
    assert len(rest) == 40
    assert not set(rest) & set(flat(seen))


def test_processes_see_parts_of_one_order():
    together = Loader(SET, 8, seed=5)
    halves = [list(Loader(SET, 4, seed=5, rank=r, world_size=2)) for r in range(2)]
    for batch, *parts in zip(together, *halves, strict=True):
        assert batch.rows.tolist() == flat(rows(parts))


def test_augmentation_differs_by_seed_epoch_position_and_process():
    """All images are the same, so two batches are equal exactly if their augmentations are."""
    one = ArraySet(np.repeat(SET.images[:1], 55, axis=0), LABELS)
    batches = []
    for seed in range(2):
        for rank in range(2):
            loader = Loader(one, 6, seed=seed, rank=rank, world_size=2, augmentation="datn_page")
            batches += [batch.images for _ in range(2) for batch in loader]
    assert len(batches) == 2 * 2 * 2 * 4  # seeds, processes, epochs, places
    assert len({batch.numpy().tobytes() for batch in batches}) == len(batches)


def test_state_of_another_set_is_refused():
    with pytest.raises(ValueError, match="seed 0, this one has 1"):
        Loader(SET, 6, seed=1).load_state_dict(Loader(SET, 6).state_dict())
    other = ArraySet(SET.images[:50], LABELS[:50])
    with pytest.raises(ValueError, match="images 50, this one has 55"):
        Loader(SET, 6).load_state_dict(Loader(other, 6).state_dict())


def test_limit_per_identity_holds_in_each_epoch_with_other_images():
    loader = Loader(SET, 4, per_identity=3)
    assert loader.images == 1 + 2 + 3 * 8
    epochs = [loader.order(epoch) for epoch in range(5)]
    for order in epochs:
        assert np.bincount(LABELS[order]).tolist() == [1, 2, *[3] * 8]
    assert len({frozenset(order.tolist()) for order in epochs}) > 1


def test_without_shuffling_the_order_is_the_sets():
    assert flat(rows(Loader(SET, 11, shuffle=False))) == list(range(55))


def test_error_of_a_worker_is_raised_and_threads_end():
    class Broken(ArraySet):
        def read(self, chosen):
            if 17 in chosen:
                raise DataError("image 17 is broken")
            return super().read(chosen)

    for workers in (0, 2):
        with pytest.raises(DataError, match="image 17 is broken"):
            list(Loader(Broken(SET.images, LABELS), 5, workers=workers))
    assert not [t for t in threading.enumerate() if t.name.startswith("cdmllab-loader")]


def test_threads_end_when_the_reader_stops_early():
    iterator = iter(Loader(SET, 2, workers=2))
    next(iterator)
    iterator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("cdmllab-loader")]


def test_labels_are_checked_against_the_config():
    with pytest.raises(DataError, match=r"label 5 of image 15 is not a whole number in 0 \.\. 4"):
        Loader(SET, 5, num_identities=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "1 or more"),
        ({"batch_size": 5, "workers": -1}, "0 or more"),
        ({"batch_size": 56}, "do not fill one batch of 56"),
        ({"batch_size": 5, "rank": 2, "world_size": 2}, r"0 \.\. 1"),
        ({"batch_size": 5, "nvjpeg": True}, "nvjpeg needs device='cuda'"),
        ({"batch_size": 5, "augmentation": "mosaic"}, "unknown augmentation 'mosaic'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Loader(SET, **options)


def test_batches_are_transposed_once_for_any_device():
    """A device that is neither the CPU nor CUDA, as Apple's, had its images transposed twice."""
    wide = ArraySet(np.zeros((8, 12, 20, 3), np.uint8), np.arange(8))
    batch = next(iter(Loader(wide, 4, device="meta")))
    assert batch.images.shape == (4, 3, 12, 20)
    assert batch.images.device.type == batch.labels.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_on_the_gpu_are_close_to_those_on_the_cpu():
    pair = (Loader(SET, 6, augmentation="datn_page", device=d, workers=2) for d in ("cpu", "cuda"))
    for cpu, gpu in zip(*pair, strict=True):
        assert gpu.images.device.type == gpu.labels.device.type == "cuda"
        assert (cpu.images.int() - gpu.images.cpu().int()).abs().float().mean() < 1.0


def test_nvjpeg_refuses_grey_and_names_an_image_of_another_size(tmp_path, monkeypatch):
    root = write_pack(tmp_path / "p")
    with pytest.raises(ValueError, match=r"in colour, and Pack\(.* is read in grey"):
        Loader(Pack(root, colour="GRAY"), 3, device="cuda", nvjpeg=True)
    sizes = [(3, 8, 8), (3, 8, 8), (3, 6, 9)]
    monkeypatch.setattr(
        loaders, "decode_batch_cuda", lambda *_: [torch.zeros(size) for size in sizes]
    )
    loader = Loader(Pack(root), 3, device="cuda", nvjpeg=True)
    with pytest.raises(DataError, match=r"row 4: the image has 9 x 6 pixels, others have 8 x 8"):
        loader._read(np.array([1, 0, 4]), (0, 0, 0, 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nvjpeg_batches_are_close_to_those_of_the_cpu(tmp_path):
    flat = [encode_jpeg(np.full((32, 32, 3), 40 * k, dtype=np.uint8)) for k in range(6)]
    pack = Pack(write_pack(tmp_path / "p", size=32, images=flat))
    for cpu, gpu in zip(
        Loader(pack, 3), Loader(pack, 3, device="cuda", nvjpeg=True, workers=2), strict=True
    ):
        assert torch.equal(cpu.rows, gpu.rows.cpu())
        assert (cpu.images.int() - gpu.images.cpu().int()).abs().float().mean() < 2
