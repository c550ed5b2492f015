// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/cells.h"

#include <cstdint>

#include "agent/cli/human.h"
#include "agent/cli/json_text.h"

namespace underpass::cli {

namespace json = boost::json;

std::string bytes_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* found = find_at(value, path);
  if (found == nullptr || !found->is_number()) return "";
  json::error_code error;
  const auto bytes = found->to_number<std::uint64_t>(error);
  return error ? "" : human_bytes(bytes);
}

std::string endpoint_of(const json::value& end) {
  const std::string ip = text_at(end, {"ip"});
  const json::value* port = find_at(end, {"port"});
  if (ip.empty() || port == nullptr || !port->is_int64()) return ip;
  return endpoint(ip, static_cast<std::uint64_t>(port->get_int64()));
}

std::string pod_of(const json::value& end) {
  const std::string pod = text_at(end, {"pod"});
  return pod.empty() ? "" : text_at(end, {"namespace"}) + "/" + pod;
}

}  // namespace underpass::cli
