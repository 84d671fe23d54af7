/* Tests of the gate's pure parts: unit_test lists them, unit_test NAME runs one and ends with 0 when it holds. */
#include "clients.h"
#include "clock.h"
#include "json.h"
#include "limits.h"
#include "log.h"

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

static struct span s(const char *text)
{
    return span_of(text);
}

static void names(void)
{
    CHECK(name_is_tenant(s("lincoln")) && name_is_tenant(s("0-")) && name_is_tenant(s("abcdefghijklmnopqrst")));
    const char *not_tenants[] = {"", "-a", "A", "abcdefghijklmnopqrstu", "a b", "a/b", "a+", "a#", "a\n", "\xd0\xb0"};
    for (size_t i = 0; i < sizeof not_tenants / sizeof *not_tenants; i++)
        CHECK(!name_is_tenant(s(not_tenants[i])));
    CHECK(name_is_subject(s("d-drum-3")) && name_is_subject(s("s-0")) && name_is_subject(s("s-abcdefghijklmnopqr")));
    const char *not_subjects[] = {"", "s", "s-", "s--a", "S-a", "sa", "s-abcdefghijklmnopqrs", "1-a", "s-a/", "s-A"};
    for (size_t i = 0; i < sizeof not_subjects / sizeof *not_subjects; i++)
        CHECK(!name_is_subject(s(not_subjects[i])));
    CHECK(name_is_room(s("MUSIC-1234")) && name_is_room(s("AB-0000")) && name_is_room(s("ABCDEFGH-9999")));
    const char *not_rooms[] = {"", "A-1234", "ABCDEFGHI-1234", "MUSIC-123", "MUSIC-12345", "music-1234", "MUSIC1234", "MUSIC-12a4", "-1234"};
    for (size_t i = 0; i < sizeof not_rooms / sizeof *not_rooms; i++)
        CHECK(!name_is_room(s(not_rooms[i])));
    CHECK(!name_is_tenant((struct span){"a\0b", 3}) && !name_is_room((struct span){"MUSIC-1234\0", 11}));
}

static void numbers(void)
{
    int64_t n;
    CHECK(span_number(s("0"), &n) && n == 0);
    CHECK(span_number(s("999999999999999999"), &n) && n == 999999999999999999);
    const char *not_numbers[] = {"", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "1000000000000000000", "x"};
    for (size_t i = 0; i < sizeof not_numbers / sizeof *not_numbers; i++)
        CHECK(!span_number(s(not_numbers[i]), &n));
}

static void splitting(void)
{
    struct span part[3];
    CHECK(span_split(s("a/b/c"), '/', part, 3) == 3 && span_is(part[2], "c"));
    CHECK(span_split(s("a/b/c/d"), '/', part, 3) == 0);
    CHECK(span_split(s(""), '/', part, 3) == 1 && part[0].len == 0);
    CHECK(span_split(s("/"), '/', part, 3) == 2 && part[1].len == 0);
}

static bool is_odd(void *value, int64_t now)
{
    (void)now;
    return *(int *)value % 2;
}

static void maps(void)
{
    struct map map;
    char key[16];
    size_t cursor = 0;
    CHECK(map_init(&map, sizeof(int), 5000, 42));
    for (int i = 0; i < 5000; i++) {
        int *value = map_insert(&map, key, (size_t)snprintf(key, sizeof key, "%d", i));
        CHECK(value && *value == 0);
        *value = i;
    }
    CHECK(map_insert(&map, "one more", 8) == NULL && map.count == 5000);
    for (int i = 0; i < 5000; i++) {
        int *value = map_find(&map, key, (size_t)snprintf(key, sizeof key, "%d", i));
        CHECK(value && *value == i);
    }
    for (int i = 0; i < 5000; i += 4)
        map_remove(&map, key, (size_t)snprintf(key, sizeof key, "%d", i));
    map_remove(&map, "absent", 6);
    CHECK(map.count == 3750 && !map_find(&map, "4", 1));
    for (size_t i = 0; i <= map.mask / 100; i++)
        map_sweep(&map, &cursor, 100, is_odd, 0);
    CHECK(map.count == 1250 && map_find(&map, "2", 1) && !map_find(&map, "3", 1));
    map_free(&map);
}

