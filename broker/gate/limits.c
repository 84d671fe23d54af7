#include "limits.h"

#define VAIN_MANY 200
#define KEPT_OUT_US (30 * 1000000)
#define ADDRESS_KEPT_OUT_US 1000000
#define IDLE_US (600 * 1000000LL) /* by then every bucket is full again, but for odd limits of a tenant's own */
#define PASSED_MAX_US (1000 * 1000000LL) /* keeps the product within 64 bits */

bool bucket_take(struct bucket *bucket, int64_t rate, int64_t burst, int64_t cost, int64_t now_us) {
    int64_t passed = now_us - bucket->at_us, full = burst * 1000000;
    if (bucket->at_us == 0)
        bucket->level = full;
    else if (passed > 0)
        bucket->level += (passed < PASSED_MAX_US ? passed : PASSED_MAX_US) * rate;
    if (bucket->level > full)
        bucket->level = full;
    bucket->at_us = now_us > 0 ? now_us : 1;
    if (bucket->level < cost * 1000000)
        return false;
    bucket->level -= cost * 1000000;
    return true;
}

struct meter *meter_of(struct map *meters, struct span tenant, struct span name, int64_t now_us) {
    struct meter *meter = map_at(meters, tenant, name, NOTHING, sizeof *meter);
    if (meter)
        meter->used_us = now_us;
    return meter;
}

bool meter_is_idle(void *meter, int64_t now_us) {
    return now_us - ((struct meter *)meter)->used_us > IDLE_US;
}

const char *limit_exceeded(struct map *state, struct meter *meter, struct span tenant, enum limit limit, size_t cost,
                           int64_t now_us) {
    struct rate of = state_rate(state, tenant, limit);
    return meter && bucket_take(&meter->bucket[limit], of.rate, of.burst, (int64_t)cost, now_us) ? NULL : of.name;
}

/* One message and its bytes, which stand behind it. */
static const char *either(struct map *state, struct meter *meter, struct span tenant, enum limit msgs, size_t bytes,
                          int64_t now_us) {
    const char *why = limit_exceeded(state, meter, tenant, msgs, 1, now_us);
    return why ? why : limit_exceeded(state, meter, tenant, msgs + 1, bytes, now_us);
}

const char *limits_publish(struct map *state, struct meter *own, const struct who *who, enum leaf leaf, size_t bytes,
                           int64_t now_us) {
    if (leaf == LEAF_PING)
        return limit_exceeded(state, own, who->tenant, LIMIT_CLOCK_MSGS, 1, now_us);
    if (leaf == LEAF_PRESENCE || (leaf == LEAF_CONTROL && who->role == ROLE_TEACHER))
        return limit_exceeded(state, own, who->tenant, LIMIT_CONTROL_MSGS, 1, now_us);
    return either(state, own, who->tenant, LIMIT_CLIENT_MSGS, bytes, now_us);
}

const char *limits_pass(struct map *state, struct map *meters, const struct who *who, const struct topic *topic,
                        size_t bytes, int64_t now_us) {
    if (!(who->role & (ROLE_STUDENT | ROLE_DEVICE)) || (topic->leaf != LEAF_NOTE && topic->leaf != LEAF_MIDI))
        return NULL;
    struct meter *room = meter_of(meters, topic->tenant, topic->room, now_us);
    struct meter *tenant = meter_of(meters, topic->tenant, NOTHING, now_us);
    const char *why = either(state, room, topic->tenant, LIMIT_ROOM_MSGS, bytes, now_us);
    return why ? why : either(state, tenant, topic->tenant, LIMIT_TENANT_MSGS, bytes, now_us);
}

bool limits_vain(struct map *state, struct map *meters, struct meter *own, struct span tenant, int64_t now_us) {
    struct meter *all = meter_of(meters, tenant, NOTHING, now_us);
    size_t cost = limit_exceeded(state, all, tenant, LIMIT_TENANT_VAIN, 1, now_us) ? VAIN_MANY : 1;
    bool is_too_much = limit_exceeded(state, own, tenant, LIMIT_VAIN, cost, now_us);
    if (is_too_much && own)
        own->kept_out_to_us = now_us + KEPT_OUT_US;
    return is_too_much;
}

void limits_connect_failed(struct map *addresses, const char *address, int64_t now_us) {
    struct rate of = default_rates[LIMIT_CONNECTS];
    struct meter *meter = meter_of(addresses, span_of(address), NOTHING, now_us);
    if (meter && !bucket_take(&meter->bucket[LIMIT_CONNECTS], of.rate, of.burst, 1, now_us))
        meter->kept_out_to_us = now_us + ADDRESS_KEPT_OUT_US;
} /* without a meter there are more addresses than are counted: outsiders must not shut the door by numbers */

bool limits_may_try(struct map *addresses, struct map *meters, const char *address, struct span user, int64_t now_us) {
    const struct meter *meter = map_at(addresses, span_of(address), NOTHING, NOTHING, 0);
    struct span tenant = span_cut(&user, '/'), subject = span_cut(&user, '/');
    return !meter || now_us >= meter->kept_out_to_us || map_at(meters, tenant, subject, NOTHING, 0);
}
