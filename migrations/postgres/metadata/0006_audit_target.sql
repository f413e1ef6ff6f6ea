-- The entries about one user, stream or comment, newest first.
CREATE INDEX audit_target ON audit (target, audit_id);
