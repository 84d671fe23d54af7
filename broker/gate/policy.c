#include "policy.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    ROOMS = ROLE_ROOMS, TEMPO = ROLE_TEMPO, TEACHER = ROLE_TEACHER, DEVICE = ROLE_DEVICE,
    PLAYER = ROLE_TEACHER | ROLE_STUDENT | ROLE_DEVICE, MEMBER = PLAYER | ROLE_VIEWER,
};

/* The contract's table: a topic's last levels, QoS and retain, and who says and hears it: as their own (their name is in
 * it) or anybody's. The rooms service reads everything, by whatever filter. A right that is not here does not exist. */
static const struct leaf_rules {
    const char *word, *tail; /* "clock/<subject>/q": "clock" and "q" */
    bool in_room, personal, retain, is_muted;
    int qos, says_own, says_any, hears_own, hears_any;
} leaves[LEAF_NONE + 1] = { /* the frequent ones first */
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

static const char *const role_names[] = {"rooms", "tempo", "teacher", "student", "device", "viewer"}; /* by bit */

enum role role_named(struct span name) {
    for (size_t i = 0; i < sizeof role_names / sizeof *role_names; i++) {
        if (span_is(name, role_names[i]))
            return (enum role)(1 << i);
    }
    return ROLE_NONE;
}

static bool is_level(struct span level, enum form form, bool is_filter) {
    return span_has_form(level, form) || (is_filter && span_is(level, "+"));
}

/* Reads what stands below `tenant/<t>/music_room/<room>/` or `tenant/<t>/`. */
static bool leaf_read(struct span text, bool in_room, bool is_filter, struct topic *out) {
    struct span part[3];
    size_t parts = span_split(text, '/', part, 3);
    for (enum leaf i = 0; parts > 0 && i < LEAF_NONE; i++) {
        const struct leaf_rules *leaf = &leaves[i];
        if (parts != (size_t)1 + leaf->personal + (leaf->tail != NULL) || leaf->in_room != in_room ||
            !span_is(part[0], leaf->word) || (leaf->tail && !span_is(part[2], leaf->tail)))
            continue;
        if (leaf->personal && !is_level(part[1], FORM_SUBJECT, is_filter))
            return false;
        out->subject = leaf->personal ? part[1] : NOTHING;
        out->leaf = i;
        return true;
    }
    return false;
}

bool topic_read(struct span text, bool is_filter, struct topic *out) {
    *out = (struct topic){LEAF_NONE, NOTHING, NOTHING, NOTHING};
    struct span first = span_cut(&text, '/'), tenant = span_cut(&text, '/'), below = text;
    bool in_room = span_is(span_cut(&below, '/'), "music_room");
    struct span room = in_room ? span_cut(&below, '/') : NOTHING;
    if (!span_is(first, "tenant") || !is_level(tenant, FORM_TENANT, is_filter) ||
        (in_room && !is_level(room, FORM_ROOM, is_filter)))
        return false;
    out->tenant = tenant;
    out->room = room;
    return leaf_read(in_room ? below : text, in_room, is_filter, out);
}

bool policy_admits(const struct who *who, bool is_local) {
    struct span worker = who->subject;
    int64_t number;
    if (who->role & ROLES_OF_SERVICE && (!is_local || !span_is(who->tenant, "bandroom")))
        return false;
    if (who->role == ROLE_ROOMS)
        return span_is(who->subject, "rooms");
    if (who->role == ROLE_TEMPO)
        return span_is(span_cut(&worker, '-'), "tempo") && worker.len <= 4 && span_number(worker, &number);
    return who->role != ROLE_NONE && span_has_form(who->tenant, FORM_TENANT) &&
           span_has_form(who->subject, FORM_SUBJECT) && who->subject.at[0] == role_names[ffs(who->role) - 1][0] &&
           (!(who->role & ROLES_OF_A_ROOM) || span_has_form(who->room, FORM_ROOM));
}

bool policy_owns_client_id(const struct who *who, struct span id) {
    struct span part[3];
    size_t parts = span_split(id, '_', part, 3);
    return parts >= 2 && span_same(part[0], who->tenant) && span_same(part[1], who->subject) &&
           (parts == 2 || (part[2].len == 1 && part[2].at[0] >= '0' && part[2].at[0] <= '9'));
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

bool policy_may_publish(struct map *state, const struct who *who, const struct topic *t, int qos, bool retain) {
    const struct leaf_rules *leaf = &leaves[t->leaf];
    return qos == leaf->qos && retain == leaf->retain && is_in_place(state, who, t, leaf->says_own, leaf->says_any) &&
           !(leaf->is_muted && who->role & MEMBER &&
             state_is_muted(state, t->tenant, t->room, t->subject, who->role == ROLE_TEACHER));
}

bool policy_may_subscribe(struct map *state, const struct who *who, struct span filter) {
    struct topic t;
    if (who->role == ROLE_ROOMS)
        return filter.len > 7 && memcmp(filter.at, "tenant/", 7) == 0;
    return topic_read(filter, true, &t) &&
           is_in_place(state, who, &t, leaves[t.leaf].hears_own, leaves[t.leaf].hears_any);
}

#define ZERO '0' /* from here on 75 printable characters stand for numbers */

void identity_write(struct map *state, const struct who *who, const char *nonce, char out[IDENTITY_MAX]) {
    struct span room = who->role == ROLE_DEVICE ? state_room_of_device(state, who->tenant, who->subject) : who->room;
    bool is_in = room.len > 0 && state_is_open(state, who->tenant, room);
    int prefix = snprintf(out + 4, IDENTITY_MAX - 4, is_in ? "tenant/%.*s/music_room/%.*s/" : "tenant/%.*s/",
                          (int)who->tenant.len, who->tenant.at, (int)room.len, room.at);
    out[0] = (char)(ZERO + who->role);
    out[1] = (char)(ZERO + prefix);
    out[2] = (char)(ZERO + who->tenant.len);
    out[3] = (char)(ZERO + who->subject.len);
    snprintf(out + 4 + prefix, IDENTITY_MAX - 4 - (size_t)prefix, "%.*s%s", (int)who->subject.len, who->subject.at,
             nonce);
}

bool identity_is_ours(const char *identity, const char *nonce) {
    size_t len = identity ? strlen(identity) : 0;
    return len > 4 + NONCE_LEN && memcmp(identity + len - NONCE_LEN, nonce, NONCE_LEN) == 0;
}

struct who identity_read(const char *identity) {
    size_t prefix = (size_t)(identity[1] - ZERO), tenant = (size_t)(identity[2] - ZERO);
    size_t head = tenant + strlen("tenant//music_room/");
    bool is_in = prefix > head;
    return (struct who){.role = (enum role)(identity[0] - ZERO),
                        .tenant = {identity + 4 + strlen("tenant/"), tenant},
                        .subject = {identity + 4 + prefix, (size_t)(identity[3] - ZERO)},
                        .room = {identity + 4 + head, is_in ? prefix - head - 1 : 0}};
}

bool identity_may_read(struct map *state, const char *identity, const char *text) {
    struct who who = identity_read(identity);
    struct span prefix = {identity + 4, (size_t)(identity[1] - ZERO)};
    struct topic t = {.leaf = LEAF_NONE};
    if (who.room.len > 0 && strncmp(text, prefix.at, prefix.len) == 0) /* in the hearer's own room, as nearly all are */
        return leaf_read(span_of(text + prefix.len), true, false, &t) &&
               has_right(&who, &t, leaves[t.leaf].hears_own, leaves[t.leaf].hears_any);
    if (who.role == ROLE_ROOMS)
        return strncmp(text, "tenant/", 7) == 0;
    return topic_read(span_of(text), false, &t) &&
           is_in_place(state, &who, &t, leaves[t.leaf].hears_own, leaves[t.leaf].hears_any);
}
