// core/config.hpp: what every file of weir may count on: the version, a compiler that gets coroutines
// right, and the few macros for which C++ has no words. Rests on nothing; costs nothing to include.
#pragma once

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

// g++ 12 destroys closures and aggregates in co_await expressions twice and can take the wrong branch of
// `if (co_await ...)`: programs compile and then corrupt memory. So it is refused here and not only by CMake.
// Defining WEIR_UNSUPPORTED_COMPILER lets any compiler try, at the user's own risk.
#if !defined(WEIR_UNSUPPORTED_COMPILER)
#if defined(__clang__)
#if __clang_major__ < 16
#error "weir needs clang 16 or newer: install clang-19"
#endif
#elif defined(__GNUC__)
#if __GNUC__ < 13
#error "weir needs g++ 13 or newer (g++ 12 miscompiles coroutines): install clang-19 or g++-13"
#endif
#else
#error "weir needs clang 16 or newer, or g++ 13 or newer: install clang-19"
#endif
#endif

#if __cplusplus < 202002L
#error "weir needs C++20: compile with -std=c++20 or newer"
#endif
#if !defined(__linux__)
#error "weir runs on Linux only"
#endif

/// A function whose body must not be merged into its callers. Access to a thread_local goes through
/// one of these, because an address that is kept across a suspension belongs to another thread after it.
#define WEIR_NOINLINE [[gnu::noinline]]

/// A function on a path so hot that the compiler's own judgement was measured to be wrong.
#define WEIR_ALWAYS_INLINE [[gnu::always_inline]] inline

/// A function that runs rarely (errors, reports): kept away from the hot code.
#define WEIR_COLD [[gnu::cold, gnu::noinline]]

/// A class that is one pointer and may be handed over in a register (15 % of the await of a ready task). Only clang
/// can, so objects of clang and of g++ do not go together: WEIR_COMPILER is part of a name that every user of
/// the library needs, and a mix does not link.
#if defined(__clang__)
#define WEIR_IN_REGISTERS clang::trivial_abi
#define WEIR_COMPILER built_with_clang
#else
#define WEIR_IN_REGISTERS
#define WEIR_COMPILER built_with_gcc
#endif

// 1 under the sanitizer of that name, else 0.
#if defined(__SANITIZE_ADDRESS__)
#define WEIR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_ASAN 1
#endif
#endif
#if !defined(WEIR_ASAN)
#define WEIR_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define WEIR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_TSAN 1
#endif
#endif
#if !defined(WEIR_TSAN)
#define WEIR_TSAN 0
#endif
