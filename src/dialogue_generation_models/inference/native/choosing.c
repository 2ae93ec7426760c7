/* Kernels that choose among the scores of a vocabulary; `__init__.py` builds and loads them, `choosing.py` checks what
 * they are given.
 *
 * - A row's result depends on that row alone, bit for bit. The rows are shared among the threads.
 * - Nothing sorts the vocabulary. It is cut into blocks of 4 scores, whose maxima tell of a threshold that enough
 *   scores are sure to reach; those that do are put side by side, and are the found. Where few are needed they are
 *   sorted: best first, ties by the lower id. A draw spreads them over buckets, from high scores to low, and sorts
 *   only the buckets in which a limit or the draw itself falls, as with flat scores nearly all tokens are found.
 * - Scores are compared as whole numbers that sort alike, their keys. NaN counts as -inf, and -0 as 0.
 */
#include "vectors.h"

enum {
    BLOCK = 4,           /* vectors that are taken together, lane by lane */
    LEAST = -0x7F800001, /* the key of -inf; those of numbers are larger */
    BITS = 8,            /* that a pass of the sort looks at */
    DIGITS = 1 << BITS,
    BUCKETS = 1024,
};

/* What lies in a bucket, and before it. */
typedef struct {
    int64_t count, first;
    double mass, before;
} Bucket;

/* What a thread works with. */
typedef struct {
    int64_t blocks;
    int32_t *maxima, best;   /* keys: [blocks], and the largest of them */
    float *weights;          /* of the blocks, or of what was found */
    uint64_t *found, *spare; /* the key in the upper half, so that it falls, and the id in the lower */
    int32_t *bucket_of;      /* of what was found */
    Bucket *buckets;
    int64_t opened;  /* the bucket that was opened last, or -1 */
    uint64_t *inside; /* what it holds, sorted */
    float *weights_inside;
} Work;

/* How a token is drawn. */
typedef struct {
    float scale;   /* 1 / temperature */
    int64_t top_k; /* 0: no limit */
    double top_p;  /* 1: no limit */
    float min_gap; /* log of min-p; -inf: no limit */
} Draw;

static int make_work(Work *w, int64_t n) {
    const int64_t together = BLOCK * LANES, room = n + BLOCK * together;
    w->blocks = (n + BLOCK * together - 1) / (BLOCK * together) * together;
    w->maxima = malloc(sizeof(int32_t) * (size_t)w->blocks);
    w->weights = malloc(sizeof(float) * (size_t)room);
    w->found = malloc(sizeof(uint64_t) * (size_t)room);
    w->spare = malloc(sizeof(uint64_t) * (size_t)room);
    w->bucket_of = malloc(sizeof(int32_t) * (size_t)room);
    w->buckets = malloc(sizeof(Bucket) * BUCKETS);
    w->inside = malloc(sizeof(uint64_t) * (size_t)room);
    w->weights_inside = malloc(sizeof(float) * (size_t)room);
    return w->maxima && w->weights && w->found && w->spare && w->bucket_of && w->buckets && w->inside &&
           w->weights_inside;
}

static void free_work(Work *w) {
    free(w->maxima), free(w->weights), free(w->found), free(w->spare);
    free(w->bucket_of), free(w->buckets), free(w->inside), free(w->weights_inside);
}

INLINE __m512 load(const float *x, int64_t i, int64_t n) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), tail_mask(n - i), x + i);
}

/* Bits of negative numbers fall where the numbers rise, so all but the sign are turned round; twice is back again. */
INLINE __m512i turn(__m512i bits) { return _mm512_xor_si512(bits, _mm512_srli_epi32(_mm512_srai_epi32(bits, 31), 1)); }

/* Adding 0 turns -0 into 0; of NaN and -inf, the maximum is -inf. */
INLINE __m512i keys_of(__m512 x) {
    x = _mm512_max_ps(_mm512_add_ps(x, _mm512_setzero_ps()), _mm512_set1_ps(-INFINITY));
    return turn(_mm512_castps_si512(x));
}

INLINE float score_of(int32_t key) { return _mm512_cvtss_f32(_mm512_castsi512_ps(turn(_mm512_set1_epi32(key)))); }

