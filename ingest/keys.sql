-- name: add_key
INSERT INTO api_keys (id, hash, scopes, services, name, requests_per_second) VALUES ($1, $2, $3, $4, $5, $6);

-- name: list_keys
SELECT id, name, scopes, services, requests_per_second, created_at, revoked_at
FROM api_keys
ORDER BY created_at, id;

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id;

-- name: live_keys
SELECT id, hash, scopes, services, requests_per_second FROM api_keys WHERE revoked_at IS NULL;
