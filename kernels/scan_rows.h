/* scan_rows.h: what the scans of rows by all instruction sets have in common: how wide a held value is, and the functions
 * made of `scan`, which a file defines before it asks for them with SCAN_OVERLAY. */
#ifndef KERNELS_SCAN_ROWS_H
#define KERNELS_SCAN_ROWS_H

#include "kernels/inline.h"
#include "kernels/levels.h"

ALWAYS_INLINE size_t value_bytes(const enum kern_scheme held)
{
    return held == KERN_F32 ? sizeof(float) : held == KERN_F16 ? sizeof(uint16_t) : sizeof(int8_t);
}

/* kern_overlay_scan_LEVEL, of scan(job, held) for each way in which rows are held. */
#define SCAN_OVERLAY(level)                                                                        \
    static void scan_f32(const struct kern_scan *job)                                              \
    {                                                                                              \
        scan(job, KERN_F32);                                                                       \
    }                                                                                              \
    static void scan_f16(const struct kern_scan *job)                                              \
    {                                                                                              \
        scan(job, KERN_F16);                                                                       \
    }                                                                                              \
    static void scan_s8(const struct kern_scan *job)                                               \
    {                                                                                              \
        scan(job, KERN_S8);                                                                        \
    }                                                                                              \
    void kern_overlay_scan_##level(struct kern_table *table)                                       \
    {                                                                                              \
        table->scan[KERN_F32] = scan_f32;                                                          \
        table->scan[KERN_F16] = scan_f16;                                                          \
        table->scan[KERN_S8] = scan_s8;                                                            \
    }

#endif