INLINE int32_t key_of(float score) { return _mm512_cvtsi512_si32(keys_of(_mm512_set1_ps(score))); }

INLINE int32_t found_key(uint64_t found) { return (int32_t)((uint32_t)(found >> 32) ^ 0x7FFFFFFF); }

INLINE float total_of(const __m512 *sums) {
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

/* Sum of e**((x - best) * scale), NaN left out; the terms go to `terms`, up to 63 too many, unless it is NULL. */
INLINE float sum_exp(const float *x, int64_t n, float best, float scale, float *terms) {
    const __m512 from = _mm512_set1_ps(best), factor = _mm512_set1_ps(scale);
    __m512 sums[BLOCK]; /* side by side, as one sum alone would wait for itself */
    for (int v = 0; v < BLOCK; v++) sums[v] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += BLOCK * LANES)
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK; v++) {
            const int64_t at = i + v * LANES;
            __mmask16 in = at < n ? tail_mask(n - at) : 0;
            const __m512 y = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, x + at), from), factor);
            const __m512 e = exp_ps(y);
            in = _mm512_mask_cmp_ps_mask(in, y, y, _CMP_ORD_Q);
            sums[v] = _mm512_mask_add_ps(sums[v], in, sums[v], e);
            if (terms) _mm512_storeu_ps(terms + at, e);
        }
    return total_of(sums);
}

/* Take the maxima of the blocks. */
INLINE void take_maxima(Work *w, const float *x, int64_t n) {
    __m512i most = _mm512_set1_epi32(LEAST);
    for (int64_t b = 0; b < w->blocks; b += LANES) {
        __m512i block = _mm512_set1_epi32(LEAST);
        for (int64_t i = b * BLOCK; i < n && i < (b + LANES) * BLOCK; i += LANES)
            block = _mm512_max_epi32(block, keys_of(load(x, i, n)));
        _mm512_storeu_si512(w->maxima + b, block);
        most = _mm512_max_epi32(most, block);
    }
    w->best = _mm512_reduce_max_epi32(most);
}

/* A key, at most the best one's, such that the blocks whose maxima reach it weigh at least `needed` together, and no
 * more than `most` if such a key is met on the way; LEAST if all blocks are not enough. */
INLINE int32_t threshold(const Work *w, float needed, float most) {
    int32_t low = LEAST, high = w->best;
    while (low < high) {
        const int32_t middle = low + (int32_t)(((uint32_t)high - (uint32_t)low + 1) / 2);
        __m512 sums[BLOCK];
        for (int v = 0; v < BLOCK; v++) sums[v] = _mm512_setzero_ps();
        for (int64_t b = 0; b < w->blocks; b += BLOCK * LANES)
#pragma GCC unroll 4
            for (int v = 0; v < BLOCK; v++) {
                const int64_t at = b + v * LANES;
                const __m512i keys = _mm512_loadu_si512(w->maxima + at);
                const __mmask16 in = _mm512_cmpge_epi32_mask(keys, _mm512_set1_epi32(middle));
                sums[v] = _mm512_mask_add_ps(sums[v], in, sums[v], _mm512_loadu_ps(w->weights + at));
            }
        const float reached = total_of(sums);
        if (reached < needed)
            high = middle - 1;
        else if (reached > most)
            low = middle;
        else
            return middle;
    }
    return low;
}

/* A key that at least `count` scores reach. */
INLINE int32_t threshold_of_count(Work *w, int64_t count) {
    for (int64_t b = 0; b < w->blocks; b++) w->weights[b] = 1;
    return threshold(w, (float)count, (float)(count + count / 4));
}

/* A key such that the scores which reach it have at least this mass of the `total`, each e**((x - best) * scale). */
INLINE int32_t threshold_of_mass(Work *w, float mass, float total, float best, float scale) {
    for (int64_t b = 0; b < w->blocks; b += LANES)
        _mm512_storeu_ps(w->weights + b, _mm512_castsi512_ps(turn(_mm512_loadu_si512(w->maxima + b))));
    sum_exp(w->weights, w->blocks, best, scale, w->weights);
    return threshold(w, mass, mass + (total - mass) / 8);
}

