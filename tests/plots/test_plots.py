import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from cdmllab import geometry, margins, plots
from cdmllab.plots import style
from cdmllab.plots.images import sheet
from cdmllab.plots.sphere import facing, view


def svg(fig, path):
    fig.savefig(path, format="svg", metadata={"Date": None})
    return path.read_text()


def test_figures_are_reproducible_and_use_the_placeholder_colours(tmp_path):
    texts = []
    for k in range(2):
        fig, (ax,) = plots.figure()
        plots.target_logits(ax, {"arcface": margins.create("arcface")})
        texts.append(svg(fig, tmp_path / f"{k}.svg"))
    assert texts[0] == texts[1]
    assert style.INK in texts[0]
    assert style.GRID in texts[0]
    assert style.COLOURS["arcface"] in texts[0]


def test_target_logit_curve_is_the_loss_it_names():
    _, (ax,) = plots.figure()
    plots.target_logits(ax, {"arcface": margins.create("arcface", margin_rad=0.4)}, scale=64.0)
    degrees, values = ax.lines[0].get_data()
    k = 200
    assert np.isclose(values[k], 64.0 * np.cos(np.radians(degrees[k]) + 0.4))
    assert ax.lines[0].get_label() == "ArcFace"


def test_margin_cost_of_cosface_is_flat():
    _, (ax,) = plots.figure()
    plots.margin_costs(ax, {"cosface": margins.create("combined", margin_rad=0.0, margin_cos=0.35)})
    assert np.allclose(ax.lines[0].get_ydata(), 0.35)


def test_decision_region_edge_of_arcface_keeps_its_distance():
    _, (ax,) = plots.figure()
    plots.decision_regions(ax, margins.create("arcface", margin_rad=0.5), name="arcface")
    edge = ax.collections[0].get_paths()[0].vertices
    inside = edge[(edge[:, 1] < 89) & (edge[:, 0] > 1)]
    assert np.allclose(inside[:, 1] - inside[:, 0], np.degrees(0.5), atol=0.05)


def test_view_turns_the_named_direction_towards_the_reader():
    rotation = view(30.0, 60.0)
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    towards = [np.cos(np.pi / 6) * 0.5, np.cos(np.pi / 6) * np.sqrt(0.75), 0.5]
    assert np.allclose(rotation @ towards, [0, 0, 1])


def test_facing_looks_at_the_points():
    point = np.array([[0.0, -1.0, 0.0]])
    assert (point @ view(*facing(point))[2])[0] > 0.6


def test_sphere_draws_every_point_and_centre():
    points = geometry.fibonacci_sphere(50)
    _, (ax,) = plots.figure()
    plots.sphere(ax, points, torch.arange(50) % 3, centres=points[:3], names="abc", title="t")
    assert sum(len(c.get_offsets()) for c in ax.collections) == 50
    assert [t.get_text() for t in ax.texts] == ["a", "b", "c"]


def test_sphere_rejects_other_dimensions():
    _, (ax,) = plots.figure()
    with pytest.raises(ValueError, match=r"shape \(n, 3\)"):
        plots.sphere(ax, np.ones((4, 2)), np.zeros(4), view_deg=(0, 0))


def test_sheet_lays_out_row_by_row():
    page = sheet(np.arange(3).reshape(3, 1, 1, 1) * np.ones((3, 1, 2, 2)), columns=2)
    assert page.shape == (5, 5)
    assert page[0, 3] == 1
    assert page[3, 0] == 2
    assert np.isnan(page[3, 3])


def test_histogram_densities_integrate_to_one():
    _, (ax,) = plots.figure()
    rng = np.random.default_rng(0)
    plots.angle_histogram(ax, rng.uniform(-1, 1, 400), rng.random(400) < 0.5, bins=30)
    x, y = ax.collections[0].get_paths()[0].vertices.T
    assert np.isclose(abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2, 1.0)  # shoelace


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", plots.COLOURS)
def test_loss_colours_have_contrast_on_light_and_dark(name):
    assert re.fullmatch("#[0-9a-f]{6}", plots.COLOURS[name])
    own = luminance(plots.COLOURS[name]) + 0.05
    assert 1.05 / own >= 3.0
    assert own / (luminance("#14181e") + 0.05) >= 3.0


def test_byte_layout_writes_each_byte_in_its_place():
    _, (ax,) = plots.figure()
    plots.byte_layout(ax, bytes([0x0A, 0xFF, 7]), [("magic", 0, 2), ("image", 2, 3)], columns=2)
    written = {
        tuple(np.floor(text.get_position())): text.get_text()
        for text in ax.texts
        if len(text.get_text()) == 2
    }
    assert written == {(0, 0): "0a", (1, 0): "ff", (0, 1): "07"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["magic", "image"]
    with pytest.raises(ValueError, match="unknown kind of field 'secret'"):
        plots.byte_layout(ax, b"a", [("secret", 0, 1)])


def test_landmarks_are_drawn_on_the_image():
    _, (ax,) = plots.figure()
    plots.landmarks(ax, np.zeros((9, 9, 3), np.uint8), [[2, 3], [4, 5]])
    assert [tuple(line.get_xydata()[0]) for line in ax.lines] == [(2, 3), (4, 5)]


def test_contact_sheet_is_one_jpeg_with_labels_as_text():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 16, 12, 3), dtype=np.uint8)
    svg = plots.contact_sheet(
        images, 3, rows=["a & b", "c"], heads=["0", "1", "2"], image_px=24
    )._repr_svg_()
    root = ET.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{space}rect")) == 5
    assert [t.text for t in root.iter(f"{space}text")] == ["a & b", "c", "0", "1", "2"]
    (image,) = root.iter(f"{space}image")
    page = Image.open(io.BytesIO(base64.b64decode(image.get("href").split(",")[1])))
    assert page.size == (3 * 15 - 3, 2 * 19 - 3)
    first = np.asarray(page)[:16, :12].astype(int)
    assert np.abs(first - images[0]).mean() < 20  # JPEG of noise


@pytest.mark.parametrize(
    ("images", "options", "sentence"),
    [
        (
            np.zeros((2, 8, 8, 3)),
            {},
            r"images must be uint8 of shape \(n, height, width, 3\), got float64",
        ),
        (np.zeros((2, 8, 8, 3), np.uint8), {"rows": ["a"]}, "there are 1 labels for 2 rows"),
    ],
)
def test_contact_sheet_rejects_invalid_input(images, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        plots.contact_sheet(images, 1, **options)


def test_response_curves_name_the_costliest():
    _, (ax,) = plots.figure()
    lost = {f"factor_{k}": np.linspace(0, 0.1 * k, 6) for k in range(8)}
    plots.response_curves(ax, np.linspace(0, 1, 6), lost, named=3)
    assert [t.get_text() for t in ax.texts] == ["factor 7", "factor 6", "factor 5"]
    heights = [t.get_position()[1] for t in ax.texts]
    assert heights == sorted(heights, reverse=True)
    assert len(ax.lines) == 8


def test_relief_shows_the_map_upright():
    _, (ax,) = plots.figure()
    plots.relief(ax, np.arange(6.0).reshape(2, 3))
    (image,) = ax.images
    assert image.origin == "lower"
