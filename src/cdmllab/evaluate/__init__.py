"""Evaluate embeddings on protocols: verification, identification, intervals, overlap."""

from cdmllab.evaluate import measures, protocols
from cdmllab.evaluate.embedding import Images, embed, insightface_input
from cdmllab.evaluate.evaluation import Evaluation
from cdmllab.evaluate.full import FARS, evaluate
from cdmllab.evaluate.measures import Measures
from cdmllab.evaluate.protocol import Protocol, TemplateList
from cdmllab.evaluate.quick import Verification, scores, verify

__all__ = [
    "FARS",
    "Evaluation",
    "Images",
    "Measures",
    "Protocol",
    "TemplateList",
    "Verification",
    "embed",
    "evaluate",
    "insightface_input",
    "measures",
    "protocols",
    "scores",
    "verify",
]
