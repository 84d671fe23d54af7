/* The plugin: its beginning, its clock, its end. */
#include "gate.h"
#include "clock.h"

#include <errno.h>
#include <openssl/rand.h>
#include <sys/socket.h>
#include <time.h>

#define EXPORTED __attribute__((visibility("default")))
enum { POLL_US = 25000, SWEEP_US = SECOND_US }; /* in a sweep every record is looked after */

struct gate gate;

int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* to 4 ms, at a fifth of the price: good enough for limits and polls */
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

const char *path_of(const char *name) {
    static char path[LOG_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/%s", gate.dir, name);
    return path;
}

static bool load_keys(void) {
    FILE *file = fopen(path_of("keys"), "re");
    if (!file)
        snprintf(gate.error, ERROR_SIZE, "keys: %s", strerror(errno));
    struct keys *fresh = file ? keys_read(file, gate.error, ERROR_SIZE) : NULL;
    if (file)
        fclose(file);
    if (!fresh)
        return false;
    keys_free(gate.keys);
    gate.keys = fresh;
    gate.error[0] = '\0';
    return true;
}

static int on_reload(int event, void *data, void *unused) {
    if (!load_keys())
        mosquitto_log_printf(BROKER_ERROR, "gate: %s: the old keys stay in force", gate.error);
    gate.is_urgent = true;
    gate.last.what = RELOADED; /* the broker asks right after this, before it does anything else */
    return BROKER_OK;          /* whatever happened: 2.1 leaves its main loop at anything else */
}

static bool look_after_client(void *record, int64_t now_s) {
    struct client *client = record;
    char id[TENANT_MAX + SUBJECT_MAX + 4];
    if (client->credential.expires && client->credential.expires <= now_s)
        client->is_doomed = true;
    if (client->handle && client->is_doomed) {
        snprintf(id, sizeof id, "%s", mosquitto_client_id(client->handle));
        mosquitto_kick_client_by_clientid(id, true); /* its DISCONNECT comes within this call, or is tried for again */
    }
    return !client->handle;
}

/* Tells a subject, and its teachers, of its messages that were dropped. */
static bool look_after_meter(void *record, int64_t now) {
    struct meter *meter = record;
    char text[96];
    if (meter->dropped && now - meter->told_us >= SECOND_US) {
        int len = snprintf(text, sizeof text, "{\"dropped\":%llu,\"why\":\"%s\"}", (unsigned long long)meter->dropped,
                           meter->why);
        if (mosquitto_broker_publish_copy(NULL, meter->topic, len, text, 0, false, NULL) == BROKER_OK) {
            meter->dropped = 0;
            meter->told_us = now;
        }
    }
    return meter_is_idle(meter, now);
}

/* The broker lets 100 connections wait to be accepted. When a machine's schools come back at once there are more; whom the
 * kernel turns away tries again after one second, then two, then four, together with all others. */
static void widen_doors(void) {
    for (int fd = 0, listens = 0; fd < 1024; fd++, listens = 0) { /* the broker opens its listeners before all else */
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &(socklen_t){sizeof listens});
        if (listens)
            listen(fd, 4096); /* the kernel holds it to net.core.somaxconn */
    }
}

static int on_tick(int event, void *data, void *unused) {
    int64_t now = now_us(), passed = now - gate.ticked_us;
#if BROKER_2_1
    ((struct mosquitto_evt_tick *)data)->next_ms = POLL_US / 1000; /* 2.1 calls when asked to; 2.0 at each loop */
#endif
    gate.last.what = ANYTHING;
    if (passed < POLL_US && !gate.is_urgent)
        return BROKER_OK;
    if (gate.ticked_us == 0)
        widen_doors();
    poll_log();
    bool is_urgent = gate.is_urgent, is_new_second = now / SECOND_US != gate.ticked_us / SECOND_US;
    size_t slots = passed < SWEEP_US ? (size_t)passed * MAP_SLOTS / SWEEP_US : MAP_SLOTS;
    gate.is_urgent = false;
    gate.ticked_us = now;
    map_sweep(gate.meters, slots, look_after_meter, now);
    map_sweep(gate.addresses, slots, meter_is_idle, now);
    map_sweep(gate.clients, is_urgent ? MAP_SLOTS : slots, look_after_client, time(NULL));
    if (is_new_second)
        gate.refusals_logged = 0;
    if (is_urgent || is_new_second)
        status_write();
    return BROKER_OK;
}

