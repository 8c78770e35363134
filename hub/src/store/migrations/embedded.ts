// Written by hub/src/store/write-migrations.ts from the SQL files of this folder; a test holds them equal.
export const migrations: readonly { readonly name: string; readonly sql: string }[] = [
  { name: "0001_init", sql: `-- Sealed columns (bytea named sealed_*) hold AES-256-GCM under the hub's key: nonce, tag, ciphertext.

-- One row: what all replicas of one hub share.
CREATE TABLE hub_identity (
  only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  id           uuid NOT NULL DEFAULT gen_random_uuid(),
  -- A known text sealed with the key: a replica started with another key is told so at once.
  sealed_check bytea NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now()
);

-- Secrets of the hub itself: CA key, NATS operator and account seeds, webhook secrets.
CREATE TABLE hub_secrets (
  name         text PRIMARY KEY,
  sealed_value bytea NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_tokens (
  id           text PRIMARY KEY,
  hash         text NOT NULL UNIQUE,
  description  text NOT NULL DEFAULT '',
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  last_used_at timestamptz
);

-- What must be single (following a repository, the intake) holds a lease; fence grows with every change of holder and
-- is checked in every write made under it.
CREATE TABLE leases (
  name   text PRIMARY KEY,
  holder text NOT NULL,
  fence  bigint NOT NULL,
  until  timestamptz NOT NULL
);

CREATE TABLE repositories (
  id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Normalised URL without credentials: one bare clone per row, whatever the number of fleets.
  url                text NOT NULL UNIQUE,
  -- JSON {username, password} or {sshPrivateKey, knownHosts}.
  sealed_credentials bytea,
  sealed_webhook_secret bytea,
  poll_interval_ms   integer NOT NULL DEFAULT 5000,
  last_fetch_at      timestamptz,
  -- Last fetch that worked.
  fetched_at         timestamptz,
  -- Message for people; null when the last fetch worked.
  error              text,
  failures           integer NOT NULL DEFAULT 0,
  -- Set by webhooks and \`fleet sync\`; the follower clears it. W3C trace context of who asked.
  wanted_at          timestamptz,
  wanted_traceparent text
);
CREATE INDEX repositories_wanted ON repositories (wanted_at) WHERE wanted_at IS NOT NULL;

CREATE TABLE fleets (
  name            text PRIMARY KEY,
  repository_id   bigint NOT NULL REFERENCES repositories (id),
  -- One of {branch}, {tag}, {commit}, {semver}.
  ref             jsonb NOT NULL,
  path            text NOT NULL DEFAULT '',
  -- Clusters when the repository has no fleet.yaml: a label selector; null selects none.
  selector        jsonb,
  created_at      timestamptz NOT NULL DEFAULT now(),
  -- The revision that targets are made of: the last good one. Null until the first.
  revision        text,
  -- The newest revision seen, good or bad.
  seen_revision   text,
  seen_at         timestamptz,
  -- Why the newest revision or the repository is not followed; [{code, message, file, line, column, hint}], empty when all is well.
  problems        jsonb NOT NULL DEFAULT '[]',
  warnings        jsonb NOT NULL DEFAULT '[]',
  -- Set by \`fleet delete\`: the removal policy; the row goes when no cluster holds it any more.
  deleting        text CHECK (deleting IN ('orphan', 'delete')),
  -- Grows with every write that readers should see.
  version         bigint NOT NULL DEFAULT 1
);
CREATE INDEX fleets_repository ON fleets (repository_id);

CREATE TABLE revisions (
  fleet        text NOT NULL REFERENCES fleets (name) ON DELETE CASCADE,
  revision     text NOT NULL,
  tree         text NOT NULL,
  author       text NOT NULL DEFAULT '',
  subject      text NOT NULL DEFAULT '',
  committed_at timestamptz,
  seen_at      timestamptz NOT NULL DEFAULT now(),
  -- 'rendered' (targets were made), 'failed' (problems say why), 'superseded' (a newer one came before it was rendered)
  outcome      text NOT NULL,
  problems     jsonb NOT NULL DEFAULT '[]',
  -- The parsed fleet.yaml (FleetSpec), and per bundle and input key which body it rendered to:
  -- [{bundle, inputs, digest, objectCount, bodyBytes}].
  spec         jsonb,
  rendered     jsonb NOT NULL DEFAULT '[]',
  trace_id     text,
  -- traceparent of the revision's root span, parent of everything that follows.
  traceparent  text,
  PRIMARY KEY (fleet, revision)
);
CREATE INDEX revisions_seen ON revisions (fleet, seen_at DESC);

-- Render results by content: key = SHA-256 over (subtree hash, everything else that goes in).
CREATE TABLE renders (
  key         text PRIMARY KEY,
  digest      text NOT NULL,
  warnings    jsonb NOT NULL DEFAULT '[]',
  rendered_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE bodies (
  digest       text PRIMARY KEY,
  object_count integer NOT NULL,
  -- Length of the compressed body before sealing.
  body_bytes   bigint NOT NULL,
  sealed_body  bytea NOT NULL,
  -- Object ids ("group/kind/namespace/name") for ownership checks and listing without opening the body.
  object_ids   text[] NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE bodies ALTER COLUMN sealed_body SET STORAGE EXTERNAL;

CREATE TABLE clusters (
  name               text PRIMARY KEY,
  labels             jsonb NOT NULL DEFAULT '{}',
  created_at         timestamptz NOT NULL DEFAULT now(),
  -- Set when an agent enrolled.
  enrolled_at        timestamptz,
  facts              jsonb NOT NULL DEFAULT '{}',
  agent_version      text,
  kubernetes_version text,
  -- The replica that holds the link, while one does.
  hub_id             text,
  -- Session number: grows with every Hello; writes of an older session change nothing.
  session            bigint NOT NULL DEFAULT 0,
  last_seen_at       timestamptz,
  -- After this everything about the cluster is Unknown.
  lease_until        timestamptz,
  -- The outbox being read, and how far it is committed.
  epoch              text,
  watermark          bigint NOT NULL DEFAULT 0,
  -- Set when the hub cannot follow on (gap, poison): the link asks for a snapshot and clears it.
  wants_snapshot     boolean NOT NULL DEFAULT false,
  -- Set when reports after the watermark were lost on the way: the link says Watermark.resend and clears it.
  wants_resend       boolean NOT NULL DEFAULT false,
  resend_asked_at    timestamptz,
  -- The snapshot that is coming in, while one is: how many of its parts are committed.
  snapshot_id        text,
  snapshot_parts     integer NOT NULL DEFAULT 0,
  snapshot_seen      integer NOT NULL DEFAULT 0,
  -- Sequence number of its first part.
  snapshot_from      bigint NOT NULL DEFAULT 0,
  removed_at         timestamptz,
  version            bigint NOT NULL DEFAULT 1
);

CREATE TABLE enrol_tokens (
  hash       text PRIMARY KEY,
  cluster    text NOT NULL REFERENCES clusters (name) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  used_at    timestamptz
);

CREATE TABLE certificates (
  serial     text PRIMARY KEY,
  cluster    text NOT NULL,
  spki_hash  text NOT NULL,
  issued_at  timestamptz NOT NULL DEFAULT now(),
  not_after  timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX certificates_cluster ON certificates (cluster);
CREATE INDEX certificates_revoked ON certificates (revoked_at) WHERE revoked_at IS NOT NULL;

-- What each cluster should run. The row stays after removal (tombstone), so that generations never come again.
CREATE TABLE targets (
  fleet       text NOT NULL,
  cluster     text NOT NULL,
  generation  bigint NOT NULL,
  revision    text NOT NULL,
  digest      text NOT NULL,
  -- [{name, digest, objectCount, bodyBytes, dependsOn, policy}] (TargetBundle of hub/src/domain/target.ts)
  bundles     jsonb NOT NULL,
  -- 'orphan' or 'delete' once the cluster left the fleet.
  tombstone   text CHECK (tombstone IN ('orphan', 'delete')),
  -- Problems of placement for this cluster: [{code, message, bundle, object}], e.g. an object that another fleet owns.
  problems    jsonb NOT NULL DEFAULT '[]',
  released_at timestamptz NOT NULL DEFAULT now(),
  traceparent text,
  -- Set when the agent said that nothing of the fleet is left, or that it holds none; only ever beside a tombstone.
  removed_at  timestamptz,
  PRIMARY KEY (fleet, cluster)
);
CREATE INDEX targets_cluster ON targets (cluster);

-- Which (fleet, bundle) owns an object in a cluster, when more than one claims it or not: the first keeps it.
CREATE TABLE claims (
  cluster   text NOT NULL,
  object_id text NOT NULL,
  fleet     text NOT NULL,
  bundle    text NOT NULL,
  PRIMARY KEY (cluster, object_id)
);
CREATE INDEX claims_owner ON claims (fleet, cluster);

-- Objects that a fleet wanted and another owns: what the owner is told. The claimant's side is in its target's problems.
CREATE TABLE contests (
  cluster        text NOT NULL,
  claimant_fleet text NOT NULL,
  owner_fleet    text NOT NULL,
  object_id      text NOT NULL,
  problem        jsonb NOT NULL,
  PRIMARY KEY (cluster, claimant_fleet, owner_fleet, object_id)
);
CREATE INDEX contests_owner ON contests (owner_fleet, cluster);

-- The fold of what agents reported.
CREATE TABLE target_states (
  fleet         text NOT NULL,
  cluster       text NOT NULL,
  generation    bigint NOT NULL,
  revision      text NOT NULL,
  target_digest text NOT NULL,
  sync          text NOT NULL,
  health        text NOT NULL,
  message       text NOT NULL DEFAULT '',
  objects       integer NOT NULL DEFAULT 0,
  healthy       integer NOT NULL DEFAULT 0,
  drifted       integer NOT NULL DEFAULT 0,
  failed        integer NOT NULL DEFAULT 0,
  prunes_held   integer NOT NULL DEFAULT 0,
  prunes_digest text NOT NULL DEFAULT '',
  -- Agent's clock when it recorded the report; hub's clock when it committed it.
  recorded_at   timestamptz NOT NULL,
  as_of         timestamptz NOT NULL,
  epoch         text NOT NULL,
  seq           bigint NOT NULL,
  version       bigint NOT NULL,
  PRIMARY KEY (fleet, cluster)
);
CREATE INDEX target_states_cluster ON target_states (cluster);

CREATE TABLE bundle_states (
  fleet   text NOT NULL,
  cluster text NOT NULL,
  bundle  text NOT NULL,
  digest  text NOT NULL,
  sync    text NOT NULL,
  health  text NOT NULL,
  message text NOT NULL DEFAULT '',
  objects integer NOT NULL DEFAULT 0,
  healthy integer NOT NULL DEFAULT 0,
  drifted integer NOT NULL DEFAULT 0,
  failed  integer NOT NULL DEFAULT 0,
  as_of   timestamptz NOT NULL,
  PRIMARY KEY (fleet, cluster, bundle)
);

CREATE TABLE object_states (
  fleet      text NOT NULL,
  cluster    text NOT NULL,
  -- "group/kind/namespace/name"
  object_id  text NOT NULL,
  api_group  text NOT NULL,
  version    text NOT NULL,
  kind       text NOT NULL,
  namespace  text NOT NULL,
  name       text NOT NULL,
  bundle     text NOT NULL,
  uid        text NOT NULL DEFAULT '',
  sync       text NOT NULL,
  health     text NOT NULL,
  message    text NOT NULL DEFAULT '',
  change     text NOT NULL DEFAULT '',
  -- [{path, desired, live, manager}]
  drift      jsonb NOT NULL DEFAULT '[]',
  as_of      timestamptz NOT NULL,
  -- Snapshot that named it last: when it is whole, rows without it go.
  snapshot_id text,
  PRIMARY KEY (fleet, cluster, object_id)
);
CREATE INDEX object_states_cluster ON object_states (cluster);
CREATE INDEX object_states_troubled ON object_states (fleet, cluster) WHERE sync <> 'Synced' OR health <> 'Current';

-- One row per drifted object and episode.
CREATE TABLE drifts (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  fleet         text NOT NULL,
  cluster       text NOT NULL,
  object_id     text NOT NULL,
  bundle        text NOT NULL,
  fields        jsonb NOT NULL,
  first_seen_at timestamptz NOT NULL,
  last_seen_at  timestamptz NOT NULL,
  times         integer NOT NULL DEFAULT 1,
  healed_at     timestamptz
);
CREATE UNIQUE INDEX drifts_open ON drifts (fleet, cluster, object_id) WHERE healed_at IS NULL;
CREATE INDEX drifts_recent ON drifts (last_seen_at DESC);
CREATE INDEX drifts_object ON drifts (cluster, fleet, object_id, last_seen_at DESC);

-- Partitioned by day; the store makes partitions ahead and drops old ones.
CREATE TABLE events (
  id        bigint GENERATED ALWAYS AS IDENTITY,
  at        timestamptz NOT NULL,
  fleet     text NOT NULL DEFAULT '',
  cluster   text NOT NULL DEFAULT '',
  bundle    text NOT NULL DEFAULT '',
  object_id text NOT NULL DEFAULT '',
  reason    text NOT NULL,
  severity  text NOT NULL,
  message   text NOT NULL,
  revision  text NOT NULL DEFAULT '',
  trace_id  text NOT NULL DEFAULT '',
  -- Hub's clock when it was committed; \`at\` is the clock of where it happened.
  committed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, committed_at)
) PARTITION BY RANGE (committed_at);
CREATE INDEX events_fleet ON events (fleet, id DESC);
CREATE INDEX events_cluster ON events (cluster, id DESC);
-- For days that have no partition of their own: a clock that jumped must not stop the intake.
CREATE TABLE events_other PARTITION OF events DEFAULT;

-- Writers of events take turns until their commit, so that ids become visible in order and a reader that resumes after an id misses none.
CREATE FUNCTION events_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7021960);
  RETURN NULL;
END $$;
CREATE TRIGGER events_in_order BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION events_in_order();

-- The hub's own record of a revision's trace: \`fleet trace\` reads it without a tracing backend.
CREATE TABLE phases (
  fleet      text NOT NULL,
  revision   text NOT NULL,
  -- Empty for what happens once per revision.
  cluster    text NOT NULL DEFAULT '',
  -- webhook, poll, fetch, render, place, release, send; receive, plan, apply, healthy
  phase      text NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at   timestamptz NOT NULL,
  error      text NOT NULL DEFAULT '',
  span_id    text NOT NULL DEFAULT '',
  PRIMARY KEY (fleet, revision, cluster, phase)
);

CREATE TABLE commands (
  id         text PRIMARY KEY,
  cluster    text NOT NULL,
  kind       text NOT NULL,
  fleet      text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  sent_at    timestamptz,
  acked_at   timestamptz,
  error      text
);
CREATE INDEX commands_pending ON commands (cluster) WHERE acked_at IS NULL;

-- Reports that could not be read or folded, kept for people; bounded by the store.
CREATE TABLE dead_letters (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cluster    text NOT NULL,
  subject    text NOT NULL,
  stream_seq bigint NOT NULL,
  reason     text NOT NULL,
  content    bytea NOT NULL,
  at         timestamptz NOT NULL DEFAULT now()
);

-- Where the intake stands in the broker's stream, in the same transaction as what it folded.
CREATE TABLE intake_position (
  only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  -- Creation time of the stream: another one means that the broker lost its store.
  stream_created text NOT NULL,
  stream_seq     bigint NOT NULL
);

-- What happened, for readers that watch: one sequence over all tables' version columns.
CREATE SEQUENCE change_version;

-- What readers see. A cluster whose lease ran out is Unknown here, so that it is so in every answer.
CREATE VIEW seen_clusters AS
SELECT c.*,
       CASE WHEN c.removed_at IS NOT NULL THEN 'Removed'
            WHEN c.enrolled_at IS NULL THEN 'Pending'
            WHEN c.lease_until > now() THEN 'Connected'
            ELSE 'Unknown' END AS phase
FROM clusters c;

-- One row per (fleet, cluster) that has, or still has to let go of, a target.
CREATE VIEW seen_targets AS
SELECT t.fleet, t.cluster, c.phase AS cluster_phase, t.generation, t.revision, t.released_at, t.tombstone,
       t.problems || COALESCE((SELECT jsonb_agg(x.problem ORDER BY x.object_id) FROM contests x
                               WHERE x.owner_fleet = t.fleet AND x.cluster = t.cluster AND x.claimant_fleet <> t.fleet), '[]') AS problems,
       s.generation AS running_generation, s.revision AS running_revision,
       CASE WHEN c.phase <> 'Connected' OR s.fleet IS NULL THEN 'Unknown'
            WHEN s.generation < t.generation OR t.tombstone IS NOT NULL THEN 'OutOfSync'
            ELSE s.sync END AS sync,
       -- Healthy with an older target says nothing about the wanted one.
       CASE WHEN c.phase <> 'Connected' OR s.fleet IS NULL THEN 'Unknown'
            WHEN s.generation < t.generation AND s.health = 'Current' THEN 'InProgress'
            ELSE s.health END AS health,
       COALESCE(s.message, '') AS message, COALESCE(s.objects, 0) AS objects, COALESCE(s.healthy, 0) AS healthy,
       COALESCE(s.drifted, 0) AS drifted, COALESCE(s.failed, 0) AS failed, COALESCE(s.prunes_held, 0) AS prunes_held,
       s.as_of
FROM targets t
JOIN seen_clusters c ON c.name = t.cluster AND c.phase <> 'Removed'
LEFT JOIN target_states s USING (fleet, cluster)
WHERE t.removed_at IS NULL;

CREATE VIEW seen_bundles AS
SELECT b.fleet, b.cluster, b.bundle, b.digest, b.message, b.objects, b.healthy, b.drifted, b.failed,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE b.sync END AS sync,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE b.health END AS health,
       -- A report speaks of everything in the fleet: what it does not name has not changed.
       s.as_of
FROM bundle_states b
JOIN seen_clusters c ON c.name = b.cluster AND c.phase <> 'Removed'
LEFT JOIN target_states s USING (fleet, cluster);

CREATE VIEW seen_objects AS
SELECT o.fleet, o.cluster, o.object_id, o.api_group, o.version, o.kind, o.namespace, o.name, o.bundle, o.uid, o.message, o.change, o.drift,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE o.sync END AS sync,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE o.health END AS health,
       COALESCE(s.as_of, o.as_of) AS as_of
FROM object_states o
JOIN seen_clusters c ON c.name = o.cluster AND c.phase <> 'Removed'
LEFT JOIN target_states s USING (fleet, cluster);

-- Worst first: how a fleet's or a cluster's health is rolled up.
CREATE FUNCTION health_rank(health text) RETURNS integer IMMUTABLE LANGUAGE sql AS
$$ SELECT CASE health WHEN 'Failed' THEN 0 WHEN 'NotFound' THEN 1 WHEN 'Unknown' THEN 2 WHEN 'Terminating' THEN 3 WHEN 'InProgress' THEN 4 ELSE 5 END $$;
` },
  { name: "0002_broker_users", sql: `-- Broker users that the hub signed: revoking a cluster must name their keys to the broker.
CREATE TABLE broker_users (
  public_key text PRIMARY KEY,
  cluster    text NOT NULL,
  issued_at  timestamptz NOT NULL DEFAULT now(),
  not_after  timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX broker_users_cluster ON broker_users (cluster);
CREATE INDEX broker_users_revoked ON broker_users (revoked_at) WHERE revoked_at IS NOT NULL;
` },
  { name: "0003_order", sql: `-- What a person has stopped: a fleet, a cluster, a bundle, or one in the other. '' stands for all.
CREATE TABLE suspensions (
  fleet   text NOT NULL,
  cluster text NOT NULL,
  bundle  text NOT NULL,
  reason  text NOT NULL,
  -- Token that asked, and its description for people.
  actor   text NOT NULL,
  by_name text NOT NULL,
  since   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (fleet, cluster, bundle),
  CHECK (fleet <> '' OR (cluster <> '' AND bundle = ''))
);

-- Sync windows that a person has opened until a time, in an emergency.
CREATE TABLE window_overrides (
  fleet   text NOT NULL CHECK (fleet <> ''),
  cluster text NOT NULL,
  bundle  text NOT NULL,
  reason  text NOT NULL,
  actor   text NOT NULL,
  by_name text NOT NULL,
  since   timestamptz NOT NULL DEFAULT now(),
  until   timestamptz NOT NULL,
  PRIMARY KEY (fleet, cluster, bundle)
);

-- A sync may be of one bundle, or of single objects; with force also what is unchanged.
ALTER TABLE commands ADD COLUMN bundle text NOT NULL DEFAULT '', ADD COLUMN objects text[] NOT NULL DEFAULT '{}', ADD COLUMN force boolean NOT NULL DEFAULT false;

-- The suspension of a whole (fleet, cluster), the widest first.
CREATE FUNCTION suspension_of(of_fleet text, of_cluster text, of_bundle text) RETURNS jsonb STABLE LANGUAGE sql AS $$
  SELECT jsonb_build_object('reason', s.reason, 'by', s.by_name, 'since', to_char(s.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                            'fleet', NULLIF(s.fleet, ''), 'cluster', NULLIF(s.cluster, ''), 'bundle', NULLIF(s.bundle, ''))
  FROM suspensions s
  WHERE s.fleet IN ('', of_fleet) AND s.cluster IN ('', of_cluster) AND s.bundle IN ('', of_bundle)
  ORDER BY s.bundle, s.cluster, s.fleet LIMIT 1
$$;
` },
  { name: "0004_drift", sql: `-- What a drift was first, who wrote meanwhile, what Git said, how it ended.
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

-- \`fleet drift list\` reads the newest of a fleet; upkeep the oldest of the healed ones.
CREATE INDEX drifts_of_fleet ON drifts (fleet, id DESC);
CREATE INDEX drifts_healed ON drifts (healed_at) WHERE healed_at IS NOT NULL;
` },
  { name: "0005_health_counts", sql: `-- How many objects are what, of those that are not Current: {"InProgress": 3, "Failed": 1}.
ALTER TABLE target_states ADD COLUMN health_counts jsonb NOT NULL DEFAULT '{}';
ALTER TABLE bundle_states ADD COLUMN health_counts jsonb NOT NULL DEFAULT '{}';
` },
  { name: "0006_approvals", sql: `-- What keeps an object that is no longer in Git: 'held' (waits for an approval), 'waits' (for something else), 'terminating'; '' for all others.
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
` },
  { name: "0006_audit_log", sql: `-- Every act of a person or token, written in the act's own transaction before it takes effect. Each row's hash covers the row and the hash
-- before it (proto/src/audit.ts): a row that is changed, taken out or put in breaks the chain from there on.
CREATE TABLE audit_log (
  seq        bigint PRIMARY KEY CHECK (seq > 0),
  -- Whole milliseconds: what is hashed must read back the same.
  at         timestamptz(3) NOT NULL,
  -- Token's id; 'hub' and 'enrolment' are no tokens of the API.
  actor      text NOT NULL,
  actor_name text NOT NULL,
  act        text NOT NULL,
  fleet      text NOT NULL,
  cluster    text NOT NULL,
  -- Canonical JSON, as text: what is hashed must read back the same.
  details    text NOT NULL,
  reason     text NOT NULL,
  source     text NOT NULL,
  outcome    text NOT NULL CHECK (outcome IN ('done', 'refused')),
  previous   text NOT NULL,
  hash       text NOT NULL UNIQUE
);
CREATE INDEX audit_log_fleet ON audit_log (fleet, seq) WHERE fleet <> '';
CREATE INDEX audit_log_cluster ON audit_log (cluster, seq) WHERE cluster <> '';

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
CREATE INDEX audit_log_actor ON audit_log (actor, seq);
` },
  { name: "0006_held_generations", sql: `-- What the agent holds, while that is newer than this row: the database went back to an older state. The next release whose content Git was
-- just asked for goes above it; until then nothing is sent.
ALTER TABLE targets ADD COLUMN held_generation bigint;
` },
  { name: "0006_removals", sql: `-- A cluster that the fleet no longer selects keeps its target: since when, and until when (null: until a person has spoken).
ALTER TABLE targets ADD COLUMN leaving_since timestamptz;
ALTER TABLE targets ADD COLUMN leaves_at timestamptz;
-- Set with a tombstone that the end of a grace made: these count against how many may leave without a person.
ALTER TABLE targets ADD COLUMN left_at timestamptz;
CREATE INDEX targets_leaving ON targets (fleet, leaves_at) WHERE leaving_since IS NOT NULL;
CREATE INDEX targets_left ON targets (fleet, left_at) WHERE left_at IS NOT NULL;
-- Clusters that leave and wait for a person (HeldRemoval of hub/src/domain/plan-removals.ts).
ALTER TABLE fleets ADD COLUMN removal_held jsonb;
` },
  { name: "0006_seen_behind", sql: `-- As before, and: what an agent runs is not what this database wants while the agent holds something newer.
CREATE OR REPLACE VIEW seen_targets AS
SELECT t.fleet, t.cluster, c.phase AS cluster_phase, t.generation, t.revision, t.released_at, t.tombstone,
       t.problems || COALESCE((SELECT jsonb_agg(x.problem ORDER BY x.object_id) FROM contests x
                               WHERE x.owner_fleet = t.fleet AND x.cluster = t.cluster AND x.claimant_fleet <> t.fleet), '[]') AS problems,
       s.generation AS running_generation, s.revision AS running_revision,
       CASE WHEN c.phase <> 'Connected' OR s.fleet IS NULL THEN 'Unknown'
            WHEN s.generation < t.generation OR t.tombstone IS NOT NULL OR t.held_generation IS NOT NULL THEN 'OutOfSync'
            ELSE s.sync END AS sync,
       -- Healthy with an older target says nothing about the wanted one.
       CASE WHEN c.phase <> 'Connected' OR s.fleet IS NULL THEN 'Unknown'
            WHEN s.generation < t.generation AND s.health = 'Current' THEN 'InProgress'
            ELSE s.health END AS health,
       COALESCE(s.message, '') AS message, COALESCE(s.objects, 0) AS objects, COALESCE(s.healthy, 0) AS healthy,
       COALESCE(s.drifted, 0) AS drifted, COALESCE(s.failed, 0) AS failed, COALESCE(s.prunes_held, 0) AS prunes_held,
       s.as_of
FROM targets t
JOIN seen_clusters c ON c.name = t.cluster AND c.phase <> 'Removed'
LEFT JOIN target_states s USING (fleet, cluster)
WHERE t.removed_at IS NULL;
` },
  { name: "0007_seen_tag", sql: `-- The tag that a semver range came to when the newest revision was seen: without it nobody could tell that the range went back.
ALTER TABLE fleets ADD COLUMN seen_tag text;
` },
  { name: "0008_rollouts", sql: `-- What targets were made of, by targetDigest: history and rollbacks need neither Git nor a renderer. Bodies named here are kept.
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
` },
  { name: "0009_gates", sql: `-- What a gate asks (GateQuestion of hub/src/domain/gates.ts); null for every other command.
ALTER TABLE commands ADD COLUMN question jsonb;

-- What clusters say of a rollout's gates: one row per gate and cluster that was asked last.
CREATE TABLE gate_answers (
  rollout     bigint NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
  wave        integer NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('metric', 'job')),
  gate        text NOT NULL,
  cluster     text NOT NULL,
  -- The command that asked.
  command     text NOT NULL,
  asked_at    timestamptz NOT NULL DEFAULT now(),
  -- null until the cluster has answered.
  verdict     text CHECK (verdict IN ('passed', 'failed', 'unknown')),
  message     text NOT NULL DEFAULT '',
  answered_at timestamptz,
  PRIMARY KEY (rollout, wave, kind, gate, cluster)
);
CREATE INDEX gate_answers_command ON gate_answers (command);
` },
  { name: "0010_previews", sql: `-- What somebody asked a change would do. Kept for a day (previewsKeptMs).
CREATE TABLE previews (
  id         text PRIMARY KEY,
  fleet      text NOT NULL,
  -- Who asked: the token's id.
  asked_by   text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Answers that come later do not count.
  until      timestamptz NOT NULL,
  ended_at   timestamptz,
  -- Preview of proto/src/rest/contract.ts, without id, fleet and times.
  found      jsonb NOT NULL
);
CREATE INDEX previews_created ON previews (created_at);

-- What clusters answer; gone when the preview has ended.
CREATE TABLE preview_answers (
  preview text NOT NULL REFERENCES previews (id) ON DELETE CASCADE,
  cluster text NOT NULL,
  command text NOT NULL,
  -- null until the cluster has answered: DryRunAnswer of hub/src/domain/preview.ts.
  answer  jsonb,
  PRIMARY KEY (preview, cluster)
);
CREATE INDEX preview_answers_command ON preview_answers (command);
` },
  { name: "0011_forges", sql: `-- Where a repository's pull requests and commit statuses are: one forge for each repository.
CREATE TABLE forges (
  repository_id bigint PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
  kind          text NOT NULL CHECK (kind IN ('github', 'gitlab', 'gitea')),
  api_url       text NOT NULL,
  -- owner/name
  project       text NOT NULL,
  sealed_token  bytea NOT NULL,
  -- Whether pull requests from other repositories are previewed.
  forks         boolean NOT NULL DEFAULT false,
  -- The last thing that it refused; null since the last that it took.
  error         text,
  error_at      timestamptz,
  set_at        timestamptz NOT NULL DEFAULT now()
);

-- Pull requests of which something was heard. \`heard\` counts what; it is looked at again while it is above \`done\`.
CREATE TABLE pull_requests (
  repository_id bigint NOT NULL REFERENCES forges (repository_id) ON DELETE CASCADE,
  number        integer NOT NULL,
  heard         bigint NOT NULL DEFAULT 1,
  done          bigint NOT NULL DEFAULT 0,
  heard_at      timestamptz NOT NULL DEFAULT now(),
  attempts      integer NOT NULL DEFAULT 0,
  next_at       timestamptz NOT NULL DEFAULT now(),
  error         text,
  PRIMARY KEY (repository_id, number)
);

-- What the preview of a pull request came to, for each fleet; the comment is written over the next time.
CREATE TABLE pull_request_checks (
  repository_id bigint NOT NULL,
  number        integer NOT NULL,
  fleet         text NOT NULL REFERENCES fleets (name) ON DELETE CASCADE,
  head          text NOT NULL,
  -- Null while it is being made.
  state         text CHECK (state IN ('success', 'failure', 'error')),
  headline      text NOT NULL DEFAULT '',
  preview       text,
  comment       text,
  at            timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (repository_id, number, fleet),
  FOREIGN KEY (repository_id, number) REFERENCES pull_requests (repository_id, number) ON DELETE CASCADE
);

-- What a commit's status is to say: the newest word only. It is sent while \`version\` is above \`sent\`.
CREATE TABLE commit_statuses (
  fleet         text NOT NULL REFERENCES fleets (name) ON DELETE CASCADE,
  sha           text NOT NULL,
  repository_id bigint NOT NULL REFERENCES forges (repository_id) ON DELETE CASCADE,
  state         text NOT NULL CHECK (state IN ('pending', 'success', 'failure', 'error')),
  description   text NOT NULL,
  version       bigint NOT NULL DEFAULT 1,
  sent          bigint NOT NULL DEFAULT 0,
  changed_at    timestamptz NOT NULL DEFAULT now(),
  attempts      integer NOT NULL DEFAULT 0,
  next_at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (fleet, sha)
);
CREATE INDEX commit_statuses_open ON commit_statuses (next_at) WHERE version > sent;

-- Who is told how rollouts end. '' is told of every fleet.
CREATE TABLE notify_hooks (
  fleet         text PRIMARY KEY,
  url           text NOT NULL,
  sealed_secret bytea NOT NULL,
  error         text,
  error_at      timestamptz,
  set_at        timestamptz NOT NULL DEFAULT now()
);

-- What they are to be told, at least once each.
CREATE TABLE notifications (
  id         text PRIMARY KEY,
  hook       text NOT NULL REFERENCES notify_hooks (fleet) ON DELETE CASCADE,
  -- A CloudEvent in its structured JSON form.
  body       jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  attempts   integer NOT NULL DEFAULT 0,
  next_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notifications_due ON notifications (next_at);
` },
  { name: "0012_token_rights", sql: `-- What whoever has a token may do: look; act; also make and revoke tokens. Tokens of before may do everything.
ALTER TABLE api_tokens ADD COLUMN access text NOT NULL DEFAULT 'admin' CHECK (access IN ('view', 'operate', 'admin'));
-- In whose name it approves rollouts; '*' is everybody's.
ALTER TABLE api_tokens ADD COLUMN roles text[] NOT NULL DEFAULT '{*}';
` },
  { name: "0013_lists", sql: `-- Lists of large fleets. The views say at their end what a list needs besides, so that nothing is joined twice, and what was told as it was told: an index knows nothing of
-- leases. \`phase <> 'Removed'\` is asked of the column, whose selectivity is known.
CREATE OR REPLACE VIEW seen_targets AS
SELECT t.fleet, t.cluster, c.phase AS cluster_phase, t.generation, t.revision, t.released_at, t.tombstone,
       t.problems || COALESCE((SELECT jsonb_agg(x.problem ORDER BY x.object_id) FROM contests x
                               WHERE x.owner_fleet = t.fleet AND x.cluster = t.cluster AND x.claimant_fleet <> t.fleet), '[]') AS problems,
       s.generation AS running_generation, s.revision AS running_revision,
       CASE WHEN c.phase <> 'Connected' OR s.fleet IS NULL THEN 'Unknown'
            WHEN s.generation < t.generation OR t.tombstone IS NOT NULL OR t.held_generation IS NOT NULL THEN 'OutOfSync'
            ELSE s.sync END AS sync,
       -- Healthy with an older target says nothing about the wanted one.
       CASE WHEN c.phase <> 'Connected' OR s.fleet IS NULL THEN 'Unknown'
            WHEN s.generation < t.generation AND s.health = 'Current' THEN 'InProgress'
            ELSE s.health END AS health,
       COALESCE(s.message, '') AS message, COALESCE(s.objects, 0) AS objects, COALESCE(s.healthy, 0) AS healthy,
       COALESCE(s.drifted, 0) AS drifted, COALESCE(s.failed, 0) AS failed, COALESCE(s.prunes_held, 0) AS prunes_held,
       s.as_of, s.health_counts, t.leaving_since, t.leaves_at, t.held_generation
FROM targets t
JOIN seen_clusters c ON c.name = t.cluster AND c.removed_at IS NULL
LEFT JOIN target_states s USING (fleet, cluster)
WHERE t.removed_at IS NULL;

CREATE OR REPLACE VIEW seen_bundles AS
SELECT b.fleet, b.cluster, b.bundle, b.digest, b.message, b.objects, b.healthy, b.drifted, b.failed,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE b.sync END AS sync,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE b.health END AS health,
       -- A report speaks of everything in the fleet: what it does not name has not changed.
       s.as_of, b.health_counts, b.sync AS told_sync, b.health AS told_health
FROM bundle_states b
JOIN seen_clusters c ON c.name = b.cluster AND c.removed_at IS NULL
LEFT JOIN target_states s USING (fleet, cluster);

CREATE OR REPLACE VIEW seen_objects AS
SELECT o.fleet, o.cluster, o.object_id, o.api_group, o.version, o.kind, o.namespace, o.name, o.bundle, o.uid, o.message, o.change, o.drift,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE o.sync END AS sync,
       CASE WHEN c.phase <> 'Connected' THEN 'Unknown' ELSE o.health END AS health,
       COALESCE(s.as_of, o.as_of) AS as_of, o.prune, o.sync AS told_sync, o.health AS told_health
FROM object_states o
JOIN seen_clusters c ON c.name = o.cluster AND c.removed_at IS NULL
LEFT JOIN target_states s USING (fleet, cluster);

-- The few bundles of a fleet that are not well, and all of a cluster that is silent.
CREATE INDEX bundle_states_troubled ON bundle_states (fleet, cluster, bundle) WHERE sync <> 'Synced' OR health <> 'Current';
CREATE INDEX bundle_states_cluster ON bundle_states (cluster);
CREATE INDEX object_states_name ON object_states (name);

-- What ran where at a time: the newest first, each with a look for a newer one.
CREATE INDEX releases_recent ON releases (fleet, released_at, cluster, generation);

-- Whoever asks for what happens rarely does not read through all that happens often.
CREATE INDEX events_rare ON events (reason, id DESC)
  WHERE reason <> 'Applied' AND reason <> 'DriftDetected' AND reason <> 'DriftHealed' AND reason <> 'HealthChanged' AND reason <> 'TookOver';
` },
  { name: "0014_claims_digest", sql: `-- What a target's claims come to, so that a release looks only at those of clusters whose objects changed. '' is unknown: they are looked at.
ALTER TABLE targets ADD COLUMN claims_digest text NOT NULL DEFAULT '';

-- Targets are sent from their specs from now on; what an upkeep dropped of targets that are older than the history of releases is there again.
INSERT INTO target_specs (digest, bundles) SELECT DISTINCT ON (digest) digest, bundles FROM targets WHERE tombstone IS NULL ON CONFLICT DO NOTHING;
` },
  { name: "0015_authorities", sql: `-- The hub's CAs. One signs; those beside it are trusted too, while one takes another's place.
CREATE TABLE authorities (
  hash         text PRIMARY KEY,
  -- Ages: the first was made first.
  number       bigint GENERATED ALWAYS AS IDENTITY,
  certificate  text NOT NULL,
  -- Null once it is retired.
  sealed_key   bytea,
  state        text NOT NULL CHECK (state IN ('staged', 'active', 'retiring', 'retired')),
  created_at   timestamptz NOT NULL DEFAULT now(),
  activated_at timestamptz,
  retired_at   timestamptz,
  CHECK ((state = 'retired') = (sealed_key IS NULL))
);
CREATE UNIQUE INDEX authorities_active ON authorities (state) WHERE state = 'active';
CREATE UNIQUE INDEX authorities_staged ON authorities (state) WHERE state = 'staged';

-- Which CA signed it; null: the first, by a hub that knew no other.
ALTER TABLE certificates ADD COLUMN authority text;
-- The certificate that the cluster's last stream came with: those before it are history.
ALTER TABLE clusters ADD COLUMN certificate text;
-- Hashes of the CAs that its agent has kept as trusted.
ALTER TABLE clusters ADD COLUMN trusted_authorities jsonb NOT NULL DEFAULT '[]';
` },
  { name: "0016_long_lists", sql: `-- Lists that name a bundle or an object of many clusters: found, and counted, in the index alone. A name by itself led to a page of the table for each of ten thousand.
CREATE INDEX bundle_states_bundle ON bundle_states (fleet, bundle, cluster);
DROP INDEX object_states_name;
CREATE INDEX object_states_name ON object_states (name, fleet, cluster);
` },
  { name: "0017_event_packs", sql: `-- Events of days that are over, packed: some hundreds in a row, in order of ids (store/event-pack.ts). A day is a partition here, too: it comes when the whole
-- day is packed, in the transaction that drops its partition of events, and goes by age.
CREATE TABLE event_packs (
  day      date NOT NULL,
  -- Of a day, in order; packs of a segment count from 0.
  segment  integer NOT NULL,
  pack     smallint NOT NULL,
  first_id bigint NOT NULL,
  last_id  bigint NOT NULL,
  body     bytea NOT NULL,
  PRIMARY KEY (day, segment, pack)
) PARTITION BY LIST (day);
-- It is compressed.
ALTER TABLE event_packs ALTER COLUMN body SET STORAGE EXTERNAL;

-- Where to look: which packs of a segment have events of a fleet, of a cluster or with a reason, and how many these are.
CREATE TABLE event_pack_keys (
  day      date NOT NULL,
  segment  integer NOT NULL,
  -- all (its value is empty), fleet, cluster, reason
  kind     text NOT NULL,
  value    text NOT NULL,
  -- Of the segment.
  first_id bigint NOT NULL,
  last_id  bigint NOT NULL,
  events   integer NOT NULL,
  -- A bit for each pack, the lowest of the first byte for pack 0.
  packs    bytea NOT NULL,
  PRIMARY KEY (kind, value, day, segment)
) PARTITION BY LIST (day);
` },
  { name: "0018_wishes", sql: `-- What the hub looks for every two seconds, in case no hint told of it.
CREATE INDEX clusters_wishes ON clusters (name) WHERE wants_snapshot OR wants_resend;
` },
  { name: "0019_fleet_problems", sql: `-- What few targets have is looked for each time that a fleet is shown.
CREATE INDEX targets_problems ON targets (fleet, cluster) WHERE tombstone IS NULL AND problems <> '[]';
CREATE INDEX targets_behind ON targets (fleet, cluster) WHERE tombstone IS NULL AND held_generation IS NOT NULL;
` },
  { name: "0020_audit_tries", sql: `-- Whether a token's try was told within the last minute is asked at each, and the log is kept for ever.
CREATE INDEX audit_log_tries ON audit_log (actor, act, at) WHERE act IN ('api-token.expired', 'api-token.denied');
` },
];
