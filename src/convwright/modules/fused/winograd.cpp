// 3x3 convolutions of stride 1 and padding 1 by Winograd's minimal filtering, F(4x4, 3x3) of Lavin and Gray (2016): an
// image's maps are cut into patches of 6x6 that overlap by two, patches and filters are transformed, and 36 matrix
// products over the channels then stand for the convolution: 36 products for 16 outputs of a channel pair, not 144.
//
// Maps are rows of channels (channels last), filters 3 x 3 x in x out, of as many channels as whole vectors hold.
// In `winograd.py` is said what each function computes. Every output is summed in one order, whatever the threads.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int LANES = 64 / sizeof(REAL), ROWS = 8;
#else
constexpr int LANES = 32 / sizeof(REAL), ROWS = 4;
#endif
constexpr int FREQUENCIES = 36;
constexpr int64_t SKEW = 16;  // so that the frequencies do not share the same few lines of a cache

typedef REAL Vector __attribute__((vector_size(sizeof(REAL) * LANES)));
typedef REAL Unaligned __attribute__((vector_size(sizeof(REAL) * LANES), aligned(sizeof(REAL)), may_alias));

inline Vector load(const REAL* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void store(REAL* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }

// The transforms of a line, after Lavin and Gray's matrices.
struct Patch {  // B^T
    static constexpr int IN = 6, OUT = 6;
    static void apply(const Vector* d, int step, Vector* o) {
        const Vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
        const Vector even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1, wide = d4 - d2, far = 2.0f * (d3 - d1);
        o[0] = 4.0f * d[0] - 5.0f * d2 + d4;
        o[1] = even + odd;
        o[2] = even - odd;
        o[3] = wide + far;
        o[4] = wide - far;
        o[5] = 4.0f * d1 - 5.0f * d3 + d[5 * step];
    }
};

struct Output {  // A^T
    static constexpr int IN = 6, OUT = 4;
    static void apply(const Vector* m, int step, Vector* o) {
        const Vector near = m[step] + m[2 * step], slope = m[step] - m[2 * step];
        const Vector far = m[3 * step] + m[4 * step], steep = m[3 * step] - m[4 * step];
        o[0] = m[0] + near + far;
        o[1] = slope + 2.0f * steep;
        o[2] = near + 4.0f * far;
        o[3] = slope + 8.0f * steep + m[5 * step];
    }
};

struct Gradient {  // A
    static constexpr int IN = 4, OUT = 6;
    static void apply(const Vector* d, int step, Vector* o) {
        const Vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
        const Vector even = d[0] + d2, odd = d1 + d3, wide = d[0] + 4.0f * d2, far = 2.0f * d1 + 8.0f * d3;
        o[0] = d[0];
        o[1] = even + odd;
        o[2] = even - odd;
        o[3] = wide + far;
        o[4] = wide - far;
        o[5] = d3;
    }
};

struct Filter {  // G
    static constexpr int IN = 3, OUT = 6;
    static void apply(const Vector* g, int step, Vector* o) {
        const Vector g1 = g[step], g2 = g[2 * step];
        const Vector near = (g[0] + g2) / -6.0f, far = g[0] / 24.0f + g2 / 6.0f;
        o[0] = g[0] / 4.0f;
        o[1] = near - g1 / 6.0f;
        o[2] = near + g1 / 6.0f;
        o[3] = far + g1 / 12.0f;
        o[4] = far - g1 / 12.0f;
        o[5] = g2;
    }
};

struct FilterGradient {  // G^T
    static constexpr int IN = 6, OUT = 3;
    static void apply(const Vector* u, int step, Vector* o) {
        const Vector near = u[step] + u[2 * step], slope = u[2 * step] - u[step];
        const Vector far = u[3 * step] + u[4 * step], steep = u[3 * step] - u[4 * step];
        o[0] = u[0] / 4.0f - near / 6.0f + far / 24.0f;
        o[1] = slope / 6.0f + steep / 12.0f;
        o[2] = (far - near) / 6.0f + u[5 * step];
    }
};

// Transform the columns, then the rows, of IN x IN values into OUT x OUT.
template <typename Line> inline void both(const Vector* from, Vector* to) {
    Vector half[Line::IN * Line::OUT];
    for (int column = 0; column < Line::IN; column++) {
        Vector line[Line::OUT];
        Line::apply(from + column, Line::IN, line);
        for (int row = 0; row < Line::OUT; row++) half[row * Line::IN + column] = line[row];
    }
    for (int row = 0; row < Line::OUT; row++) Line::apply(half + row * Line::IN, 1, to + row * Line::OUT);
}

// c = a b, or c += a b: ROWS rows by WIDE vectors; a is read at a[row * a_row + k * a_step].
template <int WIDE>
void product(const REAL* a, int64_t a_row, int64_t a_step, const REAL* b, int64_t b_step, REAL* c, int64_t c_row,
             int64_t depth, bool add) {
    Vector sums[ROWS][WIDE];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < WIDE; v++) sums[row][v] = add ? load(c + row * c_row + v * LANES) : Vector{};
    for (int64_t k = 0; k < depth; k++) {
        Vector right[WIDE];
#pragma GCC unroll 2
        for (int v = 0; v < WIDE; v++) right[v] = load(b + k * b_step + v * LANES);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            const REAL left = a[row * a_row + k * a_step];
#pragma GCC unroll 2
            for (int v = 0; v < WIDE; v++) sums[row][v] += left * right[v];
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < WIDE; v++) store(c + row * c_row + v * LANES, sums[row][v]);
}

