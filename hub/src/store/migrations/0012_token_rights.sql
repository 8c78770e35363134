-- What whoever has a token may do: look; act; also make and revoke tokens. Tokens of before may do everything.
ALTER TABLE api_tokens ADD COLUMN access text NOT NULL DEFAULT 'admin' CHECK (access IN ('view', 'operate', 'admin'));
-- In whose name it approves rollouts; '*' is everybody's.
ALTER TABLE api_tokens ADD COLUMN roles text[] NOT NULL DEFAULT '{*}';
