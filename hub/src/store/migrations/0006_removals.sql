-- A cluster that the fleet no longer selects keeps its target: since when, and until when (null: until a person has spoken).
ALTER TABLE targets ADD COLUMN leaving_since timestamptz;
ALTER TABLE targets ADD COLUMN leaves_at timestamptz;
-- Set with a tombstone that the end of a grace made: these count against how many may leave without a person.
ALTER TABLE targets ADD COLUMN left_at timestamptz;
CREATE INDEX targets_leaving ON targets (fleet, leaves_at) WHERE leaving_since IS NOT NULL;
CREATE INDEX targets_left ON targets (fleet, left_at) WHERE left_at IS NOT NULL;
-- Clusters that leave and wait for a person (HeldRemoval of hub/src/domain/plan-removals.ts).
ALTER TABLE fleets ADD COLUMN removal_held jsonb;
