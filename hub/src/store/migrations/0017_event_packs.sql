-- Events of days that are over, packed: some hundreds in a row, in order of ids (store/event-pack.ts). A day is a partition here, too: it comes when the whole
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
