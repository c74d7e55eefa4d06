# SOURCE must not compile, and the compiler's messages must match the pattern in its first line, "// expect: <regex>".
file(STRINGS ${FLAGS} flags)
file(STRINGS ${SOURCE} first LIMIT_COUNT 1)
if(NOT first MATCHES "^// expect: (.+)$")
  message(FATAL_ERROR "${SOURCE}: the first line must be \"// expect: <regular expression>\"")
endif()
set(pattern "${CMAKE_MATCH_1}")
# Plain quotation marks in the messages, whatever language the machine speaks.
set(ENV{LC_ALL} C)
execute_process(
  COMMAND ${COMPILER} ${flags} -fsyntax-only ${SOURCE}
  RESULT_VARIABLE result ERROR_VARIABLE messages OUTPUT_VARIABLE messages)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, and it must not")
endif()
if(NOT messages MATCHES "${pattern}")
  message(FATAL_ERROR "${SOURCE} does not compile, as it must, but no message matches \"${pattern}\":\n${messages}")
endif()
message("refused, with: ${CMAKE_MATCH_0}")
