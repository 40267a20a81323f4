"""Evaluate embeddings on protocols: verification, identification, intervals, overlap."""

from cdmllab.evaluate import protocols
from cdmllab.evaluate.embedding import Images, embed, insightface_input
from cdmllab.evaluate.evaluation import Evaluation
from cdmllab.evaluate.full import FARS, evaluate
from cdmllab.evaluate.measures import (
    Accuracy,
    Decision,
    Estimate,
    Identification,
    IntervalSettings,
    Measures,
    TarAtFar,
)
from cdmllab.evaluate.protocol import Protocol, TemplateList
from cdmllab.evaluate.quick import Verification, scores, verify

__all__ = [
    "FARS",
    "Accuracy",
    "Decision",
    "Estimate",
    "Evaluation",
    "Identification",
    "Images",
    "IntervalSettings",
    "Measures",
    "Protocol",
    "TarAtFar",
    "TemplateList",
    "Verification",
    "embed",
    "evaluate",
    "insightface_input",
    "protocols",
    "scores",
    "verify",
]
