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

-- name: put_periods
INSERT INTO billing_periods (subscription_id, period_start, period_end, closed, next_sequence, updated_at)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::boolean[], $5::int[], $6::timestamptz[])
ON CONFLICT (subscription_id, period_start) DO UPDATE
SET period_end = excluded.period_end,
    closed = excluded.closed,
    next_sequence = excluded.next_sequence,
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

-- name: put_usage_events
-- An event is voided once and for all, so the record of its acceptance never takes the place of that of its void,
-- whatever the brokers' clocks say. A row that is as it should be is not written again.
INSERT INTO usage_events AS copied (
    id, service_id, subscription_id, user_id, event_key, event_id, meter, quantity, occurred_at, sent_occurred_at,
    invoice_id, period_start, period_end, status, created_at, updated_at, sequence
)
SELECT
    id, service_id, subscription_id, user_id, event_key, event_id, meter, quantity::numeric, occurred_at::timestamptz,
    sent_occurred_at::timestamptz, invoice_id, period_start::timestamptz, period_end::timestamptz, status,
    created_at::timestamptz, updated_at::timestamptz, sequence
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::int[]
) AS event (
    id, service_id, subscription_id, user_id, event_key, event_id, meter, quantity, occurred_at, sent_occurred_at,
    invoice_id, period_start, period_end, status, created_at, updated_at, sequence
)
ON CONFLICT (id) DO UPDATE
SET service_id = excluded.service_id,
    subscription_id = excluded.subscription_id,
    user_id = excluded.user_id,
    event_key = excluded.event_key,
    event_id = excluded.event_id,
    meter = excluded.meter,
    quantity = excluded.quantity,
    occurred_at = excluded.occurred_at,
    sent_occurred_at = excluded.sent_occurred_at,
    invoice_id = excluded.invoice_id,
    period_start = excluded.period_start,
    period_end = excluded.period_end,
    status = excluded.status,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    sequence = coalesce(excluded.sequence, copied.sequence)
WHERE NOT (copied.status = 'VOIDED' AND excluded.status = 'RECORDED')
    AND (
        copied.service_id, copied.subscription_id, copied.user_id, copied.event_key, copied.event_id, copied.meter,
        copied.quantity, copied.occurred_at, copied.sent_occurred_at, copied.invoice_id, copied.period_start,
        copied.period_end, copied.status, copied.created_at, copied.updated_at, copied.sequence
    ) IS DISTINCT FROM (
        excluded.service_id, excluded.subscription_id, excluded.user_id, excluded.event_key, excluded.event_id,
        excluded.meter, excluded.quantity, excluded.occurred_at, excluded.sent_occurred_at, excluded.invoice_id,
        excluded.period_start, excluded.period_end, excluded.status, excluded.created_at, excluded.updated_at,
        coalesce(excluded.sequence, copied.sequence)
    )

-- name: put_rejected_events
INSERT INTO rejected_usage_events AS copied (
    id, code, error, field, service_id, subscription_id, received_at, origin_topic, origin_partition, origin_offset,
    key, value
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::int[],
    $10::bigint[], $11::bytea[], $12::bytea[]
)
ON CONFLICT (id) DO UPDATE
SET code = excluded.code,
    error = excluded.error,
    field = excluded.field,
    service_id = excluded.service_id,
    subscription_id = excluded.subscription_id,
    received_at = excluded.received_at,
    origin_topic = excluded.origin_topic,
    origin_partition = excluded.origin_partition,
    origin_offset = excluded.origin_offset,
    key = excluded.key,
    value = excluded.value
WHERE (
    copied.code, copied.error, copied.field, copied.service_id, copied.subscription_id, copied.received_at,
    copied.origin_topic, copied.origin_partition, copied.origin_offset, copied.key, copied.value
) IS DISTINCT FROM (
    excluded.code, excluded.error, excluded.field, excluded.service_id, excluded.subscription_id,
    excluded.received_at, excluded.origin_topic, excluded.origin_partition, excluded.origin_offset, excluded.key,
    excluded.value
)
