// The backward pass of depthwise convolutions: the gradients of maps and of filters in one pass over both.
//
// Maps are rows of channels (channels last), and channels fill whole vectors; they may be stored in 16 bits, while
// filters, their gradient and all arithmetic are REAL. depthwise.py defines the function. The division of work depends
// only on the shape, and every sum has a fixed order, for any number of threads.

#include <algorithm>
#include <type_traits>

#include "numbers.hpp"
#include "vectors.hpp"

namespace {

using Maps = STORED;

constexpr int64_t PIECES = 8;          // of the images, each with its own gradient of the filters
constexpr int64_t GROUP = 256;         // channels that are processed together
constexpr int64_t IN_CACHE = (1 << 20) / sizeof(Maps);  // values of rows that fit into the second-level cache
constexpr int SIDE = 4;                // columns that are computed together

struct Shape {
    int64_t images, height, width, channels, down, across, kernel, stride, top, left;

    int64_t pieces() const { return std::min(images, PIECES); }
    int64_t groups() const { return (channels + GROUP - 1) / GROUP; }
    int64_t some(int64_t from) const { return std::min(GROUP, channels - from); }
    int64_t taps() const { return kernel * kernel; }
    // Rows of the outputs that are processed at a time.
    int64_t rows(int64_t some) const {
        return std::clamp<int64_t>(IN_CACHE / ((2 * stride * width + across) * some), 1, down);
    }
    // First row that the outputs of a row read; it may be before the first row of the map.
    int64_t above(int64_t row) const { return row * stride - top; }
    int64_t before(int64_t column) const { return column * stride - left; }
};

// One image of all maps, from a channel on.
struct Image {
    const Maps *x, *d;
    Maps* dx;
};

// Add the contribution of SIDE columns of outputs, the first of which reads `x` and has the gradient `d`, to the sums of
// a row of filters. Each value of the maps is loaded once. There are two sums for each value of the filters, so that
// additions do not wait for each other.
template <int KERNEL, int STRIDE, int COUNT>
inline void gather_columns(const Maps* x, const Maps* d, int64_t channels, Vector (*sums)[2]) {
    constexpr int READ = (COUNT - 1) * STRIDE + KERNEL;
    Vector values[READ];
#pragma GCC unroll 16
    for (int i = 0; i < READ; i++) values[i] = load(x + i * channels);
#pragma GCC unroll 4
    for (int side = 0; side < COUNT; side++) {
        const Vector slope = load(d + side * channels);
#pragma GCC unroll 8
        for (int k = 0; k < KERNEL; k++) sums[k][side % 2] += values[side * STRIDE + k] * slope;
    }
}

// Add the contribution of some rows of outputs to the gradient of filters, taps x channels.
template <int KERNEL, int STRIDE>
void gather_filters(const Shape& shape, const Image& image, int64_t first, int64_t last, int64_t some, REAL* gradient) {
    const int64_t channels = shape.channels;
    const int64_t low = std::min((shape.left + STRIDE - 1) / STRIDE, shape.across);
    const int64_t inside = (shape.width + shape.left - KERNEL) / STRIDE + 1;
    const int64_t high = shape.width + shape.left < KERNEL ? low : std::clamp(inside, low, shape.across);
    for (int64_t c = 0; c < some; c += LANES)
        for (int64_t y = 0; y < KERNEL; y++) {
            Vector sums[KERNEL][2] = {};
            for (int64_t row = first; row < last; row++) {
                const int64_t above = shape.above(row) + y;
                if (above < 0 || above >= shape.height) continue;
                const Maps* x = image.x + above * shape.width * channels + c;
                const Maps* d = image.d + row * shape.across * channels + c;
                const auto edge = [&](int64_t column) {
                    const int64_t before = shape.before(column);
                    const Vector slope = load(d + column * channels);
                    for (int k = 0; k < KERNEL; k++)
                        if (before + k >= 0 && before + k < shape.width)
                            sums[k][0] += load(x + (before + k) * channels) * slope;
                };
                const auto whole = [&](int64_t column, auto count) {
                    gather_columns<KERNEL, STRIDE, count()>(x + shape.before(column) * channels, d + column * channels,
                                                            channels, sums);
                };
                int64_t column = 0;
                for (; column < low; column++) edge(column);
                for (; column + SIDE <= high; column += SIDE) whole(column, std::integral_constant<int, SIDE>());
                for (; column + 2 <= high; column += 2) whole(column, std::integral_constant<int, 2>());
                for (; column < shape.across; column++) edge(column);
            }
            for (int k = 0; k < KERNEL; k++) {
                REAL* place = gradient + (y * KERNEL + k) * channels + c;
                store(place, load(place) + (sums[k][0] + sums[k][1]));
            }
        }
}

// Columns of maps that are `stride` apart: output column `at + offset - k` contributes to column `at` through the
// filter's column `first + k * stride`, for TAPS values of k.
struct Columns {
    int64_t residue, count, first, offset;