/* Put all that reach a key into `found`, ids rising; returns how many they are. */
INLINE int64_t collect(const Work *w, const float *x, int64_t n, int32_t key) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        const __m512i keys = keys_of(load(x, i, n));
        const __mmask16 in = _mm512_mask_cmpge_epi32_mask(tail_mask(n - i), keys, _mm512_set1_epi32(key));
        if (!in) continue;
        /* Falling keys are sorted as rising numbers without a sign. */
        const __m512i falling = _mm512_xor_si512(keys, _mm512_set1_epi32(0x7FFFFFFF));
        const __m512i upper = _mm512_maskz_compress_epi32(in, falling);
        const __m512i lower = _mm512_maskz_compress_epi32(in, _mm512_add_epi32(lanes, _mm512_set1_epi32((int)i)));
        for (int half = 0; half < 2; half++) {
            const __m256i k = half ? _mm512_extracti64x4_epi64(upper, 1) : _mm512_castsi512_si256(upper);
            const __m256i l = half ? _mm512_extracti64x4_epi64(lower, 1) : _mm512_castsi512_si256(lower);
            _mm512_storeu_si512(w->found + count + half * 8,
                                _mm512_or_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(k), 32),
                                                _mm512_cvtepu32_epi64(l)));
        }
        count += __builtin_popcount(in);
    }
    return count;
}

/* Sort by keys what lies in `*list`, with `*room` for as much. A pass keeps the order of what it does not tell apart, so
 * ties stay by id. */
static void sort(uint64_t **list, uint64_t **room, int64_t count) {
    for (int shift = 32; shift < 64; shift += BITS) {
        int32_t places[DIGITS] = {0};
        for (int64_t i = 0; i < count; i++) places[(*list)[i] >> shift & (DIGITS - 1)]++;
        if (count && places[(*list)[0] >> shift & (DIGITS - 1)] == count) continue;
        for (int32_t b = 0, place = 0; b < DIGITS; b++) {
            const int32_t size = places[b];
            places[b] = place, place += size;
        }
        for (int64_t i = 0; i < count; i++) (*room)[places[(*list)[i] >> shift & (DIGITS - 1)]++] = (*list)[i];
        uint64_t *const sorted = *room;
        *room = *list, *list = sorted;
    }
}

INLINE void weigh(const uint64_t *found, int64_t count, float best, float scale, float *weights) {
    for (int64_t i = 0; i < count; i++) weights[i] = score_of(found_key(found[i]));
    sum_exp(weights, count, best, scale, weights);
}

/* Spread what was found over the buckets, which share evenly what lies between the best score and the worst of them.
 * Returns how many have the gap to the best that min-p allows, or a smaller one. */
INLINE int64_t spread(Work *w, int64_t count, float best, float scale, float min_gap) {
    __m512 least = _mm512_set1_ps(INFINITY);
    for (int64_t i = 0; i < count; i++) w->weights[i] = score_of(found_key(w->found[i]));
    int64_t near = 0;
    for (int64_t i = 0; i < count; i += LANES) {
        const __m512 score = _mm512_loadu_ps(w->weights + i);
        const __m512 gap = _mm512_mul_ps(_mm512_sub_ps(score, _mm512_set1_ps(best)), _mm512_set1_ps(scale));
        least = _mm512_mask_min_ps(least, tail_mask(count - i), least, score);
        near += __builtin_popcount(
            _mm512_mask_cmp_ps_mask(tail_mask(count - i), gap, _mm512_set1_ps(min_gap), _CMP_GE_OQ));
    }
    const float range = best - _mm512_reduce_min_ps(least);
    const __m512 factor = _mm512_set1_ps(range > 0 && range < INFINITY ? (BUCKETS - 1) / range : 0);
    for (int64_t i = 0; i < count; i += LANES) {
        const __m512 below = _mm512_sub_ps(_mm512_set1_ps(best), _mm512_loadu_ps(w->weights + i));
        __m512i bucket = _mm512_cvttps_epi32(_mm512_mul_ps(below, factor));
        bucket = _mm512_max_epi32(_mm512_min_epi32(bucket, _mm512_set1_epi32(BUCKETS - 1)), _mm512_setzero_si512());
        _mm512_storeu_si512(w->bucket_of + i, bucket);
    }
    sum_exp(w->weights, count, best, scale, w->weights);
    memset(w->buckets, 0, sizeof(Bucket) * BUCKETS);
    for (int64_t i = 0; i < count; i++) {
        Bucket *const bucket = w->buckets + w->bucket_of[i];
        bucket->count++, bucket->mass += w->weights[i];
    }
    for (int b = 1; b < BUCKETS; b++) {
        const Bucket *const last = w->buckets + b - 1;
        w->buckets[b].first = last->first + last->count, w->buckets[b].before = last->before + last->mass;
    }
    w->opened = -1;
    return near;
}

