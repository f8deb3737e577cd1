// Numbers of several samples at once: one in each lane of a vector on CPUs, one sample a thread on CUDA.
//
// S is the state's scalar; V a vector of S, W one of doubles (clocks, step sizes, errors); MV and MW are verdicts, one
// a lane. The number of lanes is fixed, so that a sample's arithmetic is the same alone and in any place of a batch.
#pragma once

#ifdef __CUDACC__
#define LANES 1
#ifdef __CUDACC_RTC__  // which has no headers
#define NAN __int_as_float(0x7fffffff)
#define INFINITY __int_as_float(0x7f800000)
#endif
#define INLINE static __device__ __forceinline__
#define FUNCTION static __device__ __noinline__
#define LONG_FUNCTION INLINE  // a call's arguments would go through memory
#define MATRIX_FUNCTION FUNCTION  // loops over matrices are written out
#define TABLE static __device__ constexpr
typedef long long Long;
typedef SCALAR S;
typedef S V;
typedef double W;
typedef bool MV;
typedef bool MW;
#define LANE(x, l) (x)
INLINE V vector(S x) { return x; }
INLINE W clocks(double x) { return x; }
INLINE V narrow(W x) { return (V)x; }
INLINE W widen(V x) { return (W)x; }
INLINE MV narrow_mask(MW m) { return m; }
INLINE MW widen_mask(MV m) { return m; }
INLINE V select(MV m, V a, V b) { return m ? a : b; }
INLINE W choose(MW m, W a, W b) { return m ? a : b; }
INLINE bool somewhere(MW m) { return m; }
INLINE MW opposite(MW m) { return !m; }
INLINE MV opposite_of(MV m) { return !m; }
INLINE MW verdict(bool x) { return x; }
INLINE V magnitude_of(V a) { return a < 0 ? -a : a; }
INLINE Long taken(Long* counter) { return atomicAdd((unsigned long long*)counter, 1ull); }
#else
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>
#define INLINE static inline __attribute__((always_inline))
#define FUNCTION static __attribute__((noinline))
#define LONG_FUNCTION FUNCTION
#define MATRIX_FUNCTION INLINE
#define TABLE static constexpr
typedef int64_t Long;
typedef SCALAR S;
typedef S V __attribute__((vector_size(LANES * sizeof(S))));
typedef double W __attribute__((vector_size(LANES * sizeof(double))));
typedef decltype(V{} < V{}) MV;
typedef decltype(W{} < W{}) MW;
#define LANE(x, l) ((x)[l])
INLINE V vector(S x) { return x - V{}; }
INLINE W clocks(double x) { return x - W{}; }
INLINE V narrow(W x) { return __builtin_convertvector(x, V); }
INLINE W widen(V x) { return __builtin_convertvector(x, W); }
INLINE MV narrow_mask(MW m) { return __builtin_convertvector(m, MV); }
INLINE MW widen_mask(MV m) { return __builtin_convertvector(m, MW); }
INLINE V select(MV m, V a, V b) { return m ? a : b; }
INLINE W choose(MW m, W a, W b) { return m ? a : b; }
INLINE bool somewhere(MW m) {
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
    typedef long long Eight __attribute__((vector_size(64)));
    if constexpr (sizeof(MW) == sizeof(Eight)) return __builtin_ia32_ptestmq512((Eight)m, (Eight)m, (unsigned char)-1);
#endif
    int64_t some = 0;
    for (int l = 0; l < LANES; ++l) some |= m[l];
    return some != 0;
}
INLINE MW opposite(MW m) { return ~m; }
INLINE MV opposite_of(MV m) { return ~m; }
INLINE MW verdict(bool x) { return MW{} - (int64_t)x; }
INLINE V magnitude_of(V a) { return (V)((MV)a & ~(MV)(-V{})); }  // without the sign's bit
INLINE Long taken(Long* counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

// A function of native vectors, applied to the parts of a wider one.
template <typename T, typename N, N (*f)(N)>
INLINE T in_parts(T x) {
    T result;
    for (unsigned i = 0; i < sizeof(T); i += sizeof(N)) {
        N part;
        memcpy(&part, (const char*)&x + i, sizeof(N));
        part = f(part);
        memcpy((char*)&result + i, &part, sizeof(N));
    }
    return result;
}
template <typename T, typename N, N (*f)(N, N)>
INLINE T in_parts(T x, T y) {
    T result;
    for (unsigned i = 0; i < sizeof(T); i += sizeof(N)) {
        N one, other;
        memcpy(&one, (const char*)&x + i, sizeof(N));
        memcpy(&other, (const char*)&y + i, sizeof(N));
        one = f(one, other);
        memcpy((char*)&result + i, &one, sizeof(N));
    }
    return result;
}
#endif

#define EACH_LANE _Pragma("GCC unroll 16") for (int l = 0; l < LANES; ++l)

INLINE W larger(W a, W b) { return choose(a > b, a, b); }  // of numbers that are not NaN
INLINE W smaller(W a, W b) { return choose(a < b, a, b); }
INLINE W magnitude(W a) { return choose(a < 0.0, -a, a); }
INLINE V larger_of(V a, V b) { return select(a > b, a, b); }
INLINE MW is_finite(W x) { return (x - x) == 0.0; }
INLINE MV not_finite(V x) { return (x - x) != vector(0); }
