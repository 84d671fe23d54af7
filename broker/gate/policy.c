#include "policy.h"

#include <stdio.h>
#include <strings.h>

enum {
    ROOMS = ROLE_ROOMS, TEMPO = ROLE_TEMPO, TEACHER = ROLE_TEACHER, DEVICE = ROLE_DEVICE,
    PLAYER = ROLE_TEACHER | ROLE_STUDENT | ROLE_DEVICE, MEMBER = PLAYER | ROLE_VIEWER,
};

/* The contract's table: a topic's last levels, QoS and retain, and who says and hears it: as their own (their name is in
 * it) or anybody's. The rooms service reads everything, by whatever filter. A right that is not here does not exist. */
static const struct leaf_rules {
    const char *pattern;
    bool in_room, retain, is_muted;
    int qos, says_own, says_any, hears_own, hears_any;
    enum limit limit; /* of those who may say it */
} leaves[LEAF_NONE + 1] = { /* the frequent ones first */
    [LEAF_BEAT] = {"beat", 1, 0, 0, 0, 0, TEMPO, 0, MEMBER, LIMIT_CLIENT_MSGS},
    [LEAF_NOTE] = {"note/(%s)", 1, 0, 1, 0, PLAYER, ROOMS, 0, MEMBER, LIMIT_CLIENT_MSGS},
    [LEAF_MIDI] = {"midi/(%s)", 1, 0, 1, 0, PLAYER, ROOMS, 0, MEMBER, LIMIT_CLIENT_MSGS},
    [LEAF_PONG] = {"clock/(%s)/r", 1, 0, 0, 0, 0, ROOMS, MEMBER, 0, LIMIT_CLIENT_MSGS},
    [LEAF_PING] = {"clock/(%s)/q", 1, 0, 0, 0, MEMBER, ROOMS, 0, 0, LIMIT_CLOCK_MSGS},
    [LEAF_TEMPO] = {"tempo", 1, 1, 0, 1, 0, ROOMS, 0, MEMBER | TEMPO, LIMIT_CLIENT_MSGS},
    [LEAF_ROOM] = {"room", 1, 1, 0, 1, 0, ROOMS, 0, MEMBER, LIMIT_CLIENT_MSGS},
    [LEAF_MEMBER] = {"member/(%s)", 1, 1, 0, 1, 0, ROOMS, 0, MEMBER, LIMIT_CLIENT_MSGS},
    [LEAF_FEEDBACK] = {"feedback/(%s)", 1, 0, 0, 0, 0, ROOMS, MEMBER, TEACHER, LIMIT_CLIENT_MSGS},
    [LEAF_LIMIT] = {"limit/(%s)", 1, 0, 0, 0, 0, ROOMS, MEMBER, TEACHER, LIMIT_CLIENT_MSGS},
    [LEAF_REPLY] = {"control/(%s)/reply", 1, 0, 0, 1, 0, ROOMS, TEACHER, 0, LIMIT_CLIENT_MSGS},
    [LEAF_CONTROL] = {"control/(%s)", 1, 0, 0, 1, TEACHER, ROOMS, 0, 0, LIMIT_CONTROL_MSGS},
    [LEAF_PRESENCE] = {"presence/(%s)", 0, 1, 0, 1, MEMBER, ROOMS, 0, TEACHER, LIMIT_PRESENCE_MSGS},
    [LEAF_ASSIGNMENT] = {"device/(%s)/room", 0, 1, 0, 1, 0, ROOMS, DEVICE, 0, LIMIT_CLIENT_MSGS},
};

static const struct role_rules {
    const char *name, *user_name;
} roles[] = { /* by bit */
    {"rooms", "(bandroom)/(rooms)"}, {"tempo", "(bandroom)/(tempo-%V)"}, {"teacher", "(%T)/(t-%I)"},
    {"student", "(%T)/(s-%I)"}, {"device", "(%T)/(d-%I)/(%G)"}, {"viewer", "(%T)/(v-%I)"},
};
#define ROLES (sizeof roles / sizeof *roles)

bool who_read(struct span user_name, struct who *out) {
    struct span part[3] = {NOTHING, NOTHING, NOTHING};
    size_t i = 0;
    while (i < ROLES && !span_matches(user_name, roles[i].user_name, part))
        i++;
    *out = (struct who){(enum role)(1 << i), part[0], part[1], NOTHING, part[2]};
    return i < ROLES && out->subject.len <= SUBJECT_MAX;
}

const char *role_name(enum role role) {
    return roles[ffs(role) - 1].name;
}

bool who_owns_client_id(const struct who *who, const char *id) {
    char own[TENANT_MAX + SUBJECT_MAX + 2];
    int len = snprintf(own, sizeof own, "%.*s_%.*s", PRINTED(who->tenant), PRINTED(who->subject));
    return strncmp(id, own, (size_t)len) == 0 && (!id[len] || span_matches(span_of(id + len), "_%D", NULL));
}

/* Reads what stands below `tenant/<t>/music_room/<room>/` or `tenant/<t>/`. */
static enum leaf leaf_read(struct span text, bool in_room, struct span *subject) {
    enum leaf leaf = 0;
    while (leaf < LEAF_NONE && !(leaves[leaf].in_room == in_room && span_matches(text, leaves[leaf].pattern, subject)))
        leaf++;
    return leaf;
}

