-- The hub's CAs. One signs; those beside it are trusted too, while one takes another's place.
CREATE TABLE authorities (
  hash         text PRIMARY KEY,
  -- Ages: the first was made first.
  number       bigint GENERATED ALWAYS AS IDENTITY,
  certificate  text NOT NULL,
  -- Null once it is retired.
  sealed_key   bytea,
  state        text NOT NULL CHECK (state IN ('staged', 'active', 'retiring', 'retired')),
  created_at   timestamptz NOT NULL DEFAULT now(),
  activated_at timestamptz,
  retired_at   timestamptz,
  CHECK ((state = 'retired') = (sealed_key IS NULL))
);
CREATE UNIQUE INDEX authorities_active ON authorities (state) WHERE state = 'active';
CREATE UNIQUE INDEX authorities_staged ON authorities (state) WHERE state = 'staged';

-- Which CA signed it; null: the first, by a hub that knew no other.
ALTER TABLE certificates ADD COLUMN authority text;
-- The certificate that the cluster's last stream came with: those before it are history.
ALTER TABLE clusters ADD COLUMN certificate text;
-- Hashes of the CAs that its agent has kept as trusted.
ALTER TABLE clusters ADD COLUMN trusted_authorities jsonb NOT NULL DEFAULT '[]';
