#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "bandroom-gate 1 "

uint32_t crc32_of(struct span bytes)
{
    static uint32_t table[256]; /* a long log must not hold up the beats */
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
        table[i] = crc;
    }
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < bytes.len; i++)
        crc = table[(crc ^ (unsigned char)bytes.at[i]) & 0xff] ^ (crc >> 8);
    return ~crc;
}

static bool sum_is_right(const char *digits, uint32_t sum)
{
    for (int i = 7; i >= 0; i--, sum >>= 4) {
        if (digits[i] != "0123456789abcdef"[sum & 15])
            return false;
    }
    return true;
}

const char *log_line_read(struct span line, uint64_t seq, struct entry *out)
{
    int64_t found;
    if (line.len < 10 || line.at[line.len - 9] != ' ')
        return "no checksum";
    struct span body = {line.at, line.len - 9};
    if (!sum_is_right(line.at + line.len - 8, crc32_of(body)))
        return "wrong checksum";
    const char *space = memchr(body.at, ' ', body.len);
    if (!space || !span_number((struct span){body.at, (size_t)(space - body.at)}, &found))
        return "no sequence number";
    if ((uint64_t)found != seq)
        return "wrong sequence number";
    size_t head = (size_t)(space + 1 - body.at);
    return entry_read((struct span){body.at + head, body.len - head}, out);
}

static void give_up(struct log *log, const char *why)
{
    log->broken = true;
    snprintf(log->error, sizeof log->error, "gate log: line %llu (after byte %lld): %s",
             (unsigned long long)log->seq + 2, (long long)log->at, why);
}

static const char *header_read(struct log *log, struct span line)
{
    size_t head = strlen(HEADER);
    if (line.len != head + 16 || memcmp(line.at, HEADER, head) != 0)
        return "not the first line of a gate log of version 1";
    for (size_t i = head; i < line.len; i++) {
        if (!strchr("0123456789abcdef", line.at[i]))
            return "malformed file id";
    }
    span_copy(log->id, sizeof log->id, (struct span){line.at + head, 16});
    return NULL;
}

static const char *line_take(struct log *log, struct span line, void (*heard)(const struct entry *, void *), void *to)
{
    struct entry entry;
    if (log->at == 0)
        return header_read(log, line);
    const char *wrong = log_line_read(line, log->seq + 1, &entry);
    if (wrong)
        return wrong;
    if (!state_apply(log->state, &entry))
        return "more facts than the gate can hold";
    log->seq++;
    if (heard)
        heard(&entry, to);
    return NULL;
}

/* Takes in every complete line from `at` on; an incomplete last one waits. */
static bool lines_take(struct log *log, void (*heard)(const struct entry *, void *), void *to)
{
    char block[64 * 1024];
    bool news = false;
    for (;;) {
        ssize_t got = pread(log->fd, block, sizeof block, log->at);
        if (got < 0)
            give_up(log, strerror(errno));
        if (got <= 0)
            return news;
        size_t used = 0;
        for (char *end; (end = memchr(block + used, '\n', (size_t)got - used)); used = (size_t)(end - block) + 1) {
            struct span line = {block + used, (size_t)(end - block) - used};
            const char *wrong = line.len > LOG_LINE_MAX ? "line too long" : line_take(log, line, heard, to);
            if (wrong) {
                give_up(log, wrong);
                return news;
            }
            log->at += (off_t)line.len + 1;
            news = true;
        }
        if ((size_t)got - used > LOG_LINE_MAX) {
            give_up(log, "line too long");
            return news;
        }
        if ((size_t)got < sizeof block)
            return news;
    }
}

bool log_open(struct log *log, const char *path, uint64_t seed)
{
    struct stat found;
    *log = (struct log){.path = path, .seed = seed, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (log->fd < 0 || fstat(log->fd, &found) != 0) {
        snprintf(log->error, sizeof log->error, "gate log: %s", strerror(errno));
        return false;
    }
    log->device = found.st_dev;
    log->inode = found.st_ino;
    if (!S_ISREG(found.st_mode)) {
        snprintf(log->error, sizeof log->error, "gate log: not a regular file");
    } else if (!(log->state = state_new(seed))) {
        snprintf(log->error, sizeof log->error, "gate log: out of memory");
    } else {
        lines_take(log, NULL, NULL);
        if (!log->broken && log->at == 0)
            give_up(log, "empty");
        if (!log->broken)
            return true;
    }
    state_free(log->state);
    log->state = NULL;
    return false;
}

void log_close(struct log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    state_free(log->state);
    *log = (struct log){.fd = -1};
}

static enum log_news replace(struct log *log)
{
    struct log fresh;
    if (log_open(&fresh, log->path, log->seed)) {
        log_close(log);
        *log = fresh;
        return LOG_REPLACED;
    }
    snprintf(log->error, sizeof log->error, "%s", fresh.error);
    if (fresh.fd < 0)
        return LOG_NOTHING; /* could not be opened: tried again at the next poll */
    /* Keep the last good state. The bad file stays open, so that the next one cannot have its inode number. */
    close(log->fd);
    log->fd = fresh.fd;
    log->device = fresh.device;
    log->inode = fresh.inode;
    log->broken = true;
    return LOG_NOTHING;
}

enum log_news log_poll(struct log *log, void (*heard)(const struct entry *, void *), void *to)
{
    struct stat found;
    if (stat(log->path, &found) != 0) {
        snprintf(log->error, sizeof log->error, "gate log: %s: the last state is kept", strerror(errno));
        return LOG_NOTHING;
    }
    if (found.st_ino != log->inode || found.st_dev != log->device)
        return replace(log);
    if (log->broken)
        return LOG_NOTHING;
    log->error[0] = '\0';
    if (found.st_size < log->at)
        give_up(log, "the file has shrunk");
    if (found.st_size <= log->at)
        return LOG_NOTHING;
    return lines_take(log, heard, to) ? LOG_GREW : LOG_NOTHING;
}
