/* Credentials: people's and service tokens (JWT, RS256), devices' passwords, and the keys that judge them. Pure. */
#pragma once

#include "policy.h"

enum { PASSWORD_MAX = 4096, USER_NAME_MAX = 64, KEYS_MAX = 16 };

struct keys {
    size_t rsa_count;
    struct rsa_key {
        char id[9];
        unsigned roles; /* that it may sign */
        struct evp_pkey_st *key;
    } rsa[KEYS_MAX];
    struct master_key {
        int64_t number; /* 0: none */
        unsigned char bytes[32];
    } master[2]; /* the newest, and the one before it */
};

/* Reads a keys file's text. NULL: malformed, and `error` says which line and why. */
struct keys *keys_read(struct span text, char *error, size_t error_size);
void keys_free(struct keys *keys);

struct credential { /* the spans lie in the user name and in `text` */
    struct who who;
    int64_t number;        /* what withdrawals go by: a token's `iat` (Unix seconds), a device's generation */
    int64_t expires;       /* Unix seconds; 0: never */
    struct span token_id;  /* a device's: empty */
    char text[PASSWORD_MAX];
};

/* Fills `out` with what is proven; whether it belongs together is the policy's to say. `now`: Unix seconds. NULL: good; else a
 * word for why not (for the operator: the client learns only that it was refused). */
const char *credential_read(const struct keys *keys, struct span user_name, struct span password, int64_t now,
                            struct credential *out);
const char *claims_read(struct span json, int64_t now, struct credential *out); /* the part behind the signature */
