/* What the plugin's parts share: its one state, and the events that each of them answers. */
#pragma once

#include "broker.h"
#include "limits.h"
#include "log.h"
#include "token.h"

enum { CLIENTS_MAX = 200000, ERROR_SIZE = LOG_PATH_MAX + 80, TELLING_US = 1000000 };

struct client { /* by the broker's handle */
    struct mosquitto *handle;
    size_t tenant;           /* its bit in the log's is_stale */
    int64_t number, expires; /* as in its credential */
    uint64_t stamp;          /* of the log, when it was let in */
    char token_id[TOKEN_ID_MAX + 1], room[ROOM_MAX + 1];
    bool doomed; /* to be disconnected at the next tick: the broker forbids it anywhere else */
};

enum count {
    COUNT_PUBLISHED, COUNT_SUBSCRIBED, COUNT_PINGS, COUNT_DENIED_PUBLISHES, COUNT_DENIED_SUBSCRIPTIONS,
    COUNT_REFUSED_CONNECTS, COUNT_OVER_LIMIT, COUNT_FLOODERS, COUNT_ENDED, COUNT_COUNT,
};

extern struct gate {
    mosquitto_plugin_id_t *plugin;
    char socket_path[LOG_PATH_MAX], nonce[NONCE_LEN + 1];
    struct keys *keys;
    char keys_path[LOG_PATH_MAX], keys_error[ERROR_SIZE]; /* empty: all is well */
    struct log log;
    bool is_urgent; /* all clients are looked after at the next tick: one may be doomed */
    struct map clients, meters, addresses; /* meters of subjects, rooms and tenants; of addresses */
    int64_t offset_us, ticked_us, second;
    int refusals_logged; /* in this second */
    bool is_telling; /* all meters are looked after at the next tick: of one, drops are to be told */
    int status_fd;
    uint64_t status_serial, count[COUNT_COUNT];
    const struct mosquitto *leaving; /* whose DISCONNECT was the last event: its Will is judged next */
    const char *ping;                /* topic of the ping that was allowed just now, until MESSAGE answers it */
    const char *over_quota;          /* topic of a publish that MESSAGE shall refuse with the right reason (2.1) */
    bool reloading;                  /* from RELOAD to the next event but BASIC_AUTH */
    bool just_admitted;              /* a takeover's Will may come next */
} gate;

int64_t now_us(void);
struct client *client_of(struct mosquitto *handle); /* NULL: not, or no longer, connected */
void poll_log(void); /* takes in what is new in the gate log, and brings it to those who are connected */
void status_write(void);

int on_auth(int event, void *data, void *unused); /* connect.c */
int on_disconnect(int event, void *data, void *unused);
int on_acl(int event, void *data, void *unused); /* traffic.c */
int on_message(int event, void *data, void *unused);
