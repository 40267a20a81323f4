"""Who a face is: a latent vector, hashed from world seed and identity, and its traits."""

import torch
from torch import Tensor

from cdmllab.faces import hashing

# The order is part of the format: add new latents at the end, or every face changes.
LATENTS = (
    "sex",
    "melanin",
    "undertone",
    "hair_melanin",
    "hair_red",
    "iris_hue",
    "iris_shade",
    "face_width",
    "face_length",
    "jaw_width",
    "chin_width",
    "chin_length",
    "cheekbone",
    "cheek_full",
    "forehead",
    "brow_ridge",
    "eye_spacing",
    "eye_size",
    "eye_open",
    "eye_tilt",
    "eye_crease",
    "eye_depth",
    "brow_height",
    "brow_thick",
    "brow_tilt",
    "brow_arch",
    "nose_length",
    "nose_width",
    "nose_bridge",
    "nose_tip",
    "nose_depth",
    "mouth_width",
    "lip_upper",
    "lip_lower",
    "mouth_height",
    "lip_colour",
    "ear_size",
    "ear_angle",
    "hair_style",
    "hair_length",
    "hairline",
    "hair_volume",
    "hair_curl",
    "part_side",
    "beard",
    "beard_shape",
    "freckles",
    "moles",
    "mole_x1",
    "mole_y1",
    "mole_x2",
    "mole_y2",
    "mole_x3",
    "mole_y3",
    "blush",
    "asymmetry",
    "philtrum",
    "neck_width",
    "temple",
    "eye_bags",
    "mouth_corner",
    "chin_cleft",
    "nose_crook",
    "brow_colour",
)

# Hair styles; `_MALE` and `_FEMALE` are their relative frequencies.
STYLES = (
    "bald",
    "receding",
    "crop",
    "short",
    "side_part",
    "fringe",
    "bob",
    "long",
    "curly",
    "afro",
    "bun",
)
_MALE = (7, 9, 18, 20, 18, 6, 0, 4, 10, 6, 2)
_FEMALE = (0, 0, 2, 6, 6, 14, 16, 24, 12, 6, 14)

# sRGB colours from light to dark, interpolated by `ramp`.
_SKIN = (
    (0.96, 0.80, 0.73),
    (0.93, 0.74, 0.64),
    (0.86, 0.65, 0.52),
    (0.74, 0.53, 0.39),
    (0.57, 0.38, 0.27),
    (0.40, 0.26, 0.19),
)
_HAIR = (
    (0.83, 0.68, 0.45),
    (0.66, 0.49, 0.30),
    (0.46, 0.31, 0.19),
    (0.32, 0.20, 0.13),
    (0.19, 0.125, 0.095),
    (0.10, 0.08, 0.075),
)
_IRIS = (
    (0.38, 0.55, 0.68),
    (0.42, 0.56, 0.52),
    (0.47, 0.50, 0.30),
    (0.50, 0.36, 0.18),
    (0.36, 0.22, 0.12),
    (0.22, 0.13, 0.08),
)

Traits = dict[str, Tensor]


def latents(seed: int, numbers: Tensor) -> Tensor:
    """Latent vectors of identities, given by their numbers of shape (b,).

    Shape (b, len(LATENTS)), standard normal, clamped to +-2.2.
    """
    return hashing.normal(hashing.key(seed, 0x1DE47, numbers), len(LATENTS), 2.2)


# The latents that a visit to the hairdresser changes.
_STYLED = (
    "hair_melanin",
    "hair_red",
    "hair_style",
    "hair_length",
    "hair_volume",
    "hair_curl",
    "part_side",
    "beard",
    "beard_shape",
)


def restyled(vectors: Tensor, strength: Tensor, keys: Tensor) -> Tensor:
    """The same people with another hair style and beard: latents of shape (b, len(LATENTS)).

    Parameters
    ----------
    strength : how far the hair latents move towards a new random draw, in [0, 1], shape (b,)
    keys : of that draw, shape (b,)
    """
    rows = (strength > 0).nonzero()[:, 0]
    if len(rows) == 0:
        return vectors
    columns = torch.tensor([LATENTS.index(name) for name in _STYLED], device=vectors.device)
    other = hashing.normal(hashing.key(0x4A18, keys[rows]), len(columns), 2.2)
    share = strength[rows, None]
    out = vectors.clone()
    # The squares of the two weights add up to 1, so that the mixture is standard normal again.
    cells = (rows[:, None], columns[None, :])  # broadcast: the hair latents of the chosen rows
    out[cells] = (1.0 - share * share).sqrt() * vectors[cells] + share * other
    return out


