/* One flat JSON object: all that a token's header and claims may be. Pure, allocates nothing. */
#ifndef BANDROOM_JSON_H
#define BANDROOM_JSON_H

#include "names.h"

#define JSON_MEMBERS_MAX 24

enum json_kind { JSON_STRING, JSON_NUMBER, JSON_WORD }; /* a word: true, false, null */

struct json_member {
    struct span name, value; /* a string's value is what stands between the quotes, escapes unread */
    enum json_kind kind;
};

struct json_object {
    size_t count;
    struct json_member member[JSON_MEMBERS_MAX];
};

/* False: not JSON, or more than a flat object: nested values, escaped or repeated names, too many members. */
bool json_read(struct span text, struct json_object *out);
/* Empty and false: no such member, or of another kind. A string with an escape in it counts as none. */
bool json_string(const struct json_object *object, const char *name, struct span *out);
bool json_integer(const struct json_object *object, const char *name, int64_t *out); /* 0 to 10^18 */
bool json_has(const struct json_object *object, const char *name);

#endif
