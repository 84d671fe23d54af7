/* The plugin: its beginning, its clock, its files, its end. */
#include "gate.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define POLL_US 25000
#define FILE_MAX (64 * 1024)
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

struct gate gate;

int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* to 4 ms, at a fifth of the price: good enough for limits and polls */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Its text, NUL-terminated. False, and `error` says why: it cannot be read, or is larger than any of ours. */
static bool file_read(const char *path, char out[FILE_MAX], char error[ERROR_SIZE]) {
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(out, 1, FILE_MAX, file) : FILE_MAX;
    if (len == FILE_MAX)
        snprintf(error, ERROR_SIZE, "%s: %s", path, file ? "too long" : strerror(errno));
    else
        out[len] = '\0';
    if (file)
        fclose(file);
    return len < FILE_MAX;
}

static bool load_keys(void) {
    char text[FILE_MAX];
    bool found = file_read(gate.keys_path, text, gate.keys_error);
    struct keys *fresh = found ? keys_read(span_of(text), gate.keys_error, ERROR_SIZE) : NULL;
    OPENSSL_cleanse(text, sizeof text);
    if (!fresh)
        return false;
    keys_free(gate.keys);
    gate.keys = fresh;
    gate.keys_error[0] = '\0';
    return true;
}

static bool load_clock(const char *path, char error[ERROR_SIZE]) {
    char text[FILE_MAX], boot_id[FILE_MAX];
    if (!file_read(path, text, error) || !file_read(BOOT_ID_FILE, boot_id, error))
        return false;
    const char *wrong = clock_read(text, boot_id, &gate.offset_us);
    if (wrong)
        snprintf(error, ERROR_SIZE, "%s: %s", path, wrong);
    return !wrong;
}

static void stop(void) {
    map_clear(&gate.clients);
    map_clear(&gate.meters);
    map_clear(&gate.addresses);
    log_close(&gate.log);
    keys_free(gate.keys);
    if (gate.status_fd >= 0)
        close(gate.status_fd);
    memset(&gate, 0, sizeof gate);
}

static int on_reload(int event, void *data, void *unused) {
    (void)event, (void)data, (void)unused;
    if (!load_keys())
        mosquitto_log_printf(BROKER_ERROR, "gate: %s: the old keys stay in force", gate.keys_error);
    gate.is_urgent = true;
    gate.reloading = true; /* the broker asks right after this, before it does anything else */
    return BROKER_OK;      /* whatever happened: 2.1 leaves its main loop at anything else */
}

static bool look_after_client(void *record, int64_t now_s) {
    struct client *client = record;
    struct mosquitto *handle = client->handle;
    char id[TENANT_MAX + SUBJECT_MAX + 4];
    if (!client->doomed && (client->expires == 0 || client->expires > now_s))
        return false;
    gate.count[COUNT_ENDED]++;
    snprintf(id, sizeof id, "%s", mosquitto_client_id(handle));
    mosquitto_kick_client_by_clientid(id, true);
    return client_of(handle) != NULL; /* else its DISCONNECT has removed the record */
}

/* Tells a subject, and its teachers, of its messages that were dropped. */
static bool look_after_meter(void *record, int64_t now) {
    struct meter *meter = record;
    char text[96];
    if (meter->dropped && now - meter->told_us >= TELLING_US) {
        int len = snprintf(text, sizeof text, "{\"dropped\":%llu,\"why\":\"%s\"}", (unsigned long long)meter->dropped,
                           meter->why);
        if (mosquitto_broker_publish_copy(NULL, meter->topic, len, text, 0, false, NULL) == BROKER_OK) {
            meter->dropped = 0;
            meter->told_us = now;
        }
    }
    return meter_is_idle(meter, now);
}

