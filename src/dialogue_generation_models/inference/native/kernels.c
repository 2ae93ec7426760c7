/* Kernels for decoding on x86-64 processors with AVX-512 VNNI; `__init__.py` builds, loads and checks them.
 *
 * - A row's result depends on that row alone, bit for bit: not on how many rows there are, nor on the threads.
 * - Weights are stored as u8 = w + 128 in blocks of 16 outputs x 4 inputs, what one VNNI instruction multiplies.
 *   Activations are s8, so that they can be broadcast from memory; 128 times their sum is taken off at the end.
 * - Threads are OpenMP's. torch loads the same libgomp first, so both share one pool and never fight over cores.
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum {
    LANES = 16,       /* 32-bit lanes of a vector, and outputs of a weight block */
    DEPTH = 4,        /* inputs of a weight block */
    BLOCKS = 4,       /* weight blocks side by side in a tile */
    ROWS = 6,         /* rows of a tile: 6 x 4 sums, 4 weights and a broadcast stay in the 32 registers */
    MAX_WIDTH = 256,  /* of an attention head */
};

enum { NONE = 0, GELU_TANH = 1 };

int dgm_is_supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

/* e**x to about 1e-7: 2**n from the exponent bits, the rest by a polynomial (Cephes' expf). */
INLINE __m512 exp_ps(__m512 x) {
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(88.0f)), _mm512_set1_ps(-87.0f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

/* x / (1 + e**-2z), z = sqrt(2/pi) (x + 0.044715 x**3): the tanh form of GELU. */
INLINE __m512 gelu_ps(__m512 x) {
    __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
    __m512 z = _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715f), x);
    __m512 e = exp_ps(_mm512_mul_ps(z, _mm512_set1_ps(-1.5957691216f)));
    return _mm512_div_ps(x, _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
}

INLINE __mmask16 tail_mask(int64_t left) { return left >= LANES ? 0xFFFF : (__mmask16)((1u << left) - 1); }

/* One row in whole numbers of 8 bits, filled up with zeros; a row that is not finite gets a scale that is not. */
TARGET static void quantize_row(const float *x, int64_t k, int64_t padded, int8_t *out, float *scale, int32_t *sum) {
    const __m512 sign = _mm512_castsi512_ps(_mm512_set1_epi32(0x7FFFFFFF));
    __m512 most = _mm512_setzero_ps(), bad = _mm512_setzero_ps();
    for (int64_t i = 0; i < k; i += LANES) {
        __m512 v = _mm512_maskz_loadu_ps(tail_mask(k - i), x + i);
        most = _mm512_max_ps(most, _mm512_and_ps(v, sign));
        bad = _mm512_fmadd_ps(v, _mm512_setzero_ps(), bad);
    }
    float largest = _mm512_reduce_max_ps(most);
    const __m512 factor = _mm512_set1_ps(largest > 0.0f ? 127.0f / largest : 0.0f);
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < padded; i += LANES) {
        __mmask16 in = i < k ? tail_mask(k - i) : 0;
        __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(in, x + i), factor));
        total = _mm512_add_epi32(total, q);
        _mm_mask_storeu_epi8(out + i, tail_mask(padded - i), _mm512_cvtsepi32_epi8(q));
    }
    *scale = largest / 127.0f + _mm512_reduce_add_ps(bad);
    *sum = 128 * _mm512_reduce_add_epi32(total);
}

/* What a tile of rows x 64 outputs is made of. */
typedef struct {
    const int8_t *x;            /* rounded rows, `padded` apart */
    const float *scales;        /* of the rows */
    const int32_t *sums;        /* of the rows, times 128 */
    int64_t padded;
    const uint8_t *weights;     /* four blocks, `padded` * 16 apart */
    const float *weight_scales, *bias;
    int activation;
    float *out;
    int64_t stride, outputs;    /* numbers between rows of `out`; outputs left, 64 or fewer at the end */
} Tile;

/* Scale the sums, add the bias, apply the activation. Not inlined: it would take the products' registers. */
TARGET __attribute__((noinline)) static void finish(const Tile *t, int rows, const __m512i *sums) {
    for (int b = 0; b < BLOCKS && b * LANES < t->outputs; b++) {
        const __mmask16 in = tail_mask(t->outputs - b * LANES);
        const __m512 of_weights = _mm512_maskz_loadu_ps(in, t->weight_scales + b * LANES);
        const __m512 added = t->bias ? _mm512_maskz_loadu_ps(in, t->bias + b * LANES) : _mm512_setzero_ps();
        for (int r = 0; r < rows; r++) {
            const __m512 factor = _mm512_mul_ps(of_weights, _mm512_set1_ps(t->scales[r]));
            __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r * BLOCKS + b]), factor, added);
            if (t->activation == GELU_TANH) y = gelu_ps(y);
            _mm512_mask_storeu_ps(t->out + r * t->stride + b * LANES, in, y);
        }
    }
}

/* The sums have names of their own, as compilers keep an array of them in memory. */
#define BEGIN(R)                                                                   \
    __m512i s##R##0 = _mm512_set1_epi32(-t->sums[R]), s##R##1 = s##R##0, s##R##2 = s##R##0, s##R##3 = s##R##0;
