/* What passes: every publish, Will, subscription and delivery, and the clock's pings on their way. */
#include "clock.h"
#include "gate.h"

#include <stdio.h>
#include <string.h>

/* Counts what was refused, and ends the connection of who does not stop. */
static void refused(struct client *client, struct meter *meter, struct span tenant, int64_t now) {
    if (!limits_vain(gate.log.state, &gate.meters, meter, tenant, now))
        return;
    gate.count[COUNT_FLOODERS]++;
    gate.is_urgent = true;
    if (client)
        client->doomed = true;
}

static void over_limit(struct meter *meter, const struct who *who, struct span room, const char *why, int64_t now) {
    gate.count[COUNT_OVER_LIMIT]++;
    if (!meter || room.len == 0)
        return; /* in no room to tell it in */
    if (meter->dropped++ == 0)
        snprintf(meter->topic, sizeof meter->topic, "tenant/%.*s/music_room/%.*s/limit/%.*s", (int)who->tenant.len,
                 who->tenant.at, (int)room.len, room.at, (int)who->subject.len, who->subject.at);
    meter->why = why;
    gate.is_telling = gate.is_telling || now - meter->told_us >= TELLING_US;
}

/* A Will sent after its DISCONNECT: of one who just left, or, with a delay, of one who left long ago. It may tell of its
 * own presence and nothing else; the late one only while its subject is not withdrawn. */
static bool may_will(const struct mosquitto *sender, const struct who *who, enum leaf leaf) {
    return leaf == LEAF_PRESENCE &&
           (gate.leaving == sender || !state_is_void(gate.log.state, who->tenant, who->subject, 1, NOTHING, UINT64_MAX));
}

static bool on_write(const struct mosquitto_evt_acl_check *ask) {
    struct client *client = client_of(ask->client);
    const char *identity = mosquitto_client_username(ask->client);
    struct map *state = gate.log.state;
    struct topic topic;
    gate.ping = gate.over_quota = NULL;
    if (!identity_is_ours(identity, gate.nonce) || (client && client->doomed))
        return false;
    struct who who = identity_read(identity);
    topic_read(span_of(ask->topic), false, &topic);
    if (!client && !may_will(ask->client, &who, topic.leaf))
        return false;
    size_t bytes = strlen(ask->topic) + ask->payloadlen;
    int64_t now = now_us();
    struct meter *meter = meter_of(&gate.meters, who.tenant, who.subject, now);
    const char *why = limits_publish(state, meter, &who, topic.leaf, bytes, now);
    if (!why && policy_may_publish(state, &who, &topic, ask->qos, ask->retain) &&
        (topic.leaf != LEAF_PING || span_has_form((struct span){ask->payload, ask->payloadlen}, FORM_PING))) {
        gate.ping = topic.leaf == LEAF_PING ? ask->topic : NULL;
        why = limits_pass(state, &gate.meters, &who, &topic, bytes, now);
        if (!why)
            return true;
    }
    refused(client, meter, who.tenant, now);
    if (why)
        over_limit(meter, &who, topic.room, why, now);
    /* 2.1 can say why: let the publish pass here, and MESSAGE refuse it. A Will never comes by MESSAGE. */
    if (BROKER_2_1 && why && client && ask->qos > 0 && !gate.just_admitted)
        gate.over_quota = ask->topic;
    return gate.over_quota != NULL;
}

static bool on_subscribe(const struct mosquitto_evt_acl_check *ask) {
    struct client *client = client_of(ask->client);
    int64_t now = now_us();
    poll_log();
    if (!client || client->doomed)
        return false;
    struct map *state = gate.log.state;
    struct who who = identity_read(mosquitto_client_username(ask->client));
    struct meter *meter = meter_of(&gate.meters, who.tenant, who.subject, now);
    if (mosquitto_client_sub_count(ask->client) < state_rate(state, who.tenant, LIMIT_SUBS).burst &&
        !limit_exceeded(state, meter, who.tenant, LIMIT_SUBS, 1, now) &&
        policy_may_subscribe(state, &who, span_of(ask->topic)))
        return true;
    refused(client, meter, who.tenant, now);
    return false;
}

int on_acl(int event, void *data, void *unused) {
    struct mosquitto_evt_acl_check *ask = data;
    (void)event, (void)unused;
    gate.reloading = false;
    if (ask->access == MOSQ_ACL_READ) { /* for each delivery: no look-up, no clock, no counter */
        const char *identity = mosquitto_client_username(ask->client);
        return identity && identity_may_read(gate.log.state, identity, ask->topic) ? BROKER_OK : BROKER_DENIED;
    }
    if (ask->access != MOSQ_ACL_WRITE && ask->access != MOSQ_ACL_SUBSCRIBE)
        return ask->access == MOSQ_ACL_UNSUBSCRIBE ? BROKER_OK : BROKER_DENIED;
    bool is_write = ask->access == MOSQ_ACL_WRITE, may = is_write ? on_write(ask) : on_subscribe(ask);
    gate.just_admitted = gate.just_admitted && !is_write;
    gate.count[is_write ? COUNT_PUBLISHED : COUNT_SUBSCRIBED] += may;
    gate.count[is_write ? COUNT_DENIED_PUBLISHES : COUNT_DENIED_SUBSCRIPTIONS] += !may;
    return may ? BROKER_OK : BROKER_DENIED;
}

int on_message(int event, void *data, void *unused) {
    struct mosquitto_evt_message *message = data;
    (void)event, (void)unused;
    if (gate.ping && message->topic == gate.ping) {
        ping_answer(message->topic, message->payload, clock_now_us(gate.offset_us));
        gate.count[COUNT_PINGS]++;
    }
    gate.ping = NULL;
    return gate.over_quota && message->topic == gate.over_quota ? BROKER_OVER_QUOTA : BROKER_OK;
}
