/* SPDX-License-Identifier: MIT */
#include "base/mark.h"

#if defined(JD_SLOW_ASSERTS) && !defined(JD_CHECK)
uint64_t mark_counts[MARK_COUNT];
#endif
