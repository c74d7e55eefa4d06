# Standalone Asio is headers alone and brings no CMake package. Gives the target covey::asio. Installed beside
# covey-config.cmake too, for programs that use an installed covey.
find_package(Threads QUIET)
find_path(COVEY_ASIO_INCLUDE_DIR asio.hpp)
mark_as_advanced(COVEY_ASIO_INCLUDE_DIR)
if(COVEY_ASIO_INCLUDE_DIR AND EXISTS ${COVEY_ASIO_INCLUDE_DIR}/asio/version.hpp)
  file(STRINGS ${COVEY_ASIO_INCLUDE_DIR}/asio/version.hpp covey_asio_line REGEX "#define ASIO_VERSION ")
  string(REGEX MATCH "[0-9]+" covey_asio_number "${covey_asio_line}")
  math(EXPR covey_asio_minor "${covey_asio_number} / 100 % 1000")
  math(EXPR covey_asio_major "${covey_asio_number} / 100000")
  set(covey_asio_VERSION ${covey_asio_major}.${covey_asio_minor})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(covey_asio
  REQUIRED_VARS COVEY_ASIO_INCLUDE_DIR
  VERSION_VAR covey_asio_VERSION
  REASON_FAILURE_MESSAGE "asio.hpp was not found (Debian and Ubuntu: apt install libasio-dev)")
if(covey_asio_FOUND AND covey_asio_VERSION VERSION_LESS 1.22)
  message(STATUS "covey: Asio ${covey_asio_VERSION} in ${COVEY_ASIO_INCLUDE_DIR} is too old, 1.22 or later is needed")
  set(covey_asio_FOUND FALSE)
endif()

if(covey_asio_FOUND AND NOT TARGET covey::asio)
  add_library(covey::asio INTERFACE IMPORTED)
  set_target_properties(covey::asio PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${COVEY_ASIO_INCLUDE_DIR}
    INTERFACE_COMPILE_DEFINITIONS ASIO_STANDALONE
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
