-- What was copied of all partitions, beside the rows that are attached as `copies`.

-- name: tables
CREATE TABLE copied (id TEXT PRIMARY KEY, partition INTEGER NOT NULL, seen INTEGER NOT NULL, digest BLOB NOT NULL)

-- name: gather
-- That a record is there twice is found among the verdicts; the last one was copied.
INSERT OR REPLACE INTO copied SELECT id, ?, seen, digest FROM one.copied_rejection ORDER BY seen

-- name: count
SELECT count(*) FROM copied

-- name: different
SELECT copied.id, copied.partition, copied.seen, found.id IS NOT NULL
FROM copied LEFT JOIN copies.rejected_usage_events AS found ON found.id = copied.id
WHERE found.digest IS NOT copied.digest
ORDER BY copied.partition, copied.seen

-- name: without_record
-- Those received before a time (ms) may have lost theirs.
SELECT id FROM copies.rejected_usage_events WHERE received_at / 1000 >= ? AND id NOT IN (SELECT id FROM copied) ORDER BY id
