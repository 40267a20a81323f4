"""A row from mirror to verdict: each step is done once, even if interrupted in between."""

import json
import multiprocessing
import os
import re
import signal
from pathlib import Path

import pytest
import yaml

from cdmllab.data.fetching import Patience
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.reproduction import plan, steps
from cdmllab.reproduction.plan import Options
from cdmllab.training.probe import Probe

OPTIONS = Options(probe_s=1.0)
SHORT = Patience(stall_s=5.0, attempts=2, pause_s=0.0)
FINAL = (steps.COMPARISON, f"{steps.RELEASE}/README.md", f"{steps.RELEASE}/model.safetensors")


def planned(row, sets, data, work):
    """A plan without its probe."""
    config, changes = plan.configure(row, OPTIONS)
    required = plan.required_sets(row, sets)
    timed = plan.Timed("", 0.0, 1.0, 1.0, Probe(1.0, 1.0, 0.0, 1.0, 1))
    return plan.RowPlan(config, changes, required, 0, 0, 1, 128, timed, None)


def go(mini, data, report=lambda _: None, within=None):
    work = steps.RowWork(mini.row, 0, within)
    steps.accept(work, list(mini.sets.sets))
    row_plan = planned(mini.row, mini.sets, data, work.folder)
    return steps.carry_out(work, row_plan, data, report, options=OPTIONS, patience=SHORT)


def final(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FINAL}


def test_row_is_fetched_trained_and_judged_once(mini, data, mirror):
    messages = []
    done = go(mini, data, messages.append)
    assert done.verdict.startswith(
        ("Reproduced within the errors", "Not reproduced", "Above the published")
    )
    steps_reported = [
        line.split(":")[0] for line in messages if not line.startswith((" ", "step", "mini"))
    ]
    assert steps_reported == [
        "fetch", "fetch", "prepare", "prepare", "train", "evaluate", "compare",
    ]  # fmt: skip
    kept = json.loads((done.folder / steps.COMPARISON).read_text())
    (one,) = kept["protocols"]
    assert (one["protocol"], one["published"], len(one["per_fold"])) == ("lfw", 65.0, 10)
    assert kept["deviations"] == ["it is small"]
    before, requests = final(done.folder), len(mirror.asked)
    weights = (done.run.folder / "backbone.safetensors").stat().st_mtime_ns
    again = []
    assert go(mini, data, again.append).compared == done.compared
    assert (final(done.folder), len(mirror.asked)) == (before, requests)
    assert (done.run.folder / "backbone.safetensors").stat().st_mtime_ns == weights
    assert "evaluate: lfw (done before)" in again


def test_card_follows_the_hub_and_reports_the_results(mini, data):
    done = go(mini, data)
    text = (done.folder / steps.RELEASE / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(done.compared[0].ours, abs=1e-3)
    assert "it is small" in text
    cards = pytest.importorskip("huggingface_hub").ModelCard
    (parsed,) = cards.load(done.folder / steps.RELEASE / "README.md").data.eval_results
    assert (parsed.dataset_name, parsed.metric_value) == ("lfw", result["metrics"][0]["value"])


def work_until_killed(mini, data, pipe, within):
    def report(line):
        pipe.send(line)

    go(mini, data, report, within)


def test_row_killed_at_each_step_ends_with_the_same_files(mini, data, tmp_path, monkeypatch):
    undisturbed = final(go(mini, data).folder)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("CDMLLAB_DATA", str(other))
    context = multiprocessing.get_context("fork")
    moments = [
        "  mini_pack.zip: trying",
        "fetch: mini_pack",
        "  unpacking",
        "prepare:",
        "step 5 ",
        "train:",
        "evaluate:",
    ]
    for moment in moments:
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=work_until_killed, args=(mini, other, there, tmp_path / "killed")
        )
        process.start()
        there.close()
        seen = []
        while True:
            try:
                seen.append(here.recv())
            except EOFError:
                pytest.fail(f"it ended before {moment!r}: {seen}")
            if seen[-1].startswith(moment) or f" {moment}" in seen[-1]:
                break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    done = go(mini, other, within=tmp_path / "killed")
    assert final(done.folder) == undisturbed
    assert not [p for p in other.rglob("*") if p.name.endswith((".part", ".unpacking"))]


def test_real_row_starts_without_a_network_and_names_the_source_of_its_data(
    data, tmp_path, monkeypatch
):
    """Without a network: no address answers."""
    from cdmllab.data import registry
    from cdmllab.reproduction import find

    monkeypatch.setenv("CDMLLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CDMLLAB_GOOGLE_DRIVE", "http://127.0.0.1:9")
    row = find("casia/r50_lite_cdml")
    work = steps.RowWork(row, 0)
    row_plan = planned(row, registry.load(), data, work.folder)
    message = (
        r"faces_webface_112x112\.zip could not be .*\(Google Drive .*Get it manually from https"
    )
    with pytest.raises(DataError, match=message):
        steps.carry_out(work, row_plan, data, lambda _: None, options=OPTIONS, patience=SHORT)
    assert [p.name for p in data.rglob("*") if p.is_file()] == []


