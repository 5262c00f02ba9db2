// 3x3 convolutions of stride 1 and padding 1 by Winograd's minimal filtering, F(4x4, 3x3) of Lavin and Gray (2016). An
// image's maps are divided into patches of 6x6 that overlap by two; patches and filters are transformed, and 36 matrix
// products over the channels replace the convolution: 36 products instead of 144 for 16 outputs of a channel pair.
//
// Maps are rows of channels (channels last), and channels fill whole vectors; filters may have any strides. winograd.py
// defines each function. Every sum has a fixed order, for any number of threads.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vectors.hpp"

namespace {

constexpr int FREQUENCIES = 36;
constexpr int64_t SKEW = 16;  // padding, so that the frequencies do not compete for the same cache lines

// Values of the tiles of a batch, and the smallest number of its tiles: the fastest of the sizes measured on a core
// with 1 MB of second-level cache, which holds the filters' frequencies of up to FEW pairs of channels.
constexpr int64_t FORWARD = 120000, BACKWARD = 400000, FEW = 100000, LEAST = 16, LEAST_OF_MANY = 64;

// The transforms of a line, by Lavin and Gray's matrices.
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

// Positions of the patches of maps.
struct Tiles {
    int64_t images, height, width, down, across;

    Tiles(int64_t images, int64_t height, int64_t width)
        : images(images), height(height), width(width), down((height + 3) / 4), across((width + 3) / 4) {}
    int64_t count() const { return images * down * across; }
    int64_t image(int64_t tile) const { return tile / (down * across); }
    int64_t top(int64_t tile) const { return tile / across % down * 4; }
    int64_t left(int64_t tile) const { return tile % across * 4; }

    // The addresses of SIZE x SIZE pixels, starting `off` before the tile's corner; `elsewhere` for pixels outside.
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

// Transform SIZE x SIZE pixels of a tile into frequencies, which are `apart` values apart.
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

// Distance in memory between the frequencies of filters.
int64_t apart(int64_t in, int64_t out) { return in * out + SKEW; }

// Position of filters: `step` is the distance between their nine values; for the backward pass they are rotated by
// 180 degrees (`rotated`).
struct Layout {
    int64_t in, out, in_stride, out_stride, step;
    bool rotated;

    int64_t at(int64_t i, int64_t o, int k) const {
        return i * in_stride + o * out_stride + (rotated ? 8 - k : k) * step;
    }
};

// LANES x LANES filters.
struct Block {
    REAL values[9][LANES][LANES];

    void read(const Layout& layout, const REAL* filters, int64_t i, int64_t o) {
        for (int column = 0; column < LANES; column++)
            for (int k = 0; k < 9; k++)
                for (int row = 0; row < LANES; row++)
                    values[k][row][column] = filters[layout.at(i + row, o + column, k)];
    }
    void write(const Layout& layout, REAL* filters, int64_t i, int64_t o) const {
        for (int column = 0; column < LANES; column++)
            for (int k = 0; k < 9; k++)
                for (int row = 0; row < LANES; row++)
                    filters[layout.at(i + row, o + column, k)] = values[k][row][column];
    }
};

// Transform filters into frequencies, each in panels of two vectors of outputs: panel x in x vector(s).
void transform_filters(const Layout& layout, const REAL* filters, REAL* to, int threads) {
    const int64_t in = layout.in, out = layout.out;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t o = 0; o < out; o += LANES)
        for (int64_t i = 0; i < in; i += LANES) {
            const int64_t panel = o / (2 * LANES) * (2 * LANES), wide = width_of(panel, out);
            Block block;
            block.read(layout, filters, i, o);
            for (int row = 0; row < LANES; row++) {
                Vector before[9], after[FREQUENCIES];
                for (int k = 0; k < 9; k++) before[k] = load(block.values[k][row]);
                both<Filter>(before, after);
                REAL* place = to + panel * in + (i + row) * wide + o - panel;
                for (int f = 0; f < FREQUENCIES; f++) store(place + f * apart(in, out), after[f]);
            }
        }
}

// Transform the gradient of frequencies, in x out each, into that of filters.
void gather_filters(const Layout& layout, const REAL* frequencies, REAL* gradient, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t o = 0; o < layout.out; o += LANES)
        for (int64_t i = 0; i < layout.in; i += LANES) {
            Block block;
            for (int row = 0; row < LANES; row++) {
                Vector before[FREQUENCIES], after[9];
                const REAL* place = frequencies + (i + row) * layout.out + o;
                for (int f = 0; f < FREQUENCIES; f++) before[f] = load(place + f * apart(layout.in, layout.out));
                both<FilterGradient>(before, after);
                for (int k = 0; k < 9; k++) store(block.values[k][row], after[k]);
            }
            block.write(layout, gradient, i, o);
        }
}

// Batches in which tiles are transformed and multiplied, and their working memory; as even as possible over threads.
struct Work {
    Tiles tiles;
    int64_t in, out, batch, batches, patches, others;

