/* Tests of the gate's pure parts: unit_test lists them, unit_test NAME runs one and ends with 0 when it holds. */
#include "clock.h"
#include "json.h"
#include "limits.h"
#include "log.h"
#include "token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

static struct span s(const char *text) {
    return span_of(text);
}

static void names(void) {
    static const struct {
        enum form form;
        const char *good[4], *bad[14];
    } cases[] = {
        {FORM_TENANT, {"lincoln", "0-", "abcdefghijklmnopqrst", "bandroom-2"},
         {"", "-a", "A", "abcdefghijklmnopqrstu", "a b", "a/b", "a+", "a#", "a\n", "\xd0\xb0", "bandroom"}},
        {FORM_SUBJECT, {"d-drum-3", "s-0", "s-abcdefghijklmnopqr", "v-1"},
         {"", "s", "s-", "s--a", "S-a", "sa", "s-abcdefghijklmnopqrs", "1-a", "s-a/", "s-A", "x-a", "a-b"}},
        {FORM_ROOM, {"MUSIC-1234", "AB-0000", "ABCDEFGH-9999", NULL},
         {"", "A-1234", "ABCDEFGHI-1234", "MUSIC-123", "MUSIC-12345", "music-1234", "MUSIC1234", "MUSIC-12a4", "-1234"}},
        {FORM_GENERATION, {"1", "10", "999999999", NULL}, {"", "0", "01", "1000000000", "+1", "1 ", "1.0"}},
        {FORM_TOKEN_ID, {"a_B-9", "0", "________________________________________________________________", NULL},
         {"", "a.b", "a b", "_________________________________________________________________"}},
        {FORM_HEX_8, {"01234567", "89abcdef", NULL, NULL}, {"", "0123456", "012345678", "0123456A", "0123456g"}},
        {FORM_PING, {"abcdefgh 0f 0000000000000000", "!~!~!~!~ 99 0000000000000000", NULL, NULL},
         {"", "abcdefgh 0f 000000000000000", "abcdefgh 0F 0000000000000000", "abcdefgh 0g 0000000000000000",
          "abcdefgh-0f 0000000000000000", "abcdefgh 0f 0000000000000001", "abcdefg  0f 0000000000000000",
          "abcdefg\x7f 0f 0000000000000000", "abcdefgh 0f 0000000000000000 "}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < 4 && cases[i].good[k]; k++)
            CHECK(span_has_form(s(cases[i].good[k]), cases[i].form));
        for (size_t k = 0; k < 14 && cases[i].bad[k]; k++)
            CHECK(!span_has_form(s(cases[i].bad[k]), cases[i].form));
    }
    CHECK(!span_has_form((struct span){"a\0b", 3}, FORM_TENANT) && !span_has_form((struct span){"MUSIC-1234\0", 11}, FORM_ROOM));
    CHECK(!span_has_form((struct span){"abcdefgh \0f 0000000000000000", 28}, FORM_PING));
}

static void numbers(void) {
    int64_t n;
    CHECK(span_number(s("0"), &n) && n == 0);
    CHECK(span_number(s("999999999999999999"), &n) && n == 999999999999999999);
    const char *not_numbers[] = {"", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "1000000000000000000", "x"};
    for (size_t i = 0; i < sizeof not_numbers / sizeof *not_numbers; i++)
        CHECK(!span_number(s(not_numbers[i]), &n));
}

static void splitting(void) {
    struct span part[3];
    CHECK(span_split(s("a/b/c"), '/', part, 3) == 3 && span_is(part[2], "c"));
    CHECK(span_split(s("a/b/c/d"), '/', part, 3) == 0);
    CHECK(span_split(s(""), '/', part, 3) == 1 && part[0].len == 0);
    CHECK(span_split(s("/"), '/', part, 3) == 2 && part[1].len == 0);
}

static struct span number_name(int i) {
    static char text[16];
    return (struct span){text, (size_t)snprintf(text, sizeof text, "%d", i)};
}

static bool is_odd(void *record, int64_t now) {
    (void)now;
    return *(int *)record % 2;
}

static struct map map;

