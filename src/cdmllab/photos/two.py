"""Compare two photos, in one line."""

from pathlib import Path

import numpy as np

from cdmllab._util.files import printable
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.evaluate.evaluation import Evaluation
from cdmllab.metrics.scoring import cosines
from cdmllab.photos import finding, thresholds, words
from cdmllab.photos.album import Network, pixels_of, usable
from cdmllab.photos.faces import Detector, Pixels
from cdmllab.photos.listing import Photo


def line(
    first: Path,
    second: Path,
    network: Network,
    detector: Detector,
    evaluation: Evaluation | None,
    far: float,
    least_eyes_px: float = finding.FEWEST_EYES_PX,
) -> str:
    """Compare the largest faces of two photos.

    The line has the score, the threshold for a FAR with its interval, and the shares of the
    evaluation's pairs beyond the score.

    Raises
    ------
    CdmlLabError : a photo cannot be read or has no face that is large enough; the evaluation
        cannot resolve the FAR
    """
    faces, names = [], []
    for path in (first, second):
        pixels, name = _face(path, network, detector, least_eyes_px)
        faces.append(pixels)
        names.append(name)
    embeddings = network.embed(np.stack(faces))  # [2, d]
    try:
        cosine = float(cosines(embeddings, [0], [1])[0])
        if evaluation is None:
            return words.uncalibrated(names[0], names[1], cosine)
        limit = thresholds.of_evaluation(evaluation, far)
    except ValueError as error:
        raise CdmlLabError(f"{network.name}: {error}") from error
    shares = thresholds.tail_shares(evaluation, cosine)
    return words.compared(names[0], names[1], cosine, limit, shares)


def _face(
    path: Path, network: Network, detector: Detector, least_eyes_px: float
) -> tuple[Pixels, str]:
    """The aligned face, and the photo's name with anything unusual about the face."""
    name = printable(path.name)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        pixels = pixels_of(Photo(path, name, -1))
        seen = finding.look(pixels, detector)
        face = usable(seen.faces, least_eyes_px)[0]
    except DataError as error:
        raise DataError(f"{path}: {str(error).removeprefix(f'{name}: ')}") from error
    # The reader should know which face was compared, and how it was found.
    notes = [f"largest of {len(seen.faces)} faces"] if len(seen.faces) > 1 else []
    notes += [f"rotated by {seen.turned} degrees"] if seen.turned else []
    label = f"{name} ({', '.join(notes)})" if notes else name
    return finding.cut_out(pixels, face, network.size, network.square), label
