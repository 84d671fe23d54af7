BEGIN TRANSACTION;
CREATE TABLE assignments (
    tenant      TEXT    NOT NULL,
    sub         TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    PRIMARY KEY (tenant, sub),
    FOREIGN KEY (tenant, sub) REFERENCES devices (tenant, sub) ON DELETE CASCADE,
    FOREIGN KEY (tenant, room) REFERENCES rooms (tenant, room) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO "assignments" VALUES('lincoln','d-drum-3','MUSIC-1234');
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
INSERT INTO "commands" VALUES('lincoln','MUSIC-1234','owner','c1','d','{"id":"c1","ok":true}',1700000000);
CREATE TABLE deleted_tenants (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    deleted_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "deleted_tenants" VALUES('gone',1700000000);
CREATE TABLE devices (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    sub         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    generation  INTEGER NOT NULL CHECK (generation >= 1),
    enrolled_at INTEGER NOT NULL,
    revoked_at  INTEGER, instrument TEXT,
    PRIMARY KEY (tenant, sub)
) STRICT, WITHOUT ROWID;
INSERT INTO "devices" VALUES('lincoln','d-drum-3','Drum',2,1700000000,NULL,'drums');
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
INSERT INTO "members" VALUES('lincoln','MUSIC-1234','s-7f3k2','Blue Tiger 12',NULL,1700000000,NULL);
CREATE TABLE migrations (
    n INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL
) STRICT;
INSERT INTO "migrations" VALUES(1,'first',1700000000);
INSERT INTO "migrations" VALUES(2,'teachers',1700000000);
INSERT INTO "migrations" VALUES(3,'deleted_tenants',1700000000);
INSERT INTO "migrations" VALUES(4,'instruments',1700000000);
CREATE TABLE mutes (
    tenant      TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    sub         TEXT    NOT NULL,
    PRIMARY KEY (tenant, room, sub),
    FOREIGN KEY (tenant, room) REFERENCES rooms (tenant, room) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO "mutes" VALUES('lincoln','MUSIC-1234','s-7f3k2');
CREATE TABLE resting_codes (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    code        TEXT    NOT NULL,
    rests_until INTEGER NOT NULL,
    PRIMARY KEY (tenant, code)
) STRICT, WITHOUT ROWID;
INSERT INTO "resting_codes" VALUES('lincoln','TABLE-0001',1700086400);
CREATE TABLE "revocations" (
    tenant      TEXT    NOT NULL,
    what        TEXT    NOT NULL CHECK (what IN ('sub', 'jti')),
    value       TEXT    NOT NULL,
    iat_max     INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (tenant, what, value)
) STRICT, WITHOUT ROWID;
INSERT INTO "revocations" VALUES('lincoln','sub','s-9',1700000000,1700043200);
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
INSERT INTO "rooms" VALUES('lincoln','MUSIC-1234','MUSIC-1234','AAAAAAAAAAAAAAAA','open','Choir',0,1700000004,'{"rev":1700000003,"seg":[{"k":0,"t":1700000000000000,"uq":0}],"met":[{"n":0,"k":0,"bar":1,"num":4,"den":4,"q":960}]}',1700000003,1700000000,1700000000,NULL,NULL);
INSERT INTO "rooms" VALUES('lincoln','TABLE-0001','CHAIR-0002','BBBBBBBBBBBBBBBB','closed','Band',1,1700000004,'{"rev":1700000003,"seg":[{"k":0,"t":1700000000000000,"uq":0}],"met":[{"n":0,"k":0,"bar":1,"num":4,"den":4,"q":960}]}',1700000003,1700000000,1700000000,1700000100,1700086500);
INSERT INTO "rooms" VALUES('lincoln-2','MUSIC-1234','MUSIC-1234','CCCCCCCCCCCCCCCC','locked','Flutes',0,1700000004,'{"rev":1700000003,"seg":[{"k":0,"t":1700000000000000,"uq":0}],"met":[{"n":0,"k":0,"bar":1,"num":4,"den":4,"q":960}]}',1700000003,1700000000,1700000000,NULL,NULL);
CREATE TABLE settings (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    key         TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "settings" VALUES('lincoln','retention_s','86400');
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
INSERT INTO "teachers" VALUES('lincoln','t-smith','Ms Smith','00ff',1700000000,NULL);
CREATE TABLE tenants (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    max_rooms   INTEGER CHECK (max_rooms >= 0)          -- NULL: the service's default
) STRICT, WITHOUT ROWID;
INSERT INTO "tenants" VALUES('lincoln','Lincoln School',1700000000,NULL);
INSERT INTO "tenants" VALUES('lincoln-2','Lincoln the Second',1700000000,5);
CREATE TABLE token_holders (
    tenant      TEXT    NOT NULL REFERENCES tenants (tenant),
    sub         TEXT    NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (tenant, sub)
) STRICT, WITHOUT ROWID;
INSERT INTO "token_holders" VALUES('lincoln','t-hand',1700043200);
CREATE TABLE void_devices (
    tenant      TEXT    NOT NULL REFERENCES deleted_tenants (tenant),
    sub         TEXT    NOT NULL,
    floor       INTEGER NOT NULL CHECK (floor >= 2),
    PRIMARY KEY (tenant, sub)
) STRICT, WITHOUT ROWID;
INSERT INTO "void_devices" VALUES('gone','d-drum',2);
CREATE UNIQUE INDEX rooms_by_code ON rooms (tenant, join_code) WHERE state <> 'closed' OR rests_until IS NOT NULL;
CREATE INDEX rooms_by_state ON rooms (state);
CREATE UNIQUE INDEX members_by_name ON members (tenant, room, name) WHERE kicked_at IS NULL;
CREATE INDEX members_by_cookie ON members (tenant, room, cookie) WHERE cookie IS NOT NULL;
CREATE INDEX assignments_by_room ON assignments (tenant, room);
CREATE INDEX commands_by_age ON commands (at);
COMMIT;
