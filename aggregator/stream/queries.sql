-- name: start
-- The offsets of partitions that the consumer has not read before.
INSERT INTO stream_offsets (consumer, topic, partition, next_offset)
SELECT $1, topic, partition, next_offset
FROM unnest($2::text[], $3::int[], $4::bigint[]) AS start (topic, partition, next_offset)
ON CONFLICT DO NOTHING

-- name: stored
SELECT topic, partition, next_offset FROM stream_offsets WHERE consumer = $1

-- name: advance
-- Also locks the rows: of two that write the same records, the second one finds that its offsets have moved.
UPDATE stream_offsets
SET next_offset = step.after
FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[]) AS step (topic, partition, before, after)
WHERE stream_offsets.consumer = $1
    AND stream_offsets.topic = step.topic
    AND stream_offsets.partition = step.partition
    AND stream_offsets.next_offset = step.before
RETURNING 1
