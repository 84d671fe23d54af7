/* Who is let in, and who stays in when the gate log says something new. */
#include "gate.h"

#include <string.h>
#include <time.h>

#define GENERATION_MAX 999999999
#define REFUSALS_LOGGED 10 /* a second: an attack must not fill the disk */

static bool still_welcome(const struct client *client)
{
    const struct who *who = &client->who;
    struct span tenant = span_of(who->tenant), subject = span_of(who->subject);
    if (who->role == ROLE_DEVICE)
        return client->generation >= state_floor(gate.log.state, tenant, subject);
    return !state_is_revoked(gate.log.state, tenant, subject, span_of(client->token_id), client->issued);
}

static void refresh(struct client *client)
{
    char identity[IDENTITY_MAX];
    if (client->doomed)
        return;
    if (!still_welcome(client)) {
        clients_doom(&gate.clients, client);
        return;
    }
    identity_write(gate.log.state, &client->who, gate.nonce, identity);
    const char *current = mosquitto_client_username(client->handle);
    if (!current || strcmp(current, identity) != 0) {
        if (mosquitto_set_username(client->handle, identity) != BROKER_OK)
            clients_doom(&gate.clients, client); /* no memory: better out than with rights of yesterday */
    }
}

static void kick_if_named(struct client *client, const struct entry *entry)
{
    if (span_is(entry->subject, client->who.subject))
        clients_doom(&gate.clients, client);
}

static void log_heard(const struct entry *entry, void *unused)
{
    (void)unused;
    struct tenant *tenant = clients_tenant(&gate.clients, entry->tenant);
    if (!tenant)
        return; /* nobody of it is connected */
    switch (entry->verb) {
    case VERB_KICK:
        CLIENTS_OF(tenant, client) kick_if_named(client, entry);
        break;
    case VERB_MUTE: case VERB_UNMUTE: case VERB_MUTE_ALL: case VERB_UNMUTE_ALL: case VERB_LIMIT: case VERB_MEMBER:
        break; /* asked for at each publish */
    default:
        tenant->is_stale = true;
    }
}

void poll_log(void)
{
    enum log_news news = log_poll(&gate.log, log_heard, NULL);
    gate.polled_us = now_us();
    if (news == LOG_NOTHING)
        return;
    for (struct tenant *tenant = gate.clients.tenants; tenant; tenant = tenant->next) {
        if (news == LOG_REPLACED || tenant->is_stale)
            CLIENTS_OF(tenant, client) refresh(client);
        tenant->is_stale = false;
    }
    gate.status.is_stale = true;
}

/* The web tunnel connects from the loopback address and counts failures of the addresses behind it itself; whoever else
 * is on this machine is not the attacker that this limit is for. Other addresses of 127/8 are counted like any. */
static bool is_counted(const char *address)
{
    return address && address[0] != '/' && strcmp(address, "127.0.0.1") != 0 && strcmp(address, "::1") != 0;
}

static int refuse(const struct mosquitto *handle, const char *why)
{
    const char *address = mosquitto_client_address(handle);
    gate.status.count[COUNT_REFUSED_CONNECTS]++;
    if (is_counted(address))
        limits_connect_failed(&gate.limits, address, now_us());
    if (gate.refusals_logged++ < REFUSALS_LOGGED)
        mosquitto_log_printf(BROKER_NOTICE, "gate: connection from %s refused: %s", address ? address : "?", why);
    return BROKER_REFUSED;
}

static bool is_local(const struct mosquitto *handle)
{
    const char *address = mosquitto_client_address(handle);
    return address && gate.socket_path[0] && strcmp(address, gate.socket_path) == 0;
}

/* Fills `found` from user name and password. NULL: good. */
static const char *credential_read(struct mosquitto *handle, const char *user_name, const char *password,
                                   struct client *found)
{
    struct span part[3], user = span_of(user_name);
    size_t parts = span_split(user, '/', part, 3);
    struct claims claims;
    const char *address = mosquitto_client_address(handle);

