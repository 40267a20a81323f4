import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cdmllab.data import agedb_names, pair_lists
from cdmllab.errors import DataError


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def named_pairs(pair_list):
    p = pair_list.pairs
    names = pair_list.names
    return [
        (names[a], names[b], bool(s), int(f))
        for a, b, s, f in zip(p.first, p.second, p.same, p.fold, strict=True)
    ]


LFW = ("2\t1", "A_B\t1\t12", "A_B\t3\tC\t2", "C\t1\t2", "C\t1\tD\t1")


def test_lfw_view_2_is_read_in_folds(tmp_path):
    assert named_pairs(pair_lists.lfw(text(tmp_path / "pairs.txt", *LFW))) == [
        ("A_B/A_B_0001.jpg", "A_B/A_B_0012.jpg", True, 0),
        ("A_B/A_B_0003.jpg", "C/C_0002.jpg", False, 0),
        ("C/C_0001.jpg", "C/C_0002.jpg", True, 1),
        ("C/C_0001.jpg", "D/D_0001.jpg", False, 1),
    ]


def test_path_of_a_list_may_be_a_string(tmp_path):
    path = text(tmp_path / "pairs.txt", *LFW)
    assert pair_lists.lfw(str(path)).names == pair_lists.lfw(path).names


def test_lfw_view_1_is_one_fold(tmp_path):
    pair_list = pair_lists.lfw(text(tmp_path / "pairs.txt", "1", "A\t1\t2", "A\t1\tB\t1"))
    assert pair_list.pairs.fold.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("x\t1", "A\t1\t2"), "line 1: expected `folds pairs`"),
        (LFW[:-1], r"declares 2 folds of 1 \+ 1 pairs, but 3 lines follow"),
        ((*LFW[:3], "C\t1\tD\t2", LFW[4]), "line 4: expected `name n m`"),
        ((*LFW[:4], "C\t1\t2"), "line 5: expected `name n name m`"),
        ((*LFW[:3], "C\tone\t2", LFW[4]), "line 4"),
        ((), "is empty"),
    ],
)
def test_lfw_lists_of_another_form_are_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        pair_lists.lfw(text(tmp_path / "pairs.txt", *lines))


def cfp(root: Path, unequal: bool = False) -> Path:
    text(
        root / "Pair_list_F.txt", *(f"{k} ../Data/Images/00{k}/frontal/01.jpg" for k in range(1, 5))
    )
    text(
        root / "Pair_list_P.txt", *(f"{k} ../Data/Images/00{k}/profile/02.jpg" for k in range(1, 3))
    )
    for kind in ("FF", "FP"):
        for fold in ("01", "02"):
            text(root / f"Split/{kind}/{fold}/same.txt", "1,1" if kind == "FP" else "1,2")
            text(
                root / f"Split/{kind}/{fold}/diff.txt",
                "4,2",
                *(["3,1"] if unequal and fold == "02" else []),
            )
    return root


def test_cfp_numbers_count_from_one_in_their_own_lists(tmp_path):
    frontal, profile = ("Data/Images/00{}/" + end for end in ("frontal/01.jpg", "profile/02.jpg"))
    assert named_pairs(pair_lists.cfp(cfp(tmp_path), "FP"))[:2] == [
        (frontal.format(1), profile.format(1), True, 0),
        (frontal.format(4), profile.format(2), False, 0),
    ]
    assert named_pairs(pair_lists.cfp(tmp_path, "FF"))[2] == (
        frontal.format(1),
        frontal.format(2),
        True,
        1,
    )


@pytest.mark.parametrize("line", ["1,9", "0,1", "1;2", "1", "1,2,3"])
def test_cfp_numbers_outside_the_lists_are_named(tmp_path, line):
    text(cfp(tmp_path) / "Split/FP/02/diff.txt", "4,2", line)
    with pytest.raises(DataError, match=r"02/diff\.txt, line 2"):
        pair_lists.cfp(tmp_path, "FP")


def test_folds_may_differ_in_size_and_none_may_be_empty(tmp_path):
    pair_list = pair_lists.cfp(cfp(tmp_path, unequal=True), "FF")
    assert pair_list.pairs.fold.tolist() == [0, 0, 1, 1, 1]
    assert pair_list.pairs.same.tolist() == [True, False, True, False, False]
    lines = [line.replace(" 3", " 10000000") for line in calfw_lines()]
    with pytest.raises(DataError, match=r"fold 11 of 10,000,000 has no pairs"):
        pair_lists.calfw(text(tmp_path / "p.txt", *lines))


def test_missing_protocol_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"Pair_list_F\.txt does not exist"):
        pair_lists.cfp(tmp_path, "FF")
    with pytest.raises(ValueError, match="'FF' or 'FP'"):
        pair_lists.cfp(tmp_path, "PP")


def agedb(path: Path, folds: list[list[tuple[str, str]]]) -> Path:
    """Write a file like AgeDB's: a cell of folds, each a struct of 2 x pairs names and ages."""
    splits = np.empty((len(folds), 1), dtype=object)
    for k, pairs in enumerate(folds):
        cell = np.empty((2, len(pairs)), dtype=object)
        for column, names in enumerate(pairs):
            for row, name in enumerate(names):
                cell[row, column] = {"name": name, "age": float(name.split("_")[2])}
        splits[k, 0] = {"pairs": cell}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"splits": splits})
    return path


FOLD = [("Ann_1_20_0_f", "Ann_2_50_0_f"), ("Ann_1_20_0_f", "Bob_3_60_0_m")]


