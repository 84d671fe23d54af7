#include "policy.h"

#include <stdio.h>
#include <string.h>

enum { /* the roles as bits */
    ROOMS = 1 << ROLE_ROOMS, TEMPO = 1 << ROLE_TEMPO, TEACHER = 1 << ROLE_TEACHER, STUDENT = 1 << ROLE_STUDENT,
    DEVICE = 1 << ROLE_DEVICE, VIEWER = 1 << ROLE_VIEWER,
    PLAYER = TEACHER | STUDENT | DEVICE, MEMBER = PLAYER | VIEWER,
};

/* The contract's table: a topic's last levels, QoS and retain, and who says and hears it: as their own (their name is in
 * it) or anybody's. The rooms service reads everything, by whatever filter. A right that is not here does not exist. */
static const struct {
    const char *word, *tail; /* "clock/<subject>/q": "clock" and "q" */
    bool in_room, personal, retain, is_muted;
    int qos, says_own, says_any, hears_own, hears_any;
} leaves[] = { /* the frequent ones first */
    [LEAF_BEAT] = {"beat", NULL, 1, 0, 0, 0, 0, 0, TEMPO, 0, MEMBER},
    [LEAF_NOTE] = {"note", NULL, 1, 1, 0, 1, 0, PLAYER, ROOMS, 0, MEMBER},
    [LEAF_MIDI] = {"midi", NULL, 1, 1, 0, 1, 0, PLAYER, ROOMS, 0, MEMBER},
    [LEAF_PONG] = {"clock", "r", 1, 1, 0, 0, 0, 0, ROOMS, MEMBER, 0},
    [LEAF_PING] = {"clock", "q", 1, 1, 0, 0, 0, MEMBER, ROOMS, 0, 0},
    [LEAF_TEMPO] = {"tempo", NULL, 1, 0, 1, 0, 1, 0, ROOMS, 0, MEMBER | TEMPO},
    [LEAF_ROOM] = {"room", NULL, 1, 0, 1, 0, 1, 0, ROOMS, 0, MEMBER},
    [LEAF_MEMBER] = {"member", NULL, 1, 1, 1, 0, 1, 0, ROOMS, 0, MEMBER},
    [LEAF_FEEDBACK] = {"feedback", NULL, 1, 1, 0, 0, 0, 0, ROOMS, MEMBER, TEACHER},
    [LEAF_LIMIT] = {"limit", NULL, 1, 1, 0, 0, 0, 0, ROOMS, MEMBER, TEACHER},
    [LEAF_REPLY] = {"control", "reply", 1, 1, 0, 0, 1, 0, ROOMS, TEACHER, 0},
    [LEAF_CONTROL] = {"control", NULL, 1, 1, 0, 0, 1, TEACHER, ROOMS, 0, 0},
    [LEAF_PRESENCE] = {"presence", NULL, 0, 1, 1, 0, 1, MEMBER, ROOMS, 0, TEACHER},
    [LEAF_ASSIGNMENT] = {"device", "room", 0, 1, 1, 0, 1, 0, ROOMS, DEVICE, 0},
};

static const struct {
    const char *name;
    char letter, code; /* of a subject's name; of an identity */
} roles[] = {{"", '-', '-'},        {"rooms", '-', 'R'},  {"tempo", '-', 'B'}, {"teacher", 't', 'T'},
             {"student", 's', 'S'}, {"device", 'd', 'D'}, {"viewer", 'v', 'V'}};

enum role role_named(struct span name)
{
    for (int role = ROLE_ROOMS; role <= ROLE_VIEWER; role++) {
        if (span_is(name, roles[role].name))
            return (enum role)role;
    }
    return ROLE_NONE;
}

char role_letter(enum role role)
{
    return roles[role].letter;
}

static bool is_plus(struct span level, bool is_filter)
{
    return is_filter && level.len == 1 && level.at[0] == '+';
}

