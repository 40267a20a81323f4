"""Train a network from a config into a run's folder."""

from cdmllab.evaluate.embedding import embed
from cdmllab.training.config import Config
from cdmllab.training.divergence import DivergenceError
from cdmllab.training.entry import Trained, load, prepare, released, resume, train
from cdmllab.training.snapshots import Snapshots

__all__ = [
    "Config",
    "DivergenceError",
    "Snapshots",
    "Trained",
    "embed",
    "load",
    "prepare",
    "released",
    "resume",
    "train",
]
