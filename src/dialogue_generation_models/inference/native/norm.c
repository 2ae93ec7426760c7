#include "layers.h"

/* Two passes, as the mean must come first. */
TARGET void add_norm(const Norm *norm, const float *x, const float *added, int64_t n, float *out) {
    const int64_t c = norm->width;
#pragma omp for schedule(static)
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
        const __m512 factor = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)c + norm->epsilon));
        for (int64_t i = 0; i < c; i += LANES) {
            const __mmask16 in = tail_mask(c - i);
            const __m512 d = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, y + i), mean), factor);
            const __m512 w = _mm512_maskz_loadu_ps(in, norm->weight + i);
            const __m512 b = _mm512_maskz_loadu_ps(in, norm->bias + i);
            _mm512_mask_storeu_ps(y + i, in, _mm512_fmadd_ps(d, w, b));
        }
    }
}

void dgm_add_norm(const Norm *norm, const float *x, const float *added, int64_t n, float *out) {
#pragma omp parallel if (n * norm->width > 32768)
    add_norm(norm, x, added, n, out);
}
