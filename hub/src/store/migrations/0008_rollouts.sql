-- What targets were made of, by targetDigest: history and rollbacks need neither Git nor a renderer. Bodies named here are kept.
CREATE TABLE target_specs (
  digest     text PRIMARY KEY,
  -- TargetBundle[] of hub/src/domain/target.ts, as in targets.bundles.
  bundles    jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- What a revision that is being rolled out came to for each cluster, before it is released there.
CREATE TABLE placements (
  fleet     text NOT NULL,
  revision  text NOT NULL,
  cluster   text NOT NULL,
  spec      text NOT NULL,
  problems  jsonb NOT NULL DEFAULT '[]',
  placed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (fleet, revision, cluster)
);
CREATE INDEX placements_spec ON placements (spec);

-- Every release of a target to a cluster, kept as history (releasesKeptMs): what ran where and when.
CREATE TABLE releases (
  fleet       text NOT NULL,
  cluster     text NOT NULL,
  generation  bigint NOT NULL,
  revision    text NOT NULL,
  spec        text NOT NULL,
  released_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When the cluster was first healthy and in sync with it; null until then.
  healthy_at  timestamptz,
  -- The rollout that released it; null for a placement that changed without one.
  rollout     bigint,
  -- 'rollout', 'rollback', 'placement', 'pin', 'joined'
  cause       text NOT NULL,
  PRIMARY KEY (fleet, cluster, generation)
);
CREATE INDEX releases_cluster ON releases (cluster, released_at DESC);
CREATE INDEX releases_spec ON releases (spec);

-- One row per revision that goes, went, or waits to go through a fleet's waves. No foreign key: history outlives the fleet's row.
CREATE TABLE rollouts (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  fleet          text NOT NULL,
  revision       text NOT NULL,
  -- What the fleet had before: the newest revision that was rolled out whole; null for the first.
  from_revision  text,
  -- RolloutSpec of hub/src/domain/fleet-spec.ts, as the revision says it.
  plan           jsonb NOT NULL,
  -- RolloutPhase of hub/src/domain/rollout.ts. At most one of a fleet is open (queued ones aside).
  phase          text NOT NULL CHECK (phase IN ('Queued', 'Running', 'RollingBack', 'Done', 'RolledBack', 'Failed', 'Aborted', 'Superseded', 'Skipped')),
  -- Index of the wave that was reached.
  wave           integer NOT NULL DEFAULT 0,
  started_at     timestamptz NOT NULL DEFAULT now(),
  ended_at       timestamptz,
  -- {by, reason, at} while a person keeps it.
  paused         jsonb,
  -- What it waits for, or how it ended, in a sentence; and until when, where that is known.
  reason         text NOT NULL DEFAULT '',
  until          timestamptz,
  -- Which cluster failed first and why, when it failed: {cluster, object, message, at}.
  failure        jsonb,
  -- [{wave, by, reason, at}]
  approvals      jsonb NOT NULL DEFAULT '[]',
  -- [{wave, name, kind, verdict, message, at, until}] (GateState of hub/src/domain/rollout.ts)
  gates          jsonb NOT NULL DEFAULT '[]',
  traceparent    text,
  version        bigint NOT NULL DEFAULT nextval('change_version')
);
CREATE UNIQUE INDEX rollouts_open ON rollouts (fleet) WHERE phase IN ('Running', 'RollingBack');
CREATE INDEX rollouts_fleet ON rollouts (fleet, id DESC);

-- Clusters of a rollout, from when they were first counted in it.
CREATE TABLE rollout_clusters (
  rollout       bigint NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
  cluster       text NOT NULL,
  wave          integer NOT NULL,
  -- ClusterMark of hub/src/domain/rollout.ts.
  mark          text NOT NULL CHECK (mark IN ('Waiting', 'Updating', 'Healthy', 'Failed', 'Skipped', 'RolledBack', 'Kept')),
  -- Since when the mark holds.
  since         timestamptz NOT NULL DEFAULT now(),
  released_at   timestamptz,
  generation    bigint,
  why           text NOT NULL DEFAULT '',
  PRIMARY KEY (rollout, cluster)
);

-- Every decision, with its reason; bounded per rollout.
CREATE TABLE rollout_decisions (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rollout  bigint NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
  at       timestamptz NOT NULL DEFAULT now(),
  -- 'start', 'release', 'hold', 'rollback', 'fail', 'done', 'pause', 'resume', 'approve', 'abort', 'restart', 'supersede', 'gate'
  kind     text NOT NULL,
  wave     integer,
  clusters integer NOT NULL DEFAULT 0,
  reason   text NOT NULL DEFAULT '',
  -- Who, where a person did it.
  by       text NOT NULL DEFAULT ''
);
CREATE INDEX rollout_decisions_rollout ON rollout_decisions (rollout, id DESC);

-- A fleet (cluster '') or one cluster of it that is kept at a revision until somebody lets it go. By name: it outlives the fleet's row.
CREATE TABLE pins (
  fleet    text NOT NULL,
  cluster  text NOT NULL DEFAULT '',
  revision text NOT NULL,
  by       text NOT NULL,
  reason   text NOT NULL DEFAULT '',
  at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (fleet, cluster)
);

-- No new revision is released while one counts: of a fleet, or (fleet '') of all.
CREATE TABLE holds (
  fleet  text PRIMARY KEY,
  by     text NOT NULL,
  reason text NOT NULL DEFAULT '',
  at     timestamptz NOT NULL DEFAULT now(),
  -- null: until somebody ends it.
  until  timestamptz
);

-- The newest revision that went through the whole fleet: what a cluster gets whose wave has not been reached.
ALTER TABLE fleets ADD COLUMN settled_revision text;
UPDATE fleets SET settled_revision = revision;
INSERT INTO target_specs (digest, bundles) SELECT DISTINCT ON (digest) digest, bundles FROM targets WHERE tombstone IS NULL ON CONFLICT DO NOTHING;
INSERT INTO releases (fleet, cluster, generation, revision, spec, released_at, cause) SELECT fleet, cluster, generation, revision, digest, released_at, 'placement' FROM targets WHERE tombstone IS NULL;
