-- What is known of one partition: its records with what the rules say of each, and the verdicts that its topics hold.
--
-- `place` is an event's place in usage-events and thereby its id: partition * 2^48 + offset. `expected` are the codes of
-- which any is right, each between blanks; nothing where the event counts. `raw` and `fields` are hashes of this
-- process, for comparing two rows and no more than two.

-- name: tables
CREATE TABLE judged (
    place INTEGER PRIMARY KEY,
    source INTEGER NOT NULL,  -- 0: usage-events, 1: usage-forwarded
    seen INTEGER NOT NULL,  -- offset there
    at INTEGER NOT NULL,  -- time of the request
    expected TEXT NOT NULL,
    either TEXT NOT NULL,  -- codes that are right as well
    raw INTEGER NOT NULL,
    key BLOB,  -- of here on only for events whose key decides
    content BLOB,
    fields INTEGER,
    total INTEGER,
    quantity TEXT,
    version_min INTEGER,
    version_max INTEGER
);
CREATE TABLE aborted (place INTEGER PRIMARY KEY);
CREATE TABLE sent (place INTEGER PRIMARY KEY, home INTEGER NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL);
CREATE TABLE arrived (seen INTEGER PRIMARY KEY, place INTEGER, at INTEGER, raw BLOB);
CREATE TABLE correction (
    seen INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    raw INTEGER NOT NULL,
    expected TEXT NOT NULL,
    place INTEGER,
    key BLOB
);
CREATE TABLE stray (seen INTEGER PRIMARY KEY, at INTEGER NOT NULL, raw INTEGER NOT NULL, expected TEXT NOT NULL);
CREATE TABLE accepted (
    place INTEGER PRIMARY KEY,
    seen INTEGER NOT NULL,
    appended_at INTEGER NOT NULL,
    fields INTEGER NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sequence INTEGER,
    times INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE voided (
    place INTEGER PRIMARY KEY,
    seen INTEGER NOT NULL,
    appended_at INTEGER NOT NULL,
    fields INTEGER NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sequence INTEGER,
    times INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE rejected (
    place INTEGER PRIMARY KEY,
    seen INTEGER NOT NULL,
    appended_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    raw INTEGER NOT NULL,
    at INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE rejected_arrival (
    place INTEGER PRIMARY KEY,  -- of rejected_arrival and rejected_correction: the offset in their source
    seen INTEGER NOT NULL,
    appended_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    raw INTEGER NOT NULL,
    at INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE rejected_correction (
    place INTEGER PRIMARY KEY,
    seen INTEGER NOT NULL,
    appended_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    raw INTEGER NOT NULL,
    at INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE copied_event (
    place INTEGER PRIMARY KEY,
    seen INTEGER NOT NULL,  -- of the last record of the event
    digest BLOB NOT NULL,
    sequence INTEGER,
    is_recorded INTEGER NOT NULL  -- whether the record of its acceptance is there
);
CREATE TABLE copied_rejection (id TEXT NOT NULL, seen INTEGER NOT NULL, digest BLOB NOT NULL);

-- name: put_judged
INSERT OR IGNORE INTO judged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_aborted
INSERT INTO aborted VALUES (?)

-- name: put_sent
INSERT INTO sent VALUES (?, ?, ?, ?)

-- name: put_arrived
INSERT INTO arrived VALUES (?, ?, ?, ?)

-- name: put_correction
INSERT INTO correction VALUES (?, ?, ?, ?, ?, ?)

-- name: put_stray
INSERT INTO stray VALUES (?, ?, ?, ?)

-- name: put_accepted
INSERT INTO accepted VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (place) DO UPDATE SET times = times + 1

-- name: put_voided
INSERT INTO voided VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (place) DO UPDATE SET times = times + 1

-- name: put_rejected
INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (place) DO UPDATE SET times = times + 1

-- name: put_rejected_arrival
INSERT INTO rejected_arrival VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (place) DO UPDATE SET times = times + 1

-- name: put_rejected_correction
INSERT INTO rejected_correction VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (place) DO UPDATE SET times = times + 1

-- name: put_copied_event
INSERT INTO copied_event VALUES (?, ?, ?, ?, ?) ON CONFLICT (place) DO UPDATE
SET seen = excluded.seen, digest = excluded.digest, sequence = coalesce(excluded.sequence, sequence),
    is_recorded = max(is_recorded, excluded.is_recorded)

-- name: put_copied_rejection
INSERT INTO copied_rejection VALUES (?, ?, ?)

-- name: copied_events
SELECT place, seen, digest, sequence, is_recorded FROM copied_event ORDER BY place

-- name: is_voided
SELECT EXISTS (SELECT 1 FROM voided WHERE place = ?)

-- name: tables_of_settling
CREATE TABLE settled (place INTEGER PRIMARY KEY, expected TEXT NOT NULL);
CREATE TABLE applied (place INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX judged_by_key ON judged (key) WHERE key IS NOT NULL

-- name: forgive
-- Where either answer is right, the one that was given is; one that is not there any more was a refusal. An event that
-- was refused so takes no key.
UPDATE judged SET expected = either, key = NULL
WHERE either <> '' AND (
    EXISTS (
        SELECT 1 FROM rejected WHERE rejected.place = judged.place AND instr(judged.either, ' ' || rejected.code || ' ')
    )
    OR at < ?
        AND place NOT IN (SELECT place FROM rejected)
        AND place NOT IN (SELECT place FROM accepted)
        AND place NOT IN (SELECT place FROM voided)
)

-- name: repeated_keys
SELECT key, place, source, expected, content,
    place IN (SELECT place FROM accepted) OR place IN (SELECT place FROM voided) AS counted
FROM judged
WHERE key IN (SELECT key FROM judged WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1)
ORDER BY key, source, seen

-- name: put_settled
INSERT INTO settled VALUES (?, ?)

-- name: expect_what_is_settled
UPDATE judged SET expected = (SELECT expected FROM settled WHERE settled.place = judged.place)
WHERE place IN (SELECT place FROM settled)

-- name: disagreeing
-- Records whose verdict is not exactly the expected one. A record of accepted-usage that was voided may be gone.
SELECT
    judged.place, judged.source, judged.seen, judged.at, judged.expected,
    coalesce(accepted.times, 0) AS accepted_times, accepted.seen AS accepted_seen,
    coalesce(voided.times, 0) AS voided_times, voided.seen AS voided_seen,
    coalesce(rejected.times, undecided.times, 0) AS rejected_times, coalesce(rejected.seen, undecided.seen) AS rejected_seen,
    coalesce(rejected.code, undecided.code) AS code,
    rejected.raw <> judged.raw OR rejected.at <> judged.at AS is_altered,
    judged.version_min, judged.version_max, accepted.version, voided.version AS voided_version
FROM judged
    LEFT JOIN accepted ON accepted.place = judged.place
    LEFT JOIN voided ON voided.place = judged.place
    LEFT JOIN rejected ON rejected.place = judged.place
    LEFT JOIN rejected_arrival AS undecided ON judged.source = 1 AND undecided.place = judged.seen
WHERE CASE
    WHEN judged.expected = '' THEN
        rejected.place IS NOT NULL OR undecided.place IS NOT NULL
        OR coalesce(accepted.times, 0) <> 1 AND NOT (accepted.times IS NULL AND coalesce(voided.times, 0) = 1)
        OR coalesce(voided.times, 0) > 1
        OR coalesce(accepted.fields, judged.fields) <> judged.fields
        OR coalesce(voided.fields, judged.fields) <> judged.fields
        OR NOT coalesce(accepted.version BETWEEN judged.version_min AND judged.version_max, TRUE)
        OR NOT coalesce(voided.version BETWEEN judged.version_min AND judged.version_max, TRUE)
    ELSE
        accepted.place IS NOT NULL OR voided.place IS NOT NULL
        OR coalesce(rejected.times, 0) + coalesce(undecided.times, 0) <> 1
        OR NOT instr(judged.expected, ' ' || coalesce(rejected.code, undecided.code) || ' ')
            AND coalesce(rejected.code, undecided.code) <> 'processing_failed'
        OR rejected.raw <> judged.raw OR rejected.at <> judged.at
    END
ORDER BY judged.place

-- name: without_record
-- Verdicts of events that are no records of this partition's, and what there is in their places.
SELECT topic, seen, place, place IN (SELECT place FROM aborted), place IN (SELECT place FROM sent) FROM (
    SELECT 'accepted-usage' AS topic, seen, place FROM accepted
    UNION ALL SELECT 'accepted-usage', seen, place FROM voided
    UNION ALL SELECT 'rejected-usage', seen, place FROM rejected
)
WHERE place NOT IN (SELECT place FROM judged)
ORDER BY topic, seen

-- name: strays
-- Records of usage-forwarded that no worker wrote, and the verdicts of such.
SELECT stray.seen, stray.at, rejected_arrival.code, rejected_arrival.times,
    rejected_arrival.raw = stray.raw AND rejected_arrival.at = stray.at
FROM stray LEFT JOIN rejected_arrival ON rejected_arrival.place = stray.seen
ORDER BY stray.seen

-- name: arrivals_without_record
SELECT place, seen FROM rejected_arrival
WHERE place NOT IN (SELECT seen FROM stray) AND place NOT IN (SELECT seen FROM judged WHERE source = 1)

-- name: corrections
SELECT correction.seen, correction.at, correction.expected, correction.place,
    judged.expected = '' AND judged.key = correction.key AS is_of_counted,
    rejected.code, coalesce(rejected.times, 0),
    rejected.raw = correction.raw AND rejected.at = correction.at,
    coalesce(rejected.appended_at <= coalesce(accepted.appended_at, rejected.appended_at), FALSE) AS was_too_early
FROM correction
    LEFT JOIN judged ON judged.place = correction.place
    LEFT JOIN accepted ON accepted.place = correction.place
    LEFT JOIN rejected_correction AS rejected ON rejected.place = correction.seen
ORDER BY correction.seen

-- name: put_applied
INSERT INTO applied VALUES (?, ?)

-- name: wrongly_voided
SELECT applied.place, applied.at, voided.updated_at, voided.seen
FROM applied LEFT JOIN voided ON voided.place = applied.place
WHERE applied.at IS NOT voided.updated_at
UNION ALL
SELECT voided.place, NULL, voided.updated_at, voided.seen
FROM voided WHERE place NOT IN (SELECT place FROM applied)

-- name: corrections_without_record
SELECT place, seen FROM rejected_correction WHERE place NOT IN (SELECT seen FROM correction)

-- name: beginning_of_rejected
SELECT appended_at FROM (
    SELECT seen, appended_at FROM rejected
    UNION ALL SELECT seen, appended_at FROM rejected_arrival
    UNION ALL SELECT seen, appended_at FROM rejected_correction
)
ORDER BY seen LIMIT 1

-- name: verdict_counts
-- What became of the records of each source: by their verdict, and where they have none, by the one they should have.
SELECT judged.source,
    CASE
        WHEN accepted.place IS NOT NULL OR voided.place IS NOT NULL THEN 'accepted'
        WHEN coalesce(rejected.code, undecided.code) = 'duplicate_event_key' THEN 'duplicate'
        WHEN coalesce(rejected.code, undecided.code) IS NOT NULL THEN 'rejected'
        WHEN judged.expected = '' THEN 'accepted'
        WHEN instr(judged.expected, ' duplicate_event_key ') THEN 'duplicate'
        ELSE 'rejected'
    END AS verdict,
    count(*)
FROM judged
    LEFT JOIN accepted ON accepted.place = judged.place
    LEFT JOIN voided ON voided.place = judged.place
    LEFT JOIN rejected ON rejected.place = judged.place
    LEFT JOIN rejected_arrival AS undecided ON judged.source = 1 AND undecided.place = judged.seen
GROUP BY 1, 2

-- name: row_counts
SELECT (SELECT count(*) FROM sent), (SELECT count(*) FROM stray), (SELECT count(*) FROM judged),
    (SELECT count(*) FROM correction), (SELECT count(*) FROM aborted)

-- name: counted
-- The events that count, when those were voided that were, and which sequences their records say charged them.
SELECT judged.total, judged.quantity, judged.source, judged.seen, judged.at, applied.at,
    judged.place, accepted.sequence, voided.sequence
FROM judged
    LEFT JOIN applied ON applied.place = judged.place
    LEFT JOIN accepted ON accepted.place = judged.place
    LEFT JOIN voided ON voided.place = judged.place
WHERE judged.expected = ''

-- name: keep_forwarded
CREATE TABLE sent AS SELECT * FROM partition.sent;
CREATE TABLE arrived AS SELECT * FROM partition.arrived;
CREATE TABLE copied_rejection AS SELECT * FROM partition.copied_rejection

-- name: total_of
SELECT total FROM judged WHERE place = ? AND total IS NOT NULL
