"""Ears, glasses and masks on a head, and hands and bars in front of it."""

import torch
from torch import Tensor

from cdmllab.faces import light
from cdmllab.faces.compositing import inside, lay, plane, smooth, spot, stripe, tint
from cdmllab.faces.identity import Traits
from cdmllab.faces.raymarch import Camera


def ear(
    side: float,
    scene: Tensor,
    nearest: Tensor,
    camera: Camera,
    lamp: light.Lamp,
    t: Traits,
    style: dict[str, Tensor],
) -> None:
    """Draw an ear into the scene, in place: a flat ellipsoid off the head with a painted hollow.

    Parameters
    ----------
    side : 1 for the ear on the right of a frontal image, -1 for the other
    scene, nearest : linear colours (b, 3, h, w), and the depth (b, h, w) of what they show
    """
    # In units of its half axes the ear is a unit sphere, which every ray meets in closed form.
    one = torch.ones_like(t["male"])
    flare = 0.50 + 0.12 * t["ear_angle"]
    tall, deep = 0.185 * (1.0 + 0.07 * t["ear_size"]), 0.115 * (1.0 + 0.06 * t["ear_size"])
    hidden = plane((style["side"] < -30.0).float())  # long styles cover it
    frame = (camera.right, camera.up, camera.towards)
    # Where the ear sits, and its axes: backwards and outwards, up, and out of its plane.
    centre = torch.stack(
        [
            side * (0.685 + 0.022 * t["face_width"] + 0.05 * flare),
            0.0 * one - 0.13,
            0.0 * one - 0.10,
        ],
        1,
    )
    back = torch.stack([side * flare.sin(), 0.16 * one, -flare.cos()], 1)
    back = back / back.norm(dim=1, keepdim=True)
    up = torch.tensor([[0.0, 1.0, -0.12]], device=one.device).expand(len(one), 3)
    up = up - (up * back).sum(1, keepdim=True) * back
    up = up / up.norm(dim=1, keepdim=True)
    out = torch.linalg.cross(up, back) * -side
    axes = (back / deep[:, None], up / tall[:, None], out / 0.042)
    # Rays in the ear's own units: where they are at t = 0, and their direction.
    foot = [camera.affine(a, -(a * centre).sum(1)) for a in axes]
    ray = [plane(-(a * camera.towards).sum(1)) for a in axes]
    a = ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2
    b = foot[0] * ray[0] + foot[1] * ray[1] + foot[2] * ray[2]
    k = foot[0] ** 2 + foot[1] ** 2 + foot[2] ** 2 - b * b / a
    k = k.clamp(min=0.0)  # squared distance of the ray, in radii
    # The near side, or the closest approach.
    t_hit = -(b + ((1.0 - k).clamp(min=0.0) * a).sqrt()) / a
    q = [f + t_hit * r for f, r in zip(foot, ray, strict=True)]
    # From radii to image units; fewer where the ear is seen from its edge.
    narrow = plane(0.05 + 0.07 * (axes[2] * camera.towards).sum(1).abs() * 0.042)
    cover = inside((k.sqrt() - 1.0) * narrow, camera.pixel) * (1.0 - hidden)
    # The gradient of the sphere, back in head space.
    normal = [
        plane(axes[0][:, i]) * q[0] + plane(axes[1][:, i]) * q[1] + plane(axes[2][:, i]) * q[2]
        for i in range(3)
    ]
    length = (normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2).clamp(min=1e-9).rsqrt()
    n = (normal[0] * length, normal[1] * length, normal[2] * length)
    skin = t["skin"] * t["skin"] * torch.tensor([[1.0, 0.88, 0.86]], device=one.device)
    albedo = skin[:, :, None, None].expand(-1, -1, *k.shape[1:]).clone()
    # u runs from front to back and w upwards; paint the rim's groove and the hollow.
    u, w = q[0], q[1]
    outer = (u * u + w * w).sqrt()
    groove = stripe(outer - 0.72, 0.10, 0.16) * smooth((w + 0.55) * 2.0) * smooth((u + 0.4) * 2.0)
    hollow = spot((u + 0.18) * 2.6, (w + 0.02) * 2.4)
    tint(
        albedo,
        torch.tensor([0.62, 0.48, 0.45], device=one.device),
        (groove * 0.75 + hollow).clamp(max=1.0),
    )
    tint(
        albedo,
        torch.tensor([1.12, 1.05, 1.04], device=one.device),
        stripe(outer - 0.48, 0.07, 0.16) * smooth(u * 3.0 + 0.6),
    )
    lit = torch.ones_like(k)
    colour = light.shade(
        albedo,
        n,
        lamp,
        light.turned(lamp.direction, *frame),
        camera.up,
        lit * 0.9,
        lit * 0.85,
        light.WRAP_SKIN,
    )
    depth = -t_hit
    # A soft depth test, as in `layers`.
    seen = cover * ((depth - nearest) * 40.0 + 0.5).clamp(0.0, 1.0)
    lay(scene, colour, seen)
    nearest.copy_(torch.where(seen > 0.5, depth, nearest))


