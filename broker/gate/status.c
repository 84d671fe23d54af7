/* The status file: how far the gate has read, what is wrong, and its counters, for the service to look at. */
#include "gate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATUS_SIZE 4096 /* holds the longest error, all keys' ids and all counters */

static const char *const count_names[COUNT_COUNT] = {
    "published", "subscribed", "pings", "denied_publishes", "denied_subscriptions", "refused_connects",
    "over_limit", "flooders", "ended",
};

/* One write over the last; first and last line carry one number, so a torn read shows. */
void status_write(void) {
    char text[STATUS_SIZE + 1];
    unsigned long long serial = ++gate.status_serial;
    const char *error = gate.log.error[0] ? gate.log.error : gate.keys_error;
    int len = snprintf(text, sizeof text, "status %llu\nlog %s %llu\nerror %s\nkeys", serial, gate.log.id,
                       (unsigned long long)gate.log.seq, error[0] ? error : "-");
    for (size_t i = 0; i < gate.keys->rsa_count; i++)
        len += sprintf(text + len, " %s", gate.keys->rsa[i].id);
    len += sprintf(text + len, "\nmasters");
    for (size_t i = 0; i < 2 && gate.keys->master[i].number; i++)
        len += sprintf(text + len, " %lld", (long long)gate.keys->master[i].number);
    len += sprintf(text + len, "\nconnections %zu\n", gate.clients.count);
    for (size_t i = 0; i < COUNT_COUNT; i++)
        len += sprintf(text + len, "%s %llu\n", count_names[i], (unsigned long long)gate.count[i]);
    len += sprintf(text + len, "status %llu\n", serial);
    memset(text + len, ' ', sizeof text - (size_t)len);
    if (pwrite(gate.status_fd, text, STATUS_SIZE, 0) != STATUS_SIZE)
        return; /* a full disk: tried again within a second */
}
