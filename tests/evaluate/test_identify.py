import numpy as np
import pytest

from cdmllab.evaluate.identify import identify


def people(spread, seed=0, identities=40, images=4):
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((identities, 16))
    identity = np.repeat(np.arange(identities), images)
    return centre[identity] + spread * rng.standard_normal((len(identity), 16)), identity


def test_everyone_is_identified_from_similar_images():
    result = identify(*people(1e-3))
    assert (result.gallery, result.probes_with_mate, result.probes_without) == (20, 60, 80)
    assert [at.value for at in result.rank] == [1.0, 1.0, 1.0]
    assert result.tpir_at_fpir[-1].fpir == 0.1
    assert result.tpir_at_fpir[-1].value == pytest.approx(1.0)


def test_random_images_are_identified_by_chance_only():
    rates = [at.value for at in identify(*people(1e3)).rank]
    assert rates[0] < 0.2
    assert rates == sorted(rates)


def test_order_of_images_does_not_change_rank_rates():
    e, identity = people(1e-3)
    order = np.random.default_rng(1).permutation(len(identity))
    assert identify(e[order], identity[order]).rank == identify(e, identity).rank


def test_people_with_one_image_have_no_mate_and_form_no_gallery():
    e, identity = people(1e-3)
    some = np.r_[np.arange(80), np.arange(80, 160, 4)]  # the second half has one image each
    assert identify(e[some], identity[some]).probes_without == 10 * 4 + 20
    assert "gallery needs two identities" in identify(e[::4], identity[::4]).reason


def test_unresolved_fpir_is_omitted():
    e, identity = people(1e-3, identities=4)
    assert identify(e, identity).tpir_at_fpir == ()
