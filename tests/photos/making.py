"""Folders of photos for tests: rendered faces, which the real detector finds, on plain grounds."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cdmllab import backbones
from cdmllab.backbones.weights import save_release
from cdmllab.faces import album
from cdmllab.preprocessing import standard

PEOPLE, EACH, FACE_PX = 4, 3, 128


@cache
def faces() -> np.ndarray:
    """Rendered faces, uint8 [people, each, 128, 128, 3]; frontal, plain, of different people."""
    drawn = album(PEOPLE, EACH, size=FACE_PX, strength=0.1).images
    return drawn.permute(0, 2, 3, 1).numpy().reshape(PEOPLE, EACH, FACE_PX, FACE_PX, 3)


def on_ground(*portraits: np.ndarray, height: int = 200, width: int = 0) -> np.ndarray:
    """Faces side by side on a grey ground."""
    width = width or sum(face.shape[1] + 40 for face in portraits)
    photo = np.full((height, width, 3), 128, dtype=np.uint8)
    left = 20
    for face in portraits:
        photo[30 : 30 + face.shape[0], left : left + face.shape[1]] = face
        left += face.shape[1] + 40
    return photo


def scaled(face: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(face).resize((size, size), Image.Resampling.BICUBIC))


def folder(root: Path, people: int = PEOPLE, each: int = EACH) -> Path:
    """One folder per person: ``person 0/0.png`` ..."""
    for person in range(people):
        (root / f"person {person}").mkdir(parents=True)
        for k in range(each):
            photo = Image.fromarray(on_ground(faces()[person, k]))
            photo.save(root / f"person {person}" / f"{k}.png")
    return root


def network(path: Path, size: int = 32, **preprocessing) -> Path:
    """A released file of a small network with random weights."""
    torch.manual_seed(3)
    options = {"size": size, "width": 4, "embedding_dim": 8}
    save_release(
        backbones.create("small", **options),
        path,
        name="small",
        options=options,
        preprocessing={**standard(3, size), **preprocessing},
        config={},
        git_commit="",
    )
    return path


class Dots:
    """A detector that finds photos' five dots of known colours and nothing else.

    It records the shapes of its input, so a test can check how a photo was rotated and shrunk.
    """

    name = "dots"
    COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def find(self, pixels):
        from cdmllab.photos.faces import Face

        self.shown.append(pixels.shape[:2])
        five = []
        for colour in self.COLOURS:
            near = (np.abs(pixels.astype(int) - colour).max(axis=2) < 60).nonzero()
            if not len(near[0]):
                return []
            five.append([near[1].mean(), near[0].mean()])
        five = np.array(five)
        if five[0, 0] >= five[1, 0] or five[0, 1] >= five[3, 1]:
            return []  # like a real one, it knows faces upright only
        box = np.array([*(five.min(0) - 5), *(five.max(0) + 5)])
        return [Face(box, five, 1.0)]


def dotted(points, height: int, width: int, radius: float) -> np.ndarray:
    """A grey photo with the five dots, x and y in pixels."""
    photo = np.full((height, width, 3), 90, dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    for (px, py), colour in zip(points, Dots.COLOURS, strict=True):
        photo[(x - px) ** 2 + (y - py) ** 2 <= radius**2] = colour
    return photo
