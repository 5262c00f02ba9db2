// The types of stored maps (STORED) and of the arithmetic on them (REAL), as the compiler's command line gives them.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

// The upper half of a float. Maps may be stored in it; all arithmetic is on REAL.
struct bfloat16 {
    uint16_t bits;
};

inline float read(bfloat16 value) {
    const uint32_t bits = uint32_t(value.bits) << 16;
    float number;
    std::memcpy(&number, &bits, 4);
    return number;
}

template <typename T> inline T read(T value) { return value; }

inline void write(float number, bfloat16& place) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &number, 4);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    place.bits = uint16_t(number != number ? 0x7fc0u : rounded);
}

template <typename T> inline void write(T number, T& place) { place = number; }

}  // namespace
