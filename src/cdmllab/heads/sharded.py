"""The head for many identities: class centres shared out over processes, none of which holds them
all.

Every rank sees the embeddings of all ranks, goes over its own centres as the blocked head does, and
the ranks add up what they found. What is left, the margin included, are tensors of shape (b,),
which every rank computes alike.
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
    """One loss over the batches of all ranks, each of which holds a run of the class centres.

    The ranks are those of torch.distributed's default process group, from gloo on CPUs or nccl on
    CUDA; without one the head is alone and equals the blocked head. Every rank calls the head with
    a batch of its own, all of one size. `HeadOutput.loss` is the mean over all ranks' samples, the
    same on each; the tensors per sample are those of the rank's own, and `logits` has all
    identities.

    A loss that you make of `sample_loss` is one for the rank's own samples, and their mean over
    ranks is differentiated, as under DistributedDataParallel. Every rank has to make one and call
    `backward`.

    `centres` (and plain softmax's `bias`) are this rank's part alone: leave the head out of
    DistributedDataParallel, which would average them. Their gradients are complete. What every rank
    has whole, a learnt scale and the loss's running statistics (those it keeps for each identity
    too), changes alike on all. The gradient that leaves towards the embeddings is *size* times the
    derivative of the loss, *size* the number of ranks: after DistributedDataParallel has averaged
    the backbone's gradients over ranks they are those of one process with the whole batch. To clip
    by the norm of all gradients, see `whole`. To save and load, see
    `cdmllab.heads.checkpoint.sharded_state_dict`.

    With ``sample_rate`` below 1 a training step looks at some of the centres only, Partial FC (An
    et al., "Killing two birds with one stone", 2022): those of the identities in the batch, and
    others by chance. Evaluation looks at all. A centre that is not drawn has gradient 0, and the
    optimiser treats it so: SGD's momentum moves it on, weight decay shortens it, which does not
    turn it. A logit that was not computed is -inf.

    Centres start from torch's random state, on any number of ranks the same if that is seeded alike
    on every rank.

    Parameters
    ----------
    sample_rate : share of the identities that count in a training step, in (0, 1]
    sample_seed : of the draw, which depends on it and on the number of training batches so far, but
        not on the number of ranks
    others : as for `BlockedHead`

    Raises
    ------
    ValueError : in the constructor, `sample_rate` or `sample_seed` out of range; in a call, on
        every rank alike, what is wrong with one rank's batch, batches that differ in size, kind or
        mode, or another process group than the one that the head was built in
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
            raise ValueError(f"sample_seed must be a whole number from 0 up, got {sample_seed!r}")
        super().__init__(policy, **options)
        self.ranks = Ranks.current()
        self.held = self.ranks.share(self.num_identities)
        self.sample_rate, self.sample_seed = sample_rate, sample_seed
        if sample_rate < 1.0:
            self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def _first_centres(self) -> Tensor:
        seed = int(torch.randint(2**62, ()))
        held = Ranks.current().share(self.num_identities)
        return first_centres(
            held, seed, self.embedding_dim, self.policy.centres_per_identity, self._shrink
        )

    @property
    def identities_here(self) -> range:
        return self.held

    def forward(self, embeddings: Tensor, labels: Any, known_easiness: Any = None) -> HeadOutput:
        """Loss of the batches of all ranks; arguments as for `MarginHead.forward`, of this rank's
        samples.
        """
        ranks = self.ranks
        if Ranks.current() != ranks:
            raise ValueError(
                f"the head was built for rank {ranks.rank} of {ranks.size} and is called on rank "
                f"{Ranks.current().rank} of {Ranks.current().size}: build it after "
                f"init_process_group"
            )
        with torch.autocast(self.centres.device.type, enabled=False):
            mine, centres = self._agreed(embeddings, labels, known_easiness)
            known = mine.known_easiness
            everyone = Samples(
                embeddings=gather(mine.embeddings, ranks),
                labels=ranks.gathered(mine.labels),
                known_easiness=None if known is None else ranks.gathered(known),
                some_ignored=True,  # on another rank, perhaps
            )
            out = self._output(everyone, centres)
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
        found, complaint, about = None, None, ""
        try:
            found = self._checked(embeddings, labels, known_easiness)
            x = found[0].embeddings
            differentiated = torch.is_grad_enabled() and x.requires_grad
            about = (
                f"{self.num_identities:,} identities in "
                f"{'training' if self.training else 'evaluation'}, {len(x)} "
                f"samples of {embeddings.dtype}, gradients {'on' if differentiated else 'off'}, "
                f"{'no ' if known_easiness is None else ''}known easiness"
            )
        except ValueError as error:
            complaint = str(error)
        self.ranks.agree(complaint, about, self.centres.device)
        assert found is not None
        return found

    def logits(self, embeddings: Tensor) -> Tensor:
        """As in `MarginHead`, with all identities' columns, (b, d) to (b, c), but without a
        gradient.

        Every rank calls it, with as many embeddings of its own, and for a moment holds the logits
        of all ranks' samples to its part of the class centres.

        Raises
        ------
        ValueError : on every rank alike; also if a gradient would be lost
        """
        ranks, complaint, about = self.ranks, None, ""
        try:
            check_embeddings(embeddings, self.embedding_dim, self.centres.device)
            if torch.is_grad_enabled() and embeddings.requires_grad:
                raise ValueError(
                    "a sharded head's logits have no gradient: call them under torch.no_grad()"
                )
            about = f"{len(embeddings)} embeddings of {embeddings.dtype} for logits"
        except ValueError as error:
            complaint = str(error)
        ranks.agree(complaint, about, self.centres.device)
        with torch.no_grad():
            here = super().logits(ranks.gathered(embeddings.detach()))
            return ranks.columns_of_own(here, self.num_identities)

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, block: int = 8192) -> Tensor:
        """As in `MarginHead`, among the centres of all ranks: every rank calls it, with as many
        embeddings.
        """
        ranks = self.ranks
        ranks.agree(
            None,
            f"{len(embeddings)} embeddings of {embeddings.dtype} to compare",
            embeddings.device,
        )
        best, which = self._nearest_here(ranks.gathered(embeddings.detach()), block)
        beaten = best < ranks.largest(best)
        which = torch.where(beaten, self.num_identities, which + self.held.start)
        return ranks.own(-ranks.largest(-which))  # of equal ones the first

    def sharded_parameters(self) -> dict[str, nn.Parameter]:
        """The class centres, and the bias of plain softmax."""
        found = {"centres": self.centres, "bias": self.bias}
        return {name: value for name, value in found.items() if value is not None}

    def whole(self, part: Tensor) -> Tensor:
        """A tensor of the shape of `centres` or `bias`, such as a gradient, as this rank's part of
        the whole.

        Under a process group a DTensor with ``Shard(0)``, of shape (c, K, d) or (c,), that shares
        memory with `part`; else a plain view.
        ``torch.nn.utils.get_total_norm([head.whole(head.centres.grad)]).full_tensor()`` is the norm
        over all ranks.
        """
        local = super().whole(part.detach())
        if not dist.is_initialized():
            return local
        from torch.distributed.device_mesh import DeviceMesh  # these take a while to import
        from torch.distributed.tensor import DTensor, Shard

        everyone = dist.group.WORLD
        assert everyone is not None
        mesh = DeviceMesh.from_group(everyone, local.device.type)
        shape = torch.Size((self.num_identities, *local.shape[1:]))
        return DTensor.from_local(
            local, mesh, [Shard(0)], run_check=False, shape=shape, stride=local.stride()
        )

    def _start(self, samples: Samples, centres: Centres) -> Started:
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
        """As in `BlockedHead`, of all ranks' samples; the logits are those to this rank's
        centres.
        """
        batch, (x, positive, centres) = started
        scale = self.policy.current_scale(self.scale).to(x.dtype)
        x, scale, *learnt = shared(self.ranks, x, scale, *self.policy.parameters())
        here, k = positive >= 0, self.policy.centres_per_identity
        chosen = self._drawn(batch.labels)
        if chosen is not None:
            centres = _among(centres, chosen, k)
            among = torch.searchsorted(chosen, positive // k) * k + positive % k
            positive = torch.where(here, among, -1)
        target = batch.target_cos
        if centres.bias is not None:
            target = torch.zeros_like(target)
            target[here] = positive_logit(x[here], centres.rows, centres.bias, positive[here])
            target = self.ranks.total(target)
        logits = x.new_empty(len(x), len(centres.rows) // k) if keep else None
        plan = self._plan(target, batch, positive, centres, logits, plainly)
        if chosen is not None and plan.offset is not None:
            plan = replace(plan, offset=plan.offset[chosen])
        found = negatives(x, centres.rows, centres.bias, scale, tuple(learnt), plan)
        if logits is not None and chosen is not None:
            everyone = logits.new_full((len(x), len(self.held)), -torch.inf)
            logits = everyone.index_copy_(1, chosen, logits)
        return Negatives(*CombinedNegatives.apply(*found, here, plan.sums, self.ranks)), logits

    @torch.no_grad()
    def _positive(self, directions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine to the positive centre, on every rank; its row, on the rank that holds it,
        else -1.
        """
        here = (labels >= self.held.start) & (labels < self.held.stop)
        target_cos, rows = directions.new_zeros(len(labels)), torch.full_like(labels, -1)
        found = super()._positive(directions[here], labels[here] - self.held.start)
        target_cos[here], rows[here] = found
        return self.ranks.total(target_cos), rows

    def extra_repr(self) -> str:
        some = f", {self.sample_rate:g} of them a step" if self.sample_rate < 1.0 else ""
        return (
            f"{super().extra_repr()}; {len(self.held):,} on rank {self.ranks.rank} of "
            f"{self.ranks.size}{some}"
        )


def _among(centres: Centres, chosen: Tensor, k: int) -> Centres:
    """The class centres of some identities; `chosen` of shape (m,) counts from the first
    one here.
    """

    def pick(rows: Tensor) -> Tensor:
        picked: Tensor = rows.unflatten(0, (-1, k))[chosen].flatten(0, 1)
        return picked

    rows, bias, lengths = centres
    return Centres(
        pick(rows), None if bias is None else pick(bias), None if lengths is None else pick(lengths)
    )
