// Counts that all workers keep together, by identity: how many connections a server, a source or
// a user has in flight. Fixed in size; no malloc after creation; nobody waits for another thread.
//
// The keyed hash of an identity names a bucket of WAYS entries; it can stand nowhere else. Two
// words decide everything:
//
// bucket.map    which entries are shown (one bit each), and a version that every change of a bit
//               moves on. An identity is shown only by a compare-and-swap from the very map under
//               which it was found to be absent, so it never stands twice.
// entry.word    the count, how it is used, and a stamp that moves on whenever the entry is claimed
//               for another identity. A count is only added to the word that was read with the
//               identity, so it never lands on a newer one.
//
// An entry is claimed (free, or idle for longest), hidden in the map, given its identity and a
// first count, and then shown; or freed again when another thread was first to show that identity.
// A thread that stops in the middle of it keeps one entry from the others, no more.
#include "sluice.h"
#include "sys.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
  WAYS = 16,  // a bucket of a table that is half full overflows 4 times in 1000
  LINE = 64,  // entries of different identities share no cache line
};

enum use { USE_FREE, USE_CLAIMED, USE_READY };

#define ONE_COUNT UINT64_C(1)
#define COUNTS UINT64_C(0xffffffff)
#define ONE_USE (UINT64_C(1) << 32)
#define ONE_STAMP (UINT64_C(1) << 34)
#define ONE_VERSION (UINT64_C(1) << WAYS)

struct entry {
  _Alignas(LINE) _Atomic uint64_t word;  // count: 32 bits, use: 2, stamp: 30
  _Atomic uint64_t key_high;
  _Atomic uint64_t key_low;
  _Atomic uint64_t idle_since;  // of the bucket's clock
  _Atomic uint64_t paced_until;  // when the next would come at an even pace; see sluice_counts_pace
};

struct bucket {
  _Alignas(LINE) _Atomic uint64_t map;  // shown: WAYS bits, version: the rest
  _Atomic uint64_t clock;               // moves when an entry gets idle
  _Atomic uint8_t tags[WAYS];           // of the hash: spares looking at most entries
  struct entry entries[WAYS];
};

struct sluice_counts {
  uint64_t hash_high;
  uint64_t hash_low;
  uint64_t buckets_mask;
  size_t bytes;
  struct bucket *buckets;
};

_Static_assert(sizeof(struct entry) == LINE, "one line per entry");
_Static_assert(sizeof(struct bucket) == (1 + WAYS) * LINE, "one line more per bucket");

struct sluice_counts *sluice_counts_create(uint32_t entries, uint64_t hash_high,
                                           uint64_t hash_low) {
  if (entries < WAYS || (entries & (entries - 1)) != 0) return NULL;
  struct sluice_counts *table = malloc(sizeof *table);
  if (!table) return NULL;
  size_t bytes = (size_t)(entries / WAYS) * sizeof(struct bucket);
  // Zeroed, and pages that no identity ever falls into cost nothing.
  void *at = sys_reserve(bytes);
  if (!at) {
    free(table);
    return NULL;
  }
  *table = (struct sluice_counts){hash_high, hash_low, entries / WAYS - 1, bytes, at};
  return table;
}

void sluice_counts_destroy(struct sluice_counts *table) {
  munmap(table->buckets, table->bytes);
  free(table);
}

