-- Requests that carry an Idempotency-Key, for 24 hours from the first of them (contract section 2). `body_hash` is the
-- SHA-256 of its method, path and body; `seed` is what the ids are made of that it chooses. `status` is null while it is
-- in flight, since `claimed_at`: long ago where it failed and is to be executed again.
CREATE TABLE idempotent_requests (
    api_key_id text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    body_hash bytea NOT NULL,
    seed uuid NOT NULL DEFAULT gen_random_uuid(),
    claimed_at timestamptz NOT NULL DEFAULT now(),
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
