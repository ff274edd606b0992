-- name: clock
SELECT floor(extract(epoch FROM now()) * 1000)::bigint;

-- name: announce
WITH announced AS (
    INSERT INTO catalog_outbox (key, version, payload) VALUES ($1, $2, $3) RETURNING seq
)
SELECT seq, pg_notify('catalog_outbox', '') FROM announced;

-- name: unannounced
SELECT max(seq) FROM catalog_outbox WHERE key = $1 AND published_at IS NULL;


-- An entry as it was when it came to be.
-- name: first_entry
SELECT payload FROM catalog_outbox WHERE key = $1 AND version = 1;

-- name: newest_entry
SELECT payload FROM catalog_outbox WHERE key = $1 ORDER BY version DESC LIMIT 1;


-- name: add_service
INSERT INTO services (id, document) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: service
SELECT document FROM services WHERE id = $1;

-- name: lock_service
SELECT document FROM services WHERE id = $1 FOR UPDATE;

-- name: change_service
UPDATE services SET version = $2, document = $3, updated_at = now() WHERE id = $1;

-- name: services
SELECT document, created_at, id
FROM services
WHERE ($1::text[] IS NULL OR id = ANY ($1))
    AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::text))
ORDER BY created_at DESC, id DESC
LIMIT $4;


-- name: add_plan
INSERT INTO plans (id, service_id, document) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: plan
SELECT document FROM plans WHERE id = $1;

-- name: plans
SELECT document, created_at, id
FROM plans
WHERE ($1::text[] IS NULL OR service_id = ANY ($1))
    AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::text))
    AND ($5::text IS NULL OR service_id = $5)
ORDER BY created_at DESC, id DESC
LIMIT $4;


-- name: add_subscription
INSERT INTO subscriptions (id, service_id, payment_plan_id, user_id, status, document)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: lock_subscription
SELECT document FROM subscriptions WHERE id = $1 FOR UPDATE;

-- name: change_subscription
UPDATE subscriptions SET status = $2, version = $3, document = $4, updated_at = now() WHERE id = $1;

-- name: subscription
SELECT
    s.document,
    p.document ->> 'billingInterval' AS billing_interval,
    floor(extract(epoch FROM now()) * 1000)::bigint AS now
FROM subscriptions AS s
JOIN plans AS p ON p.id = s.payment_plan_id
WHERE s.id = $1;

-- name: subscriptions
SELECT
    s.document,
    p.document ->> 'billingInterval' AS billing_interval,
    floor(extract(epoch FROM now()) * 1000)::bigint AS now,
    s.created_at,
    s.id
FROM subscriptions AS s
JOIN plans AS p ON p.id = s.payment_plan_id
WHERE ($1::text[] IS NULL OR s.service_id = ANY ($1))
    AND ($2::timestamptz IS NULL OR (s.created_at, s.id) < ($2, $3::text))
    AND ($5::text IS NULL OR s.service_id = $5)
    AND ($6::text IS NULL OR s.user_id = $6)
    AND ($7::text IS NULL OR s.status = $7)
ORDER BY s.created_at DESC, s.id DESC
LIMIT $4;


-- name: add_invoice
INSERT INTO invoices (
    id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount, currency,
    period_start, period_end, due_at, asked_for
)
VALUES ($1, 'MANUAL', $2, $3, $4, $5, $6, $7::text::numeric, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: invoice_asked_for
SELECT asked_for FROM invoices WHERE id = $1;

-- name: lock_invoice
SELECT id, service_id, user_id, subscription_id, status, amount::text, period_start, period_end, due_at, version
FROM invoices
WHERE id = $1
FOR UPDATE;

-- name: subscription_of_invoice
SELECT subscription_id FROM invoices WHERE id = $1;

-- Half-open periods that meet end to end do not overlap.
-- name: overlapping_invoice
SELECT id
FROM invoices
WHERE subscription_id = $1 AND status <> 'VOID' AND period_start < $3 AND period_end > $2 AND id <> $4
ORDER BY period_start, id
LIMIT 1;

-- name: change_invoice
UPDATE invoices SET amount = $2::text::numeric, period_start = $3, period_end = $4, due_at = $5, updated_at = now()
WHERE id = $1;

-- name: move_invoice
UPDATE invoices
SET status = $2, version = $3, paid_at = CASE WHEN $2 = 'PAID' THEN now() ELSE paid_at END, updated_at = now()
WHERE id = $1;


-- The oldest unpublished version of each key: versions of a key go out one after the other. Those that were sent ($2)
-- and are not in the topic yet wait.
-- name: take_unpublished
SELECT o.seq, o.key, o.version, o.payload
FROM catalog_outbox AS o
WHERE o.published_at IS NULL
    AND NOT EXISTS (
        SELECT FROM catalog_outbox AS earlier
        WHERE earlier.key = o.key AND earlier.version < o.version AND earlier.published_at IS NULL
    )
    AND o.seq <> ALL ($2::bigint[])
ORDER BY o.seq
LIMIT $1;

-- How far the topic is followed. Whoever holds the row publishes and dates; others let it.
-- name: begin_following
INSERT INTO catalog_topic (name, next_offset) VALUES ($1, 0) ON CONFLICT DO NOTHING;

-- name: followed
SELECT next_offset FROM catalog_topic WHERE name = $1;

-- name: take_turn
SELECT next_offset FROM catalog_topic WHERE name = $1 FOR UPDATE SKIP LOCKED;

-- name: followed_to
UPDATE catalog_topic SET next_offset = $2 WHERE name = $1;

-- name: follow_anew
UPDATE catalog_topic SET next_offset = 0 WHERE name = $1;

-- The rows of these versions, each with the newest version of its key that is published (0: none).
-- name: rows
SELECT
    o.seq,
    o.key,
    o.version,
    o.payload,
    floor(extract(epoch FROM o.appended_at) * 1000)::bigint AS appended_at,
    coalesce((SELECT max(n.version) FROM catalog_outbox AS n WHERE n.key = o.key AND n.appended_at IS NOT NULL), 0)
        AS newest
FROM catalog_outbox AS o
JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::integer[]) AS e (key, version)) AS e
    ON e.key = o.key AND e.version = o.version;

