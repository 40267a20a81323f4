"""Measure how many small changes of the maths the tests notice, into ``results/mutation/``.

    # one of PACKAGES, with its record
    python -m tests.mutation.measure metrics
    # 500 of its mutants, drawn with seed 1
    python -m tests.mutation.measure metrics --sample 500 --seed 1
    # some mutants, printed and not recorded
    python -m tests.mutation.measure --only 'cdmllab.metrics.ranked.*'
    # only those of them that survived when they were last tried
    python -m tests.mutation.measure --missed 'cdmllab.metrics.*'
    # renew the reasons in the record after an edit of survivors.yaml
    python -m tests.mutation.measure metrics --explain

mutmut (https://mutmut.readthedocs.io) creates the mutants, finds the tests that reach each function
and forks a process for each mutant. It would also start pytest in each of them, which takes ten
times as long as most tests. Here pytest collects the tests once, and each process runs the tests it
needs, the fastest first, until one fails.

A surviving mutant needs a test that kills it, or a reason in ``survivors.yaml``.

A whole package takes an hour or more, so a record may be that of a sample, with an interval for the
share of all mutants that the tests kill. Tests that are written for the survivors of a sample kill
more of it than of the rest, so that its estimate is the score at its first run, which the record
keeps as ``first`` when the same sample is run again.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.mutation.record import (
    NOTICED,
    PACKAGES,
    ROOT,
    SLOW,
    WHY,
    drawn,
    estimate,
    explain,
    summary,
)


def main() -> None:
    """Run the mutants of some packages and write a record for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)}; default all"
    )
    parser.add_argument("--only", nargs="+", metavar="MUTANT", help="some mutants, by name")
    parser.add_argument(
        "--missed",
        nargs="+",
        metavar="MUTANT",
        help="of these, those that survived when last tried",
    )
    parser.add_argument(
        "--children", type=int, default=os.cpu_count() or 1, help="mutants at a time"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="draw N mutants of each package")
    parser.add_argument("--seed", type=int, default=0, help="of the sample; default 0")
    parser.add_argument(
        "--explain", action="store_true", help="run nothing, but renew the reasons in the records"
    )
    given = parser.parse_args()
    if unknown := set(given.packages) - set(PACKAGES):
        parser.error(
            f"there is no package {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}"
        )
    os.chdir(ROOT)  # mutmut works in the folder of pyproject.toml
    packages = given.packages or list(PACKAGES)
    if given.explain:
        sys.exit("\n".join(line for package in packages for line in explain(package)) or 0)
    for pattern in given.only or given.missed or ():
        names = [pattern]
        if given.missed:
            names = [name for _, name, status in statuses(pattern) if status not in NOTICED]
        if names:
            run(pattern.split(".")[1], names, given.children)
        for line in outcomes(pattern):
            print(line)
    if given.only or given.missed:
        return
    # A record must not contain results of older code or settings.
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    origin = provenance()  # before any record is written, which would make the tree dirty
    failed = False
    for package in packages:
        start = time.monotonic()
        path = ROOT / f"results/mutation/{package}.json"
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        draw = f" --sample {given.sample} --seed {given.seed}" if given.sample else ""
        pattern = f"cdmllab.{package}.*"
        mutants, tried = run(package, [pattern], given.children, given.sample, given.seed)
        result = list(verdicts(pattern))
        if len(result) != tried:
            sys.exit(f"{package}: the run ended after {len(result)} of {tried} mutants")
        record = {
            "command": f"python -m tests.mutation.measure {package}{draw}",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "wall_s": round(time.monotonic() - start),
            "mutmut": version("mutmut"),
            **origin,
            **summary(package, result, yaml.safe_load(WHY.read_text("utf-8"))),
        }
        if given.sample:
            record |= estimate(record, mutants, given.seed, before)
        # Not earlier: the tests above must import cdmllab from the folder of the mutants.
        from cdmllab._util.files import write_text

        write_text(path, json.dumps(record, indent=1) + "\n")
        unexplained = [one for one in record["survivors"] if not one["reason"]]
        print(
            f"{package}: {record['killed']} of {record['mutants']} killed, {len(unexplained)} "
            f"survivors unexplained"
        )
        failed |= bool(unexplained) or record["score"] < 0.9
    sys.exit(failed)


def provenance() -> dict[str, Any]:
    """`cdmllab.runs.provenance`, in a process of its own because this one must not import cdmllab.

    The tests run in this process too, and they would then test the package without its mutants.
    """
    code = "import json, cdmllab.runs; print(json.dumps(cdmllab.runs.provenance()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def selected(package: str) -> list[str]:
    """The arguments of pytest that select the tests of a package."""
    without = [f"--deselect={file}::{name}" for file, names in SLOW.items() for name in names]
    return [*PACKAGES[package], *without]


