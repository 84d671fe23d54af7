/* libFuzzer targets, one binary each (-DTARGET=...): any bytes in; what must hold is checked, not only that nothing crashes. */
#include "clock.h"
#include "json.h"
#include "limits.h"
#include "log.h"
#include "policy.h"
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST(condition) \
    do {                \
        if (!(condition)) \
            abort();    \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A NUL-terminated copy in a buffer of just that size, so that reading past the end is seen. */
static char *copy_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    MUST(text);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

#if defined(FUZZ_token)
/* The key below signed nothing that a fuzzer can find: no input may come out as claims. Keys files are read, too. */
static const struct keys *keys_of_test(void)
{
    static struct keys *keys;
    static char text[4096];
    char error[160];
    const char *path = getenv("FUZZ_KEYS");
    FILE *file = keys || !path ? NULL : fopen(path, "r");
    if (file) {
        size_t len = fread(text, 1, sizeof text, file);
        fclose(file);
        keys = keys_read((struct span){text, len}, error, sizeof error);
    }
    MUST(keys);
    return keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_of(data, size), error[160];
    struct span span = {text, strlen(text)};
    struct claims claims;
    struct json_object object;
    MUST(token_verify(keys_of_test(), span, 1800000000, &claims) != NULL);
    if (json_read((struct span){text, size}, &object))
        claims_read(&object, 1800000000, &claims);
    MUST(!device_password_is_good(keys_of_test(), "lincoln", (struct span){"lincoln/d-x/1", 13}, span));
    keys_free(keys_read((struct span){text, size}, error, sizeof error));
    free(text);
    return 0;
}

#elif defined(FUZZ_topic)
/* Whatever topic or filter: a pupil of one tenant never gets at another's; what may be said is never `beat`. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct state *state;
    static const char *const log[] = {"open lincoln MUSIC-1234", "open other MUSIC-1234", "assign lincoln d-x MUSIC-1234"};
    static const struct who whos[] = {
        {ROLE_STUDENT, "lincoln", "s-x", "MUSIC-1234"}, {ROLE_TEACHER, "lincoln", "t-x", ""},
        {ROLE_DEVICE, "lincoln", "d-x", ""},            {ROLE_VIEWER, "lincoln", "v-x", "MUSIC-1234"},
        {ROLE_TEMPO, "bandroom", "tempo-0", ""},        {ROLE_ROOMS, "bandroom", "rooms", ""},
    };
    char *text = copy_of(data, size), identity[IDENTITY_MAX];
    struct span span = span_of(text);
    struct topic topic;
    struct entry entry;
    if (!state) {
        state = state_new(1);
        for (size_t i = 0; i < 3; i++)
            MUST(entry_read(span_of(log[i]), &entry) == NULL && state_apply(state, &entry));
    }
    bool named = topic_read(span, false, &topic);
    for (size_t i = 0; i < sizeof whos / sizeof *whos; i++) {
        identity_write(state, &whos[i], "0123456789abcdef", identity);
        bool heard = identity_may_read(state, identity, text), asked = policy_may_subscribe(state, &whos[i], span);
        bool said = policy_may_publish(state, &whos[i], &topic, 0, false) || policy_may_publish(state, &whos[i], &topic, 1, true);
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
static char *with_checksums(const uint8_t *data, size_t size, size_t *out_size)
{
    char *text = copy_of(data, size), *out = malloc(2 * size * 24 + 64), body[LOG_LINE_MAX * 2];
    MUST(out);
    size_t len = (size_t)sprintf(out, "bandroom-gate 1 0123456789abcdef\n");
    int number = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        int body_len = snprintf(body, sizeof body, "%d %s", ++number, line);
        if ((size_t)body_len >= sizeof body)
            break;
        len += (size_t)sprintf(out + len, "%s %08x\n", body, crc32_of((struct span){body, (size_t)body_len}));
    }
    free(text);
    *out_size = len;
    return out;
}

static void write_file(const char *path, const uint8_t *data, size_t size, const char *mode)
{
    FILE *file = fopen(path, mode);
    MUST(file);
    fwrite(data, 1, size, file);
    fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    struct entry entry;
    struct log whole, parts;
    if (!path[0])
        snprintf(path, sizeof path, "/tmp/fuzz-log-%d", (int)getpid());
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
    bool began = log_open(&parts, path, 1);
    write_file(path, data + first, size - first, "a");
    if (began)
        log_poll(&parts, NULL, NULL);
    bool read = log_open(&whole, path, 1);
    if (began)
        MUST(read ? !parts.broken && parts.seq == whole.seq && parts.at == whole.at : parts.broken);
    log_close(&parts);
    log_close(&whole);
    free(made);
    remove(path);
    return 0;
}

#elif defined(FUZZ_clock)
/* A payload is answered only if it is a ping, and then nothing but the zeros and the topic's last letter changes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char topic[] = "tenant/lincoln/music_room/MUSIC-1234/clock/s-x/q", *ping = copy_of(data, size);
    if (ping_is_well_formed(ping, size)) {
        MUST(size == PING_LEN);
        ping_answer(topic, ping, 1800000000123456);
        MUST(memcmp(ping, data, 12) == 0 && memcmp(ping + 12, "1800000000123456", 16) == 0);
        MUST(strcmp(topic, "tenant/lincoln/music_room/MUSIC-1234/clock/s-x/r") == 0);
    }
    free(ping);
    return 0;
}
#endif
