// SPDX-License-Identifier: Apache-2.0
// A request as `underpassctl flows` shows it, on its way from the worker to the agent. Texts are a client's: they are
// cut, and valid UTF-8 without control characters, before they get here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/request_flag.h"

namespace underpass {

struct RequestFlow {
  std::uint64_t started_us = 0;  // since 1970
  std::uint64_t duration_us = 0;
  std::uint64_t upstream_us = 0;  // 0: no answer came
  NetnsCookie client = 0;         // as in RequestKey
  NetnsCookie server = 0;
  std::uint32_t service = 0;
  IpAddress client_ip;  // :: and 0: not known, and so below
  IpAddress server_ip;
  IpAddress dialled_ip;
  std::uint16_t client_port = 0;
  std::uint16_t server_port = 0;
  std::uint16_t dialled_port = 0;
  bool inbound = false;  // told by the worker of who was dialled
  std::string protocol;  // "http/1.1"
  std::string method;
  std::string authority;
  std::string path;
  std::uint16_t code = 0;         // 0: none
  std::int16_t grpc_status = -1;  // -1: none
  RequestFlag flag = RequestFlag::kNone;
  std::string details;
  std::string policy;
  std::uint64_t request_bytes = 0;
  std::uint64_t response_bytes = 0;
  std::string request_id;

  bool operator==(const RequestFlow&) const = default;
};

struct RequestFlows {
  std::vector<RequestFlow> flows;
  std::uint64_t skipped = 0;  // that were more than are kept

  bool operator==(const RequestFlows&) const = default;
};

// Bytes of a flow's texts, of which the longest of all fit into a packet, kFlowsPerPacket at a time.
inline constexpr std::size_t kMostFlowPath = 512;
inline constexpr std::size_t kMostFlowText = 256;
inline constexpr std::size_t kFlowsPerPacket = 12;

}  // namespace underpass
