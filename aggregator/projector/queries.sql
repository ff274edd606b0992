-- name: put_totals
INSERT INTO usage_totals (subscription_id, period_start, period_end, meter, quantity, event_count, updated_at)
SELECT subscription_id, period_start, period_end, meter, quantity::numeric, event_count, updated_at
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[])
    AS total (subscription_id, period_start, period_end, meter, quantity, event_count, updated_at)
ON CONFLICT (subscription_id, period_start, meter) DO UPDATE
SET period_end = excluded.period_end,
    quantity = excluded.quantity,
    event_count = excluded.event_count,
    updated_at = excluded.updated_at

-- name: put_ledgers
INSERT INTO ledger (partition, next_offset, received, accepted, duplicate, rejected, forwarded, updated_at)
SELECT * FROM unnest(
    $1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::timestamptz[]
)
ON CONFLICT (partition) DO UPDATE
SET next_offset = excluded.next_offset,
    received = excluded.received,
    accepted = excluded.accepted,
    duplicate = excluded.duplicate,
    rejected = excluded.rejected,
    forwarded = excluded.forwarded,
    updated_at = excluded.updated_at

-- name: ledgers
SELECT partition, received, accepted, duplicate, rejected, forwarded FROM ledger
