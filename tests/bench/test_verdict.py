from deploy.bench.verdict import VerdictLoads, bench


async def test_every_usage_event_gets_its_verdict_and_is_counted_once() -> None:
    result = await bench(VerdictLoads(rates=(100,), clients=(4,), seconds=1, runs=1))
    assert result["verdict"]["audited"]
    assert result["rate_100"]["requests"] == 100
    assert result["rate_100"]["p50_ms"] <= result["rate_100"]["p99_ms"] <= result["rate_100"]["max_ms"]
    assert result["clients_4"]["requests"] >= 4
    assert result["verdict"]["recorded"] + result["verdict"]["duplicates"] >= 110 + 4
    assert result["verdict"]["duplicates"] >= 2
    assert result["verdict"]["pending"] == 0
