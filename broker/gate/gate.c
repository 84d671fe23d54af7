/* The plugin: takes the broker's events to the pure parts and their verdicts back. */
#include "broker.h"
#include "clients.h"
#include "clock.h"
#include "limits.h"
#include "log.h"
#include "status.h"
#include "token.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORTED __attribute__((visibility("default")))
#define POLL_US 25000
#define PATH_SIZE 512
#define KEYS_FILE_MAX (64 * 1024)
#define REFUSALS_LOGGED 10 /* a second: an attack must not fill the disk */

static struct {
    mosquitto_plugin_id_t *plugin;
    char keys_path[PATH_SIZE], log_path[PATH_SIZE], clock_path[PATH_SIZE], status_path[PATH_SIZE];
    char socket_path[PATH_SIZE];
    char nonce[NONCE_LEN + 1];
    struct keys *keys;
    char keys_error[160];
    struct log log;
    struct clients clients;
    struct limits limits;
    struct status status;
    int64_t offset_us;
    int64_t polled_us, second;
    int refusals_logged;
    const struct mosquitto *leaving; /* whose DISCONNECT was the last event: its Will is judged next */
    const char *ping;                /* topic of the ping that was allowed just now, until MESSAGE answers it */
    const char *over_quota;          /* topic of a publish that MESSAGE shall refuse with the right reason (2.1) */
    bool reloading;                  /* from RELOAD to the next event but BASIC_AUTH */
    bool just_admitted;              /* a takeover's Will may come next */
} gate;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* to 4 ms, at a fifth of the price: good enough for limits and polls */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- what the log says, brought to those who are connected ------------------------------------------------------ */

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

static void poll_log(void)
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

/* --- connecting ------------------------------------------------------------------------------------------------- */

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
                       span_number(part[2], &found->generation) && policy_admits(who, false) &&
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

static int on_auth(int event, void *data, void *unused)
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

static int on_disconnect(int event, void *data, void *unused)
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

/* --- speaking and hearing --------------------------------------------------------------------------------------- */

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

static int on_acl(int event, void *data, void *unused)
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

static int on_message(int event, void *data, void *unused)
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

/* --- time and files --------------------------------------------------------------------------------------------- */

static bool load_keys(void)
{
    char text[KEYS_FILE_MAX];
    FILE *file = fopen(gate.keys_path, "re");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;
    struct keys *fresh = NULL;
    if (!file)
        snprintf(gate.keys_error, sizeof gate.keys_error, "keys: %s", strerror(errno));
    else if (len == sizeof text)
        snprintf(gate.keys_error, sizeof gate.keys_error, "keys: the file is too long");
    else
        fresh = keys_read((struct span){text, len}, gate.keys_error, sizeof gate.keys_error);
    if (file)
        fclose(file);
    if (!fresh)
        return false;
    keys_free(gate.keys);
    gate.keys = fresh;
    gate.keys_error[0] = '\0';
    return true;
}

static int on_reload(int event, void *data, void *unused)
{
    (void)event, (void)data, (void)unused;
    if (!load_keys())
        mosquitto_log_printf(BROKER_ERROR, "gate: %s: the old keys stay in force", gate.keys_error);
    gate.status.is_stale = true;
    gate.reloading = true; /* the broker asks right after this, before it does anything else */
    return BROKER_OK; /* whatever happened: 2.1 leaves its main loop at anything else */
}

static void kick_the_doomed(void)
{
    for (struct client *client; (client = clients_next_doomed(&gate.clients));) {
        char id[sizeof client->id];
        memcpy(id, client->id, sizeof id);
        const struct mosquitto *handle = client->handle;
        gate.status.count[COUNT_ENDED]++;
        mosquitto_kick_client_by_clientid(id, true); /* its DISCONNECT removes the record */
        client = clients_find(&gate.clients, handle);
        if (client)
            clients_remove(&gate.clients, client);
    }
}

static bool report(const struct client *client)
{
    char topic[128], text[96];
    const struct who *who = &client->who;
    if (!client->room[0])
        return true; /* no room to report in */
    if (!limits_may_report(&gate.limits, who, now_us()))
        return false;
    snprintf(topic, sizeof topic, "tenant/%s/music_room/%s/limit/%s", who->tenant, client->room, who->subject);
    int len = snprintf(text, sizeof text, "{\"dropped\":%llu,\"why\":\"%s\"}", (unsigned long long)client->dropped,
                       client->why);
    return mosquitto_broker_publish_copy(NULL, topic, len, text, 0, false, NULL) == BROKER_OK;
}

