"""The deployment's topics: whether they are there, as they must be, and safe."""

from collections.abc import Iterator, Mapping

from deploy.cluster import Cluster, FoundTopic
from deploy.doctor.finding import Finding, fail, named, ok, warn
from deploy.topics import MIN_INSYNC_REPLICAS, REPLICATION, altered, partitions_of
from schemas.position import SOURCES
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic

PARTITIONS_FOR_LIFE = "docs/operations.md, halt 26, says what to do where a topic has got more than it began with."


def judge_topics(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """What there is to say of them. Without all of them there is no deployment to look at: see `missing`."""
    names = {settings.topic(topic.topic): topic.topic for topic in TOPICS}
    if absent := missing(cluster, settings):
        yield fail("topics", f"there is no topic {named(absent)}", _missing_remedy(cluster, settings, len(absent)))
    else:
        yield ok("topics", f"all {len(names)} topics exist")
    found = {name: cluster.topics[name] for name in names if name in cluster.topics}
    yield from _partitions(found, settings)
    yield from _settings(found, settings)
    yield from _replicas(found, cluster.size)
    yield from _in_sync(found)
    yield from _elections(found)


def missing(cluster: Cluster, settings: Settings) -> list[str]:
    """The names of those that do not exist."""
    return [name for topic in TOPICS if (name := settings.topic(topic.topic)) not in cluster.topics]


def _missing_remedy(cluster: Cluster, settings: Settings, count: int) -> str:
    others = [
        name.removesuffix(Topic.USAGE_EVENTS) or "(none)"
        for name in sorted(cluster.topics)
        if name.endswith(Topic.USAGE_EVENTS) and name != settings.topic(Topic.USAGE_EVENTS)
    ]
    if count == len(TOPICS) and others:
        return f"Check TALLY_TOPIC_PREFIX: Kafka has topics of the prefix {named(others)}. Else run 'tally topics'."
    return "Run 'tally topics'; where it held records, bring it back from a copy instead, for a new one is empty."


def _partitions(found: Mapping[str, FoundTopic], settings: Settings) -> Iterator[Finding]:
    topics = {settings.topic(topic.topic): topic for topic in TOPICS}
    counts = {name: len(topic.partitions) for name, topic in found.items()}
    wrong = {name: count for name, count in counts.items() if count != partitions_of(settings, topics[name])}
    of_events = counts.get(settings.topic(Topic.USAGE_EVENTS), 0)
    if not wrong:
        yield ok("partitions", f"{settings.partitions} of usage-events and of all that go with it")
    elif all(counts[name] == (topics[name].partitions or of_events) for name in counts):
        yield fail(
            "partitions",
            f"usage-events has {of_events}, and TALLY_PARTITIONS is {settings.partitions}",
            f"Set TALLY_PARTITIONS to {of_events} everywhere: the number of partitions is for life.",
        )
    else:
        shown = [f"{name} has {count}" for name, count in wrong.items()]
        yield fail(
            "partitions",
            f"{named(shown)}, and TALLY_PARTITIONS is {settings.partitions}",
            f"The number is for life and the same of all, and a worker halts. {PARTITIONS_FOR_LIFE}",
        )


def _settings(found: Mapping[str, FoundTopic], settings: Settings) -> Iterator[Finding]:
    is_as_it_must_be = True
    for topic in TOPICS:
        name = settings.topic(topic.topic)
        for key, value, actual in altered(topic, found[name]) if name in found else ():
            is_as_it_must_be = False
            yield fail(
                "topic settings",
                f"{name} has {key}={actual} instead of {value}",
                f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {key}={value}."
                f"{_beside(topic.topic, key)}",
            )
    if is_as_it_must_be:
        yield ok("topic settings", "append times, retention, clean-up and sizes are as they must be")


def _beside(topic: Topic, setting: str) -> str:
    """What is to be done besides setting it back."""
    if setting == "message.timestamp.type" and topic in SOURCES:
        return " Records from before keep the times of their producers, and a worker halts at them (27)."
    if setting in {"retention.ms", "retention.bytes", "cleanup.policy"}:
        return " What was deleted meanwhile is missing: see the findings below, and run 'tally audit'."
    return ""


def _replicas(found: Mapping[str, FoundTopic], brokers: int) -> Iterator[Finding]:
    if brokers < REPLICATION:
        yield warn(
            "replication",
            f"{brokers} broker{'s' if brokers > 1 else ''}: what is acknowledged survives the death of a process, and"
            " not the loss of a disk",
            "In production: three brokers or more, three replicas, min.insync.replicas=2. On one machine this is as"
            " good as it gets.",
        )
    elif few := [f"{name} ({topic.replicas})" for name, topic in found.items() if topic.replicas < REPLICATION]:
        yield fail(
            "replication",
            f"{brokers} brokers, and fewer than {REPLICATION} replicas of {named(few)}",
            f"Reassign the partitions to {REPLICATION} brokers (kafka-reassign-partitions.sh), then set"
            f" min.insync.replicas={MIN_INSYNC_REPLICAS}.",
        )
    else:
        yield ok("replication", f"{brokers} brokers, {REPLICATION} replicas or more of each topic")


def _in_sync(found: Mapping[str, FoundTopic]) -> Iterator[Finding]:
    places = [(f"{name}-{part.number}", topic, part) for name, topic in found.items() for part in topic.partitions]
    leaderless = [place for place, _, part in places if part.leader < 0]
    short = [
        place for place, topic, part in places if len(part.in_sync) < int(topic.configs.get("min.insync.replicas", 1))
    ]
    behind = [place for place, _, part in places if len(part.in_sync) < len(part.replicas)]
    if leaderless or short:
        yield fail(
            "in-sync replicas",
            f"nothing can be written to {named(leaderless or short)}:"
            f" {'no leader' if leaderless else 'fewer replicas in sync than min.insync.replicas'}",
            "Bring the brokers back that are away; workers and gateways go on by themselves then.",
        )
    elif behind:
        yield warn(
            "in-sync replicas",
            f"{named(behind)} lacks replicas that are in sync",
            "See which broker is away or slow, before a second one is.",
        )
    else:
        yield ok("in-sync replicas", "all are")


def _elections(found: Mapping[str, FoundTopic]) -> Iterator[Finding]:
    unclean = [
        name
        for name, topic in found.items()
        if topic.replicas > 1 and topic.configs.get("unclean.leader.election.enable") == "true"
    ]
    if unclean:
        yield fail(
            "leader election",
            f"a replica that is not in sync may become the leader of {named(unclean)}, which loses what was"
            " acknowledged",
            "Set unclean.leader.election.enable=false on these topics and on the brokers.",
        )
    else:
        yield ok("leader election", "only replicas that have everything")
