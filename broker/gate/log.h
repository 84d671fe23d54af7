/* Follows the gate log: one writer, the service; one reader, this. Files and bytes only, no broker. */
#ifndef BANDROOM_LOG_H
#define BANDROOM_LOG_H

#include <sys/types.h>

#include "state.h"

#define LOG_LINE_MAX 256

struct log {
    const char *path;
    uint64_t seed;
    int fd; /* -1: none read yet */
    dev_t device;
    ino_t inode;
    off_t at;     /* where the first line not yet taken in begins */
    uint64_t seq; /* of the last entry taken in */
    char id[17];  /* of the file, from its first line */
    bool broken;  /* this file is given up; a new one renamed over it is read */
    char error[160]; /* empty: all is well */
    struct state *state; /* never NULL after a successful log_open */
};

uint32_t crc32_of(struct span bytes);
/* Reads one whole line (without its newline) that should carry `seq`. NULL: fine; else what is wrong with it. */
const char *log_line_read(struct span line, uint64_t seq, struct entry *out);

/* Reads the log from its beginning. False: `error` says why, and there is no state; log_close() all the same. */
bool log_open(struct log *log, const char *path, uint64_t seed);
void log_close(struct log *log);

enum log_news { LOG_NOTHING, LOG_GREW, LOG_REPLACED };
/* Takes in what is new, telling `heard` of each entry of the file that was being followed (not of history in a
 * new file). Whatever is wrong is kept in `error`, and with it the last good state. */
enum log_news log_poll(struct log *log, void (*heard)(const struct entry *entry, void *to), void *to);

#endif
