-- name: table
CREATE TABLE entry (
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (key, version)
) WITHOUT ROWID

-- name: keep
-- The first record of a version tells when it came to hold. One that was published again changes nothing, unless it has
-- all times of its own (?5): compaction may have left a later record to be the first.
INSERT INTO entry (key, version, at, value) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key, version) DO UPDATE SET value = excluded.value WHERE ?5

-- name: versions
SELECT version, at, value FROM entry WHERE key = ? ORDER BY version
