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

/* "rsa <kid> <roles> <key>" */
static bool rsa_read(struct keys *keys, const struct span *word) {
    struct rsa_key *key = &keys->rsa[keys->rsa_count];
    unsigned char der[1024];
    const unsigned char *at = der;
    if (keys->rsa_count == KEYS_MAX || !span_has_form(word[1], FORM_HEX_8) || word[3].len > sizeof der)
        return false;
    span_copy(key->id, sizeof key->id, word[1]);
    for (struct span roles = word[2]; roles.at;)
        key->roles |= role_named(span_cut(&roles, ',')) & ~(unsigned)ROLE_DEVICE; /* devices have passwords */
    key->key = d2i_PUBKEY(NULL, &at, EVP_DecodeBlock(der, (const unsigned char *)word[3].at, (int)word[3].len));
    keys->rsa_count++; /* from here on keys_free() frees it */
    return key->key && EVP_PKEY_base_id(key->key) == EVP_PKEY_RSA && EVP_PKEY_bits(key->key) >= 2048 &&
           EVP_PKEY_bits(key->key) <= 4096;
}

/* "master <n> <key>" */
static bool master_read(struct keys *keys, const struct span *word) {
    struct master_key found;
    if (!span_number(word[1], &found.number) || !span_has_form(word[2], FORM_HEX_64))
        return false;
    for (size_t i = 0; i < sizeof found.bytes; i++)
        found.bytes[i] = (unsigned char)(OPENSSL_hexchar2int((unsigned char)word[2].at[2 * i]) << 4 |
                                         OPENSSL_hexchar2int((unsigned char)word[2].at[2 * i + 1]));
    struct master_key *place = &keys->master[found.number <= keys->master[0].number];
    if (place == keys->master)
        keys->master[1] = keys->master[0];
    if (found.number > place->number)
        *place = found;
    return true;
}

struct keys *keys_read(struct span text, char *error, size_t error_size) {
    struct keys *keys = calloc(1, sizeof *keys);
    bool good = keys != NULL;
    int number = 0;
    while (good && (number == 0 || text.len > 0)) {
        struct span line = span_cut(&text, '\n'), word[4];
        size_t words = span_split(line, ' ', word, 4);
        if (number++ == 0)
            good = span_is(line, "bandroom-keys 1");
        else if (words == 4 && span_is(word[0], "rsa"))
            good = rsa_read(keys, word);
        else
            good = words == 3 && span_is(word[0], "master") && master_read(keys, word);
        good = good && text.at; /* a whole line */
    }
    if (good)
        return keys;
    snprintf(error, error_size,
             "keys: line %d: not 'bandroom-keys 1' first, then 'rsa <8 hex digits> <roles> <RSA key of 2048 to 4096 bits>' "
             "(up to 16) and 'master <number> <64 hex digits>', each line whole", number);
    keys_free(keys);
    return NULL;
}

void keys_free(struct keys *keys) {
    for (size_t i = 0; keys && i < keys->rsa_count; i++)
        EVP_PKEY_free(keys->rsa[i].key);
    OPENSSL_clear_free(keys, sizeof *keys);
}

/* Strict: no padding, no stray bits. Empty: malformed, or longer than `size`. */
static struct span base64url_decode(struct span text, void *out, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    size_t have = 0, len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *found = memchr(digits, text.at[i], 64);
        if (!found || len == size)
            return NOTHING;
        bits = bits << 6 | (uint32_t)(found - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            ((unsigned char *)out)[len++] = (unsigned char)(bits >> have);
        }
    }
    return have < 6 && (bits & ((1u << have) - 1)) == 0 ? (struct span){out, len} : NOTHING;
}

