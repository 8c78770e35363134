-- What a drift was first, who wrote meanwhile, what Git said, how it ended.
ALTER TABLE drifts
  ADD COLUMN first_fields jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN managers     jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN revision     text NOT NULL DEFAULT '',
  ADD COLUMN healed_by    text CHECK (healed_by IN ('agent', 'itself', 'accepted', 'target', 'gone'));

-- Fields tell more than they did: those that are kept get the new members, empty.
CREATE FUNCTION pg_temp.with_members(fields jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
  SELECT COALESCE(jsonb_agg('{"operation": "", "subresource": "", "changedAt": null, "members": []}'::jsonb || field), '[]') FROM jsonb_array_elements(fields) AS field
$$;
UPDATE drifts SET
  fields = pg_temp.with_members(fields),
  first_fields = pg_temp.with_members(fields),
  managers = (SELECT COALESCE(jsonb_agg(DISTINCT field -> 'manager'), '[]') FROM jsonb_array_elements(fields) AS field WHERE field ->> 'manager' <> '');
UPDATE object_states SET drift = pg_temp.with_members(drift) WHERE drift <> '[]';

-- `fleet drift list` reads the newest of a fleet; upkeep the oldest of the healed ones.
CREATE INDEX drifts_of_fleet ON drifts (fleet, id DESC);
CREATE INDEX drifts_healed ON drifts (healed_at) WHERE healed_at IS NOT NULL;
