-- Invoices, and what the closer keeps to write each of them exactly once (design section 6).

-- `log_partition`, `first_offset` and `last_offset` are the usage events that the invoice charges, in `usage-events`.
-- Numbers of this precision can't be infinite, but they can be NaN, and NaN >= 0 holds: hence the checks.
CREATE TABLE invoices (
    id text COLLATE "C" PRIMARY KEY,
    source text NOT NULL CHECK (source IN ('CLOSER', 'MANUAL')),
    service_id text COLLATE "C" NOT NULL,
    payment_plan_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C",
    status text NOT NULL CHECK (status IN ('DRAFT', 'OPEN', 'PAID', 'VOID', 'EXPIRED')),
    amount numeric(38, 6) NOT NULL CHECK (amount <> 'NaN'),
    currency text NOT NULL,
    period_start timestamptz,
    period_end timestamptz,
    sequence integer CHECK (sequence >= 0),
    digest text,
    log_partition integer,
    first_offset bigint,
    last_offset bigint,
    due_at timestamptz,
    paid_at timestamptz,
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (period_start < period_end),
    CHECK ((source = 'CLOSER') = (sequence IS NOT NULL)),
    CHECK (
        source <> 'CLOSER'
        OR num_nulls(subscription_id, period_start, period_end, sequence, digest, log_partition) = 0
    )
);

CREATE UNIQUE INDEX invoices_closed_once ON invoices (subscription_id, period_start, sequence)
    WHERE source = 'CLOSER';
CREATE INDEX invoices_list ON invoices (created_at, id);
CREATE INDEX invoices_by_subscription ON invoices (subscription_id, created_at, id);
CREATE INDEX invoices_by_service ON invoices (service_id, created_at, id);
CREATE INDEX invoices_by_user ON invoices (user_id, created_at, id);
CREATE INDEX invoices_by_status ON invoices (status, created_at, id);

CREATE TABLE invoice_lines (
    invoice_id text COLLATE "C" NOT NULL REFERENCES invoices,
    meter text COLLATE "C" NOT NULL,
    quantity numeric(38, 6) NOT NULL CHECK (quantity <> 'NaN'),
    unit_price numeric(38, 12) NOT NULL CHECK (unit_price <> 'NaN'),
    amount numeric(38, 6) NOT NULL CHECK (amount <> 'NaN'),
    event_count bigint NOT NULL,
    PRIMARY KEY (invoice_id, meter)
);

-- Who may write: the holder of the epoch. Each taking over raises it, and what still runs under an older epoch writes
-- nothing more.
CREATE TABLE closer_lease (
    name text PRIMARY KEY,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    renewed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- How far a consumer has written a topic's partition to this database, moved in the transaction of the work itself.
CREATE TABLE stream_offsets (
    consumer text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (consumer, topic, partition)
);

-- Closed periods that the closer could not turn into an invoice, by the offset of their record in `closed-periods`: a
-- record that can't be read, a period some of whose parts are missing, one whose invoice exists with another digest, or
-- one that this database refused. A record that can't be read names no period.
CREATE TABLE held_periods (
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL,
    reason text NOT NULL CHECK (reason IN ('UNREADABLE', 'INCOMPLETE', 'DIVERGED', 'REFUSED')),
    detail text NOT NULL,
    subscription_id text COLLATE "C",
    period_start timestamptz,
    sequence integer,
    held_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log_partition, log_offset)
);

CREATE INDEX held_periods_by_subscription ON held_periods (subscription_id, period_start, sequence);

-- A written invoice never changes: the closer adds rows, and no process can touch what an invoice is for.
GRANT SELECT, INSERT ON invoices, invoice_lines, held_periods TO tally_closer;
GRANT SELECT, INSERT, UPDATE ON closer_lease, stream_offsets TO tally_closer;
GRANT SELECT, INSERT, UPDATE ON stream_offsets TO tally_projector;
GRANT SELECT ON invoices, invoice_lines, closer_lease, stream_offsets, held_periods TO tally_gateway;
GRANT INSERT ON invoices TO tally_gateway;
GRANT UPDATE (status, amount, period_start, period_end, due_at, paid_at, version, updated_at)
    ON invoices TO tally_gateway;
