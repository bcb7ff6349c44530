/* pack.h: a model's row-major matrices in the order that a level's products read. */
#ifndef WEIGHTS_PACK_H
#define WEIGHTS_PACK_H

#include "kernels/kernels.h"
#include "weights/weights.h"

enum { WEIGHTS_PACK_PARTS = 3 };

/* One packed matrix to be: linear layers with the same input stacked above one another (query, key,
 * value). Fill the first group, ask weights_pack_bytes, hand over the memory with
 * weights_pack_begin, then pack every panel, in any order and from any number of threads. */
struct weights_pack_job {
    const struct kern_table *table;
    enum kern_scheme scheme;
    const struct weights_linear *parts[WEIGHTS_PACK_PARTS];
    int part_count;
    struct kern_weights *packed; /* (sum of the parts' rows, columns) */
};

/* The scheme by which a job's weights can be computed in float as the file holds them; KERN_F32 where they are floats
 * there, or the level has nothing faster. */
enum kern_scheme weights_held_scheme(const struct weights_pack_job *job);
/* Bytes that the packed matrix, its bias, scales and column sums take, a multiple of 64. */
size_t weights_pack_bytes(const struct weights_pack_job *job);
/* Panels of the packed matrix. */
long weights_pack_panels(const struct weights_pack_job *job);
/* Points job->packed into memory (weights_pack_bytes, aligned to 64). */
void weights_pack_begin(const struct weights_pack_job *job, void *memory);
/* Bytes of scratch that packing one panel of a matrix with k columns needs. */
size_t weights_pack_scratch(long k);
/* Packs panel p; scratch is the calling thread's own, aligned to 64. */
void weights_pack_panel(const struct weights_pack_job *job, long p, void *scratch);

/* Row `row` of a tensor as float: the tensor's own memory where it is F32, else converted into out
 * (cols). */
const float *weights_row(const struct weights_tensor *tensor, long row,
                         const struct kern_table *table, float *out);

#endif
