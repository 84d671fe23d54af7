-- Rooms of schools. Every key begins with the tenant, and every reference carries it along, so the database
-- itself refuses a row of one tenant that points at a row of another. Times are seconds since the Unix epoch.

CREATE TABLE tenants (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    max_rooms   INTEGER CHECK (max_rooms >= 0)          -- NULL: the service's default
) STRICT, WITHOUT ROWID;

-- A row is an open, a locked or a resting room: a closed room keeps its id and code until rests_until, and is
-- deleted afterwards.
CREATE TABLE rooms (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    room        TEXT    NOT NULL,
    join_code   TEXT    NOT NULL,
    join_key    TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('open', 'locked', 'closed')),
    name        TEXT    NOT NULL,
    all_muted   INTEGER NOT NULL DEFAULT 0 CHECK (all_muted IN (0, 1)),
    info_rev    INTEGER NOT NULL,
    tempo       TEXT    NOT NULL,                       -- the JSON of the wire's Tempo message
    tempo_rev   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    used_at     INTEGER NOT NULL,                       -- when somebody was last there
    closed_at   INTEGER,
    rests_until INTEGER,
    PRIMARY KEY (tenant, room),
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((state = 'closed') = (rests_until IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX rooms_by_code ON rooms (tenant, join_code) WHERE state <> 'closed' OR rests_until IS NOT NULL;
CREATE INDEX rooms_by_state ON rooms (state);

-- Codes that new_code replaced: given to no other room until the day is over.
CREATE TABLE resting_codes (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    code        TEXT    NOT NULL,
    rests_until INTEGER NOT NULL,
    PRIMARY KEY (tenant, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    tenant      TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    sub         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    cookie      TEXT,                                   -- SHA-256 of tenant, room and the browser's secret
    joined_at   INTEGER NOT NULL,
    kicked_at   INTEGER,
    PRIMARY KEY (tenant, sub),                          -- a pupil is in one room; another room, another subject
    FOREIGN KEY (tenant, room) REFERENCES rooms (tenant, room) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX members_by_name ON members (tenant, room, name) WHERE kicked_at IS NULL;
CREATE INDEX members_by_cookie ON members (tenant, room, cookie) WHERE cookie IS NOT NULL;

CREATE TABLE devices (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    sub         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    generation  INTEGER NOT NULL CHECK (generation >= 1),
    enrolled_at INTEGER NOT NULL,
    revoked_at  INTEGER,
    PRIMARY KEY (tenant, sub)
) STRICT, WITHOUT ROWID;

CREATE TABLE assignments (
    tenant      TEXT    NOT NULL,
    sub         TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    PRIMARY KEY (tenant, sub),
    FOREIGN KEY (tenant, sub) REFERENCES devices (tenant, sub) ON DELETE CASCADE,
    FOREIGN KEY (tenant, room) REFERENCES rooms (tenant, room) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX assignments_by_room ON assignments (tenant, room);

CREATE TABLE mutes (
    tenant      TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    sub         TEXT    NOT NULL,
    PRIMARY KEY (tenant, room, sub),
    FOREIGN KEY (tenant, room) REFERENCES rooms (tenant, room) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Tokens refused before they expire: all of a subject's issued at or before iat_max, or a single one by its jti.
CREATE TABLE revocations (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    what        TEXT    NOT NULL CHECK (what IN ('sub', 'jti')),
    value       TEXT    NOT NULL,
    iat_max     INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (tenant, what, value)
) STRICT, WITHOUT ROWID;

-- What was answered to a command, so that the same command sent again is answered, and not done, again.
CREATE TABLE commands (
    tenant      TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    reply       TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (tenant, room, actor, id),
    FOREIGN KEY (tenant, room) REFERENCES rooms (tenant, room) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX commands_by_age ON commands (at);

CREATE TABLE settings (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    key         TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
