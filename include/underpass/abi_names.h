// SPDX-License-Identifier: Apache-2.0
// The numbers of abi.h as people and metrics read them: the enumerator without its prefix, in lower case, with dashes.
// `map dump` derives the same words from BTF; a test compares the two, so neither can drift.
#pragma once

#include <string_view>

#include "underpass/abi.h"

namespace underpass {

// What a newer program may have left in a map, and we do not know.
inline constexpr std::string_view kUnknownName = "unknown";

constexpr std::string_view name_of(up_way way) {
  switch (way) {
    case UP_WAY_DIRECT:
      return "direct";
    case UP_WAY_SHORT_CIRCUIT:
      return "short-circuit";
    case UP_WAY_PROXIED:
      return "proxied";
  }
  return kUnknownName;
}

constexpr std::string_view name_of(up_mode mode) {
  switch (mode) {
    case UP_MODE_OFF:
      return "off";
    case UP_MODE_AUTO:
      return "auto";
    case UP_MODE_ON:
      return "on";
  }
  return kUnknownName;
}

constexpr std::string_view name_of(up_why why) {
  switch (why) {
    case UP_WHY_NONE:
      return "none";
    case UP_WHY_NOT_LOCAL:
      return "not-local";
    case UP_WHY_MODE_OFF:
      return "mode-off";
    case UP_WHY_LEARNING:
      return "learning";
    case UP_WHY_NAMESPACES:
      return "namespaces";
    case UP_WHY_KERNEL:
      return "kernel";
    case UP_WHY_UNCONFIRMED:
      return "unconfirmed";
    case UP_WHY_TABLE_FULL:
      return "table-full";
    case UP_WHY_OTHER_SOCKMAP:
      return "other-sockmap";
    case UP_WHY_MPTCP:
      return "mptcp";
    case UP_WHY_ULP:
      return "ulp";
    case UP_WHY_REPAIR:
      return "repair";
    case UP_WHY_SIGNED:
      return "signed";
    case UP_WHY_SOCKET_FILTER:
      return "socket-filter";
    case UP_WHY_ZEROCOPY:
      return "zerocopy";
    case UP_WHY_TIMESTAMPS:
      return "timestamps";
    case UP_WHY_PEEK_OFF:
      return "peek-off";
    case UP_WHY_INQ:
      return "inq";
    case UP_WHY_RCVLOWAT:
      return "rcvlowat";
    case UP_WHY_SMALL_RCVBUF:
      return "small-rcvbuf";
    case UP_WHY_KILL_SWITCH:
      return "kill-switch";
    case UP_WHY_STOPPED:
      return "stopped";
    case UP_WHY_IO_URING:
      return "io-uring";
    case UP_WHY_DENIED:
      return "denied";
    case UP_WHY_BRIEF:
      return "brief";
    case UP_WHY_WORKER:
      return "worker";
    case UP_WHY_TRUNC:
      return "trunc";
    case UP_WHY_THREADS:
      return "threads";
    case UP_WHY_BLOCKING:
      return "blocking";
    case UP_WHY_SPLICE:
      return "splice";
    case UP_WHY_FIONREAD:
      return "fionread";
    case UP_WHY_UNREAD_CLOSE:
      return "unread-close";
    case UP_WHY_URGENT:
      return "urgent";
    case UP_WHY_CLOSING:
      return "closing";
    case UP_WHY_FIRST_MESSAGES:
      return "first-messages";
    case UP_WHY_UNREAD:
      return "unread";
    case UP_WHY_UNSEEN_READ:
      return "unseen-read";
    case UP_WHY_READER_BUSY:
      return "reader-busy";
    case UP_WHY_READER_WAITS:
      return "reader-waits";
    case UP_WHY_WAITALL:
      return "waitall";
    case UP_WHY_QUEUE_FULL:
      return "queue-full";
    case UP_WHY_POD_BUDGET:
      return "pod-budget";
    case UP_WHY_NODE_BUDGET:
      return "node-budget";
    case UP_WHY_TCP_PRESSURE:
      return "tcp-pressure";
    case UP_WHY_KEEPALIVE:
      return "keepalive";
    case UP_WHY_REDIRECT_FAILED:
      return "redirect-failed";
    case UP_WHY_COUNT:
      return "count";
  }
  return kUnknownName;
}

constexpr std::string_view name_of(up_direction direction) {
  switch (direction) {
    case UP_OUTBOUND:
      return "outbound";
    case UP_INBOUND:
      return "inbound";
    case UP_TUNNEL:
      return "tunnel";
  }
  return kUnknownName;
}

constexpr std::string_view name_of(up_tunnel tunnel) {
  switch (tunnel) {
    case UP_TUNNEL_NONE:
      return "none";
    case UP_TUNNEL_HBONE:
      return "hbone";
  }
  return kUnknownName;
}

constexpr std::string_view name_of(up_tcp_state state) {
  switch (state) {
    case UP_TCP_NONE:
      return "none";
    case UP_TCP_ESTABLISHED:
      return "established";
    case UP_TCP_SYN_SENT:
      return "syn-sent";
    case UP_TCP_SYN_RECV:
      return "syn-recv";
    case UP_TCP_FIN_WAIT1:
      return "fin-wait1";
    case UP_TCP_FIN_WAIT2:
      return "fin-wait2";
    case UP_TCP_TIME_WAIT:
      return "time-wait";
    case UP_TCP_CLOSE:
      return "close";
    case UP_TCP_CLOSE_WAIT:
      return "close-wait";
    case UP_TCP_LAST_ACK:
      return "last-ack";
    case UP_TCP_LISTEN:
      return "listen";
    case UP_TCP_CLOSING:
      return "closing";
  }
  return kUnknownName;
}

constexpr std::string_view name_of(up_flow_event event) {
  switch (event) {
    case UP_FLOW_OPENED:
      return "opened";
    case UP_FLOW_CLOSED:
      return "closed";
    case UP_FLOW_REFUSED:
      return "refused";
    case UP_FLOW_DENIED:
      return "denied";
  }
  return kUnknownName;
}

// IANA protocol numbers, which are no enum of abi.h.
constexpr std::string_view protocol_name(unsigned number) {
  switch (number) {
    case 6:
      return "tcp";
    case 17:
      return "udp";
    default:
      return kUnknownName;
  }
}

}  // namespace underpass
