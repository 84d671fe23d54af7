#include "clients.h"

#include <stddef.h>
#include <string.h>

#define TENANTS_MAX 20000

static void link_init(struct link *link)
{
    link->next = link->prev = link;
}

static void link_add(struct link *head, struct link *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static void link_remove(struct link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link_init(link);
}

bool clients_init(struct clients *clients, uint64_t seed)
{
    memset(clients, 0, sizeof *clients);
    link_init(&clients->doomed);
    link_init(&clients->dropping);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        link_init(&clients->wheel[i]);
    return map_init(&clients->by_handle, sizeof(struct client), CLIENTS_MAX, seed) &&
           map_init(&clients->by_tenant, sizeof(struct tenant), TENANTS_MAX, seed);
}

void clients_free(struct clients *clients)
{
    map_free(&clients->by_handle);
    map_free(&clients->by_tenant);
}

static struct tenant *tenant_for(struct clients *clients, struct span name)
{
    struct tenant *tenant = map_insert(&clients->by_tenant, name.at, name.len);
    if (tenant && !tenant->clients.next) {
        link_init(&tenant->clients);
        tenant->next = clients->tenants;
        tenant->previous = &clients->tenants;
        if (tenant->next)
            tenant->next->previous = &tenant->next;
        clients->tenants = tenant;
    }
    return tenant;
}

static void tenant_drop_if_empty(struct clients *clients, struct tenant *tenant, struct span name)
{
    if (!tenant || tenant->clients.next != &tenant->clients)
        return;
    *tenant->previous = tenant->next;
    if (tenant->next)
        tenant->next->previous = tenant->previous;
    map_remove(&clients->by_tenant, name.at, name.len);
}

struct client *clients_add(struct clients *clients, struct mosquitto *handle, const struct client *found)
{
    struct tenant *tenant = tenant_for(clients, span_of(found->who.tenant));
    struct client *client = tenant ? map_insert(&clients->by_handle, &handle, sizeof handle) : NULL;
    if (!client) {
        tenant_drop_if_empty(clients, tenant, span_of(found->who.tenant));
        return NULL;
    }
    *client = *found;
    client->handle = handle;
    link_init(&client->in_doomed);
    link_init(&client->in_wheel);
    link_init(&client->in_dropping);
    link_add(&tenant->clients, &client->of_tenant);
    if (client->expires)
        link_add(&clients->wheel[(uint64_t)client->expires % WHEEL_SLOTS], &client->in_wheel);
    return client;
}

struct client *clients_find(const struct clients *clients, const struct mosquitto *handle)
{
    return map_find(&clients->by_handle, &handle, sizeof handle);
}

struct tenant *clients_tenant(const struct clients *clients, struct span name)
{
    return map_find(&clients->by_tenant, name.at, name.len);
}

void clients_remove(struct clients *clients, struct client *client)
{
    struct who who = client->who;
    const struct mosquitto *handle = client->handle;
    link_remove(&client->of_tenant);
    link_remove(&client->in_wheel);
    link_remove(&client->in_doomed);
    link_remove(&client->in_dropping);
    map_remove(&clients->by_handle, &handle, sizeof handle);
    tenant_drop_if_empty(clients, clients_tenant(clients, span_of(who.tenant)), span_of(who.tenant));
}

void clients_doom(struct clients *clients, struct client *client)
{
    if (!client->doomed)
        link_add(&clients->doomed, &client->in_doomed);
    client->doomed = true;
}

void clients_dropped(struct clients *clients, struct client *client, struct span room, const char *why)
{
    if (client->dropped++ == 0)
        link_add(&clients->dropping, &client->in_dropping);
    client->why = why;
    if (room.len > 0)
        span_copy(client->room, sizeof client->room, room);
}

void clients_report(struct clients *clients, bool (*told)(const struct client *client))
{
    struct link *next;
    for (struct link *link = clients->dropping.next; link != &clients->dropping; link = next) {
        next = link->next;
        struct client *client = (struct client *)((char *)link - offsetof(struct client, in_dropping));
        if (!told(client))
            continue;
        client->dropped = 0;
        link_remove(link);
    }
}

struct client *clients_next_doomed(struct clients *clients)
{
    struct link *first = clients->doomed.next;
    if (first == &clients->doomed)
        return NULL;
    link_remove(first);
    return (struct client *)((char *)first - offsetof(struct client, in_doomed));
}

void clients_expire(struct clients *clients, int64_t now)
{
    int64_t from = clients->expired_to + 1;
    if (from < now - WHEEL_SLOTS || from > now) /* the first time, or the wall clock was set: look at all */
        from = now - WHEEL_SLOTS + 1;
    for (; from <= now; from++) {
        struct link *slot = &clients->wheel[(uint64_t)from % WHEEL_SLOTS], *next;
        for (struct link *link = slot->next; link != slot; link = next) {
            next = link->next;
            struct client *client = (struct client *)((char *)link - offsetof(struct client, in_wheel));
            if (client->expires <= now)
                clients_doom(clients, client);
        }
    }
    clients->expired_to = now;
}
