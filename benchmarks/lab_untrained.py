"""Untrained networks on the lab's protocols: the baseline for the collapse in chapter 12.

    cdmllab bench lab_untrained [--seeds N]

The network is that of the sweep results/sweeps/lab_trap.yaml, with its initial weights. It writes
``results/lab/untrained.json``.
"""

import argparse
import json

import torch
from common import ROOT

from cdmllab import backbones, evaluate, runs
from cdmllab._util.files import write_text
from cdmllab.evaluate import protocols
from cdmllab.results.sweeps import Recorded
from cdmllab.training.entry import prepare

PROTOCOLS = ("lab/lfw", "lab/cfp_fp", "lab/calfw")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=4)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    network = Recorded("lab_trap").config("compare", "exact")["backbone"]
    rows = []
    for name in PROTOCOLS:
        protocol = protocols.load(name, network["size"])
        values = []
        for seed in range(chosen.seeds):
            torch.manual_seed(seed)
            net = backbones.create(**network)
            e = evaluate.embed(net, protocol.images, prepare=prepare(net)).double().numpy()
            values.append(round(float(evaluate.verify(e, protocol.pairs).accuracy.mean), 5))
        rows.append({"protocol": name, "measure": "accuracy", "network": values})
        print(rows[-1])
    record = {
        "command": "cdmllab bench lab_untrained",
        "backbone": network,
        "seeds": chosen.seeds,
        "flip": False,
        **runs.provenance(),
        "rows": rows,
    }
    write_text(ROOT / "results/lab/untrained.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
