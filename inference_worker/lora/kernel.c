/* y += x·Aᵀ·Bᵀ for the tokens of each adapter of a batch: the whole LoRA side of one module in one call.
 *
 * Compiled by kernel.py with the machine's gcc, called by punica.py through ctypes from the thread that runs the model.
 * All memory is the caller's. Integers and pointers of the tables are 64 bits, so that Python can fill them as arrays.
 *
 * A is read where vLLM keeps it: [slots, 1, maximal rank, in], row-major. B is packed by lora_pack in blocks of 16
 * outputs, so that the outputs are summed side by side in one register and no sum runs across it:
 *
 *     float32, bfloat16 without AVX512-BF16:  [block][rank][16]
 *     bfloat16 with AVX512-BF16:              [block][rank / 2][16][2]   (two ranks are one operand of VDPBF16PS)
 *
 * Sums are float32, and each y is rounded once, to nearest even. With AVX512-BF16 the shrunk x·Aᵀ is rounded to bfloat16
 * between the two products, as PEFT's and vLLM's own bfloat16 do.
 *
 * Work is split by tokens, which share nothing but the weights: no barrier between the products, and one thread does
 * small work alone. `PARALLEL` is the work, in multiplications, from which waking a thread pays.
 */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define PAIRS 1
#else
#define PAIRS 0
#endif

#define WIDE 16      /* outputs in a block of packed B */
#define TILE 4       /* tokens computed together */
#define PORTION 16   /* tokens that one thread takes at a time, at most */
#define MAX_RANK 512
#define PAGE 4096

typedef uint16_t bf16;

/* What one slot does to one slice (q, k or v, …) of a module's output. */
typedef struct {
    int64_t rank;     /* 0: nothing */
    int64_t outputs;
    int64_t offset;   /* of the slice in y */
    const void *a;    /* null: x is shrunk already */
    const void *b;    /* packed */
} slice_t;

/* Which tokens belong to which slot. `groups` triples (slot, first, count) follow, then the tokens' numbers. */
typedef struct {
    int64_t groups;
    int64_t tokens;   /* rows that the mapping was made for */
    int64_t slot[][3];
} batch_t;

typedef struct {
    int64_t inputs;
    int64_t slices;
    int64_t slots;
    int64_t wide;            /* 1: float32, 0: bfloat16 */
    int64_t parallel;        /* work from which threads are used, in multiplications */
    const batch_t *batch;
    const int64_t *tokens;   /* numbers of rows, group after group */
    slice_t table[];         /* [slots][slices] */
} module_t;

