// SPDX-License-Identifier: Apache-2.0
// Whether a request may go on, and in which form: its normal form, its tokens, the policies of the pod that it is for,
// in this order, so that what is judged is what is forwarded.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/http/message.h"
#include "userspace_proxy/session/routes.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::session {

struct Admission {
  unsigned status = 0;  // 0: it may go on, else what the client is told
  telemetry::RequestFlag flag = telemetry::RequestFlag::kNone;
  std::string details;    // for the log
  std::string policy;     // that decided
  std::string body;       // of the answer
  std::string challenge;  // WWW-Authenticate
  std::string ask;        // with status 0: the provider that has to agree, and then admit_asked()
  std::shared_ptr<const jwt::Claims> claims;
  std::vector<authz::Notice> notices;  // of policies that only tell, to be counted
};

// `policing` and `known` are null where no policy concerns the pod. Changes the request to its normal form.
Admission admit(http::Request& request, const Routes& routes, const HttpPolicing* policing,
                const authz::Authorizer::Known* known, std::chrono::system_clock::time_point now);

// What is left when its provider has agreed, and when policies change while it is under way: the other policies.
Admission admit_asked(http::Request& request, const Routes& routes, const HttpPolicing* policing,
                      const authz::Authorizer::Known* known, const jwt::Claims* claims);

}  // namespace underpass::session
