// Batch normalisation with the operations around it, in as few passes over memory as possible; kernels.py defines each
// function. Maps are rows of C channels (channels last), `rows` of them per image; the rows of `x` may be `stride`
// values apart, as the first channels of wider maps are.
//
// Sums are computed over pieces whose size depends only on the shape, and added in a fixed order, so that the result
// does not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "acts.hpp"
#include "numbers.hpp"

namespace {

using Maps = STORED;

constexpr int64_t PIECE = 1 << 14;  // values that stay in the processor's cache
constexpr int64_t VECTOR = 16;      // values of the widest registers

struct Grid {
    int64_t images, rows, channels, pieces, size;

    Grid(int64_t images, int64_t rows, int64_t channels) : images(images), rows(rows), channels(channels) {
        size = std::clamp<int64_t>(PIECE / channels, 1, rows);
        pieces = (rows + size - 1) / size;
    }
    int64_t count() const { return images * pieces; }
    int64_t first(int64_t piece) const { return piece % pieces * size; }
    int64_t many(int64_t piece) const { return std::min(size, rows - first(piece)); }
    int64_t row(int64_t piece) const { return piece / pieces * rows + first(piece); }
};

// Number of rows that are treated as one, so that whole vectors fit if channels are few or an odd number.
int64_t joined(int64_t channels, bool contiguous) {
    if (!contiguous) return 1;
    int64_t times = 1;
    while (times * channels % VECTOR && times < VECTOR) times *= 2;
    while (times * channels < 4 * VECTOR) times *= 2;
    return times;
}

template <typename T> struct Tiled {
    std::vector<T> values;
    Tiled(const T* from, int64_t channels, int64_t times) : values(channels * times, T(0)) {
        if (from) fill(from, channels);
    }
    void fill(const T* from, int64_t channels) {
        for (size_t at = 0; at < values.size(); at += channels) std::copy(from, from + channels, values.data() + at);
    }
    const T* data() const { return values.data(); }
};

// Add the sums of all pieces for each channel; the sums of a piece are `apart` values apart, for rows treated as one.
template <typename T>
void collect(const T* parts, int64_t pieces, int64_t apart, int64_t channels, int64_t width, double* sums) {
    std::fill(sums, sums + channels, 0.0);
    for (int64_t piece = 0; piece < pieces; piece++)
        for (int64_t j = 0; j < width; j += channels)
            for (int64_t c = 0; c < channels; c++) sums[c] += parts[piece * apart + j + c];
}

template <typename T>
void statistics(const Maps* x, int64_t stride, int64_t images, int64_t rows, int64_t channels, T* mean, T* variance,
                T* means, int threads) {
    const Grid grid(images, rows, channels);
    const int64_t times = joined(channels, stride == channels), width = times * channels;
    std::vector<T> near(channels);  // the mean: squared distances to it keep the digits of the variance
    std::transform(x, x + channels, near.begin(), [](Maps value) { return read(value); });
    const Tiled<T> pivot(near.data(), channels, times);
    std::vector<T> first(grid.count() * width), second(grid.count() * width);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t piece = 0; piece < grid.count(); piece++) {
        T* __restrict a = first.data() + piece * width;
        T* __restrict b = second.data() + piece * width;
        const T* __restrict p = pivot.data();
        const int64_t many = grid.many(piece);
        for (int64_t row = 0; row < many; row += times) {
            const Maps* __restrict v = x + (grid.row(piece) + row) * stride;
            const int64_t now = std::min(times, many - row) * channels;
#pragma omp simd
            for (int64_t j = 0; j < now; j++) {
                const T d = read(v[j]) - p[j];
                a[j] += d;
                b[j] += d * d;
            }
        }
    }
    std::vector<double> sums(channels), squares(channels), some(channels);
    collect(second.data(), grid.count(), width, channels, width, squares.data());
    for (int64_t image = 0; image < images; image++) {
        collect(first.data() + image * grid.pieces * width, grid.pieces, width, channels, width, some.data());
        for (int64_t c = 0; c < channels; c++) {
            sums[c] += some[c];
            means[image * channels + c] = T(double(near[c]) + some[c] / rows);
        }
    }
    const double total = double(images) * rows;
    for (int64_t c = 0; c < channels; c++) {
        const double off = sums[c] / total;
        mean[c] = T(double(near[c]) + off);
        const double spread = squares[c] / total - off * off;
        variance[c] = T(spread < 0 ? 0 : spread);
    }
}

