"""Render images from identities and nuisances."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cdmllab.faces import (
    body,
    camera_effects,
    expression,
    hair,
    head,
    identity,
    layers,
    light,
    nuisance,
    props,
    raymarch,
    template,
)
from cdmllab.faces.nuisance import Nuisances

SIZES = (32, 224)
# Pixels rendered at a time: few enough for a CPU's cache, and enough to occupy a GPU.
_CHUNK_PIXELS = {"cpu": 100_000, "cuda": 6_500_000}


def fastest() -> torch.device:
    """The device that renders fastest: a CUDA device if there is one, else the CPU.

    The pixels of the two differ by less than a tenth of a grey level on average, and by more at
    single edges.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def render(
    identities: int | Sequence[int] | Tensor,
    *,
    seed: int = 0,
    index: int | Sequence[int] | Tensor = 0,
    size: int = 112,
    strength: float = 0.0,
    device: str | torch.device = "cpu",
    **factors: float | Tensor,
) -> Tensor:
    """Render images of identities: uint8 of shape (b, 3, size, size), RGB.

    The same seed, identity, index, size, strength and factors give the same pixels in any batch.

    Parameters
    ----------
    identities, index : non-negative whole numbers, one or b of each; they broadcast against each
        other
    seed : the world's seed
    size : width and height in pixels, in [32, 224]
    strength : scale of the random nuisances, in [0, 1]
    device : where to render
    factors : fixed values of nuisances, as in ``yaw=40, age=0.8``: a number or a tensor of shape
        (b,) in the unit of `nuisance.FACTORS`

    Raises
    ------
    ValueError : a size, strength, identity or factor is out of range, or a factor does not exist
    """
    who, which = torch.broadcast_tensors(
        _numbers("identities", identities, device), _numbers("index", index, device)
    )
    drawn = nuisance.nuisances(seed, who, which, strength=strength, **factors)
    return render_latents(identity.latents(seed, who), drawn, size)


def relief(identity_number: int, *, seed: int = 0, size: int = 112) -> Tensor:
    """The shape of a head: its distance from the centre in every direction, in half head heights.

    Returns
    -------
    Shape (rows, columns): rows are spaced evenly in the sine of the elevation from -1 to 1, columns
    in the sine of half the azimuth.
    """
    vectors = identity.latents(seed, _numbers("identities", identity_number, "cpu"))
    t, zero = identity.traits(vectors), torch.zeros(1)
    pose = expression.parts(zero, zero) | {"age": zero}
    rows, columns = template.texture_size(size)
    return head.build(
        t, pose, *hair.shell(t, hair.styles(t), zero, rows, columns), rows, columns
    ).radius[0, 0]


