# What a consumer outside the tree gets: the library, the public headers, a CMake package and a
# pkg-config file. tests/consumer checks all of it.
include(CMakePackageConfigHelpers)

set(_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/weir")
install(TARGETS weir EXPORT weir-targets)
install(EXPORT weir-targets NAMESPACE weir:: DESTINATION "${_package_dir}")

# A header that says "Private to <room>" in its first paragraph stays at home.
install(FILES weir.hpp DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/weir")
foreach(room IN LISTS weir_rooms)
  file(GLOB_RECURSE _headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" "${room}/*.hpp")
  foreach(header IN LISTS _headers)
    file(STRINGS "${header}" _private LIMIT_INPUT 1000 REGEX "^//.*Private to ")
    if(NOT _private)
      cmake_path(GET header PARENT_PATH _directory)
      install(FILES "${header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/weir/${_directory}")
    endif()
  endforeach()
endforeach()

configure_package_config_file(cmake/weir-config.cmake.in "${PROJECT_BINARY_DIR}/weir-config.cmake"
                              INSTALL_DESTINATION "${_package_dir}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/weir-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/weir-config.cmake" "${PROJECT_BINARY_DIR}/weir-config-version.cmake"
        DESTINATION "${_package_dir}")

# The prefix is told relative to the file itself, so that the tree may be moved.
set(_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH weir_pc_up "/${_pc_dir}" "/")
string(REGEX REPLACE "/$" "" weir_pc_up "${weir_pc_up}")
if(BUILD_SHARED_LIBS)
  set(weir_pc_dependencies "Libs.private: -luring -lfmt")
else()
  set(weir_pc_dependencies "Requires: liburing >= 2.3, fmt >= 9")
endif()
configure_file(cmake/weir.pc.in "${PROJECT_BINARY_DIR}/weir.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/weir.pc" DESTINATION "${_pc_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
