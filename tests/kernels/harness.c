#include "tests/kernels/harness.h"
#include "tests/suite.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATTERN = 0xA5 };

/* Guarded mappings are kept and used again: making one costs more than most of the tests that want
 * it. */
enum { GUARD_SLOTS = 32, GUARD_MARGIN = 4096 };

struct guard_slot {
    unsigned char *start; /* between two pages that trap */
    size_t capacity;
    unsigned char *data; /* NULL while the slot is free */
    size_t bytes;
};

static struct guard_slot guard_slots[GUARD_SLOTS];

static struct guard_slot *guard_slot_for(size_t bytes)
{
    struct guard_slot *unused = NULL;
    for (int i = 0; i < GUARD_SLOTS; i++) {
        struct guard_slot *slot = &guard_slots[i];
        if (slot->start && !slot->data && slot->capacity >= bytes)
            return slot;
        if (!slot->start && !unused)
            unused = slot;
    }
    require(unused != NULL, "more than %d guarded buffers", GUARD_SLOTS);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t least = 128 * 1024;
    const size_t capacity = ((bytes > least ? bytes : least) + page - 1) / page * page;
    unsigned char *map =
        mmap(NULL, capacity + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(map != MAP_FAILED, "no memory");
    require(mprotect(map, page, PROT_NONE) == 0, "mprotect failed");
    require(mprotect(map + page + capacity, page, PROT_NONE) == 0, "mprotect failed");
    *unused = (struct guard_slot){.start = map + page, .capacity = capacity};
    return unused;
}

/* The bytes beside the data that hold a pattern: up to a page before it or after it. */
static size_t guard_margin(const struct guard_slot *slot, unsigned char **margin)
{
    const size_t before = (size_t)(slot->data - slot->start);
    const size_t after = slot->capacity - before - slot->bytes;
    if (before) {
        const size_t length = before < GUARD_MARGIN ? before : GUARD_MARGIN;
        *margin = slot->data - length;
        return length;
    }
    *margin = slot->data + slot->bytes;
    return after < GUARD_MARGIN ? after : GUARD_MARGIN;
}

void *guard_alloc(size_t bytes, enum guard_side side)
{
    unsigned char *margin;
    require(bytes > 0, "empty buffer");
    struct guard_slot *slot = guard_slot_for(bytes);
    slot->bytes = bytes;
    slot->data = side == GUARD_AFTER ? slot->start + slot->capacity - bytes : slot->start;
    const size_t length = guard_margin(slot, &margin);
    memset(margin, PATTERN, length);
    memset(slot->data, PATTERN, bytes);
    return slot->data;
}

void guard_free(void *data)
{
    for (int i = 0; data && i < GUARD_SLOTS; i++) {
        struct guard_slot *slot = &guard_slots[i];
        if (slot->data != data)
            continue;
        unsigned char *margin;
        const size_t length = guard_margin(slot, &margin);
        for (size_t at = 0; at < length; at++)
            require(margin[at] == PATTERN, "byte %td of a buffer of %zu was written",
                    margin + at - slot->data, slot->bytes);
        slot->data = NULL;
        return;
    }
    require(!data, "not a guarded buffer");
}

uint32_t random_bits(struct random *random)
{
    random->state = random->state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t mixed = (random->state >> 33 ^ random->state) * 0xff51afd7ed558ccdu;
    return (uint32_t)(mixed >> 32);
}

float random_normal(struct random *random)
{
    const double u = ((double)random_bits(random) + 1.0) / 4294967297.0;
    const double v = (double)random_bits(random) / 4294967296.0;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

void random_fill(struct random *random, float *x, long n, enum input kind)
{
    for (long i = 0; i < n; i++) {
        const uint32_t bits = random_bits(random);
        const float sign = bits & 1 ? -1.0f : 1.0f;
        switch (kind) {
        case INPUT_ZERO:
            x[i] = sign * 0.0f;
            break;
        case INPUT_DENORMAL:
            x[i] = sign * (float)(bits >> 9) * FLT_TRUE_MIN;
            break;
        case INPUT_EXTREME:
            x[i] =
                sign * ldexpf(1.0f + (float)(bits >> 16) / 65536.0f, (int)(bits >> 1) % 253 - 126);
            break;
        case INPUT_RANDOM:
        default:
            x[i] = random_normal(random);
            break;
        }
    }
}

void random_fill_s8(struct random *random, int8_t *x, long n)
{
    for (long i = 0; i < n; i++)
        x[i] = (int8_t)((int)(random_bits(random) % 255) - 127);
}

long q8_stride(long width)
{
    const long bytes = round_up(width, KERN_Q8_ALIGN);
    return bytes % 4096 == 0 ? bytes + KERN_Q8_ALIGN : bytes;
}

void pack_common(struct packed *packed, enum kern_scheme scheme, const float *bias, long n, long k)
{
    const long padded = round_up(n, KERN_PANEL);
    packed->bias = GUARDED(float, padded, GUARD_AFTER);
    for (long i = 0; i < padded; i++)
        packed->bias[i] = i < n ? bias[i] : 0.0f;
    packed->scale = NULL;
    packed->column_sum = NULL;
    packed->weights = (struct kern_weights){
        .scheme = scheme, .n = n, .k = k, .panels = packed->panels, .bias = packed->bias};
}

void pack_float_weights(struct packed *packed, const struct kern_table *table,
                        enum kern_scheme scheme, const float *w, const float *bias, long n, long k)
{
    const long panels = round_up(n, KERN_PANEL) / KERN_PANEL;
    const size_t bytes = table->panel_bytes[scheme](k);
    packed->panels = guard_alloc((size_t)panels * bytes, GUARD_AFTER);
    for (long p = 0; p < panels; p++) {
        const float *rows[KERN_PANEL];
        for (long j = 0; j < KERN_PANEL; j++)
            rows[j] = p * KERN_PANEL + j < n ? w + (p * KERN_PANEL + j) * k : NULL;
        table->pack_floats[scheme]((char *)packed->panels + (size_t)p * bytes, rows, k);
    }
    pack_common(packed, scheme, bias, n, k);
}

void pack_s8_weights(struct packed *packed, const struct kern_table *table, enum kern_scheme scheme,
                     const int8_t *w, const float *scale, const float *bias, long n, long k)
{
    const long padded = round_up(n, KERN_PANEL);
    const long blocks = kern_scale_blocks(scheme, k);
    const size_t bytes = table->panel_bytes[scheme](k);
    packed->panels = guard_alloc((size_t)(padded / KERN_PANEL) * bytes, GUARD_AFTER);
    pack_common(packed, scheme, bias, n, k);
    packed->scale = GUARDED(float, padded, GUARD_AFTER);
    packed->column_sum = GUARDED(int32_t, padded * blocks, GUARD_AFTER);
    for (long i = 0; i < padded; i++)
        packed->scale[i] = i < n ? scale[i] : 0.0f;
    for (long p = 0; p < padded / KERN_PANEL; p++) {
        const int8_t *rows[KERN_PANEL];
        for (long j = 0; j < KERN_PANEL; j++)
            rows[j] = p * KERN_PANEL + j < n ? w + (p * KERN_PANEL + j) * k : NULL;
        table->pack_s8[scheme]((char *)packed->panels + (size_t)p * bytes,
                               packed->column_sum + p * blocks * KERN_PANEL, rows, k);
    }
    packed->weights.scale = packed->scale;
    packed->weights.column_sum = packed->column_sum;
}

void packed_free(struct packed *packed)
{
    guard_free(packed->panels);
    guard_free(packed->bias);
    guard_free(packed->scale);
    guard_free(packed->column_sum);
}

int level_table(struct kern_table *table, int level)
{
    if (!kern_level_available((enum kern_level)level))
        return 0;
    kern_table_init(table, (enum kern_level)level);
    return 1;
}

double gelu_exact(double x)
{
    return isinf(x) ? (x > 0 ? x : 0.0) : 0.5 * x * erfc(-x * 0.70710678118654752440);
}

/* Whether every level named in DISTILD_REQUIRE_LEVELS can run here. */
static int required_levels_present(void)
{
    const char *required = getenv("DISTILD_REQUIRE_LEVELS");
    int present = 1;
    while (required && *required) {
        const size_t length = strcspn(required, ",");
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)length, required);
        const enum kern_level level = kern_level_from_name(name);
        if (*name && !kern_level_available(level)) {
            printf("level '%s', named in DISTILD_REQUIRE_LEVELS, %s\n", name,
                   level == KERN_LEVELS ? "does not exist" : "cannot run on this machine");
            present = 0;
        }
        required += length + (required[length] == ',');
    }
    return present;
}

int run_kernel_tests(const char *name, void (*add)(TCase *))
{
    printf("levels:");
    for (int level = 0; level < KERN_LEVELS; level++)
        printf(" %s%s", kern_level_name((enum kern_level)level),
               kern_level_available((enum kern_level)level) ? "" : " (not available)");
    printf("\n");
    fflush(stdout);
    if (!required_levels_present())
        return EXIT_FAILURE;

    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 100);
    add(tests);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
