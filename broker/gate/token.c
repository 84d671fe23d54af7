#include "token.h"
#include "json.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIFETIME_MAX (12 * 3600)
#define SKEW_MAX 60 /* seconds that a signer's clock may be ahead of ours */
#define DEVICE_PASSWORD_LEN 26

/* Strict: no padding inside base64url, no stray bits. The length, or 0. */
static size_t base64_decode(struct span text, bool url, unsigned char *out, size_t size)
{
    static const char common[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint32_t bits = 0;
    size_t have = 0, len = 0;
    if (!url && text.len % 4 != 0)
        return 0;
    for (int pad = 0; !url && pad < 2 && text.len > 0 && text.at[text.len - 1] == '='; pad++)
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        const char *found = text.at[i] ? strchr(common, text.at[i]) : NULL;
        uint32_t value = found ? (uint32_t)(found - common) : 0;
        if (!found && text.at[i] == (url ? '-' : '+'))
            value = 62;
        else if (!found && text.at[i] == (url ? '_' : '/'))
            value = 63;
        else if (!found)
            return 0;
        bits = bits << 6 | value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (len == size)
                return 0;
            out[len++] = (unsigned char)(bits >> have);
        }
    }
    return have < 6 && (bits & ((1u << have) - 1)) == 0 ? len : 0;
}

static const char *rsa_read(struct keys *keys, const struct span *word)
{
    struct rsa_key *key = &keys->rsa[keys->rsa_count];
    unsigned char der[1024];
    const unsigned char *at = der;
    struct span role[8];

    if (keys->rsa_count == KEYS_MAX)
        return "too many keys";
    if (word[1].len != 8 || strspn(word[1].at, "0123456789abcdef") < 8)
        return "the key id is not 8 hex digits";
    span_copy(key->id, sizeof key->id, word[1]);
    key->roles = 0;
    size_t roles = span_split(word[2], ',', role, 8);
    for (size_t i = 0; i < roles; i++) {
        enum role named = role_named(role[i]);
        if (named == ROLE_NONE || named == ROLE_DEVICE)
            return "a role that no token may have";
        key->roles |= 1u << named;
    }
    size_t len = base64_decode(word[3], false, der, sizeof der);
    key->key = len ? d2i_PUBKEY(NULL, &at, (long)len) : NULL;
    if (!key->key)
        return "not a public key";
    keys->rsa_count++; /* from here on keys_free() frees it */
    if (EVP_PKEY_base_id(key->key) != EVP_PKEY_RSA || EVP_PKEY_bits(key->key) < 2048 || EVP_PKEY_bits(key->key) > 4096)
        return "not an RSA key of 2048 to 4096 bits";
    return NULL;
}

static const char *master_read(struct keys *keys, const struct span *word)
{
    size_t n = keys->master_count;
    if (n == KEYS_MAX)
        return "too many keys";
    if (!span_number(word[1], &keys->master[n].number))
        return "the master key has no number";
    if (word[2].len != 64)
        return "not 64 hex digits";
    for (size_t i = 0; i < 32; i++) {
        unsigned value;
        char pair[3] = {word[2].at[2 * i], word[2].at[2 * i + 1], 0};
        if (strspn(pair, "0123456789abcdef") != 2 || sscanf(pair, "%2x", &value) != 1)
            return "not 64 hex digits";
        keys->master[n].bytes[i] = (unsigned char)value;
    }
    keys->master_count++;
    return NULL;
}

struct keys *keys_read(struct span text, char *error, size_t error_size)
{
    struct keys *keys = calloc(1, sizeof *keys);
    const char *wrong = keys ? NULL : "out of memory";
    int number = 0;
    while (!wrong && text.len > 0) {
        const char *end = memchr(text.at, '\n', text.len);
        struct span line = {text.at, end ? (size_t)(end - text.at) : text.len}, word[5];
        size_t words = span_split(line, ' ', word, 5);
        number++;
        if (!end)
            wrong = "the last line is not complete";
        else if (number == 1)
            wrong = span_is(line, "bandroom-keys 1") ? NULL : "not a keys file of version 1";
        else if (words == 4 && span_is(word[0], "rsa"))
            wrong = rsa_read(keys, word);
        else if (words == 3 && span_is(word[0], "master"))
            wrong = master_read(keys, word);
        else
            wrong = "neither 'rsa <kid> <roles> <key>' nor 'master <n> <key>'";
        text.len -= line.len + (end ? 1 : 0);
        text.at += line.len + (end ? 1 : 0);
    }
    if (!wrong && number == 0)
        wrong = "empty";
    if (!wrong)
        return keys;
    snprintf(error, error_size, "keys: line %d: %s", number, wrong);
    keys_free(keys);
    return NULL;
}

void keys_free(struct keys *keys)
{
    for (size_t i = 0; keys && i < keys->rsa_count; i++)
        EVP_PKEY_free(keys->rsa[i].key);
    if (keys)
        OPENSSL_cleanse(keys, sizeof *keys);
    free(keys);
}

