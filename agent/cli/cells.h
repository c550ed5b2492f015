// SPDX-License-Identifier: Apache-2.0
// What several tables show in the same way: quantities and ends of connections, out of the agent's JSON. What is
// missing is empty.
#pragma once

#include <boost/json/value.hpp>
#include <initializer_list>
#include <string>
#include <string_view>

namespace underpass::cli {

// A number of bytes as "1.2 MiB".
std::string bytes_at(const boost::json::value& value, std::initializer_list<std::string_view> path);

// Of {ip, port, namespace, pod}: "10.0.0.7:80", "shop/web".
std::string endpoint_of(const boost::json::value& end);
std::string pod_of(const boost::json::value& end);

}  // namespace underpass::cli
