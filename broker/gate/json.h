/* One flat JSON object: all that a token's header and claims may be. Pure, allocates nothing. */
#pragma once

#include "text.h"

/* Finds the members of these names: values[i] is what stands behind names[i], a string's with its quotes and its escapes
 * unread; empty where there is none. False: not an object, or not a flat one, or a name stands in it twice. */
bool json_read(struct span text, const char *const *names, struct span *values, size_t count);
/* Without its quotes; empty: not a string, or an escape in it. */
struct span json_string(struct span value);
