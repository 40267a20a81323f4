"""The published accuracies, as their sources print them.

They are printed next to our own measurements and never mixed with them. "datn_page" is the results
page of CDML's authors (https://github.com/nhatky160103/DATN), "arcface" is table 2 of the ArcFace
paper, "arcface_torch" and "adaface" are the READMEs of those repositories. Accuracies that others
reached with LFW's images alone are from LFW's results page. Published tables of backbones are in
`cdmllab.results.published_backbones`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Source = Literal["datn_page", "arcface", "arcface_torch", "adaface"]
PROTOCOLS = ("lfw", "cfp_fp", "cfp_ff", "calfw", "cplfw", "agedb_30")
FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class Row(NamedTuple):
    """A trained network and its accuracies.

    Attributes
    ----------
    trained_on : the training set
    backbone : as in `cdmllab.backbones`
    loss : in words
    accuracy : percent by protocol; only those that the source gives
    spread : the +- that the source gives, percent; the sources do not say over what
    source : where it is printed
    preset : ours that trains it; None if the source gives too little detail for one
    datn_code_preset : ours by the recipe of DATN's code
    """

    trained_on: str
    backbone: str
    loss: str
    accuracy: Mapping[str, float]
    spread: Mapping[str, float]
    source: Source
    preset: str | None
    datn_code_preset: str | None = None


def _datn_page(
    trained_on: str,
    backbone: str,
    loss: str,
    values: tuple[float | None, ...],
    spread: tuple[float, ...],
    preset: str,
    public: bool = True,
) -> Row:
    accuracy = {
        name: value for name, value in zip(PROTOCOLS, values, strict=True) if value is not None
    }
    spreads = dict(zip(PROTOCOLS, spread, strict=True)) if spread else {}
    data = {"CASIA-WebFace": "casia", "MS1MV3": "ms1mv3"}[trained_on]
    own = f"{data}/datn_page/{preset}" if preset else None  # empty: no preset of ours
    # A row that is not public is not in DATN's code.
    other = f"{data}/datn_code/{preset}" if preset and public else None
    return Row(trained_on, backbone, loss, accuracy, spreads, "datn_page", own, other)


def _casia_r50(
    loss: str, values: tuple[float, float, float], preset: str, source: Source = "arcface"
) -> Row:
    accuracy = dict(zip(("lfw", "cfp_fp", "agedb_30"), values, strict=True))
    return Row("CASIA-WebFace", "r50", loss, accuracy, {}, source, f"casia/datn_page/{preset}")


ROWS: tuple[Row, ...] = (
    _datn_page("CASIA-WebFace", "r18_lite", "ArcFace", (99.08, 91.24, 99.14, 92.63, 85.13, 92.12),
              (0.46, 1.31, 0.28, 1.15, 1.78, 1.19), "r18_lite_arcface"),
    _datn_page("CASIA-WebFace", "r18_lite", "CDML", (98.92, 92.34, 99.10, 92.27, 85.48, 92.22),
              (0.51, 1.21, 0.35, 1.42, 2.49, 2.09), "r18_lite_cdml"),
    _datn_page("CASIA-WebFace", "r50_lite", "ArcFace", (98.88, 92.57, 99.06, 91.77, 86.57, 90.88),
              (0.57, 1.39, 0.50, 1.00, 2.04, 2.10), "r50_lite_arcface"),
    _datn_page("CASIA-WebFace", "r50_lite", "CDML", (99.17, 94.14, 99.31, 92.78, 88.08, 93.85),
              (0.39, 1.29, 0.50, 1.12, 1.89, 1.26), "r50_lite_cdml"),
    _datn_page("MS1MV3", "r50_lite", "CDML", (99.47, 92.87, 99.57, 95.32, 88.83, 96.35),
              (0.37, 1.41, 0.34, 1.02, 1.63, 0.94), "r50_lite_cdml"),
    _datn_page("MS1MV3", "r100_lite", "CDML", (99.67, 92.83, 99.63, 95.10, 89.08, 95.95),
              (0.27, 1.92, 0.31, 1.27, 1.85, 0.91), "r100_lite_cdml"),
    _datn_page("MS1MV3", "r100", "CDML", (99.85, 98.94, None, 96.05, 94.08, 97.75),
              (), "r100_cdml"),
    _datn_page("MS1MV3", "r100", "ArcFace", (99.83, 98.79, None, 96.02, 93.21, 98.23),
              (), "r100_arcface"),
    _datn_page("MS1MV3", "lightweight", "CDML, distilled",
              (99.76, 97.98, None, 95.55, 92.48, 97.03), (), "", False),
    _casia_r50("CDML, m 0.49", (99.58, 93.86, 96.62), "r50_cdml", "datn_page"),
    _casia_r50("ArcFace, m 0.40", (99.53, 95.41, 94.98), "r50_arcface_040"),
    _casia_r50("ArcFace, m 0.45", (99.46, 95.47, 94.93), "r50_arcface_045"),
    _casia_r50("ArcFace, m 0.50", (99.53, 95.56, 95.15), "r50_arcface_050"),
    _casia_r50("ArcFace, m 0.55", (99.41, 95.32, 95.05), "r50_arcface_055"),
    _casia_r50("CosFace, m 0.35", (99.51, 95.44, 94.56), "r50_cosface"),
    _casia_r50("SphereFace, m 1.35", (99.11, 94.38, 91.70), "r50_sphereface"),
    _casia_r50("Softmax", (99.08, 94.39, 92.33), "r50_softmax"),
    _casia_r50("NormSoftmax", (98.56, 89.79, 88.72), "r50_normface"),
    _casia_r50("Combined, 1 / 0.3 / 0.2", (99.48, 95.12, 94.38), "r50_cm1"),
    _casia_r50("Combined, 0.9 / 0.4 / 0.15", (99.50, 95.24, 94.86), "r50_cm2"),
    _casia_r50("Triplet, m 0.35", (98.98, 91.90, 89.98), "r50_triplet"),
    Row("CASIA-WebFace", "r50", "AdaFace", {"lfw": 99.42, "cfp_fp": 96.41, "calfw": 93.23,
        "cplfw": 89.97, "agedb_30": 94.38}, {}, "adaface", None),
)  # fmt: skip


class TemplateRow(NamedTuple):
    """TAR in percent at each of `FARS`, MS1MV3 with CDML."""

    backbone: str
    protocol: Literal["ijbb", "ijbc"]
    tar: tuple[float, ...]
    preset: str


TEMPLATES: tuple[TemplateRow, ...] = (
    TemplateRow(
        "r50_lite",
        "ijbb",
        (36.11, 83.61, 90.83, 94.35, 96.81, 98.49),
        "ms1mv3/datn_page/r50_lite_cdml",
    ),
    TemplateRow(
        "r100_lite",
        "ijbb",
        (36.85, 83.57, 91.15, 94.30, 96.87, 98.33),
        "ms1mv3/datn_page/r100_lite_cdml",
    ),
    TemplateRow(
        "r50_lite",
        "ijbc",
        (83.78, 89.42, 93.15, 95.64, 97.65, 98.88),
        "ms1mv3/datn_page/r50_lite_cdml",
    ),
    TemplateRow(
        "r100_lite",
        "ijbc",
        (83.06, 89.50, 93.13, 95.56, 97.59, 98.82),
        "ms1mv3/datn_page/r100_lite_cdml",
    ),
)

IJBC_R100_ARCFACE: dict[str, float] = {"document, MS1MV3": 96.83, "arcface_torch, MS1MV3": 96.85}
"""TAR in percent at a FAR of 1e-4, R100 with ArcFace."""
IJBC_R100_ARCFACE_MS1MV2: tuple[float, ...] = (95.6, 96.03, 96.28, 96.37)
"""The same network trained on MS1MV2, in four sources."""


class AloneRow(NamedTuple):
    """A method's accuracy on LFW's View 2 with no labels but LFW's, from LFW's results page."""

    method: str
    # Restricted: pairs only. Unrestricted: names as well, as in our trainings.
    setting: Literal["restricted", "unrestricted"]
    accuracy: float  # percent
    standard_error: float  # percent


LFW_ALONE: tuple[AloneRow, ...] = (
    AloneRow("Eigenfaces, original", "restricted", 60.02, 0.79),
    AloneRow("Pixels/MKL, funneled", "restricted", 68.22, 0.41),
    AloneRow("Nowak, funneled", "restricted", 73.93, 0.49),
    AloneRow("V1-like/MKL, funneled", "restricted", 79.35, 0.55),
    AloneRow("Fisher vector faces", "restricted", 87.47, 1.49),
    AloneRow("POP-PEP", "restricted", 91.10, 1.47),
    AloneRow("MRF-Fusion-CSKDA", "restricted", 95.89, 1.94),
    AloneRow("LBP multishot, aligned", "unrestricted", 85.17, 0.61),
    AloneRow("LDML-MkNN, funneled", "unrestricted", 87.50, 0.40),
    AloneRow("Combined multishot, aligned", "unrestricted", 89.50, 0.51),
    AloneRow("Combined PLDA, funneled and aligned", "unrestricted", 90.07, 0.51),
    AloneRow("Combined Joint Bayesian", "unrestricted", 90.90, 1.48),
    AloneRow("Fisher vector faces", "unrestricted", 93.03, 1.05),
    AloneRow("High-dimensional LBP", "unrestricted", 93.18, 1.07),
    AloneRow("HPEN, HD-Gabor, Joint Bayesian", "unrestricted", 95.25, 0.36),
    AloneRow("MDML-DCPs", "unrestricted", 95.58, 0.34),
)
"""Rows of https://umass-vis-lfw.github.io/results.html, from eigenfaces to the highest accuracy of
each setting.

The restricted rows are its "no outside data". The unrestricted rows are its "label-free outside
data": trained on LFW's names, with an alignment or landmarks fitted on other images. The page has
no unrestricted row without those.
"""
