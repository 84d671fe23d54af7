#include "state.h"

#include <stdlib.h>
#include <string.h>

#define FACTS_MAX 1000000
#define NUMBER_MAX 1000000000 /* keeps a bucket's arithmetic within 64 bits */

/* A pupil: four-note chords, on and off, eight times a second are 64 messages/s. A room: 30 pupils at 20/s each; heard by 30
 * that is 18,000 deliveries/s, an eighth of what one broker carries. A tenant: three such rooms at full speed, so
 * that two tenants gone wild leave a third of the broker to the others. Their bursts are what they may hold everybody up
 * with at once: 600 notes heard by 30 take the broker a seventh of a second. Bytes: 160 a message, topic included. */
const struct rate default_rates[LIMIT_COUNT] = {
    [LIMIT_CLIENT_MSGS] = {"client_msgs", 100, 200},
    [LIMIT_CLIENT_BYTES] = {"client_bytes", 16000, 32000},
    [LIMIT_ROOM_MSGS] = {"room_msgs", 600, 600},
    [LIMIT_ROOM_BYTES] = {"room_bytes", 96000, 96000},
    [LIMIT_TENANT_MSGS] = {"tenant_msgs", 2000, 600},
    [LIMIT_TENANT_BYTES] = {"tenant_bytes", 320000, 96000},
    [LIMIT_CONTROL_MSGS] = {"control_msgs", 10, 40},
    [LIMIT_CLOCK_MSGS] = {"clock_msgs", 20, 40},
    [LIMIT_SUBS] = {"subs", 20, 100},
    [LIMIT_CONNECTS] = {"connects", 50, 500}, /* of one subject; and failed ones of one address */
    [LIMIT_VAIN] = {"vain", 100, 2000},       /* what a muted player or a clumsy device may go on sending in vain */
    /* Beyond this (a muted school sends less) a flood has many heads, and each refused packet counts for many: the broker
     * reads in turn, so hundreds who flood are each too slow to be noticed alone. */
    [LIMIT_TENANT_VAIN] = {"tenant_vain", 10000, 5000},
};

/* The arguments' forms: T tenant, R room, r room or "-", S subject, J token id, K name of a limit, n number; "." none here.
 * The first `key` of them are what a fact is about. */
static const struct {
    const char *name, *args;
    size_t key;
} verbs[VERB_COUNT] = {
    [VERB_OPEN] = {"open", "TR", 2},
    [VERB_CLOSE] = {"close", "TR", 2},
    [VERB_ASSIGN] = {"assign", "TSr", 2},
    [VERB_KICK] = {"kick", "TS", 2},
    [VERB_REVOKE] = {"revoke", "TSnn", 2},
    [VERB_REVOKE_TOKEN] = {"revokejti", "T.Jn", 3},
    [VERB_FLOOR] = {"floor", "TSn", 2},
    [VERB_MUTE] = {"mute", "TRS", 3},
    [VERB_UNMUTE] = {"unmute", "TRS", 3},
    [VERB_MUTE_ALL] = {"muteall", "TR", 2},
    [VERB_UNMUTE_ALL] = {"unmuteall", "TR", 2},
    [VERB_LIMIT] = {"limit", "TKnn", 2},
    [VERB_MEMBER] = {"member", "TRS", 3},
};

static bool is_argument(char kind, struct span word) {
    int64_t number;
    bool is_limit = false;
    switch (kind) {
    case 'T': return span_has_form(word, FORM_TENANT);
    case 'R': return span_has_form(word, FORM_ROOM);
    case 'r': return span_has_form(word, FORM_ROOM) || span_is(word, "-");
    case 'S': return span_has_form(word, FORM_SUBJECT);
    case 'J': return span_has_form(word, FORM_TOKEN_ID);
    case 'n': return span_number(word, &number);
    case 'K':
        for (enum limit limit = LIMIT_CLIENT_MSGS; limit <= LIMIT_SUBS; limit++)
            is_limit = is_limit || span_is(word, default_rates[limit].name);
        return is_limit;
    default: return word.len == 0;
    }
}

