-- What somebody asked a change would do. Kept for a day (previewsKeptMs).
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
