/* Attention of new tokens, one a row, to the keys of a prompt that rows share and to those of their own reply. */
#include "layers.h"

enum { MAX_WIDTH = 256 }; /* of a head */

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

INLINE __m512 product(const float *query, const float *key, int64_t width) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(query + d), _mm512_loadu_ps(key + d), sum);
    return sum;
}

/* scores[s] = keys[s] . query for n keys of `width` numbers; writes up to 3 scores more than n. */
INLINE void fit(const float *query, const float *keys, int64_t n, int64_t width, float *scores) {
    for (int64_t s = 0; s < n; s += 4) {
        const float *a = keys + s * width, *b = s + 1 < n ? a + width : a, *c = s + 2 < n ? b + width : a,
                    *d = s + 3 < n ? c + width : a;
        _mm_storeu_ps(scores + s, sum_each(product(query, a, width), product(query, b, width),
                                           product(query, c, width), product(query, d, width)));
    }
}

/* out += weights . values, four vectors of `out` at once, as one sum alone would wait for itself. */
INLINE void mix(float *out, const float *weights, const float *values, int64_t n, int64_t width) {
    for (int64_t first = 0; first < width; first += 4 * LANES) {
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

TARGET void attend(const Heads *heads, int64_t n, const Sight *sight, const int64_t *places, float *out) {
    const int64_t width = heads->width;
    const float scale = 1.0f / sqrtf((float)width);
    /* Rows of one prompt are neighbours as a rule, so its keys stay in the cache while one head is done for all. */
    float *scores = malloc(sizeof(float) * (size_t)(sight->most + 2 * LANES));
    float scaled[MAX_WIDTH];
#pragma omp for schedule(static)
    for (int64_t i = 0; i < heads->heads * n; i++) {
        const int64_t h = i / n, r = i % n, t = places ? places[r] : -1;
        const Row row = sight->table[r];
        const int64_t at = r * heads->stride + h * width, to = (r * heads->heads + h) * width, seen = row.seen;
        const float *k = row.keys + h * row.columns * width, *v = row.values + h * row.columns * width;
        float *own_keys = row.tail_keys + h * row.capacity * width;
        float *own_values = row.tail_values + h * row.capacity * width;
        for (int64_t d = 0; d < width; d++) scaled[d] = heads->query[at + d] * scale;
        fit(scaled, k, seen, width, scores);
        if (t >= 0) {
            memcpy(own_keys + t * width, heads->key + at, sizeof(float) * (size_t)width);
            memcpy(own_values + t * width, heads->value + at, sizeof(float) * (size_t)width);
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

void dgm_attend(const Heads *heads, int64_t n, const Sight *sight, const int64_t *places, float *out) {
#pragma omp parallel
    attend(heads, n, sight, places, out);
}
