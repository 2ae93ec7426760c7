/* Attention of new tokens, one a row, to the keys of a prompt that rows share and to those of their own reply. */
#include "layers.h"

enum { MAX_WIDTH = 256 }; /* of a head */
static const float LARGEST_HALF = 65504.0f;

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

/* A place in an array of numbers of 16 or 32 bits. */
INLINE const void *at(const void *numbers, int64_t place, int is_half) {
    return (const char *)numbers + place * (is_half ? 2 : 4);
}

INLINE __m512 load(const void *numbers, int64_t place, int is_half, __mmask16 in) {
    const void *from = at(numbers, place, is_half);
    return is_half ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, from)) : _mm512_maskz_loadu_ps(in, from);
}

/* Keep `width` numbers at a place; what 16 bits cannot hold becomes the largest that they can. NaN stays NaN, as minimum
 * and maximum give their second operand then. */
INLINE void keep(void *numbers, int64_t place, const float *from, int64_t width, int is_half) {
    char *to = (char *)numbers + place * (is_half ? 2 : 4);
    if (!is_half) {
        memcpy(to, from, sizeof(float) * (size_t)width);
        return;
    }
    const __m512 most = _mm512_set1_ps(LARGEST_HALF), least = _mm512_set1_ps(-LARGEST_HALF);
    for (int64_t d = 0; d < width; d += LANES) {
        const __m512 x = _mm512_min_ps(most, _mm512_max_ps(least, _mm512_loadu_ps(from + d)));
        _mm256_storeu_si256((__m256i *)(to + 2 * d), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
}

INLINE __m512 product(const float *query, const void *keys, int64_t place, int64_t width, int is_half) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(query + d), load(keys, place + d, is_half, 0xFFFF), sum);
    return sum;
}

/* scores[s] = keys[s] . query for n keys of `width` numbers; writes up to 3 scores more than n. */
INLINE void fit(const float *query, const void *keys, int64_t n, int64_t width, int is_half, float *scores) {
    for (int64_t s = 0; s < n; s += 4) {
        __m512 sums[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sums[i] = product(query, keys, (s + i < n ? s + i : n - 1) * width, width, is_half);
        _mm_storeu_ps(scores + s, sum_each(sums[0], sums[1], sums[2], sums[3]));
    }
}

/* out += weights . values, four vectors of `out` at once, as one sum alone would wait for itself. */
INLINE void mix(float *out, const float *weights, const void *values, int64_t n, int64_t width, int is_half) {
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
                    weight, load(values, s * width + first + v * LANES, is_half, in[v]), sums[v]);
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) _mm512_mask_storeu_ps(out + first + v * LANES, in[v], sums[v]);
    }
}

INLINE void attend_in(const Heads *heads, int64_t n, const Sight *sight, const int64_t *places, float *out,
                      int is_half) {
    const int64_t width = heads->width;
    const float scale = 1.0f / sqrtf((float)width);
    /* Rows of one prompt are neighbours as a rule, so its keys stay in the cache while one head is done for all. */
    float *scores = malloc(sizeof(float) * (size_t)(sight->most + 2 * LANES));
    float scaled[MAX_WIDTH];
#pragma omp for schedule(static)
    for (int64_t i = 0; i < heads->heads * n; i++) {
        const int64_t h = i / n, r = i % n, t = places ? places[r] : -1;
        const Row row = sight->table[r];
        const int64_t from = r * heads->stride + h * width, to = (r * heads->heads + h) * width, seen = row.seen;
        const int64_t shared = h * row.columns * width, own = h * row.capacity * width;
        for (int64_t d = 0; d < width; d++) scaled[d] = heads->query[from + d] * scale;
        fit(scaled, at(row.keys, shared, is_half), seen, width, is_half, scores);
        if (t >= 0) {
            keep(row.tail_keys, own + t * width, heads->key + from, width, is_half);
            keep(row.tail_values, own + t * width, heads->value + from, width, is_half);
            fit(scaled, at(row.tail_keys, own, is_half), t + 1, width, is_half, scores + seen);
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
        mix(out + to, scores, at(row.values, shared, is_half), seen, width, is_half);
        if (t >= 0) mix(out + to, scores + seen, at(row.tail_values, own, is_half), t + 1, width, is_half);
    }
    free(scores);
}

TARGET void attend(const Heads *heads, int64_t n, const Sight *sight, const int64_t *places, float *out) {
    if (sight->is_half) attend_in(heads, n, sight, places, out, 1);
    else attend_in(heads, n, sight, places, out, 0);
}

void dgm_attend(const Heads *heads, int64_t n, const Sight *sight, const int64_t *places, float *out) {
#pragma omp parallel
    attend(heads, n, sight, places, out);
}
