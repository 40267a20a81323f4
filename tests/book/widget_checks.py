"""The displayed values of each widget, for its current state, against the package."""

import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page
from tests.book.curves import drawn_curve, drawn_pieces
from tests.book.driving import readout, twin, widget, written

from cdmllab.book.widgets import (
    CdmlAtWork,
    DecisionBoundary,
    FaceLab,
    Hypersphere,
    Power,
    TargetLogit,
    Threshold,
    TwoLosses,
    unpacked,
)
from cdmllab.book.widgets.face_lab import SHAPE
from cdmllab.book.widgets.target_logit import SAMPLED
from cdmllab.metrics import ranked
from cdmllab.plots import style
from cdmllab.plots.sphere import view

BELOW = "below \N{MINUS SIGN}1"


def target_logit(page: Page) -> None:
    """Check the curves to 1e-5 of their unit, from paths with seven decimals, and the readout."""
    now = twin(page, "target_logit")
    assert isinstance(now, TargetLogit)
    names = {"logit": ["logit"], "loss": ["loss"], "gradient": ["pull", "pull_straight_through"]}[
        now.shows
    ]
    seen = 0
    for name, css in zip(names, (".tl-curve", ".tl-straight"), strict=False):
        pieces = drawn_pieces(widget(page, "target_logit").locator(css))
        assert pieces[0][0][0] == pytest.approx(0, abs=1e-6)
        assert pieces[-1][0][-1] == pytest.approx(180, abs=1e-6)
        for angles, values in pieces:
            inside = slice(1, -1)  # a piece ends where the loss jumps, on either side of it
            expected = getattr(now.curves(angles[inside]), name)
            np.testing.assert_allclose(values[inside], expected, rtol=1e-7, atol=1e-5)
            seen += len(expected)
    assert seen > 340 * len(names)
    plain = TargetLogit(
        loss="normface", s=now.s, negative_deg=now.negative_deg, identities=now.identities
    )
    angles, values = drawn_curve(widget(page, "target_logit").locator(".tl-reference"))
    np.testing.assert_allclose(
        values, getattr(plain.curves(angles), names[0]), rtol=1e-7, atol=1e-5
    )

    at = now.curves([now.theta_deg])
    psi = at.psi[0]
    effective = (
        BELOW
        if psi < -1
        else written(math.degrees(math.acos(min(psi, 1.0))) - now.theta_deg, 2, "°")
    )
    if now.loss == "liarcface":
        effective = written(math.degrees(now.m2), 2, "°")
    assert readout(page, "target_logit") == {
        "theta": written(now.theta_deg, 1, "°"),
        "cosine": written(math.cos(math.radians(now.theta_deg)), 4),
        "psi": written(psi, 4),
        "logit": written(at.logit[0], 3),
        "effective": effective,
        "loss": written(at.loss[0], 3),
        "gradient": written(at.pull[0], 3),
        "straight": written(at.pull_straight_through[0], 3),
    }


def decision_boundary(page: Page) -> None:
    """Check the coloured arcs of the circle to a millionth of a degree, and the readout."""
    now = twin(page, "decision_boundary")
    assert isinstance(now, DecisionBoundary)
    places = np.linspace(-179.9, 179.9, 361)
    leads = now.leads(places)
    for k in (0, 1):
        parts = widget(page, "decision_boundary").locator(f".db-part[data-class='{k + 1}']")
        ends = np.array(
            parts.evaluate_all("all => all.map(e => [+e.dataset.from, +e.dataset.to])")
        ).reshape(-1, 2)
        coloured = ((places[:, None] > ends[:, 0]) & (places[:, None] < ends[:, 1])).any(axis=1)
        np.testing.assert_array_equal(coloured, leads[:, k] > 0)
        inner = ends[np.abs(ends) < 179.999]
        assert (now.leads(inner - 1e-6)[:, k] * now.leads(inner + 1e-6)[:, k] < 0).all()
    first, second = now.boundaries_deg()
    strip = now.strip_deg()
    lead = now.leads(now.position_deg)[int(now.label) - 1]
    angles = now.angles_deg(now.position_deg)
    assert readout(page, "decision_boundary") == {
        "theta1": written(angles[0], 1, "°"),
        "theta2": written(angles[1], 1, "°"),
        "lead": written(lead, 4),
        "verdict": "satisfied" if lead > 0 else "not satisfied",
        "boundary1": "nowhere" if first is None else written(first, 2, "°"),
        "boundary2": "nowhere" if second is None else written(second, 2, "°"),
        "strip": "–" if strip is None else written(strip, 2, "°"),
    }