// How many numbers of `out` a panel takes that begins at `at`: two vectors, or what there is.
inline int64_t width_of(int64_t at, int64_t out) { return out - at < 2 * LANES ? out - at : 2 * LANES; }

// The product for panels of this width, of one vector or two.
inline auto product_of(int64_t width) { return width == LANES ? product<1> : product<2>; }

// Where the patches of maps lie.
struct Tiles {
    int64_t images, height, width, down, across;

    Tiles(int64_t images, int64_t height, int64_t width)
        : images(images), height(height), width(width), down((height + 3) / 4), across((width + 3) / 4) {}
    int64_t count() const { return images * down * across; }
    int64_t image(int64_t tile) const { return tile / (down * across); }
    int64_t top(int64_t tile) const { return tile / across % down * 4; }
    int64_t left(int64_t tile) const { return tile % across * 4; }

    // The addresses of SIZE x SIZE pixels, from `off` before the tile's corner on; `elsewhere` for those outside.
    template <int SIZE, typename Number>
    void pixels(Number* maps, int64_t channels, int64_t tile, int off, Number* elsewhere, Number** found) const {
        const int64_t first = image(tile) * height;
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                const int64_t y = top(tile) + i - off, x = left(tile) + j - off;
                const bool inside = y >= 0 && y < height && x >= 0 && x < width;
                found[i * SIZE + j] = inside ? maps + ((first + y) * width + x) * channels : elsewhere;
            }
    }
};

// Transform SIZE x SIZE pixels of a tile into the frequencies, `apart` from one to the next.
template <typename Line, int OFF>
void scatter(const Tiles& tiles, const REAL* maps, int64_t channels, int64_t tile, const REAL* zeros, REAL* to,
             int64_t apart) {
    const REAL* from[Line::IN * Line::IN];
    tiles.pixels<Line::IN>(maps, channels, tile, OFF, zeros, from);
    for (int64_t c = 0; c < channels; c += LANES) {
        Vector before[Line::IN * Line::IN], after[FREQUENCIES];
        for (int i = 0; i < Line::IN * Line::IN; i++) before[i] = load(from[i] + c);
        both<Line>(before, after);
        for (int f = 0; f < FREQUENCIES; f++) store(to + f * apart + c, after[f]);
    }
}

