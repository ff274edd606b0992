-- What Postgres says, read in one snapshot. Times are microseconds since 1970: whatever is finer than a millisecond
-- must not be lost before it is compared. Where there is a $1, it is a subscription; null: all of them.

-- name: stream_offsets
SELECT consumer, topic, partition, next_offset FROM stream_offsets

-- name: invoices
SELECT
    id, service_id, payment_plan_id, user_id, subscription_id, amount::text, currency,
    (extract(epoch FROM period_start) * 1000000)::bigint,
    (extract(epoch FROM period_end) * 1000000)::bigint,
    sequence, digest, log_partition, first_offset, last_offset
FROM invoices WHERE source = 'CLOSER' AND ($1::text IS NULL OR subscription_id = $1)

-- name: invoice_lines
SELECT invoice_id, meter, quantity::text, unit_price::text, invoice_lines.amount::text, event_count
FROM invoice_lines JOIN invoices ON invoices.id = invoice_id
WHERE source = 'CLOSER' AND ($1::text IS NULL OR subscription_id = $1)

-- name: usage_totals
SELECT
    subscription_id,
    (extract(epoch FROM period_start) * 1000000)::bigint,
    meter,
    (extract(epoch FROM period_end) * 1000000)::bigint,
    quantity::text, event_count,
    (extract(epoch FROM updated_at) * 1000000)::bigint
FROM usage_totals

-- name: billing_periods
SELECT
    subscription_id,
    (extract(epoch FROM period_start) * 1000000)::bigint,
    (extract(epoch FROM period_end) * 1000000)::bigint,
    closed, next_sequence,
    (extract(epoch FROM updated_at) * 1000000)::bigint
FROM billing_periods

-- name: ledger
SELECT partition, next_offset, received, accepted, duplicate, rejected, forwarded,
    (extract(epoch FROM updated_at) * 1000000)::bigint
FROM ledger

-- name: held_periods
SELECT log_partition, log_offset, reason, detail, subscription_id,
    (extract(epoch FROM period_start) * 1000000)::bigint, sequence
FROM held_periods WHERE $1::text IS NULL OR subscription_id = $1

-- name: listed_invoices
-- Those that were made by hand as well.
SELECT id, subscription_id, source, status, amount::text, currency,
    (extract(epoch FROM period_start) * 1000000)::bigint, sequence, first_offset, last_offset
FROM invoices WHERE $1::text IS NULL OR subscription_id = $1
ORDER BY period_start, sequence, id

-- name: usage_events
-- A row as one text. copied.py makes the same of a record.
SELECT id, subscription_id, sequence,
    json_build_array(
        id, service_id, subscription_id, user_id, event_key, event_id, meter, quantity::text,
        to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        to_char(sent_occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        invoice_id,
        to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        to_char(period_end AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        status,
        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text
FROM usage_events

-- name: rejected_usage_events
SELECT id, (extract(epoch FROM received_at) * 1000000)::bigint,
    json_build_array(
        id, code, error, field, service_id, subscription_id,
        to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        origin_topic, origin_partition, origin_offset, encode(sha256(key), 'hex'), encode(sha256(value), 'hex')
    )::text
FROM rejected_usage_events