const char *entry_read(struct span text, struct entry *out) {
    struct span name = span_cut(&text, ' ');
    *out = (struct entry){.part = {NOTHING, NOTHING, NOTHING, NOTHING}};
    while (out->verb < VERB_COUNT && !span_is(name, verbs[out->verb].name))
        out->verb++;
    if (out->verb == VERB_COUNT)
        return "unknown verb";
    const char *args = verbs[out->verb].args;
    for (size_t i = 0; args[i]; i++) {
        if (args[i] != '.')
            out->part[i] = span_cut(&text, ' ');
        if (!is_argument(args[i], out->part[i]))
            return "malformed argument, or too few";
    }
    return text.at ? "too many arguments" : NULL;
}

/* About one room, one subject, one token, one limit, or one subject in one room: what was said of it last is in force. */
struct fact {
    uint64_t said[VERB_COUNT]; /* the stamp of the last entry with this verb; 0: never */
    int64_t number[3]; /* rate and burst; or the highest of `revoke` (2) and `floor`, which never set free again */
    char room[ROOM_MAX + 1];   /* of `assign` */
};

struct map *state_new(void) {
    struct map *state = calloc(1, sizeof *state);
    if (state)
        state->limit = FACTS_MAX;
    return state;
}

void state_free(struct map *state) {
    if (state)
        map_clear(state);
    free(state);
}

bool state_apply(struct map *state, const struct entry *entry, uint64_t stamp) {
    struct span third = verbs[entry->verb].key == 3 ? entry->part[2] : NOTHING;
    struct fact *fact = map_at(state, entry->part[0], entry->part[1], third, sizeof *fact);
    int64_t number;
    if (!fact)
        return false;
    fact->said[entry->verb] = stamp;
    if (entry->verb == VERB_ASSIGN)
        span_copy(fact->room, sizeof fact->room, entry->part[2]);
    for (size_t i = 0; i < 2; i++) {
        int64_t *kept = &fact->number[entry->verb == VERB_FLOOR ? 2 : i];
        if (span_number(entry->part[2 + i], &number) && (entry->verb == VERB_LIMIT || number > *kept))
            *kept = number;
    }
    return true;
}

static const struct fact *fact_of(struct map *state, struct span a, struct span b, struct span c) {
    static const struct fact nothing_said;
    const struct fact *found = map_at(state, a, b, c, 0);
    return found ? found : &nothing_said;
}

bool state_is_open(struct map *state, struct span tenant, struct span room) {
    const struct fact *fact = fact_of(state, tenant, room, NOTHING);
    return fact->said[VERB_OPEN] > fact->said[VERB_CLOSE];
}

bool state_is_muted(struct map *state, struct span tenant, struct span room, struct span subject, bool is_teacher) {
    const struct fact *all = fact_of(state, tenant, room, NOTHING), *one = fact_of(state, tenant, room, subject);
    uint64_t closed = all->said[VERB_CLOSE]; /* which forgets the mutes before it */
    if (!is_teacher && all->said[VERB_MUTE_ALL] > closed && all->said[VERB_MUTE_ALL] > all->said[VERB_UNMUTE_ALL])
        return true;
    return one->said[VERB_MUTE] > closed && one->said[VERB_MUTE] > one->said[VERB_UNMUTE];
}

struct span state_room_of_device(struct map *state, struct span tenant, struct span subject) {
    return span_of(fact_of(state, tenant, subject, NOTHING)->room); /* "-" is no room that can be open */
}

bool state_is_void(struct map *state, struct span tenant, struct span subject, int64_t number, struct span token,
                   uint64_t stamp) {
    const struct fact *fact = fact_of(state, tenant, subject, NOTHING);
    bool is_revoked = subject.at[0] == 'd' ? number < fact->number[2]
                                           : fact->said[VERB_REVOKE] && number <= fact->number[0];
    return is_revoked || fact->said[VERB_KICK] > stamp || (token.len > 0 && map_at(state, tenant, NOTHING, token, 0));
}

struct rate state_rate(struct map *state, struct span tenant, enum limit limit) {
    struct rate rate = default_rates[limit];
    const struct fact *own = fact_of(state, tenant, span_of(rate.name), NOTHING);
    if (span_is(tenant, "bandroom")) /* the service's own messages are not limited */
        return (struct rate){rate.name, NUMBER_MAX, NUMBER_MAX};
    if (!own->said[VERB_LIMIT])
        return rate;
    return (struct rate){rate.name, own->number[0] < NUMBER_MAX ? own->number[0] : NUMBER_MAX,
                         own->number[1] < NUMBER_MAX ? own->number[1] : NUMBER_MAX};
}
