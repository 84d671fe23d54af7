#include "text.h"

struct span span_join(const struct span *part, size_t count, char *out, size_t size) {
    size_t len = 0;
    for (; count > 0 && len + part->len < size; part++, count--) {
        memcpy(out + len, part->at, part->len);
        len += part->len;
        out[len++] = '/';
    }
    return (struct span){out, count > 0 ? 0 : len};
}

/* A form is a row of pieces: `least` to `most` characters of `ranges`, each of which is its first and last character. */
static const struct piece {
    const char *ranges;
    size_t least, most;
} forms['Z' + 1][6] = {
    ['D'] = {{"09", 1, 1}},                                      /* a digit */
    ['G'] = {{"19", 1, 1}, {"09", 0, 8}},                        /* a device's generation */
    ['H'] = {{"09af", 16, 16}},                                  /* a log's id */
    ['I'] = {{"az09", 1, 1}, {"az09--", 0, SUBJECT_MAX - 3}},    /* a subject, without its role's letter */
    ['J'] = {{"azAZ09--__", 1, TOKEN_ID_MAX}},                   /* a token's id */
    ['K'] = {{"09af", 8, 8}},                                    /* a key's id */
    ['N'] = {{"09", 1, 18}},                                     /* a number, without surplus zeros */
    ['P'] = {{"!~", 8, 8}, {"  ", 1, 1}, {"09af", 2, 2}, {"  ", 1, 1}, {"00", 16, 16}}, /* a ping */
    ['R'] = {{"AZ", 2, 8}, {"--", 1, 1}, {"09", 4, 4}},          /* a room */
    ['S'] = {{"ddssttvv", 1, 1}, {"--", 1, 1}, {"az09", 1, 1}, {"az09--", 0, SUBJECT_MAX - 3}}, /* a subject */
    ['T'] = {{"az09", 1, 1}, {"az09--", 0, TENANT_MAX - 1}},     /* a tenant */
    ['U'] = {{"azAZ09--__", 1, SIZE_MAX}},                       /* base64url */
    ['V'] = {{"09", 1, 4}},                                      /* a worker's number, without surplus zeros */
    ['W'] = {{"!~", 1, SIZE_MAX}},                               /* a word of any kind */
};

static bool is_in(char c, const char *ranges) {
    while (*ranges && (c < ranges[0] || c > ranges[1]))
        ranges += 2;
    return *ranges != '\0';
}

/* How much of the beginning of `text` has the form; 0: it has not. No form needs to look back. */
static size_t form_length(struct span text, char form) {
    size_t at = 0;
    if (form == '*')
        return text.len;
    if (form >= 'a' && text.len > 0 && text.at[0] == '+')
        return 1;
    char capital = form >= 'a' ? (char)(form - 'a' + 'A') : form;
    for (const struct piece *piece = forms[(int)capital]; piece->ranges; piece++) {
        size_t begin = at;
        while (at < text.len && at - begin < piece->most && is_in(text.at[at], piece->ranges))
            at++;
        if (at - begin < piece->least)
            return 0;
    }
    bool is_reserved = capital == 'T' && span_is((struct span){text.at, at}, "bandroom"); /* the service itself */
    return is_reserved || ((capital == 'N' || capital == 'V') && text.at[0] == '0' && at > 1) ? 0 : at;
}

bool span_matches(struct span text, const char *pattern, struct span *part) {
    size_t at = 0, begin = 0;
    for (; *pattern; pattern++) {
        if (*pattern == '(') {
            begin = at;
        } else if (*pattern == ')') {
            *part++ = (struct span){text.at + begin, at - begin};
        } else if (*pattern == '%') {
            size_t length = form_length((struct span){text.at + at, text.len - at}, *++pattern);
            if (length == 0)
                return false;
            at += length;
        } else if (at == text.len || text.at[at++] != *pattern) {
            return false;
        }
    }
    return at == text.len;
}
