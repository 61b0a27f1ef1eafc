# Runs the tests of a coverage build and prints how much of the library they reach, file by file:
# cmake -DBUILD_DIR=... -DSOURCE_DIR=... -DSUFFIX=-19 -P coverage.cmake. The pages are in coverage/index.html.
foreach(tool IN ITEMS llvm-profdata llvm-cov)
  find_program(${tool} NAMES ${tool}${SUFFIX} ${tool} REQUIRED)
endforeach()
file(REMOVE_RECURSE "${BUILD_DIR}/profiles")
execute_process(COMMAND ctest --output-on-failure -j2 WORKING_DIRECTORY "${BUILD_DIR}" COMMAND_ERROR_IS_FATAL ANY)

file(GLOB profiles "${BUILD_DIR}/profiles/*.profraw")
set(merged "${BUILD_DIR}/profiles/merged.profdata")
execute_process(COMMAND ${llvm-profdata} merge -sparse -o "${merged}" ${profiles} COMMAND_ERROR_IS_FATAL ANY)

file(GLOB programs "${BUILD_DIR}/tests/weir_*_tests")
list(POP_FRONT programs first)
list(TRANSFORM programs PREPEND "-object=")
set(what "${first}" ${programs} "-instr-profile=${merged}" "-ignore-filename-regex=(^/usr|/tests/|/examples/)")
execute_process(COMMAND ${llvm-cov} report ${what} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${llvm-cov} show ${what} -format=html "-output-dir=${BUILD_DIR}/coverage"
                COMMAND_ERROR_IS_FATAL ANY)
message("pages: ${BUILD_DIR}/coverage/index.html")
