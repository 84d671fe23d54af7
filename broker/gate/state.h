/* What the gate knows beyond credentials: the facts that the gate log's entries add up to. Pure. */
#ifndef BANDROOM_STATE_H
#define BANDROOM_STATE_H

#include "map.h"
#include "names.h"

enum verb {
    VERB_OPEN, VERB_CLOSE, VERB_ASSIGN, VERB_MUTE, VERB_UNMUTE, VERB_MUTE_ALL, VERB_UNMUTE_ALL,
    VERB_KICK, VERB_REVOKE, VERB_REVOKE_TOKEN, VERB_FLOOR, VERB_LIMIT, VERB_MEMBER,
};

enum limit {
    LIMIT_CLIENT_MSGS, LIMIT_CLIENT_BYTES, LIMIT_ROOM_MSGS, LIMIT_ROOM_BYTES, LIMIT_TENANT_MSGS,
    LIMIT_TENANT_BYTES, LIMIT_CONTROL_MSGS, LIMIT_CLOCK_MSGS, LIMIT_SUBS, LIMIT_COUNT,
};

struct entry {
    enum verb verb;
    struct span tenant, room, subject, token; /* room "-" in `assign`: none */
    enum limit limit;
    int64_t number[2];
};

/* Reads "<verb> <args>" (no sequence number, no checksum). NULL: fine; else what is wrong with it. */
const char *entry_read(struct span text, struct entry *out);

/* A tenant's buckets: units a second, and how many at once. */
struct rates {
    int64_t rate[LIMIT_COUNT], burst[LIMIT_COUNT];
    bool is_set;
};

struct state {
    struct map facts, rates;
};

#define FACTS_MAX 1000000

struct state *state_new(uint64_t seed);
void state_free(struct state *state);
bool state_apply(struct state *state, const struct entry *entry); /* false: FACTS_MAX reached or no memory */

bool state_is_open(const struct state *state, struct span tenant, struct span room);
/* "Mute all" silences a class, not its teachers; a mute by name silences whom it names. */
bool state_is_muted(const struct state *state, struct span tenant, struct span room, struct span subject,
                    bool is_teacher);
struct span state_room_of_device(const struct state *state, struct span tenant, struct span subject);
int64_t state_floor(const struct state *state, struct span tenant, struct span subject);
/* Whether a token of `subject`, issued at `issued` (Unix seconds) with the id `token`, is withdrawn. */
bool state_is_revoked(const struct state *state, struct span tenant, struct span subject, struct span token,
                      int64_t issued);
const struct rates *state_rates(const struct state *state, struct span tenant); /* its own, or the defaults */
const char *limit_name(enum limit limit);

#endif
