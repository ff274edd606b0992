-- Webhooks: what is to be posted to the receiver that the insights know, and what became of it.

DO $$
DECLARE
    membership text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tally_insights') THEN
            CREATE ROLE tally_insights NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- as in 0001: another database of this server was migrated at the same moment
    END;
    IF NOT pg_has_role(current_user, 'tally_insights', membership) THEN
        GRANT tally_insights TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tally_insights', current_schema());
END
$$;

-- One row while webhooks are on: else nothing is written to be delivered.
CREATE TABLE webhook_receiver (
    name text PRIMARY KEY CHECK (name = 'webhooks'),
    since timestamptz NOT NULL DEFAULT now()
);

-- `id` is the webhook-id, the same at each attempt; random, so that a database restored from a backup never gives it
-- to another. `invoice_id` of an invoice, whose content is read when it is sent; `data` of anything else.
-- `next_attempt_at` is also how long an attempt under way has this row for itself.
CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type text NOT NULL,
    invoice_id text COLLATE "C",
    data jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    parked_at timestamptz,
    last_error text,
    CHECK (num_nulls(invoice_id, data) = 1),
    CHECK (num_nulls(delivered_at, parked_at) >= 1)
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at)
    WHERE delivered_at IS NULL AND parked_at IS NULL;
CREATE INDEX webhook_deliveries_parked ON webhook_deliveries (parked_at) WHERE parked_at IS NOT NULL;
CREATE INDEX webhook_deliveries_delivered ON webhook_deliveries (delivered_at) WHERE delivered_at IS NOT NULL;

-- Whoever issues an invoice, the closer or a caller through the gateway, has the delivery in the same transaction: none
-- can be forgotten, and none is for an invoice that there isn't. Once a statement, so that the closer pays for one
-- insert a batch.
CREATE FUNCTION webhook_of_new_invoices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_receiver) THEN
        INSERT INTO webhook_deliveries (type, invoice_id)
        SELECT 'invoice.issued', id FROM new_invoices WHERE status = 'OPEN';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER webhook_of_new_invoices AFTER INSERT ON invoices
    REFERENCING NEW TABLE AS new_invoices
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_of_new_invoices();

CREATE FUNCTION webhook_of_opened_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_receiver) THEN
        INSERT INTO webhook_deliveries (type, invoice_id) VALUES ('invoice.issued', NEW.id);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER webhook_of_opened_invoice AFTER UPDATE OF status ON invoices
    FOR EACH ROW WHEN (OLD.status = 'DRAFT' AND NEW.status = 'OPEN')
    EXECUTE FUNCTION webhook_of_opened_invoice();

GRANT SELECT ON webhook_receiver TO tally_closer;
GRANT SELECT ON webhook_receiver TO tally_gateway;
GRANT INSERT ON webhook_deliveries TO tally_closer;
GRANT INSERT ON webhook_deliveries TO tally_gateway;
GRANT SELECT, INSERT, DELETE ON webhook_receiver TO tally_insights;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO tally_insights;
GRANT SELECT ON invoices, invoice_lines TO tally_insights;
GRANT SELECT, INSERT, UPDATE ON stream_offsets TO tally_insights;
