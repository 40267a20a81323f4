"""Folders of photos: listing, reading, comparing, and the report."""

import re

import numpy as np
import pytest
from PIL import Image
from tests.photos.making import Dots, dotted, network

from cdmllab.cli.photos import network_and_evaluation
from cdmllab.data import folders
from cdmllab.data.align import TEMPLATE_112
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.photos import album, listing, report
from cdmllab.photos.page import page


def dot_photo(path, eyes_px=35.0, jitter=0.0):
    """A photo with one dotted face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = TEMPLATE_112 * eyes_px / 35.2 + 20 + jitter
    side = int(112 * eyes_px / 35.2) + 60
    Image.fromarray(dotted(points, side, side, 3.0)).save(path)
    return path


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "people"
    for person in ("Ann", "Bob <b>", "Cid"):
        for k in range(3):
            dot_photo(root / person / f"{k}.png", 30 + 5 * k, 3.0 * len(person))
    return root


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_and_evaluation(network(tmp_path_factory.mktemp("net") / "n.safetensors"),
                                  None, None, 1)[0]  # fmt: skip


# Listing


def test_folders_are_people_and_loose_photos_next_to_them_are_reported(people):
    dot_photo(people / "loose.png")
    source = listing.photos_in(people)
    assert source.people == ("Ann", "Bob <b>", "Cid")
    assert [photo.person for photo in source.photos] == [0] * 3 + [1] * 3 + [2] * 3
    assert [item.name for item in source.left_out] == ["loose.png"]


def test_without_folders_or_by_likeness_no_one_is_labelled(people):
    assert listing.photos_in(people / "Ann").people == ()
    assert len(listing.photos_in(people / "Ann").photos) == 3
    dot_photo(people / "loose.png")
    source = listing.photos_in(people, people=False)
    assert (len(source.photos), source.people, source.left_out) == (10, (), ())


def test_clutter_and_patterns_are_left_out_of_photos_as_of_packs(people):
    for name in ("Ann/@eaDir/0.png", "Ann/._0.png", "__MACOSX/Dan/0.png", "Bob <b>/small_0.png"):
        dot_photo(people / name)
    ignore = ["SMALL_*"]
    listed = folders.listing(people, ignore=ignore)
    source = listing.photos_in(people, ignore=ignore)
    assert source.people == listed.names == ("Ann", "Bob <b>", "Cid")
    assert tuple(photo.path for photo in source.photos) == listed.files
    assert len(source.photos) == 9
    assert source.left_out == listed.left_out
    assert {item.why for item in source.left_out} == {
        "ignored (@eaDir)", "ignored (.*)", "ignored (__MACOSX)", "ignored (SMALL_*)"
    }  # fmt: skip


def test_folder_without_images_is_refused_with_its_contents(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        listing.photos_in(tmp_path / "none")
    (tmp_path / "clip.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"contains no images .*skipped 1 \(clip.heic\)"):
        listing.photos_in(tmp_path)


def test_sample_draws_people_with_all_their_photos(people):
    source = listing.photos_in(people)
    some = listing.sampled(source, 7, seed=1)
    assert len(some.photos) == 6
    assert len(some.people) == 2
    assert {photo.name.split("/")[0] for photo in some.photos} == set(some.people)
    assert sorted({photo.person for photo in some.photos}) == [0, 1]
    assert listing.sampled(source, 9) is source
    with pytest.raises(CdmlLabError, match="alone has 3 photos, more than the 2"):
        listing.sampled(source, 2)
    loose = listing.photos_in(people, people=False)
    assert len(listing.sampled(loose, 4).photos) == 4


def test_more_photos_than_fit_into_memory_are_refused_before_any_is_read(people):
    source = listing.photos_in(people)
    listing.refuse_too_many(source, 9)
    with pytest.raises(CdmlLabError, match=r"9 photos, and every pair .*people with --sample 8$"):
        listing.refuse_too_many(source, 8)


# Reading


def test_every_photo_has_an_outcome_and_bad_ones_are_named(people, net):
    (people / "Ann/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (60, 60)).save(people / "Bob <b>/empty.png")
    dot_photo(people / "Cid/tiny.png", 12.0)
    faces = album.read(listing.photos_in(people), net, Dots(), least_eyes_px=15.0)
    assert len(faces.items) == 9
    assert faces.embeddings.shape == (9, 8)
    assert faces.person.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert sorted(faces.missing) == ["Ann/broken.png", "Bob <b>/empty.png", "Cid/tiny.png"]
    assert "cannot be decoded" in faces.missing["Ann/broken.png"]
    assert "no face was found" in faces.missing["Bob <b>/empty.png"]
    assert "pixels between the eyes" in faces.missing["Cid/tiny.png"]


def test_embeddings_are_those_of_the_aligned_faces_in_order(people, net):
    kept = []
    faces = album.read(
        listing.photos_in(people), net, Dots(), keep=lambda item, pixels: kept.append(pixels)
    )
    assert (net.embed(np.stack(kept)) == faces.embeddings).all()
    assert kept[0].shape == (32, 32, 3)


class Two:
    """Finds the dotted face twice: in its place, and smaller 200 pixels to the right."""

    name = "two"

    def find(self, pixels):
        (face,) = Dots().find(pixels)
        less = face.landmarks.mean(0) + (face.landmarks - face.landmarks.mean(0)) * 0.6
        return [face._replace(box=face.box * 0.6, landmarks=less), face]


def test_labelled_photos_use_the_largest_face_and_unlabelled_ones_all_faces(people, net):
    known = album.read(listing.photos_in(people), net, Two())
    assert [(item.number, item.total) for item in known.items] == [(1, 2)] * 9
    unknown = album.read(listing.photos_in(people, people=False), net, Two())
    assert [(item.number, item.total) for item in unknown.items] == [(1, 2), (2, 2)] * 9
    assert unknown.items[0].eyes_px > unknown.items[1].eyes_px


def test_more_faces_than_fit_into_memory_are_refused(people, net, monkeypatch):
    monkeypatch.setattr(album, "MOST_FACES", 8)
    with pytest.raises(CdmlLabError, match=r"more than 8 faces, .* with --sample$"):
        album.read(listing.photos_in(people), net, Dots())


def test_photos_without_any_face_are_refused_in_one_sentence(tmp_path, net):
    Image.new("RGB", (60, 60)).save(tmp_path / "empty.png")
    with pytest.raises(
        CdmlLabError, match=r"none of the 1 photos .*; empty.png: no face was found"
    ):
        album.read(listing.photos_in(tmp_path), net, Dots())


def test_grey_network_of_another_size_and_crop_gets_the_input_its_file_records(people, tmp_path):
    given = network(tmp_path / "odd.safetensors", size=48, crop=[5.0, 21.75, 107.0, 123.75])
    odd = network_and_evaluation(given, None, None, 1)[0]
    kept = []
    album.read(listing.photos_in(people), odd, Dots(), keep=lambda item, x: kept.append(x))
    (face,) = Dots().find(kept[0])
    expected = (TEMPLATE_112 - [5.0, 21.75]) * 48 / 102
    assert face.landmarks == pytest.approx(expected, abs=1.0)


# The report


def test_the_page_loads_nothing_and_shows_every_face(people, net):
    (people / "Cid/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    read = album.read(listing.photos_in(people), net, Dots())
    text = page(report.findings(read, 0.1), net, "dots")
    assert "<script" not in text
    assert "default-src 'none'" in text
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"url\(|@import|https?:", text)
    assert "Bob <b>" not in text.replace("Bob &lt;b&gt;", "")
    sheet = text[text.index('id="sheet"') :]
    assert sheet.count("<figure>") == 9
    assert "Cid/broken.png: the image cannot be decoded" in sheet
    for words in ("not the probability", "Relatives", "must never decide"):
        assert words in text
    assert "no interval: 3 people are too few, 10 are needed" in text


def test_unlabelled_photos_need_a_threshold_for_grouping(people, net):
    read = album.read(listing.photos_in(people, people=False), net, Dots())
    with pytest.raises(CdmlLabError, match=r"has no folder per person.*--calibration or"):
        report.findings(read, 0.1)
    findings = report.findings(read, 0.1, cut=0.99999999)
    assert len(set(findings.group.tolist())) > 1
    assert findings.names[0] == "group 1"
    assert "groups by likeness" in page(findings, net, "dots")
    assert set(report.findings(read, 0.1, cut=-1.0).group.tolist()) == {0}


def test_two_faces_of_one_photo_in_one_group_are_pointed_out(people, net):
    read = album.read(listing.photos_in(people, people=False), net, Two())
    findings = report.findings(read, 0.1, cut=-1.0)
    assert len(findings.one_photo) == 9
    assert "A person is in a photo once" in page(findings, net, "dots")
