// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/certs_view.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace underpass::admin {
namespace {

namespace json = boost::json;

json::value text_or_null(std::string_view text) { return text.empty() ? json::value(nullptr) : json::value(text); }

std::string_view state_of(const ca::Row& row, WallTime now) {
  if (!row.details) return "missing";
  if (now < row.details->not_before) return "not-yet-valid";
  return now < row.details->not_after ? "valid" : "expired";
}

json::object row_view(const ca::Row& row, WallTime now, bool pem) {
  json::object out{{"kind", to_text(row.kind)},
                   {"identity", text_or_null(row.identity)},
                   {"subject", nullptr},
                   {"issuer", nullptr},
                   {"serial", nullptr},
                   {"notBefore", nullptr},
                   {"notAfter", nullptr},
                   {"renewalAt", row.renewal ? json::value(to_rfc3339(*row.renewal)) : json::value(nullptr)},
                   {"state", state_of(row, now)},
                   {"problem", text_or_null(row.problem)}};
  if (row.details) {
    out["subject"] = text_or_null(row.details->subject);
    out["issuer"] = text_or_null(row.details->issuer);
    out["serial"] = row.details->serial;
    out["notBefore"] = to_rfc3339(row.details->not_before);
    out["notAfter"] = to_rfc3339(row.details->not_after);
  }
  if (pem) out["pem"] = text_or_null(row.pem);
  return out;
}

}  // namespace

std::string_view to_text(ca::Kind kind) {
  switch (kind) {
    case ca::Kind::kRoot:
      return "root";
    case ca::Kind::kIntermediate:
      return "intermediate";
    case ca::Kind::kSvid:
      break;
  }
  return "svid";
}

json::array certs_view(std::span<const ca::Row> rows, WallTime now, bool pem) {
  json::array out;
  for (const auto& row : rows) out.push_back(row_view(row, now, pem));
  return out;
}

}  // namespace underpass::admin
