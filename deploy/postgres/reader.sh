# Run by the postgres image when it makes its cluster: the role that dashboards read as. It can change nothing.
psql --quiet --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --set=password="$READER_PASSWORD" <<'SQL'
CREATE ROLE reader LOGIN PASSWORD :'password' IN ROLE pg_read_all_data;
ALTER ROLE reader SET default_transaction_read_only = on;
SQL
