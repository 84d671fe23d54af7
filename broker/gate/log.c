#include "log.h"

#include <errno.h>
#include <zlib.h>

const char *log_line_read(struct span line, uint64_t seq, struct entry *out) {
    struct span body = {line.at, line.len > 9 ? line.len - 9 : 0}, part[2];
    char sum[10];
    snprintf(sum, sizeof sum, " %08lx", crc32(0, (const unsigned char *)body.at, (unsigned)body.len));
    if (body.len == 0 || memcmp(line.at + body.len, sum, 9) != 0)
        return "wrong checksum";
    if (!span_matches(body, "(%N) (%*)", part) || (uint64_t)span_number(part[0]) != seq)
        return "wrong sequence number";
    return entry_read(part[1], out);
}

static const char *line_take(struct log *log, struct span line, bool is_history) {
    struct history *good = &log->good;
    struct span id;
    struct entry entry;
    if (log->at == 0) {
        if (!span_matches(line, "bandroom-gate 1 (%H)", &id))
            return "not the first line of a gate log of version 1";
        snprintf(good->id, sizeof good->id, "%.*s", PRINTED(id));
        return NULL;
    }
    const char *wrong = log_line_read(line, good->seq + 1, &entry);
    if (wrong)
        return wrong;
    if (!(is_history && entry.verb == VERB_KICK) && !state_apply(good->state, &entry, ++log->stamp))
        return "more facts than the gate can hold";
    good->seq++;
    return NULL;
}

/* Takes in every complete line from `at` on; an incomplete last one waits. NULL: fine; else what is wrong. */
static const char *lines_take(struct log *log, bool is_history) {
    char line[LOG_LINE_MAX + 2];
    if (fseeko(log->file, log->at, SEEK_SET) != 0)
        return strerror(errno);
    while (fgets(line, sizeof line, log->file) && !feof(log->file)) {
        size_t len = strcspn(line, "\n");
        const char *wrong = line[len] ? line_take(log, (struct span){line, len}, is_history) : "too long, or not text";
        if (wrong)
            return wrong;
        log->at += (off_t)len + 1;
    }
    return ferror(log->file) ? strerror(errno) : log->at == 0 ? "empty" : NULL;
}

static void read_on(struct log *log, off_t size, bool is_history) {
    const char *wrong = size < log->at ? "the file has shrunk" : lines_take(log, is_history);
    log->is_broken = wrong != NULL;
    log->error[0] = '\0';
    if (wrong)
        snprintf(log->error, sizeof log->error, "gate log: line %llu (after byte %lld): %s",
                 (unsigned long long)log->good.seq + 2, (long long)log->at, wrong);
}

/* Another file is there now. A bad one changes nothing but that it is the one followed: it is not read again, and is kept
 * open, so that the next one cannot have its inode number. */
static void replace(struct log *log) {
    struct log fresh = *log;
    fresh.file = fopen(log->path, "re");
    fresh.at = 0;
    fresh.good = (struct history){.state = map_new(FACTS_MAX)};
    if (!fresh.file || !fresh.good.state || fstat(fileno(fresh.file), &fresh.stat) != 0) {
        snprintf(log->error, sizeof log->error, "gate log: %s", strerror(errno));
        map_free(fresh.good.state);
        if (fresh.file)
            fclose(fresh.file);
        return; /* tried again at the next poll */
    }
    read_on(&fresh, fresh.stat.st_size, true);
    map_free(fresh.is_broken ? fresh.good.state : log->good.state);
    if (fresh.is_broken)
        fresh.good = log->good;
    fresh.stamp++; /* that what the old file said is not said any more is news, too */
    if (log->file)
        fclose(log->file);
    *log = fresh;
}

void log_poll(struct log *log) {
    struct stat found;
    if (stat(log->path, &found) != 0)
        snprintf(log->error, sizeof log->error, "gate log: %s", strerror(errno));
    else if (!log->file || found.st_ino != log->stat.st_ino || found.st_dev != log->stat.st_dev)
        replace(log);
    else if (!log->is_broken)
        read_on(log, found.st_size, false);
}

void log_close(struct log *log) {
    if (log->file)
        fclose(log->file);
    map_free(log->good.state);
    *log = (struct log){0};
}
