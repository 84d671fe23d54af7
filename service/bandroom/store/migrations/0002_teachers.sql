-- Teachers who may sign in by a link. The link's key is kept as a hash; without one the teacher was revoked.

CREATE TABLE teachers (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    sub         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    key_hash    TEXT,                                   -- SHA-256 of the sign-in link's key
    added_at    INTEGER NOT NULL,
    revoked_at  INTEGER,
    PRIMARY KEY (tenant, sub),
    CHECK ((key_hash IS NULL) = (revoked_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
