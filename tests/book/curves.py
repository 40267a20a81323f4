"""Reading a widget as it stands on the page, and what the package says it should be."""

import math
import re
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Page

from cdmllab.margins.angular import combined

CURVE = ".cdml-widget .tl-curve"


def drawn_curve(page: Page, selector: str = CURVE) -> tuple[np.ndarray, np.ndarray]:
    """The angles (degrees) and values of a curve, read back from its path and the frame written on it."""
    path = page.locator(selector).first
    box = {key: float(value) for key, value in path.evaluate("e => ({...e.dataset})").items()}
    points = np.array(re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", path.get_attribute("d")), dtype=float)
    across = (points[:, 0] - box["left"]) / (box["right"] - box["left"])
    up = (points[:, 1] - box["bottom"]) / (box["top"] - box["bottom"])
    return box["x0"] + across * (box["x1"] - box["x0"]), box["y0"] + up * (box["y1"] - box["y0"])


def expected(angles_deg: np.ndarray, s: float, **margin: Any) -> np.ndarray:
    """The package's target logits."""
    cosines = torch.from_numpy(np.cos(np.deg2rad(angles_deg)))
    return s * combined(cosines, **margin).numpy()


def readout(page: Page) -> dict[str, str]:
    """The numbers below the plot, as written."""
    cells = page.locator(".cdml-widget").first.locator("dd").all()
    return {cell.get_attribute("data-value"): cell.inner_text() for cell in cells}


def expected_readout(theta_deg: float, s: float, **margin: Any) -> dict[str, str]:
    """The same from the package."""
    psi = expected(np.array([theta_deg]), 1.0, **margin)[0]
    cosine = math.cos(math.radians(theta_deg))
    effective = "below -1" if psi < -1 else f"{math.degrees(math.acos(min(psi, 1.0))) - theta_deg:.2f}°"
    values = {
        "theta": f"{theta_deg:.1f}°",
        "cosine": f"{cosine:.4f}",
        "psi": f"{psi:.4f}",
        "logit": f"{s * psi:.3f}",
        "effective": effective,
    }
    return {key: re.sub(r"^-(?=0\.0*°?$)", "", text).replace("-", "\N{MINUS SIGN}") for key, text in values.items()}
