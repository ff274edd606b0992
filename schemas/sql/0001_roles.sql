-- What each process may do is the database's to hold, not the program's: every process connects as the owner and then
-- takes one of these roles (SET ROLE). None of them can log in by itself.

DO $$
DECLARE
    process_role text;
    membership text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH process_role IN ARRAY ARRAY['tally_closer', 'tally_projector', 'tally_gateway'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = process_role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', process_role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- roles belong to the whole server: another database of it was migrated at the same moment
        END;
        IF NOT pg_has_role(current_user, process_role, membership) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', process_role);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), process_role);
    END LOOP;
END
$$;
