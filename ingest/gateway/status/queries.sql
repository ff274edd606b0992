-- name: outbox
SELECT count(*) AS changes, extract(epoch FROM now() - min(created_at))::bigint AS seconds
FROM catalog_outbox
WHERE published_at IS NULL;

-- name: lease
SELECT
    holder,
    epoch,
    extract(epoch FROM now() - renewed_at)::bigint AS seconds,
    expires_at <= now() AS is_over
FROM closer_lease;

-- name: held
SELECT count(*) FROM held_periods;

-- name: offsets
SELECT consumer, topic, partition, next_offset FROM stream_offsets;
