"""A step that makes a class centre non-finite ends the training with a diagnosis."""

import json

import pytest
import torch

from cdmllab.runs import Run
from cdmllab.training import Config, DivergenceError, train

SHORT = {
    "name": "digits",
    "data": {"name": "digits"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "optimiser": {"lr": 0.05},
    "epochs": 1,
    "batch_size": 64,
}


@pytest.mark.parametrize("backend", ["dense", "blocked"])
def test_a_class_centre_that_is_not_finite_is_a_divergence(backend, tmp_path, monkeypatch):
    original, taken = torch.optim.SGD.step, []

    def step(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        taken.append(self)
        if len(taken) == 3:
            centres = [p for group in self.param_groups for p in group["params"]][-1]
            assert centres.shape[1] == 8
            with torch.no_grad():
                centres[2, 5] = torch.inf
        return result

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    config = Config.parse({**SHORT, "loss": {"name": "arcface", "scale": 16.0, "backend": backend}})
    with pytest.raises(
        DivergenceError, match=r"a class centre is not finite at step \d+ .* after the step before"
    ):
        train(config, within=tmp_path)
    (run,) = Run.list(tmp_path)
    assert run.status == "failed"
    diagnosis = json.loads((run.folder / "diagnosis.json").read_text())
    assert diagnosis["parameters_not_finite"] == ["head.centres"]
    assert diagnosis["embeddings_not_finite"] == 0
