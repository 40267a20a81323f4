import numpy as np
import pytest

from cdmllab.metrics import identification as ident


def draw(seed=0, people=12, probes=80, strangers=5, noise=0.8):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people + strangers, 6))
    who = rng.integers(0, people + strangers, probes)
    gallery = centres[:people] + 0.2 * rng.normal(size=(people, 6))
    return (
        gallery,
        np.arange(people) * 10,
        centres[who] + noise * rng.normal(size=(probes, 6)),
        who * 10,
    )


def by_hand(gallery, gid, probes, pid):
    unit = lambda x: x / np.linalg.norm(x)  # noqa: E731
    rows = []
    for q, who in zip(probes, pid, strict=True):
        scores = {int(g): float(unit(q) @ unit(e)) for g, e in zip(gid, gallery, strict=True)}
        own = scores.pop(int(who), None)
        rank = 0 if own is None else 1 + sum(s >= own for s in scores.values())
        rows.append((-np.inf if own is None else own, max(scores.values()), rank))
    return rows


@pytest.mark.parametrize("block", [32 * 2**20, 8 * 12 * 7, 1])
def test_search_equals_one_probe_at_a_time(monkeypatch, block):
    monkeypatch.setattr(ident, "_BLOCK_BYTES", block)
    data = draw()
    got, want = ident.search(*data), by_hand(*data)
    np.testing.assert_allclose(got.mate_score, [w[0] for w in want])
    np.testing.assert_allclose(got.other_score, [w[1] for w in want])
    assert got.rank.tolist() == [w[2] for w in want]
    assert 0 < got.mated.sum() < len(want)


def test_rank_rates_equal_worked_values():
    result = ident.Search(np.zeros(5), np.zeros(5), np.array([1, 1, 3, 0, 2]))
    assert ident.cmc(result, 4).tolist() == [0.5, 0.75, 1.0, 1.0]
    assert len(ident.cmc(result)) == 20
    assert [ident.rank_rate(result, k) for k in (1, 2, 3, 4)] == [0.5, 0.75, 1.0, 1.0]
    assert ident.rank_rate(result) == 0.5


def test_constant_network_ranks_last():
    result = ident.search(np.ones((6, 3)), np.arange(6), np.ones((4, 3)), np.arange(4))
    assert result.rank.tolist() == [6] * 4
    assert ident.rank_rate(result, 5) == 0.0


def test_tpir_at_fpir_equals_a_worked_value():
    # four probes with a mate (one of them not first), three strangers with best scores 0.3, 0.5 and
    # 0.7
    mate = np.array([0.9, 0.6, 0.8, 0.4, *[-np.inf] * 3])
    other = np.array([0.1, 0.1, 0.85, 0.1, 0.3, 0.5, 0.7])
    result = ident.Search(mate, other, np.array([1, 1, 2, 1, 0, 0, 0]))
    at = ident.tpir_at_fpir(result, 1 / 3)  # lets 0.7 in, keeps 0.5 out
    assert (at.tpir, at.fpir) == (0.5, 1 / 3)
    assert at.threshold > 0.5
    assert ident.tpir_at_fpir(result, 0.67) == ident.tpir_at_fpir(result, 2 / 3)
    assert ident.tpir_at_fpir(result, 1.0)[:2] == (0.75, 1.0)


