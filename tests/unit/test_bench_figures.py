from deploy.bench.figures import latencies_ms, medians, table_of_loads


def test_each_figure_has_its_own_median() -> None:
    runs = [{"rate": 3, "cpu": 10}, {"rate": 1, "cpu": 30}, {"rate": 2, "cpu": 20, "seen_once": 7}]
    assert medians(runs) == {"rate": 2, "cpu": 20, "seen_once": 7}


def test_a_latency_is_one_that_was_measured() -> None:
    assert latencies_ms([number / 1_000 for number in range(200, 0, -1)]) == {
        "p50_ms": 101,
        "p99_ms": 199,
        "max_ms": 200,
    }
    assert latencies_ms([0.0125]) == {"p50_ms": 12.5, "p99_ms": 12.5, "max_ms": 12.5}
    assert latencies_ms([]) == {}


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
