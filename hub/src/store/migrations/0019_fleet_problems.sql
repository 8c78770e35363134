-- What few targets have is looked for each time that a fleet is shown.
CREATE INDEX targets_problems ON targets (fleet, cluster) WHERE tombstone IS NULL AND problems <> '[]';
CREATE INDEX targets_behind ON targets (fleet, cluster) WHERE tombstone IS NULL AND held_generation IS NOT NULL;
