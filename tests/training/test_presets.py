import re

import pytest
import yaml

from cdmllab.errors import CdmlLabError
from cdmllab.training import presets

NAMES = presets.names()


def test_every_preset_is_counted():
    groups = {}
    for name in NAMES:
        group = name.rsplit("/", 1)[0]
        groups[group] = groups.get(group, 0) + 1
    assert groups == {
        "casia/datn_page": 16,
        "casia/datn_code": 4,
        "lab/cpu": 4,
        "lab/gpu": 4,
        "lfw/cpu": 4,
        "lfw/gpu": 2,
        "ms1mv3/datn_page": 4,
        "ms1mv3/datn_code": 4,
    }


@pytest.mark.parametrize("name", NAMES)
def test_headers_are_complete(name):
    text = (presets.FOLDER / f"{name}.yaml").read_text()
    written = re.match(r"(#.*\n)+", text)[0]
    words = re.sub(r"^# ((command|cost|expect): )?", "", written, flags=re.MULTILINE)
    header = presets.header(name)
    assert (
        words.split()
        == " ".join(header[key] for key in ("about", "command", "cost", "expect")).split()
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_builds_and_matches_its_header(name):
    config = presets.load(name)
    assert config.name == name
    header = presets.header(name)
    assert header["about"]
    assert header["command"] == f"cdmllab train {name}"
    assert header["cost"]
    assert header["expect"]


def test_the_recipes_are_those_of_the_sources():
    document, public = (
        presets.load(f"casia/{recipe}/r18_lite_cdml") for recipe in ("datn_page", "datn_code")
    )
    o = document.optimiser
    assert (o.lr, o.momentum, o.weight_decay, o.milestones, o.gamma) == (
        0.1,
        0.9,
        5e-4,
        (15, 25, 35),
        0.1,
    )
    assert (document.epochs, document.batch_size, document.data.augmentation) == (
        40,
        128,
        "datn_page",
    )
    assert document.loss.options["margin_rad"] == 0.49
    assert (public.epochs, public.optimiser.schedule, public.data.augmentation) == (
        20,
        "polynomial",
        "flip",
    )
    large = presets.load("ms1mv3/datn_page/r100_cdml")
    assert (large.epochs, large.batch_size, large.optimiser.milestones) == (25, 256, (10, 18, 22))


def test_datn_code_presets_use_the_public_gap_form():
    """m_i = 0.5 + 0.1 h written as a base of 0.6 and a relative step of 1/3."""
    from cdmllab.margins import CDML, create, options

    preset = presets.load("casia/datn_code/r18_lite_cdml").loss.options
    built, expected = (
        create("cdml", **{k: v for k, v in preset.items() if k in options("cdml")}),
        CDML.datn_code_gap(),
    )
    assert built.base_margin_rad == pytest.approx(expected.base_margin_rad)
    assert built.alpha == pytest.approx(expected.alpha)
    for name in (
        "kind",
        "shape",
        "favour",
        "never_above",
        "detach_margin",
        "beyond_pi",
        "gradient",
        "pivot",
    ):
        assert getattr(built, name) == getattr(expected, name)


@pytest.mark.parametrize(
    "name",
    [
        "casia/datn_code/r18_lite_arcface",
        "casia/datn_code/r50_lite_arcface",
        "ms1mv3/datn_code/r100_arcface",
    ],
)
def test_datn_code_presets_use_the_public_gradient_of_arcface(name):
    """arcface_torch computes the margin without autograd, and lets the cosine rise again past 180
    degrees.
    """
    options = presets.load(name).loss.options
    assert (options["gradient"], options["beyond_pi"]) == ("straight_through", "none")


def test_settings_change_single_values_and_keep_the_rest():
    plain = presets.load("lab/cpu/arcface")
    changed = presets.load(
        "lab/cpu/arcface", ["loss.margin_rad=0.45", "epochs=3", "data.label_noise=0.1"]
    )
    assert changed.loss.options["margin_rad"] == 0.45
    assert (changed.epochs, changed.data.options["label_noise"]) == (3, 0.1)
    assert changed.backbone == plain.backbone


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("5E-4", 0.0005), ("1.5e+1", 15.0), (".5e0", 0.5), ("2", 2.0)],
)
def test_numbers_may_be_written_in_any_usual_form(tmp_path, text, value):
    assert presets.load("lab/cpu/arcface", [f"optimiser.lr={text}"]).optimiser.lr == value
    values = presets.load("lab/cpu/arcface").flat() | {"name": "own"}
    del values["optimiser"]
    (tmp_path / "own.yaml").write_text(f"{yaml.safe_dump(values)}optimiser: {{lr: {text}}}\n")
    assert presets.load(str(tmp_path / "own.yaml")).optimiser.lr == value


