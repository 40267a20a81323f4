import pytest
import yaml

from cdmllab.errors import CdmlLabError
from cdmllab.sweeps import expand, load, record
from cdmllab.sweeps.expand import Done

DIGITS = {
    "data": {"name": "digits"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "epochs": 2,
    "batch_size": 64,
}
PLAIN = {
    "preset": "lab/cpu/arcface",
    "settings": DIGITS,
    "stages": {
        "tune": {
            "arms": {
                "arcface": {"loss.name": "arcface"},
                "cdml": {"loss": {"name": "cdml", "match_mean": True}},
            },
            "grid": {"loss.scale": [8.0, 16.0]},
            "grids": {"cdml": {"loss.alpha": [0.1, 0.3]}},
            "protocols": ["digits/strangers"],
        },
        "compare": {"tuned_by": "tune", "seeds": 3, "protocols": ["digits/*"]},
    },
}

BOTH = {"presets": ["lab/cpu/arcface", "lab/cpu/cdml"]}


def written(tmp_path, name="toy", **changes):
    path = tmp_path / f"{name}.yaml"
    path.write_text(
        "# What is asked.\n# command: cdmllab sweep\n"
        + yaml.safe_dump({**PLAIN, **changes}, sort_keys=False)
    )
    return path


def stages(**changes):
    return {**PLAIN["stages"], **changes}


def done(tasks, value):
    """Every task with an accuracy that `value` gives."""
    return [
        Done(task, f"runs/{task.name}", {"digits/strangers": {"accuracy": value(task)}})
        for task in tasks
    ]


def test_every_arm_is_trained_at_every_point_of_its_grid(tmp_path):
    spec = load(written(tmp_path))
    tasks = expand.tasks(spec, "tune", {})
    assert [task.name for task in tasks] == [
        "tune/arcface/loss.scale=8.0/s0",
        "tune/arcface/loss.scale=16.0/s0",
        "tune/cdml/loss.scale=8.0,loss.alpha=0.1/s0",
        "tune/cdml/loss.scale=8.0,loss.alpha=0.3/s0",
        "tune/cdml/loss.scale=16.0,loss.alpha=0.1/s0",
        "tune/cdml/loss.scale=16.0,loss.alpha=0.3/s0",
    ]
    assert tasks[3].config["loss"] == {
        "name": "cdml",
        "match_mean": True,
        "scale": 8.0,
        "alpha": 0.3,
    }
    assert tasks[3].config["epochs"] == 2
    assert spec.about == "What is asked."


def test_tuned_stage_uses_each_arm_at_its_best_point(tmp_path):
    spec = load(written(tmp_path))
    best = {"tune/arcface/loss.scale=16.0/s0", "tune/cdml/loss.scale=8.0,loss.alpha=0.3/s0"}
    earlier = {
        "tune": done(expand.tasks(spec, "tune", {}), lambda task: 0.9 if task.name in best else 0.5)
    }
    tasks = expand.tasks(spec, "compare", earlier)
    assert [(task.arm, task.seed) for task in tasks] == [
        (arm, s) for arm in ("arcface", "cdml") for s in range(3)
    ]
    assert tasks[0].config["loss"] == {
        "name": "arcface",
        "scale": 16.0,
        "margin_rad": 0.35,
    }  # the preset's
    assert tasks[4].config["loss"] == {
        "name": "cdml",
        "match_mean": True,
        "scale": 8.0,
        "alpha": 0.3,
    }
    assert tasks[4].config["seed"] == 1
    assert tasks[4].protocols == ("digits/known", "digits/strangers")


def test_one_point_for_all_arms_is_the_best_on_average(tmp_path):
    tune = {**PLAIN["stages"]["tune"], "grids": {}, "choose_for": "all"}
    spec = load(written(tmp_path, stages=stages(tune=tune)))
    value = {("arcface", 8.0): 0.9, ("arcface", 16.0): 0.8, ("cdml", 8.0): 0.5, ("cdml", 16.0): 0.7}
    earlier = done(
        expand.tasks(spec, "tune", {}), lambda task: value[task.arm, task.point["loss.scale"]]
    )
    chosen = expand.best(spec.stages["tune"], earlier)
    assert chosen["arcface"].point == chosen["cdml"].point == {"loss.scale": 16.0}
    assert chosen["arcface"].value == 0.8
    assert [
        task.config["loss"]["scale"] for task in expand.tasks(spec, "compare", {"tune": earlier})
    ] == [16.0] * 6


@pytest.mark.parametrize(("measure", "winner"), [("accuracy", "cdml"), ("eer", "arcface")])
def test_only_the_winner_is_trained_in_the_next_stage(tmp_path, measure, winner):
    tune = {**PLAIN["stages"]["tune"], "choose_by": measure}
    large = {"winner_of": "tune", "settings": {"epochs": 3}, "start_from": "tune"}
    spec = load(written(tmp_path, stages={"tune": tune, "large": large}))
    earlier = [
        Done(t, f"runs/{t.arm}", {"digits/strangers": {measure: 0.7 if t.arm == "cdml" else 0.6}})
        for t in expand.tasks(spec, "tune", {})
    ]
    (task,) = expand.tasks(spec, "large", {"tune": earlier})
    assert (task.arm, task.config["loss"]["name"], task.config["epochs"]) == (winner, winner, 3)
    assert task.config["start_from"] == f"runs/{winner}"


def test_several_presets_name_the_tasks(tmp_path):
    large = {"presets": ["ms1mv3/datn_page/r50_lite_cdml", "ms1mv3/datn_page/r100_lite_cdml"]}
    spec = load(written(tmp_path, settings={}, stages={"large": large}))
    assert [task.name for task in expand.tasks(spec, "large", {})] == [
        "large/ms1mv3/datn_page/r50_lite_cdml/s0",
        "large/ms1mv3/datn_page/r100_lite_cdml/s0",
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"preset": "lab/cpu/arcfac"},
            "no preset 'lab/cpu/arcfac' .did you mean 'lab/cpu/arcface'",
        ),
        ({"stage": {}}, "stage: Extra inputs"),
        ({"stages": {}}, "stages: .*at least 1"),
        ({"stages": {"a": {"sedes": 3}}}, "stages.a.sedes: Extra inputs"),
        ({"stages": {"a": {"seeds": []}}}, "stages.a: seeds must be one or more"),
        ({"stages": {"a": {"seeds": [1, 1]}}}, "seeds must be one or more, without repetition"),
        ({"stages": {"a": {"tuned_by": "b"}}}, "stages.a.tuned_by: 'b' is not an earlier stage"),
        ({"stages": {"a": {}, "b": {"winner_of": "a"}}}, "stage 'a' has no protocols to choose by"),
        (
            {"stages": {"a": {"protocols": ["lab/lfv"]}}},
            "no protocol 'lab/lfv' .did you mean 'lab/lfw'",
        ),
        (
            {"stages": {"a": {"grid": {"loss.scale": []}}}},
            "the grid's key loss.scale has no values",
        ),
        (
            {"stages": {"a": {"grids": {"x": {"loss.scale": [1.0]}}}}},
            "grids.x: no such arm",
        ),
        (
            {"stages": {"a": {}, "b": {"start_from": "a", "seeds": 2}}},
            "stage 'a', from which it starts, lacks some of its seeds",
        ),
        (
            {"stages": {"a": {**BOTH, "protocols": ["lab/lfw"]}, "b": {"tuned_by": "a"}}},
            "b.tuned_by: 'a' has several",
        ),
        (
            {"stages": {"a": {**BOTH, "protocols": ["lab/lfw"]}, "b": {"winner_of": "a"}}},
            "b.winner_of: 'a' has several",
        ),
        (
            {"stages": {"a": BOTH, "b": {"start_from": "a"}}},
            "b.start_from: 'a' has several presets",
        ),
        (
            {"stages": {"a": {**BOTH, "grid": {"loss.scale": [8.0]}}}},
            "stages.a: a grid needs a single preset",
        ),
    ],
)
def test_a_wrong_spec_is_refused_by_file_and_key(tmp_path, changes, sentence):
    with pytest.raises(CdmlLabError, match=sentence) as caught:
        load(written(tmp_path, **changes))
    assert "toy.yaml" in str(caught.value)


