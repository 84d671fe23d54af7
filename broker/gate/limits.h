/* Token buckets: how much a client, a room, a tenant and an address may ask of the broker. Pure: time is an argument
 * (microseconds of any clock that never steps back). */
#ifndef BANDROOM_LIMITS_H
#define BANDROOM_LIMITS_H

#include "policy.h"

struct bucket {
    int64_t level, at_us; /* millionths; at_us 0: not used yet, and so full */
};

/* True: `cost` was there and is taken. */
bool bucket_take(struct bucket *bucket, int64_t rate, int64_t burst, int64_t cost, int64_t now_us);

/* What one subject, room, tenant or address has used. A subject's outlives its connections: to reconnect, to connect
 * several times or to send Wills wins nothing. */
struct meter {
    struct bucket bucket[LIMIT_COUNT];
    struct bucket connects, drops;
    int64_t used_us, kept_out_to_us, reported_us;
};

struct limits {
    struct map meters, addresses;
    size_t swept, addresses_swept;
};

#define METERS_MAX 200000 /* subjects, rooms and tenants */
#define ADDRESSES_MAX 20000

bool limits_init(struct limits *limits, uint64_t seed);
void limits_free(struct limits *limits);
void limits_sweep(struct limits *limits, int64_t now_us); /* a small step; call it again and again */

/* What every attempt to publish costs its client, allowed or not (`bytes`: topic and payload). False: over the limit
 * that `why` names. */
bool limits_publish(struct limits *limits, const struct rates *rates, const struct who *who, const struct topic *topic,
                    size_t bytes, int64_t now_us, const char **why);
/* What an allowed one costs room and tenant. Not a teacher's: pupils must not use up the room for their teacher. */
bool limits_pass(struct limits *limits, const struct rates *rates, const struct who *who, const struct topic *topic,
                 size_t bytes, int64_t now_us, const char **why);
/* One filter; `held`: subscriptions that the client has. */
bool limits_subscribe(struct limits *limits, const struct rates *rates, const struct who *who, int held, int64_t now_us);
/* Counts one refused or dropped packet. True: so many, for so long, that the client must go; it is kept out a while. */
bool limits_dropped(struct limits *limits, const struct who *who, int64_t now_us);
bool limits_may_connect(struct limits *limits, const struct who *who, int64_t now_us);
/* True at most once a second for each subject: now is a time to tell it of drops. */
bool limits_may_report(struct limits *limits, const struct who *who, int64_t now_us);

/* Failed CONNECTs by address. While an address is at its limit only those subjects are judged that were let in lately, so
 * that one pupil behind a school's one address cannot lock out a class that is playing. */
void limits_connect_failed(struct limits *limits, const char *address, int64_t now_us);
bool limits_may_try(struct limits *limits, const char *address, struct span tenant, struct span subject, int64_t now_us);

#endif