    if (is_counted(address) &&
        (parts < 2 || !limits_may_try(&gate.limits, address, part[0], part[1], now_us())))
        return "too many failed connections from this address";
    if (parts == 3) {
        struct who *who = &found->who;
        who->role = ROLE_DEVICE;
        return span_copy(who->tenant, sizeof who->tenant, part[0]) &&
                       span_copy(who->subject, sizeof who->subject, part[1]) &&
                       span_number(part[2], &found->generation) && found->generation >= 1 &&
                       found->generation <= GENERATION_MAX && policy_admits(who, false) &&
                       device_password_is_good(gate.keys, who->tenant, user, span_of(password))
                   ? NULL
                   : "wrong device password";
    }
    const char *wrong = token_verify(gate.keys, span_of(password), time(NULL), &claims);
    if (wrong)
        return wrong;
    if (parts != 2 || !span_is(part[0], claims.who.tenant) || !span_is(part[1], claims.who.subject))
        return "the user name is not the token's subject";
    if (!policy_admits(&claims.who, is_local(handle)))
        return "role, subject, room and door do not belong together";
    found->who = claims.who;
    found->issued = claims.issued;
    /* A service's token lives for seconds: it is checked at CONNECT alone. */
    found->expires = claims.who.role == ROLE_ROOMS || claims.who.role == ROLE_TEMPO ? 0 : claims.expires;
    memcpy(found->token_id, claims.token_id, sizeof found->token_id);
    return NULL;
}

static int admit(struct mosquitto *handle, const struct client *found)
{
    char identity[IDENTITY_MAX];
    struct client *client = clients_add(&gate.clients, handle, found);
    if (!client)
        return refuse(handle, "too many connections");
    identity_write(gate.log.state, &client->who, gate.nonce, identity);
    if (mosquitto_set_username(handle, identity) != BROKER_OK) {
        clients_remove(&gate.clients, client);
        return refuse(handle, "out of memory");
    }
    gate.just_admitted = true;
    return BROKER_OK;
}

int on_auth(int event, void *data, void *unused)
{
    struct mosquitto_evt_basic_auth *ask = data;
    struct client found = {0}, *known = clients_find(&gate.clients, ask->client);
    struct who ignored;
    (void)event, (void)unused;

    gate.leaving = NULL;
    poll_log(); /* may replace the user name: ask->username is stale from here on */
    const char *id = mosquitto_client_id(ask->client), *user_name = mosquitto_client_username(ask->client);
    /* A reload asks again about all that the broker holds, sessions that a v5 client left behind included. To refuse one
     * of those would put it on the broker's list of expiring sessions twice, and crash it later. Nothing is granted:
     * who was let in stays in, and the doomed go at the next tick. */
    if (gate.reloading && identity_read(user_name, gate.nonce, &ignored))
        return BROKER_OK;
    if (known)
        clients_remove(&gate.clients, known); /* its DISCONNECT never came, and the address is in use anew */

    if (!id || !user_name || !ask->password || strlen(user_name) > 64 || strlen(ask->password) > PASSWORD_MAX)
        return refuse(ask->client, "no credential, or one too long");
    if (!mosquitto_client_clean_session(ask->client))
        return refuse(ask->client, "a session to be kept");
    const char *wrong = credential_read(ask->client, user_name, ask->password, &found);
    if (wrong)
        return refuse(ask->client, wrong);
    if (!policy_owns_client_id(&found.who, span_of(id)) || !span_copy(found.id, sizeof found.id, span_of(id)))
        return refuse(ask->client, "a client id of somebody else");
    if (!still_welcome(&found))
        return refuse(ask->client, "a credential withdrawn");
    if (!limits_may_connect(&gate.limits, &found.who, now_us()))
        return refuse(ask->client, "kept out for flooding, or connecting too often");
    return admit(ask->client, &found);
}

int on_disconnect(int event, void *data, void *unused)
{
    struct mosquitto_evt_disconnect *gone = data;
    struct client *client = clients_find(&gate.clients, gone->client);
    (void)event, (void)unused;
    if (client)
        clients_remove(&gate.clients, client);
    gate.leaving = gone->client;
    gate.just_admitted = false;
    return BROKER_OK;
}
