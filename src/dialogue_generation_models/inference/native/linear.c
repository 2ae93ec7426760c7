/* Products in whole numbers of 8 bits.
 *
 * - Weights are stored as u8 = w + 128 in panels of 32 outputs: for every 4 inputs, the 4 bytes of each output,
 *   what a VNNI instruction multiplies and adds. So a panel is read from front to back.
 * - Activations are s8 and lie in blocks of rows: of up to 12 for VNNI, for every 4 inputs the 4 bytes of each row;
 *   of up to 16 for the tiles of AMX, for every 64 inputs the 64 bytes of each row.
 * - Sums are whole and exact, so both ways give the same bits. 128 times the sum of a row's numbers is taken off them
 *   at the end, for the 128 of the weights.
 */
#include "layers.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Compilers know AMX from these versions on. */
#if __GNUC__ >= 11 || __clang_major__ >= 12
#define KNOWS_TILES 1
#define TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,amx-tile,amx-int8")))
#else
#define KNOWS_TILES 0
#endif

enum {
    DEPTH = 4,       /* inputs that a VNNI instruction multiplies and adds */
    PANEL = 32,      /* outputs whose weights lie together: two vectors of sums a row */
    ROWS = 12,       /* rows of a block: 12 x 2 sums, 2 weights and a broadcast stay in the 32 registers */
    TILE_DEPTH = 64, /* inputs that an AMX instruction multiplies and adds */
    TILE_ROWS = 16,  /* rows of a block for AMX */
};

int dgm_is_supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

/* Whether the processor has tiles and the system lets this process use them. */
int dgm_has_tiles(void) {
#if KNOWS_TILES
    enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };      /* leaf 7 of cpuid, edx */
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* arch_prctl(2): ARCH_REQ_XCOMP_PERM */
    unsigned int a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & AMX_TILE && d & AMX_INT8 &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
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
    const Linear *layer;
    const float *x;
    float *out;
    int64_t rows, steps, blocks; /* a step is DEPTH inputs */
    int8_t *rounded;             /* block by block */
    float *scales;               /* [rows] */
    int32_t *weight_offsets;     /* [rows], what the weights' 128 add to each sum */
} Work;

/* The first row of a block. The blocks share the rows evenly: 20 rows are 2 times 10. */
INLINE int64_t block_start(const Work *w, int64_t block) {
    const int64_t size = w->rows / w->blocks, larger = w->rows % w->blocks;
    return block * size + (block < larger ? block : larger);
}

/* Round one row to whole numbers of 8 bits; a row that is not finite gets NaN as its scale. Its every `piece` bytes are
 * written to `out`, `stride` bytes apart. */
TARGET static void round_row(const Work *w, int64_t row, int64_t piece, int64_t stride, int8_t *out) {
    const int64_t inputs = w->layer->inputs;
    const float *x = w->x + row * inputs;
    /* The bits of |x| sort as |x| does, with infinity and then NaN above all numbers. */
    __m512i most = _mm512_setzero_si512();
    for (int64_t i = 0; i < inputs; i += LANES) {
        const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(tail_mask(inputs - i), x + i));
        most = _mm512_max_epu32(most, _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF)));
    }
    const uint32_t bits = _mm512_reduce_max_epu32(most);
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    const int is_finite = bits < 0x7F800000;
    const __m512 factor = _mm512_set1_ps(is_finite && largest > 1e-35f ? 127.0f / largest : 0.0f);
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < inputs; i += LANES) {
        const __m512 v = _mm512_maskz_loadu_ps(tail_mask(inputs - i), x + i);
        const __m512i q = is_finite ? _mm512_cvtps_epi32(_mm512_mul_ps(v, factor)) : _mm512_setzero_si512();
        total = _mm512_add_epi32(total, q);
        const __m128i bytes = _mm512_cvtsepi32_epi8(q);
        if (piece == TILE_DEPTH) {
            _mm_storeu_si128((__m128i *)(out + i / piece * stride + i % piece), bytes);
            continue;
        }
        int32_t fours[LANES / DEPTH];
        _mm_storeu_si128((__m128i *)fours, bytes);
        for (int64_t f = 0; f < LANES / DEPTH && i + f * DEPTH < inputs; f++)
            memcpy(out + (i / DEPTH + f) * stride, &fours[f], DEPTH);
    }
    w->scales[row] = is_finite ? largest / 127.0f : NAN;
    w->weight_offsets[row] = 128 * _mm512_reduce_add_epi32(total);
}

