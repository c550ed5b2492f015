// SPDX-License-Identifier: Apache-2.0
// The certificates of the node as JSON: `underpassctl certs`. Pure; as views.h.
#pragma once

#include <boost/json/array.hpp>
#include <span>
#include <string_view>

#include "agent/admin/wall_clock.h"
#include "agent/ca/keeper.h"

namespace underpass::admin {

// [{kind: "root" | "intermediate" | "svid", identity, subject, issuer, serial, notBefore, notAfter, renewalAt,
// state: "valid" | "expired" | "not-yet-valid" | "missing", problem}], and with `pem` also {pem}: the certificate and
// those between it and its root. Never a key.
boost::json::array certs_view(std::span<const ca::Row> rows, WallTime now, bool pem);

std::string_view to_text(ca::Kind kind);

}  // namespace underpass::admin
