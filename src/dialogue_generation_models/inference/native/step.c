/* One new token a row through all layers of a decoder, post-norm, by one team of threads: to start a team for each of a
 * layer's seven kernels, and to return to Python between them, costs as much as a third of a step of one row. */
#include "layers.h"

/* Two products, and the norm of the sum of what they made and what the sublayer was given. */
typedef struct {
    Linear first, second;
    Norm norm;
} Sublayer;

typedef struct {
    Sublayer attention; /* its first product makes queries, keys and values */
    Sublayer cross;     /* attention to an encoder's output, if there is any; its first product makes queries */
    Sublayer feed_forward;
    int64_t heads, width; /* width of a head */
} Layer;

/* A layer, from x to out [n, c], which may be the same; `room` as for `dgm_step`. */
static void take(const Layer *l, const float *x, int64_t n, const Sight *own, const Sight *memory,
                 const int64_t *places, float *out, float *room, int with_tiles) {
    const int64_t c = l->heads * l->width;
    float *projected = room, *mixed = projected + n * 3 * c, *made = mixed + n * c, *inner = made + n * c;
    int8_t *scratch = (int8_t *)(inner + n * l->feed_forward.first.outputs);
    const Heads heads = {projected, projected + c, projected + 2 * c, 3 * c, l->heads, l->width};
    const Heads queries = {projected, NULL, NULL, c, l->heads, l->width};
    linear(&l->attention.first, x, n, projected, scratch, with_tiles);
    attend(&heads, n, own, places, mixed);
    linear(&l->attention.second, mixed, n, made, scratch, with_tiles);
    add_norm(&l->attention.norm, x, made, n, out);
    if (memory) {
        linear(&l->cross.first, out, n, projected, scratch, with_tiles);
        attend(&queries, n, memory, NULL, mixed);
        linear(&l->cross.second, mixed, n, made, scratch, with_tiles);
        add_norm(&l->cross.norm, out, made, n, out);
    }
    linear(&l->feed_forward.first, out, n, inner, scratch, with_tiles);
    linear(&l->feed_forward.second, inner, n, made, scratch, with_tiles);
    add_norm(&l->feed_forward.norm, out, made, n, out);
}

/* Take rows through `count` layers, x to out [n, c]. Each layer has its `own` sight, and one of `memory` unless that is
 * NULL. `room` holds n * (5 c + inner) numbers and what `linear` needs for the widest inputs. */
void dgm_step(const Layer *layers, int64_t count, const float *x, int64_t n, const Sight *own, const Sight *memory,
              const int64_t *places, float *out, float *room, int with_tiles) {
#pragma omp parallel
    for (int64_t i = 0; i < count; i++)
        take(layers + i, i ? out : x, n, own + i, memory ? memory + i : NULL, places, out, room, with_tiles);
}
