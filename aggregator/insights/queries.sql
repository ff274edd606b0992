-- name: turn_on
INSERT INTO webhook_receiver (name) VALUES ('webhooks') ON CONFLICT DO NOTHING

-- name: turn_off
DELETE FROM webhook_receiver

-- name: claim
-- Those that are due, for as long as an attempt may take: who is killed meanwhile has marked nothing, and they are due
-- again. Of several senders each takes others.
UPDATE webhook_deliveries AS delivery
SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
FROM (
    SELECT id FROM webhook_deliveries
    WHERE delivered_at IS NULL AND parked_at IS NULL AND next_attempt_at <= now()
    ORDER BY next_attempt_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
) AS due
WHERE delivery.id = due.id
RETURNING delivery.id, type, invoice_id, data::text AS data, created_at, attempts

-- name: invoices
-- As the gateway shows an invoice, but for the lines where there are more than $2 of them: then null. What each line was
-- charged by, and what before, is in the gateway's answer only.
SELECT
    id,
    json_build_object(
        'id', id,
        'serviceId', service_id,
        'paymentPlanId', payment_plan_id,
        'userId', user_id,
        'subscriptionId', subscription_id,
        'status', status,
        'source', source,
        'amount', amount::text,
        'currency', currency,
        'periodStart', to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'periodEnd', to_char(period_end AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'sequence', sequence,
        'digest', digest,
        'logPartition', log_partition,
        'firstOffset', first_offset,
        'lastOffset', last_offset,
        'dueAt', to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'paidAt', to_char(paid_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'createdAt', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'updatedAt', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'lines', CASE WHEN coalesce(line_count, 0) <= $2 THEN coalesce(lines, '[]'::json) END
    )::text AS document
FROM invoices
LEFT JOIN LATERAL (
    SELECT
        count(*) AS line_count,
        json_agg(
            json_build_object(
                'meter', meter,
                'quantity', quantity::text,
                'unitPrice', unit_price::text,
                'amount', amount::text,
                'eventCount', event_count
            )
            ORDER BY meter
        ) AS lines
    FROM (SELECT * FROM invoice_lines WHERE invoice_id = invoices.id LIMIT $2 + 1) AS first_lines
) AS billed ON true
WHERE id = ANY ($1::text[])

-- name: delivered
-- Whatever another sender has kept of it, whose claim came after this one's had run out.
UPDATE webhook_deliveries SET delivered_at = now(), parked_at = NULL, last_error = NULL WHERE id = ANY ($1::uuid[])

-- name: failed
-- Without a delay it is given up; one that another sender has delivered meanwhile stays delivered.
UPDATE webhook_deliveries AS delivery
SET next_attempt_at = now() + make_interval(secs => coalesce(delay_ms, 0) / 1000.0),
    parked_at = CASE WHEN delay_ms IS NULL THEN now() END,
    last_error = error
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS failed (id, delay_ms, error)
WHERE delivery.id = failed.id AND delivery.delivered_at IS NULL

-- name: waiting
SELECT
    (SELECT count(*) FROM webhook_deliveries WHERE parked_at IS NOT NULL) AS parked,
    count(*) AS waiting,
    coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
FROM webhook_deliveries
WHERE delivered_at IS NULL AND parked_at IS NULL

-- name: forget
DELETE FROM webhook_deliveries
WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE delivered_at < now() - make_interval(days => $1) LIMIT $2
)

-- name: insert_alerts
INSERT INTO webhook_deliveries (type, data)
SELECT type, data::jsonb FROM unnest($1::text[], $2::text[]) AS alert (type, data)