    Columns(const Shape& shape, int64_t residue) : residue(residue) {
        count = (shape.width - residue + shape.stride - 1) / shape.stride;
        first = (residue + shape.left) % shape.stride;
        offset = (residue + shape.left - first) / shape.stride;
    }
    int64_t taps(const Shape& shape) const { return (shape.kernel - first + shape.stride - 1) / shape.stride; }
};

// Rows of outputs that read a row of maps, with the filter's row for each.
struct Readers {
    int64_t count = 0, output[8], tap[8];

    Readers(const Shape& shape, int64_t row) {
        for (int64_t y = (row + shape.top) % shape.stride; y < shape.kernel; y += shape.stride) {
            const int64_t from = row + shape.top - y;
            if (from < 0 || from / shape.stride >= shape.down) continue;
            output[count] = from / shape.stride;
            tap[count++] = y;
        }
    }
};

template <int TAPS>
void scatter_columns(const Shape& shape, const Image& image, const Readers& readers, const Columns& columns,
                     const REAL* filters, Maps* to) {
    const int64_t channels = shape.channels;
    const int64_t low = std::clamp<int64_t>(TAPS - 1 - columns.offset, 0, columns.count);
    const int64_t high = std::clamp<int64_t>(shape.across - columns.offset, low, columns.count);
    const auto weight = [&](int64_t reader, int k) {
        return load(filters + (readers.tap[reader] * shape.kernel + columns.first + k * shape.stride) * channels);
    };
    const auto place = [&](int64_t at) { return to + (columns.residue + at * shape.stride) * channels; };
    const auto edge = [&](int64_t at) {
        Vector sum = {};
        for (int64_t r = 0; r < readers.count; r++)
            for (int k = 0; k < TAPS; k++) {
                const int64_t column = at + columns.offset - k;
                if (column >= 0 && column < shape.across)
                    sum += load(image.d + (readers.output[r] * shape.across + column) * channels) * weight(r, k);
            }
        store(place(at), sum);
    };
    for (int64_t at = 0; at < low; at++) edge(at);
    int64_t at = low;
    for (; at + SIDE <= high; at += SIDE) {
        Vector sums[SIDE] = {};
        for (int64_t r = 0; r < readers.count; r++) {
            const Maps* d = image.d + (readers.output[r] * shape.across + at + columns.offset) * channels;
            Vector slopes[SIDE + TAPS - 1];
#pragma GCC unroll 16
            for (int i = 0; i < SIDE + TAPS - 1; i++) slopes[i] = load(d + (i - TAPS + 1) * channels);
#pragma GCC unroll 8
            for (int k = 0; k < TAPS; k++) {
                const Vector w = weight(r, k);
#pragma GCC unroll 4
                for (int side = 0; side < SIDE; side++) sums[side] += slopes[side - k + TAPS - 1] * w;
            }
        }
        for (int side = 0; side < SIDE; side++) store(place(at + side), sums[side]);
    }
    for (; at < columns.count; at++) edge(at);
}

// The gradient of some rows of maps; filters are taps x channels.
void scatter_rows(const Shape& shape, const Image& image, int64_t first, int64_t last, int64_t some,
                  const REAL* filters) {
    for (int64_t row = first; row < last; row++) {
        const Readers readers(shape, row);
        for (int64_t residue = 0; residue < std::min(shape.stride, shape.width); residue++) {
            const Columns columns(shape, residue);
            for (int64_t c = 0; c < some; c += LANES) {
                const Image from{nullptr, image.d + c, nullptr};
                Maps* to = image.dx + row * shape.width * shape.channels + c;
                const auto scatter = [&](auto taps) {
                    scatter_columns<taps()>(shape, from, readers, columns, filters + c, to);
                };
                switch (columns.taps(shape)) {
                    case 1: scatter(std::integral_constant<int, 1>()); break;
                    case 2: scatter(std::integral_constant<int, 2>()); break;
                    case 3: scatter(std::integral_constant<int, 3>()); break;
                    case 4: scatter(std::integral_constant<int, 4>()); break;
                    case 5: scatter(std::integral_constant<int, 5>()); break;
                    default: scatter(std::integral_constant<int, 7>());
                }
            }
        }
    }
}

// Gradients of some images for a group of channels: `dx`, and a part of the gradient of filters, if they are needed.
template <int KERNEL, int STRIDE>
void back(const Shape& shape, const Maps* x, const Maps* d, const REAL* filters, int64_t piece, int64_t from, Maps* dx,
          REAL* gradient) {
    const int64_t some = shape.some(from), rows = shape.rows(some), size = shape.width * shape.channels;
    for (int64_t tap = 0; tap < shape.taps() && gradient; tap++)
        std::fill_n(gradient + tap * shape.channels + from, some, REAL(0));
    const int64_t pieces = shape.pieces();
    for (int64_t n = piece * shape.images / pieces; n < (piece + 1) * shape.images / pieces; n++) {
        const int64_t at = n * shape.height * size + from;
        const Image image{x + at, d + n * shape.down * shape.across * shape.channels + from, dx ? dx + at : nullptr};
        for (int64_t row = 0; row < shape.down; row += rows) {
            const int64_t end = std::min(row + rows, shape.down);
            if (gradient) gather_filters<KERNEL, STRIDE>(shape, image, row, end, some, gradient + from);
            if (dx)
                scatter_rows(shape, image, std::min(row * shape.stride, shape.height),
                             end == shape.down ? shape.height : std::min(end * shape.stride, shape.height), some,
                             filters + from);
        }
    }
}

}  // namespace

