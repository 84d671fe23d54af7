#include "map.h"

#define KEY_MAX 96 /* a tenant, a room and a subject or token id fit */

struct node {
    struct node *next;
    uint64_t hash;
    struct span key; /* behind the record, as it is looked at last */
    max_align_t record[];
};

struct map {
    size_t limit, count, cursor;
    struct node *slots[MAP_SLOTS];
};

static uint64_t seed;

void map_seed(uint64_t random) {
    seed = random;
}

static uint64_t hash_of(struct span key) {
    uint64_t hash = seed ^ (key.len * 0x9e3779b97f4a7c15u);
    for (size_t at = 0; at < key.len; at += 8) {
        uint64_t word = 0;
        memcpy(&word, key.at + at, key.len - at < 8 ? key.len - at : 8);
        __extension__ unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0xa0761d6478bd642fu;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ seed;
    }
    return hash;
}

struct map *map_new(size_t limit) {
    struct map *map = calloc(1, sizeof *map);
    if (map)
        map->limit = limit;
    return map;
}

void *map_at(struct map *map, struct span a, struct span b, struct span c, size_t make) {
    char text[KEY_MAX];
    struct span key = span_join((const struct span[]){a, b, c}, 3, text, KEY_MAX); /* no name has a "/" */
    if (key.len == 0)
        return NULL;
    uint64_t hash = hash_of(key);
    struct node **place = &map->slots[hash % MAP_SLOTS], *node;
    while ((node = *place) && !(node->hash == hash && span_same(key, node->key)))
        place = &node->next;
    if (!node && make && map->count < map->limit && (node = calloc(1, sizeof *node + make + key.len))) {
        *node = (struct node){.hash = hash, .key = {(char *)node->record + make, key.len}};
        memcpy((char *)node->record + make, text, key.len);
        *place = node;
        map->count++;
    }
    return node ? node->record : NULL;
}

void map_sweep(struct map *map, size_t slots, bool (*look)(void *record, int64_t now), int64_t now) {
    for (; slots > 0; slots--, map->cursor++) {
        struct node **place = &map->slots[map->cursor % MAP_SLOTS], *node;
        while ((node = *place)) {
            if (!look || look(node->record, now)) {
                *place = node->next;
                free(node);
                map->count--;
            } else {
                place = &node->next;
            }
        }
    }
}

void map_free(struct map *map) {
    if (map)
        map_sweep(map, MAP_SLOTS, NULL, 0);
    free(map);
}
