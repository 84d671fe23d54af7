/* The plugin: its beginning, its clock, its files, its end. */
#include "gate.h"
#include "clock.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define EXPORTED __attribute__((visibility("default")))
#define POLL_US 25000
#define KEYS_FILE_MAX (64 * 1024)

struct gate gate;

int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* to 4 ms, at a fifth of the price: good enough for limits and polls */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

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
