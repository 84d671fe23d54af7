/* Token buckets: how much a client, a room, a tenant and an address may ask of the broker. Pure: time is an argument
 * (microseconds of any clock that never steps back). */
#pragma once

#include "policy.h"

enum { SECOND_US = 1000000, METERS_MAX = 200000, ADDRESSES_MAX = 20000 }; /* the last two are the limits of their maps */

struct bucket {
    double level;  /* when something was last taken, */
    int64_t at_us; /* which was then; 0: never, and so it is full */
};

/* What one subject, room, tenant or address has used. A subject's outlives its connections: to reconnect, to connect
 * several times or to send Wills wins nothing. */
struct meter {
    int64_t used_us, kept_out_to_us;
    int64_t told_us;  /* when its owner was last told of messages dropped; */
    uint64_t dropped; /* since then, */
    const char *why;  /* by which limit, */
    struct bucket bucket[LIMIT_COUNT];
    char topic[TENANT_MAX + ROOM_MAX + SUBJECT_MAX + 32]; /* and where to tell */
};

/* True: `cost` was there and is taken. */
bool bucket_take(struct bucket *bucket, struct rate of, double cost, int64_t now_us);

/* NULL: METERS_MAX reached, or no memory; with which every limit is exceeded. */
struct meter *meter_of(struct map *meters, struct span tenant, struct span name, int64_t now_us);
bool meter_is_idle(void *meter, int64_t now_us);

/* Takes `count` from a limit's bucket and, where it has bytes behind it, `bytes` from theirs. NULL: all was there, or there
 * are no limits; else the name of the limit that is exceeded. `rates` are those of the tenant. */
const char *limit_exceeded(const struct rate *rates, struct meter *meter, enum limit limit, double count, double bytes,
                           int64_t now_us);
/* What a message that is allowed costs room and tenant. Not a teacher's: pupils must not use up the room for theirs. */
const char *limits_pass(const struct rate *rates, struct map *meters, const struct who *who, const struct topic *topic,
                        double bytes, int64_t now_us);
/* Counts one packet in vain. True: so many, for so long, that the client must go; it is kept out a while. */
bool limits_vain(const struct rate *rates, struct map *meters, struct meter *own, struct span tenant, int64_t now_us);

/* Failed CONNECTs by address; by the first half of an IPv6 address. While one is at its limit only those subjects are judged
 * that were let in lately, so that one pupil behind a school's one address cannot lock out a class that is playing. False
 * for a subject that is kept out as well, before a signature is worked out: hundreds of them come back at once. */
void limits_connect_failed(const struct rate *rates, struct map *addresses, const char *address, int64_t now_us);
bool limits_may_try(struct map *addresses, struct map *meters, const char *address, const struct who *who, int64_t now_us);
