-- Where a repository's pull requests and commit statuses are: one forge for each repository.
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

-- Pull requests of which something was heard. `heard` counts what; it is looked at again while it is above `done`.
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

-- What a commit's status is to say: the newest word only. It is sent while `version` is above `sent`.
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
