# SPDX-License-Identifier: Apache-2.0
# Fails when the committed page is not what the option table gives now.
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE now RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} failed: ${status}")
endif()
file(READ "${PAGE}" committed)
if(NOT now STREQUAL committed)
  message(FATAL_ERROR "${PAGE} is not current: run ${PROGRAM} > ${PAGE}")
endif()
