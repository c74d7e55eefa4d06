# Install rules: headers, the compiled library, the CMake package, two pkg-config files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(covey_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/covey)
install(TARGETS covey covey_compiled EXPORT covey-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT covey)
install(EXPORT covey-targets NAMESPACE covey:: DESTINATION ${covey_cmake_dir} COMPONENT covey)
install(DIRECTORY include/covey DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT covey
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")

configure_package_config_file(cmake/covey-config.cmake.in ${PROJECT_BINARY_DIR}/covey-config.cmake
  INSTALL_DESTINATION ${covey_cmake_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a new minor version may break programs.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/covey-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/covey-config.cmake ${PROJECT_BINARY_DIR}/covey-config-version.cmake
    cmake/Findcovey_asio.cmake
  DESTINATION ${covey_cmake_dir} COMPONENT covey)

# The prefix is found from the .pc file's own place, so that an install can be moved.
file(RELATIVE_PATH covey_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
foreach(name covey covey-compiled)
  configure_file(cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT covey)
endforeach()

if(TARGET peerd)
  install(TARGETS peerd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT covey)
endif()
