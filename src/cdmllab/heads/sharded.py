"""The head for many identities: class centres are split over processes.

Every rank sees the embeddings of all ranks, reduces the negatives among its own centres as the
blocked head does, and the ranks combine their results: with N_ir the log-sum-exp over the negatives
of sample i on rank r,

    N_i = log sum_r exp(N_ir),    dN_i / dN_ir = exp(N_ir - N_i).

Everything else, the margin included, consists of tensors of shape (b,), which every rank computes
identically.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cdmllab.heads._blockwise_softmax import Negatives, negatives
from cdmllab.heads._process_group import CombinedNegatives, Ranks, gather, own_rows, shared
from cdmllab.heads._sampling import drawn, first_centres
from cdmllab.heads.blocked import BlockedHead, positive_logit
from cdmllab.heads.checks import Centres, Samples, check_embeddings
from cdmllab.heads.output import HeadOutput, Started
from cdmllab.margins import MarginPolicy


class ShardedHead(BlockedHead):
    """One loss over the batches of all ranks, each of which holds some of the class centres.

    The ranks are those of torch.distributed's default process group, with the gloo backend on CPUs
    or nccl on CUDA; without a process group the head equals the blocked head. Every rank calls the
    head with a batch of its own, all of the same size. `HeadOutput.loss` is the mean over the
    samples of all ranks, the same on each; the per-sample tensors are those of the rank's own
    samples, and `logits` covers all identities.

    A loss that you derive from `sample_loss` covers the rank's own samples, and the mean of the
    ranks' losses is differentiated, as under DistributedDataParallel. Every rank has to compute one
    and call `backward`.

    `centres` (and plain softmax's `bias`) are this rank's part only, with complete gradients: do
    not wrap the head in DistributedDataParallel, which would average them. Whatever is not split (a
    learnt scale, and the loss's running statistics, even those for each identity) changes
    identically on all ranks. The gradient with respect to the embeddings is the derivative of the
    loss times the number of ranks: once DistributedDataParallel has averaged the backbone's
    gradients over ranks, they equal those of one process with the full batch. To clip by the norm
    of all gradients, see `global_view`. To save and load, see
    `cdmllab.heads.checkpoint.sharded_state_dict`.

    With ``sample_rate`` below 1 a training step uses only some of the centres: those of the
    identities in the batch, and a random sample of the others (Partial FC: An et al., "Killing Two
    Birds with One Stone", 2022, arXiv 2203.15565_). Evaluation uses all. A centre that was not
    sampled has gradient 0, which the optimiser treats like any other gradient: SGD's momentum keeps
    moving it, and weight decay shortens it without turning it. A logit that was not computed is
    -inf.

    Centres are initialised from torch's random state; if it is seeded identically on every rank,
    they are the same for any number of ranks.

    Parameters
    ----------
    sample_rate : share of the identities used in a training step, in (0, 1]
    sample_seed : seed of the sampling, which also depends on the number of training batches so far,
        but not on the number of ranks
    others : as for `BlockedHead`

    Raises
    ------
    ValueError : in the constructor, `sample_rate` or `sample_seed` is out of range; in a call, the
        batch of any rank is invalid, the batches differ in size, dtype or mode, or the process
        group is not the one that the head was built in. All ranks raise the same error.

    .. _2203.15565: https://arxiv.org/abs/2203.15565
    """

    backend = "sharded"
    holds_all = False
    draws: Tensor

    def __init__(
        self,
        policy: MarginPolicy,
        *,
        sample_rate: float = 1.0,
        sample_seed: int = 0,
        **options: Any,
    ) -> None:
        if not isinstance(sample_rate, int | float) or not 0.0 < sample_rate <= 1.0:
            raise ValueError(f"sample_rate must lie in (0, 1], got {sample_rate!r}")
        if not isinstance(sample_seed, int) or sample_seed < 0:
            raise ValueError(f"sample_seed must be a non-negative integer, got {sample_seed!r}")
        super().__init__(policy, **options)
        self.ranks = Ranks.current()
        self.held = self.ranks.share(self.num_identities)
        self.sample_rate, self.sample_seed = sample_rate, sample_seed
        # The number of batches so far: saved, so that a resumed run continues the sampling.
        if sample_rate < 1.0:
            self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def _first_centres(self) -> Tensor:
        # One number from torch's random state seeds the centres of all ranks.
        seed = int(torch.randint(2**62, ()))
        # The base constructor calls this before `self.ranks` and `self.held` exist.
        held = Ranks.current().share(self.num_identities)
        return first_centres(
            held, seed, self.embedding_dim, self.policy.centres_per_identity, self._shrink
        )

    @property
    def identities_here(self) -> range:
        return self.held

    def forward(self, embeddings: Tensor, labels: Any, known_easiness: Any = None) -> HeadOutput:
        """Loss over the batches of all ranks.

        The arguments are as for `MarginHead.forward`, for this rank's samples.
        """
        ranks = self.ranks
        # A head built before init_process_group would hold the wrong share of the centres.
        if Ranks.current() != ranks:
            raise ValueError(
                f"the head was built for rank {ranks.rank} of {ranks.size} but called on rank "
                f"{Ranks.current().rank} of {Ranks.current().size}: build it after "
                f"init_process_group"
            )
        with torch.autocast(self.centres.device.type, enabled=False):
            samples, centres = self._agreed(embeddings, labels, known_easiness)
            known = samples.known_easiness
            # From here on every rank computes with the samples of all ranks.
            everyone = Samples(
                embeddings=gather(samples.embeddings, ranks),
                labels=ranks.gathered(samples.labels),
                known_easiness=None if known is None else ranks.gathered(known),
                some_ignored=True,  # possibly on another rank
            )
            out = self._output(everyone, centres)
        # Each rank returns the rows of its own samples.
        return HeadOutput(
            loss=out.loss,
            sample_loss=own_rows(out.sample_loss, ranks),
            target_cos=ranks.own(out.target_cos),
            margin_rad=ranks.own(out.margin_rad),
            easiness=None if out.easiness is None else ranks.own(out.easiness),
            logits=None
            if out.logits is None
            else ranks.columns_of_own(out.logits, self.num_identities),
        )

    def _agreed(
        self, embeddings: Tensor, labels: Any, known_easiness: Any
    ) -> tuple[Samples, Centres]:
        """A checked batch and class centres, or the same error on all ranks."""
        checked, complaint, about = None, None, ""
        try:
            checked = self._checked(embeddings, labels, known_easiness)
            x = checked[0].embeddings
            differentiated = torch.is_grad_enabled() and x.requires_grad
            # Everything that has to be the same on all ranks.
            about = (
                f"{self.num_identities:,} identities in "
                f"{'training' if self.training else 'evaluation'}, {len(x)} "
                f"samples of {embeddings.dtype}, gradients {'on' if differentiated else 'off'}, "
                f"{'no ' if known_easiness is None else ''}known easiness"
            )
        except ValueError as error:
            complaint = str(error)
        self.ranks.agree(complaint, about, self.centres.device)
        # If this rank had a complaint, `agree` has raised it.
        assert checked is not None
        return checked

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits for all identities, without a gradient; shape (b, d) to (b, c).

        Otherwise as in `MarginHead`. Every rank has to call it, with the same number of embeddings,
        and temporarily holds the logits of all ranks' samples for its own class centres.

        Raises
        ------
        ValueError : the embeddings are invalid or differ in number between ranks, or have a
            gradient, which would be lost. All ranks raise the same error.
        """
        ranks, complaint, about = self.ranks, None, ""
        try:
            check_embeddings(embeddings, self.embedding_dim, self.centres.device)
            if torch.is_grad_enabled() and embeddings.requires_grad:
                raise ValueError(
                    "the logits of a sharded head have no gradient: call it under torch.no_grad()"
                )
            about = f"{len(embeddings)} embeddings of {embeddings.dtype} for logits"
        except ValueError as error:
            complaint = str(error)
        ranks.agree(complaint, about, self.centres.device)
        with torch.no_grad():
            # This rank's columns for all samples, exchanged for all columns of its own samples.
            here = super().logits(ranks.gathered(embeddings.detach()))
            return ranks.columns_of_own(here, self.num_identities)

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, block: int = 8192) -> Tensor:
        """As in `MarginHead`, among the centres of all ranks.

        Every rank has to call it, with the same number of embeddings.
        """
        ranks = self.ranks
        ranks.agree(
            None,
            f"{len(embeddings)} embeddings of {embeddings.dtype} to compare",
            embeddings.device,
        )
        best, identity = self._nearest_here(ranks.gathered(embeddings.detach()), block)
        # A rank without the largest cosine answers with a number above every identity.
        beaten = best < ranks.largest(best)
        identity = torch.where(beaten, self.num_identities, identity + self.held.start)
        return ranks.own(-ranks.largest(-identity))  # the minimum over ranks: the first of a tie

    def sharded_parameters(self) -> dict[str, nn.Parameter]:
        """The class centres, and the bias of plain softmax."""
        parameters = {"centres": self.centres, "bias": self.bias}
        return {name: value for name, value in parameters.items() if value is not None}

    def global_view(self, part: Tensor) -> Tensor:
        """View a tensor shaped like `centres` or `bias` as this rank's part of the full tensor.

        The tensor may be a gradient, for example. Under a process group the result is a DTensor
        with ``Shard(0)``, of shape (c, K, d) or (c,), that shares memory with `part`; otherwise it
        is a plain view.
        For the norm of the gradient over all ranks::

            part = head.global_view(head.centres.grad)
            norm = torch.nn.utils.get_total_norm([part]).full_tensor()
        """
        local = super().global_view(part.detach())
        if not dist.is_initialized():
            return local
        from torch.distributed.device_mesh import DeviceMesh  # these take a while to import
        from torch.distributed.tensor import DTensor, Shard

        everyone = dist.group.WORLD
        assert everyone is not None
        mesh = DeviceMesh.from_group(everyone, local.device.type)
        shape = torch.Size((self.num_identities, *local.shape[1:]))
        # The shares follow a fixed rule, so the ranks need not compare them (`run_check`).
        return DTensor.from_local(
            local, mesh, [Shard(0)], run_check=False, shape=shape, stride=local.stride()
        )

    def _start(self, samples: Samples, centres: Centres) -> Started:
        # Once per batch: `_reduce` may run twice in it, and must then draw the same sample.
        if self._samples():
            self.draws += 1
        return super()._start(samples, centres)

    def _samples(self) -> bool:
        return self.training and self.sample_rate < 1.0

    def _drawn(self, labels: Tensor) -> Tensor | None:
        if not self._samples():
            return None
        key = (self.sample_seed, int(self.draws))
        return drawn(labels, self.held, self.num_identities, self.sample_rate, key)

    def _reduce(
        self, started: Started, keep: bool = False, plainly: bool = False
    ) -> tuple[Negatives, Tensor | None]:
        """As in `BlockedHead`, for the samples of all ranks and the centres of this one.

        The scale and the policy's parameters are used by every rank with different negatives, so
        `shared` adds up their gradients.
        """
        batch, (x, positive, centres) = started
        scale = self.policy.current_scale(self.scale).to(x.dtype)
        x, scale, *learnt = shared(self.ranks, x, scale, *self.policy.parameters())
        here, k = positive >= 0, self.policy.centres_per_identity
        chosen = self._drawn(batch.labels)
        if chosen is not None:
            centres = _among(centres, chosen, k)
            # Renumber the positive rows among the sampled centres, which include all positives.
            among = torch.searchsorted(chosen, positive // k) * k + positive % k
            positive = torch.where(here, among, -1)
        target = batch.target_cos
        if centres.bias is not None:
            # Only one rank holds the positive centre; the sum over ranks gives its logit to all.
            target = torch.zeros_like(target)
            target[here] = positive_logit(x[here], centres.rows, centres.bias, positive[here])
            target = self.ranks.total(target)
        logits = x.new_empty(len(x), len(centres.rows) // k) if keep else None
        plan = self._plan(target, batch, positive, centres, logits, plainly)
        # The plan's offset covers all identities that this rank holds: keep those of the sample.
        if chosen is not None and plan.offset is not None:
            plan = replace(plan, offset=plan.offset[chosen])
        partial = negatives(x, centres.rows, centres.bias, scale, tuple(learnt), plan)
        # Widen the logits again to one column for each identity that this rank holds.
        if logits is not None and chosen is not None:
            everyone = logits.new_full((len(x), len(self.held)), -torch.inf)
            logits = everyone.index_copy_(1, chosen, logits)
        return Negatives(*CombinedNegatives.apply(*partial, here, plan.sums, self.ranks)), logits

    @torch.no_grad()
    def _positive(self, directions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine to the positive centre, and its row, which is -1 on all ranks but one."""
        here = (labels >= self.held.start) & (labels < self.held.stop)
        # 0 for a sample whose positive centre is elsewhere: the sum over ranks has one term.
        target_cos, rows = directions.new_zeros(len(labels)), torch.full_like(labels, -1)
        cosines, held_rows = super()._positive(directions[here], labels[here] - self.held.start)
        target_cos[here], rows[here] = cosines, held_rows
        return self.ranks.total(target_cos), rows

    def extra_repr(self) -> str:
        sampled = f", {self.sample_rate:g} of them per step" if self.sample_rate < 1.0 else ""
        return (
            f"{super().extra_repr()}; {len(self.held):,} on rank {self.ranks.rank} of "
            f"{self.ranks.size}{sampled}"
        )


def _among(centres: Centres, chosen: Tensor, k: int) -> Centres:
    """Select the class centres of the identities in `chosen`, relative to this rank's first."""

    def pick(rows: Tensor) -> Tensor:
        # K consecutive rows for each identity; a bias has K = 1.
        picked: Tensor = rows.unflatten(0, (-1, k))[chosen].flatten(0, 1)
        return picked

    rows, bias, lengths = centres
    return Centres(
        pick(rows), None if bias is None else pick(bias), None if lengths is None else pick(lengths)
    )
