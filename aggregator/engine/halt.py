"""Why a worker stops at once: a closed set of reasons, each with its exit code and what to do about it.

A worker never repairs and never retries what has an unknown outcome: it exits, its supervisor starts it again, and
the restore finds out what is true (design section 3).
"""

from enum import Enum

from schemas.errors import OperatorError


class HaltReason(Enum):
    """Exit code and what to do."""

    TRANSACTION_FAILED = 17, "the worker restarts and reads the batch again; look at the broker if this repeats"
    BROKER_AWAY = 18, "the worker restarts and reads on from its last commit; look at the broker if this repeats"
    PARTITION_STUCK = 19, "the worker restarts and reads on from its last commit; look at the broker if this repeats"
    NO_BROKER = 20, "start Kafka, or check TALLY_KAFKA; started again, the worker looks for it anew"
    STATE_AHEAD_OF_LOG = 21, "Kafka lost data or is another cluster; restore it, or delete the state directory"
    RESTORE_STUCK = 22, "the changelog could not be read to its end; look at the broker"
    CHAIN_BROKEN = (
        23,
        "two workers wrote the same partition, or the log lost a batch; keep the topics as they are",
    )
    SOURCE_TRUNCATED = (
        24,
        "events were deleted before they were counted; set retention.ms=-1 and restore the topic",
    )
    SOURCE_REPLACED = 25, "the topic is not the one the state was built from; check TALLY_KAFKA and TALLY_TOPIC_PREFIX"
    PARTITIONS_CHANGED = 26, "the number of partitions is for life; restore the topics as they were"
    NOT_APPEND_TIME = 27, "set message.timestamp.type=LogAppendTime on the topic; 'tally topics' checks it"
    TOPIC_MISSING = 28, "run 'tally topics'"
    STATE_LOCKED = 29, "another process uses this state directory; give each worker its own TALLY_STATE_DIR"
    STATE_FAILED = 30, "look at the disk of TALLY_STATE_DIR; the directory may be deleted, it is rebuilt from the log"
    CATALOG_UNREADABLE = (
        31,
        "somebody else than Tally wrote the topic catalog; take that right away, and run 'tally catalog republish'",
    )
    CHANGELOG_TRUNCATED = (
        32,
        "the state can't be restored from what is left; use the state directory that has read it, or restore the topic",
    )
    PARTITION_FAILED = 33, "this is a defect of Tally; the log holds the traceback"
    STATE_OF_ANOTHER = (
        34,
        "check TALLY_KAFKA, TALLY_TOPIC_PREFIX, TALLY_APP_ID and TALLY_STATE_DIR; never copy a store to another place",
    )
    LOOP_STUCK = 35, "this is a defect of Tally or of the machine; the log shows where each thread hangs"
    CATALOG_TRUNCATED = 36, "make the topic anew by 'tally topics', then run 'tally catalog republish'"

    def __init__(self, code: int, remedy: str) -> None:
        self.code = code
        self.remedy = remedy


class Halt(OperatorError):
    """The worker must exit now. Nothing was committed after the last acknowledged transaction."""

    def __init__(self, reason: HaltReason, what: str) -> None:
        super().__init__(f"{what}; {reason.remedy}.")
        self.reason = reason
        self.exit_code = reason.code