static void json(void)
{
    struct json_object o;
    struct span text;
    int64_t n;
    CHECK(json_read(s(" {\"a\" : \"x\", \"n\":12 ,\"t\":true,\"z\":null,\"e\":\"\\u0041\\\"\",\"f\":-1.5e3}\n"), &o) && o.count == 6);
    CHECK(json_string(&o, "a", &text) && span_is(text, "x") && json_integer(&o, "n", &n) && n == 12);
    CHECK(!json_string(&o, "e", &text) && !json_string(&o, "n", &text) && !json_integer(&o, "f", &n) && !json_integer(&o, "a", &n));
    CHECK(json_has(&o, "z") && !json_has(&o, "y") && json_read(s("{}"), &o));
    const char *bad[] = {"", "{", "[]", "{\"a\":1", "{\"a\":1,}", "{\"a\":[1]}", "{\"a\":{}}", "{\"a\":1,\"a\":2}", "{\"\\u0061\":1}", "{\"a\"}", "{a:1}",
                         "{\"a\":1}x", "{\"a\":tru}", "{\"a\":}", "{\"a\":\"x}", "{\"a\":\"\n\"}", "{\"a\":\"\\", "{,}", "{\"a\":1 \"b\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!json_read(s(bad[i]), &o));
    char many[600] = "{";
    for (int i = 0; i <= JSON_MEMBERS_MAX; i++)
        sprintf(many + strlen(many), "%s\"m%d\":%d", i ? "," : "", i, i);
    strcat(many, "}");
    CHECK(!json_read(s(many), &o));
}

static void log_lines(void)
{
    struct entry e;
    const char *line = "7 assign lincoln d-drum MUSIC-1234 ";
    CHECK(log_line_read(s(line), 7, &e) != NULL && log_line_read(s(""), 1, &e) != NULL);
    CHECK(entry_read(s("limit lincoln client_msgs 1 2"), &e) == NULL && e.limit == LIMIT_CLIENT_MSGS && e.number[1] == 2);
    CHECK(entry_read(s("assign lincoln d-drum -"), &e) == NULL && entry_read(s("revokejti lincoln a_B-9 5"), &e) == NULL);
    const char *bad[] = {"", "open", "open lincoln", "open lincoln MUSIC-1234 x", "open  lincoln MUSIC-1234", "OPEN lincoln MUSIC-1234", "limit lincoln x 1 2",
                         "revoke lincoln s-a 1", "revoke lincoln s-a -1 2", "floor lincoln d-x 01", "mute lincoln MUSIC-1234 s-a b c", "revokejti lincoln a.b 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(entry_read(s(bad[i]), &e) != NULL);
}

static void apply(struct state *state, const char *text)
{
    struct entry e;
    CHECK(entry_read(s(text), &e) == NULL && state_apply(state, &e));
}

static void facts(void)
{
    struct state *state = state_new(7);
    struct span t = s("lincoln"), room = s("MUSIC-1234"), ann = s("s-ann");
    apply(state, "mute lincoln MUSIC-1234 s-ann");
    apply(state, "open lincoln MUSIC-1234");
    CHECK(state_is_open(state, t, room) && state_is_muted(state, t, room, ann, false));
    apply(state, "close lincoln MUSIC-1234");
    apply(state, "open lincoln MUSIC-1234");
    CHECK(!state_is_muted(state, t, room, ann, false));
    apply(state, "muteall lincoln MUSIC-1234");
    CHECK(state_is_muted(state, t, room, ann, false) && !state_is_muted(state, t, room, ann, true));
    apply(state, "revoke lincoln s-ann 100 200");
    apply(state, "revoke lincoln s-ann 50 100");
    CHECK(state_is_revoked(state, t, ann, s("j"), 100) && !state_is_revoked(state, t, ann, s("j"), 101));
    apply(state, "floor lincoln d-x 5");
    apply(state, "floor lincoln d-x 3");
    CHECK(state_floor(state, t, s("d-x")) == 5 && state_floor(state, s("other"), s("d-x")) == 0);
    apply(state, "limit lincoln subs 9007199254740991 3");
    CHECK(state_rates(state, t)->rate[LIMIT_SUBS] == 1000000000 && state_rates(state, t)->burst[LIMIT_SUBS] == 3);
    CHECK(state_rates(state, t)->rate[LIMIT_CLIENT_MSGS] == state_rates(state, s("other"))->rate[LIMIT_CLIENT_MSGS]);
    state_free(state);
}

static void buckets(void)
{
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

static void kept_out(void)
{
    struct limits limits;
    struct who ann = {.role = ROLE_STUDENT, .tenant = "lincoln", .subject = "s-ann"}, rooms = {.role = ROLE_ROOMS, .tenant = "bandroom", .subject = "rooms"};
    int drops = 0;
    CHECK(limits_init(&limits, 3) && limits_may_connect(&limits, &ann, 1000));
    while (!limits_dropped(&limits, &ann, 1000))
        drops++;
    CHECK(drops == 2000 && !limits_may_connect(&limits, &ann, 1000 + 29999999) && limits_may_connect(&limits, &ann, 1000 + 30000000));
    for (int i = 0; i < 10000; i++)
        CHECK(!limits_dropped(&limits, &rooms, 1000));
    CHECK(limits_may_report(&limits, &ann, 5000000) && !limits_may_report(&limits, &ann, 5999999) && limits_may_report(&limits, &ann, 6000000));
    for (int i = 0; i < 10000; i++)
        limits_sweep(&limits, INT64_C(10000000000));
    CHECK(limits.meters.count == 0);
    limits_free(&limits);
}

static void addresses(void)
{
    struct limits limits;
    char text[32];
    CHECK(limits_init(&limits, 3));
    for (int i = 0; i < ADDRESSES_MAX + 100; i++) {
        snprintf(text, sizeof text, "2001:db8::%x", i);
        limits_connect_failed(&limits, text, 1000);
        CHECK(limits_may_try(&limits, text, s("lincoln"), s("s-ann"), 1000));
    }
    CHECK(limits.addresses.count == ADDRESSES_MAX && limits.meters.count == 0);
    for (int i = 0; i < 500; i++)
        limits_connect_failed(&limits, "2001:db8::0", 1000);
    CHECK(!limits_may_try(&limits, "2001:db8::0", s("lincoln"), s("s-ann"), 1000));
    struct who ann = {.role = ROLE_STUDENT, .tenant = "lincoln", .subject = "s-ann"};
    CHECK(limits_may_connect(&limits, &ann, 1000) && limits_may_try(&limits, "2001:db8::0", s("lincoln"), s("s-ann"), 1000));
    limits_free(&limits);
}

static void pings(void)
{
    char topic[] = "tenant/a/music_room/AB-0000/clock/s-a/q", ping[] = "abcdefgh 0f 0000000000000000";
    CHECK(ping_is_well_formed(ping, 28) && !ping_is_well_formed(ping, 27) && !ping_is_well_formed("", 0));
    CHECK(!ping_is_well_formed("abcdefgh 0g 0000000000000000", 28) && !ping_is_well_formed("abcdefgh-0f 0000000000000000", 28));
    CHECK(!ping_is_well_formed("abcdefgh 0f 0000000000000001", 28) && !ping_is_well_formed("abcdefgh \0f 0000000000000000", 28));
    CHECK(!ping_is_well_formed("abcdefg  0f 0000000000000000", 28) && !ping_is_well_formed("abcdefg\x7f 0f 0000000000000000", 28));
    ping_answer(topic, ping, INT64_C(1795389424123456));
    CHECK(strcmp(topic, "tenant/a/music_room/AB-0000/clock/s-a/r") == 0 && strcmp(ping, "abcdefgh 0f 1795389424123456") == 0);
}

static void identities(void)
{
    struct state *state = state_new(7);
    char text[IDENTITY_MAX];
    struct who back, longest = {.role = ROLE_STUDENT, .tenant = "abcdefghijklmnopqrst", .subject = "s-abcdefghijklmnopqr", .room = "ABCDEFGH-9999"};
    const char *nonce = "0123456789abcdef";
    apply(state, "open abcdefghijklmnopqrst ABCDEFGH-9999");
    identity_write(state, &longest, nonce, text);
    CHECK(identity_read(text, nonce, &back) && memcmp(&back, &longest, sizeof back) == 0);
    CHECK(!identity_read(text, "0123456789abcdeF", &back) && !identity_read("lincoln/s-ann", nonce, &back) && !identity_read(NULL, nonce, &back));
    CHECK(identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/beat"));
    CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/"));
    CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-999"));
    apply(state, "close abcdefghijklmnopqrst ABCDEFGH-9999");
    identity_write(state, &longest, nonce, text);
    CHECK(identity_read(text, nonce, &back) && back.room[0] == '\0');
    CHECK(!identity_may_read(state, text, "tenant/abcdefghijklmnopqrst/music_room/ABCDEFGH-9999/beat"));
    state_free(state);
}

static void expiry(void)
{
    struct clients clients;
    struct client found = {.who = {.role = ROLE_STUDENT, .tenant = "lincoln"}};
    CHECK(clients_init(&clients, 1));
    for (intptr_t i = 1; i <= 5000; i++) {
        found.expires = 1000000 + i;
        CHECK(clients_add(&clients, (struct mosquitto *)(i * 16), &found));
    }
    int ended = 0;
    for (int64_t now = 1000000; now <= 1000000 + 3000; now++) {
        clients_expire(&clients, now);
        for (struct client *client; (client = clients_next_doomed(&clients)); ended++)
            clients_remove(&clients, client);
        CHECK(ended == now - 1000000);
    }
    clients_expire(&clients, 99); /* the wall clock is set back, then forward: nobody is forgotten */
    clients_expire(&clients, 9000000);
    while (clients_next_doomed(&clients))
        ended++;
    CHECK(ended == 5000);
    clients_free(&clients);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {{"names", names}, {"numbers", numbers}, {"splitting", splitting}, {"maps", maps}, {"json", json}, {"log_lines", log_lines},
             {"facts", facts}, {"buckets", buckets}, {"kept_out", kept_out}, {"addresses", addresses}, {"pings", pings}, {"identities", identities}, {"expiry", expiry}};

int main(int count, char **arguments)
{
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