extern "C" {

// Number of values of working memory that the function below needs.
int64_t depthwise_back_workspace(int64_t images, int64_t channels, int64_t kernel, int) {
    return (1 + std::min(images, PIECES)) * kernel * kernel * channels;
}

void depthwise_back_of(const Maps* x, const Maps* d, int64_t images, int64_t height, int64_t width, int64_t channels,
                       int64_t down, int64_t across, int64_t kernel, int64_t stride, int64_t top, int64_t left,
                       const REAL* filters, Maps* dx, REAL* gradient, REAL* work, int threads) {
    const Shape shape{images, height, width, channels, down, across, kernel, stride, top, left};
    const int64_t pieces = shape.pieces(), groups = shape.groups(), size = shape.taps() * channels;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t tap = 0; tap < shape.taps(); tap++) work[tap * channels + c] = filters[c * shape.taps() + tap];
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t piece = 0; piece < pieces; piece++)
        for (int64_t group = 0; group < groups; group++) {
            REAL* share = gradient ? work + (1 + piece) * size : nullptr;
            const auto run = [&](auto side) {
                if (stride == 1)
                    back<side(), 1>(shape, x, d, work, piece, group * GROUP, dx, share);
                else
                    back<side(), 2>(shape, x, d, work, piece, group * GROUP, dx, share);
            };
            if (kernel == 3)
                run(std::integral_constant<int, 3>());
            else if (kernel == 5)
                run(std::integral_constant<int, 5>());
            else
                run(std::integral_constant<int, 7>());
        }
    if (!gradient) return;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t c = 0; c < channels; c++)
        for (int64_t tap = 0; tap < shape.taps(); tap++) {
            double total = 0;
            for (int64_t piece = 0; piece < pieces; piece++) total += work[(1 + piece) * size + tap * channels + c];
            gradient[c * shape.taps() + tap] = REAL(total);
        }
}

}  // extern "C"
