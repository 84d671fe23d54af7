/* What the plugin's parts share: its one state, and the events that each of them answers. */
#pragma once

#include "broker.h"
#include "limits.h"
#include "log.h"
#include "token.h"

enum { CLIENTS_MAX = 200000, ERROR_SIZE = LOG_PATH_MAX + 80 };

struct client { /* by the broker's handle */
    struct mosquitto *handle; /* NULL: it is gone */
    struct credential credential;
    uint64_t stamp, changed; /* of the log, when it was let in; and of what its tenant's identities were last written by */
    bool is_doomed; /* to be disconnected at the next tick: the broker forbids it anywhere else */
};

enum count { /* behind what passed, what did not */
    COUNT_CONNECTIONS, COUNT_PUBLISHED, COUNT_DENIED_PUBLISHES, COUNT_SUBSCRIBED, COUNT_DENIED_SUBSCRIPTIONS,
    COUNT_PINGS, COUNT_REFUSED_CONNECTS, COUNT_OVER_LIMIT, COUNT_FLOODERS, COUNT_ENDED, COUNT_COUNT,
};

extern struct gate {
    mosquitto_plugin_id_t *plugin;
    char dir[LOG_PATH_MAX], socket_path[LOG_PATH_MAX], nonce[NONCE_LEN + 1];
    struct keys *keys;
    char error[ERROR_SIZE]; /* of clock or keys; empty: all is well */
    struct log log;
    struct map *clients, *meters, *addresses; /* meters of subjects, rooms and tenants; of addresses */
    int64_t offset_us, ticked_us;
    bool is_urgent; /* all clients are looked after at the next tick: one may be doomed */
    int refusals_logged; /* in this second */
    uint64_t count[COUNT_COUNT];
    struct last { /* the last event but deliveries, where the next one depends on it */
        enum { ANYTHING, RELOADED, ADMITTED, LEFT, PINGED, OVER_QUOTA } what;
        const void *of; /* LEFT: the client, whose Will is judged next; then: the topic that MESSAGE answers, or refuses */
    } last;
} gate;

int64_t now_us(void);
struct client *client_of(const struct mosquitto *handle); /* NULL: not, or no longer, connected */
void poll_log(void); /* takes in what is new in the gate log, and brings it to those who are connected */
bool status_write(void);
const char *path_of(const char *name); /* of a file in `dir`; good until the next call */

int on_auth(int event, void *data, void *unused); /* connect.c */
int on_disconnect(int event, void *data, void *unused);
int on_acl(int event, void *data, void *unused); /* traffic.c */
int on_message(int event, void *data, void *unused);