/* A message is delivered to many in a row, so what its topic says is worked out once. */
const struct topic *topic_read(const char *text) {
    static char known[128]; /* a text that does not fit is longer than any of the contract's, and stays so when it is cut */
    static char place[sizeof known];
    static struct topic topic = {.leaf = LEAF_NONE};
    if (strcmp(text, known) == 0)
        return &topic;
    struct span part[3] = {NOTHING, NOTHING, NOTHING};
    memccpy(known, text, '\0', sizeof known - 1);
    topic = (struct topic){.leaf = LEAF_NONE, .is_filter = strchr(known, '+')};
    bool in_room = span_matches(span_of(known), "tenant/(%t)/music_room/(%r)/(%*)", part);
    if (in_room || span_matches(span_of(known), "tenant/(%t)/(%*)", part)) {
        topic.leaf = leaf_read(part[in_room ? 2 : 1], in_room, &topic.subject);
        topic.tenant = part[0];
        topic.room = in_room ? part[1] : NOTHING;
        topic.place = span_join(part, in_room ? 2 : 1, place, sizeof place);
    }
    return &topic;
}

static bool has_right(const struct who *who, const struct topic *t, int own, int any) {
    return any & who->role || (own & who->role && span_same(t->subject, who->subject));
}

/* Whether all that `t` names or matches is where the client is, and its own where it must be. */
static bool is_in_place(struct map *state, const struct who *who, const struct topic *t, int own, int any) {
    if (!has_right(who, t, own, any))
        return false;
    if (who->role & ROLES_OF_SERVICE)
        return true;
    if (!span_same(t->tenant, who->tenant))
        return false;
    if (who->role == ROLE_TEACHER && leaves[t->leaf].in_room)
        return span_is(t->room, "+") || state_is_open(state, t->tenant, t->room);
    return !leaves[t->leaf].in_room || (who->room.len > 0 && span_same(t->room, who->room));
}

enum limit policy_limit(const struct who *who, const struct topic *t) {
    return who->role & (leaves[t->leaf].says_own | leaves[t->leaf].says_any) ? leaves[t->leaf].limit : LIMIT_CLIENT_MSGS;
}

bool policy_may_publish(struct map *state, const struct who *who, const struct topic *t, int qos, bool retain) {
    const struct leaf_rules *leaf = &leaves[t->leaf];
    return !t->is_filter && qos == leaf->qos && retain == leaf->retain &&
           is_in_place(state, who, t, leaf->says_own, leaf->says_any) &&
           !(leaf->is_muted && who->role & MEMBER &&
             state_is_muted(state, t->tenant, t->room, t->subject, who->role == ROLE_TEACHER));
}

bool policy_may_subscribe(struct map *state, const struct who *who, const char *filter) {
    const struct topic *t = topic_read(filter);
    if (who->role == ROLE_ROOMS)
        return span_matches(span_of(filter), "tenant/%*", NULL);
    return is_in_place(state, who, t, leaves[t->leaf].hears_own, leaves[t->leaf].hears_any);
}

#define ZERO '0' /* from here on 75 printable characters stand for numbers */

void identity_write(struct map *state, const struct who *who, const char *nonce, char out[IDENTITY_MAX]) {
    struct span room = who->role == ROLE_DEVICE ? state_room_of_device(state, who->tenant, who->subject) : who->room;
    bool is_in = room.len > 0 && state_is_open(state, who->tenant, room);
    int place = snprintf(out + 4, IDENTITY_MAX - 4, is_in ? "%.*s/%.*s/" : "%.*s/", PRINTED(who->tenant), PRINTED(room));
    out[0] = (char)(ZERO + who->role);
    out[1] = (char)(ZERO + place);
    out[2] = (char)(ZERO + who->tenant.len);
    out[3] = (char)(ZERO + who->subject.len);
    snprintf(out + 4 + place, IDENTITY_MAX - 4 - (size_t)place, "%.*s%s", PRINTED(who->subject), nonce);
}

bool identity_is_ours(const char *identity, const char *nonce) {
    size_t len = identity ? strlen(identity) : 0;
    return len > 4 + NONCE_LEN && memcmp(identity + len - NONCE_LEN, nonce, NONCE_LEN) == 0;
}

struct who identity_read(const char *identity) {
    size_t place = (size_t)(identity[1] - ZERO), tenant = (size_t)(identity[2] - ZERO);
    return (struct who){.role = (enum role)(identity[0] - ZERO),
                        .tenant = {identity + 4, tenant},
                        .subject = {identity + 4 + place, (size_t)(identity[3] - ZERO)},
                        .room = {identity + 4 + tenant + 1, place > tenant + 1 ? place - tenant - 2 : 0}};
}

bool identity_may_read(struct map *state, const char *identity, const char *text) {
    const struct topic *t = topic_read(text);
    const struct leaf_rules *leaf = &leaves[t->leaf];
    bool is_here = (size_t)(identity[1] - ZERO) == t->place.len && strncmp(identity + 4, t->place.at, t->place.len) == 0;
    if (is_here && leaf->hears_any & (identity[0] - ZERO))
        return !t->is_filter; /* in the hearer's own room, as nearly all are */
    struct who who = identity_read(identity);
    if (who.role == ROLE_ROOMS)
        return !strchr(text, '+') && strncmp(text, "tenant/", 7) == 0;
    return !t->is_filter && is_in_place(state, &who, t, leaf->hears_own, leaf->hears_any);
}
