"""Procedural faces: images whose identities, nuisances and difficulty are known exactly."""

from cdmllab.faces.albums import Album, album
from cdmllab.faces.identity import LATENTS, STYLES, latents, traits
from cdmllab.faces.nuisance import FACTORS, Factor, Nuisances, nuisances
from cdmllab.faces.render import SIZES, fastest, relief, render, render_latents
from cdmllab.faces.world import FaceWorld

__all__ = [
    "FACTORS",
    "LATENTS",
    "SIZES",
    "STYLES",
    "Album",
    "FaceWorld",
    "Factor",
    "Nuisances",
    "album",
    "fastest",
    "latents",
    "nuisances",
    "relief",
    "render",
    "render_latents",
    "traits",
]
