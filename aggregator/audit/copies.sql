-- The same rows in a temporary database, by the partition that they are compared with.

-- name: tables
CREATE TABLE invoices (
    id TEXT PRIMARY KEY, service_id TEXT, payment_plan_id TEXT, user_id TEXT, subscription_id TEXT, amount TEXT,
    currency TEXT, period_start INTEGER, period_end INTEGER, sequence INTEGER, digest TEXT, log_partition INTEGER,
    first_offset INTEGER, last_offset INTEGER
);
CREATE TABLE invoice_lines (
    invoice_id TEXT, meter TEXT, quantity TEXT, unit_price TEXT, amount TEXT, event_count INTEGER,
    PRIMARY KEY (invoice_id, meter)
);
CREATE TABLE usage_totals (
    partition INTEGER, subscription_id TEXT, period_start INTEGER, meter TEXT, period_end INTEGER, quantity TEXT,
    event_count INTEGER, updated_at INTEGER
);
CREATE TABLE billing_periods (
    partition INTEGER, subscription_id TEXT, period_start INTEGER, period_end INTEGER, closed INTEGER,
    next_sequence INTEGER, updated_at INTEGER
);
CREATE TABLE ledger (
    partition INTEGER PRIMARY KEY, next_offset INTEGER, received INTEGER, accepted INTEGER, duplicate INTEGER,
    rejected INTEGER, forwarded INTEGER, updated_at INTEGER
);
CREATE TABLE held_periods (
    log_partition INTEGER, log_offset INTEGER, reason TEXT, detail TEXT, subscription_id TEXT, period_start INTEGER,
    sequence INTEGER
);
CREATE TABLE usage_events (
    partition INTEGER, place INTEGER, digest BLOB, sequence INTEGER, PRIMARY KEY (partition, place)
) WITHOUT ROWID;
CREATE TABLE misnamed_events (id TEXT);
CREATE TABLE rejected_usage_events (id TEXT PRIMARY KEY, received_at INTEGER, digest BLOB)

-- name: indexes
CREATE INDEX usage_totals_by_partition ON usage_totals (partition);
CREATE INDEX billing_periods_by_partition ON billing_periods (partition);
CREATE INDEX invoices_by_partition ON invoices (log_partition)

-- name: put_invoices
INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_invoice_lines
INSERT INTO invoice_lines VALUES (?, ?, ?, ?, ?, ?)

-- name: put_usage_totals
INSERT INTO usage_totals VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_billing_periods
INSERT INTO billing_periods VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: put_ledger
INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_held_periods
INSERT INTO held_periods VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: put_usage_events
INSERT INTO usage_events VALUES (?, ?, ?, ?)

-- name: put_misnamed_events
INSERT INTO misnamed_events VALUES (?)

-- name: put_rejected_usage_events
INSERT INTO rejected_usage_events VALUES (?, ?, ?)

-- name: invoice
SELECT service_id, payment_plan_id, user_id, subscription_id, amount, currency, period_start, period_end, sequence,
    digest, log_partition, first_offset, last_offset
FROM invoices WHERE id = ?

-- name: lines
SELECT meter, quantity, unit_price, amount, event_count FROM invoice_lines WHERE invoice_id = ? ORDER BY meter

-- name: invoices_of
SELECT id, subscription_id, period_start, sequence FROM invoices WHERE log_partition = ?

-- name: invoices_elsewhere
SELECT id, log_partition FROM invoices WHERE log_partition NOT BETWEEN 0 AND ? - 1

-- name: held
SELECT log_offset, reason, detail, subscription_id, period_start, sequence FROM held_periods WHERE log_partition = ?

-- name: usage_totals_of
SELECT subscription_id, period_start, meter, period_end, quantity, event_count, updated_at
FROM usage_totals WHERE partition = ?

-- name: billing_periods_of
SELECT subscription_id, period_start, period_end, closed, next_sequence, updated_at
FROM billing_periods WHERE partition = ?

-- name: ledger_of
SELECT next_offset, received, accepted, duplicate, rejected, forwarded, updated_at FROM ledger WHERE partition = ?

-- name: usage_events_of
SELECT place, digest, sequence FROM usage_events WHERE partition = ? ORDER BY place

-- name: misnamed_events
SELECT id FROM misnamed_events
