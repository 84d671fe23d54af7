#include "text.h"

void span_copy(char *to, size_t size, struct span from) {
    size_t len = from.len < size ? from.len : size - 1;
    memcpy(to, from.at, len);
    to[len] = '\0';
}

size_t span_split(struct span text, char by, struct span *part, size_t max) {
    size_t count = 0;
    while (text.at && count < max)
        part[count++] = span_cut(&text, by);
    return text.at ? 0 : count;
}

bool span_number(struct span text, int64_t *out) {
    *out = 0;
    if (!span_has_form(text, FORM_NUMBER) || (text.at[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++)
        *out = *out * 10 + (text.at[i] - '0');
    return true;
}

/* A form is a row of pieces: `least` to `most` characters of `ranges`, each of which is its first and last character. */
static const struct piece {
    const char *ranges;
    size_t least, most;
} forms[][6] = {
    [FORM_TENANT] = {{"az09", 1, 1}, {"az09--", 0, 19}},
    [FORM_ROOM] = {{"AZ", 2, 8}, {"--", 1, 1}, {"09", 4, 4}},
    [FORM_SUBJECT] = {{"ddssttvv", 1, 1}, {"--", 1, 1}, {"az09", 1, 1}, {"az09--", 0, 17}},
    [FORM_TOKEN_ID] = {{"azAZ09--__", 1, TOKEN_ID_MAX}},
    [FORM_GENERATION] = {{"19", 1, 1}, {"09", 0, 8}},
    [FORM_HEX_8] = {{"09af", 8, 8}},
    [FORM_HEX_16] = {{"09af", 16, 16}},
    [FORM_HEX_64] = {{"09af", 64, 64}},
    [FORM_NUMBER] = {{"09", 1, 18}},
    [FORM_PING] = {{"!~", 8, 8}, {"  ", 1, 1}, {"09af", 2, 2}, {"  ", 1, 1}, {"00", 16, 16}},
};

static bool is_in(char c, const char *ranges) {
    while (*ranges && (c < ranges[0] || c > ranges[1]))
        ranges += 2;
    return *ranges != '\0';
}

bool span_has_form(struct span text, enum form form) {
    size_t at = 0;
    for (const struct piece *piece = forms[form]; piece->ranges; piece++) {
        size_t begin = at;
        while (at < text.len && at - begin < piece->most && is_in(text.at[at], piece->ranges))
            at++;
        if (at - begin < piece->least)
            return false;
    }
    return at == text.len && !(form == FORM_TENANT && span_is(text, "bandroom")); /* that is the service itself */
}
