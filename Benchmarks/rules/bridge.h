// What the benchmark takes of C.
#ifndef BRIDGE_H
#define BRIDGE_H

#include <malloc.h>

#include "../proxy-header/heap.h"

#endif
