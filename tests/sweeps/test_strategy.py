"""The source document's strategy: tune on a small set, train the best on a large one, export it."""

from pathlib import Path

import yaml
from tests.sweeps.test_sweep import Here

from cdmllab import results
from cdmllab.sweeps import Sweep, expand, load


def test_the_strategy_of_the_source_document_in_the_lab_at_toy_size(tmp_path, monkeypatch):
    """Tune on a small world, choose by people of their own, train the winner on a large one, export
    it.
    """
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "data"))
    settings = yaml.safe_load((results.folder() / "sweeps/strategy_lab.yaml").read_text())
    tune, large = settings["stages"]["tune"], settings["stages"]["large"]
    tune |= {
        "settings": {
            "data.num_identities": 12,
            "data.images_per_identity": 8,
            "epochs": 1,
            "batch_size": 32,
        }
    }
    tune["settings"] |= {"backbone": {"name": "small", "embedding_dim": 32, "size": 32, "width": 4}}
    tune |= {"protocols": ["lab-validation/cfp_ff"]}
    large |= {
        "settings": {**tune["settings"], "data.num_identities": 16},
        "protocols": ["lab-validation/cfp_ff"],
    }
    large["export"] = ["onnx"]
    (tmp_path / "strategy.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    spec = load(tmp_path / "strategy.yaml")
    finished = Sweep(spec, tmp_path).run(Here(tmp_path))
    assert len(finished["tune"]) == 6
    (last,) = finished["large"]
    assert last.task.arm == expand.winner(spec.stages["tune"], finished["tune"])
    assert last.task.config["data"]["num_identities"] == 16
    assert last.measures["lab-validation/cfp_ff"]["auc"] > 0.5
    assert (Path(last.run) / "export/backbone.onnx").is_file()


def test_the_strategy_on_the_data_it_names_expands():
    spec = load(results.folder() / "sweeps/strategy_casia_ms1mv3.yaml")
    tasks = expand.tasks(spec, "tune", {})
    assert {task.config["data"]["folder"] for task in tasks} == {"casia_webface_112"}
    best = [
        expand.Done(t, "", {"cfp_fp": {"accuracy": 0.9 + t.config["loss"].get("alpha", 0)}})
        for t in tasks
    ]
    large = expand.tasks(spec, "large", {"tune": best})
    assert [task.config["backbone"]["name"] for task in large] == ["r50_lite", "r100_lite"]
    assert {task.config["data"]["folder"] for task in large} == {"ms1mv3_112"}
    assert all("onnx-int8" in task.export for task in large)
