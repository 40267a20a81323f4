"""One person of the face lab under adjustable nuisances, with a network's scores."""

import base64
import io
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cdmllab import faces
from cdmllab.book.widgets.base import Widget, packed, unpacked

Floats = NDArray[np.float64]
Embed = Callable[[NDArray[np.uint8]], ArrayLike]
"""Maps images, uint8 (n, size, size, 3), to embeddings (n, d) of any length."""

# The steps of each nuisance. Light from the side adds contrast, or it would not be visible.
AXES: dict[str, tuple[float, ...]] = {
    "yaw_deg": tuple(float(deg) for deg in range(-90, 91, 15)),
    "age": (0.0, 0.5, 1.0),
    "light_deg": (-75.0, 0.0, 75.0),
    "occlusion": (0.0, 0.5, 1.0),
}
SHAPE = tuple(len(steps) for steps in AXES.values())
_CONTRAST = 0.7
_STRANGERS = 1_000_000  # first number of people who occur in no world


class FaceLab(Widget):
    """A rendered face with adjustable pose, age, light and occlusion, and its score.

    Created by `FaceLab.rendered`: all frames are rendered and scored once, and the page only
    selects one of them.

    Parameters
    ----------
    sprite : all frames as one WebP image in base64, in rows of `columns`, in the order of `AXES`
        with the last axis varying fastest
    scores : packed cosines to the enrolled image, of shape `SHAPE`
    axes : the steps of each nuisance, as in `AXES`
    columns : frames per row of the sprite
    threshold : the cosine that one stranger in a hundred reaches
    yaw, age, light, occlusion : the selected step of each nuisance
    follows : the nuisance on the horizontal axis of the plot
    """

    name = "face_lab"
    fallback = (
        "Interactive figure: a rendered face with adjustable pose, age, light and occlusion, and "
        "a network's score against the enrolled image of the same person. It needs JavaScript."
    )
    needs: ClassVar[tuple[str, ...]] = ("sprite", "scores", "columns", "threshold")

    sprite = traitlets.Unicode().tag(sync=True)
    scores = traitlets.Unicode().tag(sync=True)
    axes = traitlets.Dict(default_value={name: list(steps) for name, steps in AXES.items()}).tag(
        sync=True
    )
    columns = traitlets.Int(min=1).tag(sync=True)
    threshold = traitlets.Float().tag(sync=True)
    yaw = traitlets.Int(SHAPE[0] // 2, min=0, max=SHAPE[0] - 1).tag(sync=True)
    age = traitlets.Int(0, min=0, max=SHAPE[1] - 1).tag(sync=True)
    light = traitlets.Int(SHAPE[2] // 2, min=0, max=SHAPE[2] - 1).tag(sync=True)
    occlusion = traitlets.Int(0, min=0, max=SHAPE[3] - 1).tag(sync=True)
    follows = traitlets.Enum(("yaw", "age", "light", "occlusion"), default_value="yaw").tag(
        sync=True
    )

    @classmethod
    def rendered(
        cls,
        embed: Embed,
        *,
        person: int = 3,
        seed: int = 0,
        input_size: int = 32,
        shown_size: int = 112,
        strangers: int = 400,
        quality: int = 60,
        **values: Any,
    ) -> Self:
        """Render and score all frames of a person of the lab.

        Parameters
        ----------
        embed : the network
        person, seed : number of the person, and seed of the world
        input_size : size of the network's input, pixels
        shown_size : size of the frames on the page, pixels
        strangers : number of other people whose scores determine the threshold
        quality : quality of the WebP image, 0 to 100
        values : further values of the widget
        """
        # All combinations of steps, the last axis varying fastest.
        yaw, age, light, occlusion = torch.cartesian_prod(
            *(torch.tensor(steps) for steps in AXES.values())
        ).T
        given = {"yaw": yaw, "age": age, "light_azimuth": light, "occlusion": occlusion}
        given["contrast"] = _CONTRAST * light.abs() / light.abs().max()  # none in front

        def draw(size: int) -> NDArray[np.uint8]:
            images = faces.render([person] * len(yaw), seed=seed, size=size, **given)
            frames: NDArray[np.uint8] = images.permute(0, 2, 3, 1).numpy()
            return frames

        others = faces.render(torch.arange(strangers) + _STRANGERS, seed=seed, size=input_size)
        embeddings = _unit(embed(draw(input_size)))
        # The enrolled frame: frontal, young, lit from the front, not occluded.
        enrolled = embeddings[np.ravel_multi_index((SHAPE[0] // 2, 0, SHAPE[2] // 2, 0), SHAPE)]
        # The threshold of a FAR of 1 %: the quantile of strangers' scores.
        impostor = _unit(embed(others.permute(0, 2, 3, 1).numpy())) @ enrolled
        columns = int(np.prod(SHAPE[1:]))
        computed = {
            "sprite": _sprite(draw(shown_size), columns, quality),
            "scores": packed(embeddings @ enrolled),
            "columns": columns,
            "threshold": round(float(np.quantile(impostor, 0.99)), 4),
        }
        return cls(**{**computed, **values})

    def score(self) -> float:
        """The cosine between the selected frame and the enrolled image."""
        return float(unpacked(self.scores, *SHAPE)[self.yaw, self.age, self.light, self.occlusion])


def _unit(embeddings: ArrayLike) -> Floats:
    e = np.asarray(embeddings, dtype=np.float64)
    unit: Floats = e / np.linalg.norm(e, axis=1, keepdims=True)
    return unit


def _sprite(frames: NDArray[np.uint8], columns: int, quality: int) -> str:
    n, size = frames.shape[:2]
    rows = -(-n // columns)
    # Tiles in a grid: bring the rows of pixels next to the rows of tiles.
    page = np.zeros((rows, columns, size, size, 3), dtype=np.uint8)
    page.reshape(-1, size, size, 3)[:n] = frames
    sheet = page.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, 3)
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, "WEBP", quality=quality, method=4)
    return base64.b64encode(out.getvalue()).decode("ascii")
