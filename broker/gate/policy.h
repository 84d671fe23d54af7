/* Who may say and hear what: the roles table of the wire contract. Pure; default deny. */
#ifndef BANDROOM_POLICY_H
#define BANDROOM_POLICY_H

#include "state.h"

enum role { ROLE_NONE, ROLE_ROOMS, ROLE_TEMPO, ROLE_TEACHER, ROLE_STUDENT, ROLE_DEVICE, ROLE_VIEWER };

enum role role_named(struct span name);
char role_letter(enum role role); /* that a subject's name begins with; '-' for the service's own */

struct who {
    enum role role;
    char tenant[TENANT_MAX + 1];
    char subject[SUBJECT_MAX + 1];
    char room[ROOM_MAX + 1]; /* from the token; a device's is looked up; else empty */
};

enum leaf {
    LEAF_BEAT, LEAF_NOTE, LEAF_MIDI, LEAF_PONG, LEAF_PING, LEAF_TEMPO, LEAF_ROOM, LEAF_MEMBER, LEAF_FEEDBACK,
    LEAF_LIMIT, LEAF_REPLY, LEAF_CONTROL, LEAF_PRESENCE, LEAF_ASSIGNMENT, LEAF_NONE,
};

struct topic {
    enum leaf leaf;
    struct span tenant, room, subject; /* a filter's may be "+"; empty where the leaf has none */
};

/* Reads a topic name, or a filter whose tenant, room or subject may be `+`. False: none of the contract's. */
bool topic_read(struct span text, bool is_filter, struct topic *out);

/* Whether the parts of an identity belong together, and it came by the right door: the service's own roles only by the
 * broker's Unix socket (`is_local`). */
bool policy_admits(const struct who *who, bool is_local);
/* `tenant_subject` or `tenant_subject_n` with one digit. */
bool policy_owns_client_id(const struct who *who, struct span client_id);
bool policy_may_publish(const struct state *state, const struct who *who, const struct topic *topic, int qos, bool retain);
/* Granted only if everything that the filter can match is readable (rooms that are not open are held back at delivery). */
bool policy_may_subscribe(const struct state *state, const struct who *who, struct span filter);

/* An identity is everything that a delivery is judged by, in one string that the broker keeps with its client (as
 * the user name), so that judging takes one comparison and no look-up:
 *   role's character, length of the prefix, of the tenant, of the subject (each as one printable character, '0' being 0),
 *   the prefix "tenant/<tenant>/music_room/<room>/" (or "tenant/<tenant>/": no room now), subject, nonce.
 * It is written anew whenever an entry of the log changes what it says. The nonce tells it from a user name that
 * came from outside. */
#define NONCE_LEN 16
#define IDENTITY_MAX (4 + 33 + TENANT_MAX + ROOM_MAX + SUBJECT_MAX + NONCE_LEN)

void identity_write(const struct state *state, const struct who *who, const char *nonce, char out[IDENTITY_MAX]);
bool identity_read(const char *identity, const char *nonce, struct who *out); /* false: not one of ours */
bool identity_may_read(const struct state *state, const char *identity, const char *topic);

#endif