/* Sort and weigh what one bucket holds. */
INLINE const Bucket *open_bucket(Work *w, int64_t b, int64_t count, float best, float scale) {
    if (w->opened != b) {
        int64_t held = 0;
        for (int64_t i = 0; i < count; i += LANES) {
            const __m512i buckets = _mm512_loadu_si512(w->bucket_of + i);
            __mmask16 in = _mm512_mask_cmpeq_epi32_mask(tail_mask(count - i), buckets, _mm512_set1_epi32((int)b));
            for (; in; in &= in - 1) w->inside[held++] = w->found[i + __builtin_ctz(in)];
        }
        sort(&w->inside, &w->spare, held);
        weigh(w->inside, held, best, scale, w->weights_inside);
        w->opened = b;
    }
    return w->buckets + b;
}

/* The bucket that holds the one at this place. */
static int64_t bucket_at(const Work *w, int64_t place) {
    int64_t b = 0;
    while (w->buckets[b].first + w->buckets[b].count <= place) b++;
    return b;
}

/* The bucket, at most that of this place, in which the mass reaches a limit. */
static int64_t bucket_of_mass(const Work *w, double limit, int64_t place) {
    const int64_t last = bucket_at(w, place);
    int64_t b = 0;
    while (b < last && w->buckets[b].before + w->buckets[b].mass < limit) b++;
    return b;
}

/* How many there are of the first `kept` in the opened bucket and those that tie with the last of them. */
static int64_t with_ties(const Work *w, int64_t kept) {
    const int64_t held = w->buckets[w->opened].count;
    while (kept < held && w->inside[kept] >> 32 == w->inside[kept - 1] >> 32) kept++;
    return kept;
}

/* The mass of the first `kept` of all; the last of them is in the opened bucket. */
static double mass_of(const Work *w, int64_t kept) {
    const Bucket *const bucket = w->buckets + w->opened;
    double mass = bucket->before;
    for (int64_t i = 0; i < kept - bucket->first; i++) mass += w->weights_inside[i];
    return mass;
}

/* How many of the first `kept` of all lie in a bucket. */
static int64_t held(const Bucket *bucket, int64_t kept) {
    return bucket->count < kept - bucket->first ? bucket->count : kept - bucket->first;
}

/* Pick from what was spread: the limits in turn, then the token at which the mass passes the number. */
TARGET static int64_t pick(Work *w, int64_t count, int64_t near, const Draw *d, double number, float best,
                           double total) {
    const Bucket *bucket;
    int64_t kept = count;
    if (d->top_k && d->top_k < count) {
        bucket = open_bucket(w, bucket_at(w, d->top_k - 1), count, best, d->scale);
        kept = bucket->first + with_ties(w, d->top_k - bucket->first);
    }
    if (d->top_k) {
        open_bucket(w, bucket_at(w, kept - 1), count, best, d->scale);
        total = mass_of(w, kept);
    }
    if (d->top_p < 1) {
        const double limit = d->top_p * total;
        bucket = open_bucket(w, bucket_of_mass(w, limit, kept - 1), count, best, d->scale);
        double mass = bucket->before;
        int64_t needed = 0;
        do mass += w->weights_inside[needed++];
        while (needed < held(bucket, kept) && mass < limit);
        kept = bucket->first + with_ties(w, needed);
    }
    if (near < kept) kept = near > 1 ? near : 1;
    if (d->top_p < 1 || d->min_gap > -INFINITY) {
        open_bucket(w, bucket_at(w, kept - 1), count, best, d->scale);
        total = mass_of(w, kept);
    }
    /* The first place whose mass, with all before it, is above the number's; a whole bucket may be passed at once. */
    const double aim = number * total;
    int64_t b = 0;
    const int64_t last = bucket_at(w, kept - 1);
    while (b < last && (w->buckets[b].count == 0 || w->buckets[b].before + w->buckets[b].mass <= aim)) b++;
    bucket = open_bucket(w, b, count, best, d->scale);
    int64_t place = 0;
    double mass = bucket->before + w->weights_inside[0];
    while (place < held(bucket, kept) - 1 && mass <= aim) mass += w->weights_inside[++place];
    return (int64_t)(uint32_t)w->inside[place];
}

