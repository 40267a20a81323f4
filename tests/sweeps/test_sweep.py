"""Sweeps of trainings on digits, each a second: what is done, skipped, tried again, and what a kill costs."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest
import yaml
from filelock import FileLock
from test_spec import DIGITS, stages, written

from cdmllab import results
from cdmllab.errors import CdmlLabError
from cdmllab.runs import Run
from cdmllab.sweeps import Sweep, engines, expand, load, record, summary, task
from cdmllab.training import Config, train

SLOW = {**DIGITS, "epochs": 40, "watch": {"checkpoint_every": 10, "log_every": 1}}


class Here:
    """An engine that does each task at once, in this process; `before` may raise in its place."""

    def __init__(self, within, before=lambda task: None, room=1):
        self.within, self.before, self.room, self.done = within, before, room, []

    def submit(self, one):
        future = Future()
        try:
            self.before(one)
            future.set_result(task.carry_out(one, self.within))
            self.done.append(one.name)
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of three stages, done once: its spec, the folder of its runs, what it found."""
    folder = tmp_path_factory.mktemp("finished")
    spec = load(
        written(
            folder,
            curves=["loss", "accuracy"],
            stages=stages(
                compare={"tuned_by": "tune", "seeds": 2, "protocols": ["digits/*"]},
                large={"winner_of": "tune", "start_from": "compare", "seeds": 2, "protocols": ["digits/known"]},
            ),
        )
    )
    told = []
    found = Sweep(spec, folder).run(Here(folder), told.append)
    return folder, spec, found, told


def test_a_sweep_trains_judges_and_goes_from_stage_to_stage(finished):
    folder, _, found, told = finished
    assert [len(found[name]) for name in ("tune", "compare", "large")] == [6, 4, 2]
    assert len(list(Run.list(folder))) == 10  # seed 0 of the two best points was trained when they were found
    large = found["large"][1]
    assert large.task.arm in ("arcface", "cdml")
    begun = Run.open(large.task.config["start_from"]).config
    assert (begun["loss"], begun["seed"]) == (large.task.config["loss"], 1)
    assert 0.5 < large.measures["digits/known"]["accuracy"] <= 1.0
    assert len(large.per_fold["digits/known"]) == 10
    assert sum(line.startswith("[") for line in told) == 12
    assert told[-1].startswith("[2/2] large/")


def test_the_summary_has_a_row_for_every_arm_and_point(finished):
    _, spec, found, _ = finished
    lines = summary(spec, "tune", found["tune"])
    assert len(lines) == 1 + 6
    assert sum("<- best of this arm" in line for line in lines) == 2
    assert "±" in summary(spec, "compare", found["compare"])[1]


def test_a_protocol_without_accuracy_is_recorded_where_there_is_nothing_to_choose(finished):
    _, spec, found, _ = finished
    templates = {"lab/ijb": {"tar_at_far_0.001": 0.2}}
    done = [one._replace(measures=one.measures | templates) for one in found["compare"]]
    assert summary(spec, "compare", done) == summary(spec, "compare", found["compare"])
    (stage,) = record.of(spec, {"compare": done})["stages"]
    assert stage["chosen"] == {}
    assert all(run["measures"]["lab/ijb"] == templates["lab/ijb"] for g in stage["groups"] for run in g["runs"])


def test_what_is_finished_is_not_done_again(finished):
    folder, spec, found, _ = finished
    engine = Here(folder)
    again = Sweep(spec, folder)
    assert {row.state for row in again.rows()} == {"finished"}
    assert again.run(engine) == found
    assert engine.done == []


def test_an_evaluation_that_is_gone_is_made_again(tmp_path):
    spec = load(written(tmp_path, stages={"one": {"protocols": ["digits/known"], "seeds": 2}}))
    first = Sweep(spec, tmp_path).run(Here(tmp_path))["one"]
    next((tmp_path / first[0].run).glob("eval/*.json")).unlink()
    engine = Here(tmp_path)
    assert Sweep(spec, tmp_path).run(engine)["one"] == first  # trained before, judged again
    assert engine.done == ["one/s0"]
    assert len(list(Run.list(tmp_path))) == 2


