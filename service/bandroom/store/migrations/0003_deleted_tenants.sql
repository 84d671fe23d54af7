-- A tenant can be deleted. What has to outlive it: that its id was used, the devices whose passwords would otherwise
-- be good again, and the tokens that are refused until they expire.

CREATE TABLE deleted_tenants (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    deleted_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE void_devices (
    tenant      TEXT    NOT NULL REFERENCES deleted_tenants (tenant),
    sub         TEXT    NOT NULL,
    floor       INTEGER NOT NULL CHECK (floor >= 2),
    PRIMARY KEY (tenant, sub)
) STRICT, WITHOUT ROWID;

-- Who was given a token by the owner's hand, and no other table knows of: to be withdrawn with the tenant.
CREATE TABLE token_holders (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    sub         TEXT    NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (tenant, sub)
) STRICT, WITHOUT ROWID;

-- As before, without the reference to a tenant that may be gone.
CREATE TABLE lasting_revocations (
    tenant      TEXT    NOT NULL,
    what        TEXT    NOT NULL CHECK (what IN ('sub', 'jti')),
    value       TEXT    NOT NULL,
    iat_max     INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (tenant, what, value)
) STRICT, WITHOUT ROWID;
INSERT INTO lasting_revocations SELECT tenant, what, value, iat_max, until FROM revocations;
DROP TABLE revocations;
ALTER TABLE lasting_revocations RENAME TO revocations;
