"""Record reproduced rows in ``results/reproductions``, which chapter 12's table reads."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdmllab import results
from cdmllab._util.files import write_text
from cdmllab.reproduction.plan import RowPlan
from cdmllab.reproduction.steps import COMPARISON, Reproduced
from cdmllab.runs import Run
from cdmllab.sweeps.record import plain_config, provenance_of

FOLDER = "reproductions"


def write(done: Reproduced, row_plan: RowPlan, folder: Path | None = None) -> Path:
    """Record a row and return the path; `folder` of results defaults to the repository's."""
    run: Run = done.run
    comparison: dict[str, Any] = json.loads((done.folder / COMPARISON).read_text(encoding="utf-8"))
    record = {
        "command": f"cdmllab reproduce {done.row.name} --recipe {done.row.recipe} --seed "
        f"{row_plan.config.seed} --record",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        **comparison,
        "config": plain_config(row_plan.config.flat()),
        "seed": row_plan.config.seed,
        # From percent to a share.
        "measures": {c.protocol: {"accuracy": round(c.ours / 100.0, 5)} for c in done.compared},
        "seconds": dict(done.seconds),
        "estimate": dict(done.estimate),
        **provenance_of(run),
    }
    path = (folder or results.folder()) / FOLDER / f"{done.folder.name}.json"
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path
