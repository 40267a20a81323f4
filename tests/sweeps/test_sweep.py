"""Sweeps of trainings on digits, each of a second: finished, skipped and retried tasks."""

import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
from filelock import FileLock
from tests.sweeps.test_spec import stages, written

from cdmllab.data.sets import ArraySet
from cdmllab.errors import CdmlLabError
from cdmllab.runs import Run
from cdmllab.sweeps import Sweep, expand, load, record, summary, task
from cdmllab.sweeps.sweep import TaskState, line
from cdmllab.training import Config, datasets, train


class Here:
    """An engine that does each task at once in this process; `before` may raise instead."""

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
    """A finished sweep of three stages: the folder of its runs, its spec, results and messages."""
    folder = tmp_path_factory.mktemp("finished")
    spec = load(
        written(
            folder,
            curves=["loss", "accuracy"],
            stages=stages(
                compare={"tuned_by": "tune", "seeds": 2, "protocols": ["digits/*"]},
                large={
                    "winner_of": "tune",
                    "start_from": "compare",
                    "seeds": 2,
                    "protocols": ["digits/known"],
                },
            ),
        )
    )
    messages = []
    done = Sweep(spec, folder).run(Here(folder), messages.append)
    return folder, spec, done, messages


def test_sweep_trains_and_evaluates_stage_by_stage(finished):
    folder, _, done, messages = finished
    assert [len(done[name]) for name in ("tune", "compare", "large")] == [6, 4, 2]
    # Seed 0 of the two best points was trained in the stage that chose them.
    assert len(list(Run.list(folder))) == 10
    large = done["large"][1]
    assert large.task.arm in ("arcface", "cdml")
    start = Run.open(large.task.config["start_from"]).config
    assert (start["loss"], start["seed"]) == (large.task.config["loss"], 1)
    assert 0.5 < large.measures["digits/known"]["accuracy"] <= 1.0
    assert len(large.per_fold["digits/known"]) == 10
    assert sum(line.startswith("[") for line in messages) == 12
    assert messages[-1].startswith("[2/2] large/")


def test_the_summary_has_a_row_for_every_arm_and_point(finished):
    _, spec, done, _ = finished
    lines = summary(spec, "tune", done["tune"])
    assert len(lines) == 1 + 6
    assert sum("<- best of this arm" in line for line in lines) == 2
    assert "±" in summary(spec, "compare", done["compare"])[1]


def test_protocol_without_accuracy_is_recorded_when_nothing_is_chosen(finished):
    _, spec, by_stage, _ = finished
    templates = {"lab/ijb": {"tar_at_far_0.001": 0.2}}
    done = [one._replace(measures=one.measures | templates) for one in by_stage["compare"]]
    assert summary(spec, "compare", done) == summary(spec, "compare", by_stage["compare"])
    (stage,) = record.build(spec, {"compare": done})["stages"]
    assert stage["chosen"] == {}
    assert all(
        run["measures"]["lab/ijb"] == templates["lab/ijb"]
        for g in stage["groups"]
        for run in g["runs"]
    )


def test_finished_tasks_are_not_repeated(finished):
    folder, spec, done, _ = finished
    engine = Here(folder)
    again = Sweep(spec, folder)
    assert {row.state for row in again.rows()} == {"finished"}
    assert again.run(engine) == done
    assert engine.done == []


def one_digit_is_another(monkeypatch):
    """The digits with a changed first image."""
    digits = datasets.load("digits", {})
    images = digits.images.copy()
    images[0] = 255 - images[0]
    changed = ArraySet(images, digits.labels, digits.num_identities)
    monkeypatch.setitem(
        datasets._TABLE, "digits", datasets.DataSource("", lambda: changed, lambda: "")
    )


def test_tasks_trained_on_other_data_are_repeated(tmp_path, monkeypatch):
    spec = load(written(tmp_path, stages={"one": {"seeds": 2}}))
    first = Sweep(spec, tmp_path).run(Here(tmp_path))["one"]
    with monkeypatch.context() as patched:
        one_digit_is_another(patched)
        engine = Here(tmp_path)
        second = Sweep(spec, tmp_path).run(engine)["one"]
        assert engine.done == ["one/s0", "one/s1"]
        assert not {one.run for one in first} & {one.run for one in second}
    looks = []
    look = datasets.look
    monkeypatch.setattr(
        datasets, "look", lambda *arguments: (looks.append(arguments), look(*arguments))[1]
    )
    again = Sweep(spec, tmp_path).run(Here(tmp_path))["one"]
    assert {one.run for one in again} == {
        one.run for one in first
    }  # the data is the original again
    assert len(looks) <= 1 + 2  # once for the table of states, once for each run that is found


def test_task_started_on_other_data_is_restarted(tmp_path, monkeypatch):
    spec = load(written(tmp_path, stages={"one": {}}))
    (only,) = expand.tasks(spec, "one", {})
    with monkeypatch.context() as patched:
        one_digit_is_another(patched)
        patched.setattr(
            "cdmllab.training.entry.keep", lambda *_: (_ for _ in ()).throw(KeyError("a kill"))
        )
        with pytest.raises(KeyError):
            train(Config.parse(only.config), within=tmp_path)
    messages = []
    done = task.carry_out(only, tmp_path, messages.append)
    (failed, finished) = Run.list(tmp_path)
    assert (failed.status, finished.status) == ("failed", "finished")
    assert done.run == str(finished.folder)
    assert any("was started on other data (images)" in line for line in messages)