static const struct {
    int event;
    int (*handler)(int, void *, void *);
} handlers[] = {
    {MOSQ_EVT_BASIC_AUTH, on_auth}, {MOSQ_EVT_ACL_CHECK, on_acl}, {MOSQ_EVT_DISCONNECT, on_disconnect},
    {MOSQ_EVT_MESSAGE, on_message}, {MOSQ_EVT_RELOAD, on_reload}, {MOSQ_EVT_TICK, on_tick},
#if BROKER_2_1
    {MOSQ_EVT_CLIENT_OFFLINE, on_disconnect}, /* in place of DISCONNECT, where a session outlives the connection */
#endif
};
#define HANDLERS (sizeof handlers / sizeof *handlers)

EXPORTED int mosquitto_plugin_version(int count, const int *versions) {
    return 5; /* a broker that does not support it refuses to go on */
}

/* Makes the tables, reads the files, and writes the status. NULL: done; else what is wrong. */
static const char *start(void) {
    uint64_t random[2];
    if (!gate.dir[0])
        return "plugin_opt_dir must name the folder with keys, clock and log";
    if (RAND_bytes((unsigned char *)random, sizeof random) != 1)
        return "no random numbers";
    snprintf(gate.nonce, sizeof gate.nonce, "%016llx", (unsigned long long)random[0]);
    map_seed(random[1]);
    gate.clients = map_new(CLIENTS_MAX);
    gate.meters = map_new(METERS_MAX);
    gate.addresses = map_new(ADDRESSES_MAX);
    if (!gate.clients || !gate.meters || !gate.addresses)
        return "no memory";
    if (!clock_read(path_of("clock"), &gate.offset_us, gate.error, ERROR_SIZE) || !load_keys())
        return gate.error;
    snprintf(gate.log.path, sizeof gate.log.path, "%s/log", gate.dir);
    log_poll(&gate.log);
    if (!gate.log.good.state)
        return gate.log.error;
    return status_write() ? NULL : "cannot write the status file";
}

EXPORTED int mosquitto_plugin_init(mosquitto_plugin_id_t *plugin, void **unused, struct mosquitto_opt *options,
                                   int count) {
    for (int i = 0; i < count; i++) {
        bool is_dir = strcmp(options[i].key, "dir") == 0, is_socket = strcmp(options[i].key, "socket") == 0;
        if (is_dir || is_socket)
            snprintf(is_dir ? gate.dir : gate.socket_path, LOG_PATH_MAX, "%s", options[i].value);
    }
    gate.plugin = plugin;
    const char *wrong = start();
    for (size_t i = 0; i < HANDLERS && !wrong; i++) {
        if (mosquitto_callback_register(gate.plugin, handlers[i].event, handlers[i].handler, NULL, NULL) != BROKER_OK)
            wrong = "the broker does not call it";
    }
    if (wrong)
        mosquitto_log_printf(BROKER_ERROR, "gate: cannot start: %s", wrong);
    else
        mosquitto_log_printf(BROKER_INFO, "gate: log %s read to entry %llu", gate.log.good.id,
                             (unsigned long long)gate.log.good.seq);
    return wrong ? BROKER_INVALID : BROKER_OK;
}

EXPORTED int mosquitto_plugin_cleanup(void *unused, struct mosquitto_opt *options, int count) {
    for (size_t i = 0; i < HANDLERS; i++)
        mosquitto_callback_unregister(gate.plugin, handlers[i].event, handlers[i].handler, NULL);
    map_free(gate.clients);
    map_free(gate.meters);
    map_free(gate.addresses);
    log_close(&gate.log);
    keys_free(gate.keys);
    return BROKER_OK;
}
