"""Margin softmax losses, each in a short module that registers it by name."""

import importlib
import pkgutil

from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.cdml import CDML
from cdmllab.margins.policy import Batch, MarginPolicy
from cdmllab.margins.recipes import arcface_torch
from cdmllab.margins.registry import (
    MovedBy,
    builder,
    create,
    direction,
    label,
    moved_by,
    names,
    options,
    recipes,
    register,
    year,
)

__all__ = [
    "CDML",
    "ArcFace",
    "Batch",
    "MarginPolicy",
    "MovedBy",
    "arcface_torch",
    "builder",
    "create",
    "direction",
    "label",
    "moved_by",
    "names",
    "options",
    "recipes",
    "register",
    "year",
]

# Importing a module registers its losses.
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