// ---- hash --------------------------------------------------------------------------------------

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = rotate(v[1], 13) ^ v[0];
  v[0] = rotate(v[0], 32);
  v[2] += v[3];
  v[3] = rotate(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotate(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotate(v[1], 17) ^ v[2];
  v[2] = rotate(v[2], 32);
}

// SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"): whoever chooses his
// identity, as a client does with its address, cannot aim at a bucket.
static uint64_t counts_hash(const struct sluice_counts *table, uint64_t high, uint64_t low) {
  uint64_t v[4] = {table->hash_high ^ UINT64_C(0x736f6d6570736575),
                   table->hash_low ^ UINT64_C(0x646f72616e646f6d),
                   table->hash_high ^ UINT64_C(0x6c7967656e657261),
                   table->hash_low ^ UINT64_C(0x7465646279746573)};
  const uint64_t words[3] = {high, low, UINT64_C(16) << 56};  // the last: the length in bytes
  for (int i = 0; i < 3; i++) {
    v[3] ^= words[i];
    sip_round(v);
    v[0] ^= words[i];
  }
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

// ---- entries -----------------------------------------------------------------------------------

// An identity and where it belongs.
struct place {
  struct bucket *bucket;
  uint64_t high;
  uint64_t low;
  uint8_t tag;
};

static struct place counts_place(struct sluice_counts *table, uint64_t high, uint64_t low) {
  uint64_t hash = counts_hash(table, high, low);
  struct bucket *bucket = &table->buckets[hash & table->buckets_mask];
  return (struct place){bucket, high, low, (uint8_t)(hash >> 56)};
}

static enum use word_use(uint64_t word) { return (enum use)(word / ONE_USE & 3); }

// The same entry under its next stamp, without a count.
static uint64_t word_next(uint64_t word, enum use use) {
  return (word & ~(ONE_STAMP - 1)) + ONE_STAMP + use * ONE_USE;
}

// Which entry stands for the identity, its word, and the map under which that was so; WAYS when
// none does. What was read while the map moved is not believed: the entry may be hidden by now,
// and be another thread's that is about to free it.
static uint32_t place_find(const struct place *at, uint64_t *map, uint64_t *word) {
  for (;;) {
    *map = atomic_load(&at->bucket->map);
    uint32_t found = WAYS;
    for (uint32_t i = 0; i < WAYS && found == WAYS; i++) {
      if (!(*map >> i & 1) || atomic_load(&at->bucket->tags[i]) != at->tag) continue;
      struct entry *entry = &at->bucket->entries[i];
      *word = atomic_load(&entry->word);
      if (word_use(*word) == USE_READY && atomic_load(&entry->key_high) == at->high &&
          atomic_load(&entry->key_low) == at->low)
        found = i;
    }
    if (atomic_load(&at->bucket->map) == *map) return found;
  }
}

// The free entry, or the one that has been idle for longest; WAYS when all are in use.
static uint32_t bucket_idle(struct bucket *bucket, uint64_t *word) {
  uint32_t best = WAYS;
  uint64_t oldest = UINT64_MAX;
  for (uint32_t i = 0; i < WAYS; i++) {
    uint64_t now = atomic_load(&bucket->entries[i].word);
    if (word_use(now) == USE_CLAIMED || (now & COUNTS) > 0) continue;
    bool is_free = word_use(now) == USE_FREE;
    uint64_t since = is_free ? 0 : atomic_load(&bucket->entries[i].idle_since) + 1;
    if (since >= oldest) continue;
    best = i;
    oldest = since;
    *word = now;
  }
  return best;
}

// Prepares an entry for the identity, which nobody else sees yet, with the caller's count in it.
// False when it was another thread's first.
static bool place_claim(const struct place *at, uint32_t way, uint64_t word) {
  struct entry *entry = &at->bucket->entries[way];
  uint64_t claimed = word_next(word, USE_CLAIMED);
  if (!atomic_compare_exchange_strong(&entry->word, &word, claimed)) return false;
  uint64_t bit = UINT64_C(1) << way;
  uint64_t map = atomic_load(&at->bucket->map);
  while (map & bit && !atomic_compare_exchange_weak(&at->bucket->map, &map,
                                                    (map & ~bit) + ONE_VERSION)) {
  }
  atomic_store(&entry->key_high, at->high);
  atomic_store(&entry->key_low, at->low);
  atomic_store(&entry->paced_until, 0);
  atomic_store(&at->bucket->tags[way], at->tag);
  atomic_store(&entry->word, claimed + (USE_READY - USE_CLAIMED) * ONE_USE + ONE_COUNT);
  return true;
}

// Adds one to an entry that was found. False: it stands for something else by now.
static bool entry_add(struct entry *entry, uint64_t word, uint32_t limit,
                      enum sluice_count *result) {
  uint64_t found = word / ONE_USE;
  while (word / ONE_USE == found) {
    uint64_t count = word & COUNTS;
    bool over = count == COUNTS || (limit > 0 && count >= limit);
    *result = over ? sluice_count_over_limit : sluice_count_taken;
    if (over || atomic_compare_exchange_weak(&entry->word, &word, word + ONE_COUNT)) return true;
  }
  return false;
}

enum sluice_count sluice_counts_take(struct sluice_counts *table, uint64_t key_high,
                                     uint64_t key_low, uint32_t limit, uint32_t *entry) {
  struct place at = counts_place(table, key_high, key_low);
  struct entry *entries = at.bucket->entries;
  uint32_t first = (uint32_t)(at.bucket - table->buckets) * WAYS;
  uint32_t mine = WAYS;
  enum sluice_count result;
  for (;;) {
    uint64_t map, word = 0;
    uint32_t way = place_find(&at, &map, &word);
    if (way < WAYS) {
      if (!entry_add(&entries[way], word, limit, &result)) continue;
      if (mine < WAYS)
        atomic_store(&entries[mine].word, word_next(atomic_load(&entries[mine].word), USE_FREE));
      *entry = first + way;
      return result;
    }
    if (mine < WAYS) {
      uint64_t shown = (map | UINT64_C(1) << mine) + ONE_VERSION;
      if (!atomic_compare_exchange_strong(&at.bucket->map, &map, shown)) continue;
      *entry = first + mine;
      return sluice_count_taken;
    }
    way = bucket_idle(at.bucket, &word);
    if (way == WAYS) return sluice_count_full;
    if (place_claim(&at, way, word)) mine = way;
  }
}

void sluice_counts_give(struct sluice_counts *table, uint32_t entry) {
  struct bucket *bucket = &table->buckets[entry / WAYS];
  struct entry *given = &bucket->entries[entry % WAYS];
  uint64_t count = atomic_fetch_sub(&given->word, ONE_COUNT) & COUNTS;
  if (count == 0) abort();  // given back twice: a bug of the caller's
  // The entry may be another identity's by now; then that one gets a wrong age, no more.
  if (count == 1) atomic_store(&given->idle_since, atomic_fetch_add(&bucket->clock, 1));
}

// A token bucket in one word, which says when the bucket will be full again: the generic cell rate
// algorithm (ITU-T I.371, annex A). The caller's count keeps the entry its identity's meanwhile.
bool sluice_counts_pace(struct sluice_counts *table, uint32_t entry, uint64_t now_ns,
                        uint64_t interval_ns, uint32_t burst) {
  _Atomic uint64_t *until = &table->buckets[entry / WAYS].entries[entry % WAYS].paced_until;
  uint64_t before = atomic_load(until);
  for (;;) {
    uint64_t from = before > now_ns ? before : now_ns;
    if (from - now_ns > (uint64_t)(burst - 1) * interval_ns) return false;
    if (atomic_compare_exchange_weak(until, &before, from + interval_ns)) return true;
  }
}

uint32_t sluice_counts_read(struct sluice_counts *table, uint64_t key_high, uint64_t key_low) {
  struct place at = counts_place(table, key_high, key_low);
  uint64_t map, word = 0;
  return place_find(&at, &map, &word) < WAYS ? (uint32_t)(word & COUNTS) : 0;
}
