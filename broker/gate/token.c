#include "token.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { DEVICE_PASSWORD_LEN = 26, LIFETIME_MAX = 12 * 3600, SKEW_MAX = 60 }; /* seconds; the signer's clock may be ahead */

/* Of text that is base64url, and no longer than a token. Empty: malformed, or not as an encoder spells it. */
static struct span base64url_decode(struct span text, char out[PASSWORD_MAX]) {
    unsigned char block[PASSWORD_MAX + 4], again[PASSWORD_MAX + 4], *bytes = (unsigned char *)out;
    size_t len = 0, size = text.len * 3 / 4;
    for (; len < text.len; len++)
        block[len] = (unsigned char)(text.at[len] == '-' ? '+' : text.at[len] == '_' ? '/' : text.at[len]);
    for (; len % 4; len++)
        block[len] = '=';
    bool is_right = EVP_DecodeBlock(bytes, block, (int)len) > 0 && EVP_EncodeBlock(again, bytes, (int)size) == (int)len &&
                    memcmp(again, block, len) == 0;
    return is_right ? (struct span){out, size} : NOTHING;
}

static bool signature_is_good(struct evp_pkey_st *key, struct span text, struct span signature) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(context, (const unsigned char *)signature.at, signature.len,
                                 (const unsigned char *)text.at, text.len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

const char *claims_read(struct span text, const struct who *who, int64_t now, struct credential *out) {
    const char *issuer, *audience, *tenant, *subject, *role, *id, *room = "", *wrong = NULL;
    json_int_t issued, expires, not_before = 0;
    json_t *claims = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (json_unpack(claims, "{s:s, s:s, s:s, s:s, s:s, s:s, s?s, s:I, s:I, s?I}", "iss", &issuer, "aud", &audience,
                    "tenant", &tenant, "sub", &subject, "role", &role, "jti", &id, "room", &room,
                    "iat", &issued, "exp", &expires, "nbf", &not_before) != 0)
        wrong = "claims";
    else if (strcmp(issuer, "bandroom") != 0 || strcmp(audience, "bandroom") != 0)
        wrong = "issuer or audience";
    else if (!span_is(who->tenant, tenant) || !span_is(who->subject, subject) || strcmp(role, role_name(who->role)) != 0)
        wrong = "tenant, subject and role are not the user name's";
    else if (not_before > now || issued > now + SKEW_MAX || expires > issued + LIFETIME_MAX || expires <= now)
        wrong = "expired, not yet valid, or valid for too long";
    else if (!span_matches(span_of(id), "%J", NULL) ||
             (who->role & ROLES_OF_A_ROOM && !span_matches(span_of(room), "%R", NULL)))
        wrong = "token id or room";
    if (!wrong) {
        *out = (struct credential){.number = issued, .expires = who->role & ROLES_OF_SERVICE ? 0 : expires};
        snprintf(out->token_id, sizeof out->token_id, "%s", id);
        snprintf(out->room, sizeof out->room, "%s", who->role & ROLES_OF_A_ROOM ? room : "");
    }
    json_decref(claims);
    return wrong;
}

/* The key that a token's header names. It decides the algorithm: the header may only agree. NULL: there is none. */
static const struct rsa_key *key_of(const struct keys *keys, struct span text) {
    const char *algorithm, *id;
    const struct rsa_key *key = NULL;
    json_t *header = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (json_unpack(header, "{s:s, s:s}", "alg", &algorithm, "kid", &id) == 0 && strcmp(algorithm, "RS256") == 0 &&
        !json_object_get(header, "crit")) {
        for (size_t i = 0; i < keys->rsa_count; i++)
            key = strcmp(id, keys->rsa[i].id) == 0 ? &keys->rsa[i] : key;
    }
    json_decref(header);
    return key;
}

static const char *token_read(const struct keys *keys, const struct who *who, struct span token, int64_t now,
                              struct credential *out) {
    char decoded[PASSWORD_MAX];
    struct span part[3];
    if (!span_matches(token, "(%U).(%U).(%U)", part))
        return "not a token";
    const struct rsa_key *key = key_of(keys, base64url_decode(part[0], decoded));
    if (!key || !strstr(key->roles, role_name(who->role))) /* no role's name is part of another's */
        return "no such key, or one that may not sign this role";
    struct span text = {token.at, part[0].len + 1 + part[1].len};
    if (!signature_is_good(key->key, text, base64url_decode(part[2], decoded)))
        return "signature";
    return claims_read(base64url_decode(part[1], decoded), who, now, out);
}

static bool hmac(const unsigned char key[32], const void *text, int len, unsigned char out[32]) {
    return HMAC(EVP_sha256(), key, 32, text, (size_t)len, out, NULL) != NULL;
}

/* K(tenant) = HKDF-SHA-256(master, no salt, "bandroom-tenant-1" NUL tenant), one block of it;
 * the password is the first 130 bits of HMAC(K(tenant), "bandroom-device-1" NUL user name) in base32. Constant time. */
static bool is_password(const unsigned char master[32], struct span tenant, struct span user, struct span password) {
    static const unsigned char no_salt[32];
    unsigned char drawn[32], key[32], code[32];
    char info[80], text[80], expected[DEVICE_PASSWORD_LEN];
    int info_len = snprintf(info, sizeof info, "bandroom-tenant-1%c%.*s\1", 0, PRINTED(tenant));
    int len = snprintf(text, sizeof text, "bandroom-device-1%c%.*s", 0, PRINTED(user));
    if (!hmac(no_salt, master, 32, drawn) || !hmac(drawn, info, info_len, key) || !hmac(key, text, len, code))
        return false;
    for (size_t i = 0, bit = 0; i < DEVICE_PASSWORD_LEN; i++, bit += 5) {
        unsigned pair = (unsigned)code[bit / 8] << 8 | code[bit / 8 + 1];
        expected[i] = "abcdefghijklmnopqrstuvwxyz234567"[pair >> (11 - bit % 8) & 31];
    }
    return password.len == DEVICE_PASSWORD_LEN && CRYPTO_memcmp(expected, password.at, DEVICE_PASSWORD_LEN) == 0;
}

const char *credential_read(const struct keys *keys, const struct who *who, struct span user_name, struct span password,
                            int64_t now, struct credential *out) {
    if (password.len > PASSWORD_MAX)
        return "longer than any credential";
    if (who->role != ROLE_DEVICE)
        return token_read(keys, who, password, now, out);
    *out = (struct credential){.number = span_number(who->generation)};
    for (size_t i = 0; i < 2; i++) {
        if (keys->master[i].number && is_password(keys->master[i].bytes, who->tenant, user_name, password))
            return NULL;
    }
    return "wrong device password";
}
