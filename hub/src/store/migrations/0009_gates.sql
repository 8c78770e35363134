-- What a gate asks (GateQuestion of hub/src/domain/gates.ts); null for every other command.
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