static int on_tick(int event, void *data, void *unused) {
    int64_t now = now_us(), passed = now - gate.ticked_us;
    (void)event, (void)unused;
#if BROKER_2_1
    ((struct mosquitto_evt_tick *)data)->next_ms = POLL_US / 1000; /* 2.1 calls when asked to; 2.0 at each loop */
#else
    (void)data;
#endif
    gate.leaving = NULL;
    gate.just_admitted = gate.reloading = false;
    if (passed < POLL_US && !gate.is_urgent)
        return BROKER_OK;
    gate.ticked_us = now;
    poll_log();
    bool is_urgent = gate.is_urgent, is_new_second = now / 1000000 != gate.second;
    gate.is_urgent = false;
    size_t slots = passed < 1000000 ? (size_t)passed * MAP_SLOTS / 1000000 : MAP_SLOTS; /* all of them in a second */
    map_sweep(&gate.meters, gate.is_telling ? MAP_SLOTS : slots, look_after_meter, now);
    gate.is_telling = false;
    map_sweep(&gate.addresses, slots, meter_is_idle, now);
    map_sweep(&gate.clients, is_urgent ? MAP_SLOTS : slots, look_after_client, time(NULL));
    if (is_new_second)
        gate.refusals_logged = 0;
    gate.second = now / 1000000;
    if (is_urgent || is_new_second)
        status_write();
    return BROKER_OK;
}

/* Reads the files in `dir`, and makes the status. */
static bool start(const char *dir, char error[ERROR_SIZE]) {
    char clock_path[LOG_PATH_MAX], status_path[LOG_PATH_MAX];
    snprintf(gate.keys_path, LOG_PATH_MAX, "%s/keys", dir);
    snprintf(gate.log.path, LOG_PATH_MAX, "%s/log", dir);
    snprintf(clock_path, LOG_PATH_MAX, "%s/clock", dir);
    snprintf(status_path, LOG_PATH_MAX, "%s/status", dir);
    if (!load_clock(clock_path, error))
        return false;
    if (load_keys())
        log_poll(&gate.log);
    snprintf(error, ERROR_SIZE, "%s", gate.keys ? gate.log.error : gate.keys_error);
    if (!gate.log.state)
        return false;
    gate.status_fd = open(status_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    snprintf(error, ERROR_SIZE, "%s: %s", status_path, strerror(errno));
    return gate.status_fd >= 0;
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
    (void)count, (void)versions;
    return 5; /* a broker that does not support it refuses to go on */
}

EXPORTED int mosquitto_plugin_init(mosquitto_plugin_id_t *plugin, void **unused, struct mosquitto_opt *options,
                                   int count) {
    char error[ERROR_SIZE] = "plugin_opt_dir must name the folder with keys, clock and log; or no random numbers";
    const char *dir = "";
    uint64_t random[2];
    (void)unused;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].key, "dir") == 0)
            dir = options[i].value;
        else if (strcmp(options[i].key, "socket") == 0)
            snprintf(gate.socket_path, sizeof gate.socket_path, "%s", options[i].value);
    }
    gate.plugin = plugin;
    gate.log.fd = gate.status_fd = -1;
    gate.clients.limit = CLIENTS_MAX;
    gate.meters.limit = METERS_MAX;
    gate.addresses.limit = ADDRESSES_MAX;
    bool is_ready = dir[0] && strlen(dir) < LOG_PATH_MAX - 8 && RAND_bytes((unsigned char *)random, sizeof random) == 1;
    snprintf(gate.nonce, sizeof gate.nonce, "%016llx", (unsigned long long)random[0]);
    map_seed(random[1]);
    if (!is_ready || !start(dir, error)) {
        mosquitto_log_printf(BROKER_ERROR, "gate: cannot start: %s", error);
        stop();
        return BROKER_INVALID;
    }
    for (size_t i = 0; i < HANDLERS; i++) {
        if (mosquitto_callback_register(plugin, handlers[i].event, handlers[i].handler, NULL, NULL) != BROKER_OK)
            return BROKER_INVALID;
    }
    mosquitto_log_printf(BROKER_INFO, "gate: log %s read to entry %llu", gate.log.id, (unsigned long long)gate.log.seq);
    status_write();
    return BROKER_OK;
}

EXPORTED int mosquitto_plugin_cleanup(void *unused, struct mosquitto_opt *options, int count) {
    (void)unused, (void)options, (void)count;
    for (size_t i = 0; i < HANDLERS; i++)
        mosquitto_callback_unregister(gate.plugin, handlers[i].event, handlers[i].handler, NULL);
    stop();
    return BROKER_OK;
}
