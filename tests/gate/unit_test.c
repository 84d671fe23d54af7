/* Tests of the gate's pure parts: unit_test lists them, unit_test NAME runs one and ends with 0 when it holds. */
#include "clock.h"
#include "limits.h"
#include "log.h"
#include "token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
        const char *pattern, *good[4], *bad[14];
    } cases[] = {
        {"%T", {"lincoln", "0-", "abcdefghijklmnopqrst", "bandroom-2"},
         {"", "-a", "A", "abcdefghijklmnopqrstu", "a b", "a/b", "a+", "a#", "a\n", "\xd0\xb0", "bandroom", "+"}},
        {"%S", {"d-drum-3", "s-0", "s-abcdefghijklmnopqr", "v-1"},
         {"", "s", "s-", "s--a", "S-a", "sa", "s-abcdefghijklmnopqrs", "1-a", "s-a/", "s-A", "x-a", "a-b", "+"}},
        {"%s", {"d-drum-3", "+", NULL, NULL}, {"", "++", "#", "s-a+", "+s-a"}},
        {"%R", {"MUSIC-1234", "AB-0000", "ABCDEFGH-9999", NULL},
         {"", "A-1234", "ABCDEFGHI-1234", "MUSIC-123", "MUSIC-12345", "music-1234", "MUSIC1234", "MUSIC-12a4", "-1234", "+"}},
        {"%G", {"1", "10", "999999999", NULL}, {"", "0", "01", "1000000000", "+1", "1 ", "1.0"}},
        {"%J", {"a_B-9", "0", "________________________________________________________________", NULL},
         {"", "a.b", "a b", "_________________________________________________________________"}},
        {"%K", {"01234567", "89abcdef", NULL, NULL}, {"", "0123456", "012345678", "0123456A", "0123456g"}},
        {"%P", {"abcdefgh 0f 0000000000000000", "!~!~!~!~ 99 0000000000000000", NULL, NULL},
         {"", "abcdefgh 0f 000000000000000", "abcdefgh 0F 0000000000000000", "abcdefgh 0g 0000000000000000",
          "abcdefgh-0f 0000000000000000", "abcdefgh 0f 0000000000000001", "abcdefg  0f 0000000000000000",
          "abcdefg\x7f 0f 0000000000000000", "abcdefgh 0f 0000000000000000 "}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < 4 && cases[i].good[k]; k++)
            CHECK(span_matches(s(cases[i].good[k]), cases[i].pattern, NULL));
        for (size_t k = 0; k < 14 && cases[i].bad[k]; k++)
            CHECK(!span_matches(s(cases[i].bad[k]), cases[i].pattern, NULL));
    }
    CHECK(!span_matches((struct span){"a\0b", 3}, "%T", NULL) && !span_matches((struct span){"MUSIC-1234\0", 11}, "%R", NULL));
    CHECK(!span_matches((struct span){"abcdefgh \0f 0000000000000000", 28}, "%P", NULL));
}

static void numbers(void) {
    struct span n;
    CHECK(span_matches(s("0"), "(%N)", &n) && span_number(n) == 0);
    CHECK(span_matches(s("999999999999999999"), "(%N)", &n) && span_number(n) == 999999999999999999);
    const char *not_numbers[] = {"", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "1000000000000000000", "x"};
    for (size_t i = 0; i < sizeof not_numbers / sizeof *not_numbers; i++)
        CHECK(!span_matches(s(not_numbers[i]), "%N", NULL));
}

static void patterns(void) {
    struct span part[3];
    CHECK(span_matches(s("a/lincoln/s-x"), "(a)/(%T/%S)", part) && span_is(part[0], "a") && span_is(part[1], "lincoln/s-x"));
    CHECK(span_matches(s("7 any thing"), "(%N) (%*)", part) && span_number(part[0]) == 7 && span_is(part[1], "any thing"));
    CHECK(!span_matches(s("7 "), "(%N) (%*)", part) && !span_matches(s("7"), "(%N) (%*)", part) && !span_matches(s("7 x\n"), "%N x", part));
    CHECK(!span_matches(s("ab"), "abc", NULL) && !span_matches(s("abcd"), "abc", NULL) && span_matches(s(""), "", NULL));
    CHECK(span_matches(s("a.b.c"), "(%U).(%U).(%U)", part) && span_is(part[2], "c"));
    const char *bad[] = {"a.b", "a.b.c.d", "a..c", "a.b.", "a.b.c=", "a.b.c ", "....", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!span_matches(s(bad[i]), "(%U).(%U).(%U)", part));
}

