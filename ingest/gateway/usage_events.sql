-- name: usage_events_of_ids
SELECT * FROM usage_events WHERE id = ANY ($1);
