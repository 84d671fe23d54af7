/* Who is let in, and who stays in when the gate log says something new. */
#include "gate.h"

#include <string.h>
#include <time.h>

#define REFUSALS_LOGGED 10 /* a second: an attack must not fill the disk */

struct client *client_of(struct mosquitto *handle) {
    return map_at(&gate.clients, (struct span){(const char *)&handle, sizeof handle}, NOTHING, NOTHING, 0);
}

/* Brings to a client what the log said of its tenant. */
static bool refresh(void *record, int64_t unused) {
    struct client *client = record;
    char fresh[IDENTITY_MAX];
    (void)unused;
    if (!gate.log.is_stale[client->tenant])
        return false;
    const char *identity = mosquitto_client_username(client->handle);
    struct who who = identity_read(identity);
    who.room = span_of(client->room);
    struct span token = span_of(client->token_id);
    if (state_is_void(gate.log.state, who.tenant, who.subject, client->number, token, client->stamp))
        client->doomed = true;
    identity_write(gate.log.state, &who, gate.nonce, fresh);
    if (strcmp(identity, fresh) != 0 && mosquitto_set_username(client->handle, fresh) != BROKER_OK)
        client->doomed = true; /* no memory: better out than with rights of yesterday */
    return false;
}

void poll_log(void) {
    log_poll(&gate.log);
    if (!gate.log.has_news)
        return;
    gate.log.has_news = false;
    gate.is_urgent = true;
    map_sweep(&gate.clients, MAP_SLOTS, refresh, 0);
    memset(gate.log.is_stale, false, sizeof gate.log.is_stale);
}

/* The web tunnel connects from the loopback address and counts failures of the addresses behind it itself; whoever else
 * is on this machine is not the attacker that this limit is for. Other addresses of 127/8 are counted like any. */
static bool is_counted(const char *address) {
    return address && address[0] != '/' && strcmp(address, "127.0.0.1") != 0 && strcmp(address, "::1") != 0;
}

/* NULL: let in; else why not. */
static const char *admit(struct mosquitto *handle, const char *address, const char *user_name, const char *password) {
    const char *id = mosquitto_client_id(handle);
    char identity[IDENTITY_MAX];
    struct credential found;
    int64_t now = now_us();
    if (!id || !user_name || !password || strlen(password) > PASSWORD_MAX)
        return "no credential, or one too long";
    if (!mosquitto_client_clean_session(handle))
        return "a session to be kept";
    if (is_counted(address) && !limits_may_try(&gate.addresses, &gate.meters, address, span_of(user_name), now))
        return "too many failed connections from this address";
    const char *wrong = credential_read(gate.keys, span_of(user_name), span_of(password), time(NULL), &found);
    const struct who *who = &found.who;
    if (wrong)
        return wrong;
    if (!policy_admits(who, address && address[0] == '/' && strcmp(address, gate.socket_path) == 0))
        return "role, subject, room and door do not belong together";
    if (!policy_owns_client_id(who, span_of(id)))
        return "a client id of somebody else";
    if (state_is_void(gate.log.state, who->tenant, who->subject, found.number, found.token_id, gate.log.stamp))
        return "a credential withdrawn";
    struct meter *meter = meter_of(&gate.meters, who->tenant, who->subject, now);
    if (!meter || now < meter->kept_out_to_us ||
        limit_exceeded(gate.log.state, meter, who->tenant, LIMIT_CONNECTS, 1, now))
        return "kept out for flooding, or connecting too often";

    struct span key = {(const char *)&handle, sizeof handle};
    struct client *client = map_at(&gate.clients, key, NOTHING, NOTHING, sizeof *client);
    if (!client)
        return "too many connections";
    *client = (struct client){
        .handle = handle,
        .tenant = log_bit(who->tenant),
        .number = found.number,
        .expires = who->role & ROLES_OF_SERVICE ? 0 : found.expires, /* a service's token lives for seconds */
        .stamp = gate.log.stamp,
    };
    span_copy(client->token_id, sizeof client->token_id, found.token_id);
    span_copy(client->room, sizeof client->room, who->room);
    identity_write(gate.log.state, who, gate.nonce, identity);
    if (mosquitto_set_username(handle, identity) == BROKER_OK)
        return NULL;
    map_remove(&gate.clients, client);
    return "out of memory";
}

int on_auth(int event, void *data, void *unused) {
    struct mosquitto_evt_basic_auth *ask = data;
    const char *address = mosquitto_client_address(ask->client), *user_name = mosquitto_client_username(ask->client);
    struct client *known = client_of(ask->client);
    (void)event, (void)unused;
    gate.leaving = NULL;
    /* A reload asks again about all that the broker holds, sessions that a v5 client left behind included. To refuse one
     * of those would put it on the broker's list of expiring sessions twice, and crash it later. Nothing is granted:
     * who was let in stays in, and the doomed go at the next tick. */
    if (gate.reloading && identity_is_ours(user_name, gate.nonce))
        return BROKER_OK;
    if (known)
        map_remove(&gate.clients, known); /* its DISCONNECT never came, and the address is in use anew */
    poll_log();
    const char *wrong = admit(ask->client, address, user_name, ask->password);
    gate.just_admitted = !wrong;
    if (!wrong)
        return BROKER_OK;
    gate.count[COUNT_REFUSED_CONNECTS]++;
    if (is_counted(address))
        limits_connect_failed(&gate.addresses, address, now_us());
    if (gate.refusals_logged++ < REFUSALS_LOGGED)
        mosquitto_log_printf(BROKER_NOTICE, "gate: connection from %s refused: %s", address ? address : "?", wrong);
    return BROKER_REFUSED;
}

int on_disconnect(int event, void *data, void *unused) {
    struct mosquitto_evt_disconnect *gone = data;
    struct client *client = client_of(gone->client);
    const char *identity = mosquitto_client_username(gone->client);
    (void)event, (void)unused;
    if (client && identity_is_ours(identity, gate.nonce)) {
        struct who who = identity_read(identity);
        struct meter *meter = map_at(&gate.meters, who.tenant, who.subject, NOTHING, 0);
        if (meter)
            meter->dropped = 0; /* nobody is there to be told */
    }
    if (client)
        map_remove(&gate.clients, client);
    gate.leaving = gone->client;
    gate.just_admitted = false;
    return BROKER_OK;
}
