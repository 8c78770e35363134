-- What a target's claims come to, so that a release looks only at those of clusters whose objects changed. '' is unknown: they are looked at.
ALTER TABLE targets ADD COLUMN claims_digest text NOT NULL DEFAULT '';

-- Targets are sent from their specs from now on; what an upkeep dropped of targets that are older than the history of releases is there again.
INSERT INTO target_specs (digest, bundles) SELECT DISTINCT ON (digest) digest, bundles FROM targets WHERE tombstone IS NULL ON CONFLICT DO NOTHING;
