"""The table of mirrors is typed: what is wrong is named by its key."""

import pytest

from cdmllab.data.fetching import known, manifest
from cdmllab.errors import DataError


def test_every_set_says_what_a_person_has_to_know_and_each_file_has_a_home():
    sets = known().sets
    assert {"casia_webface", "ms1mv3", "face_bins"} <= set(sets)
    for name, one in sets.items():
        assert one.licence, name
        assert one.history, name
        assert one.page, name
        assert one.reported, name
        assert one.files, name
        assert all(file.mirrors and file.size for file in one.files), name


def test_sizes_and_hashes_are_those_reported():
    bins = {file.path: file for file in known().get("face_bins").files}
    cfp = bins["verification/cfp_fp.bin"]
    assert (cfp.bytes, cfp.sha256[:8]) == (76_454_058, "a8754ddf")
    assert 480e6 < known().get("face_bins").bytes < 500e6
    assert known().get("ms1mv3").bytes == pytest.approx(27.4e9, rel=0.01)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sets: {a: {title: x}}", "sets.a.licence: Field required"),
        ("sets: {a: {titel: x}}", "sets.a"),
        ("{FILE: {path: ../up, mirrors: []}}", "leads out of the data folder"),
        ("{FILE: {path: a, mirrors: [{url: ftp://x}]}}", "no http or https address"),
        (
            "{FILE: {path: a, mirrors: [{url: 'http://x', google_drive: y}]}}",
            "has one of url, huggingface",
        ),
        ("{FILE: {path: a, mirrors: [{huggingface: a/b}]}}", "path belongs to huggingface"),
        ("{FILE: {path: a, sha256: abc}}", "String should match pattern"),
        ("{FILE: {path: a, unpack: b}}", "unpack and holds go together"),
        ("{FILE: {path: a, bytes: -1}}", "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, text, sentence):
    if "FILE" in text:
        file = text.removeprefix("{FILE: ").removesuffix("}")
        text = (
            f"sets: {{a: {{title: t, licence: l, history: h, page: p, reported: r, files: "
            f"[{file}]}}}}"
        )
    (tmp_path / "mirrors.yaml").write_text(text)
    with pytest.raises(DataError, match=sentence):
        manifest.read(tmp_path / "mirrors.yaml")


def test_unknown_set_names_the_nearest():
    with pytest.raises(
        DataError, match=r"no data set 'casia_webfaces' \(did you mean 'casia_webface'\?\)"
    ):
        known().get("casia_webfaces")