def cdml_at_work(page: Page) -> None:
    """Check margin and gradient of every sample to 1e-9, and the readout of one."""
    now = twin(page, "cdml_at_work")
    assert isinstance(now, CdmlAtWork)
    batch = now.batch()
    for css, expected in ((".ca-margin", batch.margin_rad), (".ca-pull", batch.pull)):
        values = (
            widget(page, "cdml_at_work")
            .locator(css)
            .evaluate_all("all => all.map(e => +e.dataset.value)")
        )
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)
    i = now.sample - 1
    assert readout(page, "cdml_at_work") == {
        "theta": written(now.angles_deg[i], 1, "°"),
        "easiness": written(batch.easiness[i], 3),
        "margin": written(batch.margin_rad[i], 4),
        "loss": written(batch.loss[i], 3),
        "pull": written(batch.pull[i], 3),
        "arcface": written(batch.arcface_pull[i], 3),
        "mean": written(batch.margin_rad.mean(), 4),
        "reach": written(now.policy().current_alpha(now.progress), 3),
    }


def hypersphere(page: Page) -> None:
    """Check the positions of points to a thousandth of a pixel, their colours, and the readout."""
    now = twin(page, "hypersphere")
    assert isinstance(now, Hypersphere)
    place = widget(page, "hypersphere")
    place.locator(f".hs-plot svg[data-frame='{now.frame}']").wait_for()  # the points have arrived
    n = len(now.labels)
    points = unpacked(now.points, len(now.epochs), n, 3)[now.frame].astype(float)
    turned = points @ view(now.elevation_deg, now.azimuth_deg).T
    size = float(place.locator(".hs-plot svg").get_attribute("width"))
    dots = place.locator(".hs-point").evaluate_all(
        "all => all.map(e => [+e.getAttribute('cx'), +e.getAttribute('cy'), "
        "+e.getAttribute('opacity')])"
    )
    r = size / 2 - 26
    expected = np.stack([size / 2 + r * turned[:, 0], size / 2 - r * turned[:, 1]], axis=1)
    np.testing.assert_allclose(np.array(dots)[:, :2], expected, rtol=0, atol=1.1e-3)
    away = np.abs(turned[:, 2]) > 1e-6
    np.testing.assert_array_equal((np.array(dots)[:, 2] > 0.5)[away], (turned[:, 2] > 0)[away])
    fills = place.locator(".hs-point").evaluate_all("all => all.map(e => e.getAttribute('style'))")
    if now.colour == "identity":
        assert fills == [f"fill: {style.IDENTITY_COLOURS[label]}" for label in now.labels]
    else:
        margins = unpacked(now.margin_rad, len(now.epochs), n).astype(float)
        low, high = margins.min(), margins.max()
        shares = [float(re.search(r"([\d.]+)%", fill)[1]) for fill in fills]
        np.testing.assert_allclose(
            shares, 100 * (margins[now.frame] - low) / (high - low), rtol=0, atol=0.051
        )
    look = now.look()
    assert readout(page, "hypersphere") == {
        "epoch": str(now.epochs[now.frame]),
        "own": written(look.own_deg, 1, "°"),
        "apart": written(look.apart_deg, 1, "°"),
        "margin": written(look.margin_rad, 3),
        "right": written(100 * look.right, 1, " %"),
    }