/* Reads what stands below `tenant/<t>/music_room/<room>/` or `tenant/<t>/`. */
static bool leaf_read(struct span text, bool in_room, bool is_filter, struct topic *out)
{
    struct span part[3];
    size_t parts = span_split(text, '/', part, 3);
    for (int i = 0; parts > 0 && i < LEAF_NONE; i++) {
        size_t levels = 1 + leaves[i].personal + (leaves[i].tail != NULL);
        if (leaves[i].word[0] != part[0].at[0] || parts != levels || leaves[i].in_room != in_room ||
            !span_is(part[0], leaves[i].word) || (leaves[i].tail && !span_is(part[2], leaves[i].tail)))
            continue;
        out->subject = leaves[i].personal ? part[1] : (struct span){"", 0};
        if (leaves[i].personal && !name_is_subject(part[1]) && !is_plus(part[1], is_filter))
            break;
        out->leaf = (enum leaf)i;
        return true;
    }
    out->leaf = LEAF_NONE;
    return false;
}

bool topic_read(struct span text, bool is_filter, struct topic *out)
{
    struct span part[7];
    size_t parts = span_split(text, '/', part, 7);
    *out = (struct topic){LEAF_NONE, {"", 0}, {"", 0}, {"", 0}};
    if (parts < 4 || !span_is(part[0], "tenant") || !(name_is_tenant(part[1]) || is_plus(part[1], is_filter)))
        return false;
    out->tenant = part[1];
    bool in_room = span_is(part[2], "music_room");
    if (in_room) {
        if (parts < 5 || !(name_is_room(part[3]) || is_plus(part[3], is_filter)))
            return false;
        out->room = part[3];
    }
    const char *rest = part[in_room ? 4 : 2].at;
    return leaf_read((struct span){rest, (size_t)(text.at + text.len - rest)}, in_room, is_filter, out);
}

bool policy_admits(const struct who *who, bool is_local)
{
    struct span tenant = span_of(who->tenant), subject = span_of(who->subject);
    int64_t number;
    if (who->role == ROLE_ROOMS)
        return is_local && span_is(tenant, "bandroom") && span_is(subject, "rooms");
    if (who->role == ROLE_TEMPO)
        return is_local && span_is(tenant, "bandroom") && strncmp(subject.at, "tempo-", 6) == 0 && subject.len <= 10 &&
               span_number((struct span){subject.at + 6, subject.len - 6}, &number);
    return who->role != ROLE_NONE && name_is_tenant(tenant) && !span_is(tenant, "bandroom") &&
           name_is_subject(subject) && subject.at[0] == role_letter(who->role) &&
           (who->role == ROLE_TEACHER || who->role == ROLE_DEVICE || name_is_room(span_of(who->room)));
}

bool policy_owns_client_id(const struct who *who, struct span id)
{
    char own[TENANT_MAX + SUBJECT_MAX + 2];
    size_t len = (size_t)snprintf(own, sizeof own, "%s_%s", who->tenant, who->subject);
    if (id.len < len || memcmp(id.at, own, len) != 0)
        return false;
    return id.len == len || (id.len == len + 2 && id.at[len] == '_' && id.at[len + 1] >= '0' && id.at[len + 1] <= '9');
}

/* The room that a student, device or viewer is in now: none while it is closed. */
static struct span room_of(const struct state *state, const struct who *who)
{
    struct span tenant = span_of(who->tenant), room = span_of(who->room);
    if (who->role == ROLE_DEVICE)
        room = state_room_of_device(state, tenant, span_of(who->subject));
    return room.len > 0 && state_is_open(state, tenant, room) ? room : (struct span){"", 0};
}

static bool is_in(const struct state *state, const struct who *who, struct span room)
{
    if (who->role == ROLE_TEACHER)
        return state_is_open(state, span_of(who->tenant), room);
    return room.len > 0 && span_same(room, room_of(state, who));
}

static bool has_right(int own, int any, const struct who *who, struct span subject)
{
    int bit = 1 << who->role;
    return (any & bit) || ((own & bit) && span_is(subject, who->subject));
}

bool policy_may_publish(const struct state *state, const struct who *who, const struct topic *t, int qos, bool retain)
{
    if (t->leaf == LEAF_NONE || qos != leaves[t->leaf].qos || retain != leaves[t->leaf].retain ||
        !has_right(leaves[t->leaf].says_own, leaves[t->leaf].says_any, who, t->subject))
        return false;
    if (!(MEMBER & 1 << who->role))
        return true;
    return span_is(t->tenant, who->tenant) && (!leaves[t->leaf].in_room || is_in(state, who, t->room)) &&
           !(leaves[t->leaf].is_muted &&
             state_is_muted(state, t->tenant, t->room, t->subject, who->role == ROLE_TEACHER));
}

