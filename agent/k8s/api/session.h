// SPDX-License-Identifier: Apache-2.0
// What all connections to one API server share, or to another server that is asked as one. Outlives the client as long
// as one of its channels is there.
#pragma once

#include <functional>
#include <string>

#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/api_config.h"
#include "agent/k8s/api/token_source.h"
#include "underpass/ip_address.h"
#include "underpass/result.h"

namespace underpass::k8s {

struct Session {
  ApiConfig config;
  TokenSource token;
  ApiTimeouts timeouts;
  std::string user_agent;
  bool closed = false;  // the client is gone
  // Asked about each address before it is dialled; null: all may be.
  std::function<Result<void>(const IpAddress&)> may_dial = nullptr;
  bool takes_http10 = false;  // a server that may be any
};

}  // namespace underpass::k8s