def test_another_loss_does_not_inherit_the_options_of_its_base():
    changed = presets.load("lab/cpu/arcface", ["loss={name: cosface, scale: 30.0}"])
    assert changed.loss.options == {}
    assert changed.loss.scale == 30.0


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (
            "lab/cpu/arfcace",
            [],
            r"no preset 'lab/cpu/arfcace' \(did you mean 'lab/cpu/arcface'\?\)",
        ),
        ("lab/cpu/arcface", ["epochs"], "a setting is written key=value"),
        ("lab/cpu/arcface", ["epoch=3"], "epoch: Extra inputs are not permitted"),
        (
            "lab/cpu/arcface",
            ["loss.margin=3"],
            r"arcface.yaml with loss.margin=3: loss: arcface has no option 'margin' "
            r"\(did you mean 'margin_rad'\?\)",
        ),
        ("lab/cpu/arcface", ["epochs=0"], "epochs: Input should be greater than or equal to 1"),
        (
            "lab/cpu/arcface",
            ["data.augmentation=flop"],
            r"unknown augmentation 'flop' \(did you mean 'flip'\?\)",
        ),
        (
            "lab/cpu/arcface",
            ["data.size=0", "data.sizes=3"],
            r"data: data 'lab' has no option 'sizes'",
        ),
        (
            "lab/cpu/arcface",
            ["optimiser.milestones=[3]"],
            "milestones need schedule 'multistep'",
        ),
        (
            "lab/cpu/arcface",
            ["optimiser.schedule=multistep", "optimiser.milestones=[12]"],
            "is after the end",
        ),
        (
            "lab/cpu/arcface",
            ["speed.checkpointing=true", "speed.compiled=true"],
            "exclude each other",
        ),
        (
            "lab/cpu/arcface",
            ["watch.validate_every=10"],
            "validate_every and protocols need each other",
        ),
        ("lab/cpu/arcface", ["backbone={name: r81, embedding_dim: 4}"], "unknown backbone 'r81'"),
        ("gone.yaml", [], "gone.yaml does not exist"),
        (
            "lab/cpu/arcface",
            ["data.without_folds=[0,1"],
            r"the setting 'data.without_folds=\[0,1' is not readable YAML",
        ),
    ],
)
def test_impossible_setting_is_reported_with_its_key(name, settings, sentence):
    with pytest.raises(CdmlLabError, match=sentence):
        presets.load(name, settings)


def test_user_file_is_a_preset(tmp_path):
    values = presets.load("lab/cpu/arcface").flat() | {"name": "mine", "epochs": 2}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert presets.load(str(tmp_path / "mine.yaml")).epochs == 2
    (tmp_path / "above.yaml").write_text("base: mine\nepochs: 5\n")
    assert presets.load(str(tmp_path / "above.yaml")).epochs == 5
    (tmp_path / "third.yaml").write_text("base: above\n")
    with pytest.raises(CdmlLabError, match="only one level is allowed"):
        presets.load(str(tmp_path / "third.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(CdmlLabError, match=r"broken\.yaml is not readable YAML"):
        presets.load(str(tmp_path / "broken.yaml"))


def test_differing_names_every_key_of_either_preset():
    one, other = (
        presets.load(f"casia/{recipe}/r50_lite_cdml") for recipe in ("datn_page", "datn_code")
    )
    changes = {key: (a, b) for key, a, b in presets.differing(one, other)}
    assert changes["loss.margin_rad"] == (0.49, 0.6)
    assert changes["loss.favour"] == ("–", "hard")
    assert changes["epochs"] == (one.epochs, other.epochs)
    assert "name" not in changes
    assert "backbone.name" not in changes
    assert presets.differing(one, one) == []


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("casia/") and "_lite_" in n])
def test_recorded_cost_in_a_header_follows_from_its_record(name):
    """Seconds of the record, over its images and epochs, times the images of the pack and the
    epochs of the preset.
    """
    from cdmllab.reproduction import rows

    cost = presets.header(name)["cost"]
    (row,) = (row for row in rows.table() if row.preset == name)
    hours = rows.hours(row, 490_623, presets.load(name).epochs)
    assert cost.startswith(
        f"about {hours:.1f} h on an H100 at the speed of results/sweeps/{row.measured.record}: "
    )
    seconds = rows.hours(row, 10_575 * 47, 2) * 3600.0
    assert f"in {seconds:.0f} s, with two trainings on one GPU" in cost