bool policy_may_subscribe(const struct state *state, const struct who *who, struct span filter)
{
    struct topic t;
    if (who->role == ROLE_ROOMS)
        return filter.len > 7 && memcmp(filter.at, "tenant/", 7) == 0;
    if (!topic_read(filter, true, &t) || !has_right(leaves[t.leaf].hears_own, leaves[t.leaf].hears_any, who, t.subject))
        return false;
    if (who->role == ROLE_TEMPO)
        return true;
    return span_is(t.tenant, who->tenant) &&
           (!leaves[t.leaf].in_room || (who->role == ROLE_TEACHER && is_plus(t.room, true)) || is_in(state, who, t.room));
}

#define ZERO '0' /* from here on 54 printable characters stand for the lengths */

void identity_write(const struct state *state, const struct who *who, const char *nonce, char out[IDENTITY_MAX])
{
    bool has_room = (MEMBER & ~TEACHER) & 1 << who->role;
    struct span room = has_room ? room_of(state, who) : (struct span){"", 0};
    int prefix = snprintf(out + 4, IDENTITY_MAX - 4, room.len ? "tenant/%s/music_room/%.*s/" : "tenant/%s/",
                          who->tenant, (int)room.len, room.at);
    out[0] = roles[who->role].code;
    out[1] = (char)(ZERO + prefix);
    out[2] = (char)(ZERO + strlen(who->tenant));
    out[3] = (char)(ZERO + strlen(who->subject));
    snprintf(out + 4 + prefix, IDENTITY_MAX - 4 - (size_t)prefix, "%s%s", who->subject, nonce);
}

/* What an identity says, in place: for deliveries. `room` is empty when there is none now. */
struct hearer {
    char code;
    struct span prefix, tenant, subject;
    bool has_room;
};

static struct hearer hearer_of(const char *identity)
{
    size_t prefix = (size_t)(identity[1] - ZERO), tenant = (size_t)(identity[2] - ZERO);
    return (struct hearer){identity[0], {identity + 4, prefix}, {identity + 11, tenant},
                           {identity + 4 + prefix, (size_t)(identity[3] - ZERO)}, prefix > tenant + 8};
}

bool identity_read(const char *identity, const char *nonce, struct who *out)
{
    size_t len = identity ? strlen(identity) : 0;
    if (len < 4 + NONCE_LEN || memcmp(identity + len - NONCE_LEN, nonce, NONCE_LEN) != 0)
        return false;
    struct hearer hearer = hearer_of(identity);
    *out = (struct who){.role = ROLE_NONE};
    for (int role = ROLE_ROOMS; role <= ROLE_VIEWER; role++) {
        if (roles[role].code == hearer.code)
            out->role = (enum role)role;
    }
    size_t head = strlen("tenant//music_room/") + hearer.tenant.len;
    if (hearer.has_room)
        span_copy(out->room, sizeof out->room, (struct span){identity + 4 + head, hearer.prefix.len - head - 1});
    return span_copy(out->tenant, sizeof out->tenant, hearer.tenant) &&
           span_copy(out->subject, sizeof out->subject, hearer.subject);
}

bool identity_may_read(const struct state *state, const char *identity, const char *text)
{
    struct hearer hearer = hearer_of(identity);
    struct topic t;
    bool is_teacher = hearer.code == 'T';

    if (hearer.has_room && strncmp(text, hearer.prefix.at, hearer.prefix.len) == 0) {
        return leaf_read(span_of(text + hearer.prefix.len), true, false, &t) &&
               (leaves[t.leaf].hears_any & STUDENT ||
                (leaves[t.leaf].hears_own & STUDENT && span_same(t.subject, hearer.subject)));
    }
    if (hearer.code == 'R')
        return strncmp(text, "tenant/", 7) == 0;
    if (!topic_read(span_of(text), false, &t))
        return false;
    if (hearer.code == 'B')
        return t.leaf == LEAF_TEMPO;
    if (!span_same(t.tenant, hearer.tenant))
        return false;
    if (leaves[t.leaf].in_room)
        return is_teacher && state_is_open(state, t.tenant, t.room) &&
               (leaves[t.leaf].hears_any & TEACHER ||
                (leaves[t.leaf].hears_own & TEACHER && span_same(t.subject, hearer.subject)));
    return (is_teacher && t.leaf == LEAF_PRESENCE) ||
           (hearer.code == 'D' && t.leaf == LEAF_ASSIGNMENT && span_same(t.subject, hearer.subject));
}
