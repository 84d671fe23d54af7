/* A hash map from names to records whose addresses stay put. The one container of the gate. */
#pragma once

#include "text.h"

#ifndef MAP_SLOTS         /* a fuzzer has fewer */
#define MAP_SLOTS 32768u /* 256 kB of pointers; with 200,000 records six share a slot; each slot is looked at once a second */
#endif

struct map;

void map_seed(uint64_t random);     /* once, before all else: names chosen by an attacker must not fall into one slot */
struct map *map_new(size_t limit);  /* of records, and with it of memory; NULL: no memory */
void map_free(struct map *map);     /* or NULL */
/* The record of the name a/b/c. With a size in `make` a new one is made where there is none, zeroed.
 * NULL: there is none, or it cannot be made: the limit is reached, or no memory. */
void *map_at(struct map *map, struct span a, struct span b, struct span c, size_t make);
/* Calls `look` for each record of the next `slots` slots, again from the first after the last, and removes those of which
 * it says true (all of them, if `look` is NULL). Nothing else removes a record. */
void map_sweep(struct map *map, size_t slots, bool (*look)(void *record, int64_t now), int64_t now);
