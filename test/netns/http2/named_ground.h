// SPDX-License-Identifier: Apache-2.0
// The ground of the HTTP tests with a pod "b" whose Service says what its ports speak, and what the agent tells of its
// requests: lines of the access log, and sums of metrics.
#pragma once

#include <boost/json/object.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "test/netns/http/ways.h"

namespace underpass::test {

inline constexpr std::uint16_t kHttp1Port = 7001;  // appProtocol: http
inline constexpr std::uint16_t kHttp2Port = 7002;  // named http2-web
inline constexpr std::uint16_t kH2cPort = 7003;    // appProtocol: kubernetes.io/h2c
inline constexpr std::uint16_t kGrpcPort = 7004;   // named grpc-cart

inline constexpr Way kNamedWays[] = {kWorker, kInbound};

class NamedGround : public HttpGround {
 public:
  // The worker knows the ports when it returns.
  NamedGround();
};

// Lines of the access log about requests, when there are so many and no more come for a moment.
std::vector<boost::json::object> request_lines(const Scene& scene, std::size_t count);

// The sum of a metric's series that hold all of these, once it is `wanted`; else what it is at last.
double metric_sum(const Scene& scene, const std::string& name, const std::vector<std::string>& labels, double wanted);

// True where the program is not there; then it has printed why.
bool is_skipped(const std::string& what, const std::string& program);

// A file beside the tests, by its name in programs/.
std::string program_text(const std::string& name);

}  // namespace underpass::test
