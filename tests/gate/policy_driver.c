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
    struct span word[8];
    if (span_split(span_of(client_line), ' ', word, 8) != 7)
        return false;
    who = (struct who){role_named(word[1]), word[2], word[3], span_is(word[4], "-") ? NOTHING : word[4]};
    return policy_admits(&who, span_is(word[6], "1")) && policy_owns_client_id(&who, word[5]);
}

static bool judge(struct span what, int qos, bool retain, struct span topic) {
    char identity[IDENTITY_MAX];
    struct topic t;
    if (!is_known)
        return false;
    identity_write(state, &who, NONCE, identity);
    struct who now = identity_read(identity);
    topic_read(topic, false, &t);
    if (span_is(what, "publish"))
        return policy_may_publish(state, &now, &t, qos, retain);
    if (span_is(what, "subscribe"))
        return policy_may_subscribe(state, &now, topic);
    return identity_may_read(state, identity, topic.at); /* the line ends with it */
}

int main(void) {
    state = state_new();
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        struct span text = span_of(line);
        struct entry entry;
        if (span_is(text, "reset")) {
            state_free(state);
            state = state_new();
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
            struct span what = span_cut(&text, ' '), qos = span_cut(&text, ' '), retain = span_cut(&text, ' ');
            if (!text.at) {
                fprintf(stderr, "cannot read: %s\n", line);
                return 1;
            }
            puts(judge(what, atoi(qos.at), span_is(retain, "1"), text) ? "allow" : "deny"); /* a topic may hold spaces */
        }
    }
    state_free(state);
    return 0;
}
