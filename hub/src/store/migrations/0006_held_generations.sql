-- What the agent holds, while that is newer than this row: the database went back to an older state. The next release whose content Git was
-- just asked for goes above it; until then nothing is sent.
ALTER TABLE targets ADD COLUMN held_generation bigint;