def threshold(page: Page) -> None:
    """Check the ROC point and rates, and the ROC's corners and both histograms to 1e-6."""
    now = twin(page, "threshold")
    assert isinstance(now, Threshold)
    place, rates, scores = widget(page, "threshold"), now.rates(), now.ranked()
    point = place.locator(".th-point").evaluate("e => [+e.dataset.far, +e.dataset.tar]")
    assert point == pytest.approx([rates.far, rates.tar], abs=1e-12)
    far, tar = drawn_curve(place.locator(".th-roc"))
    x, y = ranked.corners(scores)
    if now.axis == "log":  # drawn down to one impostor pair
        smallest = 1 / len(scores.impostor)
        end = np.flatnonzero(x <= smallest)[-1]
        x, y = np.log10(np.append(smallest, x[end + 1 :])), np.append(y[end], y[end + 1 :])
    np.testing.assert_allclose(far[::2], x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(tar[::2], y, rtol=0, atol=1e-6)
    edges = np.linspace(now.low, now.high, 51)
    for kind, wrong in (
        ("genuine", (now.low, now.threshold)),
        ("impostor", (now.threshold, now.high)),
    ):
        values = getattr(scores, kind)
        near = (
            np.abs(values[:, None] - edges).min(axis=0) < 1e-9
        )  # a score on an edge may go either way
        sure = ~(near[:-1] | near[1:])
        assert sure.sum() > 40
        expected = np.histogram(values, edges)[0] / len(values)
        np.testing.assert_allclose(
            drawn_shares(place, f".th-{kind}", edges)[sure], expected[sure], rtol=0, atol=1e-6
        )
        filled = drawn_shares(place, f".th-wrong-{kind}", np.clip(edges, *wrong))
        inside = sure & (np.diff(np.clip(edges, *wrong)) > 1e-6)
        np.testing.assert_allclose(filled[inside], expected[inside], rtol=0, atol=1e-6)
        assert not filled[np.diff(np.clip(edges, *wrong)) == 0].any()
    readings = readout(page, "threshold")
    assert float(readings.pop("threshold").replace("\N{MINUS SIGN}", "-")) == pytest.approx(
        now.threshold, abs=5e-4
    )
    assert readings == {
        key: written(100 * getattr(rates, key), 2, " %")
        for key in ("far", "frr", "tar", "accuracy")
    }


def drawn_shares(place: Locator, css: str, edges: np.ndarray) -> np.ndarray:
    """The height of a drawn histogram in each bin; every step spans one bin."""
    shares = np.zeros(len(edges) - 1)
    for x, y in drawn_pieces(place.locator(css)):
        for left, right, height in zip(x[1:-1:2], x[2:-1:2], y[1:-1:2], strict=True):
            (k,) = np.flatnonzero(
                (np.abs(edges[:-1] - left) < 1e-6) & (np.abs(edges[1:] - right) < 1e-6)
            )
            shares[k] = height
    return shares


def face_lab(page: Page) -> None:
    """Check the displayed frame, its score and those of its neighbours against the network's."""
    now = twin(page, "face_lab")
    assert isinstance(now, FaceLab)
    place = widget(page, "face_lab")
    at = (now.yaw, now.age, now.light, now.occlusion)
    frame = int(np.ravel_multi_index(at, SHAPE))
    canvas = place.locator(f".fl-live canvas[data-frame='{frame}']")
    canvas.wait_for()
    address = canvas.evaluate("e => e.toDataURL('image/png')")
    pixels = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"), dtype=float
    )
    sheet = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(now.sprite))).convert("RGB"), dtype=float
    )
    size = len(pixels)
    row, column = divmod(frame, now.columns)
    expected = sheet[row * size : (row + 1) * size, column * size : (column + 1) * size]
    assert (
        np.abs(pixels - expected).mean() < 2.0
    )  # two decoders of one WebP round colours differently
    scores = unpacked(now.scores, *SHAPE)
    axis = ("yaw", "age", "light", "occlusion").index(now.follows)
    curve = tuple(slice(None) if k == axis else i for k, i in enumerate(at))
    np.testing.assert_allclose(
        drawn_curve(place.locator(".fl-curve"))[1], scores[curve], rtol=0, atol=1e-6
    )
    score = now.score()
    assert readout(page, "face_lab") == {
        "score": written(score, 3),
        "lost": written(1 - score, 3),
        "threshold": written(now.threshold, 3),
        "verdict": "accepted" if score >= now.threshold else "rejected",
    }


