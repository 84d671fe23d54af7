/* What the gate knows beyond credentials: the facts that the gate log's entries add up to. Pure. */
#pragma once

#include "map.h"

enum verb {
    VERB_OPEN, VERB_CLOSE, VERB_ASSIGN, VERB_UNASSIGN, VERB_MUTE, VERB_UNMUTE, VERB_MUTE_ALL, VERB_UNMUTE_ALL, VERB_KICK,
    VERB_REVOKE, VERB_FLOOR, VERB_REVOKE_TOKEN, VERB_LIMIT, VERB_MEMBER, VERB_COUNT,
};

enum limit { /* bytes stand behind their messages; the last three are not the log's to set */
    LIMIT_CLIENT_MSGS, LIMIT_CLIENT_BYTES, LIMIT_ROOM_MSGS, LIMIT_ROOM_BYTES, LIMIT_TENANT_MSGS, LIMIT_TENANT_BYTES,
    LIMIT_CONTROL_MSGS, LIMIT_CONTROL_BYTES, LIMIT_PRESENCE_MSGS, LIMIT_PRESENCE_BYTES, LIMIT_CLOCK_MSGS, LIMIT_SUBS,
    LIMIT_CONNECTS, LIMIT_VAIN, LIMIT_TENANT_VAIN, LIMIT_COUNT,
};

struct entry {
    enum verb verb;
    struct span part[4]; /* the arguments: tenant first, then whom it is about, then values */
};

#define FACTS_MAX 1000000 /* the limit of a state's map */

/* Reads "<verb> <args>" (no sequence number, no checksum). NULL: fine; else what is wrong with it. */
const char *entry_read(struct span text, struct entry *out);
/* `stamp` rises from entry to entry. False: FACTS_MAX reached, or no memory. */
bool state_apply(struct map *state, const struct entry *entry, uint64_t stamp);

uint64_t state_changed(struct map *state, struct span tenant); /* the stamp of the last entry about it; 0: none */
bool state_is_open(struct map *state, struct span tenant, struct span room);
/* "Mute all" silences a class, not its teachers; a mute by name silences whom it names. */
bool state_is_muted(struct map *state, struct span tenant, struct span room, struct span subject, bool is_teacher);
struct span state_room_of_device(struct map *state, struct span tenant, struct span subject);
/* Whether a credential is withdrawn: a token issued at `number` (Unix seconds) with the id `token`, or a device's password of
 * the generation `number`; or whoever holds it was kicked after `stamp`. */
bool state_is_void(struct map *state, struct span tenant, struct span subject, int64_t number, struct span token,
                   uint64_t stamp);

struct rate {
    const char *name;
    double rate, burst; /* a second, and at once */
};
/* By limit: the tenant's own, or the usual ones. NULL: no limits, for the service itself. */
const struct rate *state_rates(struct map *state, struct span tenant);