def run(
    package: str, names: list[str], children: int, sample: int | None = None, seed: int = 0
) -> tuple[int, int]:
    """Let mutmut create the mutants of a package and test those in `names`, or some of them.

    Returns
    -------
    The number of mutants in `names`, and of those to be tested.
    """
    import mutmut.__main__ as mutmut

    collect, counts = mutmut.collect_source_file_mutation_data, (0, 0)

    def some(*, mutant_names: list[str]) -> tuple[list[tuple[Any, str, int | None]], Any]:
        nonlocal counts
        found, data = collect(mutant_names=mutant_names)
        taken = drawn((name for _, name, _ in found), sample or len(found), seed)
        counts = len(found), len(taken)
        return [one for one in found if one[1] in taken], data

    mutmut.collect_source_file_mutation_data = some
    config = mutmut.config()
    config.pytest_add_cli_args_test_selection = selected(package)
    config.only_mutate = [f"src/cdmllab/{package}/*"]
    if not any((ROOT / "mutants/src/cdmllab" / package).glob("*.meta")):
        # mutmut takes the plain copies of an earlier package's run for files with mutants.
        shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    mutmut.get_mutant_runner = lambda workers=1: _server()(
        max_workers=workers, test_runner_class=_tests(), test_runner_args={}
    )
    try:
        mutmut._run(names, children)
    finally:
        mutmut.collect_source_file_mutation_data = collect
    return counts


def _tests() -> type:
    from mutmut.runners.harness import PytestRunner
    from mutmut.state import state

    class Tests(PytestRunner):
        """Runs a mutant's tests in the session that `Server` keeps open."""

        session: pytest.Session | None = None

        def warm_up(self) -> None:
            """Do nothing, because the session is already open."""

        def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
            selected, seconds = set(tests), state().duration_by_test
            items = [item for item in Tests.session.items if item.nodeid in selected]
            items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
            os.chdir("mutants")
            for item, following in pairwise([*items, None]):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if Tests.session.testsfailed:
                    return 1
            return 0 if items else 33  # mutmut's code for a mutant without tests

    return Tests


def _server() -> type:
    from mutmut.mutation.trampoline import set_mutant_under_test
    from mutmut.workers.isolation import ForkServerRunner

    class Server(ForkServerRunner):
        """Forks the mutants' processes from inside pytest's loop over tests, which it replaces."""

        def _forkserver_main(self, work_fd: int, result_fd: int) -> None:
            self._pipes = work_fd, result_fd
            runner = self.test_runner_class()
            arguments = [
                "--rootdir=.",
                "-q",
                *runner._pytest_add_cli_args_test_selection,
                *runner._pytest_add_cli_args,
            ]
            os.chdir("mutants")
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                pytest.main(arguments, plugins=[self])

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            self.test_runner_class.session = session
            os.chdir("..")
            set_mutant_under_test("")
            child = os.fork()
            if child == 0:
                os._exit(
                    self.test_runner_class().run_tests(
                        mutant_name="", tests=[i.nodeid for i in session.items]
                    )
                )
            if os.waitpid(child, 0)[1]:
                print("the tests fail without a mutant", file=sys.stderr, flush=True)
                os._exit(1)
            super()._forkserver_main(*self._pipes)
            return True

        def run_clean_tests(self, tests: Iterable[str]) -> int:
            """Report success: the server runs them itself, in `pytest_runtestloop`."""
            return 0

        def run_forced_fail(self) -> int:
            """Report a failure: that tests can fail shows in the mutants themselves."""
            return 1

    return Server


def statuses(pattern: str) -> Iterator[tuple[Path, str, str]]:
    """File, name and status of the mutants that match a pattern and were tried."""
    from mutmut.__main__ import walk_mutatable_files
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            if code is not None and fnmatchcase(name, pattern):
                yield path, name, status_by_exit_code[code]


def verdicts(pattern: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, status and changed lines of the matching mutants; no lines for noticed ones."""
    from mutmut.__main__ import get_diff_for_mutant

    for path, name, status in statuses(pattern):
        diff = [] if status in NOTICED else get_diff_for_mutant(name, path=path).splitlines()
        yield (
            name,
            status,
            [line for line in diff if line[:1] in "+-" and line[:3] not in ("---", "+++")],
        )


def outcomes(pattern: str) -> Iterator[str]:
    """A readable list of the survivors among some mutants, and their number."""
    mutants = list(verdicts(pattern))
    for name, status, lines in mutants:
        if status not in NOTICED:
            yield "\n".join([f"{name}: {status}", *lines])
    yield f"{sum(status in NOTICED for _, status, _ in mutants)} of {len(mutants)} killed"


if __name__ == "__main__":
    main()
