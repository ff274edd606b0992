-- Running totals and ledgers: copies of what the workers keep on Kafka, for reading. `updated_at` is the append time of
-- the record that a row was copied from.

-- `period_end` is null where the plan's billing interval is NONE.
CREATE TABLE usage_totals (
    subscription_id text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz,
    meter text COLLATE "C" NOT NULL,
    quantity numeric(38, 6) NOT NULL CHECK (quantity <> 'NaN'),
    event_count bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (subscription_id, period_start, meter)
);

-- Every record of a partition of `usage-events` got exactly one verdict.
CREATE TABLE ledger (
    partition integer PRIMARY KEY,
    next_offset bigint NOT NULL,
    received bigint NOT NULL,
    accepted bigint NOT NULL,
    duplicate bigint NOT NULL,
    rejected bigint NOT NULL,
    forwarded bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK (received = accepted + duplicate + rejected + forwarded)
);

GRANT SELECT, INSERT, UPDATE ON usage_totals, ledger TO tally_projector;
GRANT SELECT ON usage_totals, ledger TO tally_gateway;
