"""dlib's network against its definition, and the reader of face-api's files."""

import json

import numpy as np
import pytest
import torch
from tests.backbones import face_api_package

from cdmllab import backbones, preprocessing
from cdmllab.backbones import complexity, dlib_resnet, weights
from cdmllab.errors import DataError


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package with quantised and float32 tensors, as in the real one, and its values."""
    return face_api_package.write(tmp_path_factory.mktemp("package"))


@pytest.mark.parametrize("quantised", [True, False], ids=["uint8", "float32"])
@pytest.mark.parametrize("size", [150, 151])
def test_embedding_is_the_definitions(tmp_path, quantised, size):
    """The convolutions end a row early in the last two halvings at 150 pixels; at 151 in others."""
    manifest, meant = face_api_package.write(tmp_path, lambda name: quantised)
    read = dlib_resnet.from_face_api(manifest)
    net = backbones.create("dlib_resnet", size=size).eval()
    net.load_state_dict(read.state_dict())
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    want = np.stack(
        [face_api_package.forward(meant, image.permute(1, 2, 0).numpy()) for image in x]
    )
    assert np.abs(want).max() > 0.1
    with torch.no_grad():
        np.testing.assert_allclose(net(x).numpy(), want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_network_has_the_published_layers():
    net = backbones.create("dlib_resnet")
    assert sum(isinstance(m, torch.nn.Conv2d) for m in net.modules()) == 29
    assert sum(p.numel() for p in net.parameters()) == sum(
        np.prod(s) for s in face_api_package.shapes().values()
    )
    assert complexity.cost(net).parameters == 5_614_592
    assert net.trunk(torch.zeros(1, 3, 150, 150)).shape == (1, 256, 2, 2)
    assert net(torch.zeros(2, 3, 150, 150)).shape == (2, 128)


def test_smallest_size_is_the_smallest_that_fits():
    net = backbones.create("dlib_resnet", size=103, channels=1)
    assert net.trunk(torch.zeros(1, 1, 103, 103)).shape == (1, 256, 1, 1)
    with pytest.raises(ValueError, match="103 to 448 pixels, got size=102"):
        backbones.create("dlib_resnet", size=102)
    net.size = 102
    with pytest.raises(RuntimeError, match=r"[Kk]ernel size can't be greater"):
        net(torch.zeros(1, 1, 102, 102))


def test_preprocessing_is_dlibs():
    pixels = torch.randint(256, (2, 3, 150, 150), dtype=torch.uint8)
    mean = torch.tensor([122.782, 117.001, 104.298]).view(3, 1, 1)
    want = (pixels.float() - mean) / 255
    torch.testing.assert_close(
        preprocessing.apply(pixels, dlib_resnet.PREPROCESSING), want, atol=1e-6, rtol=0
    )


def test_network_is_released_and_read_back_bit_for_bit(package, tmp_path):
    net = dlib_resnet.from_face_api(package[0])
    path = tmp_path / "public.safetensors"
    weights.save_release(net, path, name="dlib_resnet", preprocessing=dlib_resnet.PREPROCESSING)
    again, metadata = weights.load_release(path)
    assert metadata.preprocessing == dlib_resnet.PREPROCESSING
    x = torch.randn(1, 3, 150, 150)
    assert torch.equal(again(x), net(x))


def changed(package, folder, change):
    """The package with one tensor's entry changed in the manifest."""
    manifest = json.loads(package[0].read_text())
    change(manifest[0]["weights"])
    (folder / package[0].name).write_text(json.dumps(manifest))
    (folder / "face_recognition_model.bin").write_bytes(
        package[0].with_name("face_recognition_model.bin").read_bytes()
    )
    return folder / package[0].name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[2].update(name="conv32_down/scale/gains"),
         "lacks 1 of 117 tensors, the first is conv32_down/scale/weights"),
        (lambda w: w.append({"name": "fc2", "shape": [0], "dtype": "float32"}),
         "has fc2, which is not a tensor of dlib's network"),
        (lambda w: w[-1].update(shape=[128, 256]),
         r"fc is float32 of shape \(128, 256\), expected float32 of shape \(256, 128\)"),
        (lambda w: w[0].update(shape=[3, 7, 7, 32]),
         r"conv32_down/conv/filters is float32 of shape \(3, 7, 7, 32\), expected float32 of shape "
         r"\(7, 7, 3, 32\)"),
        (lambda w: w[1].update(quantization={"dtype": "uint8", "scale": 1e300, "min": 0.0}),
         "conv32_down/conv/bias has a value that is not finite"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_file_of_another_network_is_named_by_its_tensor(package, tmp_path, change, message):
    with pytest.raises(DataError, match=f"{package[0].name}.*{message}"):
        dlib_resnet.from_face_api(changed(package, tmp_path, change))
