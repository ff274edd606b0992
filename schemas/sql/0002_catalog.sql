-- The catalog: Postgres is its record (design section 7). `document` is the entry as it goes out on the wire; the
-- columns beside it are what is searched and what a change must check.
--
-- Ids compare byte by byte (COLLATE "C"), so that an operating system's new sorting rules can't break a unique index.

CREATE TABLE services (
    id text COLLATE "C" PRIMARY KEY,
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX services_list ON services (created_at, id);

CREATE TABLE plans (
    id text COLLATE "C" PRIMARY KEY,
    service_id text COLLATE "C" NOT NULL REFERENCES services,
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX plans_list ON plans (created_at, id);
CREATE INDEX plans_by_service ON plans (service_id, created_at, id);

CREATE TABLE subscriptions (
    id text COLLATE "C" PRIMARY KEY,
    service_id text COLLATE "C" NOT NULL REFERENCES services,
    payment_plan_id text COLLATE "C" NOT NULL REFERENCES plans,
    user_id text COLLATE "C" NOT NULL,
    status text NOT NULL CHECK (status IN ('ACTIVE', 'PAST_DUE', 'CANCELLED', 'EXPIRED')),
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX subscriptions_list ON subscriptions (created_at, id);
CREATE INDEX subscriptions_by_service ON subscriptions (service_id, created_at, id);
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, created_at, id);

-- What is still to be published to the topic `catalog`, written in the transaction of the change itself. `key` is the
-- record's key (`subscription/<id>`), `appended_at` the append time that the broker acknowledged. A notification on the
-- channel `catalog_outbox` wakes the publisher.
CREATE TABLE catalog_outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    appended_at timestamptz,
    UNIQUE (key, version)
);

CREATE INDEX catalog_outbox_unpublished ON catalog_outbox (seq) WHERE published_at IS NULL;

-- A key is shown once, when it is made; only its hash is kept. `services` null: all of them.
CREATE TABLE api_keys (
    id text COLLATE "C" PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    services text[],
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

GRANT SELECT, INSERT, UPDATE ON services, subscriptions, catalog_outbox TO tally_gateway;
GRANT SELECT, INSERT ON plans TO tally_gateway;  -- plans never change
GRANT SELECT ON api_keys TO tally_gateway;
GRANT SELECT, INSERT ON catalog_outbox TO tally_closer;
