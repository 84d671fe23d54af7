/* Who is connected: records by the broker's handle, in lists by tenant and by the second of expiry. No broker calls. */
#ifndef BANDROOM_CLIENTS_H
#define BANDROOM_CLIENTS_H

#include "policy.h"
#include "token.h"

#define CLIENTS_MAX 200000
#define WHEEL_SLOTS 1024 /* seconds */

struct mosquitto;

struct link {
    struct link *next, *prev;
};

struct client {
    struct link of_tenant, in_wheel, in_doomed, in_dropping; /* of_tenant is first: see CLIENTS_OF */
    struct mosquitto *handle;
    struct who who;
    char id[TENANT_MAX + SUBJECT_MAX + 4];
    char token_id[TOKEN_ID_SIZE];
    int64_t issued, expires; /* Unix seconds; expires 0: never */
    int64_t generation;      /* a device's */
    uint64_t dropped;        /* messages over a limit, not yet reported; */
    const char *why;         /* the limit's name, */
    char room[ROOM_MAX + 1]; /* and where it was */
    bool doomed;             /* to be disconnected at the next tick: the broker forbids it anywhere else */
};

struct tenant {
    struct link clients;
    struct tenant *next, **previous;
    bool is_stale; /* the log said something that its clients' identities must follow */
};

struct clients {
    struct map by_handle, by_tenant;
    struct tenant *tenants;
    struct link doomed, dropping, wheel[WHEEL_SLOTS];
    int64_t expired_to;
};

#define CLIENTS_OF(tenant, client) \
    for (struct client *client = (struct client *)(tenant)->clients.next; \
         (struct link *)client != &(tenant)->clients; client = (struct client *)client->of_tenant.next)

bool clients_init(struct clients *clients, uint64_t seed);
void clients_free(struct clients *clients);

/* A copy of `found` under `handle`, or NULL: CLIENTS_MAX reached, or no memory. */
struct client *clients_add(struct clients *clients, struct mosquitto *handle, const struct client *found);
struct client *clients_find(const struct clients *clients, const struct mosquitto *handle);
void clients_remove(struct clients *clients, struct client *client);
struct tenant *clients_tenant(const struct clients *clients, struct span name);

void clients_doom(struct clients *clients, struct client *client);
struct client *clients_next_doomed(struct clients *clients); /* taken off the list, still doomed; NULL: none */
void clients_dropped(struct clients *clients, struct client *client, struct span room, const char *why);
/* Calls `told` for each client with drops to report; those for which it says true are done. */
void clients_report(struct clients *clients, bool (*told)(const struct client *client));
void clients_expire(struct clients *clients, int64_t now);   /* dooms those whose time has come */

#endif
