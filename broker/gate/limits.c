#include "limits.h"

#include <string.h>

#define CONNECTS_RATE 50 /* a second: of one subject; and failed ones of one address */
#define CONNECTS_BURST 500
#define DROPS_RATE 100 /* a second: what a muted player or a clumsy device may go on sending in vain */
#define DROPS_BURST 2000
#define TENANT_DROPS_RATE 1000 /* a second: beyond it a flood has many heads, and each refused packet counts for many: */
#define TENANT_DROPS_BURST 5000 /* the broker reads in turn, so hundreds who flood are each too slow to be noticed alone */
#define DROPS_MANY 50
#define KEPT_OUT_US (30 * 1000000)
#define IDLE_US (600 * 1000000LL) /* by then every bucket is full again, but for odd limits of a tenant's own */
#define LEVEL_MAX_US (1000 * 1000000LL)

static bool bucket_has(struct bucket *bucket, int64_t rate, int64_t burst, int64_t cost, int64_t now_us)
{
    int64_t passed = now_us - bucket->at_us, full = burst * 1000000;
    if (bucket->at_us == 0 || passed > LEVEL_MAX_US)
        passed = LEVEL_MAX_US; /* keeps the product within 64 bits */
    bucket->level = bucket->at_us == 0 ? full : bucket->level + (passed > 0 ? passed * rate : 0);
    if (bucket->level > full)
        bucket->level = full;
    bucket->at_us = now_us > 0 ? now_us : 1;
    return bucket->level >= cost * 1000000;
}

bool bucket_take(struct bucket *bucket, int64_t rate, int64_t burst, int64_t cost, int64_t now_us)
{
    bool has = bucket_has(bucket, rate, burst, cost, now_us);
    if (has)
        bucket->level -= cost * 1000000;
    return has;
}

bool limits_init(struct limits *limits, uint64_t seed)
{
    *limits = (struct limits){0};
    return map_init(&limits->meters, sizeof(struct meter), METERS_MAX, seed) &&
           map_init(&limits->addresses, sizeof(struct meter), ADDRESSES_MAX, seed);
}

void limits_free(struct limits *limits)
{
    map_free(&limits->meters);
    map_free(&limits->addresses);
}

static bool is_idle(void *value, int64_t now_us)
{
    const struct meter *meter = value;
    return now_us - meter->used_us > IDLE_US;
}

void limits_sweep(struct limits *limits, int64_t now_us)
{
    map_sweep(&limits->meters, &limits->swept, 256, is_idle, now_us);
    map_sweep(&limits->addresses, &limits->addresses_swept, 64, is_idle, now_us);
}

static struct meter *meter_of(struct limits *limits, struct span tenant, struct span name, int64_t now_us)
{
    char key[TENANT_MAX + 64];
    if (tenant.len + name.len + 1 > sizeof key)
        return NULL;
    memcpy(key, tenant.at, tenant.len);
    key[tenant.len] = '/';
    memcpy(key + tenant.len + 1, name.at, name.len);
    struct meter *meter = map_insert(&limits->meters, key, tenant.len + 1 + name.len);
    if (meter)
        meter->used_us = now_us;
    return meter;
}

static struct meter *meter_of_who(struct limits *limits, const struct who *who, int64_t now_us)
{
    return meter_of(limits, span_of(who->tenant), span_of(who->subject), now_us);
}

static bool is_service(const struct who *who)
{
    return who->role == ROLE_ROOMS || who->role == ROLE_TEMPO;
}

/* Takes from both buckets or from neither. */
static bool take_both(struct meter *meter, const struct rates *rates, enum limit msgs, enum limit bytes, size_t size,
                      int64_t now_us, const char **why)
{
    *why = limit_name(msgs);
    if (!meter || !bucket_has(&meter->bucket[msgs], rates->rate[msgs], rates->burst[msgs], 1, now_us))
        return false;
    *why = limit_name(bytes);
    return bucket_take(&meter->bucket[bytes], rates->rate[bytes], rates->burst[bytes], (int64_t)size, now_us) &&
           bucket_take(&meter->bucket[msgs], rates->rate[msgs], rates->burst[msgs], 1, now_us);
}

