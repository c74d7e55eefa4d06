# Uses ccache where it is installed. The sloppiness is what ccache needs to cache files that use a precompiled header.
find_program(COVEY_CCACHE ccache)
if(COVEY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${COVEY_CCACHE})
endif()
