/* What the plugin's parts share: its one state, and the events that each of them answers. */
#ifndef BANDROOM_GATE_H
#define BANDROOM_GATE_H

#include "broker.h"
#include "clients.h"
#include "limits.h"
#include "log.h"
#include "status.h"
#include "token.h"

#define PATH_SIZE 512

extern struct gate {
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

int64_t now_us(void);
void poll_log(void); /* takes in what is new in the gate log, and brings it to those who are connected */

int on_auth(int event, void *data, void *unused); /* gate_connect.c */
int on_disconnect(int event, void *data, void *unused);
int on_acl(int event, void *data, void *unused); /* gate_traffic.c */
int on_message(int event, void *data, void *unused);

#endif