/* Scale the sums of a block and panel, add the bias, apply the activation. */
TARGET __attribute__((noinline)) static void finish(const Work *w, int64_t rows, int64_t row, int64_t panel,
                                                    const __m512i (*sums)[2]) {
    const Linear *l = w->layer;
    for (int half = 0; half < 2; half++) {
        const int64_t first = panel * PANEL + half * LANES;
        if (first >= l->outputs) break;
        const __mmask16 in = tail_mask(l->outputs - first);
        const __m512 of_weights = _mm512_maskz_loadu_ps(in, l->scales + first);
        const __m512 added = l->bias ? _mm512_maskz_loadu_ps(in, l->bias + first) : _mm512_setzero_ps();
        for (int64_t r = 0; r < rows; r++) {
            const __m512i sum = _mm512_sub_epi32(sums[r][half], _mm512_set1_epi32(w->weight_offsets[row + r]));
            const __m512 factor = _mm512_mul_ps(of_weights, _mm512_set1_ps(w->scales[row + r]));
            __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, added);
            if (l->activation == GELU_TANH) y = gelu_ps(y);
            _mm512_mask_storeu_ps(w->out + (row + r) * l->outputs + first, in, y);
        }
    }
}

INLINE void fetch(const uint8_t *ahead, int64_t bytes) {
    for (int64_t b = 0; b < bytes; b += LANES * DEPTH) _mm_prefetch((const char *)ahead + b, _MM_HINT_T1);
}

/* One panel times one block, while `ahead` is fetched from memory. `rows` is a constant where this is inlined. */
INLINE void multiply(const Work *work, int rows, int64_t row, int64_t panel, const uint8_t *ahead,
                     int64_t ahead_step) {
    const uint8_t *w = work->layer->weights + panel * work->steps * PANEL * DEPTH;
    const int32_t *x = (const int32_t *)work->rounded + row * work->steps;
    __m512i sums[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm512_setzero_si512();
    for (int64_t step = 0; step < work->steps; step++, x += rows, w += PANEL * DEPTH, ahead += ahead_step) {
        __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + LANES * DEPTH);
        /* GCC would rather load them again for each row, and then wait for loads. */
        __asm__("" : "+v"(w0), "+v"(w1));
        fetch(ahead, PANEL * DEPTH);
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
    finish(work, rows, row, panel, done);
}

#define CASE(ROWS) case ROWS: multiply(w, ROWS, row, panel, ahead, ahead_step); break;

/* One panel times all rows. Every block's pass fetches its part of the next panel, so that memory never rests. */
TARGET static void multiply_panel(const Work *w, int64_t panel) {
    const int64_t bytes = w->steps * PANEL * DEPTH, ahead_step = PANEL * DEPTH / w->blocks;
    for (int64_t block = 0; block < w->blocks; block++) {
        const uint8_t *ahead = w->layer->weights + (panel + 1) * bytes + block * w->steps * ahead_step;
        const int64_t row = block_start(w, block);
        switch (block_start(w, block + 1) - row) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
        }
    }
}

#if KNOWS_TILES
/* Tell the processor how large the tiles are: 0 to 3 are sums, 4 and 5 activations, 6 and 7 weights. Blocks that are a row
 * shorter than others read a row too many, which nobody looks at. */
