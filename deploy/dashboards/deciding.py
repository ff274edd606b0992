"""How usage comes in and is decided."""

from typing import Final

from deploy.dashboards.dashboard import Row
from deploy.dashboards.panel import Query, graph, number
from deploy.dashboards.promql import PARTS, VERDICTS, by_partition, increase, mean, quantiles, rate

WELL: Final = Row(
    "Is all well",
    (
        number(
            "Answering",
            "Whether each process answers Prometheus.",
            "bool_yes_no",
            Query(f"up{{{PARTS}}}", "{{job}} {{instance}}"),
            width=6,
        ),
        number(
            "Ready",
            "Whether each process does its work; /health/ready of one that does not says why.",
            "bool_yes_no",
            Query("tally_ready or tally_gateway_ready", "{{job}} {{instance}}"),
            width=6,
        ),
        number(
            "Oldest undecided usage",
            "How old the oldest record without a verdict can be at the most.",
            "s",
            Query("max(tally_position_age_seconds)", "age"),
            width=3,
        ),
        number(
            "Ledger: without a verdict",
            "Records that were received and have none of the verdicts. Anything but 0 must never happen.",
            "none",
            Query(
                f'sum(tally_ledger_records{{verdict="received"}}) - sum(tally_ledger_records{{verdict=~"{VERDICTS}"}})',
                "records",
            ),
            width=3,
        ),
        number(
            "Held periods",
            "Closed periods without an invoice, each for a person to look at.",
            "none",
            Query("sum(tally_held_periods)", "periods"),
            width=3,
        ),
        number(
            "Versions",
            "How many processes run each version of Tally.",
            "none",
            Query("count by (version) (tally_build_info)", "{{version}}"),
            width=3,
        ),
    ),
)

USAGE: Final = Row(
    "Usage comes in",
    (
        graph(
            "Verdicts",
            "What became of usage. A forwarded event is decided once more, by its own partition.",
            "cps",
            *(
                Query(rate(f"tally_{verdict}_events_total"), verdict)
                for verdict in ("accepted", "duplicate", "rejected", "forwarded", "voided")
            ),
        ),
        graph(
            "Rejected by reason",
            "Rejected usage is not billed. processing_failed is a defect of Tally.",
            "cps",
            Query(rate("tally_rejected_events_total", "reason"), "{{reason}}"),
        ),
        graph(
            "Share rejected",
            "Of all records that got a verdict; duplicates are not among the rejected.",
            "percentunit",
            Query(f"{rate('tally_rejected_events_total')} / {rate('tally_received_records_total')}", "rejected"),
        ),
        graph(
            "Answers to usage events",
            "What gateways answered: recorded is a 201, pending a 202, and the rest the code of a refusal.",
            "cps",
            Query(rate("tally_gateway_usage_events_total", "outcome"), "{{outcome}}"),
        ),
        graph(
            "Requests by status",
            "All requests to gateways. 5xx: Kafka or Postgres is away, or there is a defect.",
            "reqps",
            Query(rate("tally_gateway_requests_total", "status"), "{{status}}"),
        ),
        graph(
            "Time of a request",
            "From a request's headers to its answer, the wait for verdicts included.",
            "s",
            *quantiles("tally_gateway_request_seconds"),
        ),
        graph(
            "Wait for verdicts",
            "From Kafka's acknowledgement to the verdicts of a request, or until it gave up.",
            "s",
            *quantiles("tally_gateway_verdict_wait_seconds"),
        ),
        graph(
            "In the gateways' hands",
            "What gateways hold at the moment.",
            "none",
            Query("sum(tally_gateway_connections)", "connections"),
            Query("sum(tally_gateway_requests_in_flight)", "requests"),
            Query("sum(tally_gateway_usage_events_in_flight)", "events on the way to Kafka"),
            Query("sum(tally_gateway_verdicts_awaited)", "verdicts awaited"),
        ),
        graph(
            "Refused by a limit",
            "Requests and connections beyond what a key or a gateway may.",
            "reqps",
            Query(rate("tally_gateway_limited_total", "limit"), "{{limit}}"),
        ),
    ),
)

DECIDING: Final = Row(
    "It is decided",
    (
        by_partition("Lag", "Records of all sources without a verdict, by partition.", "short", "tally_lag_records"),
        by_partition(
            "Age of the position",
            "How old the oldest record without a verdict can be at the most, by partition.",
            "s",
            "tally_position_age_seconds",
        ),
        graph(
            "Partitions worked on",
            "By worker. Together they are as many as usage-events has, or some are not worked on.",
            "none",
            Query("sum by (instance) (tally_partition_open)", "{{instance}}"),
        ),
        graph(
            "Time of a transaction",
            "From the begin of a worker's transaction to its commit.",
            "s",
            *quantiles("tally_transaction_seconds"),
        ),
        graph("Records a batch", "Records in a batch, on average.", "short", mean("tally_batch_records", "records")),
        graph(
            "Bytes a transaction",
            "What a transaction writes to Kafka, on average, before compression.",
            "bytes",
            mean("tally_transaction_bytes", "bytes"),
        ),
        graph(
            "Ledger",
            "Records by verdict since the beginning of the deployment: the first is the sum of the other four.",
            "short",
            Query(f'sum by (verdict) (tally_ledger_records{{verdict=~"received|{VERDICTS}"}})', "{{verdict}}"),
        ),
        graph(
            "Partitions taken over",
            "Workers that came and went. Each takeover stops a partition until its state is up.",
            "none",
            Query(increase("tally_fences_total"), "taken over"),
            Query(increase("tally_restore_seconds_count"), "brought up"),
        ),
        graph(
            "Records restored",
            "Changelog records read to bring states up.",
            "cps",
            Query(rate("tally_restored_records_total", "instance"), "{{instance}}"),
        ),
        graph(
            "Verdicts told to gateways",
            "A lost one is a 202 instead of a 201, and no loss of usage.",
            "cps",
            Query(rate("tally_replies_total", "outcome"), "{{outcome}}"),
        ),
        graph(
            "RocksDB memory",
            "Of all workers; the cache includes the unwritten tables.",
            "bytes",
            Query("sum(tally_rocksdb_cache_bytes)", "cache"),
            Query("sum(tally_rocksdb_memtable_bytes)", "unwritten tables"),
            Query("sum(tally_rocksdb_table_reader_bytes)", "filters and indexes"),
        ),
        graph(
            "RocksDB on disk",
            "Of all workers. It grows with the keys of events, which are kept for ever.",
            "bytes",
            Query("sum by (instance) (tally_rocksdb_disk_bytes)", "{{instance}}"),
        ),
        graph(
            "RocksDB keys",
            "Entries of all stores, as RocksDB estimates them.",
            "short",
            Query("sum(tally_rocksdb_keys)", "entries"),
        ),
    ),
)
