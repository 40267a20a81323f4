import numpy as np
import pytest
from tests.data.making import jpeg
from tests.data.test_ijb import miniature

from cdmllab.data import bins, paths, verification
from cdmllab.errors import DataError
from cdmllab.evaluate import protocols, verify

JPEGS = [jpeg(k) for k in range(40)]
SAME = [True, False] * 10


def test_table_has_all_usual_sets():
    assert verification.names() == (
        *("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw", "ijbb", "ijbc", "vn_celeb"),
    )


@pytest.mark.parametrize(
    "place", ["verification/lfw.bin", "lfw.bin", "faces_emore/lfw.bin", "verification/lfw.npz"]
)
def test_bins_are_found_where_scripts_and_where_insightface_put_them(data, place):
    bins.write(data / "made.bin", JPEGS, SAME)
    (data / place).parent.mkdir(exist_ok=True)
    if place.endswith("npz"):
        bins.write_npz(data / place, bins.read(data / "made.bin"))
    else:
        (data / "made.bin").rename(data / place)
    assert verification.available("lfw").path == data / place
    lfw = verification.load("lfw")
    assert lfw.images.shape == (40, 16, 16, 3)
    assert np.bincount(lfw.pairs.fold).tolist() == [2] * 10
    result = verify(lfw.images.reshape(40, -1).astype(float), lfw.pairs)
    assert result.scores.shape == (20,)


def test_missing_set_names_its_script(data):
    missing = verification.available("agedb_30")
    assert not missing
    assert "python data_scripts/agedb.py" in missing.how_to_get
    assert str(data) in missing.how_to_get
    with pytest.raises(DataError, match=r"AgeDB-30 is missing .*agedb\.py"):
        verification.load("agedb_30")
    with pytest.raises(DataError, match=r"ijbb\.py"):
        verification.load_templates("ijbb")


def test_template_sets_are_loaded(data):
    miniature(data / "ijbc")
    assert verification.available("ijbc")
    assert len(verification.load_templates("ijbc")) == 5
    with pytest.raises(ValueError, match="load_templates"):
        verification.load("ijbc")
    with pytest.raises(ValueError, match=r"load\('lfw'\)"):
        verification.load_templates("lfw")


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown verification set 'megaface'; the sets are lfw"):
        verification.load("megaface")


def test_data_folders_are_searched_in_order(tmp_path, monkeypatch):
    for name in ("a", "b", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "b/x.txt").touch()
    (tmp_path / "data/x.txt").touch()
    (tmp_path / "data/y.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.VARIABLE, f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'none'}")
    assert paths.find("x.txt") == tmp_path / "b/x.txt"
    assert paths.find("y.txt").resolve() == tmp_path / "data/y.txt"
    assert paths.find("z.txt", "y.txt") is not None
    assert paths.find("z.txt") is None
    assert paths.to_write() == tmp_path / "a"
    monkeypatch.delenv(paths.VARIABLE)
    assert str(paths.to_write()) == "data"


def test_ijb_faces_have_the_networks_size_and_its_landmarks_change_the_digest(data):
    root = miniature(data / "ijbc")
    ijbc = protocols.load("ijbc", 64)
    assert ijbc.images.read([0, 3]).shape == (2, 64, 64, 3)
    assert protocols.load("ijbc").images.read([0]).shape == (1, 112, 112, 3)
    marks = root / "meta/ijbc_name_5pts_score.txt"
    marks.write_text(marks.read_text().replace("46.124", "47.124"))
    assert protocols.load("ijbc", 64).digest() != ijbc.digest()