// Transform the frequencies of a tile into 4x4 pixels.
void gather(const Tiles& tiles, const REAL* from, int64_t apart, int64_t tile, REAL* maps, int64_t channels,
            REAL* nowhere) {
    REAL* to[16];
    tiles.pixels<4>(maps, channels, tile, 0, nowhere, to);
    for (int64_t c = 0; c < channels; c += LANES) {
        Vector before[FREQUENCIES], after[16];
        for (int f = 0; f < FREQUENCIES; f++) before[f] = load(from + f * apart + c);
        both<Output>(before, after);
        for (int i = 0; i < 16; i++) store(to[i] + c, after[i]);
    }
}

// How far apart the frequencies of filters lie.
int64_t apart(int64_t in, int64_t out) { return in * out + SKEW; }

// Filters as torch keeps them, in whatever order of memory; `turned` by half a circle for the way back.
struct Filters {
    int64_t in, out, in_stride, out_stride, stride;
    bool turned;

    int64_t at(int64_t i, int64_t o, int k) const {
        return i * in_stride + o * out_stride + (turned ? 8 - k : k) * stride;
    }
};

// LANES x LANES filters side by side.
struct Block {
    REAL values[9][LANES][LANES];

    void read(const Filters& shape, const REAL* filters, int64_t i, int64_t o) {
        for (int column = 0; column < LANES; column++)
            for (int k = 0; k < 9; k++)
                for (int row = 0; row < LANES; row++)
                    values[k][row][column] = filters[shape.at(i + row, o + column, k)];
    }
    void write(const Filters& shape, REAL* filters, int64_t i, int64_t o) const {
        for (int column = 0; column < LANES; column++)
            for (int k = 0; k < 9; k++)
                for (int row = 0; row < LANES; row++)
                    filters[shape.at(i + row, o + column, k)] = values[k][row][column];
    }
};

// Filters to frequencies, each in panels of two vectors of outputs: panel x in x vector(s).
void transform_filters(const Filters& shape, const REAL* filters, REAL* to, int threads) {
    const int64_t in = shape.in, out = shape.out;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t o = 0; o < out; o += LANES)
        for (int64_t i = 0; i < in; i += LANES) {
            const int64_t panel = o / (2 * LANES) * (2 * LANES), wide = width_of(panel, out);
            Block block;
            block.read(shape, filters, i, o);
            for (int row = 0; row < LANES; row++) {
                Vector before[9], after[FREQUENCIES];
                for (int k = 0; k < 9; k++) before[k] = load(block.values[k][row]);
                both<Filter>(before, after);
                REAL* place = to + panel * in + (i + row) * wide + o - panel;
                for (int f = 0; f < FREQUENCIES; f++) store(place + f * apart(in, out), after[f]);
            }
        }
}

// The gradient of frequencies, in x out each, to that of filters.
void gather_filters(const Filters& shape, const REAL* frequencies, REAL* gradient, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t o = 0; o < shape.out; o += LANES)
        for (int64_t i = 0; i < shape.in; i += LANES) {
            Block block;
            for (int row = 0; row < LANES; row++) {
                Vector before[FREQUENCIES], after[9];
                const REAL* place = frequencies + (i + row) * shape.out + o;
                for (int f = 0; f < FREQUENCIES; f++) before[f] = load(place + f * apart(shape.in, shape.out));
                both<FilterGradient>(before, after);
                for (int k = 0; k < 9; k++) store(block.values[k][row], after[k]);
            }
            block.write(shape, gradient, i, o);
        }
}

int64_t rounded(int64_t count) { return (count + ROWS - 1) / ROWS * ROWS; }

// How many tiles are transformed together, of so many numbers each, for a share of the processor's cache.
int64_t batch_of(int64_t tiles, int64_t channels, int64_t numbers, int64_t least, int64_t parts) {
    const int64_t fits = std::max(numbers / (FREQUENCIES * channels), least);
    return rounded(std::max<int64_t>(1, std::min(fits, (tiles + parts - 1) / parts)));
}

