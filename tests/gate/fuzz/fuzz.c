/* libFuzzer targets, one binary each (-DTARGET=...): any bytes in; what must hold is checked, not only that nothing crashes. */
#include "clock.h"
#include "limits.h"
#include "log.h"
#include "policy.h"
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define MUST(condition) \
    do {                \
        if (!(condition)) \
            abort();    \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A NUL-terminated copy in a buffer of just that size, so that reading past the end is seen. */
static char *copy_of(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    MUST(text);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

#if defined(FUZZ_token)
/* The key below signed nothing that a fuzzer can find: no input may come out as claims. Keys files are read, too. */
static const struct keys *keys_of_test(void) {
    static struct keys *keys;
    char error[160];
    const char *path = getenv("FUZZ_KEYS");
    FILE *file = keys || !path ? NULL : fopen(path, "r");
    if (file) {
        keys = keys_read(file, error, sizeof error);
        fclose(file);
    }
    MUST(keys);
    return keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct credential found;
    static const char *const users[] = {"lincoln/s-x", "lincoln/d-x/1"};
    char *text = copy_of(data, size), error[160];
    struct span span = {text, strlen(text)};
    struct who who;
    for (size_t i = 0; i < 2; i++) {
        MUST(who_read(span_of(users[i]), &who));
        MUST(credential_read(keys_of_test(), &who, span_of(users[i]), span, 1800000000, &found) != NULL);
    }
    if (who_read(span, &who)) {
        MUST(who.tenant.len <= TENANT_MAX && who.subject.len <= SUBJECT_MAX && role_name(who.role));
        credential_read(keys_of_test(), &who, span, span_of("x"), 1800000000, &found);
        who_owns_client_id(&who, text);
    }
    who_read(span_of(users[0]), &who);
    if (!claims_read((struct span){text, size}, &who, 1800000000, &found))
        MUST(found.expires > 1800000000 && span_matches(span_of(found.room), "%R", NULL));
    FILE *file = size ? fmemopen(text, size, "r") : NULL;
    if (file) {
        keys_free(keys_read(file, error, sizeof error));
        fclose(file);
    }
    free(text);
    return 0;
}

#elif defined(FUZZ_topic)
#define LINCOLN {"lincoln", 7}
#define ROOM {"MUSIC-1234", 10}
#define NONE {"", 0}

/* Whatever topic or filter: a pupil of one tenant never gets at another's; what may be said is never `beat`. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct map *state;
    static const char *const log[] = {"open lincoln MUSIC-1234", "open other MUSIC-1234", "assign lincoln d-x MUSIC-1234"};
    static const struct who whos[] = {
        {ROLE_STUDENT, LINCOLN, {"s-x", 3}, ROOM, NONE}, {ROLE_TEACHER, LINCOLN, {"t-x", 3}, NONE, NONE},
        {ROLE_DEVICE, LINCOLN, {"d-x", 3}, NONE, NONE},  {ROLE_VIEWER, LINCOLN, {"v-x", 3}, ROOM, NONE},
        {ROLE_TEMPO, {"bandroom", 8}, {"tempo-0", 7}, NONE, NONE}, {ROLE_ROOMS, {"bandroom", 8}, {"rooms", 5}, NONE, NONE},
    };
    char *text = copy_of(data, size), identity[IDENTITY_MAX];
    const struct topic topic = *topic_read(text);
    struct entry entry;
    if (!state) {
        state = map_new(FACTS_MAX);
        for (size_t i = 0; i < 3; i++)
            MUST(entry_read(span_of(log[i]), &entry) == NULL && state_apply(state, &entry, i + 1));
    }
    bool named = topic.leaf != LEAF_NONE && !topic.is_filter;
    for (size_t i = 0; i < sizeof whos / sizeof *whos; i++) {
        identity_write(state, &whos[i], "0123456789abcdef", identity);
        struct who who = identity_read(identity);
        bool heard = identity_may_read(state, identity, text), asked = policy_may_subscribe(state, &who, text);
        bool said = policy_may_publish(state, &who, &topic, 0, false) || policy_may_publish(state, &who, &topic, 1, true);
        MUST(!(said || (heard && i < 5)) || named);
        MUST(i == 5 || !named || heard == asked); /* a filter without wildcards is granted just when its topic is readable */
        MUST(i >= 4 || !(heard || asked) || strncmp(text, "tenant/lincoln/", 15) == 0);
        MUST(i == 4 || !said || topic.leaf != LEAF_BEAT);
        MUST(!(asked || said) || text[0] != '$');
    }
    free(text);
    return 0;
}

#elif defined(FUZZ_log)
/* Bytes as a log file, whole and then in two parts: the same state either way, or the same refusal. Every second input is
 * taken as entries only, which get their numbers and checksums here, so that the fuzzer comes past those. */
static char *with_checksums(const uint8_t *data, size_t size, size_t *out_size) {
    char *text = copy_of(data, size), *out = malloc(2 * size * 24 + 64), body[LOG_LINE_MAX * 2];
    MUST(out);
    size_t len = (size_t)sprintf(out, "bandroom-gate 1 0123456789abcdef\n");
    int number = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        int body_len = snprintf(body, sizeof body, "%d %s", ++number, line);
        if ((size_t)body_len >= sizeof body)
            break;
        len += (size_t)sprintf(out + len, "%s %08x\n", body, (unsigned)crc32(0, (const unsigned char *)body, (unsigned)body_len));
    }
    free(text);
    *out_size = len;
    return out;
}

static void write_file(const char *path, const uint8_t *data, size_t size, const char *mode) {
    FILE *file = fopen(path, mode);
    MUST(file);
    fwrite(data, 1, size, file);
    fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[64];
    static struct log whole, parts;
    struct entry entry;
    if (!path[0])
        snprintf(path, sizeof path, "/tmp/fuzz-log-%d", (int)getpid());
    whole = parts = (struct log){0};
    strcpy(whole.path, path);
    strcpy(parts.path, path);
    char *text = copy_of(data, size);
    entry_read((struct span){text, size}, &entry);
    log_line_read((struct span){text, size}, 1, &entry);
    free(text);
    size_t cut = size ? data[size - 1] : 0, made_size = size;
    char *made = cut % 2 ? with_checksums(data, size, &made_size) : copy_of(data, size);
    size_t first = cut * made_size / 256;
    data = (uint8_t *)made;
    size = made_size;
    write_file(path, data, first, "w");
    log_poll(&parts);
    bool began = parts.good.state != NULL;
    write_file(path, data + first, size - first, "a");
    if (began)
        log_poll(&parts);
    log_poll(&whole);
    if (began)
        MUST(whole.good.state ? !parts.is_broken && parts.good.seq == whole.good.seq && parts.at == whole.at : parts.is_broken);
    log_close(&parts);
    log_close(&whole);
    free(made);
    remove(path);
    return 0;
}

#elif defined(FUZZ_clock)
/* A payload is answered only if it is a ping, and then nothing but the zeros and the topic's last letter changes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char topic[] = "tenant/lincoln/music_room/MUSIC-1234/clock/s-x/q", *ping = copy_of(data, size);
    if (span_matches((struct span){ping, size}, "%P", NULL)) {
        MUST(size == PING_LEN);
        ping_answer(topic, ping, 1800000000123456);
        MUST(memcmp(ping, data, 12) == 0 && memcmp(ping + 12, "1800000000123456", 16) == 0);
        MUST(strcmp(topic, "tenant/lincoln/music_room/MUSIC-1234/clock/s-x/r") == 0);
    }
    free(ping);
    return 0;
}
#endif
