"""The registry of data sets: complete, consistent, and the only place that its readers use."""

import hashlib
import re
from pathlib import Path

import pytest

from cdmllab.book import data_page
from cdmllab.data import copies, lfw, omniglot, registry, verification
from cdmllab.data.registry import DataSet, RemoteFile
from cdmllab.data.script_job import Job
from cdmllab.errors import DataError
from cdmllab.reproduction import rows

ROOT = Path(__file__).parents[2]
SETS = registry.load().sets
TEXTS = dict.fromkeys(("name", "title", "label", "contents", "licence"), "x")


def test_every_script_has_an_entry_and_every_entry_its_script():
    scripts = {path.stem for path in (ROOT / "data_scripts").glob("*.py")}
    assert scripts == {name for name, data_set in SETS.items() if data_set.script}
    assert len(scripts) == 13


def test_facts_are_only_in_the_registry():
    """No list of files, hash or address of a set is repeated in the scripts or the package."""
    facts = {
        fact
        for data_set in SETS.values()
        for file in data_set.files
        for fact in (file.sha256, *(mirror.url for mirror in file.mirrors))
        if fact is not None
    }
    assert len(facts) > 20
    sources = [*ROOT.glob("data_scripts/*"), *ROOT.glob("src/cdmllab/**/*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in sources if path.is_file()}
    assert len(texts) > 300
    assert not [(path, fact) for path, text in texts.items() for fact in facts if fact in text]


def test_every_script_reads_its_inputs_from_its_entry():
    roles = r'job\.(?:need|have|folder)\("([^"]+)"\)'
    seen = 0
    for path in (ROOT / "data_scripts").glob("*.py"):
        for role in re.findall(roles, path.read_text(encoding="utf-8")):
            assert registry.get(path.stem).places(role), (path, role)
            seen += 1
    assert seen >= 10


def test_downloads_state_terms_history_page_and_size():
    fetched = {name: data_set for name, data_set in SETS.items() if data_set.downloads}
    assert set(fetched) == {"lfw", "casia_webface", "ms1mv3", "face_bins", "omniglot"}
    for name, data_set in fetched.items():
        assert data_set.history, name
        assert data_set.reported, name
        assert data_set.page.startswith("https://"), name
        assert all(file.size for file in data_set.downloads), name


def test_sizes_and_hashes_are_those_reported():
    bins = {file.path: file for file in registry.get("face_bins").files}
    cfp = bins["verification/cfp_fp.bin"]
    assert (cfp.bytes, cfp.sha256[:8]) == (76_454_058, "a8754ddf")
    assert 480e6 < registry.get("face_bins").bytes < 500e6
    assert registry.get("ms1mv3").bytes == pytest.approx(27.4e9, rel=0.01)
    assert registry.get("lfw").bytes == 243_346_528 + 155_335


@pytest.mark.parametrize("name", ["lfw", "ijbc", "ms1mv3", "att_faces"])
def test_contents_agree_with_the_exact_counts(name):
    data_set = registry.get(name)
    exact = [
        number
        for counts in (*data_set.makes.values(), *data_set.checks.values())
        for what, number in counts.items()
        if isinstance(number, int) and what != "genuine pairs"
    ]
    assert exact
    for number in exact:
        assert f"{number:,}" in data_set.contents


def test_every_row_of_the_page_of_data_sets_is_an_entry():
    labels = [data_set.label for data_set in SETS.values()]
    first = re.compile(r"^\| (.+?)(?: \{cite\}`[^`]*`)? \|", re.M)
    assert first.findall(data_page.terms_table())[1:] == labels
    with_script = [data_set.label for data_set in SETS.values() if data_set.script]
    assert first.findall(data_page.files_table())[1:] == with_script
    page = (ROOT / "book/datasets.md").read_text(encoding="utf-8")
    assert re.findall(r"```\{cdml-datasets\} (\w+)\n```", page) == ["files", "terms"]
    assert not re.search(r"^\|", page, re.M)  # no row is written into the page itself


def test_citations_are_in_the_bibliography():
    known = re.findall(r"^@\w+\{([^,]+),", (ROOT / "book/references.bib").read_text(), re.M)
    cited = [key for data_set in SETS.values() for key in data_set.bibliography]
    assert len(cited) >= 13
    assert set(cited) <= set(known)


def test_readers_get_protocols_copies_and_places_from_the_registry():
    protocols = [name for data_set in SETS.values() for name in data_set.protocols]
    assert list(verification.names()) == protocols
    assert len(copies.REGISTER) == len(registry.get("cfp").copies["cfp_fp"])
    assert registry.get("lfw").places("images") == lfw.ARCHIVES
    assert tuple(registry.get("omniglot").optional) == omniglot.PARTS
    assert rows.find("casia/r50_lite_cdml").pairs["cfp_fp"] == 7000


def test_source_is_plain_on_a_terminal_and_its_first_link_is_the_page():
    data_set = DataSet(source="from [A](https://a.org/x) or [B](https://b.org)", **TEXTS)
    assert data_set.plain_source == "from A (https://a.org/x) or B (https://b.org)"
    assert data_set.page == "https://a.org/x"
    assert DataSet(source="by post", **TEXTS).page == "by post"


def test_counts_are_limits():
    counts = {"images": 7, "identities": (2, 3)}
    data_set = DataSet(source="x", makes={"a": {"pairs": 5}, "b": counts}, **TEXTS)
    assert data_set.counts("b") == {"images": (7, 7), "identities": (2, 3)}
    assert data_set.counts("c") == {}
    assert data_set.pack_count("identities") == (2, 3)
    assert registry.span((10572, 10575)) == "10,572 to 10,575"
    assert registry.span((7, 7)) == "7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sets: {a: {title: x}}", "sets.a.label: Field required"),
        ("sets: {a: {titel: x}}", "sets.a"),
        ("sets: [a]", "sets: Input should be"),
        ("sets: {a: [b]}", "sets.a: Input should be"),
        ("other: {}", "sets: Field required"),
        ("{FILE: {path: ../up, mirrors: []}}", "leads out of the data folder"),
        ("{FILE: {path: a, mirrors: [{url: ftp://x}]}}", "not an http or https address"),
        (
            "{FILE: {path: a, mirrors: [{url: 'http://x', google_drive: y}]}}",
            "exactly one of url, huggingface",
        ),
        ("{FILE: {path: a, mirrors: [{huggingface: a/b}]}}", "path belongs to huggingface"),
        ("{FILE: {path: a, sha256: abc}}", "String should match pattern"),
        ("{FILE: {path: a, unpack: b}}", "unpack and holds go together"),
        ("{FILE: {path: a, bytes: -1}}", "greater than or equal to 0"),
    ],
)
def test_malformed_entry_is_named_by_its_key(tmp_path, text, message):
    if "FILE" in text:
        file = text.removeprefix("{FILE: ").removesuffix("}")
        entry = f"title: t, label: l, contents: c, licence: l, source: s, files: [{file}]"
        text = f"sets: {{a: {{{entry}}}}}"
    (tmp_path / "registry.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        registry.read(tmp_path / "registry.yaml")


def test_unknown_set_is_reported_with_the_most_similar_name():
    with pytest.raises(
        DataError, match=r"no data set 'casia_webfaces' \(did you mean 'casia_webface'\?\)"
    ):
        registry.get("casia_webfaces")


def test_script_checks_the_registered_file_and_no_other_that_ends_alike(tmp_path):
    file = RemoteFile(path="lists/pairs.txt", bytes=2, sha256=hashlib.sha256(b"ab").hexdigest())
    job = Job(DataSet(source="x", files=(file,), **TEXTS), tmp_path)
    for folder in ("lists", "mylists"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pairs.txt").write_bytes(b"other")
    job.check(tmp_path / "mylists/pairs.txt")
    with pytest.raises(DataError, match=r"lists/pairs\.txt"):
        job.check(tmp_path / "lists/pairs.txt")
