/* Kernels for decoding on x86-64 processors with AVX-512 VNNI; `__init__.py` builds and loads them, `kernels.py` checks
 * what they are given.
 *
 * - A row's result depends on that row alone, bit for bit: not on how many rows there are, nor on the threads.
 * - Weights are stored as u8 = w + 128 in panels of 32 outputs: for every 4 inputs, the 4 bytes of each output,
 *   what a VNNI instruction multiplies and adds. So a panel is read from front to back.
 * - Activations are s8 and lie in tiles of up to 12 rows: for every 4 inputs, the 4 bytes of each row. A row's sums
 *   begin at -128 times the sum of its numbers, which takes the weights' 128 off again.
 * - Threads are OpenMP's. torch loads the same libgomp first, so both share one pool and never fight over cores.
 */
#include "vectors.h"

enum {
    DEPTH = 4,       /* inputs that one instruction multiplies and adds */
    PANEL = 32,      /* outputs whose weights lie together: two vectors of sums a row */
    ROWS = 12,       /* rows of a tile: 12 x 2 sums, 2 weights and a broadcast stay in the 32 registers */
    MAX_WIDTH = 256, /* of an attention head */
};

enum { NONE = 0, GELU_TANH = 1 };

int dgm_is_supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

/* x / (1 + e**-2z), z = sqrt(2/pi) (x + 0.044715 x**3): the tanh form of GELU. */
INLINE __m512 gelu_ps(__m512 x) {
    __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
    __m512 z = _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715f), x);
    __m512 e = exp_ps(_mm512_mul_ps(z, _mm512_set1_ps(-1.5957691216f)));
    return _mm512_div_ps(x, _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
}

/* A linear layer at work. */
typedef struct {
    int64_t rows, inputs, steps, outputs, tiles; /* a step is DEPTH inputs */
    const float *x, *weight_scales, *bias;
    const uint8_t *weights; /* [panels, steps, PANEL, DEPTH] */
    int activation;
    float *out;
    int32_t *rounded;    /* tile by tile [steps, rows of the tile], each DEPTH numbers of 8 bits */
    float *scales;       /* [rows] */
    int32_t *beginnings; /* [rows], of the sums */
} Linear;

/* The first row of a tile. The tiles share the rows evenly: 20 rows are 2 times 10. */
INLINE int64_t tile_start(const Linear *l, int64_t tile) {
    const int64_t size = l->rows / l->tiles, larger = l->rows % l->tiles;
    return tile * size + (tile < larger ? tile : larger);
}

/* Put one row into its tile in whole numbers of 8 bits; a row that is not finite gets NaN as its scale. */
TARGET static void round_row(const Linear *l, int64_t row, int64_t start, int64_t rows) {
    const float *x = l->x + row * l->inputs;
    /* The bits of |x| sort as |x| does, with infinity and then NaN above all numbers. */
    __m512i most = _mm512_setzero_si512();
    for (int64_t i = 0; i < l->inputs; i += LANES) {
        const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(tail_mask(l->inputs - i), x + i));
        most = _mm512_max_epu32(most, _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF)));
    }
    const uint32_t bits = _mm512_reduce_max_epu32(most);
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    const int is_finite = bits < 0x7F800000;
    const __m512 factor = _mm512_set1_ps(is_finite && largest > 1e-35f ? 127.0f / largest : 0.0f);
    __m512i total = _mm512_setzero_si512();
    int32_t *out = l->rounded + start * l->steps + (row - start);
    for (int64_t i = 0; i < l->inputs; i += LANES) {
        const __m512 v = _mm512_maskz_loadu_ps(tail_mask(l->inputs - i), x + i);
        const __m512i q = is_finite ? _mm512_cvtps_epi32(_mm512_mul_ps(v, factor)) : _mm512_setzero_si512();
        total = _mm512_add_epi32(total, q);
        int32_t fours[LANES / DEPTH];
        _mm_storeu_si128((__m128i *)fours, _mm512_cvtsepi32_epi8(q));
        for (int f = 0; f < LANES / DEPTH && i + f * DEPTH < l->inputs; f++, out += rows) *out = fours[f];
    }
    l->scales[row] = is_finite ? largest / 127.0f : NAN;
    l->beginnings[row] = -128 * _mm512_reduce_add_epi32(total);
}

/* Scale the sums of a tile and panel, add the bias, apply the activation. */
TARGET __attribute__((noinline)) static void finish(const Linear *l, int rows, int64_t row, int64_t panel,
                                                    const __m512i (*sums)[2]) {
    for (int half = 0; half < 2; half++) {
        const int64_t first = panel * PANEL + half * LANES;
        if (first >= l->outputs) break;
        const __mmask16 in = tail_mask(l->outputs - first);
        const __m512 of_weights = _mm512_maskz_loadu_ps(in, l->weight_scales + first);
        const __m512 added = l->bias ? _mm512_maskz_loadu_ps(in, l->bias + first) : _mm512_setzero_ps();
        for (int r = 0; r < rows; r++) {
            const __m512 factor = _mm512_mul_ps(of_weights, _mm512_set1_ps(l->scales[row + r]));
            __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][half]), factor, added);
            if (l->activation == GELU_TANH) y = gelu_ps(y);
            _mm512_mask_storeu_ps(l->out + (row + r) * l->outputs + first, in, y);
        }
    }
}

