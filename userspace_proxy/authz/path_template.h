// SPDX-License-Identifier: Apache-2.0
// Path templates of AuthorizationPolicy (security.istio.io/v1, operation.paths): "/a/{*}/b/{**}". {*} is one segment
// that is not empty. {**} is any text, slashes and nothing included, and the last operator; literal segments may follow
// it. An operator has its segment for itself, and elsewhere there is no "*", "{" or "}".
//
// Where Istio's reference and Envoy differ: "/foo/{**}/" does not match "/foo/bar/baz.txt", since the "/" at its end is
// missing there (the reference says that it does, Envoy's URI template matching does not). And {*} takes any character
// but "/", where Envoy leaves some out ("="), so that no DENY is evaded by them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "underpass/result.h"

namespace underpass::authz {

class PathTemplate {
 public:
  // An Error says the cause alone.
  static Result<PathTemplate> parse(std::string_view text);

  // `path` without query.
  [[nodiscard]] bool matches(std::string_view path) const;
  // What every path that it matches begins with.
  [[nodiscard]] std::string_view start() const { return literals_.front(); }

 private:
  std::vector<std::string> literals_{""};  // between them there is one {*} each
  bool has_rest_ = false;                  // {**} follows the last of them, and then ...
  std::string end_;                        // ... this
};

}  // namespace underpass::authz
