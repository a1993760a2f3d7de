// Counts what this program takes from the heap, the Swift library's own calls included.
#ifndef HEAP_H
#define HEAP_H

#include <stdint.h>

// Calls so far of malloc, calloc, realloc and those for aligned memory.
uint64_t heap_allocations(void);

#endif
