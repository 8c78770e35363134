-- Whether a token's try was told within the last minute is asked at each, and the log is kept for ever.
CREATE INDEX audit_log_tries ON audit_log (actor, act, at) WHERE act IN ('api-token.expired', 'api-token.denied');
