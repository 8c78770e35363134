-- Every act of a person or token, written in the act's own transaction before it takes effect. Each row's hash covers the row and the hash
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
