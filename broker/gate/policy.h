/* Who may say and hear what: the roles table of the wire contract. Pure; default deny. */
#pragma once

#include "state.h"

enum role {
    ROLE_NONE = 0, ROLE_ROOMS = 1, ROLE_TEMPO = 2, ROLE_TEACHER = 4, ROLE_STUDENT = 8, ROLE_DEVICE = 16, ROLE_VIEWER = 32,
    ROLES_OF_SERVICE = ROLE_ROOMS | ROLE_TEMPO,       /* that exist on the broker's Unix socket alone */
    ROLES_OF_A_ROOM = ROLE_STUDENT | ROLE_VIEWER,     /* that their token names */
};

struct who {
    enum role role;
    struct span tenant, subject;
    struct span room; /* a credential's; an identity's is the one that its client is in now. Empty: none */
    struct span generation; /* in a device's user name */
};

/* Reads a user name, which names tenant, subject and with it the role. False: none of the contract's. */
bool who_read(struct span user_name, struct who *out);
const char *role_name(enum role role);
/* `tenant_subject` or `tenant_subject_n` with one digit. */
bool who_owns_client_id(const struct who *who, const char *client_id);

enum leaf {
    LEAF_BEAT, LEAF_NOTE, LEAF_MIDI, LEAF_PONG, LEAF_PING, LEAF_TEMPO, LEAF_ROOM, LEAF_MEMBER, LEAF_FEEDBACK,
    LEAF_LIMIT, LEAF_REPLY, LEAF_CONTROL, LEAF_PRESENCE, LEAF_ASSIGNMENT, LEAF_NONE,
};

struct topic {
    enum leaf leaf;
    struct span tenant, room, subject; /* a filter's may be "+"; empty where the leaf has none */
    struct span place;                 /* "<tenant>/<room>/", or "<tenant>/" */
    bool is_filter;                    /* it has a "+" */
};

/* Reads a topic name, or a filter whose tenant, room or subject may be `+`; LEAF_NONE: none of the contract's. Good
 * until the next call. */
const struct topic *topic_read(const char *text);

/* From here on `who` is as an identity has it. */
enum limit policy_limit(const struct who *who, const struct topic *topic); /* that an attempt to publish there spends */
bool policy_may_publish(struct map *state, const struct who *who, const struct topic *topic, int qos, bool retain);
/* Granted only if everything that the filter can match is readable (rooms that are not open are held back at delivery). */
bool policy_may_subscribe(struct map *state, const struct who *who, const char *filter);

/* An identity is everything that a client is judged by, in one string that the broker keeps with its client (as the user
 * name), so that judging a delivery takes one comparison and no look-up:
 *   role, length of the place, of the tenant, of the subject (each as one printable character, '0' being 0),
 *   the place "<tenant>/<room>/" (or "<tenant>/": in no room that is open), subject, nonce.
 * It is written anew whenever an entry of the log changes what it says. The nonce tells it from a user name that
 * came from outside. */
enum { NONCE_LEN = 16, IDENTITY_MAX = 4 + 3 + TENANT_MAX + ROOM_MAX + SUBJECT_MAX + NONCE_LEN };

void identity_write(struct map *state, const struct who *who, const char *nonce, char out[IDENTITY_MAX]);
bool identity_is_ours(const char *identity, const char *nonce);
struct who identity_read(const char *identity); /* ours */
bool identity_may_read(struct map *state, const char *identity, const char *topic);
