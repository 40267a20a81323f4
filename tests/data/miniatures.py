"""Miniatures of all data sets in their original layout, as input for the data scripts."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from tests.backbones import face_api_package
from tests.data.making import folder, jpeg, pixels, write_pack
from tests.data.test_ijb import miniature as ijb
from tests.data.test_pair_lists import agedb as agedb_file
from tests.data.test_pair_lists import calfw_lines

PEOPLE = {f"Person_{k:02d}": 3 for k in range(20)}


def lfw_pairs() -> str:
    """Ten folds of 1 + 1 pairs, two people each."""
    lines = ["10\t1"]
    for fold in range(10):
        a, b = f"Person_{2 * fold:02d}", f"Person_{2 * fold + 1:02d}"
        lines += [f"{a}\t1\t3", f"{a}\t2\t{b}\t1"]
    return "\n".join(lines) + "\n"


def lfw(root: Path, archive: str = "lfwa.tar.gz", inside: str = "lfwa", mode: str = "L") -> Path:
    (root / "lfw").mkdir(parents=True)
    with tarfile.open(root / "lfw" / archive, "w:gz") as tar:
        for number, (person, count) in enumerate(PEOPLE.items()):
            for k in range(count):
                data = jpeg(10 * number + k, 250, mode)
                member = tarfile.TarInfo(f"{inside}/{person}/{person}_{k + 1:04d}.jpg")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    (root / "lfw/pairs.txt").write_text(lfw_pairs())
    return root


def cfp(root: Path) -> Path:
    """Two people with four frontal and two profile images each, ten folds, zipped."""
    with zipfile.ZipFile(_made(root / "cfp") / "cfp-dataset.zip", "w") as z:
        for person in (1, 2):
            for kind, count in (("frontal", 4), ("profile", 2)):
                for k in range(1, count + 1):
                    name = f"cfp-dataset/Data/Images/{person:03d}/{kind}/{k:02d}.jpg"
                    z.writestr(name, jpeg(10 * person + k, (60, 50)))
        for letter, kind, count in (("F", "frontal", 4), ("P", "profile", 2)):
            rows = [
                f"../Data/Images/{p:03d}/{kind}/{k:02d}.jpg"
                for p in (1, 2)
                for k in range(1, count + 1)
            ]
            text = "".join(f"{n} {row}\n" for n, row in enumerate(rows, 1))
            z.writestr(f"cfp-dataset/Protocol/Pair_list_{letter}.txt", text)
        for fold in range(1, 11):
            z.writestr(f"cfp-dataset/Protocol/Split/FF/{fold:02d}/same.txt", "1,2\n")
            z.writestr(f"cfp-dataset/Protocol/Split/FF/{fold:02d}/diff.txt", "1,5\n")
            z.writestr(f"cfp-dataset/Protocol/Split/FP/{fold:02d}/same.txt", "1,1\n")
            z.writestr(f"cfp-dataset/Protocol/Split/FP/{fold:02d}/diff.txt", "1,3\n")
    return root


def agedb(root: Path) -> Path:
    folds = [
        [(f"Ann{k}_1_20_0_f", f"Ann{k}_2_50_0_f"), (f"Ann{k}_1_20_0_f", f"Bob{k}_3_60_0_m")]
        for k in range(10)
    ]
    agedb_file(root / "agedb/04_FINAL_protocol_30_years.mat", folds)
    for number, name in enumerate({name for fold in folds for pair in fold for name in pair}):
        (_made(root / "agedb/03_Protocol_Images") / f"{name}.jpg").write_bytes(
            jpeg(number, 40, "L")
        )
    return root


def calfw(root: Path, name: str = "calfw", with_folds: bool = True) -> Path:
    """With one landmark file per image, as published."""
    lines, kind = calfw_lines(with_folds=with_folds), name.upper()
    marks = _made(root / name / f"{name[:2].upper()}_landmarks")
    for number, line in enumerate(lines):
        file = line.split()[0]
        (_made(root / name / "images") / file).write_bytes(jpeg(number, 120))
        points = "30 40\n80 42\n55 62\n36 85\n76 86\n"
        (marks / f"{file.removesuffix('.jpg')}_5loc_attri.txt").write_text(points)
    (root / name / f"pairs_{kind}.txt").write_text("\n".join(lines) + "\n")
    return root


def cplfw(root: Path) -> Path:
    return calfw(root, "cplfw", with_folds=False)


def ijbb(root: Path) -> Path:
    ijb(root / "ijbb", "ijbb")
    return root


def ijbc(root: Path) -> Path:
    ijb(root / "IJBC", "ijbc")
    return root


def vn_celeb(root: Path) -> Path:
    """40 people with 16 images: enough for 30 + 30 pairs in each fold of four people."""
    folder(root / "vn_celeb/images", [16] * 40, suffix=".png")
    return root


def dlib_resnet(root: Path) -> Path:
    """A network instead of images: npm's tarball with random weights."""
    face_api_package.tarball(root / "dlib_resnet/vladmandic-face-api-1.7.15.tgz")
    return root


def casia_webface(root: Path) -> Path:
    folder(root / "CASIA-WebFace", (4, 3, 2), size=20)
    return root


def ms1mv3(root: Path) -> Path:
    write_pack(root / "ms1m-retinaface-t1", size=112)
    return root


def omniglot(root: Path) -> Path:
    with zipfile.ZipFile(_made(root / "omniglot-py") / "images_background_small1.zip", "w") as z:
        for alphabet, characters in (("Greek", 3), ("Latin", 2)):
            for c in range(1, characters + 1):
                for k in range(1, 5):
                    stream = io.BytesIO()
                    ink = Image.fromarray(
                        np.where(pixels(100 * c + k, 105, 1)[..., 0] > 128, 255, 0).astype(np.uint8)
                    )
                    ink.convert("1").save(stream, "PNG")
                    name = (
                        f"images_background_small1/{alphabet}/character{c:02d}/{c:04d}_{k:02d}.png"
                    )
                    z.writestr(name, stream.getvalue())
    return root


def att_faces(root: Path) -> Path:
    for person in range(1, 21):
        for k in range(1, 11):
            file = _made(root / f"att_faces/s{person}") / f"{k}.pgm"
            Image.fromarray(pixels(20 * person + k, (112, 92), 1)[..., 0]).save(file)
    return root


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
