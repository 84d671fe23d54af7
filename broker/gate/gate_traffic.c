/* What passes: every publish, Will, subscription and delivery, and the clock's pings on their way. */
#include "clock.h"
#include "gate.h"

#include <string.h>

/* A Will sent after its DISCONNECT: of one who just left, or, with a delay, of one who left long ago. It may tell of its
 * own presence and nothing else; the late one only while its subject is not withdrawn. */
static bool may_will(const struct mosquitto_evt_acl_check *ask, const struct topic *topic)
{
    struct who gone;
    if (topic->leaf != LEAF_PRESENCE || !identity_read(mosquitto_client_username(ask->client), gate.nonce, &gone) ||
        !policy_may_publish(gate.log.state, &gone, topic, ask->qos, ask->retain))
        return false;
    return gate.leaving == ask->client ||
           !state_is_revoked(gate.log.state, span_of(gone.tenant), span_of(gone.subject), (struct span){"", 0}, 0);
}

/* Counts what was refused, and ends the connection of who does not stop. */
static void dropped(struct client *client)
{
    if (limits_dropped(&gate.limits, &client->who, now_us())) {
        gate.status.count[COUNT_FLOODERS]++;
        clients_doom(&gate.clients, client);
    }
}

/* False and `why` set: over a limit; false without: not allowed. */
static bool may_publish(const struct mosquitto_evt_acl_check *ask, struct client *client, struct topic *topic,
                        const char **why)
{
    const struct rates *rates = state_rates(gate.log.state, span_of(client->who.tenant));
    size_t bytes = strlen(ask->topic) + ask->payloadlen;
    int64_t now = now_us();
    if (!limits_publish(&gate.limits, rates, &client->who, topic, bytes, now, why))
        return false;
    *why = NULL;
    if (!policy_may_publish(gate.log.state, &client->who, topic, ask->qos, ask->retain) ||
        (topic->leaf == LEAF_PING && !ping_is_well_formed(ask->payload, ask->payloadlen)))
        return false;
    return limits_pass(&gate.limits, rates, &client->who, topic, bytes, now, why);
}

static bool on_write(const struct mosquitto_evt_acl_check *ask)
{
    struct client *client = clients_find(&gate.clients, ask->client);
    struct topic topic;
    const char *why = NULL;
    gate.ping = gate.over_quota = NULL;
    topic_read(span_of(ask->topic), false, &topic);
    if (!client)
        return may_will(ask, &topic);
    if (client->doomed)
        return false;
    if (may_publish(ask, client, &topic, &why)) {
        gate.ping = topic.leaf == LEAF_PING ? ask->topic : NULL;
        return true;
    }
    dropped(client);
    if (!why)
        return false;
    gate.status.count[COUNT_OVER_LIMIT]++;
    clients_dropped(&gate.clients, client, topic.room, why);
    /* 2.1 can say why: let the publish pass here, and MESSAGE refuse it. A Will never comes by MESSAGE. */
    if (BROKER_2_1 && ask->qos > 0 && !gate.just_admitted)
        gate.over_quota = ask->topic;
    return gate.over_quota != NULL;
}

static bool on_subscribe(const struct mosquitto_evt_acl_check *ask)
{
    poll_log();
    struct client *client = clients_find(&gate.clients, ask->client);
    if (!client || client->doomed)
        return false;
    if (limits_subscribe(&gate.limits, state_rates(gate.log.state, span_of(client->who.tenant)), &client->who,
                         mosquitto_client_sub_count(ask->client), now_us()) &&
        policy_may_subscribe(gate.log.state, &client->who, span_of(ask->topic)))
        return true;
    dropped(client);
    return false;
}

int on_acl(int event, void *data, void *unused)
{
    struct mosquitto_evt_acl_check *ask = data;
    bool allowed = false;
    (void)event, (void)unused;

    gate.reloading = false;
    if (ask->access == MOSQ_ACL_READ) { /* for each delivery: no look-up, no clock, no counter */
        const char *identity = mosquitto_client_username(ask->client);
        return identity && identity_may_read(gate.log.state, identity, ask->topic) ? BROKER_OK
                                                                                   : BROKER_DENIED;
    }
    if (ask->access == MOSQ_ACL_UNSUBSCRIBE)
        return BROKER_OK;
    if (ask->access == MOSQ_ACL_WRITE) {
        allowed = on_write(ask);
        gate.just_admitted = false;
        gate.status.count[allowed ? COUNT_PUBLISHED : COUNT_DENIED_PUBLISHES]++;
    } else if (ask->access == MOSQ_ACL_SUBSCRIBE) {
        allowed = on_subscribe(ask);
        gate.status.count[allowed ? COUNT_SUBSCRIBED : COUNT_DENIED_SUBSCRIPTIONS]++;
    }
    return allowed ? BROKER_OK : BROKER_DENIED;
}

int on_message(int event, void *data, void *unused)
{
    struct mosquitto_evt_message *message = data;
    (void)event, (void)unused;
    if (gate.ping && message->topic == gate.ping) {
        ping_answer(message->topic, message->payload, clock_now_us(gate.offset_us));
        gate.status.count[COUNT_PINGS]++;
    }
    gate.ping = NULL;
    return gate.over_quota && message->topic == gate.over_quota ? BROKER_OVER_QUOTA : BROKER_OK;
}