/* One panel times one tile, while `ahead` is fetched from memory. `rows` is a constant where this is inlined. */
INLINE void multiply(const Linear *l, int rows, int64_t row, int64_t panel, const uint8_t *ahead, int64_t ahead_step) {
    const uint8_t *w = l->weights + panel * l->steps * PANEL * DEPTH;
    const int32_t *x = l->rounded + row * l->steps;
    __m512i sums[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm512_set1_epi32(l->beginnings[row + r]);
    for (int64_t step = 0; step < l->steps; step++, x += rows, w += PANEL * DEPTH, ahead += ahead_step) {
        __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + LANES * DEPTH);
        /* GCC would rather load them again for each row, and then wait for loads. */
        __asm__("" : "+v"(w0), "+v"(w1));
        _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        _mm_prefetch((const char *)ahead + LANES * DEPTH, _MM_HINT_T1);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            const __m512i four = _mm512_set1_epi32(x[r]);
            sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], w0, four);
            sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], w1, four);
        }
    }
    /* A copy, as what has an address would lie in memory from the start. */
    __m512i done[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) done[r][0] = sums[r][0], done[r][1] = sums[r][1];
    finish(l, rows, row, panel, done);
}

#define CASE(ROWS) case ROWS: multiply(l, ROWS, row, panel, ahead, ahead_step); break;

/* One panel times all rows. Every tile's pass fetches its part of the next panel, so that memory never rests. */
TARGET static void multiply_panel(const Linear *l, int64_t panel) {
    const int64_t bytes = l->steps * PANEL * DEPTH, ahead_step = PANEL * DEPTH / l->tiles;
    for (int64_t tile = 0; tile < l->tiles; tile++) {
        const uint8_t *ahead = l->weights + (panel + 1) * bytes + tile * l->steps * ahead_step;
        const int64_t row = tile_start(l, tile);
        switch (tile_start(l, tile + 1) - row) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
        }
    }
}

/* out [n, m] = activation(x [n, k] W + bias), W packed [m/32, k/4, 32, 4]; scratch holds n * (padded + 8) bytes. */
TARGET void dgm_linear_int8(const float *x, int64_t n, int64_t k, const uint8_t *packed, const float *weight_scales,
                            const float *bias, int64_t m, int activation, float *out, int8_t *scratch) {
    if (n == 0) return;
    const int64_t panels = (m + PANEL - 1) / PANEL;
    float *scales = (float *)scratch;
    const Linear l = {
        .rows = n, .inputs = k, .steps = (k + DEPTH - 1) / DEPTH, .outputs = m, .tiles = (n + ROWS - 1) / ROWS,
        .x = x, .weight_scales = weight_scales, .bias = bias, .weights = packed, .activation = activation, .out = out,
        .scales = scales, .beginnings = (int32_t *)(scales + n), .rounded = (int32_t *)(scales + 2 * n),
    };
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < l.tiles; tile++) {
            const int64_t start = tile_start(&l, tile), end = tile_start(&l, tile + 1);
            for (int64_t row = start; row < end; row++) round_row(&l, row, start, end - start);
        }
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < panels; panel++) multiply_panel(&l, panel);
    }
}

