-- How far the topic `catalog` is followed by those who publish it: up to here each record has given its version the time
-- of its first publication. The row is locked by the gateway whose turn it is to publish.
CREATE TABLE catalog_topic (
    name text PRIMARY KEY,
    next_offset bigint NOT NULL CHECK (next_offset >= 0)
);

GRANT SELECT, INSERT, UPDATE ON catalog_topic TO tally_gateway;
