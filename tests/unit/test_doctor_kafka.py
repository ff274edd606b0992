"""What `tally doctor` says of brokers and topics: one defect a row."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from aggregator.settings import AggregatorSettings
from deploy.cluster import Cluster, FoundPartition, FoundTopic
from deploy.doctor.finding import Outcome
from deploy.doctor.kafka import OFFSETS, TRANSACTION_LOG, Brokers, judge_brokers
from deploy.doctor.topics import judge_topics
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic

SETTINGS = Settings(partitions=2, topic_prefix="p-")
THREE = (1, 2, 3)
EVENTS = "p-usage-events"
BROKER = {
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
}

Change = Callable[[FoundTopic], FoundTopic]


def topic(partitions: int, brokers: tuple[int, ...] = THREE, **configs: str) -> FoundTopic:
    on = frozenset(brokers)
    found = tuple(FoundPartition(number, brokers[0], on, on) for number in range(partitions))
    insync = "2" if len(brokers) > 1 else "1"
    return FoundTopic(found, {"min.insync.replicas": insync, "unclean.leader.election.enable": "false", **configs})


def cluster(changes: Mapping[str, Change] = MappingProxyType({}), brokers: tuple[int, ...] = THREE) -> Cluster:
    """As it ought to be, but for `changes` of the topics that they name."""
    topics = {SETTINGS.topic(t.topic): topic(t.partitions or 2, brokers, **t.configs) for t in TOPICS}
    topics |= {TRANSACTION_LOG: topic(1, brokers), OFFSETS: topic(1, brokers)}
    for name, change in changes.items():
        topics[name] = change(topics[name])
    return Cluster(brokers, topics)


def configured(**configs: str) -> Change:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    return lambda found: replace(found, configs={**found.configs, **named})


def parted(**changes: Any) -> Change:
    """With other facts of its first partition."""
    return lambda found: replace(found, partitions=(replace(found.partitions[0], **changes), *found.partitions[1:]))


def grown(found: FoundTopic) -> FoundTopic:
    return replace(found, partitions=(*found.partitions, replace(found.partitions[0], number=2)))


def wrong(found: Any) -> list[tuple[str, str]]:
    return [(finding.check, finding.outcome) for finding in found if finding.outcome is not Outcome.OK]


def test_topics_that_are_as_they_must_be_are_all_well() -> None:
    assert wrong(judge_topics(cluster(), SETTINGS)) == []


@pytest.mark.parametrize(
    ("changes", "check", "outcome", "fact", "remedy"),
    [
        (
            {EVENTS: configured(retention_ms="604800000")},
            "topic settings",
            "fail",
            "p-usage-events has retention.ms=604800000 instead of -1",
            "--entity-name p-usage-events --add-config retention.ms=-1. What was deleted meanwhile is missing",
        ),
        (
            {EVENTS: configured(message_timestamp_type="CreateTime")},
            "topic settings",
            "fail",
            "message.timestamp.type=CreateTime instead of LogAppendTime",
            "a worker halts at them (27)",
        ),
        (
            {"p-catalog": configured(min_insync_replicas="1")},
            "topic settings",
            "fail",
            "p-catalog has min.insync.replicas=1 instead of 2",
            "--add-config min.insync.replicas=2.",
        ),
        (
            {EVENTS: configured(unclean_leader_election_enable="true")},
            "leader election",
            "fail",
            "may become the leader of p-usage-events",
            "unclean.leader.election.enable=false",
        ),
        ({EVENTS: grown}, "partitions", "fail", "p-usage-events has 3", "halt 26"),
        ({EVENTS: parted(leader=-1)}, "in-sync replicas", "fail", "p-usage-events-0: no leader", "Bring the brokers"),
        (
            {EVENTS: parted(in_sync=frozenset({1}))},
            "in-sync replicas",
            "fail",
            "written to p-usage-events-0: fewer replicas in sync than min.insync",
            "Bring the brokers back",
        ),
        (
            {EVENTS: parted(in_sync=frozenset({1, 3}))},
            "in-sync replicas",
            "warn",
            "p-usage-events-0 lacks replicas",
            "before a second one is",
        ),
        (
            {EVENTS: parted(replicas=frozenset({1, 2}), in_sync=frozenset({1, 2}))},
            "replication",
            "fail",
            "fewer than 3 replicas of p-usage-events (2)",
            "kafka-reassign-partitions.sh",
        ),
    ],
)
def test_a_defect_of_a_topic_is_said_once_with_its_way_out(
    changes: dict[str, Change], check: str, outcome: str, fact: str, remedy: str
) -> None:
    found = [one for one in judge_topics(cluster(changes), SETTINGS) if one.outcome is not Outcome.OK]
    assert [(one.check, one.outcome) for one in found] == [(check, outcome)]
    assert fact in found[0].fact
    assert remedy in found[0].remedy


def test_a_broker_that_is_away_counts_among_the_brokers() -> None:
    found = [one for one in judge_topics(Cluster((1, 2), cluster().topics), SETTINGS) if one.check == "replication"]
    assert [one.fact for one in found] == ["3 brokers, 3 replicas or more of each topic"]


def test_one_broker_is_a_warning_and_no_defect() -> None:
    assert wrong(judge_topics(cluster(brokers=(1,)), SETTINGS)) == [("replication", "warn")]


def test_partitions_that_agree_with_each_other_are_right_and_the_setting_is_wrong() -> None:
    (found,) = (one for one in judge_topics(cluster(), Settings(partitions=8, topic_prefix="p-")) if one.remedy)
    assert found.remedy == "Set TALLY_PARTITIONS to 2 everywhere: the number of partitions is for life."


@pytest.mark.parametrize(
    ("prefix", "gone", "remedy"),
    [
        ("q-", None, "Check TALLY_TOPIC_PREFIX: Kafka has topics of the prefix p-."),
        ("p-", Topic.CATALOG, "Run 'tally topics'; where it held records, bring it back from a copy instead"),
    ],
)
def test_topics_that_are_missing(prefix: str, gone: Topic | None, remedy: str) -> None:
    found = cluster()
    left = Cluster(found.brokers, {name: one for name, one in found.topics.items() if name != f"p-{gone}"})
    said = next(judge_topics(left, Settings(partitions=2, topic_prefix=prefix)))
    assert (said.check, said.outcome) == ("topics", "fail")
    assert said.remedy.startswith(remedy)


def brokers(of: Cluster, is_kafka_4: bool = True, **configs: str) -> Brokers:
    settings = {**BROKER, **{name.replace("_", "."): value for name, value in configs.items()}}
    return Brokers(of, dict.fromkeys(of.brokers, settings), is_kafka_4)


WITHOUT_OWN = Cluster(THREE, {})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (brokers(cluster()), []),
        (brokers(cluster(brokers=(1,))), []),
        (brokers(WITHOUT_OWN), []),
        (brokers(cluster(), is_kafka_4=False), [("kafka", "warn")]),
        # The third is known by its replicas only.
        (brokers(Cluster((1, 2), cluster().topics)), [("kafka", "warn")]),
        (Brokers(cluster(), {1: BROKER, 2: None, 3: BROKER}, is_kafka_4=True), [("kafka", "unknown")]),
        (brokers(cluster({TRANSACTION_LOG: lambda _: topic(1, (1,))})), [(TRANSACTION_LOG, "fail")]),
        (brokers(cluster({TRANSACTION_LOG: configured(min_insync_replicas="1")})), [(TRANSACTION_LOG, "fail")]),
        (brokers(cluster({OFFSETS: lambda _: topic(1, (1, 2))})), [(OFFSETS, "fail")]),
        # Not made yet: it will be as the brokers say.
        (brokers(WITHOUT_OWN, transaction_state_log_replication_factor="1"), [(TRANSACTION_LOG, "fail")]),
        (brokers(WITHOUT_OWN, transaction_state_log_min_isr="1"), [(TRANSACTION_LOG, "fail")]),
        (brokers(cluster(), transaction_max_timeout_ms="9999"), [("worker settings", "fail")]),
        (brokers(cluster(), group_min_session_timeout_ms="6001"), [("worker settings", "fail")]),
    ],
)
def test_brokers(found: Brokers, expected: list[tuple[str, str]]) -> None:
    assert wrong(judge_brokers(found, SETTINGS, AggregatorSettings())) == expected
