-- Lists of large fleets. The views say at their end what a list needs besides, so that nothing is joined twice, and what was told as it was told: an index knows nothing of
-- leases. `phase <> 'Removed'` is asked of the column, whose selectivity is known.
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