/* Removes the record that it is shown and another one, as a broker's call may that ends two connections. */
static bool takes_two(void *record, int64_t now) {
    int *next = map_at(&map, number_name(*(int *)record + 2), NOTHING, NOTHING, 0);
    (void)now;
    map_remove(&map, record);
    if (next)
        map_remove(&map, next);
    return false;
}

static void maps(void) {
    map_seed(42);
    map.limit = 5000;
    for (int i = 0; i < 5000; i++) {
        int *record = map_at(&map, number_name(i), NOTHING, NOTHING, sizeof *record);
        CHECK(record && *record == 0);
        *record = i;
    }
    CHECK(map_at(&map, s("one more"), NOTHING, NOTHING, 4) == NULL && map.count == 5000);
    CHECK(!map_at(&map, NOTHING, number_name(7), NOTHING, 0));
    for (int i = 0; i < 5000; i++) {
        int *record = map_at(&map, number_name(i), NOTHING, NOTHING, 4);
        CHECK(record && *record == i);
        if (i % 4 == 0)
            map_remove(&map, record);
    }
    CHECK(map.count == 3750 && !map_at(&map, s("4"), NOTHING, NOTHING, 0));
    for (size_t i = 0; i < MAP_SLOTS / 1024; i++)
        map_sweep(&map, 1024, is_odd, 0);
    CHECK(map.count == 1250 && map_at(&map, s("2"), NOTHING, NOTHING, 0) && !map_at(&map, s("3"), NOTHING, NOTHING, 0));
    map_sweep(&map, MAP_SLOTS, takes_two, 0);
    CHECK(map.count == 0);
    char large[200] = {0};
    CHECK(!map_at(&map, (struct span){large, sizeof large}, NOTHING, NOTHING, 4));
    map_clear(&map);
}

