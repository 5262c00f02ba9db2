// The backward pass of 1x1 convolutions, whose two gradients are matrix products over the same few rows; and 1x1
// convolutions of maps that are normalised and activated while they are read, with the backward pass of all three.
// Intermediate values stay in the processor's cache and are never written to memory.
//
// Maps are rows of channels (channels last); the rows of `x` may be `stride` values apart, as the first channels of
// wider maps are. Outputs fill whole vectors, or whole tiles of ROWS if maps are not normalised. pointwise.py defines
// each function. The division of work depends only on the shape, and every sum has a fixed order, for any number of
// threads.

#include <algorithm>

#include "acts.hpp"
#include "vectors.hpp"

namespace {

constexpr int NONE = -1;               // no normalisation, no activation
constexpr int64_t PANEL = 2 * LANES;   // outputs, or channels, of a matrix product
constexpr int64_t GROUP = 4 * PANEL;   // channels of the backward pass that are processed together
constexpr int64_t BLOCK = 128;         // rows that are processed at a time
constexpr int64_t IN_CACHE = 1 << 16;  // values of a block that fit into the second-level cache beside the filters
constexpr int64_t SKEW = 16;           // padding, so that rows do not compete for the same cache lines
constexpr int64_t TASKS = 32;          // desired number of pieces, for as many threads
constexpr int64_t PIECE = 1536;        // smallest number of rows with their own gradient of the filters

int64_t whole(int64_t count, int64_t size) { return parts_of(count, size) * size; }

struct Maps {
    const REAL* x;
    int64_t stride, rows, channels;
    const REAL *scale, *shift;

    // act(x * scale + shift), or x, for `many` rows and `some` channels; the rest of `width` values per row is zero.
    template <int ACT>
    void activate(int64_t first, int64_t many, int64_t from, int64_t some, REAL* to, int64_t width) const {
        for (int64_t row = 0; row < many; row++) {
            const REAL* __restrict v = x + (first + row) * stride + from;
            const REAL* __restrict s = scale + from;
            const REAL* __restrict t = shift + from;
            REAL* __restrict out = to + row * width;
            if constexpr (ACT == NONE) {
                std::copy(v, v + some, out);
            } else {
#pragma omp simd
                for (int64_t c = 0; c < some; c++) out[c] = activated<REAL, ACT>(v[c] * s[c] + t[c]);
            }
            std::fill(out + some, out + width, REAL(0));
        }
    }
};

// Division of the forward pass into blocks of rows.
struct Blocks {
    int64_t rows, size, count;

    Blocks(int64_t rows, int64_t channels) : rows(rows) {
        const int64_t fits = std::clamp<int64_t>(IN_CACHE / channels, 4 * ROWS, BLOCK);
        const int64_t even = whole(parts_of(rows, fits), 4);  // equal shares for a few threads
        size = whole(parts_of(rows, even), ROWS);
        count = parts_of(rows, size);
    }
    int64_t many(int64_t block) const { return std::min(size, rows - block * size); }
};

// Division of the backward pass into pieces of rows and groups of channels.
struct Cut {
    int64_t rows, channels, out, pieces, size, groups;

    Cut(int64_t rows, int64_t channels, int64_t out)
        : rows(rows), channels(channels), out(out), groups(parts_of(channels, GROUP)) {
        const int64_t target = std::clamp<int64_t>(std::min(TASKS / groups, rows / PIECE), 2, TASKS / 2);
        size = whole(parts_of(rows, target), ROWS);
        pieces = parts_of(rows, size);
    }
    int64_t some(int64_t group) const { return std::min(GROUP, channels - group * GROUP); }
    int64_t end(int64_t piece) const { return std::min(rows, (piece + 1) * size); }
    // A gradient of filters, out x GROUP, and two sums for each channel.
    int64_t share() const { return (out + 2) * GROUP; }
    int64_t filters() const { return groups * GROUP * out; }
    // Activated maps and their gradient, and the gradient of the last few rows.
    int64_t work() const { return BLOCK * GROUP * 2 + ROWS * out; }
};

// Filters, out x in, in panels of outputs, in x PANEL each, for the forward pass.
void outputs_in_panels(const REAL* filters, int64_t in, int64_t out, REAL* to, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t panel = 0; panel < out; panel += PANEL) {
        const int64_t width = width_of(panel, out);
        for (int64_t i = 0; i < in; i++)
            for (int64_t o = 0; o < width; o++)
                to[panel * in + i * width + o] = filters[(panel + o) * in + i];
    }
}