def test_agedb_file_is_read(tmp_path):
    assert named_pairs(pair_lists.agedb(agedb(tmp_path / "a.mat", [FOLD, FOLD])))[:2] == [
        ("03_Protocol_Images/Ann_1_20_0_f.jpg", "03_Protocol_Images/Ann_2_50_0_f.jpg", True, 0),
        ("03_Protocol_Images/Ann_1_20_0_f.jpg", "03_Protocol_Images/Bob_3_60_0_m.jpg", False, 0),
    ]


def test_agedb_files_of_another_form_are_refused(tmp_path):
    assert pair_lists.agedb(agedb(tmp_path / "a.mat", [FOLD, FOLD[:1]])).pairs.fold.tolist() == [
        0,
        0,
        1,
    ]
    savemat(tmp_path / "b.mat", {"other": np.zeros(3)})
    with pytest.raises(DataError, match="not a protocol file of AgeDB"):
        pair_lists.agedb(tmp_path / "b.mat")
    savemat(tmp_path / "c.mat", {"splits": np.zeros((3, 1))})
    with pytest.raises(DataError, match="not a protocol file of AgeDB"):
        pair_lists.agedb(tmp_path / "c.mat")
    text(tmp_path / "d.mat", "not a MATLAB file, only text")
    with pytest.raises(DataError, match="not a protocol file of AgeDB"):
        pair_lists.agedb(tmp_path / "d.mat")
    with pytest.raises(DataError, match="does not exist"):
        pair_lists.agedb(tmp_path / "e.mat")


def test_file_that_crashes_its_reader_is_refused(tmp_path):
    """A single byte, a type that MATLAB does not have, makes SciPy read memory out of bounds."""
    path = agedb(tmp_path / "a.mat", [FOLD, FOLD])
    content = bytearray(path.read_bytes())
    content[1152] = 15
    path.write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"a\.mat is not a protocol file of AgeDB: it is so damaged that reading it crashes",
    ):
        pair_lists.agedb(path)


@pytest.mark.parametrize(
    ("before", "time_s"),
    [("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))", 100), ("", 2)],
)
def test_file_that_hangs_its_reader_is_refused(tmp_path, monkeypatch, before, time_s):
    """Limited by CPU time and by wall-clock time."""
    monkeypatch.setattr(
        agedb_names, "COMMAND", (sys.executable, "-c", f"{before}\nwhile True: pass")
    )
    monkeypatch.setattr(agedb_names, "TIME_S", time_s)
    with pytest.raises(DataError, match="reading it takes too long"):
        pair_lists.agedb(agedb(tmp_path / "a.mat", [FOLD]))


def calfw_lines(folds: int = 10, with_folds: bool = True) -> list[str]:
    genuine = [f"A_{k}_{i}.jpg {k + 1 if with_folds else 1}" for k in range(folds) for i in (1, 2)]
    return genuine + [f"{person}_{k}.jpg 0" for k in range(folds) for person in "BC"]


@pytest.mark.parametrize("with_folds", [True, False])
def test_calfw_and_cplfw_lists_are_read(tmp_path, with_folds):
    pairs = named_pairs(
        pair_lists.calfw(text(tmp_path / "p.txt", *calfw_lines(with_folds=with_folds)), "images")
    )
    assert pairs[:2] == [
        ("images/A_0_1.jpg", "images/A_0_2.jpg", True, 0),
        ("images/B_0.jpg", "images/C_0.jpg", False, 0),
    ]
    assert [fold for *_, fold in pairs] == [k for k in range(10) for _ in range(2)]


def test_cplfw_with_a_number_of_pairs_that_ten_does_not_divide(tmp_path):
    """12 genuine and 11 impostor pairs: as in KFold, the first folds have one more of each."""
    lines = [f"{person}_{k}.jpg 1" for k in range(12) for person in "AB"]
    lines += [f"{person}_{k}.jpg 0" for k in range(11) for person in "CD"]
    pair_list = pair_lists.calfw(text(tmp_path / "p.txt", *lines))
    assert np.bincount(pair_list.pairs.fold[pair_list.pairs.same]).tolist() == [2, 2] + [1] * 8
    assert np.bincount(pair_list.pairs.fold[~pair_list.pairs.same]).tolist() == [2] + [1] * 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "39 lines are not a whole number of pairs"),
        (
            lambda lines: ["A_0_1.jpg 2", *lines[1:]],
            "lines 1 and 2: the tokens of a pair must be equal, got 2 and 1",
        ),
        (lambda lines: ["A_0_1.jpg", *lines[1:]], "line 1: expected `image token`"),
        (lambda lines: lines[:-2], "9 pairs do not fill 10 folds"),
    ],
)
def test_calfw_lists_of_another_form_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        pair_lists.calfw(text(tmp_path / "p.txt", *change(calfw_lines())))


def test_pairs_of_missing_files_are_named(tmp_path):
    pair_list = pair_lists.lfw(text(tmp_path / "pairs.txt", *LFW))
    for name in pair_list.names[:4]:
        text(tmp_path / "lfw" / name)
    with pytest.raises(DataError, match=r"pair 2: .*C/C_0001\.jpg is missing \(2 of 6 are\)"):
        pair_list.files_below(tmp_path / "lfw")
    for name in pair_list.names:
        text(tmp_path / "lfw" / name)
    assert pair_list.files_below(tmp_path / "lfw")[5] == tmp_path / "lfw/D/D_0001.jpg"


def test_list_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "p.txt").write_bytes(b"10\t300\n\xff\xfe\xfa")
    with pytest.raises(DataError, match="is not text"):
        pair_lists.lfw(tmp_path / "p.txt")
