"""Sweeps: many trainings from one file, on this machine or on a Ray cluster; what is finished is not done again."""

from cdmllab.sweeps.recorded import Recorded, family, paired
from cdmllab.sweeps.spec import Spec, load
from cdmllab.sweeps.summary import summary
from cdmllab.sweeps.sweep import Sweep

__all__ = ["Recorded", "Spec", "Sweep", "family", "load", "paired", "summary"]