def render_latents(latents: Tensor, nuisances: Nuisances, size: int = 112) -> Tensor:
    """Render latent vectors of shape (b, len(LATENTS)) under b nuisances.

    Returns
    -------
    uint8 of shape (b, 3, size, size), RGB

    Raises
    ------
    ValueError : `size` is out of range, or the numbers of vectors and nuisances differ
    """
    if not (isinstance(size, int) and SIZES[0] <= size <= SIZES[1]):
        raise ValueError(
            f"size must be a whole number of pixels in [{SIZES[0]}, {SIZES[1]}], got {size}"
        )
    if len(latents) != len(nuisances.keys):
        raise ValueError(
            f"{len(latents)} latent vectors do not match {len(nuisances.keys)} nuisances"
        )
    # In parts, since every image needs some dozens of tensors of its size.
    step = max(1, _CHUNK_PIXELS.get(latents.device.type, 100_000) // (size * size))
    out = torch.empty(len(latents), 3, size, size, dtype=torch.uint8, device=latents.device)
    with torch.no_grad():
        for start in range(0, len(latents), step):
            part = _image(
                latents[start : start + step], nuisances.pick(slice(start, start + step)), size
            )
            out[start : start + step] = (part * 255.0 + 0.5).to(torch.uint8)
    return out


def _numbers(name: str, given: int | Sequence[int] | Tensor, device: str | torch.device) -> Tensor:
    numbers = torch.as_tensor(given, device=device)
    if (
        numbers.is_floating_point()
        or numbers.ndim > 1
        or (numbers.numel() and int(numbers.min()) < 0)
    ):
        raise ValueError(
            f"{name} must be a non-negative whole number or a flat list of them, got {given}"
        )
    return numbers.to(torch.int64).reshape(-1)


def _image(latents: Tensor, n: Nuisances, size: int) -> Tensor:
    """Draw the layers from back to front, then the camera: (b, 3, size, size) in [0, 1]."""
    value, d = n.values, n.details
    t = identity.traits(identity.restyled(latents, value["restyling"], n.keys))
    age = value["age"]
    # Expression, gaze and age move the face; `d` has what else is random.
    pose = expression.parts(d[:, 0], value["expression"]) | {"age": age}
    pose["gaze_x"], pose["gaze_y"] = 0.010 * (d[:, 1] - 0.5), 0.006 * (d[:, 2] - 0.5)
    camera = raymarch.camera(value["yaw"], value["pitch"], value["roll"], size)
    lamp = light.lamp(value["light_azimuth"], value["contrast"], d[:, 3:5])
    # Which columns of `details` each part uses is fixed: another assignment is another image.
    scene = layers.background(d[:, 5:13], camera.X, camera.Y)
    nearest = torch.full_like(scene[:, 0], -9.0)

    style = hair.styles(t)
    turn = value["yaw"] * (torch.pi / 180.0)
    # Neck and shoulders are drawn in the rows below `body.TOP` only.
    low = int((raymarch.HALF_VIEW - body.TOP) / camera.pixel)  # the first of these rows
    below = replace(camera, Y=camera.Y[:, low:])
    layers.torso(scene[:, :, low:], nearest[:, low:], below, lamp, turn, t, pose, d)
    # Hanging hair, glasses and hands are rare: only the images that have them are drawn.
    some = (style["hang"] < 0.4).nonzero()[:, 0]
    if len(some):
        layer, depth = scene[some], nearest[some]
        lights = light.Lamp(*(part[some] for part in lamp))
        values, traits, styles = (
            {name: part[some] for name, part in table.items()} for table in (value, t, style)
        )
        layers.hanging_hair(
            layer, depth, camera, lights, turn[some], values, traits, styles, age[some]
        )
        scene[some], nearest[some] = layer, depth

    # The head: its shape as a texture, the points where rays meet it, its colours.
    rows, columns = template.texture_size(size)
    shape = head.build(t, pose, *hair.shell(t, style, age, rows, columns), rows, columns)
    hit = raymarch.march(shape, camera)
    layers.face(scene, nearest, camera, lamp, shape, hit, t, pose, style, value, d)
    for side in (-1.0, 1.0):  # after the head, behind which the far ear is hidden
        at, near = camera.window((side * 0.72, -0.13, -0.10), 0.36)
        part, depth = at.cut(scene), at.cut(nearest)
        props.ear(side, part, depth, near, lamp, t, style)
        at.put(scene, part)
        at.put(nearest, depth)
    # In front of the head, drawn over everything before.
    some = value["glasses"].nonzero()[:, 0]
    if len(some):
        part = scene[some]
        props.glasses(
            part, nearest[some], camera.rows(some), value["glasses"][some], d[some, 13:16]
        )
        scene[some] = part
    some = value["occlusion"].nonzero()[:, 0]
    if len(some):
        part = scene[some]
        props.hand(part, camera.rows(some), value["occlusion"][some], d[some, 16:22])
        scene[some] = part
    # The camera: exposure and colours, then blur, then noise, as in a sensor.
    image = camera_effects.develop(scene, value["exposure"], value["colour_cast"])
    return camera_effects.grain(
        camera_effects.soften(image, value["blur"], value["low_resolution"]),
        value["noise"],
        n.keys,
    )
