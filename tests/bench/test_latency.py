"""`tally bench latency`: every event that is sent is seen, and counted once."""

from deploy.bench.latency import Flow, bench


async def test_each_event_has_its_latency() -> None:
    flow = Flow(rate=200, seconds=1, warm_up_seconds=1, subscriptions=50, partitions=2, seed=1)
    result = await bench(flow, runs=1, lingers_ms=[0])
    found = result["linger_0_ms"]
    assert found["audited"] is True
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert found["stolen_cpu_ms_per_s"] >= 0
    assert found["events"] == 200
    assert found["transactions_per_s"] > 0
    assert result["broker_cpu_as_share_of_no_linger"] == {"linger_0_ms": 1.0}
    assert result["runs"] == {"linger_0_ms": [found]}
