#include "state.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_ID_MAX 64
#define NUMBER_MAX 1000000000 /* keeps a bucket's arithmetic within 64 bits */
#define KEY_MAX 96 /* tag, tenant, room and subject or token id, and two separators fit */

/* T tenant, R room, r room or "-", S subject, J token id, K name of a limit, n number */
static const struct {
    const char *name, *args;
} verbs[] = {
    [VERB_OPEN] = {"open", "TR"},         [VERB_CLOSE] = {"close", "TR"},
    [VERB_ASSIGN] = {"assign", "TSr"},    [VERB_MUTE] = {"mute", "TRS"},
    [VERB_UNMUTE] = {"unmute", "TRS"},    [VERB_MUTE_ALL] = {"muteall", "TR"},
    [VERB_UNMUTE_ALL] = {"unmuteall", "TR"}, [VERB_KICK] = {"kick", "TS"},
    [VERB_REVOKE] = {"revoke", "TSnn"},   [VERB_REVOKE_TOKEN] = {"revokejti", "TJn"},
    [VERB_FLOOR] = {"floor", "TSn"},      [VERB_LIMIT] = {"limit", "TKnn"},
    [VERB_MEMBER] = {"member", "TRS"},
};

static const char *const limit_names[LIMIT_COUNT] = {
    [LIMIT_CLIENT_MSGS] = "client_msgs", [LIMIT_CLIENT_BYTES] = "client_bytes", [LIMIT_ROOM_MSGS] = "room_msgs",
    [LIMIT_ROOM_BYTES] = "room_bytes",   [LIMIT_TENANT_MSGS] = "tenant_msgs",   [LIMIT_TENANT_BYTES] = "tenant_bytes",
    [LIMIT_CONTROL_MSGS] = "control_msgs", [LIMIT_CLOCK_MSGS] = "clock_msgs",   [LIMIT_SUBS] = "subs",
};

/* A pupil: four-note chords, on and off, eight times a second are 64 messages/s. A room: 30 pupils at 20/s each; heard by 30
 * that is 18,000 deliveries/s, an eighth of what one broker carries. A tenant: three such rooms at full speed, so
 * that two tenants gone wild leave a third of the broker to the others. Their bursts are what they may hold everybody up
 * with at once: 600 notes heard by 30 take the broker a seventh of a second. Bytes: 160 a message, topic included. */
static const struct rates default_rates = {
    .rate = {100, 16000, 600, 96000, 2000, 320000, 10, 20, 20},
    .burst = {200, 32000, 600, 96000, 600, 96000, 40, 40, 100},
    .is_set = true,
};

const char *limit_name(enum limit limit)
{
    return limit_names[limit];
}