#define ADD(R)                                                                     \
    {                                                                              \
        int32_t four;                                                              \
        memcpy(&four, x + R * padded + k, sizeof four);                            \
        const __m512i v = _mm512_set1_epi32(four);                                 \
        s##R##0 = _mm512_dpbusd_epi32(s##R##0, w0, v);                             \
        s##R##1 = _mm512_dpbusd_epi32(s##R##1, w1, v);                             \
        s##R##2 = _mm512_dpbusd_epi32(s##R##2, w2, v);                             \
        s##R##3 = _mm512_dpbusd_epi32(s##R##3, w3, v);                             \
    }
#define END(R) sums[R * 4] = s##R##0, sums[R * 4 + 1] = s##R##1, sums[R * 4 + 2] = s##R##2, sums[R * 4 + 3] = s##R##3;
#define EACH_OF_1(F) F(0)
#define EACH_OF_2(F) EACH_OF_1(F) F(1)
#define EACH_OF_3(F) EACH_OF_2(F) F(2)
#define EACH_OF_4(F) EACH_OF_3(F) F(3)
#define EACH_OF_5(F) EACH_OF_4(F) F(4)
#define EACH_OF_6(F) EACH_OF_5(F) F(5)
#define TILE(ROWS)                                                                 \
    TARGET static void tile_of_##ROWS(const Tile *t) {                             \
        const int64_t padded = t->padded, apart = padded * LANES;                  \
        const int8_t *x = t->x;                                                    \
        const uint8_t *w = t->weights;                                             \
        EACH_OF_##ROWS(BEGIN)                                                      \
        for (int64_t k = 0; k < padded; k += DEPTH, w += DEPTH * LANES) {          \
            const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + apart),       \
                          w2 = _mm512_loadu_si512(w + 2 * apart), w3 = _mm512_loadu_si512(w + 3 * apart); \
            EACH_OF_##ROWS(ADD)                                                    \
        }                                                                          \
        __m512i sums[ROWS * BLOCKS];                                               \
        EACH_OF_##ROWS(END)                                                        \
        finish(t, ROWS, sums);                                                     \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)

static void (*const tile_of[ROWS])(const Tile *) = {tile_of_1, tile_of_2, tile_of_3, tile_of_4, tile_of_5, tile_of_6};

/* out [n, m] = activation(x [n, k] W + bias), W packed [m/16, k/4, 16, 4] with m a multiple of 64; scratch holds n * (padded + 8) bytes. */
TARGET void dgm_linear_int8(const float *x, int64_t n, int64_t k, const uint8_t *packed, const float *weight_scales,
                            const float *bias, int64_t m, int activation, float *out, int8_t *scratch) {
    const int64_t padded = (k + DEPTH - 1) / DEPTH * DEPTH;
    const int64_t groups = (m + LANES * BLOCKS - 1) / (LANES * BLOCKS);
    float *scales = (float *)scratch;
    int32_t *sums = (int32_t *)(scales + n);
    int8_t *rounded = (int8_t *)(sums + n);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < n; r++) quantize_row(x + r * k, k, padded, rounded + r * padded, scales + r, sums + r);
#pragma omp for schedule(static)
        for (int64_t g = 0; g < groups; g++) {
            const int64_t first = g * LANES * BLOCKS;
            /* The tiles share the rows evenly: 20 rows are 4 times 5. */
            for (int64_t r = 0, tiles = (n + ROWS - 1) / ROWS; tiles > 0; tiles--) {
                const int64_t count = (n - r + tiles - 1) / tiles;
                const Tile t = {
                    rounded + r * padded, scales + r, sums + r, padded, packed + first * padded, weight_scales + first,
                    bias ? bias + first : NULL, activation, out + r * m + first, m, m - first,
                };
                tile_of[count - 1](&t);
                r += count;
            }
        }
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

/* One new token a row, `stride` numbers apart, looks at its prompt's keys, [p, h, s, d] from `first` to `last`, and at its own tail,
 * [r, h, capacity, d], to whose place `t` its key and value go first. Without a tail (t < 0) only at the prompt. */
TARGET void dgm_attend(const float *query, const float *key, const float *value, int64_t stride, int64_t rows,
                       int64_t heads, int width,
                       const float *keys, const float *values, int64_t columns, const int64_t *prompts,
                       const int64_t *first, const int64_t *last, float *tail_keys, float *tail_values,
                       int64_t capacity, int64_t t, float scale, float *out) {
    /* Rows of one prompt are neighbours as a rule, so its keys stay in the cache while one head is done for all. */
#pragma omp parallel
    {
        float *scores = malloc(sizeof(float) * (size_t)(columns + capacity + 2 * LANES));
        float scaled[MAX_WIDTH];
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads * rows; i++) {
            const int64_t h = i / rows, r = i % rows, p = prompts[r];
            const int64_t at = r * stride + h * width, to = (r * heads + h) * width;
            const int64_t begin = first[p], seen = last[p] - begin;
            const float *k = keys + ((p * heads + h) * columns + begin) * width;
            const float *v = values + ((p * heads + h) * columns + begin) * width;
            float *own_keys = tail_keys + to * capacity;
            float *own_values = tail_values + to * capacity;
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
