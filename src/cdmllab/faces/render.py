"""From identities and nuisances to images."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cdmllab.faces import (
    body,
    camera_effects,
    expression,
    eyes,
    hair,
    head,
    identity,
    light,
    nuisance,
    props,
    raymarch,
    skin,
    template,
)
from cdmllab.faces.compositing import lay, plane, smooth, spot
from cdmllab.faces.nuisance import Nuisances

SIZES = (32, 224)
_CHUNK_PIXELS = {"cpu": 100_000, "cuda": 6_500_000}


def fastest() -> torch.device:
    """Where images are drawn soonest: on a CUDA device if there is one.

    Its pixels differ from the CPU's by less than a tenth of a grey level on the mean; single ones,
    at edges, by more.
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
    """Images of identities: uint8 of shape (b, 3, size, size), RGB.

    The same (seed, identity, index, size) with the same strength and factors gives the same pixels
    in any batch.

    Parameters
    ----------
    identities, index : non-negative whole numbers, one or b of each; they broadcast against each
        other
    seed : the world's seed
    size : width and height in pixels, in [32, 224]
    strength : how far the drawn nuisances reach, in [0, 1]
    factors : nuisances set by hand, see `nuisance.FACTORS`: ``yaw=40, age=0.8``; a number or a
        tensor of shape (b,)

    Raises
    ------
    ValueError for a size, a strength, an identity or a factor out of range, and for a factor that
    does not exist.
    """
    who, which = torch.broadcast_tensors(
        _numbers("identities", identities, device), _numbers("index", index, device)
    )
    given = nuisance.nuisances(seed, who, which, strength=strength, **factors)
    return render_latents(identity.latents(seed, who), given, size)


def relief(identity_number: int, *, seed: int = 0, size: int = 112) -> Tensor:
    """The shape of a head: distance from the centre, in half head heights, in every direction.

    Shape (rows, columns): rows by the sine of the elevation from -1 to 1, columns by the sine of
    half the azimuth.
    """
    vectors = identity.latents(seed, _numbers("identities", identity_number, "cpu"))
    t, still = identity.traits(vectors), torch.zeros(1)
    pose = expression.parts(still, still) | {"age": still}
    rows, columns = template.texture_size(size)
    return head.build(
        t, pose, *hair.shell(t, hair.styles(t), still, rows, columns), rows, columns
    ).radius[0, 0]