def test_tpir_at_fpir_of_tied_strangers_keeps_the_fpir():
    result = ident.Search(
        np.array([0.9, *[-np.inf] * 4]), np.full(5, 0.5), np.array([1, 0, 0, 0, 0])
    )
    at = ident.tpir_at_fpir(result, 0.5)
    assert (at.tpir, at.fpir) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda g, i, q, j: (g, np.where(i == 90, 30, i), q, j),
            "identity 30 twice, as entries 3 and 9",
        ),
        (
            lambda g, i, q, j: (g[:1], i[:1], q, j),
            "needs at least two gallery entries and a probe, got 1 and 80",
        ),
        (
            lambda g, i, q, j: (g, i, q[:0], j[:0]),
            "needs at least two gallery entries and a probe, got 12 and 0",
        ),
        (lambda g, i, q, j: (g, i, q[:, :4], j), "the shapes must be gallery"),
        (
            lambda g, i, q, j: (g, i[1:], q, j),
            r"the shapes must be gallery .*, got \(12, 6\), \(11,\), \(80, 6\) and \(80,\)",
        ),
        (lambda g, i, q, j: (g, i, q, j[1:]), "the shapes must be gallery"),
        (
            lambda g, i, q, j: (g, i, np.where(np.arange(80)[:, None] == 4, np.nan, q), j),
            "probe 4 is zero or not",
        ),
        (
            lambda g, i, q, j: (np.where(np.arange(12)[:, None] == 2, 0, g), i, q, j),
            "gallery entry 2 is zero",
        ),
    ],
)
def test_invalid_arguments_of_search_are_named(spoil, message):
    with pytest.raises(ValueError, match=message):
        ident.search(*spoil(*draw()))


def test_rates_refuse_probes_of_one_kind():
    with pytest.raises(ValueError, match="no probe has a mate"):
        ident.cmc(ident.Search(np.zeros(2), np.zeros(2), np.zeros(2, int)))
    with pytest.raises(ValueError, match="every probe has a mate"):
        ident.tpir_at_fpir(ident.Search(np.zeros(2), np.zeros(2), np.ones(2, int)), 0.1)
    with pytest.raises(
        ValueError, match=r"FPIR of 0\.1 cannot be measured with 2 probes without a mate"
    ):
        ident.tpir_at_fpir(ident.Search(np.zeros(3), np.zeros(3), np.array([1, 0, 0])), 0.1)
    with pytest.raises(ValueError, match="ranks must be 1 or more"):
        ident.cmc(ident.Search(np.zeros(1), np.zeros(1), np.ones(1, int)), 0)


def test_order_of_the_gallery_does_not_matter():
    gallery, gid, probes, pid = draw(3)
    mixed = np.random.default_rng(1).permutation(len(gid))
    want = by_hand(gallery, gid, probes, pid)
    got = ident.search(gallery[mixed], gid[mixed], probes, pid)
    assert got.rank.tolist() == [w[2] for w in want]
    np.testing.assert_allclose(got.mate_score, [w[0] for w in want])


def test_two_entries_and_one_probe_can_be_searched():
    result = ident.search([[1.0, 0.0], [0.0, 1.0]], [5, 2], [[3.0, 4.0]], [2])
    assert result.rank.tolist() == [1]
    assert np.isclose([result.mate_score[0], result.other_score[0]], [0.8, 0.6]).all()


def test_probes_beyond_every_identity_of_the_gallery_have_no_mate():
    result = ident.search(np.eye(3), [10, 20, 30], np.eye(3)[[0, 2, 1]], [35, 5, 20])
    assert result.mated.tolist() == [False, False, True]
    assert result.mate_score.tolist() == [-np.inf, -np.inf, 1.0]


def test_a_mate_at_the_threshold_itself_is_found():
    just = np.nextafter(0.5, 1.0)
    result = ident.Search(
        np.array([just, 0.5, -np.inf]), np.array([0.1, 0.1, 0.5]), np.array([1, 1, 0])
    )
    at = ident.tpir_at_fpir(ident.Search(*(np.append(x, x[-1]) for x in result)), 0.5)
    assert at == (0.5, 0.0, just)
    tied = ident.Search(
        np.array([1.0, -np.inf, -np.inf]), np.array([0.0, 0.5, just]), np.array([1, 0, 0])
    )
    assert ident.tpir_at_fpir(tied, 0.5) == (1.0, 0.5, just)
    everybody = ident.tpir_at_fpir(result, 1.0)
    assert everybody == (1.0, 1.0, -np.inf)
