-- A line whose units do not all cost the same, as in tiers, has no unit price.
ALTER TABLE invoice_lines ALTER COLUMN unit_price DROP NOT NULL;
