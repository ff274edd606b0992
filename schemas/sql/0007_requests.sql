-- Requests that carry an Idempotency-Key, for 24 hours (contract section 2). `status` is null while the first request is
-- in flight; `body_hash` is the SHA-256 of its method, path and body.
CREATE TABLE idempotent_requests (
    api_key_id text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    body_hash bytea NOT NULL,
    status integer,
    headers jsonb,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (api_key_id, idempotency_key)
);

CREATE INDEX idempotent_requests_old ON idempotent_requests (created_at);

-- Requests a second that a key may make of each gateway; null: as many as the gateway's setting says.
ALTER TABLE api_keys ADD COLUMN requests_per_second integer CHECK (requests_per_second >= 1);

-- An invoice as a caller asked for it when it was made, whatever was changed of it since: the same request again finds
-- it. Null where the closer wrote it.
ALTER TABLE invoices ADD COLUMN asked_for jsonb;

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotent_requests TO tally_gateway;
