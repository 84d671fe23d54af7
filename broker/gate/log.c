#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

uint32_t crc32_of(struct span bytes) {
    static const uint32_t of_half_a_byte[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < 2 * bytes.len; i++)
        crc = of_half_a_byte[(crc ^ (unsigned char)bytes.at[i / 2] >> 4 * (i % 2)) & 15] ^ (crc >> 4);
    return ~crc;
}

size_t log_bit(struct span tenant) {
    return map_hash(tenant) % TENANT_BITS;
}

const char *log_line_read(struct span line, uint64_t seq, struct entry *out) {
    char sum[10];
    int64_t found;
    struct span body = {line.at, line.len > 9 ? line.len - 9 : 0};
    snprintf(sum, sizeof sum, " %08x", crc32_of(body));
    if (body.len == 0 || memcmp(line.at + body.len, sum, 9) != 0)
        return "wrong checksum";
    if (!span_number(span_cut(&body, ' '), &found) || (uint64_t)found != seq)
        return "wrong sequence number";
    return entry_read(body, out);
}

static const char *line_take(struct log *log, struct span line) {
    struct entry entry;
    if (log->at == 0) {
        struct span id = {line.at + 16, 16};
        span_copy(log->id, sizeof log->id, line.len == 32 ? id : NOTHING);
        bool is_ours = line.len == 32 && memcmp(line.at, "bandroom-gate 1 ", 16) == 0 && span_has_form(id, FORM_HEX_16);
        return is_ours ? NULL : "not the first line of a gate log of version 1";
    }
    const char *wrong = log_line_read(line, log->seq + 1, &entry);
    if (!wrong && !state_apply(log->state, &entry, log->is_live ? log->stamp + 1 : log->seq + 1))
        wrong = "more facts than the gate can hold";
    if (wrong)
        return wrong;
    log->seq++;
    log->stamp += log->is_live;
    log->has_news = true;
    if (entry.verb <= VERB_FLOOR)
        log->is_stale[log_bit(entry.part[0])] = true;
    return NULL;
}

/* Takes in every complete line from `at` on; an incomplete last one waits. NULL: fine; else what is wrong. */
static const char *lines_take(struct log *log) {
    char block[64 * 1024];
    for (ssize_t got = sizeof block; got == sizeof block;) {
        got = pread(log->fd, block, sizeof block, log->at);
        struct span rest = {block, got > 0 ? (size_t)got : 0};
        while (memchr(rest.at, '\n', rest.len)) {
            struct span line = span_cut(&rest, '\n');
            const char *wrong = line.len > LOG_LINE_MAX ? "line too long" : line_take(log, line);
            if (wrong)
                return wrong;
            log->at += (off_t)line.len + 1;
        }
        if (got < 0 || rest.len > LOG_LINE_MAX)
            return got < 0 ? strerror(errno) : "line too long";
    }
    return log->at == 0 ? "empty" : NULL;
}

static void read_on(struct log *log, off_t size) {
    const char *wrong = size < log->at ? "the file has shrunk" : lines_take(log);
    log->is_broken = wrong != NULL;
    log->error[0] = '\0';
    if (wrong)
        snprintf(log->error, sizeof log->error, "gate log: line %llu (after byte %lld): %s",
                 (unsigned long long)log->seq + 2, (long long)log->at, wrong);
}

/* Another file is there now. A bad one changes nothing but that it is the one followed: it is not read again, and is kept
 * open, so that the next one cannot have its inode number. */
static void replace(struct log *log) {
    struct log fresh = *log;
    fresh.fd = open(log->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    fresh.state = fresh.fd >= 0 && fstat(fresh.fd, &fresh.file) == 0 ? state_new() : NULL;
    if (!fresh.state) {
        snprintf(log->error, sizeof log->error, "gate log: %s", strerror(errno));
        if (fresh.fd >= 0)
            close(fresh.fd);
        return; /* tried again at the next poll */
    }
    fresh.at = 0;
    fresh.seq = 0;
    fresh.is_live = false;
    read_on(&fresh, fresh.file.st_size);
    if (log->fd >= 0)
        close(log->fd);
    state_free(fresh.is_broken ? fresh.state : log->state);
    if (fresh.is_broken) {
        log->fd = fresh.fd;
        log->file = fresh.file;
        log->is_broken = true;
        memcpy(log->error, fresh.error, sizeof log->error);
        return;
    }
    *log = fresh;
    log->stamp |= LOG_LIVE;
    log->is_live = log->has_news = true;
    memset(log->is_stale, true, sizeof log->is_stale);
}

void log_poll(struct log *log) {
    struct stat found;
    if (stat(log->path, &found) != 0)
        snprintf(log->error, sizeof log->error, "gate log: %s", strerror(errno));
    else if (log->fd < 0 || found.st_ino != log->file.st_ino || found.st_dev != log->file.st_dev)
        replace(log);
    else if (!log->is_broken)
        read_on(log, found.st_size);
}

void log_close(struct log *log) {
    if (log->fd >= 0)
        close(log->fd);
    state_free(log->state);
    *log = (struct log){.fd = -1};
}
