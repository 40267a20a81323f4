"""Evaluate a network on a protocol into a folder, and reuse the result."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cdmllab import preprocessing
from cdmllab.evaluate import full, protocols
from cdmllab.evaluate.embedding import embed, insightface_input
from cdmllab.evaluate.evaluation import Evaluation, file_name
from cdmllab.evaluate.measures import Decision, ErrorsByBin, EvaluationKey, NuisanceTable, Rate
from cdmllab.evaluate.protocol import Protocol, Together
from cdmllab.metrics import calibration, error_rates


class Settings(NamedTuple):
    """How to evaluate a network."""

    flip: bool | None = None  # add mirrored images; None: if the protocol allows it
    replicates: int = 1000  # of the bootstrap
    seed: int = 0
    batch_size: int = 512
    world: int = 0  # seed of the face lab's people


DEFAULTS = Settings()


def evaluate(
    backbone: nn.Module,
    name: str,
    folder: Path,
    settings: Settings = DEFAULTS,
    *,
    prepare: Callable[[Tensor], Tensor] | Mapping[str, Any] = insightface_input,
    redo: bool = False,
) -> tuple[Evaluation, Protocol, bool]:
    """Evaluate a network on a protocol into `folder`, or reuse the evaluation that is there.

    An evaluation is reused if it is of the same weights, images, preprocessing and settings.

    Parameters
    ----------
    backbone : from images to embeddings; its attribute ``size``, if it has one, is the size of the
        images
    name : of a protocol or a file, see `protocols.load`
    folder : for the two files of the evaluation
    prepare : from uint8 images to the network's input: a preprocessing, see
        `cdmllab.preprocessing.check`; or a function, which is assumed not to change between calls
    redo : evaluate again in any case

    Returns
    -------
    The evaluation, the protocol, and whether the evaluation was reused.

    Raises
    ------
    ValueError : images that the network does not accept; or as `full.evaluate`
    CdmlLabError : as `protocols.load`
    """
    # The protocol, with images at the network's size and cropped as its preprocessing demands.
    square = preprocessing.crop_of(prepare) if isinstance(prepare, Mapping) else preprocessing.WHOLE
    protocol = protocols.load(name, getattr(backbone, "size", None), settings.world, square)
    # Everything that the measures follow from; an evaluation with an equal key is reused.
    flip = protocol.mirror if settings.flip is None else settings.flip
    key = EvaluationKey(
        weights_sha256=digest(backbone),
        protocol_sha256=protocol.digest(),
        preprocessing=preprocessing.check(prepare) if isinstance(prepare, Mapping) else None,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    path = folder / f"{file_name(protocol.name, flip)}.json"
    if path.is_file() and not redo:
        with suppress(ValueError):  # damaged: evaluate again
            done = Evaluation.read(path)
            if done.measures.made_with == key and done.measures.protocol == protocol.name:
                return done, protocol, True
    # Embed, measure, and add what only the protocol knows.
    if isinstance(prepare, Mapping):
        prepare = partial(preprocessing.apply, preprocessing=prepare)
    embeddings = embed(
        backbone, protocol.images, settings.batch_size, flip=flip, prepare=prepare
    ).numpy()
    done = full.evaluate(
        embeddings, protocol, flip=flip, replicates=settings.replicates, seed=settings.seed
    )
    measures = done.measures.having(
        nuisances=by_nuisance(done, protocol),
        made_with=key,
        source=None if protocol.copy is None else dict(protocol.copy),
    )
    done = replace(done, measures=measures)
    done.write(folder)
    return done, protocol, False


def decide(
    evaluation: Evaluation,
    validation: Evaluation,
    far: float,
    people: calibration.People | None = None,
) -> Evaluation:
    """Measure FAR and TAR at a threshold that is chosen on another protocol.

    Parameters
    ----------
    evaluation : of the protocol on which the rates are measured
    validation : of the protocol on which the threshold is chosen
    far : the FAR on the pairs of `validation`
    people : the identities in the pairs of `evaluation` (`Protocol.people`), for the intervals

    Raises
    ------
    ValueError : `validation` has too few pairs to resolve this FAR, or both are of one protocol
    """
    source = validation.measures.protocol
    if source == evaluation.measures.protocol:
        raise ValueError(
            f"a threshold chosen on {source} cannot be evaluated on it: name another protocol"
        )
    # Choose the threshold on the validation pairs, measure both rates on the other pairs.
    threshold = calibration.threshold_at_far(validation.scores, validation.same, far)
    rates = calibration.decide(evaluation.scores, evaluation.same, threshold, people=people)
    here_far, here_tar = (
        Rate(value=rate.value, interval=(rate.low, rate.high), pairs=rate.pairs)
        for rate in (rates.far, rates.tar)
    )
    decision = Decision(
        threshold_from=source,
        wanted_far=far,
        threshold_cos=threshold,
        far=here_far,
        tar=here_tar,
    )
    return replace(evaluation, measures=evaluation.measures.having(decision=decision))


def by_nuisance(
    evaluation: Evaluation, protocol: Protocol, bins: int = 6
) -> dict[str, dict[Together, NuisanceTable]]:
    """Error rates in bins of each nuisance, for genuine and impostor pairs separately.

    A pair's nuisance is the larger of its two images', and in a second table their difference.
    Empty for templates; a nuisance that is the same in all pairs is omitted.
    """
    tables: dict[str, dict[Together, NuisanceTable]] = {}
    all_people = protocol.people()
    for name in protocol.nuisances if protocol.templates is None else ():
        # Both the larger value and the difference, since some nuisances hurt only if they differ.
        for how in get_args(Together):
            of_pair = protocol.nuisance_of_pairs(name, how)
            if of_pair.max() == of_pair.min():  # one value only: no bins
                continue
            # Edges over all pairs, so that both kinds share their bins.
            edges = np.histogram_bin_edges(of_pair, bins)
            of_kind = []
            for rows in (evaluation.same, ~evaluation.same):
                people = None if all_people is None else (all_people[0][rows], all_people[1][rows])
                binned = error_rates.by_nuisance(
                    evaluation.wrong[rows], of_pair[rows], edges, people=people
                )
                of_kind.append(
                    ErrorsByBin(
                        rate=_plain(binned.rate),
                        low=_plain(binned.low),
                        high=_plain(binned.high),
                        pairs=tuple(binned.pairs.tolist()),
                    )
                )
            genuine, impostor = of_kind
            tables.setdefault(name, {})[how] = NuisanceTable(
                edges=tuple(edges.tolist()), genuine=genuine, impostor=impostor
            )
    return tables


def digest(backbone: nn.Module) -> str:
    """SHA-256 over a network's parameters and buffers, whatever file they come from."""
    sha256 = hashlib.sha256()
    # Names and raw bytes, independent of the format of the weights' file.
    for name, tensor in backbone.state_dict().items():
        sha256.update(name.encode())
        sha256.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha256.hexdigest()


def _plain(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Replace NaN by None, since JSON has no NaN."""
    return tuple(None if np.isnan(value) else value for value in values.tolist())