// Filters in panels of inputs, out x PANEL each, the last one padded with zeros, for the backward pass.
void inputs_in_panels(const REAL* filters, int64_t in, int64_t out, REAL* to, int64_t all, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t panel = 0; panel < all; panel += PANEL)
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < PANEL; i++)
                to[panel * out + o * PANEL + i] = panel + i < in ? filters[o * in + panel + i] : REAL(0);
}

// The outputs of one block of rows, with filters in panels.
template <int ACT>
void convolve(const Maps& maps, const Blocks& blocks, int64_t block, const REAL* filters, int64_t out, REAL* y,
              REAL* work) {
    const int64_t in = maps.channels, width = in + SKEW, many = blocks.many(block), first = block * blocks.size;
    REAL* last = work + blocks.size * width;  // ROWS x out, of which the maps may need fewer
    maps.activate<ACT>(first, many, 0, in, work, width);
    for (int64_t o = 0; o < out; o += PANEL)
        for (int64_t row = 0; row < many; row += ROWS) {
            REAL* to = row + ROWS <= many ? y + (first + row) * out : last;
            product_of(width_of(o, out))(work + row * width, width, 1, filters + o * in, width_of(o, out), to + o, out,
                                         in, false);
        }
    const int64_t rest = many % ROWS;
    if (rest) std::copy(last, last + rest * out, y + (first + many - rest) * out);
}

// Upstream gradient, and the gradients of maps, of filters, of scale and shift; null for those that are not needed.
struct Gradients {
    const REAL *d, *mean;
    REAL *gathered, *filters, *sum, *product;
};

// gathered += scale * dz, where dz is `slopes` times the derivative of the activation; and sums of dz, dz * (x - mean).
template <int ACT>
void gather(const Maps& maps, const Gradients& to, int64_t first, int64_t many, int64_t from, int64_t some,
            const REAL* slopes, double* totals) {
    REAL sums[GROUP] = {}, products[GROUP] = {};
    const REAL* __restrict s = maps.scale + from;
    const REAL* __restrict t = maps.shift + from;
    const REAL* __restrict m = to.mean + from;
    for (int64_t row = 0; row < many; row++) {
        const REAL* __restrict v = maps.x + (first + row) * maps.stride + from;
        const REAL* __restrict e = slopes + row * GROUP;
        REAL* __restrict out = to.gathered + (first + row) * maps.stride + from;
#pragma omp simd
        for (int64_t c = 0; c < some; c++) {
            const REAL dz = e[c] * slope<REAL, ACT>(v[c] * s[c] + t[c]);
            out[c] += dz * s[c];
            sums[c] += dz;
            products[c] += dz * (v[c] - m[c]);
        }
    }
    for (int64_t c = 0; c < some; c++) {
        totals[c] += sums[c];
        totals[GROUP + c] += products[c];
    }
}

// Contribution of a piece of rows to the gradients of a group of channels; `Cut` defines the layout of `share`.
template <int ACT>
void back(const Maps& maps, const Gradients& to, const Cut& cut, int64_t piece, int64_t group, const REAL* filters,
          REAL* share, REAL* work) {
    const int64_t out = cut.out, from = group * GROUP, some = cut.some(group), width = whole(some, LANES);
    REAL *slopes = work + BLOCK * GROUP, *last = slopes + BLOCK * GROUP;
    double totals[2 * GROUP] = {};
    for (int64_t first = piece * cut.size; first < cut.end(piece); first += BLOCK) {
        const int64_t many = std::min(BLOCK, cut.end(piece) - first), rest = many % ROWS;
        const REAL* d = to.d + first * out;
        if (rest) {
            std::copy(d + (many - rest) * out, d + many * out, last);
            std::fill(last + rest * out, last + ROWS * out, REAL(0));
        }
        maps.activate<ACT>(first, many, from, some, work, GROUP);
        // Written directly into the gradient if nothing else is added to it and whole rows of vectors fit.
        const bool normalised = ACT != NONE, needed = to.gathered != nullptr;
        for (int64_t panel = 0; panel < width && needed; panel += PANEL) {
            const int64_t wide = width_of(panel, width);
            const bool fits = !normalised && panel + wide <= some;
            REAL* dx = to.gathered + first * maps.stride + from + panel;
            for (int64_t row = 0; row < many; row += ROWS) {
                const bool whole_rows = row + ROWS <= many, direct = fits && whole_rows;
                product_of(wide)(whole_rows ? d + row * out : last, out, 1, filters + (from + panel) * out, PANEL,
                                 direct ? dx + row * maps.stride : slopes + row * GROUP + panel,
                                 direct ? maps.stride : GROUP, out, false);
                if (!normalised && !direct)
                    for (int64_t r = row; r < std::min(row + ROWS, many); r++)
                        std::copy_n(slopes + r * GROUP + panel, std::min(wide, some - panel), dx + r * maps.stride);
            }
        }
        if constexpr (ACT != NONE) gather<ACT>(maps, to, first, many, from, some, slopes, totals);
        for (int64_t panel = 0; panel < width && to.filters; panel += PANEL)
            for (int64_t o = 0; o < out; o += ROWS)
                product_of(width_of(panel, width))(d + o, 1, out, work + panel, GROUP, share + o * GROUP + panel, GROUP,
                                                   many, first > piece * cut.size);
    }
    std::copy(totals, totals + 2 * GROUP, share + out * GROUP);
}

