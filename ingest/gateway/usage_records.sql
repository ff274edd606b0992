-- name: usage_event
SELECT * FROM usage_events WHERE id = $1;

-- Whose these subscriptions and invoices are, each with the reason that names it.
-- name: whose
SELECT 'subscription_mismatch' AS reason, id, service_id FROM subscriptions WHERE id = ANY ($1)
UNION ALL
SELECT 'invoice_mismatch', id, service_id FROM invoices WHERE id = ANY ($2);

-- name: usage_events_of_ids
SELECT * FROM usage_events WHERE id = ANY ($1);

-- name: rejected_event
SELECT * FROM rejected_usage_events WHERE id = $1;

-- Oldest first. The keys of a meter stand between the meter itself and what follows on all that begin with it and a '#':
-- '$' is the next character. $13 is the invoice that events are linked to; $14 to $16 are what an invoice bills, asked
-- for without what is linked to it as well ($17).
-- name: usage_events
SELECT *
FROM usage_events
WHERE ($1::text[] IS NULL OR service_id = ANY ($1))
    AND ($2::timestamptz IS NULL OR (occurred_at, id) > ($2, $3::text))
    AND ($5::text IS NULL OR subscription_id = $5)
    AND ($6::text IS NULL OR service_id = $6)
    AND ($7::text IS NULL OR user_id = $7)
    AND ($8::text IS NULL OR event_key = $8)
    AND ($9::text IS NULL OR (meter = $9 AND event_key >= $9 AND event_key < $9 || '$'))
    AND ($10::timestamptz IS NULL OR occurred_at >= $10)
    AND ($11::timestamptz IS NULL OR occurred_at < $11)
    AND ($12::text IS NULL OR status = $12)
    AND ($13::text IS NULL OR invoice_id = $13)
    AND ($14::text IS NULL OR (subscription_id = $14 AND period_start = $15 AND sequence = $16))
    AND ($17::text IS NULL OR invoice_id IS DISTINCT FROM $17)
ORDER BY occurred_at, id
LIMIT $4;

-- Which events an invoice bills; no row where the closer did not write it.
-- name: billed_by
SELECT subscription_id, period_start, sequence FROM invoices WHERE id = $1 AND sequence IS NOT NULL;

-- Newest first. Of a page of large values, only as many as come to $9 bytes are read, and the first in any case.
-- name: rejected_events
SELECT
    id, code, error, field, service_id, received_at, origin_topic, origin_partition, origin_offset,
    is_beyond,
    CASE WHEN NOT is_beyond THEN key END AS key,
    CASE WHEN NOT is_beyond THEN value END AS value
FROM (
    SELECT
        *,
        number > 1 AND sum(coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0))
            OVER (ORDER BY number) > $9::bigint AS is_beyond
    FROM (
        SELECT *, row_number() OVER (ORDER BY received_at DESC, id DESC) AS number
        FROM rejected_usage_events
        WHERE ($1::text[] IS NULL OR service_id = ANY ($1))
            AND ($2::timestamptz IS NULL OR (received_at, id) < ($2, $3::text))
            AND ($5::text IS NULL OR subscription_id = $5)
            AND ($6::text IS NULL OR code = $6)
            AND ($7::timestamptz IS NULL OR received_at >= $7)
            AND ($8::timestamptz IS NULL OR received_at < $8)
        ORDER BY received_at DESC, id DESC
        LIMIT $4
    ) AS page
) AS measured
ORDER BY number;

-- What is projected of a subscription's billing periods that overlap [$2, $3), each with its meters.
-- name: usage_periods
SELECT
    coalesce(p.period_start, t.period_start) AS period_start,
    coalesce(p.period_end, t.period_end) AS period_end,
    coalesce(p.closed, false) AS closed,
    coalesce(p.next_sequence, 0) AS next_sequence,
    t.meter,
    t.quantity,
    t.event_count
FROM (SELECT * FROM billing_periods WHERE subscription_id = $1) AS p
FULL JOIN (SELECT * FROM usage_totals WHERE subscription_id = $1) AS t USING (period_start)
WHERE ($2::timestamptz IS NULL OR coalesce(p.period_end, t.period_end, 'infinity') > $2)
    AND ($3::timestamptz IS NULL OR coalesce(p.period_start, t.period_start) < $3)
ORDER BY period_start, t.meter;

-- name: ledger
SELECT next_offset, updated_at FROM ledger WHERE partition = $1;