// y = final(act(x * scale + shift) * gate + residual); the rows of the residual may be `apart` values apart.
template <typename T, int ACT, bool GATED, bool SUMMED>
void forward(const Maps* x, int64_t stride, int64_t images, int64_t rows, int64_t channels, const T* scale,
             const T* shift, const T* gate, const Maps* residual, int64_t apart, int rectified, Maps* y, int threads) {
    const Grid grid(images, rows, channels);
    const int64_t times = joined(channels, stride == channels && (!SUMMED || apart == channels));
    const Tiled<T> scales(scale, channels, times), shifts(shift, channels, times);
    const T floor = rectified ? T(0) : -INFINITY;
#pragma omp parallel num_threads(threads)
    {
        Tiled<T> gates(nullptr, GATED ? channels : 0, times);
#pragma omp for schedule(static)
        for (int64_t piece = 0; piece < grid.count(); piece++) {
            if constexpr (GATED) gates.fill(gate + piece / grid.pieces * channels, channels);
            const T* __restrict s = scales.data();
            const T* __restrict t = shifts.data();
            const T* __restrict g = gates.data();
            const int64_t many = grid.many(piece);
            for (int64_t row = 0; row < many; row += times) {
                const int64_t at = grid.row(piece) + row;
                const Maps* __restrict v = x + at * stride;
                const Maps* __restrict r = residual + at * apart;
                Maps* __restrict out = y + at * channels;
                const int64_t now = std::min(times, many - row) * channels;
#pragma omp simd
                for (int64_t j = 0; j < now; j++) {
                    T u = activated<T, ACT>(read(v[j]) * s[j] + t[j]);
                    if constexpr (GATED) u *= g[j];
                    if constexpr (SUMMED) {
                        u += read(r[j]);
                        u = u < floor ? floor : u;
                    }
                    write(u, out[j]);
                }
            }
        }
    }
}

// Sum `term(row, width, accumulators)` over each image's rows, to SUMS x images x channels; the accumulators of the
// sums follow each other, `times * channels` each.
template <typename T, int SUMS, typename Term>
void by_image(const Grid& grid, int64_t times, double factor, T* sums, int threads, Term term) {
    const int64_t width = times * grid.channels;
    std::vector<T> parts(grid.count() * SUMS * width);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t piece = 0; piece < grid.count(); piece++) {
        const int64_t many = grid.many(piece);
        for (int64_t row = 0; row < many; row += times)
            term(grid.row(piece) + row, std::min(times, many - row) * grid.channels,
                 parts.data() + piece * SUMS * width);
    }
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t k = 0; k < SUMS; k++)
        for (int64_t image = 0; image < grid.images; image++) {
            std::vector<double> some(grid.channels);
            collect(parts.data() + (image * grid.pieces * SUMS + k) * width, grid.pieces, SUMS * width, grid.channels,
                    width, some.data());
            for (int64_t c = 0; c < grid.channels; c++)
                sums[(k * grid.images + image) * grid.channels + c] = T(some[c] * factor);
        }
}

// The mean of act(x * scale + shift) over each image.
template <typename T, int ACT>
void squeeze(const Maps* x, int64_t images, int64_t rows, int64_t channels, const T* scale, const T* shift, T* means,
             int threads) {
    const Grid grid(images, rows, channels);
    const int64_t times = joined(channels, true);
    const Tiled<T> scales(scale, channels, times), shifts(shift, channels, times);
    by_image<T, 1>(grid, times, 1.0 / rows, means, threads, [&](int64_t at, int64_t now, T* accumulator) {
        const Maps* __restrict v = x + at * channels;
        const T* __restrict s = scales.data();
        const T* __restrict t = shifts.data();
        T* __restrict a = accumulator;
#pragma omp simd
        for (int64_t j = 0; j < now; j++) a[j] += activated<T, ACT>(read(v[j]) * s[j] + t[j]);
    });
}

