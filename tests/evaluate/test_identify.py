import numpy as np
import pytest

from cdmllab.evaluate.identify import identify


def people(spread, seed=0, identities=40, images=4):
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((identities, 16))
    identity = np.repeat(np.arange(identities), images)
    return centre[identity] + spread * rng.standard_normal((len(identity), 16)), identity


def test_everybody_is_found_where_images_of_a_person_are_alike():
    found = identify(*people(1e-3))
    assert (found["gallery"], found["probes_with_mate"], found["probes_without"]) == (20, 60, 80)
    assert [at["value"] for at in found["rank"]] == [1.0, 1.0, 1.0]
    assert found["tpir_at_fpir"][-1] == {"fpir": 0.1, "value": pytest.approx(1.0)}


def test_nobody_is_found_among_random_images():
    found = identify(*people(1e3))
    assert found["rank"][0]["value"] < 0.2
    assert found["rank"][0]["value"] <= found["rank"][1]["value"] <= found["rank"][2]["value"]


def test_the_order_of_the_images_changes_only_who_is_enrolled():
    e, identity = people(1e-3)
    order = np.random.default_rng(1).permutation(len(identity))
    assert identify(e[order], identity[order])["rank"] == identify(e, identity)["rank"]


def test_people_with_one_image_are_strangers_and_alone_make_no_gallery():
    e, identity = people(1e-3)
    some = np.r_[np.arange(80), np.arange(80, 160, 4)]  # the second half has one image each
    assert identify(e[some], identity[some])["probes_without"] == 10 * 4 + 20
    assert "gallery needs two identities" in identify(e[::4], identity[::4])["reason"]


def test_an_fpir_that_cannot_be_resolved_is_left_out():
    e, identity = people(1e-3, identities=4)
    assert identify(e, identity)["tpir_at_fpir"] == []
