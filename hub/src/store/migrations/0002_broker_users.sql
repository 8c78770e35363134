-- Broker users that the hub signed: revoking a cluster must name their keys to the broker.
CREATE TABLE broker_users (
  public_key text PRIMARY KEY,
  cluster    text NOT NULL,
  issued_at  timestamptz NOT NULL DEFAULT now(),
  not_after  timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX broker_users_cluster ON broker_users (cluster);
CREATE INDEX broker_users_revoked ON broker_users (revoked_at) WHERE revoked_at IS NOT NULL;