    Work(const Tiles& tiles, int64_t in, int64_t out, int64_t numbers, int64_t least, int64_t threads)
        : tiles(tiles), in(in), out(out) {
        const int64_t fits = std::max(numbers / (FREQUENCIES * (in + out)), least);
        const int64_t target = parts_of(parts_of(tiles.count(), fits), threads) * threads;
        batch = parts_of(parts_of(tiles.count(), target), ROWS) * ROWS;
        batches = parts_of(tiles.count(), batch);
        patches = batch * in + SKEW;
        others = batch * out + SKEW;
    }
    int64_t many(int64_t number) const { return std::min(batch, tiles.count() - number * batch); }
    // Frequencies of patches, of as many outputs or gradients, and a pixel of zeros for positions outside the maps.
    int64_t space() const { return FREQUENCIES * (patches + others) + std::max(in, out); }

    static Work forward(const Tiles& tiles, int64_t in, int64_t out, int threads) {
        return Work(tiles, in, out, FORWARD, in * out < FEW ? LEAST : LEAST_OF_MANY, threads);
    }
    static Work backward(const Tiles& tiles, int64_t in, int64_t out) {
        return Work(tiles, in, out, BACKWARD, LEAST_OF_MANY, 1);
    }
};

// The maps of one batch of tiles.
void convolve(const Work& work, int64_t number, const REAL* x, const REAL* filters, REAL* y, REAL* space) {
    const int64_t in = work.in, out = work.out, first = number * work.batch, many = work.many(number);
    REAL *outputs = space + FREQUENCIES * work.patches, *pixel = outputs + FREQUENCIES * work.others;
    std::fill(pixel, pixel + in, REAL(0));
    for (int64_t t = 0; t < many; t++)
        scatter<Patch, 1>(work.tiles, x, in, first + t, pixel, space + t * in, work.patches);
    for (int f = 0; f < FREQUENCIES; f++)
        for (int64_t o = 0; o < out; o += 2 * LANES)
            for (int64_t t = 0; t < many; t += ROWS)
                product_of(width_of(o, out))(space + f * work.patches + t * in, in, 1,
                                             filters + f * apart(in, out) + o * in, width_of(o, out),
                                             outputs + f * work.others + t * out + o, out, in, false);
    for (int64_t t = 0; t < many; t++) gather(work.tiles, outputs + t * out, work.others, first + t, y, out, pixel);
}

}  // namespace

extern "C" {

// Number of values of working memory that the functions below need.
int64_t convolve_workspace(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int threads) {
    const Work work = Work::forward(Tiles(images, height, width), in, out, threads);
    return FREQUENCIES * apart(in, out) + threads * work.space();
}

int64_t filter_gradient_workspace(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int) {
    return FREQUENCIES * apart(in, out) + Work::backward(Tiles(images, height, width), in, out).space();
}

void convolve_of(const REAL* x, int64_t images, int64_t height, int64_t width, int64_t in, int64_t out,
                 const REAL* filters, int64_t in_stride, int64_t out_stride, int64_t step, int rotated, REAL* y,
                 REAL* space, int threads) {
    const Work work = Work::forward(Tiles(images, height, width), in, out, threads);
    REAL* mine = space + FREQUENCIES * apart(in, out);
    transform_filters({in, out, in_stride, out_stride, step, bool(rotated)}, filters, space, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < threads; part++)
        for (int64_t number = part * work.batches / threads; number < (part + 1) * work.batches / threads; number++)
            convolve(work, number, x, space, y, mine + part * work.space());
}

void filter_gradient_of(const REAL* x, const REAL* d, int64_t images, int64_t height, int64_t width, int64_t in,
                        int64_t out, REAL* gradient, int64_t in_stride, int64_t out_stride, int64_t step, REAL* space,
                        int threads) {
    const Work work = Work::backward(Tiles(images, height, width), in, out);
    REAL *frequencies = space, *patches = space + FREQUENCIES * apart(in, out);
    REAL *slopes = patches + FREQUENCIES * work.patches, *zeros = slopes + FREQUENCIES * work.others;
    std::fill(zeros, zeros + std::max(in, out), REAL(0));
    for (int64_t number = 0; number < work.batches; number++) {
        const int64_t first = number * work.batch, many = work.many(number);
#pragma omp parallel num_threads(threads)
        {
#pragma omp for schedule(static)
            for (int64_t t = 0; t < many; t++) {
                scatter<Patch, 1>(work.tiles, x, in, first + t, zeros, patches + t * in, work.patches);
                scatter<Gradient, 0>(work.tiles, d, out, first + t, zeros, slopes + t * out, work.others);
            }
#pragma omp for collapse(2) schedule(static)
            for (int f = 0; f < FREQUENCIES; f++)
                for (int64_t o = 0; o < out; o += 2 * LANES)
                    for (int64_t i = 0; i < in; i += ROWS)
                        product_of(width_of(o, out))(patches + f * work.patches + i, 1, in,
                                                     slopes + f * work.others + o, out,
                                                     frequencies + f * apart(in, out) + i * out + o, out, many,
                                                     number > 0);
        }
    }
    gather_filters({in, out, in_stride, out_stride, step, false}, frequencies, gradient, threads);
}

}  // extern "C"
