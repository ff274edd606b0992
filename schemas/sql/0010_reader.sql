-- The role of dashboards and of people who look: it reads what is published (contract section 4) and nothing else, no
-- API keys above all. No process of Tally takes it; a login is made a member of it.

DO $$
DECLARE
    membership text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tally_reader') THEN
            CREATE ROLE tally_reader NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- as in 0001: another database of this server was migrated at the same moment
    END;
    IF NOT pg_has_role(current_user, 'tally_reader', membership) THEN
        GRANT tally_reader TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tally_reader', current_schema());
END
$$;

GRANT SELECT ON invoices, invoice_lines, usage_totals, usage_events, rejected_usage_events, billing_periods, ledger
    TO tally_reader;