static bool signature_is_good(struct evp_pkey_st *key, struct span text, struct span encoded) {
    char bytes[512];
    struct span signature = base64url_decode(encoded, bytes, sizeof bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && signature.len > 0 && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(context, (const unsigned char *)signature.at, signature.len,
                                 (const unsigned char *)text.at, text.len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

const char *claims_read(struct span json, int64_t now, struct credential *out) {
    enum { ISS, AUD, SUB, TENANT, ROLE, ROOM, JTI, IAT, EXP, NBF, COUNT };
    static const char *const names[COUNT] = {"iss", "aud", "sub", "tenant", "role", "room", "jti", "iat", "exp", "nbf"};
    struct span value[COUNT];
    int64_t not_before = 0;
    if (!json_read(json, names, value, COUNT))
        return "claims";
    if (!span_is(json_string(value[ISS]), "bandroom") || !span_is(json_string(value[AUD]), "bandroom"))
        return "issuer or audience";
    if (!span_number(value[IAT], &out->number) || !span_number(value[EXP], &out->expires) ||
        (value[NBF].len > 0 && !span_number(value[NBF], &not_before)) || not_before > now ||
        out->number > now + SKEW_MAX || out->expires > out->number + LIFETIME_MAX || out->expires <= now)
        return "expired, not yet valid, or valid for too long";
    out->token_id = json_string(value[JTI]);
    enum role role = role_named(json_string(value[ROLE]));
    struct span room = role & ROLES_OF_A_ROOM ? json_string(value[ROOM]) : NOTHING;
    out->who = (struct who){role, json_string(value[TENANT]), json_string(value[SUB]), room};
    return span_has_form(out->token_id, FORM_TOKEN_ID) ? NULL : "token id";
}

static const char *token_read(const struct keys *keys, struct span token, int64_t now, struct credential *out) {
    enum { ALG, KID, CRIT, COUNT };
    static const char *const names[COUNT] = {"alg", "kid", "crit"};
    const struct rsa_key *key = NULL;
    struct span part[3], value[COUNT];
    if (token.len > PASSWORD_MAX || span_split(token, '.', part, 3) != 3 ||
        !json_read(base64url_decode(part[0], out->text, sizeof out->text), names, value, COUNT) || value[CRIT].len > 0)
        return "not a token";
    for (size_t i = 0; i < keys->rsa_count; i++) {
        if (span_is(json_string(value[KID]), keys->rsa[i].id))
            key = &keys->rsa[i];
    }
    if (!key || !span_is(json_string(value[ALG]), "RS256")) /* the key decides the algorithm, the header may only agree */
        return "key";
    if (!signature_is_good(key->key, (struct span){token.at, part[0].len + 1 + part[1].len}, part[2]))
        return "signature";
    const char *wrong = claims_read(base64url_decode(part[1], out->text, sizeof out->text), now, out);
    return wrong || key->roles & out->who.role ? wrong : "the key may not sign this role";
}

static bool hmac(const unsigned char key[32], const void *text, int len, unsigned char out[32]) {
    return HMAC(EVP_sha256(), key, 32, text, (size_t)len, out, NULL) != NULL;
}

/* K(tenant) = HKDF-SHA-256(master, no salt, "bandroom-tenant-1" NUL tenant), one block of it;
 * the password is the first 130 bits of HMAC(K(tenant), "bandroom-device-1" NUL user name) in base32. Constant time. */
static bool is_password(const unsigned char master[32], struct span tenant, struct span user, struct span password) {
    static const unsigned char no_salt[32];
    unsigned char drawn[32], key[32], code[32];
    char text[2 * USER_NAME_MAX], expected[DEVICE_PASSWORD_LEN];
    int len = snprintf(text, sizeof text, "bandroom-tenant-1%c%.*s\1", 0, (int)tenant.len, tenant.at);
    if (!hmac(no_salt, master, 32, drawn) || !hmac(drawn, text, len, key))
        return false;
    len = snprintf(text, sizeof text, "bandroom-device-1%c%.*s", 0, (int)user.len, user.at);
    if (!hmac(key, text, len, code))
        return false;
    for (size_t i = 0, bit = 0; i < DEVICE_PASSWORD_LEN; i++, bit += 5) {
        unsigned pair = (unsigned)code[bit / 8] << 8 | code[bit / 8 + 1];
        expected[i] = "abcdefghijklmnopqrstuvwxyz234567"[pair >> (11 - bit % 8) & 31];
    }
    return password.len == DEVICE_PASSWORD_LEN && CRYPTO_memcmp(expected, password.at, DEVICE_PASSWORD_LEN) == 0;
}

const char *credential_read(const struct keys *keys, struct span user_name, struct span password, int64_t now,
                            struct credential *out) {
    struct span part[3];
    size_t parts = user_name.len <= USER_NAME_MAX ? span_split(user_name, '/', part, 3) : 0;
    if (parts < 2)
        return "not a user name";
    if (parts == 2) {
        const char *wrong = token_read(keys, password, now, out);
        bool is_theirs = wrong || (span_same(part[0], out->who.tenant) && span_same(part[1], out->who.subject));
        return is_theirs ? wrong : "the user name is not the token's subject";
    }
    out->who = (struct who){ROLE_DEVICE, part[0], part[1], NOTHING};
    out->token_id = NOTHING;
    out->expires = 0;
    if (!span_has_form(part[2], FORM_GENERATION) || !span_number(part[2], &out->number))
        return "not a generation";
    for (size_t i = 0; i < 2; i++) {
        if (keys->master[i].number && is_password(keys->master[i].bytes, part[0], user_name, password))
            return NULL;
    }
    return "wrong device password";
}
