-- What the hub looks for every two seconds, in case no hint told of it.
CREATE INDEX clusters_wishes ON clusters (name) WHERE wants_snapshot OR wants_resend;
