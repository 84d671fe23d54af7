/* Names, and the spans of text that they are read from. Pure. */
#ifndef BANDROOM_NAMES_H
#define BANDROOM_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENANT_MAX 20
#define ROOM_MAX 13
#define SUBJECT_MAX 20

/* Bytes that belong to somebody else; not NUL-terminated. */
struct span {
    const char *at;
    size_t len;
};

struct span span_of(const char *text);
bool span_is(struct span span, const char *text);
bool span_same(struct span a, struct span b);
bool span_copy(char *to, size_t size, struct span from); /* false: does not fit */
/* Cuts `text` at each `by` into at most `max` parts; the number of parts, or 0 when there are more. */
size_t span_split(struct span text, char by, struct span *parts, size_t max);
/* Canonical decimal, 0 to 10^18: no sign, no leading zero. */
bool span_number(struct span text, int64_t *out);

bool name_is_tenant(struct span name);
bool name_is_room(struct span name);
bool name_is_subject(struct span name);

#endif
