"""LMDB, Parquet and WebDataset files that promise far more than they have."""

import os
import pickle

import pytest
from tests.data.making import jpeg

from cdmllab.data import ijb, parquet
from cdmllab.data.opening import open_set
from cdmllab.errors import DataError

lmdb = pytest.importorskip("lmdb")
pa = pytest.importorskip("pyarrow")

COUNTED = {b"num-samples": b"1", b"image-000000001": jpeg(0), b"label-000000001": b"0"}
LISTED = {b"__keys__": pickle.dumps([b"a"]), b"a": pickle.dumps((jpeg(0), 0))}
ENTRIES = {
    "images": (COUNTED | {b"num-samples": b"200000000"}, "announces 200000000 images"),
    "digits": (COUNTED | {b"num-samples": b"9" * 5000}, "has 3 entries"),
    "a label": (COUNTED | {b"label-000000001": b"9" * 5000}, "a label must be a whole number"),
    "a number": (LISTED | {b"__keys__": pickle.dumps([10**12])}, "key 0: expected text or bytes"),
    "no list": (LISTED | {b"__keys__": pickle.dumps(10**12)}, "must be a list of at most 2 keys"),
    "twice": (LISTED | {b"__keys__": pickle.dumps([b"a", b"a"])}, "has a key twice"),
    "many": (LISTED | {b"__keys__": pickle.dumps([b"a"] * 3)}, "must be a list of at most 2 keys"),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_lmdb_that_announces_what_it_does_not_have_is_refused(tmp_path, kind):
    entries, sentence = ENTRIES[kind]
    with (
        lmdb.open(str(tmp_path), map_size=1 << 20) as written,
        written.begin(write=True) as transaction,
    ):
        for key, value in entries.items():
            transaction.put(key, value)
    with pytest.raises(DataError, match=sentence):
        open_set(tmp_path)


def stored(path, table, **options):
    from pyarrow import parquet as files

    files.write_table(pa.table(table), path, store_schema=False, **options)
    return path


def test_parquet_of_more_rows_than_bytes_is_refused(tmp_path):
    rows = 1_000_000
    table = {"image": pa.nulls(rows, pa.binary()), "label": pa.array([0] * rows)}
    with pytest.raises(DataError, match=r"announces 1,000,000 rows; a file of .* may have 100,000"):
        open_set(stored(tmp_path / "a.parquet", table))


def test_parquet_with_one_image_in_many_rows_is_refused_before_it_is_copied(tmp_path):
    rows, image = 1000, bytes(1 << 20)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([image]))
    path = stored(tmp_path / "a.parquet", {"image": column, "label": [0] * rows})
    with pytest.raises(DataError, match=r"of the column image unpack to over .* implausible"):
        open_set(path).read([0])


@pytest.mark.parametrize(
    ("column", "values"),
    [("label", [[0], [1]]), ("label", [{"a": 1}] * 2), ("image", [1, 2]), ("image", ["a", "b"])],
)
def test_parquet_column_of_another_type_is_named(tmp_path, column, values):
    table = {"image": [jpeg(0)] * 2, "label": [0, 1]} | {column: values}
    with pytest.raises(DataError, match=f"the column {column} has the type"):
        open_set(stored(tmp_path / "a.parquet", table))


def test_parquet_pair_that_is_neither_genuine_nor_impostor_is_named(tmp_path):
    table = {"image1": [jpeg(0)], "image2": [jpeg(1)], "label": ["false"]}
    with pytest.raises(DataError, match="row 0: label must be true or false"):
        parquet.pairs(stored(tmp_path / "a.parquet", table))


def test_shard_that_is_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(DataError, match="is not a regular file"):
        open_set(tmp_path)


def test_blank_list_of_template_pairs_is_empty(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\n\n")
    with pytest.raises(DataError, match=r"x\.txt is empty"):
        ijb.read_pairs(tmp_path / "x.txt")
