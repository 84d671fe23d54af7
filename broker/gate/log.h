/* Follows the gate log: one writer, the service; one reader, this. Files and bytes only, no broker. */
#pragma once

#include <sys/stat.h>

#include "state.h"

enum { LOG_LINE_MAX = 256, LOG_PATH_MAX = 512, TENANT_BITS = 1024 };
#define LOG_LIVE (UINT64_C(1) << 62) /* stamps from here on are of entries that were followed, smaller ones of history */

struct log {
    char path[LOG_PATH_MAX];
    int fd;           /* -1: none read yet */
    struct stat file; /* that is followed */
    off_t at;         /* where the first line not yet taken in begins */
    uint64_t seq;     /* of the last entry taken in, */
    uint64_t stamp;   /* and of the last one that was followed */
    char id[17];      /* of the file, from its first line */
    bool is_live;     /* what comes now is no history any more */
    bool is_broken;   /* this file is given up; a new one renamed over it is read */
    char error[160];  /* empty: all is well */
    struct map *state;
    bool has_news, is_stale[TENANT_BITS]; /* for the reader to unset: entries came; those of its tenants, by log_bit */
};

uint32_t crc32_of(struct span bytes);
/* Reads one whole line (without its newline) that should carry `seq`. NULL: fine; else what is wrong with it. */
const char *log_line_read(struct span line, uint64_t seq, struct entry *out);
/* Takes in what is new. Whatever is wrong is kept in `error`, and with it the last good state.
 * The first time, with `path` set and `fd` -1, all is new: there is a state afterwards just when all was well. */
void log_poll(struct log *log);
void log_close(struct log *log);
size_t log_bit(struct span tenant);
