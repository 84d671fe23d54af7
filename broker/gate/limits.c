#include "limits.h"

#include <arpa/inet.h>

/* After IDLE_US every bucket is full again, but for odd limits of a tenant's own. */
enum { VAIN_MANY = 200, KEPT_OUT_US = 30 * SECOND_US, ADDRESS_KEPT_OUT_US = SECOND_US, IDLE_US = 600 * SECOND_US };

bool bucket_take(struct bucket *bucket, struct rate of, double cost, int64_t now_us) {
    double level = bucket->level + of.rate * (double)(now_us - bucket->at_us) / SECOND_US;
    if (!bucket->at_us || !(level < of.burst))
        level = of.burst;
    if (level < cost)
        return false;
    *bucket = (struct bucket){level - cost, now_us};
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

const char *limit_exceeded(const struct rate *rates, struct meter *meter, enum limit limit, double count, double bytes,
                           int64_t now_us) {
    if (rates && (!meter || !bucket_take(&meter->bucket[limit], rates[limit], count, now_us)))
        return rates[limit].name;
    bool has_bytes = limit % 2 == 0 && limit <= LIMIT_PRESENCE_MSGS;
    return rates && has_bytes ? limit_exceeded(rates, meter, limit + 1, bytes, 0, now_us) : NULL;
}

const char *limits_pass(const struct rate *rates, struct map *meters, const struct who *who, const struct topic *topic,
                        double bytes, int64_t now_us) {
    if (!(who->role & (ROLE_STUDENT | ROLE_DEVICE)) || (topic->leaf != LEAF_NOTE && topic->leaf != LEAF_MIDI))
        return NULL;
    struct meter *room = meter_of(meters, topic->tenant, topic->room, now_us);
    struct meter *tenant = meter_of(meters, topic->tenant, NOTHING, now_us);
    const char *why = limit_exceeded(rates, room, LIMIT_ROOM_MSGS, 1, bytes, now_us);
    return why ? why : limit_exceeded(rates, tenant, LIMIT_TENANT_MSGS, 1, bytes, now_us);
}

bool limits_vain(const struct rate *rates, struct map *meters, struct meter *own, struct span tenant, int64_t now_us) {
    struct meter *all = meter_of(meters, tenant, NOTHING, now_us);
    double count = limit_exceeded(rates, all, LIMIT_TENANT_VAIN, 1, 0, now_us) ? VAIN_MANY : 1;
    bool is_too_much = limit_exceeded(rates, own, LIMIT_VAIN, count, 0, now_us);
    if (is_too_much && own)
        own->kept_out_to_us = now_us + KEPT_OUT_US;
    return is_too_much;
}

/* Whoever has one IPv6 address has the 2^64 with the same first half. With `now_us` 0 none is made where there is none. */
static struct meter *meter_of_network(struct map *addresses, const char *address, int64_t now_us) {
    struct in6_addr v6;
    bool is_v6 = inet_pton(AF_INET6, address, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6);
    struct span network = is_v6 ? (struct span){(const char *)&v6, sizeof v6 / 2} : span_of(address);
    return now_us ? meter_of(addresses, network, NOTHING, now_us) : map_at(addresses, network, NOTHING, NOTHING, 0);
}

void limits_connect_failed(const struct rate *rates, struct map *addresses, const char *address, int64_t now_us) {
    struct meter *meter = meter_of_network(addresses, address, now_us);
    if (meter && limit_exceeded(rates, meter, LIMIT_CONNECTS, 1, 0, now_us))
        meter->kept_out_to_us = now_us + ADDRESS_KEPT_OUT_US;
} /* without a meter there are more addresses than are counted: outsiders must not shut the door by numbers */

bool limits_may_try(struct map *addresses, struct map *meters, const char *address, const struct who *who, int64_t now_us) {
    const struct meter *own = map_at(meters, who->tenant, who->subject, NOTHING, 0);
    const struct meter *all = own ? own : meter_of_network(addresses, address, 0);
    return !all || now_us >= all->kept_out_to_us;
}
