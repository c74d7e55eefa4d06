# Lists every file that HEADER brings in when COVEY_COMPILED is defined, and refuses the heavy ones. (Not <iostream>, which
# cereal includes, nor <functional>, which the standard library does: cmake/check_sources.cmake looks at our own includes.)
file(STRINGS ${FLAGS} flags)
execute_process(
  COMMAND ${COMPILER} ${flags} -DCOVEY_COMPILED=1 -M -x c++ ${HEADER}
  RESULT_VARIABLE result OUTPUT_VARIABLE files ERROR_VARIABLE messages)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${HEADER} cannot be read:\n${messages}")
endif()
string(REGEX MATCHALL "[^ \\\n]+/[^ \\\n]+" all "${files}")
set(heavy ${all})
list(FILTER heavy INCLUDE REGEX "/asio/|/asio\\.hpp$|/(ranges|regex)$")
list(FILTER heavy EXCLUDE REGEX "/bits/")
if(heavy)
  list(JOIN heavy "\n  " heavy)
  message(FATAL_ERROR "${HEADER} brings in heavy headers:\n  ${heavy}")
endif()
list(LENGTH all count)
message("${count} files, none of them heavy")
