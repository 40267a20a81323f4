"""Training: a config in, a run folder out."""

from cdmllab.evaluate.embedding import embed
from cdmllab.training.config import Config
from cdmllab.training.loop import Trained, load, train

__all__ = ["Config", "Trained", "embed", "load", "train"]
