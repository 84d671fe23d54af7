#include "map.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 64

static uint64_t hash_of(const struct map *map, const unsigned char *key, size_t len)
{
    uint64_t hash = map->seed ^ (len * 0x9e3779b97f4a7c15u);
    while (len > 0) {
        uint64_t word = 0;
        size_t part = len < 8 ? len : 8;
        memcpy(&word, key, part);
        __extension__ unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0xa0761d6478bd642fu;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ map->seed;
        key += part;
        len -= part;
    }
    return hash;
}

bool map_init(struct map *map, size_t value_size, size_t limit, uint64_t seed)
{
    size_t align = sizeof(max_align_t);
    *map = (struct map){.mask = FIRST_SLOTS - 1, .limit = limit, .seed = seed};
    map->value_size = (value_size + align - 1) / align * align;
    map->slots = calloc(FIRST_SLOTS, sizeof *map->slots);
    return map->slots != NULL;
}

void map_free(struct map *map)
{
    for (size_t i = 0; map->slots && i <= map->mask; i++) {
        for (struct map_node *node = map->slots[i], *next; node; node = next) {
            next = node->next;
            free(node);
        }
    }
    free(map->slots);
    *map = (struct map){0};
}

static struct map_node **place_of(const struct map *map, uint64_t hash, const void *key, size_t len)
{
    struct map_node **place = &map->slots[hash & map->mask];
    for (; *place; place = &(*place)->next) {
        struct map_node *node = *place;
        const char *stored = (const char *)node->value + map->value_size;
        if (node->hash == hash && node->key_len == len && memcmp(stored, key, len) == 0)
            break;
    }
    return place;
}

void *map_find(const struct map *map, const void *key, size_t len)
{
    struct map_node *node = *place_of(map, hash_of(map, key, len), key, len);
    return node ? node->value : NULL;
}

static void grow(struct map *map)
{
    size_t slots = (map->mask + 1) * 2;
    struct map_node **wider = calloc(slots, sizeof *wider);
    if (!wider)
        return; /* slower, not wrong */
    for (size_t i = 0; i <= map->mask; i++) {
        for (struct map_node *node = map->slots[i], *next; node; node = next) {
            next = node->next;
            node->next = wider[node->hash & (slots - 1)];
            wider[node->hash & (slots - 1)] = node;
        }
    }
    free(map->slots);
    map->slots = wider;
    map->mask = slots - 1;
}

void *map_insert(struct map *map, const void *key, size_t len)
{
    uint64_t hash = hash_of(map, key, len);
    struct map_node **place = place_of(map, hash, key, len);
    if (*place)
        return (*place)->value;
    if (map->count >= map->limit)
        return NULL;
    struct map_node *node = calloc(1, sizeof *node + map->value_size + len);
    if (!node)
        return NULL;
    node->hash = hash;
    node->key_len = len;
    memcpy((char *)node->value + map->value_size, key, len);
    *place = node;
    if (++map->count > map->mask)
        grow(map);
    return node->value;
}

void map_remove(struct map *map, const void *key, size_t len)
{
    struct map_node **place = place_of(map, hash_of(map, key, len), key, len);
    struct map_node *node = *place;
    if (!node)
        return;
    *place = node->next;
    free(node);
    map->count--;
}

void map_sweep(struct map *map, size_t *cursor, size_t slots, bool (*gone)(void *value, int64_t now), int64_t now)
{
    for (; slots > 0; slots--, (*cursor)++) {
        struct map_node **place = &map->slots[*cursor & map->mask];
        while (*place) {
            struct map_node *node = *place;
            if (!gone(node->value, now)) {
                place = &node->next;
                continue;
            }
            *place = node->next;
            free(node);
            map->count--;
        }
    }
}
