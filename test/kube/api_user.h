// SPDX-License-Identifier: Apache-2.0
// Somebody who asks the API server with a token, as a program does: one request, and the answer as it came. By curl,
// which starts twenty times faster than kubectl, and knows nothing of its own that could be in the way.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "test/support/kube_cluster.h"

namespace underpass::test {

struct ApiAnswer {
  int code = 0;
  std::string body;

  [[nodiscard]] boost::json::value json() const;
};

class ApiUser {
 public:
  ApiUser(const KubeCluster& cluster, std::string token) : cluster_(cluster), token_(std::move(token)) {}

  // `body` is JSON or YAML; with PATCH a JSON merge patch. `headers` as "Name: value".
  [[nodiscard]] ApiAnswer ask(const std::string& method, const std::string& path, const std::string& body = "",
                              const std::vector<std::string>& headers = {}) const;

 private:
  const KubeCluster& cluster_;
  std::string token_;
};

}  // namespace underpass::test