// Five sums over each image and, if the output is a ReLU, the gradient of its input.
template <typename T, int ACT, bool MASKED>
void gate_backward(const Maps* d, const Maps* y, const Maps* x, int64_t images, int64_t rows, int64_t channels,
                   const T* scale, const T* shift, const T* mean, Maps* d_sum, T* sums, int threads) {
    constexpr bool LINEAR = ACT == IDENTITY || ACT == RELU;  // act(z) = z * slope: the first sum follows from others
    const Grid grid(images, rows, channels);
    const int64_t times = joined(channels, true), width = times * channels, size = images * channels;
    const Tiled<T> scales(scale, channels, times), shifts(shift, channels, times), means(mean, channels, times);
    by_image<T, 5>(grid, times, 1.0, sums, threads, [&](int64_t at, int64_t now, T* accumulators) {
        const Maps* __restrict e = d + at * channels;
        const Maps* __restrict v = x + at * channels;
        const Maps* __restrict o = y + at * channels;
        const T* __restrict s = scales.data();
        const T* __restrict t = shifts.data();
        const T* __restrict m = means.data();
        Maps* __restrict w = d_sum + at * channels;
        T* __restrict gate = accumulators;
        T* __restrict slopes = accumulators + width;
        T* __restrict products = accumulators + 2 * width;
        T* __restrict d_slopes = accumulators + 3 * width;
        T* __restrict d_products = accumulators + 4 * width;
#pragma omp simd
        for (int64_t j = 0; j < now; j++) {
            T g = read(e[j]);
            if constexpr (MASKED) {
                g = read(o[j]) <= T(0) ? T(0) : g;
                write(g, w[j]);
            }
            const T z = read(v[j]) * s[j] + t[j], r = slope<T, ACT>(z), p = r * (read(v[j]) - m[j]);
            if constexpr (!LINEAR) gate[j] += g * activated<T, ACT>(z);
            if constexpr (ACT != IDENTITY) slopes[j] += r;
            products[j] += p;
            d_slopes[j] += g * r;
            d_products[j] += g * p;
        }
    });
    if constexpr (ACT == IDENTITY) std::fill(sums + size, sums + 2 * size, T(rows));
    if constexpr (LINEAR)
        for (int64_t at = 0; at < size; at++) {
            const int64_t c = at % channels;
            sums[at] = scale[c] * sums[4 * size + at] + (scale[c] * mean[c] + shift[c]) * sums[3 * size + at];
        }
}

// Gradient of the normalised maps: (d, with 0 where y is 0) * gate + squeezed, times the derivative of the activation.
template <typename T> struct Upstream {
    const Maps *d, *y;
    const T *gate, *squeezed;
};

template <typename T, int ACT, bool GATED, bool MASKED>
void backward_sums(Upstream<T> up, const Maps* x, int64_t images, int64_t rows, int64_t channels, const T* scale,
                   const T* shift, const T* mean, T* sum, T* product, int threads) {
    const Grid grid(images, rows, channels);
    const int64_t times = joined(channels, true), width = times * channels;
    const Tiled<T> scales(scale, channels, times), shifts(shift, channels, times), means(mean, channels, times);
    std::vector<T> first(grid.count() * width), second(grid.count() * width);
#pragma omp parallel num_threads(threads)
    {
        Tiled<T> gates(nullptr, GATED ? channels : 0, times), squeezes(nullptr, GATED ? channels : 0, times);
#pragma omp for schedule(static)
        for (int64_t piece = 0; piece < grid.count(); piece++) {
            if constexpr (GATED) {
                gates.fill(up.gate + piece / grid.pieces * channels, channels);
                squeezes.fill(up.squeezed + piece / grid.pieces * channels, channels);
            }
            T* __restrict a = first.data() + piece * width;
            T* __restrict b = second.data() + piece * width;
            const T* __restrict s = scales.data();
            const T* __restrict t = shifts.data();
            const T* __restrict m = means.data();
            const T* __restrict g = gates.data();
            const T* __restrict q = squeezes.data();
            const int64_t many = grid.many(piece);
            for (int64_t row = 0; row < many; row += times) {
                const int64_t at = (grid.row(piece) + row) * channels;
                const Maps* __restrict e = up.d + at;
                const Maps* __restrict o = up.y + at;
                const Maps* __restrict v = x + at;
                const int64_t now = std::min(times, many - row) * channels;
#pragma omp simd
                for (int64_t j = 0; j < now; j++) {
                    T dz = read(e[j]);
                    if constexpr (MASKED) dz = read(o[j]) <= T(0) ? T(0) : dz;
                    if constexpr (GATED) dz = dz * g[j] + q[j];
                    if constexpr (ACT != IDENTITY) dz *= slope<T, ACT>(read(v[j]) * s[j] + t[j]);
                    a[j] += dz;
                    b[j] += dz * (read(v[j]) - m[j]);
                }
            }
        }
    }
    std::vector<double> sums(channels);
    collect(first.data(), grid.count(), width, channels, width, sums.data());
    std::copy(sums.begin(), sums.end(), sum);
    collect(second.data(), grid.count(), width, channels, width, sums.data());
    std::copy(sums.begin(), sums.end(), product);
}

