/* inline.h: functions that must be part of their caller, as constants of its become theirs and their arrays live in registers. */
#ifndef KERNELS_INLINE_H
#define KERNELS_INLINE_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
