/* A hash map from bytes to fixed-size values whose addresses stay put. The one container of the gate. */
#ifndef BANDROOM_MAP_H
#define BANDROOM_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint64_t hash;
    size_t key_len;
    max_align_t value[]; /* the value, then the key's bytes */
};

struct map {
    struct map_node **slots;
    size_t mask, count, limit, value_size;
    uint64_t seed;
};

/* `limit` bounds the number of entries, and with it the memory: an insert beyond it fails. The random `seed`
 * keeps names chosen by an attacker from falling into one slot. */
bool map_init(struct map *map, size_t value_size, size_t limit, uint64_t seed);
void map_free(struct map *map);

void *map_find(const struct map *map, const void *key, size_t len);
/* The value for `key`, made zeroed when new. NULL: the map is at its limit, or there is no memory. */
void *map_insert(struct map *map, const void *key, size_t len);
void map_remove(struct map *map, const void *key, size_t len);
/* Removes each entry of `slots` slots from *cursor on for which `gone` says so: a sweep in small steps. */
void map_sweep(struct map *map, size_t *cursor, size_t slots, bool (*gone)(void *value, int64_t now), int64_t now);

#endif
