#include "status.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const count_names[COUNT_COUNT] = {
    "published", "subscribed", "pings", "denied_publishes", "denied_subscriptions", "refused_connects",
    "over_limit", "flooders", "ended",
};

bool status_open(struct status *status, const char *path)
{
    status->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return status->fd >= 0;
}

void status_close(struct status *status)
{
    if (status->fd >= 0)
        close(status->fd);
    status->fd = -1;
}

struct page {
    char text[STATUS_SIZE + 1];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct page *page, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int len = vsnprintf(page->text + page->len, sizeof page->text - page->len, format, values);
    va_end(values);
    if (len > 0 && (size_t)len < sizeof page->text - page->len)
        page->len += (size_t)len;
}

void status_write(struct status *status, const struct log *log, const struct keys *keys, const char *keys_error)
{
    struct page page = {.len = 0};
    unsigned long long serial = ++status->serial;
    const char *error = log->error[0] ? log->error : keys_error;

    add(&page, "status %llu\nlog %s %llu\n", serial, log->id, (unsigned long long)log->seq);
    add(&page, "error %s\nkeys", error[0] ? error : "-");
    for (size_t i = 0; i < keys->rsa_count; i++)
        add(&page, " %s", keys->rsa[i].id);
    add(&page, "\nmasters");
    for (size_t i = 0; i < keys->master_count; i++)
        add(&page, " %lld", (long long)keys->master[i].number);
    add(&page, "\nconnections %zu\n", status->connections);
    for (size_t i = 0; i < COUNT_COUNT; i++)
        add(&page, "%s %llu\n", count_names[i], (unsigned long long)status->count[i]);
    add(&page, "status %llu\n", serial);
    memset(page.text + page.len, ' ', STATUS_SIZE - page.len);
    if (pwrite(status->fd, page.text, STATUS_SIZE, 0) == STATUS_SIZE)
        status->is_stale = false; /* a full disk: tried again at the next tick */
}
