from cdmllab.backbones import latency

RECORD = {
    "models": [
        {"backbone": name, "ways": [
            {"way": "eager", "batch_1": {"ms": ms, "ratio_to_r18": ms / 60}},
            {"way": "int8", "batch_1": {"ms": ms / 3, "ratio_to_r18": ms / 180}},
        ]}
        for name, ms in (("r18", 60.0), ("r18_lite", 20.0), ("lightweight", 9.0))
    ]
}  # fmt: skip


def test_by_way_regroups_the_record():
    assert latency.by_way(RECORD, "ms") == {
        "eager": {"r18": 60.0, "r18_lite": 20.0, "lightweight": 9.0},
        "int8": {"r18": 20.0, "r18_lite": 20.0 / 3, "lightweight": 3.0},
    }
    assert latency.by_way(RECORD)["int8"]["r18"] == 60 / 180


def test_milliseconds_are_of_one_round():
    record = {
        "models": [
            {
                "backbone": name,
                "ways": [{"way": "eager", "batch_1": {"ms": ms, "ratio_to_r18": ratio}}],
            }
            for name, ms, ratio in (
                ("r18", 60.0, 1.0),
                ("r50_lite", 80.0, 1.0),
                ("lightweight", 7.0, 0.1),
            )
        ]
    }  # R18 took 60, 80 and 70 ms in the same rounds
    result = latency.milliseconds(record)["eager"]
    assert {name: round(ms, 6) for name, ms in result.items()} == {
        "r18": 70.0,
        "r50_lite": 70.0,
        "lightweight": 7.0,
    }


def test_largest_within_is_the_one_with_most_products_not_the_slowest():
    times = {"r18": 60.0, "r18_lite": 20.0, "lightweight": 25.0}
    products = {"r18": 2.61, "r18_lite": 0.66, "lightweight": 0.1}
    assert latency.largest_within(times, products, 30.0) == "r18_lite"
    assert latency.largest_within(times, products, 60.0) == "r18"
    assert latency.largest_within(times, products, 5.0) is None


def test_batches_are_those_of_the_record():
    assert latency.batches(RECORD) == [1]


def test_measure_gives_a_record_of_the_benchmarks_form():
    record = latency.measure(["small"], rounds=1)
    (model,) = record["models"]
    assert model["backbone"] == "small"
    assert (
        latency.by_way(record)["eager"]["small"] < 1.0
    )  # of R18, which has a hundred times its MACs
    assert model["ways"][0]["batch_1"]["ms"] > 0
