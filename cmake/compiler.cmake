# Which compilers are taken, and the options that every target here is compiled with.

# g++ 12 miscompiles coroutines: closures and aggregates in a co_await expression are destroyed twice,
# `if (co_await ...)` can take the wrong branch, and without optimisation there are no tail calls, so
# that long chains of awaits overflow the stack. clang before 16 lacks C++20 pieces the headers use.
# core/config.hpp says the same to compilers that come by another way than CMake.
set(_found "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER})")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(_refused TRUE)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
  set(_refused TRUE)
elseif(NOT CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang)$")
  set(_refused TRUE)
endif()
if(_refused)
  message(FATAL_ERROR "weir needs clang 16 or newer, or g++ 13 or newer, and this is ${_found}: install clang-19 "
                      "(apt-get install clang-19) and configure with `cmake --preset release` in a new build directory.")
endif()
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  message(FATAL_ERROR "weir runs on Linux only (it is built on io_uring and epoll), and this is ${CMAKE_SYSTEM_NAME}.")
endif()

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)

# Users need these as well, because coroutines are compiled in their files too.
set(weir_interface_options)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  set(weir_pkgconfig_options "-fsized-deallocation")  # the default since clang 19
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(weir_pkgconfig_options "-fcoroutines -foptimize-sibling-calls")  # the second: symmetric transfer at -O0
endif()
set(_old_clang "$<AND:$<CXX_COMPILER_ID:Clang>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,19>>")
set(weir_interface_options
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,${_old_clang}>:-fsized-deallocation>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fcoroutines>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-foptimize-sibling-calls>)

# What finds mistakes; left out is what mostly finds style (sign conversions, shadowing by parameters).
set(weir_warnings
    -Wall
    -Wextra
    -Wpedantic
    -Wextra-semi
    -Wimplicit-fallthrough
    -Wcast-align
    -Wformat=2
    -Wdouble-promotion
    -Wno-missing-field-initializers)  # options structs are given by designated initialisers
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  list(APPEND weir_warnings -Wshadow-field-in-constructor -Wstring-conversion -Wnewline-eof -Wloop-analysis -Wcomma)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 17)
    # clang 16 takes the co_return that makes a function that always throws a coroutine for dead code.
    list(APPEND weir_warnings -Wunreachable-code-aggressive)
  endif()
endif()
if(WEIR_WERROR)
  list(APPEND weir_warnings -Werror)
endif()

# Sanitizers and coverage go on everything that is built here, C sources and tests included.
set(weir_fuzz_instrumentation)
set(WEIR_FUZZ OFF)
if(WEIR_SANITIZE)
  add_compile_options(-fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${WEIR_SANITIZE})
  # The check of virtual tables opens a pipe for each object it does not know: without a free descriptor, which is
  # what some tests are about, it takes a good object for a bad one.
  if(WEIR_SANITIZE MATCHES "undefined" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options(-fno-sanitize=vptr)
  endif()
  if(WEIR_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    set(WEIR_FUZZ ON)
    set(weir_fuzz_instrumentation -fsanitize=fuzzer-no-link)  # the library tells the fuzzer which edges were taken
  endif()
endif()
if(WEIR_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions($<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
endif()
if(WEIR_COVERAGE)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "WEIR_COVERAGE needs clang, and this is ${_found}.")
  endif()
  # %4m: the processes of one program share four files, however many tests run.
  add_compile_options("-fprofile-instr-generate=${PROJECT_BINARY_DIR}/profiles/%4m.profraw" -fcoverage-mapping)
  add_link_options("-fprofile-instr-generate=${PROJECT_BINARY_DIR}/profiles/%4m.profraw")
endif()

# A C compiler of another family cannot share the sanitizers' runtime with the C++ compiler.
if((WEIR_SANITIZE OR WEIR_COVERAGE) AND NOT CMAKE_C_COMPILER_ID STREQUAL CMAKE_CXX_COMPILER_ID)
  message(FATAL_ERROR "Sanitizers and coverage need a C compiler of the same family as the C++ compiler: "
                      "this is ${CMAKE_C_COMPILER} beside ${CMAKE_CXX_COMPILER}; set CMAKE_C_COMPILER too.")
endif()
