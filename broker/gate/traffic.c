/* What passes: every publish, Will, subscription and delivery, and the clock's pings on their way. */
#include "gate.h"
#include "clock.h"

/* Counts what was refused, and ends the connection of who does not stop. */
static bool refuse(struct client *client, const struct rate *rates, struct meter *meter, struct span tenant, int64_t now) {
    if (limits_vain(rates, gate.meters, meter, tenant, now)) {
        gate.count[COUNT_FLOODERS]++;
        gate.is_urgent = true;
        if (client)
            client->is_doomed = true;
    }
    return false;
}

/* Notes what is to be told to a sender and its teachers; in no room there is nobody to tell. */
static void over_limit(struct meter *meter, const struct who *who, struct span room, const char *why) {
    gate.count[COUNT_OVER_LIMIT]++;
    if (!meter || room.len == 0)
        return;
    snprintf(meter->topic, sizeof meter->topic, "tenant/%.*s/music_room/%.*s/limit/%.*s", PRINTED(who->tenant),
             PRINTED(room), PRINTED(who->subject));
    meter->why = why;
    meter->dropped++;
}

static bool on_write(const struct mosquitto_evt_acl_check *ask) {
    struct client *client = client_of(ask->client);
    const char *identity = mosquitto_client_username(ask->client);
    const struct last last = gate.last;
    gate.last.what = ANYTHING;
    if (!identity_is_ours(identity, gate.nonce) || (client && client->is_doomed))
        return false;
    if (identity_read(identity).role == ROLE_ROOMS)
        poll_log(); /* what the service tells of is in force before anybody hears of it */
    struct map *state = gate.log.good.state;
    struct who who = identity_read(mosquitto_client_username(ask->client));
    const struct topic *topic = topic_read(ask->topic);
    /* A Will comes after its DISCONNECT, and may tell of its own presence. One with a delay comes when nobody knows any
     * more whose credential was withdrawn since: it is not sent. */
    bool is_will = last.what == LEFT && last.of == ask->client && topic->leaf == LEAF_PRESENCE;
    if (!client && !is_will)
        return false;
    double bytes = (double)(strlen(ask->topic) + ask->payloadlen);
    bool is_ping = topic->leaf == LEAF_PING;
    int64_t now = now_us();
    const struct rate *rates = state_rates(state, who.tenant);
    struct meter *meter = meter_of(gate.meters, who.tenant, who.subject, now);
    const char *why = limit_exceeded(rates, meter, policy_limit(&who, topic), 1, bytes, now);
    if (!why && policy_may_publish(state, &who, topic, ask->qos, ask->retain) &&
        (!is_ping || span_matches((struct span){ask->payload, ask->payloadlen}, "%P", NULL))) {
        why = limits_pass(rates, gate.meters, &who, topic, bytes, now);
        if (!why) {
            gate.last = (struct last){is_ping ? PINGED : ANYTHING, ask->topic};
            return true;
        }
    }
    refuse(client, rates, meter, who.tenant, now);
    if (why)
        over_limit(meter, &who, who.room.len > 0 ? who.room : topic->room, why);
    /* 2.1 can say why: let the publish pass here, and MESSAGE refuse it. A Will, as a takeover brings it, never comes by
     * MESSAGE. */
    bool is_told = BROKER_2_1 && why && client && ask->qos > 0 && last.what != ADMITTED;
    gate.last = (struct last){is_told ? OVER_QUOTA : ANYTHING, ask->topic};
    return is_told;
}

/* A filter that is asked for, or given up: which costs the same, and is never refused. */
static bool on_filter(const struct mosquitto_evt_acl_check *ask) {
    struct client *client = client_of(ask->client);
    int64_t now = now_us();
    poll_log();
    if (!client || client->is_doomed)
        return false;
    struct map *state = gate.log.good.state;
    struct who who = identity_read(mosquitto_client_username(ask->client));
    const struct rate *rates = state_rates(state, who.tenant);
    struct meter *meter = meter_of(gate.meters, who.tenant, who.subject, now);
    bool is_over = limit_exceeded(rates, meter, LIMIT_SUBS, 1, 0, now);
    bool may = ask->access == MOSQ_ACL_UNSUBSCRIBE ||
               ((!rates || mosquitto_client_sub_count(ask->client) < rates[LIMIT_SUBS].burst) &&
                policy_may_subscribe(state, &who, ask->topic));
    return (may && !is_over) || refuse(client, rates, meter, who.tenant, now);
}

int on_acl(int event, void *data, void *unused) {
    struct mosquitto_evt_acl_check *ask = data;
    if (ask->access == MOSQ_ACL_READ) { /* for each delivery: no look-up, no clock, no counter */
        const char *identity = mosquitto_client_username(ask->client);
        return identity && identity_may_read(gate.log.good.state, identity, ask->topic) ? BROKER_OK : BROKER_DENIED;
    }
    bool is_write = ask->access == MOSQ_ACL_WRITE, is_filter = ask->access & (MOSQ_ACL_SUBSCRIBE | MOSQ_ACL_UNSUBSCRIBE);
    bool may = is_write ? on_write(ask) : is_filter && on_filter(ask);
    gate.count[(is_write ? COUNT_PUBLISHED : COUNT_SUBSCRIBED) + !may]++;
    return may || ask->access == MOSQ_ACL_UNSUBSCRIBE ? BROKER_OK : BROKER_DENIED;
}

int on_message(int event, void *data, void *unused) {
    struct mosquitto_evt_message *message = data;
    const struct last last = gate.last;
    gate.last.what = ANYTHING;
    if (last.of != message->topic)
        return BROKER_OK;
    if (last.what == PINGED) {
        ping_answer(message->topic, message->payload, clock_now_us(gate.offset_us));
        gate.count[COUNT_PINGS]++;
    }
    return last.what == OVER_QUOTA ? BROKER_OVER_QUOTA : BROKER_OK;
}
