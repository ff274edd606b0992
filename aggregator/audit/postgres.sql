-- What Postgres says, read in one snapshot. Times are microseconds since 1970: whatever is finer than a millisecond
-- must not be lost before it is compared.

-- name: stream_offsets
SELECT consumer, topic, partition, next_offset FROM stream_offsets

-- name: invoices
SELECT
    id, service_id, payment_plan_id, user_id, subscription_id, amount::text, currency,
    (extract(epoch FROM period_start) * 1000000)::bigint,
    (extract(epoch FROM period_end) * 1000000)::bigint,
    sequence, digest, log_partition, first_offset, last_offset
FROM invoices WHERE source = 'CLOSER'

-- name: invoice_lines
SELECT invoice_id, meter, quantity::text, unit_price::text, invoice_lines.amount::text, event_count
FROM invoice_lines JOIN invoices ON invoices.id = invoice_id WHERE source = 'CLOSER'

-- name: usage_totals
SELECT
    subscription_id,
    (extract(epoch FROM period_start) * 1000000)::bigint,
    meter,
    (extract(epoch FROM period_end) * 1000000)::bigint,
    quantity::text, event_count,
    (extract(epoch FROM updated_at) * 1000000)::bigint
FROM usage_totals

-- name: ledger
SELECT partition, next_offset, received, accepted, duplicate, rejected, forwarded,
    (extract(epoch FROM updated_at) * 1000000)::bigint
FROM ledger

-- name: held_periods
SELECT log_partition, log_offset, reason, detail, subscription_id,
    (extract(epoch FROM period_start) * 1000000)::bigint, sequence
FROM held_periods
