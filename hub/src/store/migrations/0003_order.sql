-- What a person has stopped: a fleet, a cluster, a bundle, or one in the other. '' stands for all.
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
