/* The keys that judge credentials, and the file that they stand in. Pure. */
#pragma once

#include <stdio.h>

#include "text.h"

enum { KEYS_MAX = 16 };

struct keys {
    size_t rsa_count;
    struct rsa_key {
        char id[9];
        char roles[41]; /* that it may sign, with commas between */
        struct evp_pkey_st *key;
    } rsa[KEYS_MAX];
    struct master_key {
        int64_t number; /* 0: none */
        unsigned char bytes[32];
    } master[2]; /* the newest two */
};

/* NULL: malformed, and `error` says which line and what it should be. */
struct keys *keys_read(FILE *file, char *error, size_t error_size);
void keys_free(struct keys *keys);
