-- name: take_lease
-- Raises the epoch where nobody holds the lease or its holder has let it expire, or the same closer has lost its
-- connection and comes back. What the lost connection has under way keeps the row locked until it is through.
INSERT INTO closer_lease AS lease (name, epoch, holder, renewed_at, expires_at)
VALUES ($1, 1, $2, now(), now() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE
SET epoch = lease.epoch + 1, holder = excluded.holder, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
WHERE lease.expires_at <= now() OR lease.holder = excluded.holder
RETURNING epoch

-- name: renew_lease
-- Also locks the row: a closer that wants to take over waits until this transaction is through.
UPDATE closer_lease SET renewed_at = now(), expires_at = now() + make_interval(secs => $3)
WHERE name = $1 AND epoch = $2
RETURNING epoch

-- name: release_lease
UPDATE closer_lease SET expires_at = now() WHERE name = $1 AND epoch = $2

-- name: insert_invoices
INSERT INTO invoices (
    id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount, currency,
    period_start, period_end, sequence, digest, log_partition, first_offset, last_offset
)
SELECT
    id, 'CLOSER', service_id, payment_plan_id, user_id, subscription_id, 'OPEN', amount::numeric, currency,
    period_start, period_end, sequence, digest, log_partition, first_offset, last_offset
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[], $10::int[], $11::text[], $12::int[], $13::bigint[], $14::bigint[]
) AS closed (
    id, service_id, payment_plan_id, user_id, subscription_id, amount, currency,
    period_start, period_end, sequence, digest, log_partition, first_offset, last_offset
)
ON CONFLICT DO NOTHING
RETURNING id

-- name: insert_lines
INSERT INTO invoice_lines (invoice_id, meter, quantity, unit_price, amount, event_count)
SELECT invoice_id, meter, quantity::numeric, unit_price::numeric, amount::numeric, event_count
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
    AS line (invoice_id, meter, quantity, unit_price, amount, event_count)

-- name: insert_catalog_entries
INSERT INTO catalog_outbox (key, version, payload)
SELECT 'invoice/' || id, 1, payload::jsonb
FROM unnest($1::text[], $2::text[]) AS entry (id, payload)
ON CONFLICT (key, version) DO NOTHING

-- name: wake_catalog_publisher
SELECT pg_notify('catalog_outbox', '')

-- name: digests
SELECT id, digest FROM invoices WHERE id = ANY ($1::text[])

-- name: held_now
SELECT reason, count(*) AS periods FROM held_periods GROUP BY reason

-- name: hold
INSERT INTO held_periods (log_partition, log_offset, reason, detail, subscription_id, period_start, sequence)
SELECT log_partition, log_offset, reason, detail, subscription_id, period_start, sequence
FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int[])
    AS held (log_partition, log_offset, reason, detail, subscription_id, period_start, sequence)
ON CONFLICT DO NOTHING
RETURNING log_partition, log_offset

-- name: held
SELECT log_partition, log_offset, reason, detail, subscription_id, period_start, sequence, held_at
FROM held_periods
ORDER BY log_partition, log_offset

-- name: read_again
-- What a closer has under way is through once this has the row, and none goes on from where it stood.
UPDATE stream_offsets SET next_offset = 0
WHERE consumer = $1 AND topic = $2 AND partition = $3
RETURNING partition

-- name: release
DELETE FROM held_periods WHERE log_partition = $1 AND reason <> 'DIVERGED'
RETURNING log_offset
