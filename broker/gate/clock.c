#include "clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *clock_read(const char *text, const char *boot_id, int64_t *offset_us) {
    char written[64];
    if (sscanf(text, "%63s %" SCNd64, written, offset_us) != 2)
        return "malformed";
    return strncmp(boot_id, written, strlen(written)) == 0 ? NULL : "written before this machine last started";
}

int64_t clock_now_us(int64_t offset_us) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + offset_us;
}

void ping_answer(char *topic, void *payload, int64_t server_us) {
    char *digit = (char *)payload + PING_LEN;
    topic[strlen(topic) - 1] = 'r';
    for (int i = 0; i < 16; i++, server_us /= 10)
        *--digit = (char)('0' + server_us % 10);
}
