"""The training loop: one config in, one run folder out."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

from cdmllab import backbones, heads
from cdmllab.files import replacing
from cdmllab.heads import HeadOutput, MarginHead
from cdmllab.runs import Run
from cdmllab.training import sources
from cdmllab.training.config import Config

if TYPE_CHECKING:
    from cdmllab.heads.pairs import PairHead

WEIGHTS = "checkpoints/last.pt"


class Trained(NamedTuple):
    """A run with its network and head (the class centres, for all but pair losses), in evaluation mode."""

    run: Run
    backbone: nn.Module
    head: "MarginHead | PairHead"


def train(config: Config, *, within: Path | None = None, redo: bool = False) -> Trained:
    """Train as `config` says, or return the finished run that already did.

    Parameters
    ----------
    config : the whole of what is to be done
    within : the folder of runs; default `cdmllab.runs.root()`
    redo : train again even if a finished run with this config exists

    Raises
    ------
    RuntimeError : CUDA is asked for and there is none
    FloatingPointError : the loss became NaN or infinite; the run is marked as failed
    """
    done = None if redo else Run.find(config.flat(), within=within)
    if done is not None:
        return load(done)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("the config asks for device 'cuda', and this machine has no CUDA device")
    run = Run.create(config.name, config.seed, config.flat(), within=within)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(config.threads)  # the order of sums, so the result, depends on it
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            _fit(run, config)
    except BaseException as error:
        run.finish("failed", error=f"{type(error).__name__}: {error}")
        raise
    finally:
        torch.set_num_threads(threads)
    run.finish()
    return load(run)


def load(run: Run) -> Trained:
    """The network and head of a finished run, on the CPU."""
    config = Config.parse(run.config)
    state = torch.load(run.folder / WEIGHTS, map_location="cpu", weights_only=True)
    with torch.random.fork_rng():
        backbone, head = _build(config, state["num_identities"])
    backbone.load_state_dict(state["backbone"])
    head.load_state_dict(state["head"])
    return Trained(run, backbone.eval(), head.eval())


def _build(config: Config, num_identities: int) -> "tuple[nn.Module, MarginHead | PairHead]":
    backbone = backbones.create(
        config.backbone.name, embedding_dim=config.backbone.embedding_dim, **config.backbone.options
    )
    head = heads.create(
        config.loss.name,
        embedding_dim=config.backbone.embedding_dim,
        num_identities=num_identities,
        scale=config.loss.scale,
        **{"keep_logits": True, **config.loss.options},
    )
    return backbone, head


def _fit(run: Run, config: Config) -> None:
    source = sources.load(config.data.name, config.data.options)
    images, labels = source.images.to(config.device), source.labels.to(config.device)
    backbone, head = _build(config, source.num_identities)
    backbone, head = backbone.to(config.device), head.to(config.device)
    parameters = [*backbone.parameters(), *head.parameters()]
    o = config.optimiser
    optimiser = SGD(parameters, lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay)
    scheduler = MultiStepLR(optimiser, list(o.milestones), o.gamma)
    order = torch.Generator().manual_seed(config.seed)
    steps_an_epoch = max(len(labels) // config.batch_size, 1)
    step, steps = 0, config.epochs * steps_an_epoch

    for epoch in range(config.epochs):
        shuffled = torch.randperm(len(labels), generator=order)[: steps_an_epoch * config.batch_size]
        for rows in shuffled.split(config.batch_size):
            head.set_progress(step / steps)
            out = head(backbone(images[rows]), labels[rows])
            if not torch.isfinite(out.loss):
                raise FloatingPointError(f"the loss is {out.loss.item()} at step {step} (epoch {epoch})")
            optimiser.zero_grad()
            out.loss.backward()
            optimiser.step()
            step += 1
            run.log(
                step=step,
                epoch=epoch,
                lr=float(scheduler.get_last_lr()[0]),
                loss=out.loss.item(),
                **_watched(out, labels[rows]),
            )
        scheduler.step()

    state = {
        "num_identities": source.num_identities,
        "backbone": backbone.state_dict(),
        "head": head.state_dict(),
    }
    with replacing(run.folder / WEIGHTS) as temporary:
        torch.save(state, temporary)


def _watched(out: HeadOutput, labels: Tensor) -> dict[str, float]:
    """Batch means of what the head tells; a pair loss tells nothing but its loss."""
    if out.logits is None:
        return {}
    return {
        "accuracy": (out.logits.argmax(1) == labels).float().mean().item(),
        "target_cos": out.target_cos.mean().item(),
        "margin_rad": out.margin_rad.mean().item(),
    }
