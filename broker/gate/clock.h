/* Server time, and the ping that is answered by overwriting bytes in place. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PING_LEN = 28 }; /* of what matches "%P" */

/* Reads "<boot id> <offset>": microseconds to add to CLOCK_BOOTTIME. False, and `error` says why: no such file, malformed, or
 * not of this boot. */
bool clock_read(const char *path, int64_t *offset_us, char *error, size_t error_size);
int64_t clock_now_us(int64_t offset_us);
/* `topic` ends in "/q". Writes the reply over the ping: neither grows, so neither needs memory. */
void ping_answer(char *topic, void *payload, int64_t server_us);
