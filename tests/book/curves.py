"""Curves of a widget, read back from the page."""

import re

import numpy as np
from playwright.sync_api import Locator


def drawn_pieces(path: Locator) -> list[tuple[np.ndarray, np.ndarray]]:
    """x and y of each piece of a curve, from its path and the frame in its attributes."""
    box = {key: float(value) for key, value in path.evaluate("e => ({...e.dataset})").items()}
    pieces = []
    for piece in path.get_attribute("d").split("M")[1:]:
        points = np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", piece), dtype=float)
        across = (points[:, 0] - box["left"]) / (box["right"] - box["left"])
        up = (points[:, 1] - box["bottom"]) / (box["top"] - box["bottom"])
        pieces.append(
            (box["x0"] + across * (box["x1"] - box["x0"]), box["y0"] + up * (box["y1"] - box["y0"]))
        )
    return pieces


def drawn_curve(path: Locator) -> tuple[np.ndarray, np.ndarray]:
    """x and y of all pieces."""
    pieces = drawn_pieces(path)
    return np.concatenate([x for x, _ in pieces]), np.concatenate([y for _, y in pieces])
