/* The status file: how far the gate has read, what is wrong, and its counters, for the service to look at. */
#include "gate.h"

#include <fcntl.h>
#include <unistd.h>

#define STATUS_SIZE 4096 /* holds the longest error, all keys' ids and all counters */

static const char *const count_names[COUNT_COUNT] = {
    "connections", "published", "denied_publishes", "subscribed", "denied_subscriptions", "pings", "refused_connects",
    "over_limit", "flooders", "ended",
};

/* One write over the last; first and last line carry one number, so a torn read shows. False: it cannot be written. */
bool status_write(void) {
    static unsigned long long serial;
    char text[STATUS_SIZE];
    const char *error = gate.log.error[0] ? gate.log.error : gate.error;
    int len = snprintf(text, sizeof text, "status %llu\nlog %s %llu\nerror %s\nkeys", ++serial, gate.log.good.id,
                       (unsigned long long)gate.log.good.seq, error[0] ? error : "-");
    for (size_t i = 0; i < gate.keys->rsa_count; i++)
        len += sprintf(text + len, " %s", gate.keys->rsa[i].id);
    len += sprintf(text + len, "\nmasters");
    for (size_t i = 0; i < 2 && gate.keys->master[i].number; i++)
        len += sprintf(text + len, " %lld", (long long)gate.keys->master[i].number);
    for (size_t i = 0; i < COUNT_COUNT; i++)
        len += sprintf(text + len, "\n%s %llu", count_names[i], (unsigned long long)gate.count[i]);
    len += sprintf(text + len, "\nstatus %llu\n", serial);
    memset(text + len, ' ', sizeof text - (size_t)len);
    int fd = open(path_of("status"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool is_written = fd >= 0 && pwrite(fd, text, STATUS_SIZE, 0) == STATUS_SIZE;
    if (fd >= 0)
        close(fd);
    return is_written; /* a full disk: tried again within a second */
}
