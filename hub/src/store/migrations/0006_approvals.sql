-- What keeps an object that is no longer in Git: 'held' (waits for an approval), 'waits' (for something else), 'terminating'; '' for all others.
ALTER TABLE object_states ADD COLUMN prune text NOT NULL DEFAULT '';
CREATE INDEX object_states_held ON object_states (fleet, cluster) WHERE prune = 'held';

-- The approval that goes with the target: {revision, digest, approvedBy, approvedAt}. Another revision takes it away.
ALTER TABLE targets ADD COLUMN prune_approval jsonb;

-- A person's word that lets a held list go. 'prune': objects of one cluster, the agent holds them; 'removal': clusters of a fleet, the hub holds them.
CREATE TABLE approvals (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind        text NOT NULL CHECK (kind IN ('prune', 'removal')),
  fleet       text NOT NULL,
  cluster     text NOT NULL DEFAULT '',
  revision    text NOT NULL,
  -- SHA-256 over the sorted list, and the list as the person saw it.
  digest      text NOT NULL,
  subjects    text[] NOT NULL,
  -- Of the target that carries it, for prunes.
  generation  bigint,
  actor       text NOT NULL,
  actor_name  text NOT NULL,
  reason      text NOT NULL DEFAULT '',
  approved_at timestamptz NOT NULL DEFAULT now(),
  -- Null while nothing came of it.
  outcome     text CHECK (outcome IN ('used', 'void')),
  why         text NOT NULL DEFAULT '',
  settled_at  timestamptz
);
CREATE INDEX approvals_fleet ON approvals (fleet, id);
CREATE INDEX approvals_open ON approvals (fleet, cluster) WHERE outcome IS DISTINCT FROM 'used';
