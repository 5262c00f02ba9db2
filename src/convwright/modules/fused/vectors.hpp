// Vectors as wide as the processor's registers, and matrix products of a few rows by a few vectors.

#pragma once

#include <cstdint>

#include "numbers.hpp"

namespace {

#ifdef __AVX512F__
constexpr int LANES = 64 / sizeof(REAL), ROWS = 8;
#else
constexpr int LANES = 32 / sizeof(REAL), ROWS = 4;
#endif

typedef REAL Vector __attribute__((vector_size(sizeof(REAL) * LANES)));
typedef REAL Unaligned __attribute__((vector_size(sizeof(REAL) * LANES), aligned(sizeof(REAL)), may_alias));

// Vectors that are stored in 16 bits; integers in each lane do what `read` and `write` do.
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));

inline Words words(const bfloat16* from) {
    return __builtin_convertvector(*reinterpret_cast<const Halves*>(from), Words);
}

// The rounded values, in the lower half of each lane.
inline Words rounded(Vector value) {
    Words bits;
    std::memcpy(&bits, &value, sizeof(bits));
    const Words near = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bits & 0x7fffffffu) > 0x7f800000u ? Words{} + 0x7fc0u : near;
}

template <typename T> inline Vector load(const T* from) {
    if constexpr (sizeof(T) == 2) {
        const Words bits = words(from) << 16;
        Vector value;
        std::memcpy(&value, &bits, sizeof(bits));
        return value;
    } else {
        return *reinterpret_cast<const Unaligned*>(from);
    }
}

template <typename T> inline void store(T* to, Vector value) {
    if constexpr (sizeof(T) == 2)
        *reinterpret_cast<Halves*>(to) = __builtin_convertvector(rounded(value), Halves);
    else
        *reinterpret_cast<Unaligned*>(to) = value;
}

inline int64_t parts_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

// c = a b, or c += a b: ROWS rows by WIDE vectors; a is read at a[row * a_row + k * a_step]. The previous value of c is
// added last, so that sums over many products do not become one long chain.
template <int WIDE>
void product(const REAL* a, int64_t a_row, int64_t a_step, const REAL* b, int64_t b_step, REAL* c, int64_t c_row,
             int64_t depth, bool add) {
    Vector sums[ROWS][WIDE];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < WIDE; v++) sums[row][v] = Vector{};
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
        for (int v = 0; v < WIDE; v++) {
            REAL* place = c + row * c_row + v * LANES;
            store(place, add ? load(place) + sums[row][v] : sums[row][v]);
        }
}

// Width of the panel of `out` values that starts at `at`: two vectors, or the rest.
inline int64_t width_of(int64_t at, int64_t out) { return out - at < 2 * LANES ? out - at : 2 * LANES; }

// The product for panels of this width, one vector or two.
inline auto product_of(int64_t width) { return width == LANES ? product<1> : product<2>; }

}  // namespace
