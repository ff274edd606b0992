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

-- name: invoice_lines
SELECT invoice_id, meter, quantity, unit_price, amount, event_count
FROM invoice_lines
WHERE invoice_id = ANY ($1)
ORDER BY invoice_id, meter;

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
