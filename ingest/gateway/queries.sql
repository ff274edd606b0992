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
