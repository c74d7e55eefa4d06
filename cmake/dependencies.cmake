# What covey needs. Each is taken from the system where find_package finds it; header-only ones that are missing are
# fetched at the tag named here, and the network is not touched for the others. The last argument names the Debian package.
include(FetchContent)

# Downloads `name` at `tag` without running its own build: only its headers are wanted.
function(covey_fetch_headers name repository tag target include_dir debian)
  message(STATUS "covey: ${name} is not installed (Debian: ${debian}); fetching ${tag} of ${repository}")
  FetchContent_Declare(covey_${name} GIT_REPOSITORY ${repository} GIT_TAG ${tag} GIT_SHALLOW ON SOURCE_SUBDIR none)
  FetchContent_MakeAvailable(covey_${name})
  FetchContent_GetProperties(covey_${name} SOURCE_DIR source)
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE ${source}/${include_dir})
endfunction()

# Targets found here must be seen by a project that took covey in with add_subdirectory or FetchContent.
set(covey_public_targets Threads::Threads OpenSSL::SSL OpenSSL::Crypto covey::asio cereal::cereal)
set(covey_promote)
foreach(target IN LISTS covey_public_targets)
  if(NOT TARGET ${target})
    list(APPEND covey_promote ${target})
  endif()
endforeach()

find_package(Threads REQUIRED)

find_package(OpenSSL 3 QUIET COMPONENTS SSL Crypto)
if(NOT OPENSSL_FOUND)
  message(FATAL_ERROR "covey needs OpenSSL 3 or later (Debian and Ubuntu: apt install libssl-dev)")
endif()

find_package(covey_asio QUIET)
if(NOT TARGET covey::asio)
  covey_fetch_headers(asio https://github.com/chriskohlhoff/asio.git asio-1-28-0 covey::asio asio/include libasio-dev)
  target_compile_definitions(covey::asio INTERFACE ASIO_STANDALONE)
  target_link_libraries(covey::asio INTERFACE Threads::Threads)
endif()

find_package(cereal 1.3 QUIET CONFIG)
if(NOT TARGET cereal::cereal)
  covey_fetch_headers(cereal https://github.com/USCiLab/cereal.git v1.3.2 cereal::cereal include libcereal-dev)
endif()

foreach(target IN LISTS covey_promote)
  get_target_property(covey_aliased ${target} ALIASED_TARGET)
  if(NOT covey_aliased)
    set_target_properties(${target} PROPERTIES IMPORTED_GLOBAL ON)
  endif()
endforeach()

# For the launcher alone.
if(COVEY_BUILD_TOOLS)
  find_package(CLI11 QUIET CONFIG)
  if(NOT TARGET CLI11::CLI11)
    covey_fetch_headers(cli11 https://github.com/CLIUtils/CLI11.git v2.3.2 CLI11::CLI11 include libcli11-dev)
  endif()
  find_package(nlohmann_json 3 QUIET CONFIG)
  if(NOT TARGET nlohmann_json::nlohmann_json)
    covey_fetch_headers(nlohmann_json https://github.com/nlohmann/json.git v3.11.2 nlohmann_json::nlohmann_json
      include nlohmann-json3-dev)
  endif()
endif()

# Catch2 2.13 (Debian 12) and 3 (Ubuntu 24.04) both do; tests write #include <catch2/catch.hpp> with either.
if(COVEY_BUILD_TESTS)
  find_package(Catch2 QUIET)
  if(NOT TARGET Catch2::Catch2)
    covey_fetch_headers(catch2 https://github.com/catchorg/Catch2.git v2.13.10 Catch2::Catch2 single_include catch2)
    set(Catch2_VERSION 2.13.10)
  endif()
endif()

if(COVEY_BUILD_BENCH)
  find_package(benchmark QUIET)
  if(NOT TARGET benchmark::benchmark)
    message(STATUS "covey: Google Benchmark is not installed (Debian: libbenchmark-dev); benchmarks that need it are left out")
  endif()
endif()
