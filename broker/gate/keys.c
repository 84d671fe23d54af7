#include "keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define LINE_MAX_LEN 2048

static bool rsa_add(struct keys *keys, const struct span *part) {
    struct rsa_key *key = &keys->rsa[keys->rsa_count];
    unsigned char der[LINE_MAX_LEN];
    const unsigned char *at = der;
    if (keys->rsa_count == KEYS_MAX)
        return false;
    snprintf(key->id, sizeof key->id, "%.*s", PRINTED(part[0]));
    snprintf(key->roles, sizeof key->roles, "%.*s", PRINTED(part[1]));
    key->key = d2i_PUBKEY(NULL, &at, EVP_DecodeBlock(der, (const unsigned char *)part[2].at, (int)part[2].len));
    keys->rsa_count++; /* from here on keys_free() frees it */
    return key->key && EVP_PKEY_is_a(key->key, "RSA") && EVP_PKEY_bits(key->key) >= 2048 &&
           EVP_PKEY_bits(key->key) <= 4096;
}

static bool master_add(struct keys *keys, const struct span *part) {
    struct master_key found = {.number = span_number(part[0])}, *known = keys->master;
    struct master_key *older = known[0].number > known[1].number ? &known[1] : &known[0];
    size_t len;
    if (OPENSSL_hexstr2buf_ex(found.bytes, sizeof found.bytes, &len, part[1].at, '\0') != 1 || len != sizeof found.bytes)
        return false;
    if (found.number > older->number)
        *older = found;
    return true;
}

static bool line_read(struct keys *keys, int number, struct span line) {
    struct span part[3];
    if (number == 1)
        return span_is(line, "bandroom-keys 1");
    if (span_matches(line, "rsa (%K) (%W) (%W)", part))
        return rsa_add(keys, part);
    return span_matches(line, "master (%N) (%W)", part) && master_add(keys, part);
}

struct keys *keys_read(FILE *file, char *error, size_t error_size) {
    struct keys *keys = calloc(1, sizeof *keys);
    char line[LINE_MAX_LEN];
    int number = 1;
    bool is_good = keys != NULL;
    for (; is_good && fgets(line, sizeof line, file); number++) {
        size_t len = strcspn(line, "\n");
        bool is_whole = line[len] == '\n';
        line[len] = '\0';
        is_good = is_whole && line_read(keys, number, span_of(line));
    }
    OPENSSL_cleanse(line, sizeof line);
    if (is_good && number > 1)
        return keys;
    snprintf(error, error_size,
             "keys: line %d: not 'bandroom-keys 1' first, then 'rsa <8 hex digits> <roles> <RSA key of 2048 to 4096 bits>' "
             "(up to 16) and 'master <number> <64 hex digits>', each line whole", is_good ? number : number - 1);
    keys_free(keys);
    return NULL;
}

void keys_free(struct keys *keys) {
    for (size_t i = 0; keys && i < keys->rsa_count; i++)
        EVP_PKEY_free(keys->rsa[i].key);
    OPENSSL_clear_free(keys, sizeof *keys);
}