static bool signature_is_good(const struct rsa_key *key, struct span signed_part, struct span signature)
{
    unsigned char bytes[512];
    size_t len = base64_decode(signature, true, bytes, sizeof bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && len > 0 && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->key) == 1 &&
                EVP_DigestVerify(context, bytes, len, (const unsigned char *)signed_part.at, signed_part.len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

/* The key that the header names; the key decides the algorithm, the header may only agree. */
static const struct rsa_key *key_of(const struct keys *keys, struct span header)
{
    unsigned char text[256];
    struct json_object object;
    struct span value;
    size_t len = base64_decode(header, true, text, sizeof text);
    if (len == 0 || !json_read((struct span){(char *)text, len}, &object) || json_has(&object, "crit"))
        return NULL;
    if (!json_string(&object, "alg", &value) || !span_is(value, "RS256") || !json_string(&object, "kid", &value))
        return NULL;
    for (size_t i = 0; i < keys->rsa_count; i++) {
        if (span_is(value, keys->rsa[i].id))
            return &keys->rsa[i];
    }
    return NULL;
}

const char *claims_read(const struct json_object *object, int64_t now, struct claims *out)
{
    struct span issuer, audience, subject, tenant, role, room, id;
    int64_t not_before = 0;
    *out = (struct claims){0};
    if (!json_string(object, "iss", &issuer) || !span_is(issuer, "bandroom"))
        return "issuer";
    if (!json_string(object, "aud", &audience) || !span_is(audience, "bandroom"))
        return "audience";
    if (!json_integer(object, "iat", &out->issued) || !json_integer(object, "exp", &out->expires) ||
        out->issued > now + SKEW_MAX || out->expires > out->issued + LIFETIME_MAX)
        return "lifetime";
    if (out->expires <= now)
        return "expired";
    if (json_has(object, "nbf") && (!json_integer(object, "nbf", &not_before) || not_before > now))
        return "not yet valid";
    if (!json_string(object, "jti", &id) || id.len == 0 || !span_copy(out->token_id, sizeof out->token_id, id))
        return "token id";
    if (!json_string(object, "tenant", &tenant) ||
        !span_copy(out->who.tenant, sizeof out->who.tenant, tenant))
        return "tenant";
    if (!json_string(object, "role", &role) || !json_string(object, "sub", &subject) ||
        !span_copy(out->who.subject, sizeof out->who.subject, subject))
        return "role or subject";
    out->who.role = role_named(role);
    if ((out->who.role == ROLE_STUDENT || out->who.role == ROLE_VIEWER) &&
        (!json_string(object, "room", &room) || !span_copy(out->who.room, sizeof out->who.room, room)))
        return "room";
    return NULL;
}

const char *token_verify(const struct keys *keys, struct span token, int64_t now, struct claims *out)
{
    struct span part[3];
    unsigned char text[PASSWORD_MAX];
    struct json_object object;
    if (token.len > PASSWORD_MAX || span_split(token, '.', part, 3) != 3)
        return "not a token";
    const struct rsa_key *key = key_of(keys, part[0]);
    if (!key)
        return "key";
    struct span signed_part = {token.at, part[0].len + 1 + part[1].len};
    if (!signature_is_good(key, signed_part, part[2]))
        return "signature";
    size_t len = base64_decode(part[1], true, text, sizeof text);
    if (len == 0 || !json_read((struct span){(char *)text, len}, &object))
        return "claims";
    const char *wrong = claims_read(&object, now, out);
    if (!wrong && !(key->roles & 1u << out->who.role))
        wrong = "the key may not sign this role";
    return wrong;
}

static bool hmac(const void *key, int key_len, const void *text, size_t text_len, unsigned char out[32])
{
    return HMAC(EVP_sha256(), key, key_len, text, text_len, out, NULL) != NULL;
}

/* K(tenant) = HKDF-SHA-256(master, no salt, "bandroom-tenant-1" NUL tenant), one block of it;
 * the password is the first 130 bits of HMAC(K(tenant), "bandroom-device-1" NUL user name) in base32. */
static bool device_password(const unsigned char master[32], const char *tenant, struct span user_name,
                            char out[DEVICE_PASSWORD_LEN])
{
    static const unsigned char no_salt[32];
    unsigned char drawn[32], key[32], code[32];
    char text[128];
    size_t len = strlen(tenant), head = sizeof "bandroom-tenant-1"; /* its NUL counts */
    memcpy(text, "bandroom-tenant-1", head);
    memcpy(text + head, tenant, len);
    text[head + len] = 1;
    if (!hmac(no_salt, 32, master, 32, drawn) || !hmac(drawn, 32, text, head + len + 1, key))
        return false;
    head = sizeof "bandroom-device-1";
    if (head + user_name.len > sizeof text)
        return false;
    memcpy(text, "bandroom-device-1", head);
    memcpy(text + head, user_name.at, user_name.len);
    if (!hmac(key, 32, text, head + user_name.len, code))
        return false;
    for (size_t i = 0, bit = 0; i < DEVICE_PASSWORD_LEN; i++, bit += 5) {
        unsigned pair = (unsigned)code[bit / 8] << 8 | code[bit / 8 + 1];
        out[i] = "abcdefghijklmnopqrstuvwxyz234567"[pair >> (11 - bit % 8) & 31];
    }
    return true;
}

bool device_password_is_good(const struct keys *keys, const char *tenant, struct span user_name, struct span password)
{
    char expected[DEVICE_PASSWORD_LEN];
    int64_t newest = -1, second = -1;
    bool good = false;
    for (size_t i = 0; i < keys->master_count; i++) {
        int64_t number = keys->master[i].number;
        if (number > newest) {
            second = newest;
            newest = number;
        } else if (number > second) {
            second = number;
        }
    }
    for (size_t i = 0; i < keys->master_count; i++) {
        if (keys->master[i].number != newest && keys->master[i].number != second)
            continue;
        if (password.len == DEVICE_PASSWORD_LEN &&
            device_password(keys->master[i].bytes, tenant, user_name, expected) &&
            CRYPTO_memcmp(expected, password.at, DEVICE_PASSWORD_LEN) == 0)
            good = true;
    }
    return good;
}