static inline float widen(bf16 value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static inline bf16 narrow(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (bf16)(bits >> 16 | 0x40); /* not a number stays so */
    return (bf16)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float same(float value) { return value; }

/* --- plain C, which the compiler vectorises: any machine, both types ------------------------------------------------ */

#define DEFINE_PLAIN(NAME, TYPE, READ, WRITE)                                                                          \
    static void NAME(const slice_t *slice, int64_t inputs, const TYPE *const *x, TYPE *const *y, int count)            \
    {                                                                                                                  \
        float shrunk[TILE][MAX_RANK];                                                                                  \
        for (int64_t row = 0; row < slice->rank; row++)                                                                \
            for (int t = 0; t < count; t++) {                                                                          \
                if (!slice->a) {                                                                                       \
                    shrunk[t][row] = READ(x[t][row]);                                                                  \
                    continue;                                                                                          \
                }                                                                                                      \
                const TYPE *a = (const TYPE *)slice->a + row * inputs;                                                 \
                float sum = 0;                                                                                         \
                _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < inputs; i++) sum += READ(a[i]) * READ(x[t][i]); \
                shrunk[t][row] = sum;                                                                                  \
            }                                                                                                          \
        for (int64_t begin = 0; begin < slice->outputs; begin += WIDE) {                                               \
            const TYPE *b = (const TYPE *)slice->b + begin * slice->rank;                                              \
            int64_t outputs = slice->outputs - begin < WIDE ? slice->outputs - begin : WIDE;                           \
            for (int t = 0; t < count; t++) {                                                                          \
                float sums[WIDE] = {0};                                                                                \
                for (int64_t row = 0; row < slice->rank; row++)                                                        \
                    for (int o = 0; o < WIDE; o++) sums[o] += READ(b[row * WIDE + o]) * shrunk[t][row];                \
                TYPE *out = y[t] + slice->offset + begin;                                                              \
                for (int64_t o = 0; o < outputs; o++) out[o] = WRITE(READ(out[o]) + sums[o]);                          \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_PLAIN(plain_f32, float, same, same)
#if !PAIRS
DEFINE_PLAIN(plain_bf16, bf16, widen, narrow)
#endif

/* --- bfloat16 pairs ------------------------------------------------------------------------------------------------- */

#if PAIRS

/* shrunk[t][row…row+rows) = a[row…] · x[t], rounded. `rows` and `count` are literals where it is inlined. */
static inline __attribute__((always_inline)) void shrink_block(
    const bf16 *a, int64_t inputs, const bf16 *const *x, int rows, int count, bf16 (*shrunk)[MAX_RANK], int64_t row)
{
    __m512 sums[4][TILE];
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < count; t++) sums[r][t] = _mm512_setzero_ps();
    int64_t i = 0;
    for (; i + 32 <= inputs; i += 32) {
        __m512i xs[TILE];
        for (int t = 0; t < count; t++) xs[t] = _mm512_loadu_si512(x[t] + i);
        for (int r = 0; r < rows; r++) {
            __m512i weights = _mm512_loadu_si512(a + r * inputs + i);
            for (int t = 0; t < count; t++) sums[r][t] = _mm512_dpbf16_ps(sums[r][t], (__m512bh)weights, (__m512bh)xs[t]);
        }
    }
    if (i < inputs) {
        __mmask32 rest = (__mmask32)((1u << (inputs - i)) - 1);
        for (int r = 0; r < rows; r++) {
            __m512i weights = _mm512_maskz_loadu_epi16(rest, a + r * inputs + i);
            for (int t = 0; t < count; t++) {
                __m512i xs = _mm512_maskz_loadu_epi16(rest, x[t] + i);
                sums[r][t] = _mm512_dpbf16_ps(sums[r][t], (__m512bh)weights, (__m512bh)xs);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < count; t++) shrunk[t][row + r] = narrow(_mm512_reduce_add_ps(sums[r][t]));
}

/* y[t][begin…begin + 16·blocks) += shrunk[t] · B */
static inline __attribute__((always_inline)) void expand_block(
    const bf16 *b, int64_t pairs, bf16 (*shrunk)[MAX_RANK], bf16 *const *y, int64_t begin, int blocks, int count, __mmask16 mask)
{
    __m512 sums[4][TILE];
    for (int k = 0; k < blocks; k++)
        for (int t = 0; t < count; t++) {
            __m256i old = _mm256_maskz_loadu_epi16(mask, y[t] + begin + k * WIDE);
            sums[k][t] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(old), 16));
        }
    for (int64_t p = 0; p < pairs; p++) {
        __m512i xs[TILE];
        for (int t = 0; t < count; t++) {
            int32_t both;
            memcpy(&both, &shrunk[t][2 * p], sizeof both);
            xs[t] = _mm512_set1_epi32(both);
        }
        for (int k = 0; k < blocks; k++) {
            __m512i weights = _mm512_loadu_si512(b + (k * pairs + p) * 2 * WIDE);
            for (int t = 0; t < count; t++) sums[k][t] = _mm512_dpbf16_ps(sums[k][t], (__m512bh)weights, (__m512bh)xs[t]);
        }
    }
    for (int k = 0; k < blocks; k++)
        for (int t = 0; t < count; t++)
            _mm256_mask_storeu_epi16(y[t] + begin + k * WIDE, mask, (__m256i)_mm512_cvtneps_pbh(sums[k][t]));
}

static inline __attribute__((always_inline)) void pairs_tile(
    const slice_t *slice, int64_t inputs, const bf16 *const *x, bf16 *const *y, int count)
{
    bf16 shrunk[TILE][MAX_RANK];
    int64_t rank = slice->rank, pairs = (rank + 1) / 2;
    if (slice->a) {
        const bf16 *a = slice->a;
        int64_t row = 0;
        for (; row + 4 <= rank; row += 4) shrink_block(a + row * inputs, inputs, x, 4, count, shrunk, row);
        for (; row < rank; row++) shrink_block(a + row * inputs, inputs, x, 1, count, shrunk, row);
    } else
        for (int t = 0; t < count; t++) memcpy(shrunk[t], x[t], rank * sizeof(bf16));
    if (rank & 1)
        for (int t = 0; t < count; t++) shrunk[t][rank] = 0;
    const bf16 *b = slice->b;
    int64_t step = pairs * 2 * WIDE, begin = 0;
    for (; begin + 4 * WIDE <= slice->outputs; begin += 4 * WIDE, b += 4 * step)
        expand_block(b, pairs, shrunk, y, slice->offset + begin, 4, count, 0xffff);
    for (; begin + WIDE <= slice->outputs; begin += WIDE, b += step)
        expand_block(b, pairs, shrunk, y, slice->offset + begin, 1, count, 0xffff);
    if (begin < slice->outputs)
        expand_block(b, pairs, shrunk, y, slice->offset + begin, 1, count, (__mmask16)((1u << (slice->outputs - begin)) - 1));
}

static void pairs_bf16(const slice_t *slice, int64_t inputs, const bf16 *const *x, bf16 *const *y, int count)
{
    switch (count) { /* each with its own registers */
    case 1: pairs_tile(slice, inputs, x, y, 1); break;
    case 2: pairs_tile(slice, inputs, x, y, 2); break;
    case 3: pairs_tile(slice, inputs, x, y, 3); break;
    default: pairs_tile(slice, inputs, x, y, 4);
    }
}

#endif

/* --- what Python calls ---------------------------------------------------------------------------------------------- */

/* Ask for the beginning of each page: the processor runs ahead within a page by itself, but not into the next one. */
static inline void ask(const char *weights, int64_t size)
{
    if (weights)
        for (int64_t at = 0; at < size; at += PAGE) {
            __builtin_prefetch(weights + at);
            __builtin_prefetch(weights + at + 64);
        }
}

/* Up to PORTION tokens of one slot through all slices of the module. */
static void portion(const module_t *module, const slice_t *slices, const int64_t *tokens, int64_t count, const char *x,
                    int64_t x_row, char *y, int64_t y_row)
{
    int64_t size = module->wide ? 4 : 2;
    for (int64_t s = 0; s < module->slices; s++) {
        ask(slices[s].a, slices[s].rank * module->inputs * size);
        ask(slices[s].b, slices[s].rank * slices[s].outputs * size);
    }
    for (int64_t s = 0; s < module->slices; s++) {
        if (!slices[s].rank) continue;
        for (int64_t first = 0; first < count; first += TILE) {
            int tile = count - first < TILE ? (int)(count - first) : TILE;
            const void *in[TILE];
            void *out[TILE];
            for (int t = 0; t < tile; t++) {
                in[t] = x + tokens[first + t] * x_row;
                out[t] = y + tokens[first + t] * y_row;
            }
            if (module->wide)
                plain_f32(&slices[s], module->inputs, (const float *const *)in, (float *const *)out, tile);
            else
#if PAIRS
                pairs_bf16(&slices[s], module->inputs, (const bf16 *const *)in, (bf16 *const *)out, tile);
#else
                plain_bf16(&slices[s], module->inputs, (const bf16 *const *)in, (bf16 *const *)out, tile);
#endif
        }
    }
}

/* Add to each row of y what its token's adapter makes of x. Rows lie x_row and y_row bytes apart. */
void lora_add(const module_t *module, const char *x, int64_t x_row, char *y, int64_t y_row)
{
    const batch_t *batch = module->batch;
    int64_t work = 0, many = 0;
    for (int64_t g = 0; g < batch->groups; g++) {
        const slice_t *slices = module->table + batch->slot[g][0] * module->slices;
        many += batch->slot[g][2];
        for (int64_t s = 0; s < module->slices; s++)
            work += batch->slot[g][2] * slices[s].rank * ((slices[s].a ? module->inputs : 0) + slices[s].outputs);
    }
    if (!work) return;
    int64_t size = many < 4 * PORTION ? TILE : PORTION, portions = 0;
    for (int64_t g = 0; g < batch->groups; g++) portions += (batch->slot[g][2] + size - 1) / size;
#pragma omp parallel for schedule(dynamic) if (work >= module->parallel && portions > 1)
    for (int64_t p = 0; p < portions; p++) {
        int64_t g = 0, first = p;
        for (; first >= (batch->slot[g][2] + size - 1) / size; g++) first -= (batch->slot[g][2] + size - 1) / size;
        first *= size;
        int64_t rest = batch->slot[g][2] - first;
        portion(module, module->table + batch->slot[g][0] * module->slices, module->tokens + batch->slot[g][1] + first,
                rest < size ? rest : size, x, x_row, y, y_row);
    }
}

/* How many of the columns of b [outputs, columns] are in use: up to the last that is not zero throughout. */
int64_t lora_rank(const void *b, int64_t outputs, int64_t columns, int64_t wide)
{
    int64_t rank = 0;
    for (int64_t o = 0; o < outputs && rank < columns; o++)
        for (int64_t column = columns - 1; column >= rank; column--) {
            uint32_t bits = wide ? ((const uint32_t *)b)[o * columns + column] << 1 : (uint32_t)((const bf16 *)b)[o * columns + column] << 17;
            if (bits) rank = column + 1; /* the sign was shifted out: a negative zero is zero */
        }
    return rank;
}

/* Elements that lora_pack writes. */
int64_t lora_packed(int64_t outputs, int64_t rank, int64_t wide)
{
    int64_t blocks = (outputs + WIDE - 1) / WIDE;
    return blocks * WIDE * (PAIRS && !wide ? (rank + 1) / 2 * 2 : rank);
}

/* Pack the first `rank` columns of b [outputs, columns]; see the top. */
void lora_pack(const void *b, int64_t outputs, int64_t columns, int64_t rank, int64_t wide, void *into)
{
    int64_t together = PAIRS && !wide ? 2 : 1;
    memset(into, 0, lora_packed(outputs, rank, wide) * (wide ? 4 : 2));
    for (int64_t begin = 0; begin < outputs; begin += WIDE) {
        int64_t block = begin / WIDE * lora_packed(WIDE, rank, wide), count = outputs - begin < WIDE ? outputs - begin : WIDE;
        for (int64_t row = 0; row < rank; row++) {
            int64_t to = block + row / together * WIDE * together + row % together, from = begin * columns + row;
            if (wide)
                for (int64_t o = 0; o < count; o++) ((uint32_t *)into)[to + o * together] = ((const uint32_t *)b)[from + o * columns];
            else
                for (int64_t o = 0; o < count; o++) ((bf16 *)into)[to + o * together] = ((const bf16 *)b)[from + o * columns];
        }
    }
}

/* 1 when the kernel computes with bfloat16 pairs. */
int64_t lora_pairs(void) { return PAIRS; }
