// The data plane itself, compiled over the fake kernel: all of it but the two event sources
// and OpenSSL.
#include "../../CSources/CSluice/answer.c"
#include "../../CSources/CSluice/connection.c"
#include "../../CSources/CSluice/deadline.c"
#define set_int dial_set_int
#include "../../CSources/CSluice/dial.c"
#undef set_int
#include "../../CSources/CSluice/handover.c"
#include "../../CSources/CSluice/listen.c"
#define later pace_later
#include "../../CSources/CSluice/pace.c"
#undef later
#include "../../CSources/CSluice/pipe.c"
#include "../../CSources/CSluice/preface.c"
#define earlier race_earlier
#include "../../CSources/CSluice/race.c"
#undef earlier
#include "../../CSources/CSluice/relay.c"
#include "../../CSources/CSluice/spin.c"
#include "../../CSources/CSluice/stats.c"
#include "../../CSources/CSluice/transport.c"
#include "../../CSources/CSluice/worker.c"
