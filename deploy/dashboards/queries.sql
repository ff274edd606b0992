-- name: invoiced
-- Amounts are text, for Grafana would round them.
SELECT
    currency,
    count(*) AS invoices,
    sum(amount)::text AS invoiced,
    coalesce(sum(amount) FILTER (WHERE status = 'PAID'), 0)::text AS paid,
    coalesce(sum(amount) FILTER (WHERE status = 'OPEN'), 0)::text AS open,
    coalesce(sum(amount) FILTER (WHERE status = 'OPEN' AND due_at < now()), 0)::text AS overdue,
    coalesce(sum(amount) FILTER (WHERE amount < 0), 0)::text AS credits
FROM invoices
WHERE status NOT IN ('DRAFT', 'VOID') AND $__timeFilter(created_at)
GROUP BY currency
ORDER BY currency

-- name: invoiced_by_day
SELECT date_trunc('day', created_at, 'UTC') AS "time", currency AS metric, sum(amount) AS amount
FROM invoices
WHERE status NOT IN ('DRAFT', 'VOID') AND $__timeFilter(created_at)
GROUP BY 1, 2
ORDER BY 1, 2

-- name: invoices_by_status
SELECT status, source, currency, count(*) AS invoices, sum(amount)::text AS amount
FROM invoices
WHERE $__timeFilter(created_at)
GROUP BY status, source, currency
ORDER BY status, source, currency

-- name: invoiced_by_service
SELECT service_id, currency, count(*) AS invoices, sum(amount)::text AS amount
FROM invoices
WHERE status NOT IN ('DRAFT', 'VOID') AND $__timeFilter(created_at)
GROUP BY service_id, currency
ORDER BY sum(amount) DESC
LIMIT 50

-- name: invoiced_by_subscription
SELECT subscription_id, user_id, currency, count(*) AS invoices, sum(amount)::text AS amount
FROM invoices
WHERE status NOT IN ('DRAFT', 'VOID') AND $__timeFilter(created_at)
GROUP BY subscription_id, user_id, currency
ORDER BY sum(amount) DESC
LIMIT 50

-- name: invoiced_by_meter
SELECT
    invoices.service_id,
    line.meter,
    invoices.currency,
    sum(line.quantity)::text AS quantity,
    sum(line.event_count) AS events,
    sum(line.amount)::text AS amount
FROM invoice_lines AS line
JOIN invoices ON invoices.id = line.invoice_id
WHERE invoices.status NOT IN ('DRAFT', 'VOID') AND $__timeFilter(invoices.created_at)
GROUP BY invoices.service_id, line.meter, invoices.currency
ORDER BY sum(line.amount) DESC
LIMIT 50

-- name: newest_invoices
SELECT created_at, id, subscription_id, status, source, sequence, period_start, amount::text AS amount, currency
FROM invoices
WHERE $__timeFilter(created_at)
ORDER BY created_at DESC, id
LIMIT 50

-- name: adjustments
SELECT created_at, id, subscription_id, status, sequence, period_start, amount::text AS amount, currency
FROM invoices
WHERE sequence > 0 AND $__timeFilter(created_at)
ORDER BY created_at DESC, id
LIMIT 50

-- name: overdue_invoices
SELECT due_at, id, subscription_id, user_id, amount::text AS amount, currency
FROM invoices
WHERE status = 'OPEN' AND due_at < now()
ORDER BY due_at, id
LIMIT 50

-- name: events_by_day
-- The ten meters with the most events; all others would not be told apart.
WITH used AS (
    SELECT date_trunc('day', occurred_at, 'UTC') AS day, meter, count(*) AS events
    FROM usage_events
    WHERE status = 'RECORDED' AND $__timeFilter(occurred_at)
    GROUP BY 1, 2
),
busiest AS (SELECT meter FROM used GROUP BY meter ORDER BY sum(events) DESC LIMIT 10)
SELECT day AS "time", meter AS metric, events
FROM used
WHERE meter IN (SELECT meter FROM busiest)
ORDER BY 1, 2

-- name: subscribers_by_day
SELECT date_trunc('day', occurred_at, 'UTC') AS "time", service_id AS metric, count(DISTINCT user_id) AS users
FROM usage_events
WHERE status = 'RECORDED' AND $__timeFilter(occurred_at)
GROUP BY 1, 2
ORDER BY 1, 2

-- name: usage_by_meter
SELECT
    service_id,
    meter,
    count(*) AS events,
    sum(quantity)::text AS quantity,
    count(DISTINCT subscription_id) AS subscriptions
FROM usage_events
WHERE status = 'RECORDED' AND $__timeFilter(occurred_at)
GROUP BY service_id, meter
ORDER BY count(*) DESC
LIMIT 50

-- name: open_periods
SELECT
    subscription_id,
    meter,
    quantity::text AS quantity,
    event_count AS events,
    period_start,
    period_end,
    updated_at
FROM usage_totals
WHERE period_end IS NULL OR period_end > now()
ORDER BY event_count DESC
LIMIT 50

-- name: rejected_by_day
SELECT date_trunc('day', received_at, 'UTC') AS "time", code AS metric, count(*) AS records
FROM rejected_usage_events
WHERE $__timeFilter(received_at)
GROUP BY 1, 2
ORDER BY 1, 2

-- name: newest_rejected
SELECT received_at, code, error, service_id, subscription_id, id
FROM rejected_usage_events
WHERE $__timeFilter(received_at)
ORDER BY received_at DESC, id
LIMIT 50

-- name: ledger
SELECT
    partition,
    received,
    accepted,
    duplicate,
    rejected,
    forwarded,
    received - accepted - duplicate - rejected - forwarded AS without_verdict,
    updated_at
FROM ledger
ORDER BY partition