-- name: append_times
SELECT key, version, floor(extract(epoch FROM appended_at) * 1000)::bigint AS at
FROM catalog_outbox
WHERE key = ANY ($1) AND appended_at IS NOT NULL;

-- name: mark_published
WITH published AS (
    UPDATE catalog_outbox AS o
    SET
        published_at = clock_timestamp(),
        appended_at = timestamptz 'epoch' + p.at * interval '1 millisecond',
        payload = p.payload
    FROM unnest($1::bigint[], $2::bigint[], $3::jsonb[]) AS p (seq, at, payload)
    WHERE o.seq = p.seq
    RETURNING 1
)
SELECT pg_notify('catalog_outbox', '') FROM published LIMIT 1;

-- The change of status that this version made gets its time, in the subscription itself.
-- name: date_transitions
UPDATE subscriptions AS s
SET document = jsonb_set(s.document, '{transitions}', (
    SELECT jsonb_agg(
        CASE
            WHEN (t.transition ->> 'version')::integer = p.version
                THEN t.transition || jsonb_build_object('at', p.at)
            ELSE t.transition
        END
        ORDER BY t.position
    )
    FROM jsonb_array_elements(s.document -> 'transitions') WITH ORDINALITY AS t (transition, position)
))
FROM unnest($1::text[], $2::integer[], $3::text[]) AS p (id, version, at)
WHERE s.id = p.id;

-- name: unpublished
SELECT seq FROM catalog_outbox WHERE seq = ANY ($1) AND published_at IS NULL;

-- name: published
SELECT seq FROM catalog_outbox WHERE seq = ANY ($1) AND published_at IS NOT NULL;

-- name: backlog
SELECT count(*) AS changes, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age_seconds
FROM catalog_outbox WHERE published_at IS NULL;


-- name: held_versions
SELECT
    e.kind,
    e.id,
    CASE e.kind
        WHEN 'service' THEN (SELECT version FROM services WHERE id = e.id)
        WHEN 'plan' THEN (SELECT version FROM plans WHERE id = e.id)
        WHEN 'subscription' THEN (SELECT version FROM subscriptions WHERE id = e.id)
        ELSE (SELECT version FROM invoices WHERE id = e.id)
    END AS version
FROM unnest($1::text[], $2::text[]) AS e (kind, id)
WHERE e.kind IN ('service', 'plan', 'subscription', 'invoice');


-- Entries read back from the topic. Each statement changes nothing where Postgres has the version already.
-- name: rebuild_service
INSERT INTO services AS held (id, version, document, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, document = excluded.document, updated_at = now()
WHERE held.version < excluded.version
RETURNING id;

-- name: rebuild_plan
INSERT INTO plans AS held (id, version, document, created_at, service_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, document = excluded.document, updated_at = now()
WHERE held.version < excluded.version
RETURNING id;

-- name: rebuild_subscription
INSERT INTO subscriptions AS held
    (id, version, document, created_at, service_id, payment_plan_id, user_id, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE
SET
    version = excluded.version,
    document = excluded.document,
    payment_plan_id = excluded.payment_plan_id,
    status = excluded.status,
    updated_at = now()
WHERE held.version < excluded.version
RETURNING id;

-- The topic knows of an invoice only what it is linked to and how its status changed.
-- name: rebuild_invoice
UPDATE invoices SET status = $3, version = $2, paid_at = $4, updated_at = now()
WHERE id = $1 AND version < $2
RETURNING id;

-- name: rebuild_published
INSERT INTO catalog_outbox (key, version, payload, published_at, appended_at) VALUES ($1, $2, $3, now(), $4)
ON CONFLICT (key, version) DO UPDATE
SET payload = excluded.payload, published_at = excluded.published_at, appended_at = excluded.appended_at;

-- What Postgres was about to publish when it was copied, and the topic has gone beyond.
-- name: drop_unpublished
UPDATE catalog_outbox SET published_at = now()
WHERE key = $1 AND version <= $2 AND published_at IS NULL
RETURNING version;


-- The newest published version of each entry, as it went out and with the times of its changes of status.
-- name: newest_published
SELECT DISTINCT ON (key) key, payload
FROM catalog_outbox
WHERE published_at IS NOT NULL AND key > $1 AND key LIKE $2 AND ($3::text[] IS NULL OR key = ANY ($3))
ORDER BY key, version DESC
LIMIT $4;
