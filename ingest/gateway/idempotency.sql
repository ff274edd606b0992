-- Of two that claim the same key at once, the second waits here until the first has its row.
-- name: claim
INSERT INTO idempotent_requests AS known (api_key_id, idempotency_key, body_hash)
VALUES ($1, $2, $3)
ON CONFLICT (api_key_id, idempotency_key) DO UPDATE
SET body_hash = excluded.body_hash,
    seed = CASE WHEN known.created_at < now() - $4::interval THEN excluded.seed ELSE known.seed END,
    created_at = CASE WHEN known.created_at < now() - $4::interval THEN excluded.created_at ELSE known.created_at END,
    claimed_at = excluded.claimed_at,
    status = NULL,
    headers = NULL,
    body = NULL
WHERE known.created_at < now() - $4::interval
    OR (known.status IS NULL AND known.claimed_at < now() - $5::interval AND known.body_hash = excluded.body_hash)
RETURNING seed, claimed_at;

-- name: known
SELECT body_hash, status, headers, body FROM idempotent_requests WHERE api_key_id = $1 AND idempotency_key = $2;

-- name: store
UPDATE idempotent_requests
SET status = $4, headers = $5, body = $6
WHERE api_key_id = $1 AND idempotency_key = $2 AND claimed_at = $3 AND status IS NULL;

-- name: release
UPDATE idempotent_requests
SET claimed_at = '-infinity'
WHERE api_key_id = $1 AND idempotency_key = $2 AND claimed_at = $3 AND status IS NULL;

-- name: sweep
WITH old AS (
    SELECT api_key_id, idempotency_key
    FROM idempotent_requests
    WHERE created_at < now() - $1::interval
    ORDER BY created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), swept AS (
    DELETE FROM idempotent_requests USING old
    WHERE idempotent_requests.api_key_id = old.api_key_id
        AND idempotent_requests.idempotency_key = old.idempotency_key
    RETURNING 1
)
SELECT count(*) FROM swept;
