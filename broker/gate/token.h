/* Credentials: people's and service tokens (JWT, RS256) and devices' passwords. Pure. */
#pragma once

#include "keys.h"
#include "policy.h"

enum { PASSWORD_MAX = 4096 };

struct credential {
    int64_t number;  /* what withdrawals go by: a token's `iat` (Unix seconds), a device's generation */
    int64_t expires; /* when its connections end (Unix seconds); 0: never: a service's token lives for seconds */
    char token_id[TOKEN_ID_MAX + 1], room[ROOM_MAX + 1]; /* empty: it has none */
};

/* Whether `password` proves that its holder is `who`, of that user name, and what else it says. `now`: Unix seconds.
 * NULL: it does; else a word for why not (for the operator: the client learns only that it was refused). */
const char *credential_read(const struct keys *keys, const struct who *who, struct span user_name, struct span password,
                            int64_t now, struct credential *out);
const char *claims_read(struct span json, const struct who *who, int64_t now, struct credential *out); /* signed ones */