static struct span number_name(int i) {
    static char text[16];
    return (struct span){text, (size_t)snprintf(text, sizeof text, "%d", i)};
}

static bool is_odd(void *record, int64_t now) {
    (void)now;
    return *(int *)record % 2;
}

static struct map *map;
static int seen;

/* Makes another record while it is shown one, as a broker's call may. */
static bool makes_one(void *record, int64_t now) {
    seen++;
    if (now)
        CHECK(map_at(map, s("made"), number_name(*(int *)record), NOTHING, 4));
    return now;
}

static void maps(void) {
    map_seed(42);
    map = map_new(5000);
    for (int i = 0; i < 5000; i++) {
        int *record = map_at(map, number_name(i), NOTHING, NOTHING, sizeof *record);
        CHECK(record && *record == 0);
        *record = i;
    }
    CHECK(!map_at(map, s("one more"), NOTHING, NOTHING, 4) && map_at(map, s("4999"), NOTHING, NOTHING, 4));
    CHECK(!map_at(map, NOTHING, number_name(7), NOTHING, 0));
    for (int i = 0; i < 5000; i++) {
        int *record = map_at(map, number_name(i), NOTHING, NOTHING, 4);
        CHECK(record && *record == i);
    }
    for (size_t i = 0; i < MAP_SLOTS / 1024; i++)
        map_sweep(map, 1024, is_odd, 0);
    CHECK(map_at(map, s("2"), NOTHING, NOTHING, 0) && !map_at(map, s("3"), NOTHING, NOTHING, 0));
    map_sweep(map, MAP_SLOTS, makes_one, 0);
    CHECK(seen == 2500);
    map_sweep(map, MAP_SLOTS, makes_one, 1);
    CHECK(seen >= 5000 && !map_at(map, s("2"), NOTHING, NOTHING, 0));
    map_sweep(map, MAP_SLOTS, NULL, 0);
    seen = 0;
    map_sweep(map, MAP_SLOTS, makes_one, 0);
    CHECK(seen == 0 && map_at(map, s("one more"), NOTHING, NOTHING, 4));
    char large[200] = {0};
    CHECK(!map_at(map, (struct span){large, sizeof large}, NOTHING, NOTHING, 4));
    map_free(map);
}

static const char *claims(const char *changed, struct credential *out) {
    static const struct who ann = {ROLE_STUDENT, {"lincoln", 7}, {"s-ann", 5}, {"", 0}, {"", 0}};
    char text[600];
    snprintf(text, sizeof text, "{\"iss\":\"bandroom\",\"aud\":\"bandroom\",\"sub\":\"s-ann\",\"role\":\"student\",\"room\":\"MUSIC-1234\","
             "\"jti\":\"j_1\",\"iat\":1000,\"exp\":2000%s}", changed);
    return claims_read(s(text), &ann, 1500, out);
}