def test_a_wrong_setting_names_stage_and_arm(tmp_path):
    spec = load(written(tmp_path, stages={"a": {"arms": {"x": {"loss.margn_rad": 0.3}}}}))
    with pytest.raises(CdmlLabError, match=r"sweep toy, stage a, x: .*margn_rad"):
        expand.tasks(spec, "a", {})


def test_files_that_are_not_a_spec_are_refused(tmp_path):
    with pytest.raises(CdmlLabError, match="does not exist"):
        load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(CdmlLabError, match=r"list\.yaml must contain keys and values"):
        load(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(CdmlLabError, match=r"bad\.yaml is not readable YAML"):
        load(tmp_path / "bad.yaml")


LAB = {
    "epochs": 1,
    "data.num_identities": 20,
    "backbone": {"name": "small", "embedding_dim": 8, "size": 32},
}


def test_every_seed_can_have_a_separate_world(tmp_path):
    stage = {"seeds": 3, "protocols": ["lab/lfw"], "world_per_seed": True}
    spec = load(written(tmp_path, settings=LAB, stages={"compare": stage}))
    tasks = expand.tasks(spec, "compare", {})
    assert [(task.seed, task.world, task.config["data"]["world_seed"]) for task in tasks] == [
        (0, 0, 0), (1, 1, 1), (2, 2, 2),
    ]  # fmt: skip
    assert len({str(record.plain_config(task.config)) for task in tasks}) == 1
    fixed = expand.tasks(
        load(written(tmp_path, settings=LAB, stages={"compare": {"seeds": 2}})), "compare", {}
    )
    assert [(task.world, task.config["data"].get("world_seed")) for task in fixed] == [
        (0, None),
        (0, None),
    ]


def test_a_world_per_seed_needs_the_lab(tmp_path):
    spec = load(written(tmp_path, stages={"compare": {"seeds": 3, "world_per_seed": True}}))
    with pytest.raises(
        CdmlLabError, match="stage compare: world_per_seed needs data 'lab', got 'digits'"
    ):
        expand.tasks(spec, "compare", {})
