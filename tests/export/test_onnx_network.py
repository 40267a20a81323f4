"""ONNX files as networks to evaluate: insightface's rule for the input, our exports, batches."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cdmllab import backbones, preprocessing
from cdmllab.cli import app
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate import embed
from cdmllab.evaluate.cached import digest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from cdmllab.export import onnx_file, source  # noqa: E402  they need onnx
from cdmllab.export.onnx_network import OnnxNetwork  # noqa: E402

SIDE, DIM = 6, 5
MATRIX = np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, DIM)).astype(np.float32)
TORCH, MXNET = ("Flatten_0", "MatMul_1"), ("_minusscalar0", "_mulscalar0", "Flatten_2", "MatMul_3")


def write(
    path, names=TORCH, batch="None", size=(3, SIDE, SIDE), kind=onnx.TensorProto.FLOAT, **changes
):
    """A linear network of raw numbers, or behind (x - 127.5) / 127.5 where four names are given."""
    helper, numbers = onnx.helper, onnx.numpy_helper.from_array
    rows = np.prod([side if isinstance(side, int) else SIDE for side in size])
    matrix = np.resize(MATRIX, (rows, DIM)).astype(helper.tensor_dtype_to_np_dtype(kind))
    constants = [numbers(matrix, "matrix")]
    nodes, flow = [], "input.1"
    if len(names) == 4:
        constants += [
            numbers(np.array(v, dtype=matrix.dtype), n)
            for n, v in (("half", 127.5), ("scale", 1 / 127.5))
        ]
        nodes += [helper.make_node("Sub", [flow, "half"], ["x1"], name=names[0])]
        nodes += [helper.make_node("Mul", ["x1", "scale"], ["x2"], name=names[1])]
        flow = "x2"
    nodes += [
        helper.make_node("Flatten", [flow], ["flat"], name=names[-2]),
        helper.make_node("MatMul", ["flat", "matrix"], ["683"], name=names[-1]),
    ]
    given = [helper.make_tensor_value_info("input.1", kind, [batch, *size])]
    out = [
        helper.make_tensor_value_info(name, kind, None) for name in changes.get("outputs", ["683"])
    ]
    graph = helper.make_graph(nodes, "g", given, out, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, changes.get("props", {}))
    onnx.save(model, path)
    return path


def random_images(count, side=SIDE):
    return torch.randint(
        256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def fed(network, images, batch_size=512):
    return embed(
        network, images, batch_size, prepare=lambda x: preprocessing.apply(x, network.preprocessing)
    ).numpy()


@pytest.mark.parametrize("names", [TORCH, MXNET, ("Sub_0", "Mul_1", "Flatten_2", "MatMul_3")])
def test_insightfaces_files_are_fed_by_their_rule(tmp_path, names):
    """Whether the file normalises itself or not, the matrix must get (x - 127.5) / 127.5, RGB."""
    images = random_images(7)
    network = OnnxNetwork(write(tmp_path / "w600k.onnx", names))
    want = ((images.double() - 127.5) / 127.5).flatten(1).numpy() @ MATRIX
    np.testing.assert_allclose(fed(network, images), want, rtol=0, atol=1e-4)
    assert network.preprocessing["std"] == ([1 / 255] * 3 if len(names) == 4 else [0.5] * 3)
    assert network.size == SIDE


def test_one_of_the_two_nodes_is_not_enough_and_neither_are_late_ones(tmp_path):
    for names in (
        ("Sub_0", "Multiply", "a", "b"),
        ("Substract", "mul_0", "a", "b"),
        ("a", "Mul_0", "b", "c"),
    ):
        inside = names[0].startswith("Sub") and names[1].startswith("Mul")
        network = OnnxNetwork(write(tmp_path / "a.onnx", names))
        assert network.preprocessing["mean"] == ([0.0] * 3 if inside else [0.5] * 3)


@pytest.mark.parametrize("batch", [None, "N", 1, 3, 7])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_files_for_a_batch_of_one_size_take_any(tmp_path, batch, count):
    images = random_images(count)
    network = OnnxNetwork(write(tmp_path / "a.onnx", batch=batch))
    want = ((images.double() - 127.5) / 127.5).flatten(1).numpy() @ MATRIX
    for batch_size in (2, 512):
        got = fed(network, images, batch_size)
        assert got.shape == (count, DIM)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


def test_half_precision_files_are_fed_in_half_precision(tmp_path):
    images = random_images(3)
    got = fed(OnnxNetwork(write(tmp_path / "a.onnx", kind=onnx.TensorProto.FLOAT16)), images)
    want = ((images.double() - 127.5) / 127.5).flatten(1).numpy() @ MATRIX
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=0.05)


def test_the_same_file_has_the_same_digest_and_another_one_has_not(tmp_path):
    one, again = (OnnxNetwork(write(tmp_path / f"{k}.onnx")) for k in range(2))
    other = OnnxNetwork(write(tmp_path / "2.onnx", MXNET))
    assert digest(one) == digest(again) != digest(other)


def test_weights_kept_next_to_the_file_are_part_of_the_digest(tmp_path):
    digests = set()
    for scale in (1.0, 2.0):
        model = onnx.load(write(tmp_path / "whole.onnx"))
        tensor = onnx.numpy_helper.from_array(scale * MATRIX, "matrix")
        model.graph.initializer[0].CopyFrom(tensor)
        onnx.save(
            model,
            tmp_path / "a.onnx",
            save_as_external_data=True,
            location="a.data",
            size_threshold=0,
        )
        network = OnnxNetwork(tmp_path / "a.onnx")
        want = scale * ((random_images(3).double() - 127.5) / 127.5).flatten(1).numpy() @ MATRIX
        np.testing.assert_allclose(fed(network, random_images(3)), want, rtol=0, atol=2e-4)
        digests.add(digest(network))
        (tmp_path / "a.data").unlink()
    assert len(digests) == 2


def test_exports_record_their_preprocessing(tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    net = backbones.create("small", size=16, width=4, embedding_dim=8)
    net(torch.randn(64, 3, 16, 16))
    used = {
        "channels": "BGR",
        "mean": [0.1, 0.2, 0.3],
        "std": 1.0,
        "size": 16,
        "crop": [5, 21.75, 107, 123.75],
    }
    used = preprocessing.check(used)
    onnx_file.write(source.ExportSource(net.eval(), "small", {}, used, {}, ""), tmp_path / "a.onnx")
    network = OnnxNetwork(tmp_path / "a.onnx")
    assert network.preprocessing == {**preprocessing.standard(3, 16), "crop": used["crop"]}
    images = random_images(5, 16)
    with torch.no_grad():
        want = net(preprocessing.apply(images, used)).numpy()
    np.testing.assert_allclose(fed(network, images), want, rtol=1e-3, atol=1e-4)


def test_command_evaluates_an_onnx_file_once(tmp_path):
    """Pairs of an image with itself and with its negative: accuracy and cosines are known."""
    images = random_images(24)
    pixels = torch.cat([images, 255 - images]).permute(0, 2, 3, 1).numpy()
    first, second = np.tile(np.arange(24), 2), np.concatenate([np.arange(24), np.arange(24, 48)])
    fold = np.tile(np.arange(24) % 4, 2)
    np.savez(
        tmp_path / "own.npz",
        images=pixels,
        first=first,
        second=second,
        same=first == second,
        fold=fold,
    )
    model = write(tmp_path / "w600k_r50.onnx", batch=5)
    arguments = [
        "evaluate",
        str(model),
        "--protocol",
        str(tmp_path / "own.npz"),
        "--replicates",
        "0",
        "--no-flip",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "accuracy   100.00 %" in done.output
    (record,) = (tmp_path / "w600k_r50-onnx/eval").glob("own-*.json")
    evaluation = json.loads(record.read_text())
    assert evaluation["made_with"]["preprocessing"] == {**preprocessing.INSIGHTFACE, "size": SIDE}
    with np.load(record.with_suffix(".npz")) as arrays:
        np.testing.assert_allclose(
            arrays["scores"], np.where(first == second, 1.0, -1.0), atol=1e-6
        )
    assert "done before" in CliRunner().invoke(app, arguments).output
    write(model, MXNET, batch=5)
    assert "done before" not in CliRunner().invoke(app, arguments).output


GREY = {"size": (1, SIDE, SIDE)}
OWN = json.dumps({"channels": "RGB", "mean": 0.5, "std": 0.5, "size": 32})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"outputs": ["683", "flat"]},
            "has 1 inputs and 2 outputs, but a recognition model has one of each",
        ),
        (
            {"size": (3, SIDE, 2 * SIDE)},
            r"takes tensor\(float\) of shape any x 3 x 6 x 12, but a recognition model takes",
        ),
        ({"size": (SIDE, SIDE, 3)}, "of shape any x 6 x 6 x 3, but a recognition model takes"),
        ({"size": (3, SIDE)}, "of shape any x 3 x 6, but a recognition model takes"),
        (
            {"size": (3, "s", "s")},
            "takes images of any size and does not record the size it was trained on",
        ),
        (GREY, "takes grey images and does not record their normalisation"),
        ({"props": {"cdmllab.input": OWN}}, "takes 3 x 6 x 6, but its metadata say"),
        ({"props": {"cdmllab.input": "{"}}, "its metadata key cdmllab.input is invalid"),
        ({"props": {"cdmllab.input": '["channels"]'}}, "its metadata key cdmllab.input is invalid"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, changes, message):
    with pytest.raises(CdmlLabError, match=message) as error:
        OnnxNetwork(write(tmp_path / "a.onnx", **changes))
    assert str(tmp_path / "a.onnx") in str(error.value)
    assert "\n" not in str(error.value)


def test_invalid_onnx_file_is_reported(tmp_path):
    valid = write(tmp_path / "a.onnx").read_bytes()
    for content in (b"", b"<html>", valid[: len(valid) // 2]):
        (tmp_path / "b.onnx").write_bytes(content)
        with pytest.raises(
            CdmlLabError, match=r"b\.onnx is not readable as ONNX|b\.onnx has 0 inputs"
        ):
            OnnxNetwork(tmp_path / "b.onnx")
    with pytest.raises(CdmlLabError, match=r"c\.onnx does not exist"):
        OnnxNetwork(tmp_path / "c.onnx")


def test_network_that_does_not_embed_each_image_is_reported(tmp_path):
    write(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    model.graph.node[-1].output[0] = "each"
    model.graph.node.append(
        onnx.helper.make_node("ReduceMean", ["each"], ["683"], axes=[0], keepdims=1)
    )
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(
        ValueError, match="its output for 3 images has shape 1 x 5, not one embedding per image"
    ):
        fed(OnnxNetwork(tmp_path / "a.onnx"), random_images(3))


def test_error_of_onnx_runtime_is_reported_with_the_file(tmp_path):
    """A file that declares any batch size and was traced with one image."""
    model = onnx.load(write(tmp_path / "a.onnx"))
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array([1, len(MATRIX)]), "traced")
    )
    model.graph.node[0].CopyFrom(
        onnx.helper.make_node("Reshape", ["input.1", "traced"], ["flat"], name="Reshape_0")
    )
    onnx.save(model, tmp_path / "a.onnx")
    pixels = random_images(4).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "own.npz", images=pixels, first=[0, 1], second=[2, 3], same=[True, False])
    arguments = [
        "evaluate",
        str(tmp_path / "a.onnx"),
        "--protocol",
        str(tmp_path / "own.npz"),
        "--replicates",
        "0",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert f"{tmp_path / 'a.onnx'}: ONNX Runtime cannot run it on 4 images" in done.stderr
    assert done.stderr.count("\n") == 1
    assert CliRunner().invoke(app, [*arguments, "--batch-size", "1"]).exit_code == 0