def render_latents(latents: Tensor, nuisances: Nuisances, size: int = 112) -> Tensor:
    """Images of latent vectors of shape (b, len(LATENTS)) under b nuisances: uint8 of shape (b,
    3, size, size).
    """
    if not (isinstance(size, int) and SIZES[0] <= size <= SIZES[1]):
        raise ValueError(
            f"size must be a whole number of pixels in [{SIZES[0]}, {SIZES[1]}], got {size}"
        )
    if len(latents) != len(nuisances.keys):
        raise ValueError(
            f"{len(latents)} latent vectors do not match {len(nuisances.keys)} nuisances"
        )
    step = max(1, _CHUNK_PIXELS.get(latents.device.type, 100_000) // (size * size))
    out = torch.empty(len(latents), 3, size, size, dtype=torch.uint8, device=latents.device)
    with torch.no_grad():
        for start in range(0, len(latents), step):
            part = _draw(
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


def _draw(latents: Tensor, n: Nuisances, size: int) -> Tensor:
    value, d = n.values, n.details
    t = identity.traits(identity.restyled(latents, value["restyling"], n.keys))
    age = value["age"]
    pose = expression.parts(d[:, 0], value["expression"]) | {"age": age}
    pose["gaze_x"], pose["gaze_y"] = 0.010 * (d[:, 1] - 0.5), 0.006 * (d[:, 2] - 0.5)
    camera = raymarch.camera(value["yaw"], value["pitch"], value["roll"], size)
    lamp = light.lamp(value["light_azimuth"], value["contrast"], d[:, 3:5])
    scene = _background(d[:, 5:13], camera.X, camera.Y)
    nearest = torch.full_like(scene[:, 0], -9.0)

    style = hair.styles(t)
    turn = value["yaw"] * (torch.pi / 180.0)
    low = int((raymarch.HALF_VIEW - body.TOP) / camera.pixel)
    below = replace(camera, Y=camera.Y[:, low:])
    _torso(scene[:, :, low:], nearest[:, low:], below, lamp, turn, t, pose, d)
    some = (style["hang"] < 0.4).nonzero()[:, 0]
    if len(some):
        layer, depth = scene[some], nearest[some]
        lights = light.Lamp(*(part[some] for part in lamp))
        theirs = [{name: part[some] for name, part in table.items()} for table in (value, t, style)]
        _curtain(
            layer, depth, camera, lights, turn[some], theirs[0], theirs[1], theirs[2], age[some]
        )
        scene[some], nearest[some] = layer, depth

    rows, columns = template.texture_size(size)
    shape = head.build(t, pose, *hair.shell(t, style, age, rows, columns), rows, columns)
    hit = raymarch.march(shape, camera)
    _head(scene, nearest, camera, lamp, shape, hit, t, pose, style, value, d)
    for side in (-1.0, 1.0):
        at, near = camera.window((side * 0.72, -0.13, -0.10), 0.36)
        part, depth = at.cut(scene), at.cut(nearest)
        props.ear(side, part, depth, near, lamp, t, style)
        at.put(scene, part)
        at.put(nearest, depth)
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
    image = camera_effects.develop(scene, value["exposure"], value["colour_cast"])
    return camera_effects.grain(
        camera_effects.soften(image, value["blur"], value["low_resolution"]),
        value["noise"],
        n.keys,
    )


def _background(d: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    """A blurred room: two colours and two soft patches of light, (b, 3, h, w), linear."""
    hue = d[:, 0] * (2.0 * torch.pi)
    shift = torch.tensor([0.0, 2.1, 4.2], device=d.device)
    base = 0.36 + 0.20 * d[:, 1:2] + 0.05 * torch.cos(hue[:, None] + shift)
    other = base * (0.55 + 0.35 * d[:, 2:3]) + 0.03 * torch.cos(hue[:, None] + 1.5 + shift)
    share = smooth(0.5 + 0.32 * (X * plane(d[:, 3] - 0.5) * 2.0 + Y * plane(d[:, 4])))
    out = torch.lerp(other[:, :, None, None], base[:, :, None, None], share[:, None])
    for k in (5, 6):
        glow = spot(
            (X - plane(d[:, k] * 3.0 - 1.5)) * 1.3, (Y - plane(d[:, 12 - k] * 1.6 - 0.4)) * 1.3
        )
        out = out * (1.0 + (0.28 if k == 5 else -0.22) * glow[:, None])
    return out


def _over(scene: Tensor, nearest: Tensor, colour: Tensor, cover: Tensor, depth: Tensor) -> None:
    """Put a layer into the scene where it is nearer than what is there, in place."""
    seen = cover * ((depth - nearest) * 40.0 + 0.5).clamp(0.0, 1.0)
    lay(scene, colour, seen)
    nearest.copy_(torch.where(seen > 0.5, depth, nearest))


def _torso(
    scene: Tensor,
    nearest: Tensor,
    camera: raymarch.Camera,
    lamp: light.Lamp,
    turn: Tensor,
    t: identity.Traits,
    pose: head.Pose,
    d: Tensor,
) -> None:
    hue = d[:, 22:23] * (2.0 * torch.pi) + torch.tensor([0.0, 2.1, 4.2], device=d.device)
    cloth = (0.03 + 0.42 * d[:, 23:24] ** 1.6) * (1.0 + 0.42 * torch.cos(hue))
    cloth = torch.cat([cloth, d[:, 21:22]], 1)
    half_turn = 0.55 * turn
    shape, albedo = body.torso(camera.X, camera.Y - 0.03, half_turn, t, pose, cloth, camera.pixel)
    c, s, zero = half_turn.cos(), half_turn.sin(), torch.zeros_like(turn)
    frame = (
        torch.stack([c, zero, s], 1),
        torch.stack([zero, zero + 1.0, zero], 1),
        torch.stack([-s, zero, c], 1),
    )
    # The chin keeps light and sky from the neck.
    under = smooth((-0.72 - shape.y) * 2.1) * 0.72 + 0.28
    lit = under * smooth((-0.80 - shape.y) * 2.6 + 0.12)
    colour = light.shade(
        albedo,
        shape.normal,
        lamp,
        light.turned(lamp.direction, *frame),
        frame[1],
        under,
        lit,
        light.WRAP_SKIN,
    )
    _over(scene, nearest, colour, shape.cover, shape.depth - 0.02)


def _curtain(
    scene: Tensor,
    nearest: Tensor,
    camera: raymarch.Camera,
    lamp: light.Lamp,
    turn: Tensor,
    value: dict[str, Tensor],
    t: identity.Traits,
    style: dict[str, Tensor],
    age: Tensor,
) -> None:
    roll = value["roll"] * (torch.pi / 180.0)
    c, s = plane(roll.cos()), plane(roll.sin())
    X, Y = camera.X, camera.Y + 0.27
    sink = plane(-0.25 * (value["pitch"] * (torch.pi / 180.0)).sin())
    across, along = X * c - Y * s, X * s + Y * c - 0.30 + sink
    shape, colour, outline = body.curtain(across, along, turn, t, style, age, camera.pixel)
    cy, sy, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    frame = (
        torch.stack([cy, zero, sy], 1),
        torch.stack([zero, zero + 1.0, zero], 1),
        torch.stack([-sy, zero, cy], 1),
    )
    direction, half = light.turned(lamp.direction, *frame), light.turned(lamp.half, *frame)
    ny, hn = shape.normal[1], light.dot(shape.normal, half)
    along_strand = plane(half[:, 1]) - ny * hn
    shine = torch.exp(-(along_strand - 0.12).square() * 30.0) * hn.clamp(min=0.0)
    lit = smooth(shape.y * 0.5 + 1.05)
    colour = light.shade(
        colour, shape.normal, lamp, direction, frame[1], lit, lit, light.WRAP_PLAIN
    )
    _over(
        scene, nearest, colour * 0.30, outline, torch.full_like(shape.depth, -0.9)
    )  # its inside, behind the neck
    colour = colour + (colour * 1.1 + 0.010) * (shine * (1.0 - plane(style["curl"]) * 0.6))[:, None]
    _over(scene, nearest, colour, shape.cover, shape.depth)


def _head(
    scene: Tensor,
    nearest: Tensor,
    camera: raymarch.Camera,
    lamp: light.Lamp,
    shape: head.HeadShape,
    hit: raymarch.Hit,
    t: identity.Traits,
    pose: head.Pose,
    style: dict[str, Tensor],
    value: dict[str, Tensor],
    d: Tensor,
) -> None:
    frame = (camera.right, camera.up, camera.towards)
    direction, half = light.turned(lamp.direction, *frame), light.turned(lamp.half, *frame)
    normal = (hit.nx, hit.ny, hit.nz)
    x, y, z = hit.x, hit.y, hit.z
    front = smooth((z - 0.12) * 4.0)
    albedo = skin.base(x, y, z, front, t, pose)
    wet = skin.features(albedo, x, y, z, front, t, pose, camera.pixel)
    oily = 0.35 + 0.65 * spot(x * 2.6, (y - 0.10) * 1.3) * front
    at, _ = camera.window((0.0, 0.07, 0.75), 0.70)
    skin_part, oily_part = at.cut(albedo), at.cut(oily)
    sparkle = torch.zeros_like(x)
    shine = eyes.paint(
        skin_part, oily_part, at.cut(x), at.cut(y), at.cut(front), t, pose, camera.pixel
    )
    for whole, part in ((albedo, skin_part), (oily, oily_part), (sparkle, shine)):
        at.put(whole, part)
    cloth = props.mask(albedo, x, y, z, value["mask"], d[:, 13:16], camera.pixel)
    oily.mul_(1.0 - cloth)
    lock = hair.strands(t, style, pose["age"], (x, y, z), normal, half, camera.pixel)
    ragged = plane(style["ragged"])
    covered = smooth((hit.field + ragged * 0.50 * lock.grain) / (ragged * 1.9) + 0.40)
    tint_under = smooth((hit.field + 0.16) * 6.0) * (1.0 - covered)
    albedo.mul_((1.0 - 0.30 * tint_under)[:, None])
    lay(albedo, lock.colour, covered)
    open_ = (
        1.0
        - 7.0 * hit.cavity.clamp(min=0.0)
        + 3.0 * hit.cavity.clamp(max=0.0).abs().clamp(max=0.03)
    ).clamp(0.25, 1.1)
    lit = raymarch.shadow(shape, hit, direction)
    colour = light.shade(
        albedo,
        normal,
        lamp,
        direction,
        camera.up,
        open_,
        lit * (0.55 + 0.45 * open_),
        light.WRAP_SKIN,
    )
    key = plane(lamp.key) * lit
    bare = (1.0 - covered) * key
    shine = light.gloss(normal, half, 20.0) * (0.060 * oily + 0.05 * wet) + light.gloss(
        normal, half, 90.0
    ) * (0.03 * oily + 0.14 * wet)
    rim = light.edge_glow(light.dot(normal, camera.towards))
    colour = (
        colour
        + (bare * shine + sparkle * (1.0 - covered) * (1.0 - cloth) * (0.35 + 0.65 * lit))[:, None]
    )
    colour = colour * (1.0 + (0.12 * rim)[:, None])
    colour = colour + (lock.colour * 0.95 + 0.020) * (lock.shine * covered * key)[:, None]
    _over(scene, nearest, colour, hit.cover, hit.depth)