/* Draw from one row, by looking at those of the best that the draw depends on. */
TARGET static int64_t draw(Work *w, const float *x, int64_t n, const Draw *d, double number) {
    take_maxima(w, x, n);
    const float best = score_of(w->best), total = sum_exp(x, n, best, d->scale, NULL);
    int32_t key;
    if (d->top_k)
        key = threshold_of_count(w, d->top_k);
    else if (d->top_p < 1 || d->min_gap == -INFINITY)
        key = threshold_of_mass(w, total * (float)(d->top_p < 1 ? d->top_p : number), total, best, d->scale);
    else /* a little lower, as it is not rounded like the scores' differences */
        key = key_of(best - 1e-6f * fabsf(best) + 1.00001f * d->min_gap / d->scale);
    const int64_t count = collect(w, x, n, key == LEAST ? LEAST + 1 : key); /* -inf is never drawn */
    if (count == 0) return 0;
    const int64_t near = spread(w, count, best, d->scale, d->min_gap);
    return pick(w, count, near, d, number, best, total);
}

/* Draw a token of each row, x [n, m], by its number in [0, 1). Returns 0 if there is no memory. */
TARGET int dgm_draw(const float *x, int64_t n, int64_t m, const double *numbers, float scale, int64_t top_k,
                    double top_p, float min_gap, int64_t *tokens) {
    const Draw d = {.scale = scale, .top_k = top_k, .top_p = top_p, .min_gap = min_gap};
    int is_done = 1;
#pragma omp parallel if (n > 1) reduction(&& : is_done)
    {
        Work w;
        is_done = make_work(&w, m);
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < n; r++)
            if (is_done) tokens[r] = draw(&w, x + r * m, m, &d, numbers[r]);
        free_work(&w);
    }
    return is_done;
}

/* The `count` best of each row, x [n, m], best first, and their ids. Returns 0 if there is no memory. */
TARGET int dgm_best(const float *x, int64_t n, int64_t m, int64_t count, float *scores, int64_t *ids) {
    int is_done = 1;
#pragma omp parallel if (n > 1) reduction(&& : is_done)
    {
        Work w;
        is_done = make_work(&w, m);
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < n; r++) {
            if (!is_done) continue;
            take_maxima(&w, x + r * m, m);
            sort(&w.found, &w.spare, collect(&w, x + r * m, m, threshold_of_count(&w, count)));
            for (int64_t i = 0; i < count; i++) {
                scores[r * count + i] = score_of(found_key(w.found[i]));
                ids[r * count + i] = (int64_t)(uint32_t)w.found[i];
            }
        }
        free_work(&w);
    }
    return is_done;
}

TARGET static float log_total(const float *row, int64_t m) {
    __m512 most = _mm512_set1_ps(-INFINITY);
    __mmask16 is_nan = 0;
    for (int64_t i = 0; i < m; i += LANES) {
        const __m512 v = load(row, i, m);
        most = _mm512_max_ps(most, v);
        is_nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    }
    const float best = _mm512_reduce_max_ps(most);
    return is_nan ? NAN : isinf(best) ? best : best + logf(sum_exp(row, m, best, 1.0f, NULL));
}

/* out[r] = log of the sum of e**x over row r of x [n, m]; NaN if there is one, -inf if all are. */
void dgm_log_total(const float *x, int64_t n, int64_t m, float *out) {
#pragma omp parallel for schedule(dynamic) if (n > 1)
    for (int64_t r = 0; r < n; r++) out[r] = log_total(x + r * m, m);
}