static bool is_token_id(struct span id)
{
    if (id.len == 0 || id.len > TOKEN_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

static bool argument_read(char kind, struct span word, struct entry *out, size_t *numbers)
{
    switch (kind) {
    case 'T':
        out->tenant = word;
        return name_is_tenant(word);
    case 'r':
        out->room = word;
        return span_is(word, "-") || name_is_room(word);
    case 'R':
        out->room = word;
        return name_is_room(word);
    case 'S':
        out->subject = word;
        return name_is_subject(word);
    case 'J':
        out->token = word;
        return is_token_id(word);
    case 'n':
        return span_number(word, &out->number[(*numbers)++]);
    default:
        for (int i = 0; i < LIMIT_COUNT; i++) {
            if (span_is(word, limit_names[i])) {
                out->limit = (enum limit)i;
                return true;
            }
        }
        return false;
    }
}

const char *entry_read(struct span text, struct entry *out)
{
    struct span word[6];
    size_t words = span_split(text, ' ', word, 6), numbers = 0;

    *out = (struct entry){0};
    if (words == 0)
        return "too many words";
    for (size_t v = 0; v < sizeof verbs / sizeof *verbs; v++) {
        if (!span_is(word[0], verbs[v].name))
            continue;
        out->verb = (enum verb)v;
        if (strlen(verbs[v].args) != words - 1)
            return "wrong number of arguments";
        for (size_t i = 1; i < words; i++) {
            if (!argument_read(verbs[v].args[i - 1], word[i], out, &numbers))
                return "malformed argument";
        }
        return NULL;
    }
    return "unknown verb";
}

struct fact {
    bool on, all_muted;
    int64_t number[2];
    char room[ROOM_MAX + 1];
};

/* A fact's key: what kind it is, then whom it is about. Names hold no '/', so keys cannot run together. */
static struct span key_of(char *buffer, char tag, struct span a, struct span b, struct span c)
{
    struct span parts[] = {a, b, c};
    size_t len = 1;
    buffer[0] = tag;
    for (size_t i = 0; i < 3; i++) {
        memcpy(buffer + len, parts[i].at, parts[i].len);
        len += parts[i].len;
        buffer[len++] = '/';
    }
    return (struct span){buffer, len};
}

static const struct span NOTHING = {"", 0};

static struct fact *fact_find(const struct state *state, char tag, struct span a, struct span b, struct span c)
{
    char buffer[KEY_MAX];
    if (a.len + b.len + c.len + 4 > sizeof buffer)
        return NULL;
    struct span key = key_of(buffer, tag, a, b, c);
    return map_find(&state->facts, key.at, key.len);
}

static struct fact *fact_make(struct state *state, char tag, struct span a, struct span b, struct span c)
{
    char buffer[KEY_MAX];
    if (a.len + b.len + c.len + 4 > sizeof buffer)
        return NULL;
    struct span key = key_of(buffer, tag, a, b, c);
    return map_insert(&state->facts, key.at, key.len);
}

struct state *state_new(uint64_t seed)
{
    struct state *state = calloc(1, sizeof *state);
    if (state && map_init(&state->facts, sizeof(struct fact), FACTS_MAX, seed) &&
        map_init(&state->rates, sizeof(struct rates), FACTS_MAX, seed))
        return state;
    state_free(state);
    return NULL;
}

void state_free(struct state *state)
{
    if (state) {
        map_free(&state->facts);
        map_free(&state->rates);
    }
    free(state);
}

static struct fact *fact_for(struct state *state, const struct entry *e)
{
    switch (e->verb) {
    case VERB_OPEN: case VERB_CLOSE: case VERB_MUTE_ALL: case VERB_UNMUTE_ALL:
        return fact_make(state, 'r', e->tenant, e->room, NOTHING);
    case VERB_ASSIGN:
        return fact_make(state, 'a', e->tenant, e->subject, NOTHING);
    case VERB_MUTE: case VERB_UNMUTE:
        return fact_make(state, 'm', e->tenant, e->room, e->subject);
    case VERB_REVOKE:
        return fact_make(state, 'k', e->tenant, e->subject, NOTHING);
    case VERB_REVOKE_TOKEN:
        return fact_make(state, 'j', e->tenant, e->token, NOTHING);
    default:
        return fact_make(state, 'f', e->tenant, e->subject, NOTHING);
    }
}

static bool limit_apply(struct state *state, const struct entry *e)
{
    struct rates *rates = map_insert(&state->rates, e->tenant.at, e->tenant.len);
    if (!rates)
        return false;
    if (!rates->is_set)
        *rates = default_rates;
    rates->is_set = true;
    rates->rate[e->limit] = e->number[0] < NUMBER_MAX ? e->number[0] : NUMBER_MAX;
    rates->burst[e->limit] = e->number[1] < NUMBER_MAX ? e->number[1] : NUMBER_MAX;
    return true;
}

bool state_apply(struct state *state, const struct entry *e)
{
    if (e->verb == VERB_KICK || e->verb == VERB_MEMBER)
        return true; /* a deed or a reserved word, not a fact */
    if (e->verb == VERB_LIMIT)
        return limit_apply(state, e);
    struct fact *fact = fact_for(state, e);
    if (!fact)
        return false;
    struct fact *room = NULL;
    switch (e->verb) {
    case VERB_OPEN:
        fact->on = true;
        break;
    case VERB_CLOSE: /* number[0] counts the closings: a mute from before a closing is no longer meant */
        fact->on = fact->all_muted = false;
        fact->number[0]++;
        break;
    case VERB_MUTE_ALL: case VERB_UNMUTE_ALL:
        fact->all_muted = e->verb == VERB_MUTE_ALL;
        break;
    case VERB_MUTE: case VERB_UNMUTE:
        fact->on = e->verb == VERB_MUTE;
        room = fact_find(state, 'r', e->tenant, e->room, NOTHING);
        fact->number[0] = room ? room->number[0] : 0;
        break;
    case VERB_ASSIGN:
        fact->on = !span_is(e->room, "-");
        span_copy(fact->room, sizeof fact->room, e->room);
        break;
    default: /* withdrawals and floors only ever rise: no entry sets a credential free again */
        for (int i = 0; i < 2; i++)
            fact->number[i] = e->number[i] > fact->number[i] ? e->number[i] : fact->number[i];
    }
    return true;
}

bool state_is_open(const struct state *state, struct span tenant, struct span room)
{
    const struct fact *fact = fact_find(state, 'r', tenant, room, NOTHING);
    return fact && fact->on;
}

bool state_is_muted(const struct state *state, struct span tenant, struct span room, struct span subject,
                    bool is_teacher)
{
    const struct fact *all = fact_find(state, 'r', tenant, room, NOTHING);
    const struct fact *one = fact_find(state, 'm', tenant, room, subject);
    return (all && all->all_muted && !is_teacher) || (one && one->on && one->number[0] == (all ? all->number[0] : 0));
}

struct span state_room_of_device(const struct state *state, struct span tenant, struct span subject)
{
    const struct fact *fact = fact_find(state, 'a', tenant, subject, NOTHING);
    return fact && fact->on ? span_of(fact->room) : NOTHING;
}

int64_t state_floor(const struct state *state, struct span tenant, struct span subject)
{
    const struct fact *fact = fact_find(state, 'f', tenant, subject, NOTHING);
    return fact ? fact->number[0] : 0;
}

bool state_is_revoked(const struct state *state, struct span tenant, struct span subject, struct span token,
                      int64_t issued)
{
    const struct fact *all = fact_find(state, 'k', tenant, subject, NOTHING);
    return (all && issued <= all->number[0]) || fact_find(state, 'j', tenant, token, NOTHING);
}

const struct rates *state_rates(const struct state *state, struct span tenant)
{
    const struct rates *own = map_find(&state->rates, tenant.at, tenant.len);
    return own ? own : &default_rates;
}
