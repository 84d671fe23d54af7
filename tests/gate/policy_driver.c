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

static struct state *state;
static struct who who;
static bool is_known;

static const char NONCE[] = "0123456789abcdef";

static bool client_read(const struct span *word)
{
    who = (struct who){.role = role_named(word[1])};
    bool fits = span_copy(who.tenant, sizeof who.tenant, word[2]) && span_copy(who.subject, sizeof who.subject, word[3]) &&
                (span_is(word[4], "-") || span_copy(who.room, sizeof who.room, word[4]));
    return fits && policy_admits(&who, span_is(word[6], "1")) && policy_owns_client_id(&who, word[5]);
}

static bool judge(struct span what, int qos, bool retain, struct span topic)
{
    char identity[IDENTITY_MAX], text[65536];
    struct topic t;
    if (!is_known || !span_copy(text, sizeof text, topic))
        return false;
    if (span_is(what, "publish")) {
        topic_read(topic, false, &t);
        return policy_may_publish(state, &who, &t, qos, retain);
    }
    if (span_is(what, "subscribe"))
        return policy_may_subscribe(state, &who, topic);
    identity_write(state, &who, NONCE, identity);
    return identity_may_read(state, identity, text);
}

int main(void)
{
    static char line[70000];
    state = state_new(1);
    while (fgets(line, sizeof line, stdin)) {
        struct span text = {line, strcspn(line, "\n")}, word[8];
        struct entry entry;
        size_t words = span_split(text, ' ', word, 8);
        if (text.len == 5 && memcmp(line, "reset", 5) == 0) {
            state_free(state);
            state = state_new(1);
        } else if (text.len > 4 && memcmp(line, "log ", 4) == 0) {
            const char *wrong = entry_read((struct span){line + 4, text.len - 4}, &entry);
            if (wrong || !state_apply(state, &entry)) {
                fprintf(stderr, "%s: %s", wrong ? wrong : "not applied", line);
                return 1;
            }
        } else if (words == 7 && span_is(word[0], "client")) {
            is_known = client_read(word);
        } else {
            char *cut = line;
            for (int i = 0; i < 3; i++) /* a topic may hold spaces */
                cut = cut ? strchr(cut + (i > 0), ' ') : NULL;
            if (!cut) {
                fprintf(stderr, "cannot read: %s", line);
                return 1;
            }
            struct span topic = {cut + 1, text.len - (size_t)(cut + 1 - line)};
            span_split((struct span){line, (size_t)(cut - line)}, ' ', word, 8);
            puts(judge(word[0], atoi(word[1].at), span_is(word[2], "1"), topic) ? "allow" : "deny");
        }
    }
    state_free(state);
    return 0;
}