// dx = scale * dz + linear * x + offset, and the gradient of the sum if it is needed.
template <typename T, int ACT, bool GATED, bool MASKED>
void backward_input(Upstream<T> up, const Maps* x, int64_t images, int64_t rows, int64_t channels, const T* scale,
                    const T* shift, const T* linear, const T* offset, Maps* dx, Maps* d_sum, int threads) {
    const Grid grid(images, rows, channels);
    const int64_t times = joined(channels, true);
    const Tiled<T> scales(scale, channels, times), shifts(shift, channels, times);
    const Tiled<T> linears(linear, channels, times), offsets(offset, channels, times);
#pragma omp parallel num_threads(threads)
    {
        Tiled<T> gates(nullptr, GATED ? channels : 0, times), squeezes(nullptr, GATED ? channels : 0, times);
#pragma omp for schedule(static)
        for (int64_t piece = 0; piece < grid.count(); piece++) {
            if constexpr (GATED) {
                gates.fill(up.gate + piece / grid.pieces * channels, channels);
                squeezes.fill(up.squeezed + piece / grid.pieces * channels, channels);
            }
            const T* __restrict s = scales.data();
            const T* __restrict t = shifts.data();
            const T* __restrict k = linears.data();
            const T* __restrict l = offsets.data();
            const T* __restrict g = gates.data();
            const T* __restrict q = squeezes.data();
            const int64_t many = grid.many(piece);
            for (int64_t row = 0; row < many; row += times) {
                const int64_t at = (grid.row(piece) + row) * channels;
                const Maps* __restrict e = up.d + at;
                const Maps* __restrict o = up.y + at;
                const Maps* __restrict v = x + at;
                Maps* __restrict out = dx + at;
                Maps* __restrict w = d_sum + at;
                const int64_t now = std::min(times, many - row) * channels;
#pragma omp simd
                for (int64_t j = 0; j < now; j++) {
                    T dz = read(e[j]);
                    if constexpr (MASKED) {
                        dz = read(o[j]) <= T(0) ? T(0) : dz;
                        write(dz, w[j]);
                    }
                    if constexpr (GATED) dz = dz * g[j] + q[j];
                    if constexpr (ACT != IDENTITY) dz *= slope<T, ACT>(read(v[j]) * s[j] + t[j]);
                    write(dz * s[j] + (read(v[j]) * k[j] + l[j]), out[j]);
                }
            }
        }
    }
}

// Gradient of one reader of shared maps: gathered += scale * dz, and the two sums of backward_sums.
template <typename T, int ACT>
void gather(const Maps* d, const Maps* x, int64_t stride, int64_t images, int64_t rows, int64_t channels,
            const T* scale, const T* shift, const T* mean, Maps* gathered, T* sum, T* product, int threads) {
    const Grid grid(images, rows, channels);
    std::vector<T> first(grid.count() * channels), second(grid.count() * channels);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t piece = 0; piece < grid.count(); piece++) {
        T* __restrict a = first.data() + piece * channels;
        T* __restrict b = second.data() + piece * channels;
        for (int64_t row = 0; row < grid.many(piece); row++) {
            const int64_t at = grid.row(piece) + row;
            const Maps* __restrict e = d + at * channels;
            const Maps* __restrict v = x + at * stride;
            Maps* __restrict out = gathered + at * stride;
#pragma omp simd
            for (int64_t j = 0; j < channels; j++) {
                const T dz = read(e[j]) * slope<T, ACT>(read(v[j]) * scale[j] + shift[j]);
                write(read(out[j]) + dz * scale[j], out[j]);
                a[j] += dz;
                b[j] += dz * (read(v[j]) - mean[j]);
            }
        }
    }
    std::vector<double> sums(channels);
    collect(first.data(), grid.count(), channels, channels, channels, sums.data());
    std::copy(sums.begin(), sums.end(), sum);
    collect(second.data(), grid.count(), channels, channels, channels, sums.data());
    std::copy(sums.begin(), sums.end(), product);
}

