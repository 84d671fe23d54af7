#include "json.h"

#include <string.h>

static void skip_space(struct span *text)
{
    while (text->len > 0 && strchr(" \t\r\n", text->at[0]) && text->at[0]) {
        text->at++;
        text->len--;
    }
}

static bool take(struct span *text, char c)
{
    skip_space(text);
    if (text->len == 0 || text->at[0] != c)
        return false;
    text->at++;
    text->len--;
    return true;
}

static bool take_string(struct span *text, struct span *out)
{
    if (!take(text, '"'))
        return false;
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->at[i];
        if (c == '\\') {
            i++;
        } else if (c < 0x20) {
            return false;
        } else if (c == '"') {
            *out = (struct span){text->at, i};
            text->at += i + 1;
            text->len -= i + 1;
            return true;
        }
    }
    return false;
}

static bool take_bare(struct span *text, struct json_member *out)
{
    size_t i = 0;
    skip_space(text);
    while (i < text->len && !strchr(",} \t\r\n", text->at[i]))
        i++;
    out->value = (struct span){text->at, i};
    text->at += i;
    text->len -= i;
    if (span_is(out->value, "true") || span_is(out->value, "false") || span_is(out->value, "null")) {
        out->kind = JSON_WORD;
        return true;
    }
    out->kind = JSON_NUMBER;
    for (size_t k = 0; k < i; k++) {
        if (!out->value.at[k] || !strchr("0123456789+-.eE", out->value.at[k]))
            return false;
    }
    return i > 0;
}

static const struct json_member *member_named(const struct json_object *object, struct span name)
{
    for (size_t i = 0; i < object->count; i++) {
        if (span_same(object->member[i].name, name))
            return &object->member[i];
    }
    return NULL;
}

bool json_read(struct span text, struct json_object *out)
{
    out->count = 0;
    if (!take(&text, '{'))
        return false;
    if (!take(&text, '}')) {
        do {
            struct json_member found;
            if (out->count == JSON_MEMBERS_MAX || !take_string(&text, &found.name) || !take(&text, ':'))
                return false;
            skip_space(&text);
            if (text.len > 0 && text.at[0] == '"') {
                found.kind = JSON_STRING;
                if (!take_string(&text, &found.value))
                    return false;
            } else if (!take_bare(&text, &found)) {
                return false;
            }
            if (memchr(found.name.at, '\\', found.name.len) || member_named(out, found.name))
                return false;
            out->member[out->count++] = found;
        } while (take(&text, ','));
        if (!take(&text, '}'))
            return false;
    }
    skip_space(&text);
    return text.len == 0;
}

bool json_string(const struct json_object *object, const char *name, struct span *out)
{
    const struct json_member *found = member_named(object, span_of(name));
    *out = (struct span){"", 0};
    if (!found || found->kind != JSON_STRING || memchr(found->value.at, '\\', found->value.len))
        return false;
    *out = found->value;
    return true;
}

bool json_integer(const struct json_object *object, const char *name, int64_t *out)
{
    const struct json_member *found = member_named(object, span_of(name));
    return found && found->kind == JSON_NUMBER && span_number(found->value, out);
}

bool json_has(const struct json_object *object, const char *name)
{
    return member_named(object, span_of(name)) != NULL;
}
