/* Text that belongs to somebody else, and the forms that names and numbers have on the wire. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TENANT_MAX = 20, ROOM_MAX = 13, SUBJECT_MAX = 20, TOKEN_ID_MAX = 64 };

struct span { /* not NUL-terminated */
    const char *at;
    size_t len;
};

static const struct span NOTHING = {"", 0};

static inline struct span span_of(const char *text) {
    return (struct span){text, strlen(text)};
}

static inline bool span_same(struct span a, struct span b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static inline bool span_is(struct span span, const char *text) {
    return span_same(span, span_of(text));
}

/* Takes the part before the first `by` off the front of `rest`, which has no `at` left after the last part. */
static inline struct span span_cut(struct span *rest, char by) {
    const char *cut = rest->len > 0 ? memchr(rest->at, by, rest->len) : NULL;
    struct span first = {rest->at ? rest->at : "", cut ? (size_t)(cut - rest->at) : rest->len};
    *rest = cut ? (struct span){cut + 1, rest->len - first.len - 1} : (struct span){NULL, 0};
    return first;
}

void span_copy(char *to, size_t size, struct span from); /* NUL-terminated; what does not fit is cut off */
/* Cuts `text` at each `by` into at most `max` parts; the number of parts, or 0 when there are more. */
size_t span_split(struct span text, char by, struct span *part, size_t max);
/* Canonical decimal, 0 to 10^18 - 1: no sign, no leading zero. */
bool span_number(struct span text, int64_t *out);

enum form {
    FORM_TENANT, FORM_ROOM, FORM_SUBJECT, FORM_TOKEN_ID, FORM_GENERATION, FORM_HEX_8, FORM_HEX_16, FORM_HEX_64,
    FORM_NUMBER, FORM_PING,
};
bool span_has_form(struct span text, enum form form);
