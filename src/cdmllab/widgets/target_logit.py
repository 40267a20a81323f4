"""The target-logit explorer: what a margin takes from the target logit, angle by angle."""

from typing import get_args

import traitlets as t

from cdmllab.margins.angular import BeyondPi
from cdmllab.widgets.base import Widget


class TargetLogit(Widget):
    """Curve of s (cos(m1 theta + m2) - m3) over the angle, beside s cos(theta), with a movable angle.

    Every value can be set from Python and changes when the reader moves a slider.

    Parameters
    ----------
    m1 : factor on the angle, in [0.5, 2]
    m2 : added to the angle, radians, in [0, 1]
    m3 : taken from the cosine, in [0, 1]
    s : scale, in [1, 64]
    theta_deg : angle of the marker, degrees, in [0, 180]
    beyond_pi : see `cdmllab.margins.angular.combined`
    """

    name = "target_logit"
    fallback = (
        "Interactive figure: the target logit against the angle to the class centre, "
        "with sliders for the margins m1, m2, m3 and the scale s. It needs JavaScript."
    )

    m1 = t.Float(1.0, min=0.5, max=2.0).tag(sync=True)
    m2 = t.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    m3 = t.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    s = t.Float(64.0, min=1.0, max=64.0).tag(sync=True)
    theta_deg = t.Float(60.0, min=0.0, max=180.0).tag(sync=True)
    beyond_pi = t.Enum(get_args(BeyondPi), default_value="linear").tag(sync=True)
