-- name: invoice
SELECT * FROM invoices WHERE id = $1;

-- name: invoices
SELECT *
FROM invoices
WHERE ($1::text[] IS NULL OR service_id = ANY ($1))
    AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::text))
    AND ($5::text IS NULL OR subscription_id = $5)
    AND ($6::text IS NULL OR service_id = $6)
    AND ($7::text IS NULL OR user_id = $7)
    AND ($8::text IS NULL OR status = $8)
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- The lines of invoices, each with what earlier sequences of its period charged for the meter, voided ones among them.
-- name: invoice_lines
SELECT
    line.invoice_id,
    line.meter,
    line.quantity,
    line.unit_price,
    line.amount,
    line.event_count,
    invoice.payment_plan_id,
    invoice.sequence,
    before.quantity AS quantity_before,
    before.event_count AS event_count_before,
    before.amount AS amount_before
FROM invoice_lines AS line
JOIN invoices AS invoice ON invoice.id = line.invoice_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(earlier_line.quantity), 0)::numeric(38, 6) AS quantity,
        coalesce(sum(earlier_line.event_count), 0)::bigint AS event_count,
        coalesce(sum(earlier_line.amount), 0)::numeric(38, 6) AS amount
    FROM invoices AS earlier
    JOIN invoice_lines AS earlier_line ON earlier_line.invoice_id = earlier.id AND earlier_line.meter = line.meter
    WHERE earlier.source = 'CLOSER'
        AND earlier.subscription_id = invoice.subscription_id
        AND earlier.period_start = invoice.period_start
        AND earlier.sequence < invoice.sequence
) AS before
WHERE line.invoice_id = ANY ($1)
ORDER BY line.invoice_id, line.meter;

-- name: plans_of_invoices
SELECT document FROM plans WHERE id = ANY ($1);

-- The newest usage events that are linked to an invoice, or billed by it ($2 to $4 are those of the closer's); each of
-- the two is read along an index.
-- name: invoice_events
SELECT *
FROM (
    (SELECT * FROM usage_events WHERE invoice_id = $1 ORDER BY occurred_at DESC, id DESC LIMIT $5)
    UNION
    (
        SELECT * FROM usage_events
        WHERE subscription_id = $2 AND period_start = $3 AND sequence = $4
        ORDER BY occurred_at DESC, id DESC
        LIMIT $5
    )
) AS events
ORDER BY occurred_at DESC, id DESC
LIMIT $5;