def test_runs_of_the_command_line_are_found(tmp_path):
    spec = load(written(tmp_path, stages={"one": {}}))
    (only,) = expand.tasks(spec, "one", {})
    before = train(Config.parse(only.config), within=tmp_path)
    (done,) = Sweep(spec, tmp_path).run(Here(tmp_path))["one"]
    assert done.run == str(before.run.folder)


def test_a_dead_process_is_tried_again_and_an_error_is_not(tmp_path):
    spec = load(written(tmp_path, retries=2, stages={"one": {"seeds": 3}}))
    tries = {}

    def before(one):
        tries[one.name] = tries.get(one.name, 0) + 1
        if one.seed == 1 and tries[one.name] < 3:
            raise BrokenProcessPool("the process died")
        if one.seed == 2:
            raise FloatingPointError("the loss is nan")

    sweep = Sweep(spec, tmp_path)
    with pytest.raises(
        CdmlLabError, match=r"1 of 3 trainings failed, the first is one/s2: FloatingPointError: the loss"
    ):
        sweep.run(Here(tmp_path, before))
    assert {row.task: (row.state, row.attempts) for row in sweep.rows()} == {
        "one/s0": ("finished", 1), "one/s1": ("finished", 3), "one/s2": ("failed", 1)}  # fmt: skip
    engine = Here(tmp_path)
    assert len(Sweep(spec, tmp_path).run(engine)["one"]) == 3
    assert engine.done == ["one/s2"]


def test_retries_end(tmp_path):
    spec = load(written(tmp_path, retries=1, stages={"one": {}}))

    def before(one):
        raise BrokenProcessPool("the process died")

    sweep = Sweep(spec, tmp_path)
    with pytest.raises(CdmlLabError, match="the process died"):
        sweep.run(Here(tmp_path, before))
    assert sweep.rows()[0].attempts == 2


def test_missing_data_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "empty"))
    spec = load(written(tmp_path, settings={}, stages={"one": {}, "two": {"presets": ["casia/document/r50_cdml"]}}))
    engine = Here(tmp_path)
    with pytest.raises(CdmlLabError, match=r"casia_webface\.py"):
        Sweep(spec, tmp_path)._prepare(expand.tasks(spec, "two", {}), print)
    assert engine.done == []


def test_two_processes_on_one_sweep(tmp_path):
    spec = load(written(tmp_path, stages={"one": {}}))
    sweep = Sweep(spec, tmp_path)
    sweep.folder.mkdir(parents=True)
    with FileLock(sweep.folder / ".lock"), pytest.raises(CdmlLabError, match="another process runs this sweep"):
        Sweep(spec, tmp_path).run(Here(tmp_path))


def test_unreadable_states_are_told(tmp_path):
    spec = load(written(tmp_path, stages={"one": {}}))
    sweep = Sweep(spec, tmp_path)
    sweep.folder.mkdir(parents=True)
    (sweep.folder / "states.json").write_text("[{")
    with pytest.raises(CdmlLabError, match=r"states\.json cannot be read"):
        Sweep(spec, tmp_path)