def glasses(scene: Tensor, nearest: Tensor, camera: Camera, strength: Tensor, d: Tensor) -> None:
    """Draw glasses into the scene, in place.

    The frame appears up to a strength of 1/3, above it the lenses darken to sunglasses. `d` (b, 3)
    in (0, 1) are the shape of the lenses, the thickness of the frame and the colour.
    """
    z_front = 0.90
    eye = torch.eye(3, device=strength.device)
    # Points of the rays at t = 0, and their direction, in head space.
    fx, fy, fz = (camera.affine(eye[i].expand_as(camera.right)) for i in range(3))
    dx, dy, dz = (plane(-camera.towards[:, i]) for i in range(3))
    # Kept away from 0, where the rays are parallel to the plane of the lenses.
    safe = torch.where(dz.abs() < 0.08, -0.08, dz)
    amount = plane(strength)
    worn = smooth(amount * 3.0)
    shape = plane(d[:, 0])
    # The front bends back towards the temples: hit the flat plane, then correct the depth once.
    t_hit = (z_front - fz) / safe
    bend = 0.16 * ((fx + t_hit * dx).clamp(-0.7, 0.7)) ** 2
    t_hit = (z_front - bend - fz) / safe
    x, y = fx + t_hit * dx, fy + t_hit * dy
    # Both lenses at once: coordinates from the middle of a lens, mirrored on the left.
    u, w = x.abs() - 0.30, y + 0.015
    half_w, half_h = 0.215, 0.125 + 0.045 * shape
    round_ = 0.07 + 0.07 * shape
    # Signed distance to a rectangle with rounded corners.
    qx, qy = u.abs() - half_w + round_, w.abs() - half_h + round_
    lens = (
        (qx.clamp(min=0.0) ** 2 + qy.clamp(min=0.0) ** 2).sqrt()
        + torch.maximum(qx, qy).clamp(max=0.0)
        - round_
    )
    width = 0.011 + 0.016 * plane(d[:, 1])
    frame = stripe(lens, width, camera.pixel)
    bridge = stripe(
        w - 0.045 - 0.25 * (0.085 - x.abs()).clamp(min=0.0), width, camera.pixel
    ) * inside(x.abs() - 0.09, camera.pixel)
    # Hidden where the head is nearer, and left out where seen edge-on.
    facing = (dz.abs() > 0.10).float()
    near = ((-t_hit - nearest) * 30.0 + 1.0).clamp(0.0, 1.0) * facing
    dark = torch.lerp(
        torch.tensor([[0.012, 0.012, 0.014]], device=d.device),
        torch.tensor([[0.10, 0.045, 0.02]], device=d.device),
        (d[:, 2:3] > 0.6).float(),
    )
    glass = inside(lens, camera.pixel) * near
    # Almost clear at first, dark from a strength of about a third on.
    lay(scene, dark, glass * (0.05 * worn + 0.90 * smooth((amount - 0.35) * 1.6)))
    glint = glass * stripe(u * 0.8 + w - 0.02, 0.03, 0.05) * worn
    lay(scene, torch.full_like(dark, 0.8), glint * 0.10)
    lay(scene, dark, torch.maximum(frame, bridge) * near * worn)
    # Arms to the ears, visible where the head does not hide them.
    right, up = camera.right, camera.up
    for side in (-1.0, 1.0):
        # Both ends of an arm: at the front, and at the ear.
        ends = [
            torch.tensor([side * px, 0.03, pz], device=d.device)
            for px, pz in ((0.515, z_front - 0.05), (0.73, -0.05))
        ]
        a, b = ([((e - camera.origin) * axis).sum(1) for axis in (right, up)] for e in ends)
        ax, ay, bx, by = (plane(v) for v in (*a, *b))
        ex, ey = bx - ax, by - ay
        # Distance to the segment between the two ends, and the depth along it.
        along = (
            ((camera.X - ax) * ex + (camera.Y - ay) * ey) / (ex * ex + ey * ey).clamp(min=1e-4)
        ).clamp(0.0, 1.0)
        distance = ((camera.X - ax - along * ex) ** 2 + (camera.Y - ay - along * ey) ** 2).sqrt()
        za, zb = (plane(((e - camera.origin) * camera.towards).sum(1)) for e in ends)
        depth = za + along * (zb - za) + 0.10
        arm = inside(distance - width * 0.9, camera.pixel) * ((depth - nearest) * 30.0 + 0.5).clamp(
            0.0, 1.0
        )
        lay(scene, dark, arm * worn)