def ramp(table: tuple[tuple[float, ...], ...], position: Tensor) -> Tensor:
    """Interpolate a table of colours at positions in [0, 1] of shape (b,): shape (b, 3)."""
    colours = torch.tensor(table, device=position.device)
    place = position.clamp(0.0, 1.0) * (len(table) - 1)
    low = place.floor().clamp(max=len(table) - 2)
    return torch.lerp(colours[low.long()], colours[low.long() + 1], (place - low)[:, None])


def _portion(z: Tensor) -> Tensor:
    """The standard normal distribution function: the share of people with a lower latent value."""
    return 0.5 + 0.5 * torch.erf(z / 2.0**0.5)


def traits(vectors: Tensor) -> Traits:
    """Named traits from latent vectors of shape (b, len(LATENTS)).

    Most traits are the latent value itself. Correlations between traits are added here: dark skin
    comes with dark hair and eyes, beards with male faces, and hair styles depend on sex.

    Returns
    -------
    Tensors of shape (b,): every name in `LATENTS`, ``male`` in [0, 1] and ``style``, an index into
    `STYLES`; and sRGB colours of shape (b, 3): ``skin``, ``hair`` and ``iris``

    Raises
    ------
    ValueError : the vectors have another shape
    """
    if vectors.ndim != 2 or vectors.shape[1] != len(LATENTS):
        raise ValueError(
            f"identity latents have shape (b, {len(LATENTS)}), got {tuple(vectors.shape)}"
        )
    t: Traits = dict(zip(LATENTS, vectors.float().unbind(1), strict=True))
    male = torch.sigmoid(4.0 * t["sex"])  # most faces are clearly one or the other
    t["male"] = male
    # From 0 to 1: the share of people with less pigment.
    melanin = _portion(t["melanin"])
    dark = _portion(0.85 * t["hair_melanin"] + 0.9 * t["melanin"] + 0.15).clamp(min=0.0)
    # Very dark skin never comes with light hair, nor with light eyes below.
    dark = torch.maximum(dark, (melanin * 1.5 - 0.35).clamp(0.0, 1.0))
    t["skin"] = ramp(_SKIN, melanin) * (
        1.0 + 0.035 * t["undertone"][:, None] * torch.tensor([0.3, 0.2, -1.0], device=male.device)
    )
    # Red hair needs light skin.
    red = ((t["hair_red"] - 0.9) * 1.6).clamp(0.0, 1.0) * (1.0 - melanin * 1.6).clamp(0.0, 1.0)
    auburn = torch.tensor([0.60, 0.29, 0.13], device=male.device)
    t["hair"] = torch.lerp(ramp(_HAIR, dark), auburn.expand(len(male), 3), red[:, None] * 0.9)
    brown = torch.maximum(
        _portion(t["iris_hue"] + 0.7 * t["melanin"] + 0.3), (melanin * 1.7 - 0.4).clamp(0.0, 1.0)
    )
    t["iris"] = ramp(_IRIS, brown) * (1.0 + 0.1 * t["iris_shade"][:, None])
    t["freckles"] = ((t["freckles"] + 0.5 * red - 0.7) * 0.8).clamp(0.0, 1.0) * (
        1.0 - melanin
    ).clamp(0.0, 1.0)
    t["beard"] = ((t["beard"] + 0.35) * 0.8).clamp(0.0, 1.0) * ((male - 0.6) * 2.5).clamp(0.0, 1.0)
    # Choose a style by the cumulative frequencies of the sex.
    weights = [torch.tensor(w, device=male.device).float() for w in (_MALE, _FEMALE)]
    shares = [(w / w.sum()).cumsum(0) for w in weights]
    edges = torch.where((male > 0.5)[:, None], shares[0], shares[1])
    t["style"] = (_portion(t["hair_style"])[:, None] > edges).sum(1).clamp(max=len(STYLES) - 1)
    return t
