/* What the layers' kernels share. Each function is called by all threads of a team, which cut the work among them and
 * leave together; `dgm_...` starts a team for one layer, and `dgm_step` for all layers of a decoder.
 *
 * - A row's result depends on that row alone, bit for bit: not on how many rows there are, nor on the threads.
 * - Threads are OpenMP's. torch loads the same libgomp first, so both share one pool and never fight over cores.
 * - Nothing is checked here; `kernels.py` checks what it hands over; `packed.py` and `rows.py` lay these structures out.
 */
#ifndef DGM_LAYERS_H
#define DGM_LAYERS_H
#include "vectors.h"

enum { NONE = 0, GELU_TANH = 1 };

/* A linear layer; its weights are packed as `linear.c` says. Without `weights` there is no such layer. */
typedef struct {
    const uint8_t *weights;
    const float *scales, *bias; /* bias may be NULL */
    int64_t inputs, outputs, activation;
} Linear;

/* Normalises `width` numbers. */
typedef struct {
    const float *weight, *bias;
    int64_t width;
    float epsilon;
} Norm;

/* Where the keys and values of one row lie: [h, columns, d] of its prompt from its first token on, of which it sees
 * `seen`, and [h, capacity, d] of its own tail, NULL if it has none. */
typedef struct {
    const void *keys, *values;
    int64_t columns, seen;
    void *tail_keys, *tail_values;
    int64_t capacity;
} Row;

/* What the rows of a batch look at, none of them at more than `most` keys; numbers of 16 bits if `is_half`, else of 32. */
typedef struct {
    const Row *table;
    int64_t most, is_half;
} Sight;

/* Queries, and keys and values where there are new ones: [heads, width] a row, rows `stride` numbers apart. */
typedef struct {
    const float *query, *key, *value;
    int64_t stride, heads, width;
} Heads;

/* out [n, outputs] = activation(x W + bias); `scratch` holds n * (inputs rounded up to 4, + 8) + 64 bytes. Tiles are used
 * where `with_tiles` says that the processor has them, and give the same bits. */
void linear(const Linear *layer, const float *x, int64_t n, float *out, int8_t *scratch, int with_tiles);

/* out [n, heads * width]: one new token a row looks at its prompt's keys and at its own tail, to which its key and value
 * go first, in the column that `places` names; without places (NULL) only at the prompt. */
void attend(const Heads *heads, int64_t n, const Sight *sight, const int64_t *places, float *out);

/* out = LayerNorm(x + added); `added` may be NULL, and `out` may be `x`. */
void add_norm(const Norm *norm, const float *x, const float *added, int64_t n, float *out);

#endif
