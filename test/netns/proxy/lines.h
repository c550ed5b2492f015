// SPDX-License-Identifier: Apache-2.0
// The access log of a scene's workers as JSON, and what a test annotates a pod with.
#pragma once

#include <boost/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/netns/proxy/scene.h"

namespace underpass::test {

// Waits until there are so many lines; throws with what there is.
inline std::vector<boost::json::value> wait_lines(const Scene& scene, std::size_t count) {
  std::vector<std::string> lines;
  const bool there = eventually(seconds(10), [&] {
    lines = access_log(scene);
    return lines.size() >= count;
  });
  if (!there)
    throw std::runtime_error("the access log has " + std::to_string(lines.size()) + " lines, not " +
                             std::to_string(count) + "\n" + scene.world.agent.log());
  std::vector<boost::json::value> out;
  for (const std::string& line : lines) out.push_back(boost::json::parse(line));
  return out;
}

// A field of a line, "source.pod"; "" for null.
inline std::string field_of(const boost::json::value& line, const std::string& path) {
  const boost::json::value* at = &line;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    at = &at->at(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return text_of(*at);
}

inline void annotate(const Scene& scene, const std::string& pod, const Strings& annotations) {
  PodObject object = scene.world.pod_object("shop", pod);
  object.annotations = annotations;
  scene.world.objects.put(object);
}

}  // namespace underpass::test
