/* The status file: how far the gate has read, what is wrong, and its counters, for the service to look at. */
#ifndef BANDROOM_STATUS_H
#define BANDROOM_STATUS_H

#include "log.h"
#include "token.h"

enum count {
    COUNT_PUBLISHED, COUNT_SUBSCRIBED, COUNT_PINGS, COUNT_DENIED_PUBLISHES, COUNT_DENIED_SUBSCRIPTIONS,
    COUNT_REFUSED_CONNECTS, COUNT_OVER_LIMIT, COUNT_FLOODERS,
    COUNT_ENDED, COUNT_COUNT,
};

struct status {
    int fd;
    bool is_stale;
    uint64_t serial, count[COUNT_COUNT];
    size_t connections;
};

bool status_open(struct status *status, const char *path); /* false: errno says why */
void status_close(struct status *status);
/* One write of STATUS_SIZE bytes over the last; first and last line carry one number, so a torn read shows. */
void status_write(struct status *status, const struct log *log, const struct keys *keys, const char *keys_error);

#define STATUS_SIZE 4096

#endif
