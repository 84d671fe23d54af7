/* Who is let in, and who stays in when the gate log says something new. */
#include "gate.h"

#include <time.h>

#define REFUSALS_LOGGED 10 /* a second: an attack must not fill the disk */

static struct client *client_at(const struct mosquitto *handle, size_t make) {
    return map_at(gate.clients, (struct span){(const char *)&handle, sizeof handle}, NOTHING, NOTHING, make);
}

struct client *client_of(const struct mosquitto *handle) {
    struct client *client = client_at(handle, 0);
    return client && client->handle ? client : NULL;
}

/* Whether what the log says of its tenant still lets a client in; brings its identity up to that. */
static bool may_stay(struct client *client, struct who who) {
    struct map *state = gate.log.good.state;
    char identity[IDENTITY_MAX];
    client->changed = state_changed(state, who.tenant);
    who.room = span_of(client->credential.room);
    if (state_is_void(state, who.tenant, who.subject, client->credential.number, span_of(client->credential.token_id),
                      client->stamp))
        return false;
    identity_write(state, &who, gate.nonce, identity);
    return mosquitto_set_username(client->handle, identity) == BROKER_OK;
}

static bool refresh(void *record, int64_t unused) {
    struct client *client = record;
    if (client->handle) {
        struct who who = identity_read(mosquitto_client_username(client->handle));
        if (client->changed != state_changed(gate.log.good.state, who.tenant) && !may_stay(client, who))
            client->is_doomed = true;
    }
    return false;
}

void poll_log(void) {
    uint64_t stamp = gate.log.stamp;
    log_poll(&gate.log);
    if (gate.log.stamp == stamp)
        return;
    gate.is_urgent = true;
    map_sweep(gate.clients, MAP_SLOTS, refresh, 0);
}

/* The web tunnel connects from the loopback address and counts failures of the addresses behind it itself; whoever else
 * is on this machine is not the attacker that this limit is for. Other addresses of 127/8 are counted like any. */
static bool is_counted(const char *address) {
    return address[0] != '/' && strcmp(address, "127.0.0.1") != 0 && strcmp(address, "::1") != 0;
}

static void forget(const struct mosquitto *handle) {
    struct client *client = client_of(handle);
    if (client) {
        client->handle = NULL;
        gate.count[COUNT_CONNECTIONS]--;
        gate.count[COUNT_ENDED] += client->is_doomed;
    }
}

/* NULL: let in; else why not. */
static const char *admit(struct mosquitto *handle, const char *address, const char *user_name, const char *password) {
    const char *id = mosquitto_client_id(handle);
    int64_t now = now_us();
    struct who who;
    struct credential credential;
    if (!id || !user_name || !password || !who_read(span_of(user_name), &who) || !who_owns_client_id(&who, id))
        return "no credential, or a client id of somebody else";
    if (!mosquitto_client_clean_session(handle))
        return "a session to be kept";
    if (!limits_may_try(gate.addresses, gate.meters, address, &who, now))
        return "kept out for flooding, or too many failed connections from this address";
    if (who.role & ROLES_OF_SERVICE && (address[0] != '/' || strcmp(address, gate.socket_path) != 0))
        return "a role that exists on the service's socket only";
    const char *wrong = credential_read(gate.keys, &who, span_of(user_name), span_of(password), time(NULL), &credential);
    if (wrong)
        return wrong;
    struct meter *meter = meter_of(gate.meters, who.tenant, who.subject, now);
    if (limit_exceeded(state_rates(gate.log.good.state, who.tenant), meter, LIMIT_CONNECTS, 1, 0, now))
        return "connecting too often";
    struct client *client = client_at(handle, sizeof *client);
    if (!client)
        return "too many connections";
    *client = (struct client){.handle = handle, .credential = credential, .stamp = gate.log.stamp};
    gate.count[COUNT_CONNECTIONS]++;
    if (may_stay(client, who))
        return NULL;
    forget(handle);
    return "a credential withdrawn, or no memory";
}

int on_auth(int event, void *data, void *unused) {
    struct mosquitto_evt_basic_auth *ask = data;
    const char *address = mosquitto_client_address(ask->client), *user_name = mosquitto_client_username(ask->client);
    /* A reload asks again about all that the broker holds, sessions that a v5 client left behind included. To refuse one
     * of those would put it on the broker's list of expiring sessions twice, and crash it later. Nothing is granted:
     * who was let in stays in, and the doomed go at the next tick. */
    if (gate.last.what == RELOADED && identity_is_ours(user_name, gate.nonce))
        return BROKER_OK;
    forget(ask->client); /* of whom no DISCONNECT came, if it is known: the handle is in use anew */
    poll_log();
    address = address ? address : "/";
    const char *wrong = admit(ask->client, address, user_name, ask->password);
    if (gate.last.what != RELOADED)
        gate.last.what = wrong ? ANYTHING : ADMITTED; /* the Will of one who is taken over may come next */
    if (!wrong)
        return BROKER_OK;
    gate.count[COUNT_REFUSED_CONNECTS]++;
    if (is_counted(address))
        limits_connect_failed(state_rates(gate.log.good.state, NOTHING), gate.addresses, address, now_us());
    if (gate.refusals_logged++ < REFUSALS_LOGGED)
        mosquitto_log_printf(BROKER_NOTICE, "gate: connection from %s refused: %s", address, wrong);
    return BROKER_REFUSED;
}

int on_disconnect(int event, void *data, void *unused) {
    struct mosquitto_evt_disconnect *gone = data;
    forget(gone->client);
    gate.last = (struct last){LEFT, gone->client};
    return BROKER_OK;
}