static int on_tick(int event, void *data, void *unused)
{
    int64_t now = now_us();
    (void)event, (void)unused;
#if BROKER_2_1
    ((struct mosquitto_evt_tick *)data)->next_ms = POLL_US / 1000; /* 2.1 calls when asked to; 2.0 at each loop */
#else
    (void)data;
#endif
    gate.leaving = NULL;
    gate.just_admitted = gate.reloading = false;
    if (now - gate.polled_us >= POLL_US) {
        poll_log();
        clients_report(&gate.clients, report);
        limits_sweep(&gate.limits, now);
    }
    if (now / 1000000 != gate.second) {
        gate.second = now / 1000000;
        gate.refusals_logged = 0;
        clients_expire(&gate.clients, time(NULL));
        gate.status.is_stale = true;
    }
    kick_the_doomed();
    if (gate.status.is_stale) {
        gate.status.connections = gate.clients.by_handle.count;
        status_write(&gate.status, &gate.log, gate.keys, gate.keys_error);
    }
    return BROKER_OK;
}

/* --- beginning and end ------------------------------------------------------------------------------------------ */

static bool options_read(const struct mosquitto_opt *options, int count)
{
    const char *dir = NULL;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].key, "dir") == 0)
            dir = options[i].value;
        else if (strcmp(options[i].key, "socket") == 0)
            snprintf(gate.socket_path, sizeof gate.socket_path, "%s", options[i].value);
    }
    if (!dir || strlen(dir) > PATH_SIZE - 16) {
        mosquitto_log_printf(BROKER_ERROR, "gate: plugin_opt_dir must name the folder with keys, clock and log");
        return false;
    }
    snprintf(gate.keys_path, PATH_SIZE, "%s/keys", dir);
    snprintf(gate.log_path, PATH_SIZE, "%s/log", dir);
    snprintf(gate.clock_path, PATH_SIZE, "%s/clock", dir);
    snprintf(gate.status_path, PATH_SIZE, "%s/status", dir);
    return true;
}

static bool files_read(void)
{
    char error[PATH_SIZE + 80] = "no random numbers";
    unsigned char random[8 + 8];
    uint64_t seed;
    bool ready = RAND_bytes(random, sizeof random) == 1 && clock_open(gate.clock_path, &gate.offset_us, error, sizeof error);
    memcpy(&seed, random + 8, sizeof seed);
    for (int i = 0; i < NONCE_LEN / 2; i++)
        snprintf(gate.nonce + 2 * i, 3, "%02x", random[i]);
    if (ready && !(ready = load_keys()))
        snprintf(error, sizeof error, "%s", gate.keys_error);
    if (ready && !(ready = log_open(&gate.log, gate.log_path, seed)))
        snprintf(error, sizeof error, "%s", gate.log.error);
    if (ready && !(ready = clients_init(&gate.clients, seed) && limits_init(&gate.limits, seed)))
        snprintf(error, sizeof error, "out of memory");
    if (ready && !(ready = status_open(&gate.status, gate.status_path)))
        snprintf(error, sizeof error, "%s: %s", gate.status_path, strerror(errno));
    if (!ready)
        mosquitto_log_printf(BROKER_ERROR, "gate: cannot start: %s", error);
    return ready;
}

static void release(void)
{
    clients_free(&gate.clients);
    limits_free(&gate.limits);
    log_close(&gate.log);
    keys_free(gate.keys);
    status_close(&gate.status);
    memset(&gate, 0, sizeof gate);
    gate.log.fd = gate.status.fd = -1;
}

static const struct {
    int event;
    int (*handler)(int, void *, void *);
} handlers[] = {
    {MOSQ_EVT_BASIC_AUTH, on_auth}, {MOSQ_EVT_ACL_CHECK, on_acl},     {MOSQ_EVT_DISCONNECT, on_disconnect},
    {MOSQ_EVT_MESSAGE, on_message}, {MOSQ_EVT_RELOAD, on_reload}, {MOSQ_EVT_TICK, on_tick},
#if BROKER_2_1
    {MOSQ_EVT_CLIENT_OFFLINE, on_disconnect}, /* in place of DISCONNECT, where a session outlives the connection */
#endif
};

EXPORTED int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++) {
        if (versions[i] == 5)
            return 5;
    }
    return -1;
}

EXPORTED int mosquitto_plugin_init(mosquitto_plugin_id_t *plugin, void **unused, struct mosquitto_opt *options, int count)
{
    (void)unused;
    gate.log.fd = gate.status.fd = -1;
    if (!options_read(options, count) || !files_read()) {
        release();
        return BROKER_INVALID;
    }
    gate.plugin = plugin;
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        int failed = mosquitto_callback_register(plugin, handlers[i].event, handlers[i].handler, NULL, NULL);
        if (failed) {
            mosquitto_log_printf(BROKER_ERROR, "gate: the broker does not offer event %d", handlers[i].event);
            return failed;
        }
    }
    mosquitto_log_printf(BROKER_INFO, "gate: log %s read to entry %llu", gate.log.id, (unsigned long long)gate.log.seq);
    status_write(&gate.status, &gate.log, gate.keys, gate.keys_error);
    return BROKER_OK;
}

EXPORTED int mosquitto_plugin_cleanup(void *unused, struct mosquitto_opt *options, int count)
{
    (void)unused, (void)options, (void)count;
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        mosquitto_callback_unregister(gate.plugin, handlers[i].event, handlers[i].handler, NULL);
    release();
    return BROKER_OK;
}
