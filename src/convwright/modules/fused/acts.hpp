// Activations and their derivatives.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace {

enum Act { IDENTITY, RELU, RELU6, SILU, HARDSWISH };

inline double exponential(double x) { return std::exp(x); }

// 2^n * e^r with |r| <= ln 2 / 2: an error of at most 2 units in the last place, and, unlike the library's, vectorised.
inline float exponential(float x) {
    x = x < -87.3f ? -87.3f : x > 88.3f ? 88.3f : x;
    const float shifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    float n = x * 1.44269504f + shifter;
    int32_t bits;
    std::memcpy(&bits, &n, 4);
    n -= shifter;
    const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    float p = 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    bits = static_cast<int32_t>((static_cast<uint32_t>(bits) + 127u) << 23);
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

// Comparisons are written so that NaN stays NaN.
template <typename T, int ACT> inline T activated(T z) {
    if constexpr (ACT == RELU) return z < T(0) ? T(0) : z;
    if constexpr (ACT == RELU6) return z < T(0) ? T(0) : z > T(6) ? T(6) : z;
    if constexpr (ACT == SILU) return z / (T(1) + exponential(-z));
    if constexpr (ACT == HARDSWISH) {
        const T gate = z + T(3);
        return z * (gate < T(0) ? T(0) : gate > T(6) ? T(6) : gate) / T(6);
    }
    return z;
}

template <typename T, int ACT> inline T slope(T z) {
    if constexpr (ACT == RELU) return z <= T(0) ? T(0) : T(1);
    if constexpr (ACT == RELU6) return z <= T(0) || z >= T(6) ? T(0) : T(1);
    if constexpr (ACT == SILU) {
        const T s = T(1) / (T(1) + exponential(-z));
        return s * (T(1) + z * (T(1) - s));
    }
    if constexpr (ACT == HARDSWISH) return z <= T(-3) ? T(0) : z >= T(3) ? T(1) : z / T(3) + T(0.5);
    return T(1);
}

template <typename Call> void with_act(int act, Call call) {
    switch (act) {
        case RELU: return call(std::integral_constant<int, RELU>());
        case RELU6: return call(std::integral_constant<int, RELU6>());
        case SILU: return call(std::integral_constant<int, SILU>());
        case HARDSWISH: return call(std::integral_constant<int, HARDSWISH>());
        default: return call(std::integral_constant<int, IDENTITY>());
    }
}

}  // namespace
