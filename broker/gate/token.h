/* Credentials: people's and service tokens (JWT, RS256), devices' passwords, and the keys that judge them. */
#ifndef BANDROOM_TOKEN_H
#define BANDROOM_TOKEN_H

#include "policy.h"

#define PASSWORD_MAX 4096
#define TOKEN_ID_SIZE 65
#define KEYS_MAX 16

struct rsa_key {
    char id[9];
    unsigned roles; /* bit 1 << role */
    struct evp_pkey_st *key;
};

struct keys {
    size_t rsa_count, master_count;
    struct rsa_key rsa[KEYS_MAX];
    struct {
        int64_t number;
        unsigned char bytes[32];
    } master[KEYS_MAX];
};

/* Reads a keys file's text. NULL: malformed, and `error` says which line and why. */
struct keys *keys_read(struct span text, char *error, size_t error_size);
void keys_free(struct keys *keys);

struct claims {
    struct who who;
    int64_t issued, expires; /* Unix seconds */
    char token_id[TOKEN_ID_SIZE];
};

/* `now`: Unix seconds. NULL: the token is good and `out` filled; else a word for why not (for the operator: the client
 * learns only that it was refused). */
const char *token_verify(const struct keys *keys, struct span token, int64_t now, struct claims *out);

struct json_object;
const char *claims_read(const struct json_object *object, int64_t now, struct claims *out); /* the part behind the signature */

/* Constant time. Accepted: a password by either of the two newest master keys. */
bool device_password_is_good(const struct keys *keys, const char *tenant, struct span user_name, struct span password);

#endif
