/* Text that belongs to somebody else, and patterns of what it must look like. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TENANT_MAX = 20, ROOM_MAX = 13, SUBJECT_MAX = 20, TOKEN_ID_MAX = 64 };

struct span { /* not NUL-terminated */
    const char *at;
    size_t len;
};

#define NOTHING ((struct span){"", 0})
#define PRINTED(span) (int)(span).len, (span).at /* for "%.*s" of printf */

static inline struct span span_of(const char *text) {
    return (struct span){text, strlen(text)};
}

static inline bool span_same(struct span a, struct span b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static inline bool span_is(struct span span, const char *text) {
    return span_same(span, span_of(text));
}

/* Of a part that matched %N or %G; it ends where the digits do. */
static inline int64_t span_number(struct span digits) {
    return strtoll(digits.at, NULL, 10);
}

/* The parts, each with a "/" behind it, in `out`. Empty: they do not fit. */
struct span span_join(const struct span *part, size_t count, char *out, size_t size);

/* Whether all of `text` is as `pattern` has it: its characters stand for themselves, but for
 *   %X   a name or number of the form X, of those in text.c; %x is that, or "+", the wildcard of a filter's level
 *   %*   all that is left, one character at least
 *   ( )  around what becomes the next `part`. */
bool span_matches(struct span text, const char *pattern, struct span *part);