static void tokens(void) {
    static struct credential c;
    CHECK(!claims(",\"tenant\":\"lincoln\"", &c) && c.number == 1000 && c.expires == 2000);
    CHECK(strcmp(c.token_id, "j_1") == 0 && strcmp(c.room, "MUSIC-1234") == 0);
    CHECK(!claims(",\"tenant\":\"lincoln\",\"nbf\":1500,\"name\":\"Zo\\u00eb\",\"more\":{\"tenant\":[1]}", &c)); /* is no claim */
    const char *bad[] = {"", ",\"tenant\":\"other\"", ",\"tenant\":[\"lincoln\"]", ",\"tenant\":null", ",\"tenant\":\"lincoln\\u0000\"",
                         ",\"more\":{\"tenant\":\"lincoln\"}", ",\"tenant\":\"lincoln\",\"tenant\":\"lincoln\"", ",\"tenant\":\"lincoln\",\"exp\":1900",
                         ",\"tenant\":\"lincoln\",\"\\u0072ole\":\"student\"", ",\"tenant\":\"lincoln\",\"nbf\":1501", ",\"tenant\":\"lincoln\",\"nbf\":\"1\"",
                         ",\"tenant\":\"lincoln\",\"nbf\":1.5", ",\"tenant\":\"lincoln\",\"nbf\":9223372036854775808", ",\"tenant\":\"lincoln\",", ",\"tenant\":\"lincoln\"}{"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(claims(bad[i], &c));
    for (int depth = 0; depth < 3000; depth += 2999) { /* as deep as a token can be */
        char deep[4096];
        memset(deep, '[', sizeof deep);
        CHECK(claims_read((struct span){deep, (size_t)depth}, &(struct who){.role = ROLE_STUDENT}, 1, &c));
    }
}

static void users(void) {
    static const struct {
        const char *name;
        enum role role;
    } good[] = {{"bandroom/rooms", ROLE_ROOMS}, {"bandroom/tempo-0", ROLE_TEMPO}, {"bandroom/tempo-12", ROLE_TEMPO}, {"lincoln/t-kim", ROLE_TEACHER},
                {"lincoln/s-ann", ROLE_STUDENT}, {"lincoln/d-drum/7", ROLE_DEVICE}, {"lincoln/v-wall", ROLE_VIEWER}};
    const char *bad[] = {"", "lincoln", "lincoln/", "/s-ann", "lincoln/s-ann/", "lincoln/s-ann/1", "lincoln/d-drum", "lincoln/d-drum/0", "lincoln/d-drum/01",
                         "lincoln/t-kim/1", "lincoln/x-a", "lincoln/rooms", "bandroom/s-ann", "bandroom/tempo-", "bandroom/tempo-01",
                         "bandroom/tempo-123456789012345678", "bandroom/rooms/1", "+/s-ann", "lincoln/+"};
    struct who who;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(who_read(s(good[i].name), &who) && who.role == good[i].role);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!who_read(s(bad[i]), &who));
    CHECK(who_read(s("lincoln/d-drum/7"), &who) && span_is(who.tenant, "lincoln") && span_is(who.subject, "d-drum") && span_number(who.generation) == 7);
    CHECK(who_owns_client_id(&who, "lincoln_d-drum") && who_owns_client_id(&who, "lincoln_d-drum_9"));
    const char *others[] = {"", "lincoln", "lincoln_d-drum_", "lincoln_d-drum_10", "lincoln_d-drum_x", "lincoln_d-drumx", "lincoln_d-dru", "+"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        CHECK(!who_owns_client_id(&who, others[i]));
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
    struct map *state = map_new(FACTS_MAX);
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
    apply(state, "assign lincoln d-x -");
    CHECK(state_room_of_device(state, t, drum).len == 0 && state_changed(state, t) > 0 && state_changed(state, s("other")) == 0);
    apply(state, "limit lincoln subs 9007199254740991 3");
    CHECK(state_rates(state, t)[LIMIT_SUBS].rate == 9007199254740991.0 && state_rates(state, t)[LIMIT_SUBS].burst == 3);
    CHECK(state_rates(state, t)[LIMIT_CLIENT_MSGS].rate == 100 && state_rates(state, s("other"))[LIMIT_SUBS].burst == 100);
    apply(state, "limit lincoln client_msgs 7 8");
    CHECK(state_rates(state, t)[LIMIT_CLIENT_MSGS].rate == 7 && state_rates(state, t)[LIMIT_SUBS].burst == 3);
    apply(state, "limit lincoln subs 0 0");
    CHECK(state_rates(state, t)[LIMIT_SUBS].rate == 0 && strcmp(state_rates(state, t)[LIMIT_SUBS].name, "subs") == 0);
    CHECK(state_rates(state, s("bandroom")) == NULL && !limit_exceeded(NULL, NULL, LIMIT_CLIENT_MSGS, 1e18, 1e18, 5));
    map_free(state);
}

static void buckets(void) {
    struct bucket b = {0};
    const struct rate slow = {"", 5, 10}, most = {"", 9007199254740991, 9007199254740991}, none = {"", 0, 0};
    for (int i = 0; i < 10; i++)
        CHECK(bucket_take(&b, slow, 1, 1000));
    CHECK(!bucket_take(&b, slow, 1, 1000) && !bucket_take(&b, slow, 1, 200999));
    CHECK(bucket_take(&b, slow, 1, 201000) && !bucket_take(&b, slow, 1, 201000));
    CHECK(!bucket_take(&b, slow, 11, INT64_C(900000000000)) && bucket_take(&b, slow, 10, INT64_C(900000000000)));
    struct bucket large = {0}; /* the largest numbers that a log can hold do not overflow */
    CHECK(bucket_take(&large, most, 9007199254740991, 1));
    CHECK(bucket_take(&large, most, 9007199254740991, INT64_MAX / 2));
    struct bucket nothing = {0};
    CHECK(!bucket_take(&nothing, none, 1, 5) && !bucket_take(&nothing, none, 1, INT64_MAX / 2));
    CHECK(bucket_take(&nothing, slow, 1, INT64_MAX / 2)); /* a limit that was raised */
}

static int records;

static bool counts(void *record, int64_t now) {
    (void)record, (void)now;
    records++;
    return false;
}

static int count_of(struct map *of) {
    records = 0;
    map_sweep(of, MAP_SLOTS, counts, 0);
    return records;
}

static void kept_out(void) {
    struct map *state = map_new(FACTS_MAX), *meters = map_new(METERS_MAX);
    struct span t = s("lincoln");
    struct meter *ann = meter_of(meters, t, s("s-ann"), 1000), *rooms = meter_of(meters, s("bandroom"), s("rooms"), 1000);
    int drops = 0;
    while (!limits_vain(state_rates(state, t), meters, ann, t, 1000))
        drops++;
    CHECK(drops == 2000 && ann->kept_out_to_us == 1000 + 30000000);
    for (int i = 0; i < 10000; i++)
        CHECK(!limits_vain(state_rates(state, s("bandroom")), meters, rooms, s("bandroom"), 1000));
    CHECK(limit_exceeded(state_rates(state, t), NULL, LIMIT_SUBS, 1, 0, 1000)); /* no memory for a meter: nothing is allowed */
    struct who her = {ROLE_STUDENT, t, s("s-ann"), NOTHING, NOTHING}, other = {ROLE_STUDENT, t, s("s-bob"), NOTHING, NOTHING};
    struct map *outsiders = map_new(ADDRESSES_MAX);
    CHECK(!limits_may_try(outsiders, meters, "192.0.2.1", &her, 1000 + 30000000 - 1) && !limits_may_try(outsiders, meters, "/socket", &her, 1000));
    CHECK(limits_may_try(outsiders, meters, "192.0.2.1", &her, 1000 + 30000000) && limits_may_try(outsiders, meters, "192.0.2.1", &other, 1000));
    map_sweep(meters, MAP_SLOTS, meter_is_idle, 1000 + INT64_C(600000000));
    CHECK(count_of(meters) == 4 && !meter_is_idle(ann, 1000 + INT64_C(600000000)) && meter_is_idle(ann, 1001 + INT64_C(600000000)));
    map_sweep(meters, MAP_SLOTS, meter_is_idle, 1001 + INT64_C(600000000));
    CHECK(count_of(meters) == 0);
    map_free(outsiders);
    map_free(meters);
    map_free(state);
}

static const char *publish(struct map *state, struct meter *own, const struct who *who, const char *topic) {
    return limit_exceeded(state_rates(state, who->tenant), own, policy_limit(who, topic_read(topic)), 1, 100, 1000);
}

#define IN_ROOM "tenant/lincoln/music_room/MUSIC-1234/"

static void publishing(void) {
    struct map *state = map_new(FACTS_MAX), *meters = map_new(METERS_MAX);
    struct who ann = {ROLE_STUDENT, s("lincoln"), s("s-ann"), s("MUSIC-1234"), NOTHING}, kim = {ROLE_TEACHER, s("lincoln"), s("t-kim"), NOTHING, NOTHING};
    const char *const note = IN_ROOM "note/s-ann";
    const struct rate *rates = state_rates(state, ann.tenant);
    struct meter *own = meter_of(meters, ann.tenant, ann.subject, 1000), *hers = meter_of(meters, kim.tenant, kim.subject, 1000);
    for (int i = 0; i < 200; i++)
        CHECK(!publish(state, own, &ann, IN_ROOM "note/s-ann"));
    CHECK(strcmp(publish(state, own, &ann, IN_ROOM "beat"), "client_msgs") == 0);
    CHECK(strcmp(publish(state, own, &ann, IN_ROOM "control/t-kim"), "client_msgs") == 0); /* which is not hers to say */
    CHECK(!publish(state, own, &ann, IN_ROOM "clock/s-ann/q")); /* has a bucket of its own, */
    for (int i = 0; i < 40; i++) /* and so has the Will that tells of the end */
        CHECK(!publish(state, own, &ann, "tenant/lincoln/presence/s-ann"));
    CHECK(strcmp(publish(state, own, &ann, "tenant/lincoln/presence/s-ann"), "presence_msgs") == 0);
    for (int i = 0; i < 40; i++)
        CHECK(!publish(state, hers, &kim, IN_ROOM "control/t-kim"));
    CHECK(strcmp(publish(state, hers, &kim, IN_ROOM "control/t-kim"), "control_msgs") == 0 && !publish(state, hers, &kim, IN_ROOM "note/t-kim"));
    for (int i = 0; i < 600; i++)
        CHECK(!limits_pass(rates, meters, &ann, topic_read(note), 1, 1000));
    CHECK(strcmp(limits_pass(rates, meters, &ann, topic_read(note), 1, 1000), "room_msgs") == 0 && !limits_pass(rates, meters, &kim, topic_read(note), 1, 1000));
    map_free(meters);
    map_free(state);
}

static void addresses(void) {
    struct map *state = map_new(FACTS_MAX), *meters = map_new(METERS_MAX), *outsiders = map_new(ADDRESSES_MAX);
    struct who ann = {ROLE_STUDENT, s("lincoln"), s("s-ann"), NOTHING, NOTHING}, bob = {ROLE_STUDENT, s("lincoln"), s("s-bob"), NOTHING, NOTHING};
    char text[32];
    for (int i = 0; i < ADDRESSES_MAX + 100; i++) {
        snprintf(text, sizeof text, "2001:db8:%x:%x::1", i >> 8, i & 255);
        limits_connect_failed(state_rates(state, NOTHING), outsiders, text, 1000);
        CHECK(limits_may_try(outsiders, meters, text, &ann, 1000));
    }
    CHECK(count_of(outsiders) == ADDRESSES_MAX && count_of(meters) == 0);
    for (int i = 0; i < 500; i++) { /* the second half of an IPv6 address is its owner's to choose */
        snprintf(text, sizeof text, "2001:db8::%x", i);
        limits_connect_failed(state_rates(state, NOTHING), outsiders, text, 1000);
    }
    CHECK(!limits_may_try(outsiders, meters, "2001:db8::ffff:0:0:1", &ann, 1000));
    CHECK(limits_may_try(outsiders, meters, "2001:db8:0:1::", &ann, 1000));
    CHECK(limits_may_try(outsiders, meters, "2001:db8::1", &ann, 1001000));
    CHECK(meter_of(meters, s("lincoln"), s("s-ann"), 1000));
    CHECK(limits_may_try(outsiders, meters, "2001:db8::1", &ann, 1000) && !limits_may_try(outsiders, meters, "2001:db8::1", &bob, 1000));
    map_free(outsiders);
    outsiders = map_new(ADDRESSES_MAX);
    for (int i = 0; i < 501; i++) { /* one each of many, and all of one */
        snprintf(text, sizeof text, "::ffff:192.0.2.%d", i % 250);
        limits_connect_failed(state_rates(state, NOTHING), outsiders, text, 1000);
        limits_connect_failed(state_rates(state, NOTHING), outsiders, "192.0.2.1", 1000);
        limits_connect_failed(state_rates(state, NOTHING), outsiders, "fe80::1%eth0", 1000);
    }
    CHECK(limits_may_try(outsiders, meters, "::ffff:192.0.2.1", &bob, 1000) && limits_may_try(outsiders, meters, "192.0.2.2", &bob, 1000));
    CHECK(!limits_may_try(outsiders, meters, "192.0.2.1", &bob, 1000) && !limits_may_try(outsiders, meters, "fe80::1%eth0", &bob, 1000));
    map_free(meters);
    map_free(outsiders);
    map_free(state);
}

static bool clock_of(const char *form, const char *boot, int64_t *offset) {
    char path[] = "/tmp/clock-XXXXXX", text[100], error[200] = "";
    int fd = mkstemp(path), len = snprintf(text, sizeof text, form[0] ? "%s%s" : "", boot, form + 2);
    CHECK(fd >= 0 && write(fd, text, (size_t)len) == len);
    close(fd);
    bool is_read = clock_read(path, offset, error, sizeof error);
    remove(path);
    CHECK(is_read == !error[0] && (is_read || strncmp(error, path, strlen(path)) == 0));
    return is_read;
}

static void pings(void) {
    char topic[] = "tenant/a/music_room/AB-0000/clock/s-a/q", ping[] = "abcdefgh 0f 0000000000000000";
    char error[100];
    int64_t offset;
    ping_answer(topic, ping, INT64_C(1795389424123456));
    CHECK(strcmp(topic, "tenant/a/music_room/AB-0000/clock/s-a/r") == 0 && strcmp(ping, "abcdefgh 0f 1795389424123456") == 0);
    char boot[64];
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    CHECK(file && fscanf(file, "%63s", boot) == 1);
    fclose(file);
    CHECK(clock_of("%s 17\n", boot, &offset) && offset == 17);
    CHECK(!clock_of("%s 17\n", "a-b", &offset) && !clock_of("%s\n", boot, &offset) && !clock_of("", boot, &offset));
    CHECK(!clock_read("/nowhere", &offset, error, sizeof error) && strstr(error, "No such file"));
}

static void identities(void) {
    struct map *state = map_new(FACTS_MAX);
    char text[IDENTITY_MAX];
    struct who longest = {ROLE_STUDENT, s("abcdefghijklmnopqrst"), s("s-abcdefghijklmnopqr"), s("ABCDEFGH-9999"), NOTHING};
    const char *nonce = "0123456789abcdef", *beat = "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/beat";
    apply(state, "open abcdefghijklmnopqrst ABCDEFGH-9999");
    identity_write(state, &longest, nonce, text);
    struct who back = identity_read(text);
    CHECK(strlen(text) == IDENTITY_MAX - 1 && back.role == longest.role && span_same(back.tenant, longest.tenant));
    CHECK(span_same(back.subject, longest.subject) && span_same(back.room, longest.room));
    CHECK(identity_is_ours(text, nonce) && !identity_is_ours(text, "0123456789abcdeF"));
    CHECK(!identity_is_ours("lincoln/s-ann", nonce) && !identity_is_ours(NULL, nonce) && !identity_is_ours(nonce, nonce));
    for (int again = 0; again < 2; again++) { /* as if it were delivered to two in a row, or after something else */
        CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/"));
        CHECK(identity_may_read(state, text, beat) && identity_may_read(state, text, beat));
        CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/note/+"));
        CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/note/s-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/feedback/s-abcdefghijklmnopqs"));
        CHECK(identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/note/s-abcdefghijklmnopqr"));
    }
    CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-999"));
    apply(state, "close abcdefghijklmnopqrst ABCDEFGH-9999");
    identity_write(state, &longest, nonce, text);
    CHECK(identity_is_ours(text, nonce) && identity_read(text).room.len == 0 && !identity_may_read(state, text, beat));
    map_free(state);
}

static struct keys *keys_of(const char *text, char error[200]) {
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text) + !*text, "r"); /* at least one byte */
    CHECK(file);
    struct keys *keys = keys_read(file, error, 200);
    fclose(file);
    return keys;
}

