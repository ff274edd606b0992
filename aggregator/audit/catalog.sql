-- name: table
CREATE TABLE entry (
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (key, version)
) WITHOUT ROWID

-- name: keep
-- The first record of a version tells when it came to hold; one that was published again changes nothing.
INSERT OR IGNORE INTO entry (key, version, at, value) VALUES (?, ?, ?, ?)

-- name: versions
SELECT version, at, value FROM entry WHERE key = ? ORDER BY version