def test_nothing_is_started_on_a_disk_that_is_too_small(mini, data, mirror):
    work = steps.RowWork(mini.row, 0)
    row_plan = planned(mini.row, mini.sets, data, work.folder)._replace(
        disk_bytes=5 * 10**9, free_bytes=2 * 10**9
    )
    with pytest.raises(
        CdmlLabError,
        match=r"needs 5\.0 GB of disk, but only 2\.0 GB are free: nothing was downloaded",
    ):
        steps.carry_out(work, row_plan, data, lambda _: None, options=OPTIONS)
    assert mirror.asked == []


def test_pack_of_another_size_is_refused(mini, data):
    other = mini.sets.sets["mini"].model_copy(update={"makes": {"mini_112": {"images": 999}}})
    sets = mini.sets.model_copy(update={"sets": {**mini.sets.sets, "mini": other}})
    with pytest.raises(DataError, match="has 128 images, expected 999 for a world"):
        go(mini._replace(sets=sets), data)


def test_consent_is_required_for_missing_data_and_remembered(mini, data):
    work = steps.RowWork(mini.row, 0)
    assert [one.name for one in steps.missing_consent(mini.row, work, mini.sets, data)] == [
        "mini",
        "mini_bins",
    ]
    steps.accept(work, ["mini"])
    again = steps.RowWork(mini.row, 0)
    assert [one.name for one in steps.missing_consent(mini.row, again, mini.sets, data)] == [
        "mini_bins"
    ]
    go(mini, data)
    fresh = steps.RowWork(mini.row, 1)
    assert steps.missing_consent(mini.row, fresh, mini.sets, data) == []


def test_plan_states_the_cost_before_anything_is_fetched(mini, data, mirror, tmp_path):
    work = steps.RowWork(mini.row, 0)
    row_plan = plan.make(mini.row, mini.sets, data, work.folder, OPTIONS)
    text = "\n".join(plan.lines(mini.row, row_plan))
    assert mirror.asked == []
    assert row_plan.fetch_bytes == sum(one.bytes for one in mini.sets.sets.values())
    assert row_plan.images == 128
    for word in (
        "licence: to be tried",
        "history: some faces; rendered",
        "fetch ",
        "MiB",
        "differs  it is small",
    ):
        assert word in text
    assert re.search(r"of training here \(3 epochs of 128 images at [\d,]+ per second on cpu", text)


def test_recorded_row_is_read_by_the_table_of_chapter_12(mini, data, tmp_path, monkeypatch):
    from cdmllab.reproduction import ledger
    from cdmllab.results import audit, sweeps

    monkeypatch.setenv("CDMLLAB_COMMIT", "0" * 40)
    results = tmp_path / "results"
    (results / "sweeps").mkdir(parents=True)
    assert sweeps.trained_as_published(mini.row.preset, results) == {}
    done = go(mini, data)
    row_plan = planned(mini.row, mini.sets, data, done.folder)
    path = ledger.write(done, row_plan, results)
    assert path == results / "reproductions/mini__s0.json"
    published = sweeps.trained_as_published(mini.row.preset, results)
    assert published["lfw accuracy"] == pytest.approx([done.compared[0].ours / 100], abs=1e-5)
    _, faults = audit.check(results, tmp_path)
    assert not [fault for fault in faults if "has no" in fault]


def test_comparison_and_evaluation_name_the_copy_of_the_bin(mini, data):
    from cdmllab.data import bins, copies

    done = go(mini, data)
    (one,) = json.loads((done.folder / steps.COMPARISON).read_text())["protocols"]
    assert one["copy"]["content_sha256"] == copies.of_bin(bins.read(data / "verification/lfw.bin"))
    (record,) = (done.run.folder / "eval").glob("lfw*.json")
    assert json.loads(record.read_text())["copy"] == one["copy"]


def test_plan_is_measured_once(mini, data, monkeypatch):
    work = steps.RowWork(mini.row, 0)
    row_plan = plan.make(mini.row, mini.sets, data, work.folder, OPTIONS)
    steps.accept(work, list(mini.sets.sets))
    steps.carry_out(work, row_plan, data, lambda _: None, options=OPTIONS, patience=SHORT)
    monkeypatch.setattr(plan, "probe", None)  # to call it would fail
    again = steps.RowWork(mini.row, 0)
    assert (
        plan.make(mini.row, mini.sets, data, again.folder, OPTIONS, again.measured).timed
        == row_plan.timed
    )


def test_row_is_trained_by_two_processes_that_share_the_batch(mini, data):
    options = OPTIONS._replace(processes=2)
    config, changes = plan.configure(mini.row, options)
    assert (config.batch_size, config.loss.options["backend"]) == (8, "sharded")
    work = steps.RowWork(mini.row, 0)
    row_plan = planned(mini.row, mini.sets, data, work.folder)._replace(
        config=config, deviations=changes
    )
    done = steps.carry_out(work, row_plan, data, lambda _: None, options=options, patience=SHORT)
    assert done.run.status == "finished"
    assert (
        "2 processes with 8 images each" in (done.folder / steps.RELEASE / "README.md").read_text()
    )
