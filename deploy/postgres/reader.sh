# Run by the postgres image when it makes its cluster: the login of Grafana. It reads what `tally migrate` lets
# tally_reader read.
psql --quiet --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --set=password="$READER_PASSWORD" <<'SQL'
CREATE ROLE tally_reader NOLOGIN;
CREATE ROLE reader LOGIN PASSWORD :'password' IN ROLE tally_reader;
ALTER ROLE reader SET default_transaction_read_only = on;
SQL
