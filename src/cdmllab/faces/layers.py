"""The layers of an image from back to front: room, neck and shoulders, hanging hair, head.

Each layer is shaded and drawn into the scene, linear colours (b, 3, h, w), in place. ``nearest``
(b, h, w) is the depth of what the scene shows, larger is nearer; a layer covers only what lies
behind it.
"""

import torch
from torch import Tensor

from cdmllab.faces import body, eyes, hair, identity, light, props, raymarch, skin
from cdmllab.faces.compositing import lay, plane, smooth, spot
from cdmllab.faces.head import HeadShape, Pose


def background(d: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    """A blurred room, linear (b, 3, h, w): two colours and two soft patches of light."""
    # Colours as cosines of a hue, a third of a turn apart for red, green and blue.
    hue = d[:, 0] * (2.0 * torch.pi)
    shift = torch.tensor([0.0, 2.1, 4.2], device=d.device)
    base = 0.36 + 0.20 * d[:, 1:2] + 0.05 * torch.cos(hue[:, None] + shift)
    other = base * (0.55 + 0.35 * d[:, 2:3]) + 0.03 * torch.cos(hue[:, None] + 1.5 + shift)
    # The two colours meet along a line in a random direction.
    share = smooth(0.5 + 0.32 * (X * plane(d[:, 3] - 0.5) * 2.0 + Y * plane(d[:, 4])))
    out = torch.lerp(other[:, :, None, None], base[:, :, None, None], share[:, None])
    for k in (5, 6):
        # A light patch and a dark one.
        glow = spot(
            (X - plane(d[:, k] * 3.0 - 1.5)) * 1.3, (Y - plane(d[:, 12 - k] * 1.6 - 0.4)) * 1.3
        )
        out = out * (1.0 + (0.28 if k == 5 else -0.22) * glow[:, None])
    return out


def _draw_over(
    scene: Tensor, nearest: Tensor, colour: Tensor, cover: Tensor, depth: Tensor
) -> None:
    """Draw a layer over the scene where it is nearer than what is there, in place."""
    # A soft depth test over 1/40 of a unit: a hard one would leave jagged edges where layers meet.
    visible = cover * ((depth - nearest) * 40.0 + 0.5).clamp(0.0, 1.0)
    lay(scene, colour, visible)
    nearest.copy_(torch.where(visible > 0.5, depth, nearest))


def torso(
    scene: Tensor,
    nearest: Tensor,
    camera: raymarch.Camera,
    lamp: light.Lamp,
    turn: Tensor,
    t: identity.Traits,
    pose: Pose,
    d: Tensor,
) -> None:
    """Draw neck, shoulders and clothes; `turn` (b,) is the yaw in radians."""
    # The hue and the brightness of the clothes, and the cut of the collar.
    hue = d[:, 22:23] * (2.0 * torch.pi) + torch.tensor([0.0, 2.1, 4.2], device=d.device)
    cloth = (0.03 + 0.42 * d[:, 23:24] ** 1.6) * (1.0 + 0.42 * torch.cos(hue))
    cloth = torch.cat([cloth, d[:, 21:22]], 1)
    half_turn = 0.55 * turn  # shoulders follow the head about half the way
    shape, albedo = body.torso(camera.X, camera.Y - 0.03, half_turn, t, pose, cloth, camera.pixel)
    # The axes of the body in image space: it turns about the vertical only.
    c, s, zero = half_turn.cos(), half_turn.sin(), torch.zeros_like(turn)
    frame = (
        torch.stack([c, zero, s], 1),
        torch.stack([zero, zero + 1.0, zero], 1),
        torch.stack([-s, zero, c], 1),
    )
    # The chin shades the neck from lamp and sky.
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
    _draw_over(scene, nearest, colour, shape.cover, shape.depth - 0.02)


def hanging_hair(
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
    """Draw long hair behind and around the face; `turn` (b,) is the yaw in radians."""
    roll = value["roll"] * (torch.pi / 180.0)
    c, s = plane(roll.cos()), plane(roll.sin())
    # The curtain of hair is an upright body: undo the head's roll about a pivot 0.27 below the
    # centre of the image, and sink it as the head nods.
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
    # The half vector's component along the upright strands, see `hair.strands`.
    ny, hn = shape.normal[1], light.dot(shape.normal, half)
    along_strand = plane(half[:, 1]) - ny * hn
    shine = torch.exp(-(along_strand - 0.12).square() * 30.0) * hn.clamp(min=0.0)
    lit = smooth(shape.y * 0.5 + 1.05)  # darker towards the ends
    colour = light.shade(
        colour, shape.normal, lamp, direction, frame[1], lit, lit, light.WRAP_PLAIN
    )
    # First its dark inside, far behind the neck, then the side that faces the camera.
    _draw_over(scene, nearest, colour * 0.30, outline, torch.full_like(shape.depth, -0.9))
    colour = colour + (colour * 1.1 + 0.010) * (shine * (1.0 - plane(style["curl"]) * 0.6))[:, None]
    _draw_over(scene, nearest, colour, shape.cover, shape.depth)


def face(
    scene: Tensor,
    nearest: Tensor,
    camera: raymarch.Camera,
    lamp: light.Lamp,
    shape: HeadShape,
    hit: raymarch.Hit,
    t: identity.Traits,
    pose: Pose,
    style: dict[str, Tensor],
    value: dict[str, Tensor],
    d: Tensor,
) -> None:
    """Draw the head with skin, features, mask and short hair, where the rays hit it."""
    frame = (camera.right, camera.up, camera.towards)
    direction, half = light.turned(lamp.direction, *frame), light.turned(lamp.half, *frame)
    normal = (hit.nx, hit.ny, hit.nz)
    x, y, z = hit.x, hit.y, hit.z
    front = smooth((z - 0.12) * 4.0)  # 1 where it faces forward, 0 from the ears on
    albedo = skin.base(x, y, z, front, t, pose)
    wet = skin.features(albedo, x, y, z, front, t, pose, camera.pixel)
    oily = 0.35 + 0.65 * spot(x * 2.6, (y - 0.10) * 1.3) * front  # forehead and nose shine most
    # Eyes and brows are painted in a window around them only, which takes a fraction of the time.
    at, _ = camera.window((0.0, 0.07, 0.75), 0.70)
    skin_part, oily_part = at.cut(albedo), at.cut(oily)
    sparkle = torch.zeros_like(x)
    shine = eyes.paint(
        skin_part, oily_part, at.cut(x), at.cut(y), at.cut(front), t, pose, camera.pixel
    )
    for image, part in ((albedo, skin_part), (oily, oily_part), (sparkle, shine)):
        at.put(image, part)
    cloth = props.mask(albedo, x, y, z, value["mask"], d[:, 13:16], camera.pixel)
    oily.mul_(1.0 - cloth)
    lock = hair.strands(t, style, pose["age"], (x, y, z), normal, half, camera.pixel)
    ragged = plane(style["ragged"])
    # Hair begins at the hairline, with an edge as ragged as the style's.
    covered = smooth((hit.field + ragged * 0.50 * lock.grain) / (ragged * 1.9) + 0.40)
    # A soft shadow on the skin just outside the hairline.
    near_hair = smooth((hit.field + 0.16) * 6.0) * (1.0 - covered)
    albedo.mul_((1.0 - 0.30 * near_hair)[:, None])
    lay(albedo, lock.colour, covered)
    # The cavity approximates ambient occlusion: hollows see less of the sky, ridges a little more.
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
    # Highlights are of the lamp alone; skin has them where no hair covers it.
    key = plane(lamp.key) * lit
    bare = (1.0 - covered) * key
    # A broad highlight and a narrow one, each stronger on lips and teeth.
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
    _draw_over(scene, nearest, colour, hit.cover, hit.depth)