template <typename Call> void with_flags(bool one, bool other, Call call) {
    if (one && other) return call(std::true_type(), std::true_type());
    if (one) return call(std::true_type(), std::false_type());
    if (other) return call(std::false_type(), std::true_type());
    return call(std::false_type(), std::false_type());
}

}  // namespace

extern "C" {

void statistics_of(const Maps* x, int64_t stride, int64_t images, int64_t rows, int64_t channels, REAL* mean,
                   REAL* variance, REAL* means, int threads) {
    statistics<REAL>(x, stride, images, rows, channels, mean, variance, means, threads);
}

void forward_of(const Maps* x, int64_t stride, int64_t images, int64_t rows, int64_t channels, const REAL* scale,
                const REAL* shift, int act, const REAL* gate, const Maps* residual, int64_t apart, int rectified,
                Maps* y, int threads) {
    with_act(act, [&](auto a) {
        with_flags(gate, residual, [&](auto g, auto r) {
            forward<REAL, a(), g(), r()>(x, stride, images, rows, channels, scale, shift, gate, residual, apart,
                                         rectified, y, threads);
        });
    });
}

void squeeze_of(const Maps* x, int64_t images, int64_t rows, int64_t channels, const REAL* scale, const REAL* shift,
                int act, REAL* means, int threads) {
    with_act(act, [&](auto a) { squeeze<REAL, a()>(x, images, rows, channels, scale, shift, means, threads); });
}

void gate_backward_of(const Maps* d, const Maps* y, const Maps* x, int64_t images, int64_t rows, int64_t channels,
                      const REAL* scale, const REAL* shift, const REAL* mean, int act, Maps* d_sum, REAL* sums,
                      int threads) {
    with_act(act, [&](auto a) {
        if (y)
            gate_backward<REAL, a(), true>(d, y, x, images, rows, channels, scale, shift, mean, d_sum, sums, threads);
        else
            gate_backward<REAL, a(), false>(d, y, x, images, rows, channels, scale, shift, mean, d_sum, sums, threads);
    });
}

void backward_sums_of(const Maps* d, const Maps* y, const REAL* gate, const REAL* squeezed, const Maps* x,
                      int64_t images, int64_t rows, int64_t channels, const REAL* scale, const REAL* shift,
                      const REAL* mean, int act, REAL* sum, REAL* product, int threads) {
    with_act(act, [&](auto a) {
        with_flags(gate, y, [&](auto g, auto m) {
            backward_sums<REAL, a(), g(), m()>({d, y, gate, squeezed}, x, images, rows, channels, scale, shift, mean,
                                               sum, product, threads);
        });
    });
}

void backward_input_of(const Maps* d, const Maps* y, const REAL* gate, const REAL* squeezed, const Maps* x,
                       int64_t images, int64_t rows, int64_t channels, const REAL* scale, const REAL* shift,
                       const REAL* linear, const REAL* offset, int act, Maps* dx, Maps* d_sum, int threads) {
    with_act(act, [&](auto a) {
        with_flags(gate, y, [&](auto g, auto m) {
            backward_input<REAL, a(), g(), m()>({d, y, gate, squeezed}, x, images, rows, channels, scale, shift, linear,
                                                offset, dx, d_sum, threads);
        });
    });
}

void gather_of(const Maps* d, const Maps* x, int64_t stride, int64_t images, int64_t rows, int64_t channels,
               const REAL* scale, const REAL* shift, const REAL* mean, int act, Maps* gathered, REAL* sum,
               REAL* product, int threads) {
    with_act(act, [&](auto a) {
        gather<REAL, a()>(d, x, stride, images, rows, channels, scale, shift, mean, gathered, sum, product, threads);
    });
}

}  // extern "C"
