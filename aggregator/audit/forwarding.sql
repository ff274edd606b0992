-- name: tables
CREATE TABLE sent (place INTEGER PRIMARY KEY, home INTEGER NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL);
CREATE TABLE arrived (place INTEGER NOT NULL, partition INTEGER NOT NULL, seen INTEGER NOT NULL, at INTEGER, raw BLOB);
CREATE TABLE position (partition INTEGER PRIMARY KEY, decided_to INTEGER NOT NULL)

-- name: gather_sent
INSERT INTO sent SELECT place, home, at, raw FROM one.sent

-- name: gather_arrived
INSERT INTO arrived SELECT place, ?, seen, at, raw FROM one.arrived

-- name: put_position
-- Places of a partition up to its position: what it decided, and so what it sent.
INSERT INTO position VALUES (?, ?)

-- name: indexes
CREATE INDEX arrived_by_place ON arrived (place)

-- name: sent_count
SELECT count(*) FROM sent

-- name: lost
SELECT place, home FROM sent WHERE place NOT IN (SELECT place FROM arrived) ORDER BY place

-- name: repeated
SELECT place, min(partition), count(*) FROM arrived GROUP BY place HAVING count(*) > 1 ORDER BY place

-- name: different
-- What arrived of a partition that this audit looks at, and was not sent so. Beyond the positions nothing is known yet.
SELECT arrived.place, arrived.partition, arrived.seen, sent.place IS NOT NULL, sent.home,
    arrived.raw = sent.raw AND arrived.at = sent.at
FROM arrived
    LEFT JOIN sent ON sent.place = arrived.place
    LEFT JOIN position ON position.partition = arrived.place >> 48
WHERE (position.decided_to IS NULL OR arrived.place < position.decided_to)
    AND (sent.place IS NULL OR sent.home <> arrived.partition OR arrived.raw <> sent.raw OR arrived.at <> sent.at)
ORDER BY arrived.partition, arrived.seen
