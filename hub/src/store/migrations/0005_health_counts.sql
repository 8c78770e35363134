-- How many objects are what, of those that are not Current: {"InProgress": 3, "Failed": 1}.
ALTER TABLE target_states ADD COLUMN health_counts jsonb NOT NULL DEFAULT '{}';
ALTER TABLE bundle_states ADD COLUMN health_counts jsonb NOT NULL DEFAULT '{}';
