#include "state.h"

#include <stdio.h>

/* A pupil: four-note chords, on and off, eight times a second are 64 messages/s. A room: 30 pupils at 20/s each; heard by 30
 * that is 18,000 deliveries/s, an eighth of what one broker carries. A tenant: three such rooms at full speed, so
 * that two tenants gone wild leave a third of the broker to the others. Their bursts are what they may hold everybody up
 * with at once: 600 notes heard by 30 take the broker a seventh of a second. Bytes: 160 a message, topic included. */
static const struct rate usual_rates[LIMIT_COUNT] = {
    [LIMIT_CLIENT_MSGS] = {"client_msgs", 100, 200},
    [LIMIT_CLIENT_BYTES] = {"client_bytes", 16000, 32000},
    [LIMIT_ROOM_MSGS] = {"room_msgs", 600, 600},
    [LIMIT_ROOM_BYTES] = {"room_bytes", 96000, 96000},
    [LIMIT_TENANT_MSGS] = {"tenant_msgs", 2000, 600},
    [LIMIT_TENANT_BYTES] = {"tenant_bytes", 320000, 96000},
    [LIMIT_CONTROL_MSGS] = {"control_msgs", 10, 40},
    [LIMIT_CONTROL_BYTES] = {"control_bytes", 10000, 40000},
    [LIMIT_PRESENCE_MSGS] = {"presence_msgs", 2, 40}, /* one a connection, and two a minute */
    [LIMIT_PRESENCE_BYTES] = {"presence_bytes", 400, 8000},
    [LIMIT_CLOCK_MSGS] = {"clock_msgs", 20, 40},
    [LIMIT_SUBS] = {"subs", 20, 100},
    [LIMIT_CONNECTS] = {"connects", 50, 500}, /* of one subject; and failed ones of one address */
    [LIMIT_VAIN] = {"vain", 100, 2000},       /* what a muted player or a clumsy device may go on sending in vain */
    /* Beyond this (a muted school sends less) a flood has many heads, and each refused packet counts for many: the broker
     * reads in turn, so hundreds who flood are each too slow to be noticed alone. */
    [LIMIT_TENANT_VAIN] = {"tenant_vain", 10000, 5000},
};

/* An entry's parts are those of its pattern; the first `key` of them are what a fact is about. */
static const struct {
    const char *pattern;
    size_t key;
} verbs[VERB_COUNT] = {
    [VERB_OPEN] = {"open (%T) (%R)", 2}, [VERB_CLOSE] = {"close (%T) (%R)", 2},
    [VERB_ASSIGN] = {"assign (%T) (%S) (%R)", 2}, [VERB_UNASSIGN] = {"assign (%T) (%S) -", 2},
    [VERB_MUTE] = {"mute (%T) (%R) (%S)", 3}, [VERB_UNMUTE] = {"unmute (%T) (%R) (%S)", 3},
    [VERB_MUTE_ALL] = {"muteall (%T) (%R)", 2}, [VERB_UNMUTE_ALL] = {"unmuteall (%T) (%R)", 2},
    [VERB_KICK] = {"kick (%T) (%S)", 2},
    [VERB_REVOKE] = {"revoke (%T) (%S) (%N) (%N)", 2},
    [VERB_FLOOR] = {"floor (%T) (%S) (%N)", 2},
    [VERB_REVOKE_TOKEN] = {"revokejti (%T) (%J) (%N)", 2},
    [VERB_LIMIT] = {"limit (%T) (%W) (%N) (%N)", 2},
    [VERB_MEMBER] = {"member (%T) (%R) (%S)", 3},
};

/* One that the log may set; else one that it may not. */
static enum limit limit_of(struct span name) {
    enum limit limit = 0;
    while (limit <= LIMIT_SUBS && !span_is(name, usual_rates[limit].name))
        limit++;
    return limit;
}

const char *entry_read(struct span text, struct entry *out) {
    for (*out = (struct entry){0}; out->verb < VERB_COUNT; out->verb++) {
        if (span_matches(text, verbs[out->verb].pattern, out->part))
            return out->verb == VERB_LIMIT && limit_of(out->part[1]) > LIMIT_SUBS ? "unknown limit" : NULL;
    }
    return "no entry of any kind";
}

/* About one room, subject, token, limit, or one subject in one room: what was said of it last is in force. */
struct fact {
    uint64_t said[VERB_COUNT];     /* the stamp of the last entry with this verb; 0: never */
    uint64_t changed;              /* a tenant's own fact: the stamp of the last entry about anything of it */
    int64_t void_to;               /* the highest of `revoke`, or of below `floor`: what was void once stays so */
    char room[ROOM_MAX + 1];       /* of `assign` */
};

#define RATES span_of(" rates") /* beside a tenant's facts, under a name that no part of an entry can have */

static bool limit_set(struct map *state, const struct span *part) {
    struct rate *rates = map_at(state, part[0], RATES, NOTHING, sizeof usual_rates);
    if (!rates)
        return false;
    if (!rates->name)
        memcpy(rates, usual_rates, sizeof usual_rates);
    struct rate *rate = &rates[limit_of(part[1])];
    *rate = (struct rate){rate->name, (double)span_number(part[2]), (double)span_number(part[3])};
    return true;
}

bool state_apply(struct map *state, const struct entry *entry, uint64_t stamp) {
    enum verb verb = entry->verb;
    const struct span *part = entry->part;
    struct span third = verbs[verb].key == 3 ? part[2] : NOTHING;
    struct fact *fact = map_at(state, part[0], part[1], third, sizeof *fact);
    struct fact *tenant = map_at(state, part[0], NOTHING, NOTHING, sizeof *tenant);
    if (!fact || !tenant || (verb == VERB_LIMIT && !limit_set(state, part)))
        return false;
    tenant->changed = fact->said[verb] = stamp;
    if (verb == VERB_ASSIGN)
        snprintf(fact->room, sizeof fact->room, "%.*s", PRINTED(part[2]));
    bool is_device = part[1].at[0] == 'd';
    if (verb == (is_device ? VERB_FLOOR : VERB_REVOKE)) {
        int64_t to = span_number(part[2]) - is_device;
        fact->void_to = to > fact->void_to ? to : fact->void_to;
    }
    return true;
}

static const struct fact *fact_of(struct map *state, struct span a, struct span b, struct span c) {
    static const struct fact nothing_said;
    const struct fact *found = map_at(state, a, b, c, 0);
    return found ? found : &nothing_said;
}

uint64_t state_changed(struct map *state, struct span tenant) {
    return fact_of(state, tenant, NOTHING, NOTHING)->changed;
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
    const struct fact *fact = fact_of(state, tenant, subject, NOTHING);
    return fact->said[VERB_ASSIGN] > fact->said[VERB_UNASSIGN] ? span_of(fact->room) : NOTHING;
}

bool state_is_void(struct map *state, struct span tenant, struct span subject, int64_t number, struct span token,
                   uint64_t stamp) {
    const struct fact *fact = fact_of(state, tenant, subject, NOTHING);
    return number <= fact->void_to || fact->said[VERB_KICK] > stamp ||
           fact_of(state, tenant, token, NOTHING)->said[VERB_REVOKE_TOKEN];
}

const struct rate *state_rates(struct map *state, struct span tenant) {
    bool is_service = span_is(tenant, "bandroom");
    const struct rate *own = is_service ? NULL : map_at(state, tenant, RATES, NOTHING, 0);
    return is_service || own ? own : usual_rates;
}
