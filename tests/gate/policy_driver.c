/* Asks the gate's policy line by line. Reads from standard input
 *   log <entry>                                              (sets the state; no sequence number, no checksum)
 *   client <role> <tenant> <sub> <room|-> <client id> <local 0|1>
 *   publish|subscribe|deliver <qos> <retain 0|1> <topic>     -> prints "allow" or "deny"
 *   reset                                                    (forgets the log)
 */
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct map *state;
static char line[70000], client_line[70000];
static struct who who;
static bool is_known;
static uint64_t stamp;

static const char NONCE[] = "0123456789abcdef";

static bool client_read(void) {
    static char user_name[200], client_id[200];
    struct span word[7];
    if (!span_matches(span_of(client_line), "(client) (%W) (%W) (%W) (%W) (%W) (%W)", word))
        return false;
    bool is_device = span_is(word[1], "device");
    snprintf(user_name, sizeof user_name, "%.*s/%.*s%s", PRINTED(word[2]), PRINTED(word[3]), is_device ? "/1" : "");
    if (!who_read(span_of(user_name), &who) || !span_is(word[1], role_name(who.role)))
        return false;
    who.room = span_is(word[4], "-") ? NOTHING : word[4];
    snprintf(client_id, sizeof client_id, "%.*s", PRINTED(word[5]));
    return (!(who.role & ROLES_OF_SERVICE) || span_is(word[6], "1")) && who_owns_client_id(&who, client_id);
}

static bool judge(struct span what, int qos, bool retain, struct span topic) {
    char identity[IDENTITY_MAX];
    if (!is_known)
        return false;
    identity_write(state, &who, NONCE, identity);
    struct who now = identity_read(identity);
    if (span_is(what, "publish")) /* the line ends with the topic */
        return policy_may_publish(state, &now, topic_read(topic.at), qos, retain);
    if (span_is(what, "subscribe"))
        return policy_may_subscribe(state, &now, topic.at);
    return identity_may_read(state, identity, topic.at);
}

int main(void) {
    state = map_new(FACTS_MAX);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        struct span text = span_of(line);
        struct entry entry;
        if (span_is(text, "reset")) {
            map_free(state);
            state = map_new(FACTS_MAX);
        } else if (text.len > 4 && memcmp(line, "log ", 4) == 0) {
            const char *wrong = entry_read((struct span){line + 4, text.len - 4}, &entry);
            if (wrong || !state_apply(state, &entry, ++stamp)) {
                fprintf(stderr, "%s: %s\n", wrong ? wrong : "not applied", line);
                return 1;
            }
        } else if (text.len > 7 && memcmp(line, "client ", 7) == 0) {
            memcpy(client_line, line, sizeof client_line);
            is_known = client_read();
        } else {
            char what[12];
            int qos, retain, topic; /* which may be anything, and empty */
            if (sscanf(line, "%11s %1d %1d%n", what, &qos, &retain, &topic) != 3 || line[topic] != ' ') {
                fprintf(stderr, "cannot read: %s\n", line);
                return 1;
            }
            puts(judge(span_of(what), qos, retain, span_of(line + topic + 1)) ? "allow" : "deny");
        }
    }
    map_free(state);
    return 0;
}
