import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cdmllab import backbones, errors, preprocessing
from cdmllab._util.build_lock import claimed
from cdmllab.backbones import weights
from cdmllab.errors import CdmlLabError
from cdmllab.export import convert, images, source
from cdmllab.export.agreement import cosines

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from cdmllab.export import int8, onnx_file  # noqa: E402  they need onnx


@pytest.fixture(scope="module")
def exported(release, tmp_path_factory):
    """The plain ONNX export and its log messages."""
    messages = []
    folder = tmp_path_factory.mktemp("onnx")
    done = convert.export(
        release, "onnx", output=folder / "new/small.onnx", identities=40, report=messages.append
    )
    return done, messages


def test_onnx_file_agrees_and_reports_it(exported):
    done, messages = exported
    (agreement,) = done.agreement.values()
    assert agreement.faces_cosine_min > 0.99999
    assert agreement.noise_cosine_min > 0.99999
    assert agreement.length_error_max < 1e-4
    assert agreement.accuracy_after == pytest.approx(agreement.accuracy_before, abs=2e-3)
    assert (
        agreement.accuracy_before > 0.7
    )  # the net has learnt something, so that a loss would show
    assert messages == ["drawing face-lab images", "writing ONNX, opset 18"]
    model, report = done.files
    assert sorted(file.name for file in model.parent.iterdir()) == ["small.onnx", "small.onnx.json"]
    record = json.loads(report.read_text())
    assert record["agreement"]["float32"]["accuracy_after"] == agreement.accuracy_after
    assert record["trained_at"] == "0123abc"
    assert {"git_commit", "versions", "protocol", "input", "backbone"} <= set(record)


def test_onnx_file_takes_a_batch_of_any_size(exported, release):
    net, released = weights.load_release(release)
    embed = onnx_file.runtime(exported[0].files[0])
    x = preprocessing.apply(images.calibration(7, 32), released.preprocessing)
    with torch.no_grad():
        want = net(x).numpy()
    for count in (1, 2, 7):
        np.testing.assert_allclose(embed(x[:count].numpy()), want[:count], rtol=1e-3, atol=1e-4)


def test_onnx_file_can_stand_in_for_insightfaces(exported):
    """insightface's loader: size from the input, one output, scaling unless built in."""
    model = onnx.load(exported[0].files[0])
    (given,), (out,) = model.graph.input, model.graph.output
    assert (given.name, out.name) == (onnx_file.INPUT, onnx_file.OUTPUT)
    batch, *rest = given.type.tensor_type.shape.dim
    assert batch.dim_param
    assert [dim.dim_value for dim in rest] == [3, 32, 32]
    first = [node.name for node in model.graph.node[:8]]
    assert not any(name.startswith(("Sub", "_minus", "Mul", "_mul")) for name in first)
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {
        onnx_file.OPSET
    }


def test_onnx_file_names_its_origin_and_no_path(exported, pytestconfig):
    path = exported[0].files[0]
    metadata = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert metadata["cdmllab.backbone"] == "small"
    assert metadata["cdmllab.git_commit"] == "0123abc"
    assert json.loads(metadata["cdmllab.input"])["size"] == 32
    content = path.read_bytes()
    assert b"site-packages" not in content
    assert str(pytestconfig.rootpath).encode() not in content


@pytest.mark.parametrize(
    "used",
    [
        {"channels": "BGR", "mean": 0.5, "std": 0.5, "size": 16},
        {"channels": "RGB", "mean": 0.0, "std": 1.0, "size": 16},
        {"channels": "BGR", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "size": 16},
    ],
    ids=["BGR", "no mean", "all"],
)
def test_other_preprocessing_is_compensated_inside_the_file(tmp_path, used):
    torch.manual_seed(0)
    net = backbones.create("small", size=16, width=4, embedding_dim=8)
    net(torch.randn(64, 3, 16, 16))
    used = preprocessing.check(used)
    given = source.ExportSource(net.eval(), "small", {}, used, {}, "")
    onnx_file.write(given, tmp_path / "a.onnx")
    pixels = images.noise(5, 16)
    with torch.no_grad():
        want = net(preprocessing.apply(pixels, used)).numpy()
    got = onnx_file.runtime(tmp_path / "a.onnx")(
        preprocessing.apply(pixels, preprocessing.standard(3, 16)).numpy()
    )
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("r18_lite", {"width": 16}), ("lightweight", {}), ("ir_18", {"width": 16})],
)
def test_the_large_networks_export_too(tmp_path, name, options):
    net = backbones.create(name, size=32, embedding_dim=16, **options)
    with torch.no_grad():
        for _ in range(30):
            net(torch.randn(16, 3, 32, 32))
    onnx_file.write(
        source.ExportSource(net.eval(), name, {}, preprocessing.standard(3, 32), {}, ""),
        tmp_path / "a.onnx",
    )
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert (
            cosines(onnx_file.runtime(tmp_path / "a.onnx")(x.numpy()), net(x).numpy()).min()
            > 0.99999
        )


