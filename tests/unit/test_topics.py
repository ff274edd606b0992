import pytest

from schemas.settings import Settings
from schemas.topics import TOPICS, Topic, partition_of

FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
COMPACT = {"cleanup.policy": "compact"}
ONE_DAY, TEN_MINUTES = "86400000", "600000"


@pytest.mark.parametrize(
    ("name", "partitions", "configs"),
    [
        # contract section 3; None: as many as usage-events
        ("usage-events", None, {**FOR_EVER, "max.message.bytes": "1048576"}),
        ("usage-corrections", None, FOR_EVER),
        ("usage-forwarded", None, {**FOR_EVER, "max.message.bytes": "2097152"}),
        ("catalog", 1, COMPACT),
        ("accepted-usage", None, COMPACT),
        ("usage-totals", None, COMPACT),
        (
            "rejected-usage",
            None,
            {"cleanup.policy": "delete", "retention.ms": "3024000000", "max.message.bytes": "3145728"},
        ),
        ("closed-periods", None, {**FOR_EVER, "max.message.bytes": "4194304"}),
        ("aggregator-positions", None, COMPACT),
        ("usage-rates", None, {"cleanup.policy": "delete", "retention.ms": ONE_DAY}),
        ("usage-replies", 64, {"cleanup.policy": "delete", "retention.ms": TEN_MINUTES}),
        ("usage-alerts", 1, COMPACT),
    ],
)
def test_topic_is_as_the_contract_says(name: str, partitions: int | None, configs: dict[str, str]) -> None:
    [topic] = [topic for topic in TOPICS if topic.topic == name]
    assert topic.partitions == partitions
    assert topic.configs == {"message.timestamp.type": "LogAppendTime", **configs}


def test_every_topic_has_its_settings_once() -> None:
    assert sorted(topic.topic for topic in TOPICS) == sorted(Topic)
    assert len(TOPICS) == 12


@pytest.mark.parametrize(
    ("subscription_id", "murmur2"),
    [
        # From the tests of Kafka's own org.apache.kafka.common.utils.Utils.murmur2.
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 8, 1_000])
def test_partition_is_that_of_javas_default_partitioner(subscription_id: str, murmur2: int, partitions: int) -> None:
    assert partition_of(subscription_id, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


def test_partition_of_an_id_beyond_ascii_is_that_of_its_utf_8() -> None:
    assert partition_of("東京-😀", 8) == murmur2_by_the_book("東京-😀".encode()) % 8


def murmur2_by_the_book(data: bytes) -> int:
    """MurmurHash2 as published, with Kafka's seed and its sign bit cleared."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    while len(data) >= 4:
        k = int.from_bytes(data[:4], "little") * m & mask
        h = h * m & mask ^ ((k ^ k >> 24) * m & mask)
        data = data[4:]
    if data:
        h = (h ^ int.from_bytes(data, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


@pytest.mark.parametrize(("prefix", "name"), [("", "usage-events"), ("staging.", "staging.usage-events")])
def test_topic_names_take_the_prefix_of_the_deployment(prefix: str, name: str) -> None:
    assert Settings(topic_prefix=prefix).topic(Topic.USAGE_EVENTS) == name
