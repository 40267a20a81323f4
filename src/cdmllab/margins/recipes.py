"""Recipes: losses built from the arguments of other people's code."""

import math
from collections.abc import Sequence

from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.cosface import CosFace
from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import recipe


@recipe("arcface_torch")
def arcface_torch(*, margin_list: Sequence[float] = (1.0, 0.5, 0.0)) -> MarginPolicy:
    """Build the loss that arcface_torch runs for the ``margin_list`` of its configs.

    Its name there is CombinedMarginLoss_. (1, m2, 0) is ArcFace with margin m2, the plain formula
    past pi and the straight-through gradient. With m3 > 0 that code runs CosFace with margin m3,
    **whatever m1 and m2 are**: it has no combined margin. For cos(m1 theta + m2) - m3 itself see
    `cdmllab.margins.combined.Combined`. arcface_torch's other settings belong to the head:
    `interclass_filtering_threshold`, ``scale=64`` and ``centre_init="normal_0.01"``.

    Parameters
    ----------
    margin_list : (m1, m2, m3); arcface_torch's configs use (1, 0.5, 0) and (1, 0, 0.4)

    Raises
    ------
    ValueError : not three finite numbers, or m1 is not 1 and m3 is not above 0, which that code
        rejects too

    Examples
    --------
    >>> arcface_torch(margin_list=(1.0, 0.0, 0.4))
    CosFace(cos θ - m, m = 0.4 for every sample)

    .. _CombinedMarginLoss: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/losses.py
    """
    try:
        m1, m2, m3 = (float(m) for m in margin_list)
    except (TypeError, ValueError):
        raise ValueError(
            f"margin_list must be three numbers, m1, m2 and m3; got {margin_list!r}"
        ) from None
    if not all(math.isfinite(m) for m in (m1, m2, m3)):
        raise ValueError(f"margin_list must be three finite numbers; got {margin_list!r}")
    if m3 > 0.0:
        return CosFace(margin_cos=m3)
    if m1 == 1.0 and m3 == 0.0:
        return ArcFace(margin_rad=m2, beyond_pi="none", gradient="straight_through")
    raise ValueError(
        f"arcface_torch has no loss for margin_list ({m1:g}, {m2:g}, {m3:g}): it needs m1 = 1 and "
        f"m3 = 0, or m3 > 0"
    )