def test_int8_keeps_accuracy_within_half_a_point(release, tmp_path):
    done = convert.export(release, "onnx", output=tmp_path / "q.onnx", int8=True, identities=200)
    agreement = done.agreement["int8"]
    assert agreement.accuracy_before > 0.7
    assert abs(agreement.drop_points) <= 0.5
    assert 0.98 < agreement.faces_cosine_mean < 0.999999
    small = done.files[0].stat().st_size
    assert small < 0.4 * release.stat().st_size
    assert {node.op_type for node in onnx.load(done.files[0]).graph.node} >= {
        "QuantizeLinear",
        "DequantizeLinear",
    }
    assert {prop.key for prop in onnx.load(done.files[0]).metadata_props} >= {"cdmllab.backbone"}


def test_openvino_agrees_in_float32_and_nearly_in_bfloat16(release, tmp_path):
    pytest.importorskip("openvino")
    done = convert.export(release, "openvino", output=tmp_path / "small.xml", identities=20)
    assert [file.name for file in done.files] == ["small.xml", "small.bin", "small.xml.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "small.bin",
        "small.xml",
        "small.xml.json",
    ]
    assert done.agreement["float32"].faces_cosine_min > 0.9999
    assert done.agreement["bfloat16"].faces_cosine_mean > 0.995


def test_a_file_that_does_not_agree_is_not_kept(release, tmp_path, monkeypatch):
    """Simulate an exporter that writes another network."""
    net, _ = weights.load_release(release)
    with torch.no_grad():
        net.fc.weight.copy_(net.fc.weight.flip(0))
    honest = onnx_file.write
    monkeypatch.setattr(
        onnx_file, "write", lambda given, path: honest(given._replace(net=net), path)
    )
    (tmp_path / "old.onnx").write_text("old")
    with pytest.raises(
        CdmlLabError,
        match=r"does not agree with PyTorch: smallest cosine -?0\.\d+ is below 0\.9999",
    ):
        convert.export(release, "onnx", output=tmp_path / "old.onnx", identities=4)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("old.onnx", "old")]
    with pytest.raises(CdmlLabError, match="does not agree"):
        convert.export(release, "onnx", output=tmp_path / "new.onnx", identities=4)
    assert [file.name for file in tmp_path.iterdir()] == ["old.onnx"]


def test_a_quantised_file_that_loses_too_much_is_not_kept(release, tmp_path, monkeypatch):
    """Calibrated on images of almost no contrast, quantisation clips everything else."""
    honest = int8.write
    monkeypatch.setattr(int8, "write", lambda full, path, pixels: honest(full, path, 0.02 * pixels))
    with pytest.raises(
        CdmlLabError, match=r"does not agree with PyTorch|points of verification accuracy"
    ):
        convert.export(release, "onnx", output=tmp_path / "q.onnx", int8=True, identities=20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "openvino", "int8": True}, "int8 needs ONNX"),
        ({"to": "onnx", "output": "a.xml"}, r"a\.xml: a file for onnx must end in \.onnx"),
        ({"to": "onnx", "output": "a.onnx", "identities": 3}, "needs at least 4 identities, got 3"),
    ],
)
def test_invalid_options_are_refused(release, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    if "output" in options:
        options = options | {"output": tmp_path / options["output"]}
    with pytest.raises(CdmlLabError, match=message):
        convert.export(release, **options)
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_named_with_its_extra(release, monkeypatch):
    monkeypatch.setattr(
        errors, "find_spec", lambda name: None if name == "onnxscript" else object()
    )
    with pytest.raises(CdmlLabError, match=r'needs onnxscript.*: pip install "cdmllab\[export\]"'):
        convert.export(release, "onnx")


def test_the_second_of_two_exports_to_one_file_is_refused(release, tmp_path):
    target = tmp_path / "small.onnx"
    with ThreadPoolExecutor(1) as other, claimed(target):
        export = other.submit(convert.export, release, "onnx", output=target)
        with pytest.raises(
            CdmlLabError, match=f"another process is building {target}: wait for it to end"
        ):
            export.result()