static void keys_files(void) {
    static const struct {
        const char *text, *line;
    } bad[] = {{"", "line 1:"}, {"bandroom-keys 1", "line 1:"}, {"bandroom-keys 2\n", "line 1:"}, {"bandroom-keys 1\nrsa x\n", "line 2:"},
               {"bandroom-keys 1\nmaster 1 00\n", "line 2:"}, {"bandroom-keys 1\nrsa 01234567 student AAAA\n", "line 2:"},
               {"bandroom-keys 1\nrsa 01234567 student !!!!\n", "line 2:"}, {"bandroom-keys 1\n\n", "line 2:"}};
    char error[200], text[400] = "bandroom-keys 1\n";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!keys_of(bad[i].text, error) && strstr(error, bad[i].line));
    for (int i = 2; i < 5; i++)
        sprintf(text + strlen(text), "master %d %064x\n", i == 2 ? 9 : i, i);
    struct keys *keys = keys_of(text, error);
    CHECK(keys && keys->master[0].number == 9 && keys->master[0].bytes[31] == 2 && keys->master[1].number == 4 && keys->master[1].bytes[31] == 4);
    keys_free(keys);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {{"names", names}, {"numbers", numbers}, {"patterns", patterns}, {"maps", maps}, {"tokens", tokens}, {"users", users}, {"log_lines", log_lines},
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
