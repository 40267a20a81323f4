"""A head that is split over two and three processes, against the full head in one process."""

import multiprocessing

import pytest
import torch
import torch.multiprocessing as mp
from tests.heads import ranks_at_work as work
from tests.heads.probes import COMBINATIONS, probe_head, steps
from tests.heads.variants import IDS, VARIANTS, data, gradients, make
from tests.oracles import class_sizes

from cdmllab import heads
from cdmllab.heads._sampling import BLOCK, drawn
from cdmllab.training import checkpoint

SHARDED = {"centres", "bias"}

C = work.IDENTITIES
SIZES = [2, 3]
# Imported once, by the process from which the others are forked.
IMPORTS = ["cdmllab.training", "torch._dynamo", "torch.distributed.tensor"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The results of all ranks, by the number of ranks, and the folder of their checkpoints."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTS)
    results = {}
    for size in SIZES:
        if size == 3:  # two ranks, one, three
            results[1] = work.resumed(0, 1, folder)
        mp.start_processes(work.work, (size, folder), nprocs=size, start_method="forkserver")
        results[size] = [
            torch.load(folder / f"{size}-{rank}.pt", weights_only=True) for rank in range(size)
        ]
    return results, folder


def near(got, want, tolerance):
    assert float((got - want).detach().norm()) <= tolerance * max(float(want.detach().norm()), 1e-3)


def compare(ranks, head, x, y, tolerance=1e-10):
    """The results of `three_steps` on all ranks equal those of one head with the full batch."""
    want = work.three_steps(head, x, y)
    near(torch.cat([rank["d_x"] for rank in ranks]) / len(ranks), want["d_x"], tolerance)
    for name, grad in want["grads"].items():
        got = [rank["grads"][name] for rank in ranks]
        near(torch.cat(got) if name in SHARDED else got[0], grad, tolerance)
    for rank in ranks:
        near(rank["out"]["loss"], want["out"]["loss"], tolerance)
    for name, value in want["out"].items():
        if name == "loss":
            continue
        got = [rank["out"][name] for rank in ranks]
        if value is None:
            assert got == [None] * len(ranks)
        else:
            torch.testing.assert_close(
                torch.cat(got), value, rtol=20 * tolerance, atol=20 * tolerance, equal_nan=True
            )
    for name, value in want["state"].items():
        got = [rank["state"][name] for rank in ranks]
        joined = torch.cat(got) if name in SHARDED else got[0]
        torch.testing.assert_close(joined, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("i", range(len(VARIANTS)), ids=IDS)
def test_sharded_equals_dense_in_loss_gradients_and_state(result, i, dtype, tolerance, size):
    name, options = VARIANTS[i]
    keep = dtype == torch.float64
    head = make(name, "dense", C, dtype=dtype, keep_logits=keep, **options)
    compare(
        [rank["every_loss"][i, dtype] for rank in result[0][size]],
        head,
        *work.batch(dtype),
        tolerance,
    )


@pytest.mark.parametrize("size", SIZES)
def test_unsharded_state_is_bit_identical_on_all_ranks(result, size):
    first, *others = result[0][size]
    compared = 0
    for case, mine in first["every_loss"].items():
        for other in others:
            theirs = other["every_loss"][case]
            for kind in ("state", "grads"):
                for name in mine[kind].keys() - SHARDED:
                    assert torch.equal(mine[kind][name], theirs[kind][name])
                    compared += 1
            assert torch.equal(mine["out"]["loss"], theirs["out"]["loss"])
    assert compared > 100


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=IDS)
def test_in_one_process_it_equals_the_blocked_head_bit_for_bit(name, options):
    x, y = work.batch()
    blocked, sharded = (
        work.three_steps(make(name, backend, C, keep_logits=True, **options), x, y)
        for backend in ("blocked", "sharded")
    )
    torch.testing.assert_close(sharded, blocked, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("size", SIZES)
def test_ranks_without_identities_take_part(result, size):
    for name in ("softmax", "subcenter_arcface", "cdml", "npcface"):
        options = {"easiness": "gap"} if name == "cdml" else {}
        head = make(name, "dense", 2, keep_logits=True, **options)
        ranks = [rank["few_identities"][name] for rank in result[0][size]]
        assert [len(rank["grads"]["centres"]) for rank in ranks][2:] in ([], [0])
        compare(ranks, head, *work.batch(c=2))
    for rank in result[0][size]:
        before, after = rank["few_identities_saved"]
        assert torch.equal(before, after)


@pytest.mark.parametrize("size", SIZES)
def test_hardest_negative_tied_on_two_ranks_counts_once(result, size):
    head, (x, y) = make("cdml", "dense", C, keep_logits=True, **work.TIED), work.tied_batch()
    work.tie(head)
    others = head.eval()(x, y).logits.scatter(1, y.clamp_min(0).unsqueeze(1), -torch.inf)
    assert others[7].argmax() == 0
    assert others[7, 0] == others[7, C - 1]
    head.keep_logits = False
    compare([rank["tied"] for rank in result[0][size]], head.train(), x, y)


@pytest.mark.parametrize("size", SIZES)
def test_ignored_samples_count_on_no_rank(result, size):
    x, y = work.batch()
    some = y.clone()
    some[: len(y) // size] = -1
    compare(
        [rank["ignored"][0] for rank in result[0][size]], make("cdml", c=C, easiness="gap"), x, some
    )
    none = [rank["ignored"][1] for rank in result[0][size]]
    compare(none, make("cdml", c=C, easiness="gap"), x, torch.full_like(y, -1))
    assert none[0]["out"]["loss"] == 0


@pytest.mark.parametrize("size", SIZES)
def test_distributed_training_equals_that_of_one_process(result, size):
    ranks = [rank["with_a_network"] for rank in result[0][size]]
    want = work.train(work.Net(), make("magface", "dense", C, learn_scale=True), 3)
    assert not torch.allclose(want["network"], next(work.Net().parameters()), atol=1e-3)
    for rank in ranks:
        near(rank["network"], want["network"], 1e-10)
        near(rank["scale"], want["scale"], 1e-10)
    near(torch.cat([rank["centres"] for rank in ranks]), want["centres"], 1e-10)


@pytest.mark.parametrize(("init", "mean_square"), [("unit", 1.0), ("normal_0.01", 2 * 0.01**2)])
def test_initial_centres_do_not_depend_on_the_number_of_ranks(result, init, mean_square):
    centres, held = work.first_centres(0, 1, None)[init]
    assert held == len(centres) == 10_001 > 2 * BLOCK
    for size in SIZES:
        parts, counts = zip(*(rank["first_centres"][init] for rank in result[0][size]), strict=True)
        assert max(counts) == -(-10_001 // size)
        assert torch.equal(torch.cat(parts), centres)
    assert float(centres.norm(dim=1).square().mean()) == pytest.approx(mean_square, rel=0.05)
    assert len(centres.unique(dim=0)) == 10_001


def test_first_centres_follow_torchs_seed():
    def centres(seed):
        torch.manual_seed(seed)
        return heads.create("arcface", embedding_dim=4, num_identities=6, backend="sharded").centres

    assert torch.equal(centres(1), centres(1))
    assert not torch.equal(centres(1), centres(2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("i", range(len(work.SAMPLED)), ids=[name for name, _ in work.SAMPLED])
def test_samples_are_the_same_on_any_number_of_ranks(result, i, size):
    name, options = work.SAMPLED[i]
    head = make(name, "sharded", C, keep_logits=True, **options)
    compare([rank["sampled"][i] for rank in result[0][size]], head, *work.batch())


@pytest.mark.parametrize(
    "name", ["softmax", "arcface", "subcenter_arcface", "cdml", "npcface", "logit_adjustment"]
)
def test_sampled_step_is_a_full_step_among_those_drawn(name):
    options = {"easiness": "gap"} if name == "cdml" else {}
    sampled = make(name, "sharded", C, sample_rate=0.6, keep_logits=True, **options)
    x, y = data(4, C)
    out, (d_x, *_) = gradients(sampled, x, y)
    chosen = drawn(y, sampled.held, C, 0.6, (0, 1))
    assert len(y.unique()) < len(chosen) < C
    assert torch.equal(
        out.logits.isfinite(), torch.zeros_like(out.logits).index_fill(1, chosen, 1.0).bool()
    )

    few = heads.create(
        name,
        embedding_dim=5,
        num_identities=len(chosen),
        scale=8.0,
        class_sizes=torch.tensor(class_sizes(C))[chosen],
        **options,
    ).double()
    with torch.no_grad():
        few.centres.copy_(sampled.centres.unflatten(0, (C, -1))[chosen].flatten(0, 1))
    want, (want_x, want_centres, *_) = gradients(few, x, torch.searchsorted(chosen, y))
    torch.testing.assert_close(out.loss, want.loss)
    torch.testing.assert_close(d_x, want_x)
    got = sampled.centres.grad.unflatten(0, (C, -1))
    torch.testing.assert_close(got[chosen].flatten(0, 1), want_centres)
    rest = torch.ones(C).index_fill(0, chosen, 0.0).bool()
    assert bool((got[rest] == 0.0).all())


def test_sample_rate_one_is_the_full_head_bit_for_bit():
    x, y = work.batch()
    full = work.three_steps(make("cdml", "blocked", C), x, y)
    sampled = work.three_steps(make("cdml", "sharded", C, sample_rate=1.0, sample_seed=3), x, y)
    torch.testing.assert_close(sampled, full, rtol=0, atol=0, equal_nan=True)


def test_evaluation_uses_all_centres_and_draws_nothing():
    x, y = work.batch()
    head = make("arcface", "sharded", C, sample_rate=0.5).eval()
    assert torch.equal(head(x, y).loss, make("arcface", "blocked", C).eval()(x, y).loss)
    assert head.draws == 0


def test_sample_has_the_batch_and_others_up_to_the_rate():
    labels = torch.tensor([3, 9_999, 3, 5_000])
    draws = [drawn(labels, range(10_000), 10_000, 0.1, (0, step)) for step in range(20)]
    for draw in draws:
        assert {3, 5_000, 9_999} <= set(draw.tolist())
        assert torch.equal(draw, draw.unique())
    counts = torch.tensor([len(draw) for draw in draws], dtype=torch.float64)
    assert abs(float(counts.mean()) - 1_000) < 5 * 30 / 20**0.5  # standard deviation of one: 30
    assert not torch.equal(draws[0], draws[1])
    others = torch.cat(draws).bincount(minlength=10_000)
    assert others.float().var() < 4.0  # binomial: 1.8, but for the three in the batch


def test_drawn_of_a_batch_beyond_the_rate_is_the_batch():
    assert drawn(torch.arange(6), range(10), 10, 0.5, (0, 0)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["arcface", "cdml", "adacos", "npcface", "softmax"])
def test_sample_of_only_the_target_gives_no_loss(name):
    options = (
        {"easiness": "gap", "shape": "linear", "detach_margin": False} if name == "cdml" else {}
    )
    head = make(name, "sharded", C, sample_rate=0.01, **options)
    x, _ = data(4, C)
    out, grads = gradients(head, x, torch.full((4,), 7))
    assert out.loss == 0
    assert all(bool((grad == 0).all()) for grad in grads)


def test_checkpoint_of_two_ranks_resumes_on_one_and_then_three(result):
    results, _ = result
    for i, (name, options) in enumerate(work.SAVED):
        head, optimiser = work.learner(name, options)
        for start, size in ((0, 2), (2, 1), (4, 3)):
            want = work.learn(head, optimiser, range(start, start + 2))
            for got in [results[1]] if size == 1 else [rank["resumed"] for rank in results[size]]:
                near(got[i], want, 1e-10)


@pytest.mark.parametrize("backend", ["dense", "blocked"])
def test_checkpoint_of_three_ranks_loads_into_other_backends(result, backend):
    for i, (name, options) in enumerate(work.SAVED):
        plain = {key: value for key, value in options.items() if not key.startswith("sample")}
        want, optimiser = work.learner(name, options)
        work.learn(want, optimiser, range(6))
        head = make(name, backend, C, **plain)
        checkpoint.read(result[1] / f"3/{i}", {"head": heads.sharded_state_dict(head)})
        x, y = work.batch()
        near(head.eval()(x, y).loss, want.eval()(x, y).loss, 1e-10)


def test_momentum_is_saved_from_the_start_and_without_dampening_only():
    head = make("softmax", "sharded", C)
    optimiser = torch.optim.SGD(
        [*work.Net().parameters(), *head.parameters()], lr=0.1, momentum=0.9
    )
    state = heads.sharded_state_dict(head, optimiser)
    assert {key for key in state if key.startswith("momentum.")} == {
        "momentum.centres",
        "momentum.bias",
    }
    fresh, other = make("softmax", "sharded", C), make("softmax", "sharded", C)
    trained = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.9)
    untouched = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    heads.sharded_state_dict(fresh, trained)
    assert torch.equal(work.learn(fresh, trained, range(3)), work.learn(other, untouched, range(3)))
    damped = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, dampening=0.5)
    with pytest.raises(ValueError, match=r"only if dampening is 0, got dampening 0\.5"):
        heads.sharded_state_dict(head, damped)


@pytest.mark.parametrize("size", SIZES)
def test_global_view_gives_the_norm_over_all_ranks(result, size):
    head = make("softmax", "dense", C)
    gradients(head, *work.batch())
    want = torch.nn.utils.get_total_norm([head.centres.grad, head.bias.grad])
    for rank in result[0][size]:
        norm, shapes = rank["norms"]
        near(norm, want, 1e-10)
        assert shapes == [(C, 1, 5), (C,)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["softmax", "arcface", "subcenter_arcface"])
def test_nearest_searches_the_centres_of_all_ranks(result, size, name):
    head, (x, y) = make(name, "dense", C, keep_logits=True).eval(), work.tied_batch()
    if name == "arcface":
        work.tie(head)
    want = head(x, y.clamp_min(0)).logits.argmax(dim=1)
    assert len(want.unique()) > 3
    ranks = [rank["nearest"] for rank in result[0][size]]
    assert torch.equal(torch.cat([rank[name] for rank in ranks]), want)
    assert "the ranks disagree: rank 0 has 2 embeddings" in ranks[-1]["uneven"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("also_mean", [False, True])
@pytest.mark.parametrize("i", range(len(work.WEIGHTED)), ids=[name for name, _ in work.WEIGHTED])
def test_weighted_losses_of_the_ranks_count_as_their_mean(result, i, also_mean, size):
    """Each rank weights its own samples; the mean of the ranks' losses is differentiated."""
    name, options = work.WEIGHTED[i]
    kind = "sharded" if "sample_rate" in options else "dense"
    want = work.weighted_step(
        make(name, kind, C, **options), *work.batch(), work.WEIGHTS, also_mean
    )
    ranks = [rank["weighted"][2 * i + also_mean] for rank in result[0][size]]
    near(torch.stack([rank["loss"] for rank in ranks]).mean(), want["loss"], 1e-10)
    near(torch.cat([rank["d_x"] for rank in ranks]) / size, want["d_x"], 1e-10)
    assert float(want["d_x"].norm()) > 1e-3
    for key, grad in want["grads"].items():
        got = [rank["grads"][key] for rank in ranks]
        near(torch.cat(got) if key in SHARDED else got[0], grad, 1e-10)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scenario", ["observed", "filtered"])
@pytest.mark.parametrize("i", range(len(COMBINATIONS)), ids=map(str, COMBINATIONS))
def test_every_combination_of_flags_is_the_same_on_several_ranks(result, i, scenario, size):
    options = {} if scenario == "observed" else {"interclass_filtering_threshold": 0.4}
    want = steps(probe_head("dense", COMBINATIONS[i], C, **options), *work.batch())
    ranks = [rank[scenario][i] for rank in result[0][size]]
    joined = {"loss": ranks[0]["loss"], "d_x": torch.cat([rank["d_x"] for rank in ranks]) / size}
    joined |= {
        key: torch.cat([rank[key] for rank in ranks]) for key in ("sample_loss", "margin_rad")
    }
    for kind in ("grads", "state"):
        parts = [rank[kind] for rank in ranks]
        joined[kind] = {
            k: torch.cat([p[k] for p in parts]) if k in SHARDED else v for k, v in parts[0].items()
        }
    for rank in ranks:
        torch.testing.assert_close(
            {**joined, "observed": rank["observed"]}, want, rtol=1e-9, atol=1e-10, equal_nan=True
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["softmax", "arcface", "subcenter_arcface"])
def test_plain_logits_of_all_ranks_have_all_columns(result, name, size):
    x, _ = work.batch()
    got = torch.cat([rank["plain_logits"][name] for rank in result[0][size]])
    torch.testing.assert_close(got, make(name, "dense", C).logits(x).detach())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("uneven", "the ranks disagree: rank 0 has 2 embeddings of torch.float64 for logits"),
        (
            "gradient",
            "rank {last}: the logits of a sharded head have no gradient: call it under "
            "torch.no_grad()",
        ),
        ("shape", "rank {last}: embeddings must have shape (b, 5)"),
    ],
)
def test_invalid_logits_call_of_one_rank_is_rejected_on_all(result, case, sentence, size):
    messages = [rank["plain_logits"][case] for rank in result[0][size]]
    assert sentence.format(last=size - 1) in messages[0]
    assert messages == [messages[0]] * size


@pytest.mark.parametrize("size", SIZES)
def test_very_long_centres_of_one_rank_are_right_and_nan_is_reported_on_all(result, size):
    ranks = [rank["odd_centres"] for rank in result[0][size]]
    held = len(ranks[-1]["d_centres"])
    head = make("cdml", "dense", C, dtype=torch.float32, easiness="gap")
    with torch.no_grad():
        head.centres[-held:] *= 1e25
    out, (d_x, d_centres, *_) = gradients(head, *work.batch(torch.float32))
    near(ranks[0]["loss"], out.loss, 1e-5)
    near(torch.cat([rank["d_x"] for rank in ranks]) / size, d_x, 1e-5)
    got = torch.cat([rank["d_centres"] for rank in ranks])
    near(got[:-held], d_centres[:-held], 1e-5)
    near(got[-held:].double() * 1e25, d_centres[-held:].double() * 1e25, 1e-5)
    messages = [rank["message"] for rank in ranks]
    assert (
        f"rank {size - 1}: the class centre of identity {C - 1} contains NaN or infinity (1 "
        f"centres do)" in messages[0]
    )
    assert messages == [messages[0]] * size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        (
            "label",
            "rank {last}: label 10 of sample 2 is out of range: allowed are 0 to 9, and -1 to "
            "ignore a sample",
        ),
        ("nan", "rank {last}: the embedding of sample 1 contains NaN or infinity"),
        ("array", "rank {last}: embeddings must be a Tensor, got ndarray"),
        ("words", "rank {last}: labels must be a Tensor, an array or a list of numbers, got str"),
        ("both", "rank 0: embeddings must have shape (b, 5)"),
        (
            "known out of range",
            "rank {last}: the known easiness of sample 0 is 2: it must lie in [-1, 1]",
        ),
        ("size", "rank {last} has 10 identities in training, 3 samples of torch.float64"),
        ("dtype", "rank {last} has 10 identities in training, {b} samples of torch.float32"),
        (
            "known",
            "rank 0 has 10 identities in training, {b} samples of torch.float64, gradients off, "
            "no known",
        ),
        (
            "gradient",
            "rank {last} has 10 identities in training, {b} samples of torch.float64, gradients on",
        ),
        ("mode", "rank {last} has 10 identities in evaluation"),
        ("identities", "the ranks disagree: rank 0 has 10 identities in training"),
    ],
)
def test_bad_input_of_one_rank_is_reported_on_all_without_waiting(result, size, case, sentence):
    messages = [rank["refused"][0][case] for rank in result[0][size]]
    assert sentence.format(last=size - 1, b=work.BATCH // size) in messages[0]
    assert messages == [messages[0]] * size


@pytest.mark.parametrize("size", SIZES)
def test_ranks_continue_after_bad_input(result, size):
    want = make("arcface", "dense", C)(*work.batch()).loss
    for rank in result[0][size]:
        near(rank["refused"][1], want, 1e-10)


def test_head_built_before_the_process_group_is_rejected(result):
    for rank, results in enumerate(result[0][3]):
        sentence = f"the head was built for rank 0 of 1 but called on rank {rank} of 3"
        assert sentence in results["built too early"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sample_rate": 0.0}, r"sample_rate must lie in \(0, 1\], got 0.0"),
        ({"sample_rate": 1.5}, r"sample_rate must lie in \(0, 1\], got 1.5"),
        ({"sample_rate": "half"}, r"sample_rate must lie in \(0, 1\], got 'half'"),
        ({"sample_seed": -1}, "sample_seed must be a non-negative integer, got -1"),
        (
            {"backend": "blocked", "sample_rate": 0.5},
            "sample_rate and sample_seed are options of backend='sharded'",
        ),
    ],
)
def test_bad_sampling_is_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        heads.create(
            "arcface", **{"embedding_dim": 4, "num_identities": 6, "backend": "sharded", **options}
        )


def test_repr_names_the_identities_of_the_rank():
    head = heads.create(
        "cdml", embedding_dim=4, num_identities=1_000, backend="sharded", sample_rate=0.1
    )
    assert "1,000 on rank 0 of 1, 0.1 of them per step" in repr(head)