bool limits_publish(struct limits *limits, const struct rates *rates, const struct who *who, const struct topic *topic,
                    size_t bytes, int64_t now_us, const char **why)
{
    if (is_service(who))
        return true;
    struct meter *meter = meter_of_who(limits, who, now_us);
    enum limit own = topic->leaf == LEAF_PING ? LIMIT_CLOCK_MSGS : LIMIT_CONTROL_MSGS;
    if (topic->leaf != LEAF_PING && !(topic->leaf == LEAF_CONTROL && who->role == ROLE_TEACHER))
        return take_both(meter, rates, LIMIT_CLIENT_MSGS, LIMIT_CLIENT_BYTES, bytes, now_us, why);
    *why = limit_name(own);
    return meter && bucket_take(&meter->bucket[own], rates->rate[own], rates->burst[own], 1, now_us);
}

bool limits_pass(struct limits *limits, const struct rates *rates, const struct who *who, const struct topic *topic,
                 size_t bytes, int64_t now_us, const char **why)
{
    if (is_service(who) || who->role == ROLE_TEACHER || (topic->leaf != LEAF_NOTE && topic->leaf != LEAF_MIDI))
        return true;
    struct meter *room = meter_of(limits, topic->tenant, topic->room, now_us);
    struct meter *tenant = meter_of(limits, topic->tenant, (struct span){"", 0}, now_us);
    return take_both(room, rates, LIMIT_ROOM_MSGS, LIMIT_ROOM_BYTES, bytes, now_us, why) &&
           take_both(tenant, rates, LIMIT_TENANT_MSGS, LIMIT_TENANT_BYTES, bytes, now_us, why);
}

bool limits_subscribe(struct limits *limits, const struct rates *rates, const struct who *who, int held, int64_t now_us)
{
    if (is_service(who))
        return true;
    struct meter *meter = meter_of_who(limits, who, now_us);
    int64_t rate = rates->rate[LIMIT_SUBS], burst = rates->burst[LIMIT_SUBS];
    return meter && held < burst && bucket_take(&meter->bucket[LIMIT_SUBS], rate, burst, 1, now_us);
}

bool limits_dropped(struct limits *limits, const struct who *who, int64_t now_us)
{
    struct meter *meter = meter_of_who(limits, who, now_us);
    struct meter *tenant = meter_of(limits, span_of(who->tenant), (struct span){"", 0}, now_us);
    bool few = tenant && bucket_take(&tenant->drops, TENANT_DROPS_RATE, TENANT_DROPS_BURST, 1, now_us);
    if (is_service(who) || (meter && bucket_take(&meter->drops, DROPS_RATE, DROPS_BURST, few ? 1 : DROPS_MANY, now_us)))
        return false;
    if (meter)
        meter->kept_out_to_us = now_us + KEPT_OUT_US;
    return true;
}

bool limits_may_connect(struct limits *limits, const struct who *who, int64_t now_us)
{
    struct meter *meter = meter_of_who(limits, who, now_us);
    return is_service(who) || (meter && now_us >= meter->kept_out_to_us &&
                               bucket_take(&meter->connects, CONNECTS_RATE, CONNECTS_BURST, 1, now_us));
}

bool limits_may_report(struct limits *limits, const struct who *who, int64_t now_us)
{
    struct meter *meter = meter_of_who(limits, who, now_us);
    if (!meter || (meter->reported_us && now_us - meter->reported_us < 1000000))
        return false;
    meter->reported_us = now_us;
    return true;
}

void limits_connect_failed(struct limits *limits, const char *address, int64_t now_us)
{
    struct meter *meter = map_insert(&limits->addresses, address, strlen(address));
    if (!meter)
        return; /* more addresses than are counted: outsiders must not be able to shut the door by numbers */
    meter->used_us = now_us;
    bucket_take(&meter->connects, CONNECTS_RATE, CONNECTS_BURST, 1, now_us);
}

bool limits_may_try(struct limits *limits, const char *address, struct span tenant, struct span subject, int64_t now_us)
{
    char key[TENANT_MAX + SUBJECT_MAX + 2];
    struct meter *meter = map_find(&limits->addresses, address, strlen(address));
    if (!meter || bucket_has(&meter->connects, CONNECTS_RATE, CONNECTS_BURST, 1, now_us))
        return true;
    if (tenant.len > TENANT_MAX || subject.len > SUBJECT_MAX)
        return false;
    memcpy(key, tenant.at, tenant.len);
    key[tenant.len] = '/';
    memcpy(key + tenant.len + 1, subject.at, subject.len);
    return map_find(&limits->meters, key, tenant.len + 1 + subject.len) != NULL;
}
