"""How well a face detector places the five landmarks that alignment starts from.

    cdmllab bench photos_landmarks [--people N] [--one-in N] [--detector NAME --model FILE]

On rendered faces the landmarks are known, and the error is a distance to them. On photos (AT&T's
faces, LFW-a; each only where it is there) nobody knows them exactly, so a detector is compared with
itself: a mirrored, turned or halved photo has the same landmarks mirrored, turned or halved. All
errors are shares of the distance between the eyes, as the field reports them.
"""

import argparse
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from common import write
from PIL import Image

from cdmllab.data import archives, att_faces, lfw
from cdmllab.data.decode import decode, stored
from cdmllab.faces import album, expression, head, identity, raymarch
from cdmllab.photos import finding
from cdmllab.photos.detectors import NAMES, create
from cdmllab.photos.faces import Detector

POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner")
MIRRORED = [1, 0, 2, 4, 3]
TURN_DEGREES = 15.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=100, help="rendered faces of each size")
    parser.add_argument("--one-in", type=int, default=16, help="photos of a data set")
    parser.add_argument("--detector", choices=NAMES, default="mtcnn")
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    detector = create(chosen.detector, chosen.model)
    rows = [rendered(detector, chosen.people, size) for size in (64, 128, 224)]
    for name, photos in (("att_faces", att_photos), ("lfw", lfw_photos)):
        rows += consistency(detector, name, photos(chosen.one_in))
    for row in rows:
        print(row)
    write("photos_landmarks", {"detector": detector.name, "rows": rows})


def truth(people: int, size: int) -> np.ndarray:
    """Landmarks of frontal rendered faces with a plain expression, shape (people, 5, 2)."""
    drawn = album(people, 1, size=size, strength=0.0)
    t = identity.traits(identity.latents(0, torch.arange(people)))
    detail = drawn.nuisances.details[:, 0]
    pose = expression.parts(detail, drawn.nuisances.values["expression"])
    eye_x, eye_y = head.eye_centre(t)
    mouth_x, mouth_y = head.mouth_half_width(t, pose), head.mouth_centre(t)
    zero = torch.zeros_like(eye_x)
    x = torch.stack([-eye_x, eye_x, zero, -mouth_x, mouth_x], dim=1)
    y = torch.stack([eye_y, eye_y, head.nose_tip(t), mouth_y, mouth_y], dim=1)
    unit = size / (2.0 * raymarch.HALF_VIEW)
    centre = (size - 1) / 2.0
    return torch.stack([centre + unit * x, centre - unit * y], dim=2).double().numpy()


def rendered(detector: Detector, people: int, size: int) -> dict:
    images = album(people, 1, size=size, strength=0.0).images.permute(0, 2, 3, 1).numpy()
    known = truth(people, size)
    errors = []
    for image, points in zip(images, known, strict=True):
        faces = finding.look(np.ascontiguousarray(image), detector, turn=False).faces
        if faces:
            apart = np.linalg.norm(faces[0].landmarks - points, axis=1)
            errors.append(apart / np.linalg.norm(points[1] - points[0]))
    return summary(f"rendered, {size} pixels", "to the known landmarks", people, errors)


def consistency(detector: Detector, name: str, photos: Iterable[np.ndarray]) -> list[dict]:
    errors: dict[str, list[np.ndarray]] = {"mirrored": [], "turned": [], "halved": []}
    count = 0
    for photo in photos:
        count += 1
        faces = finding.look(photo, detector, turn=False).faces
        if not faces:
            continue
        face = faces[0]
        for how, (changed, moved) in changes(photo, face.landmarks).items():
            again = finding.look(changed, detector, turn=False).faces
            if again:  # the same face, where a photo has several
                apart = min(
                    (np.linalg.norm(other.landmarks - moved, axis=1) for other in again),
                    key=np.sum,
                )
                errors[how].append(apart / np.linalg.norm(moved[1] - moved[0]))
    return [summary(name, how, count, parts) for how, parts in errors.items()] if count else []


def changes(photo: np.ndarray, points: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A photo changed in three ways, with where its landmarks are then."""
    height, width, _ = photo.shape
    image = Image.fromarray(photo)
    angle = np.deg2rad(TURN_DEGREES)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([width - 1, height - 1]) / 2.0
    turned = image.rotate(TURN_DEGREES, Image.Resampling.BICUBIC)  # counterclockwise
    half = image.resize((width // 2, height // 2), Image.Resampling.BOX)
    scale = np.array([width // 2, height // 2]) / [width, height]
    mirrored = np.stack([width - 1 - points[:, 0], points[:, 1]], axis=1)[MIRRORED]
    return {
        "mirrored": (np.ascontiguousarray(photo[:, ::-1]), mirrored),
        "turned": (np.asarray(turned), (points - middle) @ turn.T + middle),
        "halved": (np.asarray(half), (points + 0.5) * scale - 0.5),
    }


def summary(data: str, label: str, images: int, errors: list[np.ndarray]) -> dict:
    table = np.array(errors).reshape(-1, 5)
    of_image = table.mean(axis=1)
    return {
        "data": data,
        "error": label,
        "images": images,
        "compared": len(table),
        "mean": round(float(of_image.mean()), 4) if len(table) else None,
        "median": round(float(np.median(of_image)), 4) if len(table) else None,
        "percentile_95": round(float(np.quantile(of_image, 0.95)), 4) if len(table) else None,
        "by_landmark": dict(zip(POINTS, np.round(table.mean(axis=0), 4).tolist(), strict=True))
        if len(table)
        else None,
    }


def att_photos(one_in: int) -> Iterable[np.ndarray]:
    """AT&T's faces at the size of the originals."""
    if not att_faces.available():
        return []
    images = np.asarray(att_faces.load().images)[::one_in]
    return [np.repeat(image, 3, axis=2) for image in images]


def lfw_photos(one_in: int) -> Iterable[np.ndarray]:
    place = lfw.archive()
    if place is None:
        return []
    if place.is_dir():
        files = sorted(place.rglob("*.jpg"))[::one_in]
        return (decode(stored(file), file.name) for file in files)
    kept = archives.members(
        place, lambda name: name.endswith(".jpg") and zlib.crc32(name.encode()) % one_in == 0
    )
    return (decode(data, name) for name, data in kept)


if __name__ == "__main__":
    main()
