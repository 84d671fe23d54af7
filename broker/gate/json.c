#include "json.h"

#include <string.h>

static bool take(struct span *text, char c) {
    while (text->len > 0 && memchr(" \t\r\n", text->at[0], 4))
        *text = (struct span){text->at + 1, text->len - 1};
    if (text->len == 0 || text->at[0] != c)
        return false;
    *text = (struct span){text->at + 1, text->len - 1};
    return true;
}

/* A string, quotes included, or a word of the characters of numbers, true, false and null. Empty: neither. */
static struct span take_value(struct span *text) {
    static const char bare[] = "0123456789+-.Eaeflnrstu";
    bool is_string = take(text, '"');
    const char *begin = text->at - is_string;
    size_t len = 0;
    while (is_string && len < text->len && text->at[len] != '"' && (unsigned char)text->at[len] >= ' ')
        len += text->at[len] == '\\' ? 2 : 1;
    while (!is_string && len < text->len && memchr(bare, text->at[len], sizeof bare - 1))
        len++;
    if (is_string && (len >= text->len || text->at[len++] != '"'))
        return NOTHING;
    *text = (struct span){text->at + len, text->len - len};
    return (struct span){begin, len + is_string};
}

struct span json_string(struct span value) {
    bool is_plain = value.len >= 2 && value.at[0] == '"' && !memchr(value.at, '\\', value.len);
    return is_plain ? (struct span){value.at + 1, value.len - 2} : NOTHING;
}

bool json_read(struct span text, const char *const *names, struct span *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = NOTHING;
    if (!take(&text, '{'))
        return false;
    do {
        struct span name = json_string(take_value(&text));
        struct span value = take(&text, ':') ? take_value(&text) : NOTHING;
        if (name.len == 0 || value.len == 0)
            return false;
        for (size_t i = 0; i < count; i++) {
            if (span_is(name, names[i]) && values[i].len > 0)
                return false;
            if (span_is(name, names[i]))
                values[i] = value;
        }
    } while (take(&text, ','));
    return take(&text, '}') && text.len == 0;
}
