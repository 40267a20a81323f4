import numpy as np
import pytest

from cdmllab.metrics import templates


def draw(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5)), rng.integers(0, 9, n) * 3, rng.integers(0, 4, n), rng.random(n)


def by_hand(e, template, media, weight):
    """One template and one medium after another, as the public IJB scripts do."""
    rows = {}
    for t in sorted(set(template)):
        total = np.zeros(e.shape[1])
        for m in set(media[template == t]):
            own = (template == t) & (media == m)
            total += sum(w * x for w, x in zip(weight[own], e[own], strict=True)) / own.sum()
        rows[int(t)] = total / np.linalg.norm(total)
    return rows


@pytest.mark.parametrize("portion", [8192, 30, 1])
def test_pool_equals_the_loop_over_templates_and_media(monkeypatch, portion):
    monkeypatch.setattr(templates, "_PICTURES", portion)
    e, t, m, w = draw()
    got, want = templates.pool(e, t, m, w), by_hand(e, t, m, w)
    assert got.number.tolist() == list(want)
    np.testing.assert_allclose(got.embeddings, list(want.values()), atol=1e-13)


def test_a_video_of_many_frames_counts_as_one_photograph():
    e = np.array([[1.0, 0.0]] * 99 + [[0.0, 1.0]])
    media = np.array([0] * 99 + [1])
    got = templates.pool(e, np.zeros(100, int), media).embeddings
    np.testing.assert_allclose(got, [[np.sqrt(0.5), np.sqrt(0.5)]])


def test_length_counts_unless_disabled():
    e, t, m = np.array([[3.0, 0.0], [0.0, 1.0]]), np.zeros(2, int), np.arange(2)
    np.testing.assert_allclose(
        templates.pool(e, t, m).embeddings, [[3 / np.sqrt(10), 1 / np.sqrt(10)]]
    )
    np.testing.assert_allclose(
        templates.pool(e, t, m, keep_length=False).embeddings, [[np.sqrt(0.5)] * 2]
    )


def test_rows_of_template_numbers():
    got = templates.pool(*draw())
    assert got.rows([24, 0, 3]).tolist() == [8, 0, 1]
    for missing in (4, -1, 99):
        with pytest.raises(ValueError, match=f"template {missing} has no image"):
            got.rows([0, missing])


def changed(array, at, value):
    out = array.copy()
    out[at] = value
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda e, t, m, w: (changed(e, (7, 0), np.nan), t, m, w),
            "image 7 is zero or not finite",
        ),
        (lambda e, t, m, w: (e, t, changed(m, 5, -1), w), "image 5 has no medium"),
        (lambda e, t, m, w: (e, t, m, changed(w, 3, -0.5)), "detector score of image 3 is -0.5"),
        (lambda e, t, m, w: (e, t, m, changed(w, 3, np.nan)), "detector score of image 3 is nan"),
        (lambda e, t, m, w: (e[:0], t[:0], m[:0], w[:0]), "no images to pool"),
        (lambda e, t, m, w: (e, t[1:], m, w), r"template, media and detector_score \(n,\)"),
        (lambda e, t, m, w: (e, t, m, 0.0 * w), "images of template 0 add up to zero"),
    ],
)
def test_invalid_arguments_of_pool_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        templates.pool(*change(*draw()))


def test_an_image_may_weigh_nothing_and_be_short_of_a_direction():
    e, t = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]]), np.zeros(3, int)
    got = templates.pool(e, t, np.arange(3), [1.0, 0.0, 1.0])
    np.testing.assert_allclose(got.embeddings, [[1 / np.sqrt(5), 2 / np.sqrt(5)]])
    with pytest.raises(ValueError, match="embedding of image 2 is zero or not finite"):
        templates.pool(e, t, np.arange(3), keep_length=False)


def test_media_of_one_number_in_two_templates_are_two():
    e = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    got = templates.pool(e, [4, 4, 9], [7, 8, 7])
    assert got.number.tolist() == [4, 9]
    assert got.number.dtype == np.int64
    np.testing.assert_allclose(got.embeddings, [[np.sqrt(0.5)] * 2, [0.0, 1.0]])


def test_without_detector_scores_all_images_weigh_alike():
    e, t, m, _ = draw()
    alike = templates.pool(e, t, m, np.full(len(e), 3.0))
    np.testing.assert_allclose(templates.pool(e, t, m).embeddings, alike.embeddings)
