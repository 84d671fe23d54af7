#include "names.h"

#include <string.h>

struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

bool span_is(struct span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

bool span_same(struct span a, struct span b)
{
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

bool span_copy(char *to, size_t size, struct span from)
{
    if (from.len >= size)
        return false;
    memcpy(to, from.at, from.len);
    to[from.len] = '\0';
    return true;
}

size_t span_split(struct span text, char by, struct span *parts, size_t max)
{
    for (size_t count = 0; count < max; count++) {
        const char *cut = memchr(text.at, by, text.len);
        parts[count] = (struct span){text.at, cut ? (size_t)(cut - text.at) : text.len};
        if (!cut)
            return count + 1;
        text.len -= (size_t)(cut + 1 - text.at);
        text.at = cut + 1;
    }
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool span_number(struct span text, int64_t *out)
{
    if (text.len == 0 || text.len > 18 || (text.at[0] == '0' && text.len > 1))
        return false;
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.at[i]))
            return false;
        *out = *out * 10 + (text.at[i] - '0');
    }
    return true;
}

static bool is_word(struct span word, size_t max)
{
    if (word.len == 0 || word.len > max || word.at[0] == '-')
        return false;
    for (size_t i = 0; i < word.len; i++) {
        char c = word.at[i];
        if (!((c >= 'a' && c <= 'z') || is_digit(c) || c == '-'))
            return false;
    }
    return true;
}

bool name_is_tenant(struct span name)
{
    return is_word(name, TENANT_MAX);
}

bool name_is_subject(struct span name)
{
    return name.len > 2 && name.at[0] >= 'a' && name.at[0] <= 'z' && name.at[1] == '-' &&
           is_word((struct span){name.at + 2, name.len - 2}, SUBJECT_MAX - 2);
}

bool name_is_room(struct span name)
{
    size_t letters = 0;
    while (letters < name.len && name.at[letters] >= 'A' && name.at[letters] <= 'Z')
        letters++;
    if (letters < 2 || letters > 8 || name.len != letters + 5 || name.at[letters] != '-')
        return false;
    for (size_t i = letters + 1; i < name.len; i++) {
        if (!is_digit(name.at[i]))
            return false;
    }
    return true;
}
