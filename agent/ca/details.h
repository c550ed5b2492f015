// SPDX-License-Identifier: Apache-2.0
// What a certificate says of itself, for people and for clocks.
#pragma once

#include <string>

#include "agent/ca/openssl.h"
#include "underpass/result.h"

namespace underpass::ca {

struct Details {
  std::string subject;   // RFC 2253: "CN=Underpass root 5f3a"; empty for an SVID
  std::string issuer;    // as that
  std::string serial;    // hexadecimal, upper case
  std::string identity;  // the URI among its names, where there is exactly one; else empty
  WallTime not_before;
  WallTime not_after;

  bool operator==(const Details&) const = default;
};

Details describe(const CertificatePtr& certificate);

WallTime not_before(const CertificatePtr& certificate);
WallTime not_after(const CertificatePtr& certificate);

// "" while it is valid, else "ended at 2026-03-01T09:30:00Z", "begins at 2026-03-01T09:30:00Z".
std::string out_of_time(const CertificatePtr& certificate, WallTime now);

// "2026-03-01T09:30:00Z"
std::string time_text(WallTime time);

}  // namespace underpass::ca