// Add the contributions of the pieces.
void settle(const Cut& cut, const REAL* shares, const Gradients& to, int threads) {
    const int64_t apart = cut.groups * cut.share();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = to.filters ? 0 : cut.out; o < cut.out + (to.sum ? 2 : 0); o++)
        for (int64_t group = 0; group < cut.groups; group++)
            for (int64_t c = 0; c < cut.some(group); c++) {
                double total = 0;
                for (int64_t piece = 0; piece < cut.pieces; piece++)
                    total += shares[piece * apart + group * cut.share() + o * GROUP + c];
                const int64_t channel = group * GROUP + c;
                REAL& place = o < cut.out    ? to.filters[o * cut.channels + channel]
                              : o == cut.out ? to.sum[channel]
                                             : to.product[channel];
                place = REAL(total);
            }
}

template <int ACT>
void go_back(const Maps& maps, const Gradients& to, const REAL* filters, int64_t out, REAL* work, int threads) {
    const Cut cut(maps.rows, maps.channels, out);
    REAL *shares = work + cut.filters(), *rooms = shares + cut.pieces * cut.groups * cut.share();
    inputs_in_panels(filters, maps.channels, out, work, cut.groups * GROUP, threads);
    const int64_t tasks = cut.pieces * cut.groups;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < threads; part++)
        for (int64_t task = part * tasks / threads; task < (part + 1) * tasks / threads; task++)
            back<ACT>(maps, to, cut, task / cut.groups, task % cut.groups, work, shares + task * cut.share(),
                      rooms + part * cut.work());
    settle(cut, shares, to, threads);
}

}  // namespace

extern "C" {

// Number of values of working memory that the functions below need.
int64_t read_workspace(int64_t rows, int64_t channels, int64_t out, int threads) {
    const Blocks blocks(rows, channels);
    return channels * out + threads * (blocks.size * (channels + SKEW) + ROWS * out);
}

int64_t read_back_workspace(int64_t rows, int64_t channels, int64_t out, int threads) {
    const Cut cut(rows, channels, out);
    return cut.filters() + cut.pieces * cut.groups * cut.share() + threads * cut.work();
}

void read_of(const REAL* x, int64_t stride, int64_t rows, int64_t channels, const REAL* scale, const REAL* shift,
             int act, const REAL* filters, int64_t out, REAL* y, REAL* work, int threads) {
    const Maps maps{x, stride, rows, channels, scale, shift};
    const Blocks blocks(rows, channels);
    outputs_in_panels(filters, channels, out, work, threads);
    REAL* rooms = work + channels * out;
    const int64_t each = blocks.size * (channels + SKEW) + ROWS * out;
    with_act(act, [&](auto a) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int part = 0; part < threads; part++)
            for (int64_t block = part * blocks.count / threads; block < (part + 1) * blocks.count / threads; block++)
                convolve<a()>(maps, blocks, block, work, out, y, rooms + part * each);
    });
}

void read_back_of(const REAL* d, const REAL* x, int64_t stride, int64_t rows, int64_t channels, const REAL* scale,
                  const REAL* shift, const REAL* mean, int act, const REAL* filters, int64_t out, REAL* gathered,
                  REAL* gradient, REAL* sum, REAL* product, REAL* work, int threads) {
    const Maps maps{x, stride, rows, channels, scale, shift};
    with_act(act, [&](auto a) {
        go_back<a()>(maps, {d, mean, gathered, gradient, sum, product}, filters, out, work, threads);
    });
}

// dx and the gradient of filters, if they are needed.
void pointwise_back_of(const REAL* d, const REAL* x, int64_t rows, int64_t channels, const REAL* filters, int64_t out,
                       REAL* dx, REAL* gradient, REAL* work, int threads) {
    const Maps maps{x, channels, rows, channels, nullptr, nullptr};
    go_back<NONE>(maps, {d, nullptr, dx, gradient, nullptr, nullptr}, filters, out, work, threads);
}

}  // extern "C"
