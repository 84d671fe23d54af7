/* Server time, and the ping that is answered by overwriting bytes in place. Pure but for the time itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PING_LEN = 28 }; /* FORM_PING */

/* Reads "<boot id> <offset>": microseconds to add to CLOCK_BOOTTIME. NULL: done; else what is wrong with it. */
const char *clock_read(const char *text, const char *boot_id, int64_t *offset_us);
int64_t clock_now_us(int64_t offset_us);
/* `topic` ends in "/q". Writes the reply over the ping: neither grows, so neither needs memory. */
void ping_answer(char *topic, void *payload, int64_t server_us);