def test_missing_evaluation_is_repeated(tmp_path):
    spec = load(written(tmp_path, stages={"one": {"protocols": ["digits/known"], "seeds": 2}}))
    first = Sweep(spec, tmp_path).run(Here(tmp_path))["one"]
    next((tmp_path / first[0].run).glob("eval/*.json")).unlink()
    engine = Here(tmp_path)
    assert Sweep(spec, tmp_path).run(engine)["one"] == first  # trained before, judged again
    assert engine.done == ["one/s0"]
    assert len(list(Run.list(tmp_path))) == 2


def test_mirrored_images_requested_later_are_evaluated_again(finished, tmp_path):
    plain = {"protocols": ["digits/known"], "seeds": 1}
    first = Sweep(load(written(tmp_path, stages={"one": plain})), tmp_path).run(Here(tmp_path))[
        "one"
    ]
    spec, engine = load(written(tmp_path, stages={"one": {**plain, "flip": True}})), Here(tmp_path)
    again = Sweep(spec, tmp_path).run(engine)["one"]
    assert engine.done == ["one/s0"]
    assert again[0].run == first[0].run
    assert again[0].measures != first[0].measures
    (group,) = record.build(spec, {"one": again})["stages"][0]["groups"]
    assert group["flip"] is True


def test_table_of_states_shows_running_and_missing_tasks(tmp_path):
    spec = load(written(tmp_path, stages={"one": {"protocols": ["digits/known"], "seeds": 1}}))
    sweep = Sweep(spec, tmp_path)
    seen = []
    (done,) = sweep.run(
        Here(tmp_path, lambda _: seen.extend(row.state for row in Sweep(spec, tmp_path).rows()))
    )["one"]
    assert seen == ["running"]
    shutil.rmtree(done.run)
    (row,) = Sweep(spec, tmp_path).rows()
    assert "digits/known: " in line(row)
    assert line(row).endswith("is gone")
    impossible = replace(row, evaluations={"lfw": "a" * 5000})
    assert line(impossible).endswith("is gone")
    assert len(line(impossible)) < 500


def test_runs_of_the_command_line_are_found(tmp_path):
    spec = load(written(tmp_path, stages={"one": {}}))
    (only,) = expand.tasks(spec, "one", {})
    before = train(Config.parse(only.config), within=tmp_path)
    (done,) = Sweep(spec, tmp_path).run(Here(tmp_path))["one"]
    assert done.run == str(before.run.folder)


def test_dead_process_is_retried_and_an_error_is_not(tmp_path):
    spec = load(written(tmp_path, retries=2, stages={"one": {"seeds": 3}}))
    tries = {}

    def before(one):
        tries[one.name] = tries.get(one.name, 0) + 1
        if one.seed == 1 and tries[one.name] < 3:
            raise BrokenProcessPool("the process died")
        if one.seed == 2:
            raise RuntimeError("CUDA out of memory")

    sweep = Sweep(spec, tmp_path)
    with pytest.raises(
        CdmlLabError, match=r"1 of 3 trainings failed, the first is one/s2: RuntimeError: CUDA out"
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
    with pytest.raises(CdmlLabError, match="its process was killed or ran out of memory"):
        sweep.run(Here(tmp_path, before))
    assert sweep.rows()[0].attempts == 2


def test_missing_data_is_reported_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "empty"))
    spec = load(
        written(
            tmp_path,
            settings={},
            stages={"one": {}, "two": {"presets": ["casia/datn_page/r50_cdml"]}},
        )
    )
    engine = Here(tmp_path)
    with pytest.raises(CdmlLabError, match=r"casia_webface\.py"):
        Sweep(spec, tmp_path)._prepare(expand.tasks(spec, "two", {}), print)
    assert engine.done == []


def test_second_process_on_one_sweep_is_refused(tmp_path):
    spec = load(written(tmp_path, stages={"one": {}}))
    sweep = Sweep(spec, tmp_path)
    sweep.folder.mkdir(parents=True)
    with (
        FileLock(sweep.folder / ".lock"),
        pytest.raises(CdmlLabError, match="another process runs this sweep"),
    ):
        Sweep(spec, tmp_path).run(Here(tmp_path))


def test_unreadable_states_are_reported(tmp_path):
    spec = load(written(tmp_path, stages={"one": {}}))
    sweep = Sweep(spec, tmp_path)
    sweep.folder.mkdir(parents=True)
    (sweep.folder / "states.json").write_text("[{")
    with pytest.raises(CdmlLabError, match=r"states\.json cannot be read"):
        Sweep(spec, tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        '"state": "finished", "seconds": 1e300',
        '"state": "finished", "seconds": NaN',
        '"state": "finished", "seconds": -1',
        '"state": "failed", "attempts": 1' + "0" * 30,
        '"state": "many"',
        '"state": "finished", "run": [1]',
        '"state": ' + "[" * 900 + "]" * 900,
    ],
)
def test_absurd_states_are_refused(tmp_path, row):
    spec = load(written(tmp_path, stages={"one": {}}))
    folder = Sweep(spec, tmp_path).folder
    folder.mkdir(parents=True)
    (folder / "states.json").write_text(f'[{{"task": "a", {row}}}]')
    with pytest.raises(CdmlLabError, match=r"states\.json cannot be read"):
        Sweep(spec, tmp_path)


def test_table_of_states_has_one_short_line_for_each_row(tmp_path):
    row = TaskState("a\nb" + "x" * 100_000, "failed", error="c\x1b[31m\n" + "y" * 100_000)
    assert line(row).isprintable()
    assert len(line(row)) < 600
