# SPDX-License-Identifier: Apache-2.0
# The headers that nearly every file includes are parsed once for the product and once for the test cases, which are
# compiled with other options: that is more than half of what the compiler does for a small file. Files include what they
# use all the same; -DUNDERPASS_PRECOMPILE=OFF builds without, and shows who does not.
option(UNDERPASS_PRECOMPILE "Parse the headers that are included most once" ON)

set(UNDERPASS_PRECOMPILED_HEADERS
    <algorithm> <array> <cerrno> <chrono> <cstddef> <cstdint> <cstring> <expected> <filesystem> <fstream> <functional>
    <list> <map> <memory> <mutex> <optional> <set> <span> <sstream> <stdexcept> <string> <string_view> <thread>
    <unordered_map> <utility> <variant> <vector> <boost/json.hpp>)

# A library of that name whose precompiled headers targets of the same options use; to be called where these have theirs.
function(underpass_precompiled name)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE underpass_base)
  target_compile_options(${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp") # or ccache never knows one again
  target_precompile_headers(${name} PRIVATE ${UNDERPASS_PRECOMPILED_HEADERS})
endfunction()

# Every target of this directory and those below; other options than their directory's are no hindrance if they are
# warnings or definitions. Those with the property UNDERPASS_PARSE_ALL are left out.
function(underpass_use_precompiled directory name)
  get_property(targets DIRECTORY ${directory} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(kind ${target} TYPE)
    get_target_property(parse_all ${target} UNDERPASS_PARSE_ALL)
    if(kind MATCHES "STATIC_LIBRARY|EXECUTABLE" AND NOT parse_all)
      target_precompile_headers(${target} REUSE_FROM ${name})
    endif()
  endforeach()
  get_property(below DIRECTORY ${directory} PROPERTY SUBDIRECTORIES)
  foreach(one IN LISTS below)
    underpass_use_precompiled(${one} ${name})
  endforeach()
endfunction()