/* The sums of four vectors, side by side: adding while transposing costs a third of four reductions. */
INLINE __m128 sum_each(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const __m512 all = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

INLINE __m512 product(const float *query, const float *key, int width) {
    __m512 sum = _mm512_setzero_ps();
    for (int d = 0; d < width; d += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(query + d), _mm512_loadu_ps(key + d), sum);
    return sum;
}

/* scores[s] = keys[s] . query for n keys of `width` numbers; writes up to 3 scores more than n. */
INLINE void fit(const float *query, const float *keys, int64_t n, int width, float *scores) {
    for (int64_t s = 0; s < n; s += 4) {
        const float *a = keys + s * width, *b = s + 1 < n ? a + width : a, *c = s + 2 < n ? b + width : a,
                    *d = s + 3 < n ? c + width : a;
        _mm_storeu_ps(scores + s, sum_each(product(query, a, width), product(query, b, width),
                                           product(query, c, width), product(query, d, width)));
    }
}

/* out += weights . values, four vectors of `out` at once, as one sum alone would wait for itself. */
INLINE void mix(float *out, const float *weights, const float *values, int64_t n, int width) {
    for (int first = 0; first < width; first += 4 * LANES) {
        __m512 sums[4];
        __mmask16 in[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            in[v] = first + v * LANES < width ? 0xFFFF : 0;
            sums[v] = _mm512_maskz_loadu_ps(in[v], out + first + v * LANES);
        }
        for (int64_t s = 0; s < n; s++) {
            const __m512 weight = _mm512_set1_ps(weights[s]);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                sums[v] = _mm512_fmadd_ps(
                    weight, _mm512_maskz_loadu_ps(in[v], values + s * width + first + v * LANES), sums[v]);
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) _mm512_mask_storeu_ps(out + first + v * LANES, in[v], sums[v]);
    }
}

/* Where the keys and values of one row lie: [h, columns, d] of its prompt from its first token on, of which it sees
 * `seen`, and [h, capacity, d] of its own tail, NULL if it has none. `AttentionRows` lays this out too. */
typedef struct {
    const float *keys, *values;
    int64_t columns, seen;
    float *tail_keys, *tail_values;
    int64_t capacity;
} Row;

/* One new token a row, `stride` numbers apart, looks at its prompt's keys and at its own tail, to whose place its key and
 * value go first; without places (NULL) only at the prompt. No row has more than `most` keys. */
TARGET void dgm_attend(const float *query, const float *key, const float *value, int64_t stride, int64_t rows,
                       int64_t heads, int width, const Row *table, const int64_t *places, int64_t most, float scale,
                       float *out) {
    /* Rows of one prompt are neighbours as a rule, so its keys stay in the cache while one head is done for all. */
#pragma omp parallel
    {
        float *scores = malloc(sizeof(float) * (size_t)(most + 2 * LANES));
        float scaled[MAX_WIDTH];
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads * rows; i++) {
            const int64_t h = i / rows, r = i % rows, t = places ? places[r] : -1;
            const Row row = table[r];
            const int64_t at = r * stride + h * width, to = (r * heads + h) * width, seen = row.seen;
            const float *k = row.keys + h * row.columns * width, *v = row.values + h * row.columns * width;
            float *own_keys = row.tail_keys + h * row.capacity * width;
            float *own_values = row.tail_values + h * row.capacity * width;
            for (int d = 0; d < width; d++) scaled[d] = query[at + d] * scale;
            fit(scaled, k, seen, width, scores);
            if (t >= 0) {
                memcpy(own_keys + t * width, key + at, sizeof(float) * (size_t)width);
                memcpy(own_values + t * width, value + at, sizeof(float) * (size_t)width);
                fit(scaled, own_keys, t + 1, width, scores + seen);
            }
            const int64_t all = seen + (t >= 0 ? t + 1 : 0);
            __m512 most = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
            for (int64_t s = 0; s < all; s += LANES)
                most = _mm512_mask_max_ps(most, tail_mask(all - s), most, _mm512_loadu_ps(scores + s));
            const __m512 largest = _mm512_set1_ps(_mm512_reduce_max_ps(most));
            for (int64_t s = 0; s < all; s += LANES) {
                __mmask16 in = tail_mask(all - s);
                __m512 e = exp_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, scores + s), largest));
                e = _mm512_maskz_mov_ps(in, e);
                total = _mm512_add_ps(total, e);
                _mm512_storeu_ps(scores + s, e);
            }
            const float inverse = 1.0f / _mm512_reduce_add_ps(total);
            for (int64_t s = 0; s < all; s++) scores[s] *= inverse;
            memset(out + to, 0, sizeof(float) * (size_t)width);
            mix(out + to, scores, v, seen, width);
            if (t >= 0) mix(out + to, scores + seen, own_values, t + 1, width);
        }
        free(scores);
    }
}

/* out = LayerNorm(x + added) for n rows of c numbers; `added` may be NULL. Two passes, as the mean must come first. */
TARGET void dgm_add_norm(const float *x, const float *added, int64_t n, int64_t c, const float *weight,
                         const float *bias, float epsilon, float *out) {
#pragma omp parallel for schedule(static) if (n * c > 32768)
    for (int64_t r = 0; r < n; r++) {
        float *y = out + r * c;
        __m512 sum = _mm512_setzero_ps();
        for (int64_t i = 0; i < c; i += LANES) {
            const __mmask16 in = tail_mask(c - i);
            __m512 v = _mm512_maskz_loadu_ps(in, x + r * c + i);
            if (added) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(in, added + r * c + i));
            _mm512_mask_storeu_ps(y + i, in, v);
            sum = _mm512_add_ps(sum, v);
        }
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)c);
        __m512 squares = _mm512_setzero_ps();
        for (int64_t i = 0; i < c; i += LANES) {
            const __mmask16 in = tail_mask(c - i);
            const __m512 d = _mm512_maskz_sub_ps(in, _mm512_maskz_loadu_ps(in, y + i), mean);
            squares = _mm512_fmadd_ps(d, d, squares);
        }
        const __m512 factor = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)c + epsilon));
        for (int64_t i = 0; i < c; i += LANES) {
            const __mmask16 in = tail_mask(c - i);
            const __m512 d = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, y + i), mean), factor);
            const __m512 w = _mm512_maskz_loadu_ps(in, weight + i), b = _mm512_maskz_loadu_ps(in, bias + i);
            _mm512_mask_storeu_ps(y + i, in, _mm512_fmadd_ps(d, w, b));
        }
    }
}
