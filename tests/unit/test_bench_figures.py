from deploy.bench.figures import percentile_ms, table_of_loads


def test_a_percentile_is_a_latency_that_was_measured() -> None:
    descending = [number / 1_000 for number in range(200, 0, -1)]
    assert [percentile_ms(descending, share) for share in (0.5, 0.99, 1)] == [101, 199, 200]
    assert [percentile_ms([0.0125], share) for share in (0.5, 0.99, 1)] == [12.5] * 3
    assert percentile_ms([], 0.99) == 0


def test_loads_stand_side_by_side() -> None:
    result = {
        "gateway": {"audited": True},
        "single": {"cpu": 53.1},
        "batch": {"cpu": 8.2, "events": 100},
        "runs": {"single": [53.1], "batch": [8.2]},
    }
    table = [line.split() for line in table_of_loads(result).splitlines()]
    assert table == [
        ["medians", "single", "batch"],
        ["cpu", "53.1", "8.2"],
        ["events", "-", "100"],
        [],
        ["gateway"],
        ["audited", "True"],
        [],
        ["runs"],
        ["single", "[53.1]"],
        ["batch", "[8.2]"],
    ]
