# Third parties of the library. Only Threads shows in the public interface; liburing and libfmt stay
# behind compiled bodies, and llhttp's C sources become part of the library.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing>=2.3)
find_package(fmt 9 QUIET)
if(NOT fmt_FOUND)
  message(FATAL_ERROR "libfmt 9 or newer was not found: install it (apt-get install libfmt-dev).")
endif()

# Debian's node-llhttp ships the C sources that its JavaScript package is made from.
find_path(WEIR_LLHTTP_SOURCE_DIR NAMES llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH
          DOC "Directory of llhttp.c, http.c and api.c")
find_path(WEIR_LLHTTP_INCLUDE_DIR NAMES llhttp.h PATHS /usr/share/include/llhttp /usr/include/llhttp NO_DEFAULT_PATH
          DOC "Directory of llhttp.h")
if(NOT WEIR_LLHTTP_SOURCE_DIR OR NOT WEIR_LLHTTP_INCLUDE_DIR)
  message(FATAL_ERROR "llhttp's C sources were not found: install them (apt-get install node-llhttp), "
                      "or set WEIR_LLHTTP_SOURCE_DIR and WEIR_LLHTTP_INCLUDE_DIR.")
endif()
cmake_path(GET WEIR_LLHTTP_INCLUDE_DIR PARENT_PATH llhttp_include_parent)
set(llhttp_include_dirs "${WEIR_LLHTTP_INCLUDE_DIR}" "${llhttp_include_parent}")

set(_x86_64 OFF)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(_x86_64 ON)
endif()
option(WEIR_X86_64_V2 "Compile the HTTP parser for x86-64-v2: 40 % faster, but it needs SSE 4.2 (CPUs since 2009), \
which nothing checks at run time; switch it off for older CPUs" ${_x86_64})

add_library(weir_llhttp OBJECT
            "${WEIR_LLHTTP_SOURCE_DIR}/llhttp.c" "${WEIR_LLHTTP_SOURCE_DIR}/http.c" "${WEIR_LLHTTP_SOURCE_DIR}/api.c")
target_include_directories(weir_llhttp SYSTEM PRIVATE ${llhttp_include_dirs})
# Without the strict mode 8.1.0 takes a bare CR for a line end (CVE-2023-30589), blanks before the
# colon of a header, and requests after `Connection: close`.
target_compile_definitions(weir_llhttp PRIVATE LLHTTP_STRICT_MODE=1)
target_compile_options(weir_llhttp PRIVATE -w $<$<CONFIG:Release,RelWithDebInfo>:-O3> $<$<BOOL:${WEIR_X86_64_V2}>:-msse4.2>)
set_target_properties(weir_llhttp PROPERTIES C_VISIBILITY_PRESET hidden)
if(BUILD_SHARED_LIBS OR CMAKE_POSITION_INDEPENDENT_CODE)
  set_target_properties(weir_llhttp PROPERTIES POSITION_INDEPENDENT_CODE ON)
endif()