def test_the_strategy_of_the_source_document_in_the_lab_at_toy_size(tmp_path, monkeypatch):
    """Tune on a small world, choose by people of their own, train the winner on a large one, export it."""
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "data"))
    told = yaml.safe_load((results.folder() / "sweeps/strategy_lab.yaml").read_text())
    tune, large = told["stages"]["tune"], told["stages"]["large"]
    tune |= {"settings": {"data.num_identities": 12, "data.images_per_identity": 8, "epochs": 1, "batch_size": 32}}
    tune |= {"protocols": ["lab-validation/cfp_ff"]}
    large |= {"settings": {**tune["settings"], "data.num_identities": 16}, "protocols": ["lab-validation/cfp_ff"]}
    large["export"] = ["onnx"]
    (tmp_path / "strategy.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
    spec = load(tmp_path / "strategy.yaml")
    found = Sweep(spec, tmp_path).run(Here(tmp_path))
    assert len(found["tune"]) == 6
    (last,) = found["large"]
    assert last.task.arm == expand.winner(spec.stages["tune"], found["tune"])
    assert last.task.config["data"]["num_identities"] == 16
    assert last.measures["lab-validation/cfp_ff"]["auc"] > 0.5
    assert (Path(last.run) / "export/backbone.onnx").is_file()


def test_the_strategy_on_the_data_it_names_expands():
    spec = load(results.folder() / "sweeps/strategy_casia_ms1mv3.yaml")
    tasks = expand.tasks(spec, "tune", {})
    assert {task.config["data"]["folder"] for task in tasks} == {"casia_webface_112"}
    best = [expand.Done(t, "", {"cfp_fp": {"accuracy": 0.9 + t.config["loss"].get("alpha", 0)}}) for t in tasks]
    large = expand.tasks(spec, "large", {"tune": best})
    assert [task.config["backbone"]["name"] for task in large] == ["r50_lite", "r100_lite"]
    assert {task.config["data"]["folder"] for task in large} == {"ms1mv3_112"}
    assert all("onnx-int8" in task.export for task in large)


def test_processes_of_this_machine_and_one_that_is_killed(tmp_path):
    """A worker is killed in its first training; it is begun again, and the other one does not notice."""
    spec = load(written(tmp_path, settings=SLOW, stages={"one": {"seeds": 3, "protocols": ["digits/known"]}}))
    killed = []

    with engines.local(2, tmp_path) as engine:
        submit = engine.submit

        def watched(one):
            future = submit(one)
            if one.seed == 1 and not killed:
                killed.append(kill_the_trainer(tmp_path, "__s1__"))
            return future

        engine.submit = watched
        sweep = Sweep(spec, tmp_path)
        found = sweep.run(engine)["one"]
    assert killed == [True]
    assert len(found) == 3
    attempts = {row.task: row.attempts for row in sweep.rows()}
    assert attempts == {"one/s0": 1, "one/s1": 2, "one/s2": 1}
    assert len([run for run in Run.list(tmp_path) if run.config["seed"] == 1]) == 1  # continued, not begun anew


def test_a_local_ray(tmp_path):
    pytest.importorskip("ray")
    spec = load(written(tmp_path, stages={"one": {"seeds": 2, "protocols": ["digits/known"]}}))
    with engines.ray("local", tmp_path) as engine:
        assert engine.room >= 1
        sweep = Sweep(spec, tmp_path)
        found = sweep.run(engine)["one"]
    assert len(found) == 2
    assert all(one.measures["digits/known"]["accuracy"] > 0.5 for one in found)
    assert {row.state for row in sweep.rows()} == {"finished"}
    assert json.loads((sweep.folder / "states.json").read_text())[0]["state"] == "finished"


def kill_the_trainer(within, part):
    """Kill the process that trains the run whose folder has `part` in its name, once it has a checkpoint."""
    for _ in range(2400):
        if list(within.glob(f"*{part}*/checkpoints/step-*")):
            break
        time.sleep(0.05)
    (folder,) = within.glob(f"*{part}*")
    for child in psutil.Process().children(recursive=True):
        if any(str(folder) in file.path for file in child.open_files()):  # its lock
            os.kill(child.pid, signal.SIGKILL)
            return True
    return False


def test_processes_end_with_the_sweep_that_is_killed(tmp_path):
    """No orphan goes on training: whoever starts the same sweep again must not meet it."""
    path = written(tmp_path, settings=SLOW, stages={"one": {"seeds": 2}})
    environment = {**os.environ, "CDMLLAB_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cdmllab", "sweep", str(path), "--workers", "2"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "runs").glob("*/checkpoints/step-*")):
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("finished") == 2
    assert len(list(Run.list(tmp_path / "runs"))) == 2  # continued, not begun anew
