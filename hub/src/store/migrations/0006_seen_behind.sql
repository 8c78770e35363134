-- As before, and: what an agent runs is not what this database wants while the agent holds something newer.
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