REAL* scratch(int64_t numbers) {  // a thread's own, kept for the next call
    static thread_local std::vector<REAL> kept;
    if (int64_t(kept.size()) < numbers) kept.resize(numbers);
    return kept.data();
}

}  // namespace

extern "C" {

void convolve_of(const REAL* x, int64_t images, int64_t height, int64_t width, int64_t in,
                 int64_t out, const REAL* filters, int64_t in_stride, int64_t out_stride, int64_t stride, int turned,
                 REAL* y, REAL* transformed, int threads) {
    const Tiles tiles(images, height, width);
    transform_filters({in, out, in_stride, out_stride, stride, bool(turned)}, filters, transformed, threads);
    const int64_t batch = batch_of(tiles.count(), in + out, 120000, in * out < 100000 ? 16 : 64, threads);
    const int64_t batches = (tiles.count() + batch - 1) / batch;
    const int64_t before = batch * in + SKEW, after = batch * out + SKEW;
#pragma omp parallel num_threads(threads)
    {
        REAL* patches = scratch(FREQUENCIES * (before + after) + in + out);
        REAL *outputs = patches + FREQUENCIES * before, *zeros = outputs + FREQUENCIES * after, *nowhere = zeros + in;
        std::fill(zeros, zeros + in, REAL(0));
#pragma omp for schedule(static)
        for (int64_t b = 0; b < batches; b++) {
            const int64_t first = b * batch, many = std::min(batch, tiles.count() - first);
            for (int64_t t = 0; t < many; t++)
                scatter<Patch, 1>(tiles, x, in, first + t, zeros, patches + t * in, before);
            for (int f = 0; f < FREQUENCIES; f++)
                for (int64_t o = 0; o < out; o += 2 * LANES) {
                    const int64_t wide = width_of(o, out);
                    const auto multiply = product_of(wide);
                    for (int64_t t = 0; t < many; t += ROWS)
                        multiply(patches + f * before + t * in, in, 1, transformed + f * apart(in, out) + o * in, wide,
                                 outputs + f * after + t * out + o, out, in, false);
                }
            for (int64_t t = 0; t < many; t++)
                gather(tiles, outputs + t * out, after, first + t, y, out, nowhere);
        }
    }
}

void filter_gradient_of(const REAL* x, const REAL* d, int64_t images, int64_t height, int64_t width,
                        int64_t in, int64_t out, REAL* frequencies, REAL* gradient, int64_t in_stride,
                        int64_t out_stride, int64_t stride, int threads) {
    const Tiles tiles(images, height, width);
    const int64_t batch = batch_of(tiles.count(), in + out, 400000, 64, 1);
    const int64_t before = batch * in + SKEW, after = batch * out + SKEW;
    REAL* patches = scratch(FREQUENCIES * (before + after) + std::max(in, out));
    REAL *slopes = patches + FREQUENCIES * before, *zeros = slopes + FREQUENCIES * after;
    std::fill(zeros, zeros + std::max(in, out), REAL(0));
    for (int64_t first = 0; first < tiles.count(); first += batch) {
        const int64_t many = std::min(batch, tiles.count() - first);
#pragma omp parallel num_threads(threads)
        {
#pragma omp for schedule(static)
            for (int64_t t = 0; t < many; t++) {
                scatter<Patch, 1>(tiles, x, in, first + t, zeros, patches + t * in, before);
                scatter<Gradient, 0>(tiles, d, out, first + t, zeros, slopes + t * out, after);
            }
#pragma omp for schedule(static)
            for (int f = 0; f < FREQUENCIES; f++)
                for (int64_t o = 0; o < out; o += 2 * LANES) {
                    const auto multiply = product_of(width_of(o, out));
                    for (int64_t i = 0; i < in; i += ROWS)
                        multiply(patches + f * before + i, 1, in, slopes + f * after + o, out,
                                 frequencies + f * apart(in, out) + i * out + o, out, many, first > 0);
                }
        }
    }
    gather_filters({in, out, in_stride, out_stride, stride, false}, frequencies, gradient, threads);
}

}  // extern "C"
