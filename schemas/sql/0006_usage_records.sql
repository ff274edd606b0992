-- The searchable record of what was counted and what was not: copies of `accepted-usage` and `rejected-usage`, for
-- reading (contract section 4). Keeping them is a setting of the projector.

-- `sequence` is that of the invoice which charges the event: 0 the period's own, later ones its adjustments. It is null
-- of an event that was voided after its period had closed, where this copy was made later. `sent_occurred_at` is null where the sender gave no time.
CREATE TABLE usage_events (
    id text COLLATE "C" PRIMARY KEY,
    service_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    event_key text COLLATE "C" NOT NULL,
    event_id text COLLATE "C",
    meter text COLLATE "C" NOT NULL,
    quantity numeric(38, 6) NOT NULL CHECK (quantity <> 'NaN'),
    occurred_at timestamptz NOT NULL,
    sent_occurred_at timestamptz,
    invoice_id text COLLATE "C",
    period_start timestamptz NOT NULL,
    period_end timestamptz,
    status text NOT NULL CHECK (status IN ('RECORDED', 'VOIDED')),
    sequence integer CHECK (sequence >= 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Every list is in the order of (occurred_at, id).
CREATE INDEX usage_events_list ON usage_events (occurred_at, id);
CREATE INDEX usage_events_by_subscription ON usage_events (subscription_id, occurred_at, id);
CREATE INDEX usage_events_by_service ON usage_events (service_id, occurred_at, id);
CREATE INDEX usage_events_by_user ON usage_events (user_id, occurred_at, id);
-- The keys of one meter stand together, so that this finds a meter too; and one key of a subscription.
CREATE INDEX usage_events_by_key ON usage_events (event_key, subscription_id);
CREATE INDEX usage_events_by_invoice ON usage_events (invoice_id, occurred_at, id) WHERE invoice_id IS NOT NULL;
CREATE INDEX usage_events_voided ON usage_events (occurred_at, id) WHERE status = 'VOIDED';
CREATE INDEX usage_events_billed ON usage_events (subscription_id, period_start, sequence, occurred_at, id);

-- `id` names the origin: ue_<partition>_<offset> of `usage-events`, uc_... of `usage-corrections`, uf_... of
-- `usage-forwarded`. Service and subscription are null where the value does not tell them. A void that was refused is
-- here too. The bytes are those that were received; key and value are null where they were.
CREATE TABLE rejected_usage_events (
    id text COLLATE "C" PRIMARY KEY,
    code text COLLATE "C" NOT NULL,
    error text NOT NULL,
    field text,
    service_id text COLLATE "C",
    subscription_id text COLLATE "C",
    received_at timestamptz NOT NULL,
    origin_topic text NOT NULL,
    origin_partition integer NOT NULL,
    origin_offset bigint NOT NULL,
    key bytea,
    value bytea
);

CREATE INDEX rejected_usage_events_list ON rejected_usage_events (received_at, id);
CREATE INDEX rejected_usage_events_by_subscription ON rejected_usage_events (subscription_id, received_at, id);
CREATE INDEX rejected_usage_events_by_service ON rejected_usage_events (service_id, received_at, id);
CREATE INDEX rejected_usage_events_by_code ON rejected_usage_events (code, received_at, id);

-- Where each billing period stands: a copy of the workers' own state of it, also of a period without usage.
CREATE TABLE billing_periods (
    subscription_id text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz,
    closed boolean NOT NULL,
    next_sequence integer NOT NULL CHECK (next_sequence >= 0),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (subscription_id, period_start)
);

GRANT SELECT, INSERT, UPDATE ON usage_events, rejected_usage_events, billing_periods TO tally_projector;
GRANT SELECT ON usage_events, rejected_usage_events, billing_periods TO tally_gateway;