TILES static void shape_tiles(const Work *w) {
    struct {
        uint8_t palette, start_row, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    const int64_t rows = (w->rows + w->blocks - 1) / w->blocks;
    for (int tile = 0; tile < 8; tile++) {
        shape.bytes[tile] = TILE_DEPTH;
        shape.rows[tile] = (uint8_t)(tile < 6 ? rows : TILE_DEPTH / DEPTH);
    }
    _tile_loadconfig(&shape);
}

/* One panel times one block or two. */
TILES __attribute__((always_inline)) static inline void multiply_tiles(
    const Work *work, int is_pair, int64_t block, int64_t panel, const uint8_t *ahead, int64_t ahead_step) {
    enum { STEP = PANEL * TILE_DEPTH, HALF = LANES * DEPTH };
    const int64_t inputs = work->layer->inputs, row = block_start(work, block);
    const int64_t middle = block_start(work, block + 1), end = is_pair ? block_start(work, block + 2) : middle;
    const uint8_t *w = work->layer->weights + panel * inputs * PANEL;
    const int8_t *x = work->rounded + row * inputs, *y = work->rounded + middle * inputs;
    __m512i sums[2][TILE_ROWS][2];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < inputs; i += TILE_DEPTH, w += STEP, ahead += ahead_step) {
        _tile_loadd(6, w, PANEL * DEPTH);
        _tile_loadd(7, w + HALF, PANEL * DEPTH);
        _tile_loadd(4, x + i * (middle - row), TILE_DEPTH);
        fetch(ahead, ahead_step);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        if (is_pair) {
            _tile_loadd(5, y + i * (end - middle), TILE_DEPTH);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
        }
    }
    _tile_stored(0, &sums[0][0][0], sizeof sums[0][0]);
    _tile_stored(1, &sums[0][0][1], sizeof sums[0][0]);
    finish(work, middle - row, row, panel, sums[0]);
    if (!is_pair) return;
    _tile_stored(2, &sums[1][0][0], sizeof sums[1][0]);
    _tile_stored(3, &sums[1][0][1], sizeof sums[1][0]);
    finish(work, end - middle, middle, panel, sums[1]);
}

/* As `multiply_panel`, but two blocks at once, for which a panel is read once from the cache. */
TILES static void multiply_panel_by_tiles(const Work *w, int64_t panel) {
    const int64_t inputs = w->layer->inputs, bytes = inputs * PANEL, passes = (w->blocks + 1) / 2;
    const int64_t ahead_step = PANEL * TILE_DEPTH / passes;
    for (int64_t block = 0; block < w->blocks; block += 2) {
        const uint8_t *ahead = w->layer->weights + (panel + 1) * bytes + block / 2 * (inputs / TILE_DEPTH) * ahead_step;
        if (block + 1 < w->blocks) multiply_tiles(w, 1, block, panel, ahead, ahead_step);
        else multiply_tiles(w, 0, block, panel, ahead, ahead_step);
    }
}

TILES static void multiply_by_tiles(const Work *w, int64_t panels) {
    shape_tiles(w);
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < panels; panel++) multiply_panel_by_tiles(w, panel);
    _tile_release();
}
#else
static void multiply_by_tiles(const Work *w, int64_t panels) { (void)w, (void)panels; }
#endif

TARGET void linear(const Linear *layer, const float *x, int64_t n, float *out, int8_t *scratch, int with_tiles) {
    if (n == 0) return;
    const int by_tiles = with_tiles && n > 1 && layer->inputs % TILE_DEPTH == 0;
    const int64_t most_rows = by_tiles ? TILE_ROWS : ROWS, piece = by_tiles ? TILE_DEPTH : DEPTH;
    const int64_t panels = (layer->outputs + PANEL - 1) / PANEL;
    float *scales = (float *)scratch;
    const Work w = {
        .layer = layer, .x = x, .out = out, .rows = n,
        .steps = (layer->inputs + DEPTH - 1) / DEPTH, .blocks = (n + most_rows - 1) / most_rows,
        .scales = scales, .weight_offsets = (int32_t *)(scales + n), .rounded = (int8_t *)(scales + 2 * n),
    };
#pragma omp for schedule(static)
    for (int64_t block = 0; block < w.blocks; block++) {
        const int64_t start = block_start(&w, block), end = block_start(&w, block + 1);
        int8_t *rounded = w.rounded + start * w.steps * DEPTH;
        for (int64_t row = start; row < end; row++)
            round_row(&w, row, piece, (end - start) * piece, rounded + (row - start) * piece);
    }
    if (by_tiles) {
        multiply_by_tiles(&w, panels);
        return;
    }
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < panels; panel++) multiply_panel(&w, panel);
}

void dgm_linear(const Linear *layer, const float *x, int64_t n, float *out, int8_t *scratch, int with_tiles) {
#pragma omp parallel
    linear(layer, x, n, out, scratch, with_tiles);
}
