/* Server time, and the ping that is answered by overwriting bytes in place. Pure but for clock_open. */
#ifndef BANDROOM_CLOCK_H
#define BANDROOM_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PING_LEN 28 /* 8 printable characters of the client's, space, 2 hex digits, space, 16 zeros */

/* Reads "<boot id> <offset>": microseconds to add to CLOCK_BOOTTIME. False: `error` says why. */
bool clock_open(const char *path, int64_t *offset_us, char *error, size_t error_size);
int64_t clock_now_us(int64_t offset_us);

bool ping_is_well_formed(const void *payload, size_t len);
/* `topic` ends in "/q". Writes the reply over the ping: neither grows, so neither needs memory. */
void ping_answer(char *topic, void *payload, int64_t server_us);

#endif