static void json(void) {
    enum { A, N, E, F, T, COUNT };
    static const char *const names[COUNT] = {"a", "n", "e", "f", "t"};
    struct span o[COUNT];
    int64_t n;
    CHECK(json_read(s(" {\"a\" : \"x\", \"n\":12 ,\"t\":true,\"z\":null,\"e\":\"\\u0041\\\"\",\"f\":-1.5e3}"), names, o, COUNT));
    CHECK(span_is(json_string(o[A]), "x") && span_number(o[N], &n) && n == 12 && span_is(o[T], "true"));
    CHECK(json_string(o[E]).len == 0 && json_string(o[N]).len == 0 && !span_number(o[F], &n) && !span_number(o[A], &n));
    CHECK(json_read(s("{\"z\":1}"), names, o, COUNT) && o[A].len == 0);
    const char *bad[] = {"", "{", "[]", "{\"a\":1", "{\"a\":1,}", "{\"a\":[1]}", "{\"a\":{}}", "{\"a\":1,\"a\":2}", "{\"\\u0061\":1}", "{\"a\"}", "{a:1}",
                         "{\"a\":1}x", "{\"a\":'x'}", "{\"a\":}", "{\"a\":\"x}", "{\"a\":\"\n\"}", "{\"a\":\"\\", "{,}", "{\"a\":1 \"b\":2}", "{\"z\":[1]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!json_read(s(bad[i]), names, o, COUNT));
}

static void log_lines(void) {
    struct entry e;
    const char *line = "7 assign lincoln d-drum MUSIC-1234 ";
    CHECK(log_line_read(s(line), 7, &e) != NULL && log_line_read(s(""), 1, &e) != NULL);
    CHECK(entry_read(s("limit lincoln client_msgs 1 2"), &e) == NULL && span_is(e.part[1], "client_msgs") && span_is(e.part[3], "2"));
    CHECK(entry_read(s("assign lincoln d-drum -"), &e) == NULL && entry_read(s("revokejti lincoln a_B-9 5"), &e) == NULL);
    const char *bad[] = {"", "open", "open lincoln", "open lincoln MUSIC-1234 x", "open  lincoln MUSIC-1234", "OPEN lincoln MUSIC-1234", "limit lincoln x 1 2",
                         "revoke lincoln s-a 1", "revoke lincoln s-a -1 2", "floor lincoln d-x 01", "mute lincoln MUSIC-1234 s-a b c", "revokejti lincoln a.b 1", "limit lincoln vain 1 2", "open bandroom MUSIC-1234", "kick lincoln x-a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(entry_read(s(bad[i]), &e) != NULL);
}

static void apply(struct map *state, const char *text) {
    static uint64_t stamp;
    struct entry e;
    CHECK(entry_read(s(text), &e) == NULL && state_apply(state, &e, ++stamp));
}

static void facts(void) {
    struct map *state = state_new();
    struct span t = s("lincoln"), room = s("MUSIC-1234"), ann = s("s-ann"), drum = s("d-x");
    apply(state, "mute lincoln MUSIC-1234 s-ann");
    apply(state, "open lincoln MUSIC-1234");
    CHECK(state_is_open(state, t, room) && state_is_muted(state, t, room, ann, false));
    apply(state, "close lincoln MUSIC-1234");
    apply(state, "open lincoln MUSIC-1234");
    CHECK(!state_is_muted(state, t, room, ann, false));
    apply(state, "muteall lincoln MUSIC-1234");
    CHECK(state_is_muted(state, t, room, ann, false) && !state_is_muted(state, t, room, ann, true));
    apply(state, "unmute lincoln MUSIC-1234 s-ann");
    CHECK(state_is_muted(state, t, room, ann, false));
    apply(state, "unmuteall lincoln MUSIC-1234");
    CHECK(!state_is_muted(state, t, room, ann, false));
    apply(state, "revoke lincoln s-ann 100 200");
    apply(state, "revoke lincoln s-ann 50 100");
    CHECK(state_is_void(state, t, ann, 100, s("j"), UINT64_MAX) && !state_is_void(state, t, ann, 101, s("j"), UINT64_MAX));
    apply(state, "revokejti lincoln j 200");
    CHECK(state_is_void(state, t, ann, 101, s("j"), UINT64_MAX) && !state_is_void(state, s("other"), ann, 101, s("j"), UINT64_MAX));
    apply(state, "floor lincoln d-x 5");
    apply(state, "floor lincoln d-x 3");
    apply(state, "revoke lincoln d-x 1700000000 1700000000"); /* is of tokens, which no device has */
    CHECK(state_is_void(state, t, drum, 4, NOTHING, UINT64_MAX) && !state_is_void(state, t, drum, 5, NOTHING, UINT64_MAX));
    apply(state, "kick lincoln s-bob");
    CHECK(state_is_void(state, t, s("s-bob"), 1, s("k"), 0) && !state_is_void(state, t, s("s-bob"), 1, s("k"), UINT64_MAX));
    apply(state, "assign lincoln d-x MUSIC-1234");
    CHECK(span_same(state_room_of_device(state, t, drum), room) && state_room_of_device(state, t, s("d-y")).len == 0);
    apply(state, "limit lincoln subs 9007199254740991 3");
    CHECK(state_rate(state, t, LIMIT_SUBS).rate == 1000000000 && state_rate(state, t, LIMIT_SUBS).burst == 3);
    CHECK(state_rate(state, t, LIMIT_CLIENT_MSGS).rate == 100 && state_rate(state, s("other"), LIMIT_SUBS).burst == 100);
    apply(state, "limit lincoln subs 0 0");
    CHECK(state_rate(state, t, LIMIT_SUBS).rate == 0 && state_rate(state, s("bandroom"), LIMIT_SUBS).rate == 1000000000);
    state_free(state);
}

static void buckets(void) {
    struct bucket b = {0};
    for (int i = 0; i < 10; i++)
        CHECK(bucket_take(&b, 5, 10, 1, 1000));
    CHECK(!bucket_take(&b, 5, 10, 1, 1000) && !bucket_take(&b, 5, 10, 1, 200999));
    CHECK(bucket_take(&b, 5, 10, 1, 201000) && !bucket_take(&b, 5, 10, 1, 201000));
    CHECK(!bucket_take(&b, 5, 10, 11, INT64_C(900000000000)) && bucket_take(&b, 5, 10, 10, INT64_C(900000000000)));
    struct bucket large = {0}; /* the largest numbers that a log can hold do not overflow */
    CHECK(bucket_take(&large, 1000000000, 1000000000, 1000000000, 1));
    CHECK(bucket_take(&large, 1000000000, 1000000000, 1000000000, INT64_MAX / 2));
    struct bucket nothing = {0};
    CHECK(!bucket_take(&nothing, 0, 0, 1, 5));
}

static struct map meters, outsiders;

static void kept_out(void) {
    struct map *state = state_new();
    struct span t = s("lincoln");
    meters.limit = METERS_MAX;
    struct meter *ann = meter_of(&meters, t, s("s-ann"), 1000), *rooms = meter_of(&meters, s("bandroom"), s("rooms"), 1000);
    int drops = 0;
    while (!limits_vain(state, &meters, ann, t, 1000))
        drops++;
    CHECK(drops == 2000 && ann->kept_out_to_us == 1000 + 30000000);
    for (int i = 0; i < 10000; i++)
        CHECK(!limits_vain(state, &meters, rooms, s("bandroom"), 1000));
    CHECK(limit_exceeded(state, NULL, t, LIMIT_SUBS, 1, 1000)); /* no memory for a meter: nothing is allowed */
    map_sweep(&meters, MAP_SLOTS, meter_is_idle, INT64_C(10000000000));
    CHECK(meters.count == 0);
    state_free(state);
}

static void publishing(void) {
    struct map *state = state_new();
    struct who ann = {ROLE_STUDENT, s("lincoln"), s("s-ann"), s("MUSIC-1234")}, kim = {ROLE_TEACHER, s("lincoln"), s("t-kim"), NOTHING};
    struct topic note = {LEAF_NOTE, s("lincoln"), s("MUSIC-1234"), s("s-ann")};
    meters.limit = METERS_MAX;
    struct meter *own = meter_of(&meters, ann.tenant, ann.subject, 1000);
    for (int i = 0; i < 200; i++)
        CHECK(!limits_publish(state, own, &ann, LEAF_NOTE, 100, 1000));
    CHECK(strcmp(limits_publish(state, own, &ann, LEAF_BEAT, 100, 1000), "client_msgs") == 0);
    CHECK(!limits_publish(state, own, &ann, LEAF_PING, 100, 1000)); /* has a bucket of its own, */
    CHECK(!limits_publish(state, own, &ann, LEAF_PRESENCE, 100, 1000)); /* and so has the Will that tells of the end */
    for (int i = 0; i < 39; i++)
        CHECK(!limits_publish(state, own, &ann, LEAF_PRESENCE, 100, 1000));
    CHECK(limits_publish(state, own, &ann, LEAF_PRESENCE, 100, 1000));
    for (int i = 0; i < 600; i++)
        CHECK(!limits_pass(state, &meters, &ann, &note, 1, 1000));
    CHECK(strcmp(limits_pass(state, &meters, &ann, &note, 1, 1000), "room_msgs") == 0 && !limits_pass(state, &meters, &kim, &note, 1, 1000));
    map_clear(&meters);
    state_free(state);
}

static void addresses(void) {
    char text[32];
    meters.limit = METERS_MAX;
    outsiders.limit = ADDRESSES_MAX;
    for (int i = 0; i < ADDRESSES_MAX + 100; i++) {
        snprintf(text, sizeof text, "2001:db8::%x", i);
        limits_connect_failed(&outsiders, text, 1000);
        CHECK(limits_may_try(&outsiders, &meters, text, s("lincoln/s-ann"), 1000));
    }
    CHECK(outsiders.count == ADDRESSES_MAX && meters.count == 0);
    for (int i = 0; i < 500; i++)
        limits_connect_failed(&outsiders, "2001:db8::0", 1000);
    CHECK(!limits_may_try(&outsiders, &meters, "2001:db8::0", s("lincoln/s-ann"), 1000));
    CHECK(limits_may_try(&outsiders, &meters, "2001:db8::1", s("lincoln/s-ann"), 1000));
    CHECK(meter_of(&meters, s("lincoln"), s("s-ann"), 1000));
    CHECK(limits_may_try(&outsiders, &meters, "2001:db8::0", s("lincoln/s-ann"), 1000));
    CHECK(limits_may_try(&outsiders, &meters, "2001:db8::0", s("lincoln/s-ann/1"), 1000));
    CHECK(!limits_may_try(&outsiders, &meters, "2001:db8::0", s("lincoln"), 1000));
    map_clear(&meters);
    map_clear(&outsiders);
}

static void pings(void) {
    char topic[] = "tenant/a/music_room/AB-0000/clock/s-a/q", ping[] = "abcdefgh 0f 0000000000000000";
    int64_t offset;
    ping_answer(topic, ping, INT64_C(1795389424123456));
    CHECK(strcmp(topic, "tenant/a/music_room/AB-0000/clock/s-a/r") == 0 && strcmp(ping, "abcdefgh 0f 1795389424123456") == 0);
    CHECK(!clock_read("a-b 17\n", "a-b\n", &offset) && offset == 17);
    CHECK(clock_read("a-b 17\n", "a-c\n", &offset) && clock_read("a-b\n", "a-b\n", &offset) && clock_read("", "a-b\n", &offset));
}

static void identities(void) {
    struct map *state = state_new();
    char text[IDENTITY_MAX];
    struct who longest = {ROLE_STUDENT, s("abcdefghijklmnopqrst"), s("s-abcdefghijklmnopqr"), s("ABCDEFGH-9999")};
    const char *nonce = "0123456789abcdef", *beat = "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/beat";
    apply(state, "open abcdefghijklmnopqrst ABCDEFGH-9999");
    identity_write(state, &longest, nonce, text);
    struct who back = identity_read(text);
    CHECK(strlen(text) == IDENTITY_MAX - 1 && back.role == longest.role && span_same(back.tenant, longest.tenant));
    CHECK(span_same(back.subject, longest.subject) && span_same(back.room, longest.room));
    CHECK(identity_is_ours(text, nonce) && !identity_is_ours(text, "0123456789abcdeF"));
    CHECK(!identity_is_ours("lincoln/s-ann", nonce) && !identity_is_ours(NULL, nonce) && !identity_is_ours(nonce, nonce));
    CHECK(identity_may_read(state, text, beat));
    CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/"));
    CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-999"));
    apply(state, "close abcdefghijklmnopqrst ABCDEFGH-9999");
    identity_write(state, &longest, nonce, text);
    CHECK(identity_is_ours(text, nonce) && identity_read(text).room.len == 0 && !identity_may_read(state, text, beat));
    state_free(state);
}

static void keys_files(void) {
    static const char *const bad[] = {"", "bandroom-keys 1", "bandroom-keys 2\n", "bandroom-keys 1\nrsa x\n", "bandroom-keys 1\nmaster 1 00\n",
                                      "bandroom-keys 1\nrsa 01234567 student AAAA\n", "bandroom-keys 1\nrsa 01234567 student !!!!\n"};
    char error[200], text[400] = "bandroom-keys 1\n";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!keys_read(s(bad[i]), error, sizeof error));
    for (int i = 2; i < 5; i++)
        sprintf(text + strlen(text), "master %d %064x\n", i == 2 ? 9 : i, i);
    struct keys *keys = keys_read(s(text), error, sizeof error);
    CHECK(keys && keys->master[0].number == 9 && keys->master[0].bytes[31] == 2 && keys->master[1].number == 4 && keys->master[1].bytes[31] == 4);
    keys_free(keys);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {{"names", names}, {"numbers", numbers}, {"splitting", splitting}, {"maps", maps}, {"json", json}, {"log_lines", log_lines},
             {"facts", facts}, {"buckets", buckets}, {"kept_out", kept_out}, {"publishing", publishing}, {"addresses", addresses}, {"pings", pings},
             {"identities", identities}, {"keys_files", keys_files}};

int main(int count, char **arguments) {
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (count < 2) {
            puts(tests[i].name);
        } else if (strcmp(arguments[1], tests[i].name) == 0) {
            tests[i].run();
            return 0;
        }
    }
    return count < 2 ? 0 : 2;
}
