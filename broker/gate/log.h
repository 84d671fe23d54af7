/* Follows the gate log: one writer, the service; one reader, this. Files and bytes only, no broker. */
#pragma once

#include <stdio.h>
#include <sys/stat.h>

#include "state.h"

enum { LOG_LINE_MAX = 256, LOG_PATH_MAX = 512 };

struct log {
    char path[LOG_PATH_MAX + 8];
    FILE *file;       /* that is followed; NULL: none yet */
    struct stat stat; /* of it */
    off_t at;         /* where the first line not yet taken in begins */
    bool is_broken;   /* it is given up; a new one renamed over it is read */
    char error[160];  /* empty: all is well */
    uint64_t stamp;   /* of the last news, counted through all files */
    struct history {  /* of what is in force */
        struct map *state;
        uint64_t seq; /* of its last entry in its file, */
        char id[17];  /* whose first line has this */
    } good;
};

/* Reads one whole line (without its newline) that should carry `seq`. NULL: fine; else what is wrong with it. */
const char *log_line_read(struct span line, uint64_t seq, struct entry *out);
/* Takes in what is new. Whatever is wrong is kept in `error`, and with it the last good state.
 * The first time, with only `path` set, all is new: there is a state afterwards just when all was well. */
void log_poll(struct log *log);
void log_close(struct log *log);