def two_losses(page: Page) -> None:
    """Check both curves of both losses, and the readout."""
    now = twin(page, "two_losses")
    assert isinstance(now, TwoLosses)
    seen = 0
    for which, column in (("first", 0), ("second", 1)):
        # The targets of some losses arrive in float32.
        atol = 1e-4 if getattr(now, which) in SAMPLED else 1e-5
        for css, part in (("logit", "logit"), ("gradient", "pull")):
            path = widget(page, "two_losses").locator(f".tw-{which}-{css}")
            for angles, values in drawn_pieces(path):
                inside = slice(1, -1)  # a piece ends where the loss jumps, on either side of it
                expected = getattr(now.curves(angles[inside])[column], part)
                np.testing.assert_allclose(values[inside], expected, rtol=1e-7, atol=atol)
                seen += len(expected)
    assert seen > 4 * 340
    at = now.curves([now.theta_deg])
    assert readout(page, "two_losses") == {
        f"{which}_{name}": written(getattr(values, part)[0], 3)
        for which, values in zip(("first", "second"), at, strict=True)
        for name, part in (("logit", "logit"), ("gradient", "pull"))
    }


def power(page: Page) -> None:
    """Check distribution, intervals, power and verdicts to 1e-6, and the drawn experiment."""
    now = twin(page, "power")
    assert isinstance(now, Power)
    place = widget(page, "power")
    x, height = drawn_curve(place.locator(".pw-bell"))
    np.testing.assert_allclose(
        height, np.exp(-(((x - now.effect) / now.error) ** 2) / 2), rtol=0, atol=1e-5
    )
    effects, seen = drawn_curve(place.locator(".pw-power"))
    assert len(effects) == 161
    np.testing.assert_allclose(seen, now.power(effects), rtol=0, atol=1e-6)
    verdicts, along = now.verdicts(), [now.verdicts(x) for x in effects[::20]]
    for k, name in enumerate(verdicts._fields):  # the upper edge of a layer, then its lower one
        upper, lower = drawn_curve(place.locator(f".pw-layer-{name}"))[1].reshape(2, 161)
        expected = [probabilities[k] for probabilities in along]
        np.testing.assert_allclose((upper - lower[::-1])[::20], expected, rtol=0, atol=1e-6)
    shares = place.locator(".pw-share").evaluate_all(
        "all => Object.fromEntries(all.map(e => [e.dataset.verdict, +e.dataset.share]))"
    )
    assert shares == pytest.approx(verdicts._asdict(), abs=1e-6)
    ends = "e => [+e.dataset.low, +e.dataset.high]"
    wide = now.half_widths()[0]
    assert place.locator(".pw-typical").evaluate(ends) == pytest.approx(
        [now.effect - wide, now.effect + wide]
    )
    differences = place.locator(".pw-seed").evaluate_all("all => all.map(e => +e.dataset.value)")
    np.testing.assert_allclose(differences, now.drawn(), rtol=0, atol=1e-9)
    experiment = now.experiment()
    if experiment is not None:
        difference, equivalence = experiment
        assert place.locator(".pw-drawn-interval").evaluate(ends) == pytest.approx(
            [difference.low, difference.high]
        )
        assert place.locator(".pw-drawn").inner_text() == (
            f"Experiment {now.draw}: {difference.format('points', 1.0)}, {equivalence.verdict}."
        ).replace("-", "\N{MINUS SIGN}")
    marked = place.locator(".pw-detectable")
    if marked.count():
        assert float(marked.get_attribute("data-value")) == pytest.approx(now.detectable())
    else:
        assert now.detectable() > effects[-1]
    assert readout(page, "power") == {
        **{name: written(100 * p, 1, " %") for name, p in verdicts._asdict().items()},
        "power": written(100 * float(now.power(now.effect)), 1, " %"),
        "detectable": written(now.detectable(), 2, " points"),
        "half": "±" + written(wide, 2),
    }


CHECKS = {
    check.__name__: check
    for check in (
        target_logit,
        decision_boundary,
        cdml_at_work,
        hypersphere,
        threshold,
        face_lab,
        two_losses,
        power,
    )
}
