"""`tally bench recovery`: a state that was deleted comes back whole, so that what is sent again is a duplicate."""

from deploy.bench.recovery import Recovery, bench


async def test_deleted_state_is_restored_whole() -> None:
    result = await bench(Recovery(keys=3_000, subscriptions=50, partitions=2, seed=1), runs=1)
    found = result["recovery"]
    assert found["audited"] is True
    assert found["records"] > 3_000
    assert found["records_per_s"] > 0
    assert 0 < found["restore_seconds"] < found["start_seconds"]
    assert result["runs"] == [found]
