#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static bool first_words(const char *path, char *boot, long long *offset, char *error, size_t error_size)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return false;
    }
    int words = fscanf(file, "%63s %lld", boot, offset);
    fclose(file);
    if (words >= (offset ? 2 : 1))
        return true;
    snprintf(error, error_size, "%s: malformed", path);
    return false;
}

bool clock_open(const char *path, int64_t *offset_us, char *error, size_t error_size)
{
    char running[64], written[64];
    long long offset;
    if (!first_words(path, written, &offset, error, error_size) ||
        !first_words(BOOT_ID_FILE, running, NULL, error, error_size))
        return false;
    if (strcmp(running, written) != 0) {
        snprintf(error, error_size, "%s: written before this machine last started", path);
        return false;
    }
    *offset_us = offset;
    return true;
}

int64_t clock_now_us(int64_t offset_us)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + offset_us;
}

bool ping_is_well_formed(const void *payload, size_t len)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    const char *p = payload;
    for (size_t i = 0; len == PING_LEN && i < 8; i++) {
        if (p[i] < '!' || p[i] > '~')
            return false;
    }
    return len == PING_LEN && p[8] == ' ' && p[11] == ' ' && memchr(hex, p[9], 22) && memchr(hex, p[10], 22) &&
           memcmp(p + 12, "0000000000000000", 16) == 0;
}

void ping_answer(char *topic, void *payload, int64_t server_us)
{
    char *digit = (char *)payload + PING_LEN;
    topic[strlen(topic) - 1] = 'r';
    for (int i = 0; i < 16; i++, server_us /= 10)
        *--digit = (char)('0' + server_us % 10);
}
