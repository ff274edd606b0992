import pytest

from deploy.bench.gateway import GatewayLoads, bench


async def test_what_the_gateway_acknowledged_is_in_the_topic_once() -> None:
    result = await bench(GatewayLoads(connections=(3,), batches=(20,), seconds=0.3, runs=1))
    assert result["gateway"]["audited"]
    assert result["gateway"]["events"] >= 2 * (3 + 8 * 20), "each connection asked in the warm-up and in the load"
    assert result["runs"] == {name: [result[name]["cpu_us_per_event"]] for name in ("single_3", "batch_20")}
    for load, events_of_a_request in (("single_3", 1), ("batch_20", 20)):
        figures = result[load]
        assert figures["cpu_us_per_request"] > 0
        events = figures["requests_per_s"] * events_of_a_request
        assert figures["events_per_s"] == pytest.approx(events, abs=events_of_a_request), "both are rounded"
        assert figures["unpublished_requests_per_s"] > 0
        assert figures["ratio_to_unpublished"] > 0
