-- name: server
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::integer AS version_number,
    pg_is_in_recovery() AS is_standby,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('max_connections')::integer AS connections_max,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer AS connections,
    pg_database_size(current_database()) AS bytes

-- name: has_register
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: migrations
SELECT version, title, checksum FROM schema_migrations ORDER BY version

-- name: roles
-- Each role that must be there, and whether this user can take it.
SELECT
    role,
    EXISTS (SELECT FROM pg_roles WHERE rolname = role) AS exists,
    EXISTS (SELECT FROM pg_roles WHERE rolname = role AND pg_has_role(
        current_user,
        oid,
        CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END
    )) AS can_be_taken
FROM unnest($1::text[]) AS role

-- name: privileges
-- What each of these roles can do in effect, by whatever way: to a table as a whole, and to each of its columns.
SELECT r.rolname AS role, c.relname AS table, privilege, NULL AS column
FROM pg_roles AS r, pg_class AS c, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS privilege
WHERE r.rolname = ANY ($1) AND c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
    AND has_table_privilege(r.oid, c.oid, privilege)
UNION ALL
SELECT r.rolname, c.relname, privilege, a.attname
FROM pg_roles AS r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS privilege, pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE r.rolname = ANY ($1) AND c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
    AND has_column_privilege(r.oid, c.oid, a.attnum, privilege)

-- name: columns
SELECT c.relname AS table, a.attname AS column
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')

-- name: offsets
SELECT topic, partition, next_offset FROM stream_offsets WHERE consumer = $1

-- name: backlog
SELECT
    (SELECT count(*) FROM catalog_outbox WHERE published_at IS NULL) AS unpublished,
    (SELECT extract(epoch FROM now() - min(created_at))::float FROM catalog_outbox WHERE published_at IS NULL)
        AS oldest_seconds,
    (SELECT count(*) FROM webhook_deliveries WHERE parked_at IS NOT NULL) AS webhooks_parked,
    (SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND parked_at IS NULL) AS webhooks_waiting,
    (
        SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float FROM webhook_deliveries
        WHERE delivered_at IS NULL AND parked_at IS NULL
    ) AS webhooks_oldest_seconds,
    (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL) AS keys,
    (
        SELECT count(*) FROM rejected_usage_events
        WHERE code = 'processing_failed' AND received_at > now() - interval '7 days'
    ) AS processing_failed

-- name: holds
SELECT reason, count(*) AS count, min(held_at) AS oldest FROM held_periods GROUP BY reason ORDER BY reason

-- name: clock
SELECT clock_timestamp()
