"""Sweeps: many trainings from one file, on this machine or on a Ray cluster, each done once."""

from cdmllab.sweeps.spec import Spec, load
from cdmllab.sweeps.summary import summary
from cdmllab.sweeps.sweep import Sweep

__all__ = ["Spec", "Sweep", "load", "summary"]