def mask(
    albedo: Tensor, x: Tensor, y: Tensor, z: Tensor, strength: Tensor, d: Tensor, pixel: float
) -> Tensor:
    """Paint a cloth mask over the face in place, and return its cover, shape (b, h, w).

    With growing strength it extends from the chin up to the nose. `d` (b, 3) in (0, 1) are random
    choices, of which the first is the colour.
    """
    if not bool((strength > 0).any()):
        return torch.zeros_like(x)
    amount = plane(strength)
    # The upper edge: higher with strength, highest over the nose, lower at the sides.
    top = -1.12 + 0.95 * amount + 0.05 * torch.exp(-((x / 0.13) ** 2)) - 0.22 * x * x
    side = inside(x.abs() - 0.56 - 0.06 * torch.cos((y + 0.6) * 4.0), 0.03) * (z > 0.0)
    edge = y - top  # negative below it
    cover = inside(edge, pixel) * side * (amount > 0)
    tones = torch.tensor(
        [[0.42, 0.62, 0.74], [0.80, 0.80, 0.80], [0.035, 0.035, 0.04], [0.30, 0.42, 0.34]],
        device=x.device,
    )
    colour = tones[(d[:, 0] * 4).long().clamp(max=3)]
    lay(albedo, colour, cover)
    pleats = torch.zeros_like(x)
    for below in (0.16, 0.30, 0.44):
        pleats = pleats + stripe(edge + below - 0.03 * x * x, 0.006, 0.03)
    tint(albedo, torch.tensor([0.70, 0.72, 0.75], device=x.device), pleats * cover * 0.8)
    tint(
        albedo,
        torch.tensor([0.82, 0.83, 0.85], device=x.device),
        stripe(edge + 0.03, 0.005, 0.02) * cover,
    )
    # Two straps from the edges of the mask to the ear.
    strap = torch.minimum(
        (y - 0.35 * (x.abs() - 0.56) - top + 0.05).abs(), (y + 0.75 - 0.75 * (x.abs() - 0.56)).abs()
    )
    strap = inside(strap - 0.010, pixel) * (x.abs() > 0.5) * (z > -0.1) * smooth(amount * 4.0)
    lay(albedo, torch.full_like(colour, 0.75), strap)
    return cover


def hand(scene: Tensor, camera: Camera, strength: Tensor, d: Tensor) -> None:
    """Draw a hand or a bar over the image, in place, which covers more of it with more strength.

    `d` (b, 6) in (0, 1) are the side it enters from, its angle, its height, hand or bar, the tone
    of the skin, and the brightness of the bar.
    """
    # The hand enters from one side; the other is the same mirrored.
    side = torch.where(d[:, 0] < 0.5, -1.0, 1.0)
    X, Y = camera.X * plane(side), camera.Y
    amount = plane(strength)
    lean = plane(d[:, 1] - 0.3)
    c, s = lean.cos(), lean.sin()
    # Along the arm, which enters at X = 1.35 and reaches to negative values, and across it.
    y0 = plane(-0.75 + 0.75 * d[:, 2])
    along, across = (X - 1.35) * c + (Y - y0) * s, -(X - 1.35) * s + (Y - y0) * c
    reach = 2.1 * amount
    is_bar = plane((d[:, 3] < 0.4).float())
    # Negative inside the bar, whose width and reach grow with strength.
    bar = torch.maximum(across.abs() - (0.05 + 0.30 * amount), -along - reach - 0.2)
    skin = torch.lerp(
        torch.tensor([[0.20, 0.10, 0.06]], device=d.device),
        torch.tensor([[0.78, 0.52, 0.41]], device=d.device),
        d[:, 4:5],
    )
    paint = torch.tensor([[0.25, 0.42, 0.50]], device=d.device) * (0.3 + 1.2 * d[:, 5:6])
    # Shaded like a cylinder.
    round_ = (1.0 - (across / (0.05 + 0.30 * amount)) ** 2).clamp(min=0.0).sqrt()
    lay(
        scene,
        paint[:, :, None, None] * (0.45 + 0.55 * round_)[:, None],
        inside(bar, camera.pixel) * is_bar * (amount > 0),
    )
    rest = (1.0 - is_bar) * (amount > 0)
    # The place of each finger across the hand, and its length.
    for finger, length in ((-0.27, 0.74), (-0.09, 0.96), (0.09, 1.0), (0.27, 0.86)):
        base = -reach * length - 0.05
        dx = (base + 0.09 - along).clamp(min=0.0)
        off = across - finger * (1.0 + 0.25 * (-along).clamp(0.0, 1.0))
        distance = (dx * dx + off * off).sqrt() - 0.088
        bulge = (1.0 - ((distance + 0.088) / 0.088) ** 2).clamp(min=0.0).sqrt()
        knuckle = (
            1.0
            - 0.22 * stripe(along - base - 0.30, 0.008, 0.03)
            - 0.22 * stripe(along - base - 0.55, 0.008, 0.03)
        )
        colour = skin[:, :, None, None] * ((0.42 + 0.50 * bulge) * knuckle)[:, None]
        lay(scene, colour, inside(distance, camera.pixel) * rest)
